//! Backups in another place: which objects make one, sending what is new, fetching, checking and removing.
//!
//! ```text
//! <collection>/parts/<blake3>        8 MiB or less of a file, named by their own checksum
//! <collection>/backups/<time>.json   files and their parts; written last, so that it makes the backup exist
//! ```
//!
//! Invariants: a part is one whole object, so an interrupted upload goes on at the part that is missing, and what did not
//! change between two backups is there already; a backup's manifest is written after every one of its parts was read back;
//! a part is removed only when no manifest names it. One data folder owns a place: two that share one would remove each
//! other's parts. The store itself is behind [`ObjectStore`], so that this crate knows no network.

mod fetch;
mod manifest;
mod push;
mod status;
#[cfg(test)]
mod tests;

pub use manifest::{OffsiteList, RemoteBackup};
pub use push::Pushed;
pub use status::{OffsiteState, OffsiteStatus};

pub(crate) use status::Offsite;

use crate::collection::CollectionInfo;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use bilin_store::Backup;
use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

/// A place where objects are kept by key. Keys are relative, `/` between their parts. Every call blocks until it is done
/// and tries again by itself what may go through at a second try.
pub trait ObjectStore: Send + Sync {
    /// What it is called in messages: its address, without any secret.
    fn address(&self) -> String;
    /// Writes an object, whole or not at all.
    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error>;
    /// Reads an object of at most `max_bytes`; `None` when there is none.
    fn get(&self, key: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, Error>;
    /// Keys below `prefix` (which ends with `/`, or is empty for all) with their lengths in bytes.
    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error>;
    /// Removes objects; those that are not there are no error.
    fn delete(&self, keys: Vec<String>) -> Result<(), Error>;
}

impl Engine {
    /// Names the place for backups beyond this machine. Only the first one counts.
    pub fn set_offsite(&self, store: Arc<dyn ObjectStore>) {
        if self.offsite.store.set(store).is_err() {
            tracing::warn!("the place for backups beyond this machine was named before");
        }
    }

    /// Sends a backup to the other place: what is not there yet, each part read back, the manifest last. What fails leaves
    /// the backup on this machine as it is, and goes on where it stopped when it is asked for again.
    pub fn push_offsite(&self, backup: &Backup) -> Result<Pushed, Error> {
        let (store, _one) = self.offsite_alone()?;
        let files = self.stores.data().backup_files(backup);
        let pushed = files
            .map_err(|error| crate::error::for_collection(error, &backup.collection))
            .and_then(|files| push::push(&*store, backup, &files, push::PART_BYTES));
        self.offsite.tell(&backup.collection, backup.taken_unix_s, pushed.as_ref());
        pushed
    }

    /// Sends the newest good backup of every collection that is not there yet, and keeps the newest `keep` of it there. One
    /// that fails does not stop the others; returns the errors. Without another place it does nothing.
    pub fn push_pending(&self, keep: usize) -> Result<Vec<Error>, Error> {
        if self.offsite.store.get().is_none() {
            return Ok(Vec::new());
        }
        let mut failed = Vec::new();
        for list in self.backups(None)? {
            let Some(newest) = list.good.first() else { continue };
            if self.offsite.has(&list.collection, newest.taken_unix_s) {
                continue;
            }
            let sent = self.push_offsite(newest).and_then(|_| self.prune_offsite(&list.collection, keep));
            if let Err(error) = sent {
                tracing::warn!(collection = list.collection, %error, "backup not sent; it is tried again later");
                failed.push(error);
            }
        }
        Ok(failed)
    }

    /// The backups in the other place, of one collection or of all; by collection, newest first.
    pub fn offsite_backups(&self, collection: Option<&str>) -> Result<OffsiteList, Error> {
        let found = manifest::list(&*self.offsite_store()?, collection)?;
        let mut good: Vec<RemoteBackup> = found.good.into_iter().map(|manifest| manifest.backup).collect();
        good.sort_by(|a, b| (&a.collection, b.taken_unix_s).cmp(&(&b.collection, a.taken_unix_s)));
        Ok(OffsiteList { good, bad: found.bad })
    }

    /// Fetches a backup into the folder of backups, where it is read back whole before it counts; `at` as in
    /// [`Engine::restore`]. One that is here and whole is not fetched again.
    pub fn fetch_offsite(&self, collection: &str, at: Option<u64>) -> Result<Backup, Error> {
        let (store, _one) = self.offsite_alone()?;
        let found = manifest::list(&*store, Some(collection))?;
        let fits = |taken: u64| at.is_none_or(|at| taken <= at);
        let newest = found
            .good
            .into_iter()
            .filter(|manifest| fits(manifest.backup.taken_unix_s))
            .max_by_key(|manifest| manifest.backup.taken_unix_s);
        let Some(manifest) = newest else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no backup of collection {collection:?} of that time at {}",
                    store.address()
                ),
            )
            .with_hint("bilin backup --list --remote shows what there is"));
        };
        fetch::fetch(&*store, self.stores.data(), &manifest)
    }

    /// [`Engine::fetch_offsite`], then in the place of the collection as [`Engine::restore`] does it.
    pub fn restore_offsite(
        &self,
        collection: &str,
        at: Option<u64>,
    ) -> Result<(Backup, CollectionInfo), Error> {
        let backup = self.fetch_offsite(collection, at)?;
        self.restore(collection, Some(backup.taken_unix_s))
    }

    /// Reads a backup in the other place back whole, part by part.
    pub fn verify_offsite(&self, backup: &RemoteBackup) -> Result<(), Error> {
        let store = self.offsite_store()?;
        fetch::verify(&*store, &manifest::get(&*store, &backup.collection, backup.taken_unix_s)?)
    }

    /// Removes all but the newest `keep` (at least one) backups of a collection from the other place, then the parts that
    /// none of the others names. Returns those removed. A manifest that cannot be read stops it: nobody knows its parts.
    pub fn prune_offsite(&self, collection: &str, keep: usize) -> Result<Vec<RemoteBackup>, Error> {
        let (store, _one) = self.offsite_alone()?;
        let list = manifest::list(&*store, Some(collection))?;
        if let Some(reason) = list.bad.into_iter().next() {
            return Err(Error::new(ErrorKind::Damaged, format!("{reason}; nothing was removed")).with_hint(
                "move that object away, or make sure of it, so that it is known which parts are needed",
            ));
        }
        let mut found = list.good;
        found.sort_by_key(|manifest| std::cmp::Reverse(manifest.backup.taken_unix_s));
        let old = found.split_off(keep.max(1).min(found.len()));
        if old.is_empty() {
            return Ok(Vec::new());
        }
        let keys = old.iter().map(|manifest| manifest::key(collection, manifest.backup.taken_unix_s));
        store.delete(keys.collect())?;
        let named: BTreeSet<&str> = found.iter().flat_map(manifest::Manifest::parts).collect();
        let all = store.list(&manifest::parts(collection))?;
        let is_unnamed = |key: &str| key.rsplit('/').next().is_some_and(|part| !named.contains(part));
        let unnamed = all.into_iter().map(|(key, _)| key).filter(|key| is_unnamed(key)).collect();
        store.delete(unnamed)?;
        Ok(old.into_iter().map(|manifest| manifest.backup).collect())
    }

    /// How sending goes; `None` without another place.
    pub fn offsite_status(&self) -> Option<OffsiteState> {
        let store = self.offsite.store.get()?;
        Some(OffsiteState { address: store.address(), collections: self.offsite.told() })
    }

    fn offsite_store(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        self.offsite.store.get().cloned().ok_or_else(|| {
            Error::invalid("no place for backups beyond this machine is configured").with_hint(
                "set backups.remote_url (BILIN_BACKUP_URL), such as s3://bucket/prefix or file:///mnt/backups",
            )
        })
    }

    /// Sending, fetching and removing, one at a time: removing must not see half of what another is sending.
    fn offsite_alone(&self) -> Result<(Arc<dyn ObjectStore>, MutexGuard<'_, ()>), Error> {
        let store = self.offsite_store()?;
        Ok((store, self.offsite.work.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
