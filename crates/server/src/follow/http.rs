//! Following a primary by its HTTP routes, over a client that waits.

use super::{FollowConfig, Source};
use crate::causes::with_causes;
use crate::cli::Failure;
use crate::http::{ErrorBody, ReplicaView};
use bilin_engine::{Backup, BackupFile, Engine, Error, ErrorKind, ReplicaCopy};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Longest that nothing may come: a primary that makes a copy of a large collection takes its time.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Longest list of collections, bytes.
const LIST_MAX: usize = 64 << 20;
/// Longest piece of a file, bytes; as the primary gives them.
const PIECE_MAX: usize = 16 << 20;

/// The server that is followed.
pub(super) struct Primary {
    url: Url,
    key: Option<String>,
    client: Client,
    runtime: Runtime,
    bytes: Arc<AtomicU64>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// What is needed of `GET /v1/collections`.
#[derive(Deserialize)]
struct Listed {
    collections: Vec<Named>,
    broken: Vec<Named>,
}

impl Primary {
    pub(super) fn new(follow: &FollowConfig, bytes: Arc<AtomicU64>) -> Result<Primary, Failure> {
        // A second time says that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let refuse = |why: String| {
            Failure::mendable(format!("cannot follow {:?}: {why}", follow.from))
                .with_hint("expected the address of a bilin server, such as http://127.0.0.1:8000")
        };
        let url = Url::parse(&follow.from).map_err(|error| refuse(error.to_string()))?;
        if url.cannot_be_a_base() || url.query().is_some() {
            return Err(refuse("it is no address of a server".to_owned()));
        }
        let client = Client::builder().connect_timeout(CONNECT_MAX).read_timeout(SILENCE_MAX);
        let client = client.build().map_err(|error| refuse(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| refuse(error.to_string()))?;
        Ok(Primary { url, key: follow.key.clone(), client, runtime, bytes })
    }

    fn at(&self, parts: &[&str]) -> Result<Url, Error> {
        let mut url = self.url.clone();
        let no_path = || Error::new(ErrorKind::Internal, "an address without a path");
        url.path_segments_mut().map_err(|()| no_path())?.pop_if_empty().extend(parts);
        Ok(url)
    }

    /// The body of a good answer, at most `max` bytes.
    fn body(&self, request: RequestBuilder, max: usize) -> Result<Vec<u8>, Error> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let failed = |error: reqwest::Error| {
            let why = with_causes(&error.without_url());
            Error::new(ErrorKind::Io, format!("cannot reach {}: {why}", self.url))
        };
        self.runtime.block_on(async {
            let mut response: Response = request.send().await.map_err(failed)?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(failed)? {
                if body.len() + piece.len() > max {
                    return Err(Error::new(
                        ErrorKind::Damaged,
                        format!("{} answers with more than {max} bytes", self.url),
                    ));
                }
                body.extend_from_slice(&piece);
            }
            self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
            if status == 200 { Ok(body) } else { Err(self.refused(status, &body)) }
        })
    }

    fn refused(&self, status: u16, body: &[u8]) -> Error {
        let told =
            serde_json::from_slice::<ErrorBody>(body).map_or_else(|_| String::new(), |body| body.message);
        Error::new(ErrorKind::Io, format!("{} answers with {status}: {told}", self.url))
            .with_hint("the key for the primary is follow.key (BILIN_FOLLOW_KEY); a read key will do")
    }

    fn json<T: serde::de::DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let body = self.body(request, LIST_MAX)?;
        serde_json::from_slice(&body).map_err(|error| {
            Error::new(
                ErrorKind::Damaged,
                format!("{} does not answer as a bilin server does: {error}", self.url),
            )
        })
    }
}

impl Primary {
    /// Its collections, and those that it cannot open.
    pub(super) fn names(&self) -> Result<(BTreeSet<String>, BTreeSet<String>), Error> {
        let list: Listed = self.json(self.client.get(self.at(&["v1", "collections"])?))?;
        let names = |list: Vec<Named>| list.into_iter().map(|one| one.name).collect();
        Ok((names(list.collections), names(list.broken)))
    }
}

impl Source for Primary {
    fn collections(&mut self, _: &Engine) -> Result<(BTreeSet<String>, BTreeSet<String>), Error> {
        self.names()
    }

    fn newest(&mut self, engine: &Engine, name: &str, have: Option<u64>) -> Result<Option<Backup>, Error> {
        let url = self.at(&["v1", "collections", name, "replica"])?;
        let body = json!({"have": have}).to_string();
        let request = self.client.post(url).header("content-type", "application/json").body(body);
        let copy: ReplicaView = self.json(request)?;
        if have == Some(copy.taken_unix_s) {
            return Ok(None);
        }
        let taken = copy.taken_unix_s;
        let copy = ReplicaCopy {
            taken_unix_s: taken,
            seq: copy.seq,
            files: copy
                .files
                .into_iter()
                .map(|file| BackupFile { path: file.path, bytes: file.bytes, blake3: file.blake3 })
                .collect(),
        };
        let mut fetch = |file: usize, offset: u64| {
            let parts = [taken.to_string(), file.to_string()];
            let mut url = self.at(&["v1", "collections", name, "replica", &parts[0], &parts[1]])?;
            url.query_pairs_mut().append_pair("offset", &offset.to_string());
            self.body(self.client.get(url), PIECE_MAX)
        };
        engine.take_in(name, &copy, &mut fetch).map(Some)
    }
}
