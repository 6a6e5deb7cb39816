//! The manifest of a backup in another place: its files, and of which parts each is made.
//!
//! One line of JSON, then a line `blake3 <hex>` over it, as in the folder of a backup. Read with mistrust: lengths, names and
//! checksums are those that a backup can have, or it is refused.

use super::ObjectStore;
use super::push::PART_BYTES;
use crate::error::{Error, ErrorKind};
use bilin_store::{Backup, BackupFile};
use serde::{Deserialize, Serialize};

/// Format written; the only one read.
const FORMAT: u32 = 1;
/// No manifest is longer: some 80 bytes for each part of a hundred terabytes.
const MAX_BYTES: u64 = 1 << 30;

/// A backup in another place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteBackup {
    /// The collection that it is of.
    pub collection: String,
    /// Its time, which names it: `20261122T120000Z`.
    pub time: String,
    /// The same time, seconds since 1970.
    pub taken_unix_s: u64,
    /// Number of the commit that it holds.
    pub seq: u64,
    /// Live documents in it.
    pub documents: usize,
    /// Live items in it.
    pub items: usize,
    /// Bytes of its files; parts that it shares with others are counted too.
    pub bytes: u64,
}

impl From<&Backup> for RemoteBackup {
    fn from(backup: &Backup) -> RemoteBackup {
        RemoteBackup {
            collection: backup.collection.clone(),
            time: backup.time(),
            taken_unix_s: backup.taken_unix_s,
            seq: backup.seq,
            documents: backup.documents,
            items: backup.items,
            bytes: backup.bytes,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    pub backup: RemoteBackup,
    pub files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    pub path: String,
    pub bytes: u64,
    /// Of the whole file, hexadecimal.
    pub blake3: String,
    /// Checksums, which are also names, of its parts in order; all but the last of `part_bytes`.
    pub parts: Vec<String>,
    pub part_bytes: u64,
}

impl Manifest {
    pub(super) fn new(backup: &Backup, files: Vec<File>) -> Manifest {
        Manifest { format: FORMAT, backup: RemoteBackup::from(backup), files }
    }

    /// Whether it is that of this backup with these files.
    pub(super) fn is_of(&self, backup: &Backup, files: &[BackupFile]) -> bool {
        self.backup == RemoteBackup::from(backup)
            && self.files.len() == files.len()
            && self.files.iter().zip(files).all(|(own, file)| {
                (&own.path, own.bytes, &own.blake3) == (&file.path, file.bytes, &file.blake3)
            })
    }

    /// Checksums of all parts, some of them more than once.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.files.iter().flat_map(|file| file.parts.iter().map(String::as_str))
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let line = serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("cannot write a manifest: {error}")))?;
        let sum = blake3::hash(line.as_bytes()).to_hex();
        Ok(format!("{line}\nblake3 {sum}\n").into_bytes())
    }

    fn read(bytes: &[u8], collection: &str, time: &str) -> Result<Manifest, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let (line, sum) = text.split_once('\n').unwrap_or((text, ""));
        if sum != format!("blake3 {}\n", blake3::hash(line.as_bytes()).to_hex()) {
            return Err("its checksum does not fit its content".to_owned());
        }
        let manifest: Manifest = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if manifest.format != FORMAT {
            return Err(format!("expected format {FORMAT}, found {}", manifest.format));
        }
        if (manifest.backup.collection.as_str(), manifest.backup.time.as_str()) != (collection, time) {
            return Err("it is of another backup".to_owned());
        }
        let fits = |file: &File| {
            (1..=PART_BYTES).contains(&file.part_bytes)
                && file.parts.len() as u64 == file.bytes.div_ceil(file.part_bytes)
                && file.parts.iter().all(|part| is_sum(part))
        };
        match manifest.files.iter().find(|file| !fits(file)) {
            Some(file) => Err(format!("the parts of {:?} do not make the file", file.path)),
            None => Ok(manifest),
        }
    }
}

impl File {
    /// Length of the part at this position.
    pub(super) fn part_len(&self, at: usize) -> u64 {
        self.part_bytes.min(self.bytes.saturating_sub(at as u64 * self.part_bytes))
    }
}

fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Where the parts of a collection lie.
pub(super) fn parts(collection: &str) -> String {
    format!("{collection}/parts/")
}

pub(super) fn part(collection: &str, blake3: &str) -> String {
    format!("{collection}/parts/{blake3}")
}

/// Where the manifest of a backup lies.
pub(super) fn key(collection: &str, taken_unix_s: u64) -> String {
    format!("{collection}/backups/{}.json", bilin_store::compact_time(taken_unix_s))
}

/// A key as collection and time, when it is that of a manifest.
fn parse_key(key: &str) -> Option<(&str, u64)> {
    let (collection, rest) = key.split_once('/')?;
    let time = rest.strip_prefix("backups/")?.strip_suffix(".json")?;
    let taken = bilin_store::parse_utc(time)?;
    (bilin_store::check_name(collection).is_ok() && bilin_store::compact_time(taken) == time)
        .then_some((collection, taken))
}

/// The backups in another place.
#[derive(Clone, Debug, Default)]
pub struct OffsiteList {
    /// Those that can be restored.
    pub good: Vec<RemoteBackup>,
    /// Manifests that cannot be used, in words.
    pub bad: Vec<String>,
}

/// The manifests there are.
pub(super) struct Found {
    pub good: Vec<Manifest>,
    /// Those that cannot be used, in words.
    pub bad: Vec<String>,
}

/// All manifests, or those of one collection.
pub(super) fn list(store: &dyn ObjectStore, collection: Option<&str>) -> Result<Found, Error> {
    if let Some(name) = collection {
        bilin_store::check_name(name).map_err(|error| crate::error::for_collection(error, name))?;
    }
    let prefix = collection.map_or_else(String::new, |name| format!("{name}/backups/"));
    let keys = store.list(&prefix)?;
    let mut found = Found { good: Vec::new(), bad: Vec::new() };
    for (name, taken) in keys.iter().filter_map(|(key, _)| parse_key(key)) {
        match get(store, name, taken) {
            Ok(manifest) => found.good.push(manifest),
            Err(error) if error.kind == ErrorKind::Damaged => found.bad.push(error.message),
            // Somebody removes it just now.
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// One manifest.
pub(super) fn get(store: &dyn ObjectStore, collection: &str, taken_unix_s: u64) -> Result<Manifest, Error> {
    let key = key(collection, taken_unix_s);
    let at = store.address();
    let damaged = |detail: String| {
        Error::new(ErrorKind::Damaged, format!("backup manifest \"{key}\" at {at} is damaged: {detail}"))
            .with_hint("restore another backup; move this object away so that the others can be used")
    };
    let bytes = store.get(&key, MAX_BYTES)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no backup manifest \"{key}\" at {at}"))
    })?;
    Manifest::read(&bytes, collection, &bilin_store::compact_time(taken_unix_s)).map_err(damaged)
}
