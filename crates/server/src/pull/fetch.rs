//! One file over HTTP into a `.part` file that a later try goes on with.
//!
//! Invariants: never more bytes than were announced; the part of one content is never put before the rest of another (its
//! name has the checksum of the whole where the hub tells one, and without one it goes on only under `If-Range` with a
//! strong validator); the token goes to the hub's own origin and nowhere a redirect leads. Sources: RFC 9110 (ranges, 14; `If-Range`,
//! 13.1.5).

use super::digest::Checksum;
use super::hub::RemoteFile;
use crate::causes::with_causes;
use crate::cli::Failure;
use crate::offsite::is_this_machine;
use reqwest::header::{
    AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest without a byte.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 10;
/// Tries in a row that bring nothing before a file is given up.
const FRUITLESS_MAX: u32 = 5;
/// Tries in all.
const TRIES_MAX: u32 = 100;
/// First pause; each further one without a byte between doubles it.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause that a server may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Most bytes of a file whose size the hub does not tell.
pub(super) const UNTOLD_MAX_BYTES: u64 = 16 << 20;
/// Most bytes of an answer that lists files.
const LISTING_MAX_BYTES: usize = 32 << 20;

/// A hub's address and how to ask there.
pub(super) struct Fetcher {
    client: Client,
    endpoint: Url,
    token: Option<HeaderValue>,
}

/// Why a try brought no whole file.
enum Miss {
    /// Worth another try, after a pause of at least so long.
    Again(String, Duration),
    /// Not worth one.
    Never(Failure),
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Miss {
        Miss::Never(failure)
    }
}

fn again(why: impl Into<String>) -> Miss {
    Miss::Again(why.into(), Duration::ZERO)
}

impl Fetcher {
    /// `token` is sent to `endpoint` only, and not even there without TLS unless it is this machine.
    pub(super) fn new(endpoint: Url, token: Option<&str>) -> Result<Fetcher, Failure> {
        // One provider of cryptography for the process; a second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("bilin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::mendable(format!("cannot set up HTTP: {error}")))?;
        let is_safe = endpoint.scheme() == "https" || is_this_machine(endpoint.as_str());
        let token = match token.filter(|token| is_safe && !token.is_empty()) {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| Failure::mendable("HF_TOKEN holds characters that no token has"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Fetcher { client, endpoint, token })
    }

    /// The listing at `url`.
    pub(super) async fn listing(&self, url: &Url) -> Result<Vec<u8>, Failure> {
        let mut tries = Tries::default();
        loop {
            match self.small(url).await {
                Ok(body) => return Ok(body),
                Err(miss) => tries.after(miss, false, url.as_str()).await?,
            }
        }
    }

    async fn small(&self, url: &Url) -> Result<Vec<u8>, Miss> {
        let mut response = self.ask(url, None).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&response, url));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| again(with_causes(&error)))? {
            body.extend_from_slice(&chunk);
            if body.len() > LISTING_MAX_BYTES {
                let most = LISTING_MAX_BYTES;
                return Err(
                    Failure::mendable(format!("the answer of {url} is longer than {most} bytes")).into()
                );
            }
        }
        Ok(body)
    }

    /// The file at `url` to `path`, whole and with its checksum; `done` is told how many bytes of it there are.
    pub(super) async fn file(
        &self,
        url: &Url,
        file: &RemoteFile,
        path: &Path,
        done: &dyn Fn(u64),
    ) -> Result<(), Failure> {
        let part = Part::of(path, file.checksum.as_ref());
        let mut tries = Tries::default();
        loop {
            let before = part.length();
            match self.go_on(url, file, &part, done).await {
                Ok(()) => {
                    return fs::rename(&part.path, path)
                        .map_err(|error| cannot("rename", &part.path, &error));
                }
                Err(miss) => tries.after(miss, part.length() > before, &file.path).await?,
            }
        }
    }

    /// One try; `Ok` when the part is the whole file.
    async fn go_on(&self, url: &Url, file: &RemoteFile, part: &Part, done: &dyn Fn(u64)) -> Result<(), Miss> {
        let most = file.size.unwrap_or(UNTOLD_MAX_BYTES);
        let mut have = part.length();
        let validator = part.validator();
        let goes_on = have <= most && (file.checksum.is_some() || validator.is_some());
        if have > 0 && !goes_on {
            part.remove();
            have = 0;
        }
        if file.size != Some(have) || have == 0 {
            let range = (have > 0).then_some((have, validator.as_deref()));
            let response = self.ask(url, range).await?;
            self.receive(response, url, file, part, have, done).await?;
        }
        part.check(file)
    }

    async fn receive(
        &self,
        mut response: Response,
        url: &Url,
        file: &RemoteFile,
        part: &Part,
        have: u64,
        done: &dyn Fn(u64),
    ) -> Result<(), Miss> {
        let mut have = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if have > 0 => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
                match range.and_then(content_range) {
                    Some((first, total))
                        if first == have && file.size.is_none_or(|size| total == Some(size)) =>
                    {
                        have
                    }
                    _ => {
                        part.remove();
                        return Err(again(format!(
                            "the server sent the range {range:?}, not that from {have}"
                        )));
                    }
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                part.remove();
                return Err(again("the server has no such range"));
            }
            _ => return Err(refused(&response, url)),
        };
        let most = file.size.unwrap_or(UNTOLD_MAX_BYTES);
        let too_long = || {
            part.remove();
            let told = if file.size.is_some() { "announced" } else { "read of a file of unknown size" };
            Miss::from(Failure::mendable(format!("{:?} is longer than the {most} bytes {told}", file.path)))
        };
        if response.content_length().is_some_and(|length| have.saturating_add(length) > most) {
            return Err(too_long());
        }
        part.remember(response.headers().get(ETAG))?;
        let mut out = part.open(have)?;
        done(have);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    have += chunk.len() as u64;
                    if have > most {
                        return Err(too_long());
                    }
                    out.write_all(&chunk).map_err(|error| cannot("write", &part.path, &error))?;
                    done(have);
                }
                Ok(None) => break,
                Err(error) => return Err(again(with_causes(&error))),
            }
        }
        out.sync_all().map_err(|error| cannot("write", &part.path, &error))?;
        match file.size {
            Some(size) if have < size => Err(again(format!("the body ended after {have} of {size} bytes"))),
            _ => Ok(()),
        }
    }

    /// An answer, wherever redirects lead; `range`: from which byte on, if the content is still that one.
    async fn ask(&self, url: &Url, range: Option<(u64, Option<&str>)>) -> Result<Response, Miss> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.client.get(url.clone());
            if let Some(token) = &self.token
                && url.origin() == self.endpoint.origin()
            {
                request = request.header(AUTHORIZATION, token.clone());
            }
            if let Some((first, validator)) = range {
                request = request.header(RANGE, format!("bytes={first}-"));
                if let Some(validator) = validator {
                    request = request.header(IF_RANGE, validator);
                }
            }
            let response = request.send().await.map_err(|error| again(with_causes(&error)))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
            let next = place.and_then(|place| url.join(place).ok());
            let next = next.filter(|next| matches!(next.scheme(), "http" | "https"));
            let next = next.ok_or_else(|| Failure::mendable(format!("{url} redirects to {place:?}")))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(Failure::mendable(format!("{url} redirects to {next}, without TLS")).into());
            }
            url = next;
        }
        Err(Failure::mendable(format!("more than {REDIRECTS_MAX} redirects, the last to {url}")).into())
    }
}

/// How often something was tried.
#[derive(Default)]
struct Tries {
    all: u32,
    fruitless: u32,
}

impl Tries {
    /// Waits before the next try, or fails: `advanced` says whether the last one brought something.
    async fn after(&mut self, miss: Miss, advanced: bool, what: &str) -> Result<(), Failure> {
        let (why, wait) = match miss {
            Miss::Never(failure) => return Err(failure),
            Miss::Again(why, wait) => (why, wait),
        };
        self.all += 1;
        self.fruitless = if advanced { 0 } else { self.fruitless + 1 };
        if self.fruitless >= FRUITLESS_MAX || self.all >= TRIES_MAX {
            return Err(Failure::mendable(format!("cannot fetch {what:?}: {why}"))
                .with_hint("run the same command again: what came is kept, and it goes on from there"));
        }
        tracing::info!(what, why, tries = self.all, "trying again");
        let pause = PAUSE * 2u32.saturating_pow(self.fruitless);
        tokio::time::sleep(pause.max(wait).min(PAUSE_MAX)).await;
        Ok(())
    }
}

/// The beginning of a file.
struct Part {
    path: PathBuf,
    /// Where the validator of what came is kept.
    tag: PathBuf,
}

impl Part {
    fn of(path: &Path, checksum: Option<&Checksum>) -> Part {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let content = checksum.map_or("", |checksum| checksum.text().get(..16).unwrap_or_default());
        let part = path.with_file_name(format!("{name}.{content}.part"));
        Part { tag: part.with_extension("etag"), path: part }
    }

    fn length(&self) -> u64 {
        self.path.metadata().map_or(0, |file| file.len())
    }

    fn validator(&self) -> Option<String> {
        fs::read_to_string(&self.tag).ok().filter(|tag| !tag.is_empty())
    }

    /// Keeps the validator of what comes, if it is a strong one: others say only that contents are alike.
    fn remember(&self, tag: Option<&HeaderValue>) -> Result<(), Failure> {
        let strong = tag.and_then(|tag| tag.to_str().ok()).filter(|tag| tag.starts_with('"'));
        fs::write(&self.tag, strong.unwrap_or_default()).map_err(|error| cannot("write", &self.tag, &error))
    }

    /// Open behind its first `have` bytes.
    fn open(&self, have: u64) -> Result<File, Failure> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        let file = file.and_then(|file| file.set_len(have).map(|()| file));
        file.map_err(|error| cannot("write", &self.path, &error))
    }

    fn remove(&self) {
        // What cannot be removed is cut when it is opened.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.tag);
    }

    /// Whether it is the whole file; one that is not is removed.
    fn check(&self, file: &RemoteFile) -> Result<(), Miss> {
        let has = match &file.checksum {
            Some(checksum) => {
                checksum.is_of(&self.path).map_err(|error| cannot("read", &self.path, &error))?
            }
            None => true,
        };
        if has {
            let _ = fs::remove_file(&self.tag);
            return Ok(());
        }
        self.remove();
        Err(again(format!("{:?} does not have the checksum that the hub tells", file.path)))
    }
}

fn cannot(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::mendable(format!("cannot {action} {:?}: {error}", path.display().to_string()))
}

/// First byte and total of `bytes FIRST-LAST/TOTAL`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// What a status that brings nothing means.
fn refused(response: &Response, url: &Url) -> Miss {
    let status = response.status();
    let message = format!("{url} answered {status}");
    match status.as_u16() {
        408 | 425 | 429 | 500..=599 => {
            let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Miss::Again(message, asked.map_or(Duration::ZERO, Duration::from_secs))
        }
        401 | 403 => Failure::mendable(message)
            .with_hint("there is no such model, or it is not for everybody: set HF_TOKEN to a token that may read it")
            .into(),
        404 => Failure::mendable(message).with_hint("check name, --revision and --from").into(),
        _ => Failure::mendable(message).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for wrong in ["", "bytes */10", "items 1-2/3", "bytes x-9/10"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_of_other_content_have_other_names() {
        let path = Path::new("/x/config.json");
        let one = Part::of(path, Checksum::git(&"a".repeat(40)).as_ref());
        let two = Part::of(path, Checksum::git(&"b".repeat(40)).as_ref());
        assert_ne!(one.path, two.path);
        assert_eq!(one.path.parent(), Some(Path::new("/x")));
        assert!(Part::of(path, None).tag != Part::of(path, None).path);
    }
}
