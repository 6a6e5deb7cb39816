//! The place for backups beyond this machine, as the configuration names it: S3 and what speaks its language, or a folder.
//!
//! `object_store` (Apache Arrow) does the talking; its calls are async and run on a small runtime of their own, so that the
//! engine, which blocks, can wait for them from any thread. Invariant: no secret is in an address or a message.

use crate::config::Config;
use bilin_engine::{Engine, Error, ErrorKind, ObjectStore};
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore as Store, ObjectStoreExt, RetryConfig};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longest that one object may take; parts have 8 MiB.
const REQUEST_MAX: Duration = Duration::from_secs(120);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// What fails is tried so often again, within this time.
const RETRIES: usize = 4;
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often the server looks for backups that are not sent yet.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Longest pause after failures; each doubles it.
const PAUSE_MAX: Duration = Duration::from_secs(900);

/// What [`look`] puts there for a moment.
const PROBE: &str = "doctor-probe";

/// A place behind `object_store`.
struct Remote {
    address: String,
    store: Box<dyn Store>,
    /// In front of every key; empty or ending with `/`.
    prefix: String,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// Gives the engine the place that is configured, if one is; says whether.
pub(crate) fn connect(engine: &Engine, config: &Config) -> Result<bool, Error> {
    let Some(url) = &config.offsite.url else { return Ok(false) };
    engine.set_offsite(Arc::new(Remote::open(url, config)?));
    Ok(true)
}

/// Gives the engine a folder as its place for backups beyond this machine.
pub(crate) fn connect_folder(engine: &Engine, folder: &std::path::Path) -> Result<(), Error> {
    let url = format!("file://{}", folder.display());
    let defaults = Config::defaults().map_err(|failure| Error::invalid(failure.message()))?;
    engine.set_offsite(Arc::new(Remote::open(&url, &defaults)?));
    Ok(())
}

/// Puts a small object there, reads it back and takes it away.
pub(crate) fn look(url: &str, config: &Config) -> Result<(), Error> {
    let (remote, content) = (Remote::open(url, config)?, b"bilin".to_vec());
    remote.put(PROBE, content.clone())?;
    let read = remote.get(PROBE, content.len() as u64)?;
    remote.delete(vec![PROBE.to_owned()])?;
    match read.as_ref() == Some(&content) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Io, format!("{url} does not give back what was put there"))),
    }
}

impl Remote {
    fn open(url: &str, config: &Config) -> Result<Remote, Error> {
        let refuse = |detail: String| {
            Error::invalid(format!("backups.remote_url {url:?}: {detail}"))
                .with_hint("expected s3://bucket, s3://bucket/prefix or file:///absolute/folder")
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bilin-offsite")
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot start a thread: {error}")))?;
        let (store, prefix): (Box<dyn Store>, String) = match url.split_once("://") {
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(refuse("it names no bucket".to_owned()));
                }
                (Box::new(s3(bucket, config, &refuse)?), prefix.trim_matches('/').to_owned())
            }
            Some(("file", folder)) if folder.starts_with('/') => {
                std::fs::create_dir_all(folder).map_err(|error| refuse(error.to_string()))?;
                let local =
                    LocalFileSystem::new_with_prefix(folder).map_err(|error| refuse(error.to_string()))?;
                (Box::new(local.with_automatic_cleanup(true).with_fsync(true)), String::new())
            }
            _ => return Err(refuse("it is of no known kind".to_owned())),
        };
        let prefix = if prefix.is_empty() { prefix } else { format!("{prefix}/") };
        Ok(Remote { address: url.to_owned(), store, prefix, runtime: Some(runtime) })
    }

    fn wait<T>(&self, what: impl Future<Output = object_store::Result<T>>) -> Result<T, Error> {
        let Some(runtime) = &self.runtime else {
            return Err(Error::new(ErrorKind::Internal, "the place for backups is closed"));
        };
        runtime.block_on(what).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &object_store::Error) -> Error {
        Error::new(ErrorKind::Io, format!("cannot use {}: {error}", self.address)).with_hint(
            "check address, bucket, keys and network; backups on this machine are good, and sending is tried again",
        )
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        Path::parse(format!("{}{key}", self.prefix))
            .map_err(|error| Error::invalid(format!("object key {key:?}: {error}")))
    }
}

fn s3(
    bucket: &str,
    config: &Config,
    refuse: &dyn Fn(String) -> Error,
) -> Result<object_store::aws::AmazonS3, Error> {
    // One provider of cryptography for the process; a second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let offsite = &config.offsite;
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_MAX, ..RetryConfig::default() };
    let mut client = ClientOptions::new().with_timeout(REQUEST_MAX).with_connect_timeout(CONNECT_MAX);
    if offsite.endpoint.as_deref().is_some_and(is_this_machine) {
        client = client.with_allow_http(true);
    }
    // The standard AWS_* variables first, ours over them.
    let mut builder =
        AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).with_client_options(client);
    if let Some(endpoint) = &offsite.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &offsite.region {
        builder = builder.with_region(region);
    }
    if let (Some(key), Some(secret)) = (&offsite.access_key, &offsite.secret_key) {
        builder = builder.with_access_key_id(key).with_secret_access_key(secret);
    }
    builder.build().map_err(|error| refuse(error.to_string()))
}

/// Without TLS only where nobody else can listen.
pub(crate) fn is_this_machine(endpoint: &str) -> bool {
    let Some(rest) = endpoint.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.split(']').next())
        .unwrap_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name));
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl ObjectStore for Remote {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let path = self.path(key)?;
        self.wait(self.store.put(&path, bytes.into())).map(drop)
    }

    fn get(&self, key: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(key)?;
        let found = self.wait(async {
            match self.store.get(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
                Ok(found) if found.meta.size > max_bytes => Ok(Some(Err(found.meta.size))),
                Ok(found) => found.bytes().await.map(|bytes| Some(Ok(bytes))),
            }
        })?;
        match found {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes.to_vec())),
            Some(Err(bytes)) => Err(Error::new(
                ErrorKind::Damaged,
                format!(
                    "object \"{key}\" at {} is damaged: expected at most {max_bytes} bytes, found {bytes}",
                    self.address
                ),
            )),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        let whole = format!("{}{prefix}", self.prefix);
        let below = whole.trim_end_matches('/');
        let path = (!below.is_empty()).then(|| Path::parse(below)).transpose();
        let path = path.map_err(|error| Error::invalid(format!("object prefix {prefix:?}: {error}")))?;
        let found = self.wait(self.store.list(path.as_ref()).try_collect::<Vec<_>>())?;
        let key = |path: &Path| path.as_ref().strip_prefix(self.prefix.as_str()).map(str::to_owned);
        Ok(found.iter().filter_map(|meta| Some((key(&meta.location)?, meta.size))).collect())
    }

    fn delete(&self, keys: Vec<String>) -> Result<(), Error> {
        for key in keys {
            let path = self.path(&key)?;
            self.wait(async {
                match self.store.delete(&path).await {
                    Err(object_store::Error::NotFound { .. }) => Ok(()),
                    deleted => deleted,
                }
            })?;
        }
        Ok(())
    }
}

impl Drop for Remote {
    /// Without waiting, since the last holder may be async code, which may not wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Sends backups in the background for as long as it is held: the newest of each collection that is not there yet, and
/// again after a pause what failed.
pub(crate) struct Sending {
    _stop: Sender<()>,
}

impl Sending {
    /// `keep` of each collection stay in the other place.
    pub(crate) fn start(engine: &Arc<Engine>, keep: usize) -> Result<Sending, Error> {
        let (stop, stopped) = channel();
        let engine = Arc::clone(engine);
        std::thread::Builder::new()
            .name("bilin-sending".to_owned())
            .spawn(move || send(&engine, keep, &stopped))
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot start a thread: {error}")))?;
        Ok(Sending { _stop: stop })
    }
}

fn send(engine: &Engine, keep: usize, stopped: &Receiver<()>) {
    let mut pause = LOOK_EVERY;
    loop {
        let failed = engine.push_pending(keep).map_or(true, |failed| !failed.is_empty());
        pause = if failed { (pause * 2).min(PAUSE_MAX) } else { LOOK_EVERY };
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for endpoint in ["http://127.0.0.1:8333", "http://localhost:9000/", "http://[::1]:1"] {
            assert!(is_this_machine(endpoint), "{endpoint}");
        }
        for endpoint in
            ["https://127.0.0.1", "http://10.0.0.1:9000", "http://localhost.evil.example", "127.0.0.1"]
        {
            assert!(!is_this_machine(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn objects_in_a_folder_are_kept_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().join("here").display());
        let remote = Remote::open(&url, &Config::defaults().unwrap()).unwrap();
        assert_eq!(remote.list("").unwrap(), []);
        assert_eq!(remote.get("点/parts/a", 9).unwrap(), None);
        remote.put("点/parts/a", b"abc".to_vec()).unwrap();
        remote.put("点/backups/t.json", b"{}".to_vec()).unwrap();
        assert_eq!(remote.get("点/parts/a", 3).unwrap().as_deref(), Some(&b"abc"[..]));
        assert_eq!(remote.get("点/parts/a", 2).unwrap_err().kind, ErrorKind::Damaged);
        assert_eq!(remote.list("点/parts/").unwrap(), [("点/parts/a".to_owned(), 3)]);
        assert_eq!(remote.list("").unwrap().len(), 2);
        remote.delete(vec!["点/parts/a".to_owned(), "点/parts/b".to_owned()]).unwrap();
        assert_eq!(remote.list("点/parts/").unwrap(), []);
        for wrong in ["ftp://x", "s3://", "file://relative", "here"] {
            assert!(Remote::open(wrong, &Config::defaults().unwrap()).is_err(), "{wrong}");
        }
    }
}
