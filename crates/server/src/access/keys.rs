//! The key file of a data folder: `keys.json`, beside the collections.
//!
//! Invariants: a secret is never stored, only its BLAKE3 hash (a secret holds 256 random bits, so that a slow hash would add
//! nothing); the file is written aside, synced and renamed, under a lock on `keys.lock`; its checksum is compared before its
//! keys count. `bilin key` writes it while a server runs, which reads it anew when its stamp changes.

use super::Role;
use super::now_unix_s;
use base64::Engine as _;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

const FILE: &str = "keys.json";
const LOCK: &str = "keys.lock";
const VERSION: u32 = 1;
/// A longer file is not ours.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most keys that may be good at one time, and most that are kept with those taken back.
const MAX_KEYS: usize = 1_000;
/// Longest name, characters.
const MAX_NAME: usize = 100;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Every key begins with it, so that scanners of repositories can know one that leaked.
const PREFIX: &str = "bilin_";

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system said no.
    #[error("cannot {what} {path:?}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: String,
        /// What came.
        source: io::Error,
    },
    /// The file is not as it was written.
    #[error("the key file {path:?} cannot be trusted: {why}")]
    Damaged {
        /// Which file.
        path: String,
        /// What differs.
        why: String,
    },
    /// What was asked for cannot be.
    #[error("{0}")]
    Refused(String),
}

/// One key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Stands in the audit log and, in clear, in the key itself.
    pub id: String,
    /// For people; one good key has it at a time.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Only to these collections.
    pub collections: Option<Vec<String>>,
    /// Requests in a second, where it is not what the server says.
    pub rate_per_s: Option<u32>,
    /// When it was made, seconds since 1970.
    pub created_unix_s: u64,
    /// From when on it is good no more, seconds since 1970.
    pub expires_unix_s: Option<u64>,
    /// When it was taken back, seconds since 1970.
    pub revoked_unix_s: Option<u64>,
    /// Of the whole secret.
    #[serde(with = "hex")]
    pub hash: blake3::Hash,
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &blake3::Hash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hash.to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<blake3::Hash, D::Error> {
        blake3::Hash::from_hex(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Wishes for a key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Only to these collections.
    pub collections: Option<Vec<String>>,
    /// From when on it is good no more, seconds since 1970.
    pub expires_unix_s: Option<u64>,
    /// Requests in a second.
    pub rate_per_s: Option<u32>,
}

/// A key that was just made: the only time that its secret is there.
pub struct Secret {
    /// As it is kept.
    pub key: Key,
    /// What requests bring.
    pub secret: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    /// BLAKE3 of the keys as compact JSON.
    checksum: String,
    keys: Vec<Key>,
}

/// What tells that a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    #[cfg(unix)]
    inode: u64,
}

/// The file, and which of its states was read last.
pub struct KeyFile {
    folder: PathBuf,
    /// `None` inside: there was no file.
    seen: Mutex<Option<Stamp>>,
}

impl KeyFile {
    /// That of a data folder, there or not.
    pub fn of(folder: &Path) -> KeyFile {
        KeyFile { folder: folder.to_path_buf(), seen: Mutex::new(None) }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> KeyError + use<> {
        let path = self.path().display().to_string();
        move |source| KeyError::Io { what, path, source }
    }

    fn damaged(&self, why: impl Into<String>) -> KeyError {
        KeyError::Damaged { path: self.path().display().to_string(), why: why.into() }
    }

    /// The keys; none where there is no file.
    ///
    /// # Errors
    /// A file that cannot be read, or is not as it was written.
    pub fn read(&self) -> Result<Vec<Key>, KeyError> {
        let stamp = self.stamp()?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
        if stamp.is_none() { Ok(Vec::new()) } else { self.parse() }
    }

    /// The keys when the file has changed since it was read, or in any case with `force`. A file that is gone is an error
    /// when there was one.
    pub(super) fn read_changed(&self, force: bool) -> Result<Option<Vec<Key>>, KeyError> {
        let stamp = self.stamp()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == stamp && !force {
            return Ok(None);
        }
        let was_there = seen.is_some();
        // Each state is told of once, also a bad one.
        *seen = stamp;
        drop(seen);
        match stamp {
            Some(_) => self.parse().map(Some),
            None if was_there => Err(self.damaged("it is gone; the keys that were read stay good")),
            None => Ok(None),
        }
    }

    fn stamp(&self) -> Result<Option<Stamp>, KeyError> {
        match fs::metadata(self.path()) {
            Ok(told) => Ok(Some(Stamp {
                modified: told.modified().ok(),
                bytes: told.len(),
                #[cfg(unix)]
                inode: std::os::unix::fs::MetadataExt::ino(&told),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("look at")(error)),
        }
    }

    fn parse(&self) -> Result<Vec<Key>, KeyError> {
        let mut bytes = Vec::new();
        let file = File::open(self.path()).map_err(self.io("open"))?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(self.io("read"))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(self.damaged(format!("it is longer than {MAX_FILE_BYTES} bytes")));
        }
        let content: Content =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(error.to_string()))?;
        if content.version != VERSION {
            return Err(self.damaged(format!("expected version {VERSION}, found {}", content.version)));
        }
        if checksum(&content.keys)? != content.checksum {
            return Err(self.damaged("it fails its checksum"));
        }
        Ok(content.keys)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// A name that is taken or too long, too many keys, or what the file system says.
    pub fn create(&self, new: NewKey) -> Result<Secret, KeyError> {
        check_name(&new.name)?;
        let _lock = self.lock()?;
        let mut keys = self.read()?;
        if keys.iter().any(|key| key.revoked_unix_s.is_none() && key.name == new.name) {
            return Err(KeyError::Refused(format!("there is a key named {:?} already", new.name)));
        }
        if keys.iter().filter(|key| key.revoked_unix_s.is_none()).count() >= MAX_KEYS {
            return Err(KeyError::Refused(format!("there are {MAX_KEYS} keys already, which is the most")));
        }
        let (id, secret) = random()?;
        let key = Key {
            id,
            name: new.name,
            role: new.role,
            collections: new.collections,
            rate_per_s: new.rate_per_s,
            created_unix_s: now_unix_s(),
            expires_unix_s: new.expires_unix_s,
            revoked_unix_s: None,
            hash: blake3::hash(secret.as_bytes()),
        };
        keys.push(key.clone());
        while keys.len() > MAX_KEYS {
            let Some(oldest) = keys.iter().position(|key| key.revoked_unix_s.is_some()) else { break };
            keys.remove(oldest);
        }
        self.write(keys)?;
        Ok(Secret { key, secret })
    }

    /// Takes a key back, named by its id or its name.
    ///
    /// # Errors
    /// None that is good has it, or what the file system says.
    pub fn revoke(&self, named: &str) -> Result<Key, KeyError> {
        let _lock = self.lock()?;
        let mut keys = self.read()?;
        let fits = |key: &&mut Key| key.revoked_unix_s.is_none() && (key.id == named || key.name == named);
        let Some(key) = keys.iter_mut().find(fits) else {
            return Err(KeyError::Refused(format!("no good key has the id or the name {named:?}")));
        };
        key.revoked_unix_s = Some(now_unix_s());
        let key = key.clone();
        self.write(keys)?;
        Ok(key)
    }

    /// One changes the file at a time; unlocked when dropped.
    fn lock(&self) -> Result<File, KeyError> {
        fs::create_dir_all(&self.folder).map_err(self.io("make the folder of"))?;
        let lock = File::options().create(true).truncate(false).write(true).open(self.folder.join(LOCK));
        let lock = lock.map_err(self.io("lock"))?;
        lock.lock().map_err(self.io("lock"))?;
        Ok(lock)
    }

    fn write(&self, keys: Vec<Key>) -> Result<(), KeyError> {
        let content = Content { version: VERSION, checksum: checksum(&keys)?, keys };
        let text =
            serde_json::to_vec_pretty(&content).map_err(|error| KeyError::Refused(error.to_string()))?;
        // Made for its owner's eyes only, as such files are.
        let mut aside =
            tempfile::Builder::new().prefix(".keys-").tempfile_in(&self.folder).map_err(self.io("write"))?;
        aside.write_all(&text).and_then(|()| aside.as_file().sync_all()).map_err(self.io("write"))?;
        aside.persist(self.path()).map_err(|error| self.io("rename")(error.error))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(self.io("sync the folder of"))
    }
}

fn checksum(keys: &[Key]) -> Result<String, KeyError> {
    let compact = serde_json::to_vec(keys).map_err(|error| KeyError::Refused(error.to_string()))?;
    Ok(blake3::hash(&compact).to_hex().to_string())
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let length = name.chars().count();
    if length == 0 || length > MAX_NAME || name.chars().any(char::is_control) {
        return Err(KeyError::Refused(format!(
            "expected a name of 1 to {MAX_NAME} characters without control characters, received {name:?}"
        )));
    }
    Ok(())
}

/// An id and the secret that carries it.
fn random() -> Result<(String, String), KeyError> {
    let random = SystemRandom::new();
    let (mut id, mut secret) = ([0; 5], [0; SECRET_BYTES]);
    let filled = random.fill(&mut id).and_then(|()| random.fill(&mut secret));
    filled.map_err(|_| KeyError::Refused("the system gives no random bytes".to_owned()))?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(secret);
    Ok((id.clone(), format!("{PREFIX}{id}_{secret}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str) -> NewKey {
        NewKey {
            name: name.to_owned(),
            role: Role::Write,
            collections: None,
            expires_unix_s: None,
            rate_per_s: None,
        }
    }

    #[test]
    fn the_secret_is_shown_once_and_kept_as_a_hash() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(&folder.path().join("not yet there"));
        let scope = Some(vec!["notes".to_owned()]);
        let made = file.create(NewKey { collections: scope.clone(), ..new("site") }).unwrap();
        assert!(
            made.secret.starts_with("bilin_") && made.secret.len() > 50 && made.secret.contains(&made.key.id)
        );
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains(&made.secret) && !text.contains(made.secret.rsplit('_').next().unwrap()));
        assert_eq!(file.read().unwrap(), [made.key]);
        assert_eq!(file.read().unwrap()[0].collections, scope);
        let other = file.create(new("other")).unwrap();
        assert_ne!(other.secret, made.secret);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o77, 0);
        }
    }

    #[test]
    fn names_are_had_by_one_good_key_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(folder.path());
        let first = file.create(new("site")).unwrap();
        assert!(file.create(new("site")).is_err());
        for bad in ["", "a\nb", &"x".repeat(101)] {
            assert!(file.create(new(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(file.revoke("site").unwrap().id, first.key.id);
        assert!(file.revoke("site").is_err() && file.revoke(&first.key.id).is_err());
        file.create(new("site")).unwrap();
        assert_eq!(file.read().unwrap().len(), 2, "what was taken back stays known");
    }

    #[test]
    fn two_writers_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let folder = folder.path();
                scope.spawn(move || {
                    for number in 0..5 {
                        KeyFile::of(folder).create(new(&format!("{writer}-{number}"))).unwrap();
                    }
                });
            }
        });
        assert_eq!(KeyFile::of(folder.path()).read().unwrap().len(), 20);
    }
}
