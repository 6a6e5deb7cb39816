//! Sending a backup: part by part, only what is not there, each read back, the manifest last.
//!
//! A part that a manifest names was read back when that manifest was written, and is trusted by its length. One that no
//! manifest names is what an interrupted run left: it is read back before it is trusted, and sent again when it differs.

use super::ObjectStore;
use super::manifest::{self, File, Manifest};
use crate::error::{Error, ErrorKind};
use bilin_store::{Backup, BackupFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Files are sent in parts of this size.
pub(super) const PART_BYTES: u64 = 8 << 20;

/// What sending did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Parts that were sent.
    pub parts_sent: usize,
    /// Parts that were there already.
    pub parts_kept: usize,
    /// Bytes that were sent.
    pub bytes_sent: u64,
}

struct Sender<'a> {
    store: &'a dyn ObjectStore,
    collection: &'a str,
    /// Parts that are there, with their lengths.
    there: BTreeMap<String, u64>,
    /// Parts that a manifest names.
    trusted: BTreeSet<String>,
    done: Pushed,
}

/// See [`crate::Engine::push_offsite`].
pub(super) fn push(
    store: &dyn ObjectStore,
    backup: &Backup,
    files: &[BackupFile],
    part_bytes: u64,
) -> Result<Pushed, Error> {
    let collection = backup.collection.as_str();
    let manifests = manifest::list(store, Some(collection))?;
    // One that cannot be read vouches for nothing.
    let manifests = manifests.good;
    if manifests.iter().any(|manifest| manifest.is_of(backup, files)) {
        return Ok(Pushed::default());
    }
    let trusted = manifests.iter().flat_map(Manifest::parts).map(str::to_owned).collect();
    let listed = store.list(&manifest::parts(collection))?;
    let name = |key: String| key.rsplit('/').next().unwrap_or_default().to_owned();
    let there = listed.into_iter().map(|(key, bytes)| (name(key), bytes)).collect();
    let mut sender = Sender { store, collection, there, trusted, done: Pushed::default() };
    let mut sent = Vec::with_capacity(files.len());
    for file in files {
        sent.push(sender.file(backup, file, part_bytes)?);
    }
    let manifest = Manifest::new(backup, sent);
    let (key, bytes) = (manifest::key(collection, backup.taken_unix_s), manifest.to_bytes()?);
    store.put(&key, bytes)?;
    if manifest::get(store, collection, backup.taken_unix_s)? != manifest {
        return Err(differs(store, &key));
    }
    Ok(sender.done)
}

impl Sender<'_> {
    fn file(&mut self, backup: &Backup, file: &BackupFile, part_bytes: u64) -> Result<File, Error> {
        let path = file.path.split('/').fold(backup.path.clone(), |folder, part| folder.join(part));
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Io, format!("cannot read {:?}: {error}", path.display().to_string()))
                .with_source(error)
        };
        let mut source = std::fs::File::open(&path).map_err(failed)?;
        let mut whole = blake3::Hasher::new();
        let (mut parts, mut bytes) = (Vec::new(), 0);
        loop {
            let mut part = Vec::new();
            (&mut source).take(part_bytes).read_to_end(&mut part).map_err(failed)?;
            if part.is_empty() {
                break;
            }
            whole.update(&part);
            bytes += part.len() as u64;
            parts.push(self.part(part)?);
        }
        if (bytes, whole.finalize().to_hex().as_str()) != (file.bytes, file.blake3.as_str()) {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!(
                    "backup file {:?} is not what its manifest says; it was not sent",
                    path.display().to_string()
                ),
            )
            .with_hint("bilin backup makes another"));
        }
        let (path, blake3) = (file.path.clone(), file.blake3.clone());
        Ok(File { path, bytes, blake3, parts, part_bytes })
    }

    /// Sends a part if need be; returns its checksum.
    fn part(&mut self, part: Vec<u8>) -> Result<String, Error> {
        let hash = blake3::hash(&part);
        let name = hash.to_hex().to_string();
        let length = part.len() as u64;
        if self.there.get(&name) == Some(&length)
            && (self.trusted.contains(&name) || self.is_as_sent(&name, hash, length)?)
        {
            self.trusted.insert(name.clone());
            self.done.parts_kept += 1;
            return Ok(name);
        }
        let key = manifest::part(self.collection, &name);
        self.store.put(&key, part)?;
        if !self.is_as_sent(&name, hash, length)? {
            return Err(differs(self.store, &key));
        }
        self.there.insert(name.clone(), length);
        self.trusted.insert(name.clone());
        self.done.parts_sent += 1;
        self.done.bytes_sent += length;
        Ok(name)
    }

    fn is_as_sent(&self, name: &str, hash: blake3::Hash, length: u64) -> Result<bool, Error> {
        let back = self.store.get(&manifest::part(self.collection, name), length)?;
        Ok(back.is_some_and(|back| blake3::hash(&back) == hash))
    }
}

fn differs(store: &dyn ObjectStore, key: &str) -> Error {
    let message = format!("object \"{key}\" at {} reads back otherwise than it was sent", store.address());
    Error::new(ErrorKind::Damaged, message).with_hint("the backup on this machine is good; look at the store")
}
