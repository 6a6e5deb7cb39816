//! One file against its stamp: is there anything to do, and if so its bytes.
//!
//! Length and modification time equal to the stamp's: unchanged, not even read. Otherwise read and hashed (blake3); the
//! same hash means that only the stamp is refreshed. What a table beside a picture says of it belongs to its content: behind the
//! hash of the bytes stands [`TOLD_MARK`] and a hash of that. A file that changes while it is read is read again, so that bytes,
//! hash and stamp always belong together.

use bilin_ingest::{Found, Problem};
use bilin_store::FileStamp;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a file that changes under our eyes is read before it is reported.
const READ_ATTEMPTS: usize = 3;
/// A file changed this recently may change again within the same tick of the file system's clock, so its time is not
/// remembered and the next add compares its hash.
const FRESH: Duration = Duration::from_millis(100);
/// The modification time written for such a file; no file has it.
const UNKNOWN_TIME_NS: i64 = i64::MIN;

/// Hexadecimal digits of a hash of bytes.
const HASH_CHARS: usize = 64;
/// Between it and the hash of what is told of a picture.
const TOLD_MARK: char = '+';
const TOLD_HASH_CHARS: usize = 16;

/// What is to be done with a file.
pub(super) enum Content {
    /// Nothing.
    Unchanged,
    /// The same bytes under a new time: only the stamp is refreshed.
    Touched(FileStamp),
    /// To be read into documents.
    New { bytes: Vec<u8>, stamp: FileStamp },
}

/// The text by which the store knows the file.
pub(super) fn key(found: &Found) -> Result<&str, Problem> {
    found.path.to_str().ok_or_else(|| {
        problem(found, "its path is not valid UTF-8").with_hint("rename the file or the folder it lies in")
    })
}

/// Compares a file with the stamp it was added with, if it was, and reads it where they differ.
pub(super) fn content(found: &Found, known: Option<&FileStamp>, max_bytes: u64) -> Result<Content, Problem> {
    let key = key(found)?;
    let failed = |error: io::Error| problem(found, &format!("cannot be read: {error}"));
    let told = told_hash(&found.fields);
    let is_told_alike = known.is_some_and(|stamp| told == stamp.hash.get(HASH_CHARS..).unwrap_or_default());
    for _ in 0..READ_ATTEMPTS {
        let mut file = File::open(&found.path).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        let modified_ns = modified_ns(&before);
        let is_as_known = |stamp: &FileStamp| stamp.bytes == before.len() && stamp.modified_ns == modified_ns;
        if is_told_alike && known.is_some_and(is_as_known) {
            return Ok(Content::Unchanged);
        }
        if before.len() > max_bytes {
            let reason = format!("it is {} bytes long, the limit is {max_bytes}", before.len());
            return Err(problem(found, &reason).with_hint("cut the file into smaller ones"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
        (&mut file).take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        let after = file.metadata().map_err(failed)?;
        if after.len() != before.len()
            || bytes.len() as u64 != before.len()
            || self::modified_ns(&after) != modified_ns
        {
            continue;
        }
        let hash = format!("{}{told}", blake3::hash(&bytes).to_hex());
        let modified_ns = if is_fresh(&before) { UNKNOWN_TIME_NS } else { modified_ns };
        let stamp = FileStamp { path: key.to_owned(), bytes: before.len(), modified_ns, hash };
        return Ok(match known {
            Some(known) if known.hash == stamp.hash && *known == stamp => Content::Unchanged,
            Some(known) if known.hash == stamp.hash => Content::Touched(stamp),
            _ => Content::New { bytes, stamp },
        });
    }
    Err(problem(found, "it changes while it is read").with_hint("add it again when nothing writes to it"))
}

/// What stands behind the hash of a picture's bytes: nothing where nothing is told of it.
fn told_hash(fields: &bilin_store::Metadata) -> String {
    if fields.is_empty() {
        return String::new();
    }
    let json = serde_json::Value::Object(fields.clone()).to_string();
    let hash = blake3::hash(json.as_bytes()).to_hex();
    format!("{TOLD_MARK}{}", hash.get(..TOLD_HASH_CHARS).unwrap_or_default())
}

/// Nanoseconds since 1970, saturating; a file system without times gives the value that never compares equal.
fn modified_ns(metadata: &Metadata) -> i64 {
    let Ok(modified) = metadata.modified() else { return UNKNOWN_TIME_NS + 1 };
    match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(UNKNOWN_TIME_NS + 1, |ns| -ns),
    }
}

fn is_fresh(metadata: &Metadata) -> bool {
    match metadata.modified().map(|modified| SystemTime::now().duration_since(modified)) {
        Ok(Ok(age)) => age < FRESH,
        // A time in the future (a clock that was set) or none at all: do not trust it.
        Ok(Err(_)) | Err(_) => true,
    }
}

/// A problem of this file.
pub(super) fn problem(found: &Found, reason: &str) -> Problem {
    Problem { path: found.path.clone(), reason: reason.to_owned(), hint: None, is_partial: false }
}

/// Hints read better at the end.
pub(super) trait WithHint {
    /// Says what to do.
    fn with_hint(self, hint: &str) -> Self;
}
impl WithHint for Problem {
    fn with_hint(mut self, hint: &str) -> Problem {
        self.hint = Some(hint.to_owned());
        self
    }
}
