//! Keeping collections safe: backups, restoring them, reading everything back.
//!
//! These act on the files of the embedded store; a distributed engine keeps its own.

use crate::collection::{CollectionInfo, info};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, for_collection};
use bilin_store::{Backup, Verified};
use std::path::PathBuf;

/// Backups kept of each collection unless something else is said.
pub const BACKUPS_KEPT: usize = 7;

/// The backups of one collection.
#[derive(Clone, Debug)]
pub struct BackupList {
    /// The collection, which need not exist any more.
    pub collection: String,
    /// Those that can be restored, newest first.
    pub good: Vec<Backup>,
    /// Folders whose manifest cannot be used, with the reason.
    pub bad: Vec<(PathBuf, String)>,
}

impl Engine {
    /// Makes a backup of a collection, reads it back, and removes all but the newest `keep` (at least one).
    pub fn backup(&self, collection: &str, keep: usize) -> Result<Backup, Error> {
        self.stores.backup(collection, keep)
    }

    /// The backups of one collection, or of all that have any.
    pub fn backups(&self, collection: Option<&str>) -> Result<Vec<BackupList>, Error> {
        let data = self.stores.data();
        let failed = |error| for_collection(error, collection.unwrap_or("backups"));
        let names = match collection {
            Some(name) => vec![name.to_owned()],
            None => data.backed_up().map_err(failed)?,
        };
        let lists = names.into_iter().map(|name| {
            let found = data.list_backups(&name).map_err(failed)?;
            Ok(BackupList { collection: name, good: found.good, bad: found.bad })
        });
        lists.collect()
    }

    /// Puts the newest backup taken at or before `at` (seconds since 1970; `None` = the newest) in the place of the
    /// collection, which is moved to quarantine. Returns the backup and the collection as it is now.
    pub fn restore(&self, collection: &str, at: Option<u64>) -> Result<(Backup, CollectionInfo), Error> {
        let good = self.backups(Some(collection))?.remove(0).good;
        let fits = |backup: &&Backup| at.is_none_or(|at| backup.taken_unix_s <= at);
        let Some(backup) = good.iter().find(fits) else {
            let message = match good.len() {
                0 => format!("there is no backup of collection {collection:?}"),
                _ => format!("no backup of collection {collection:?} is that old"),
            };
            let oldest = good.last().map(|oldest| format!("the oldest is of {}", oldest.time()));
            let hint =
                oldest.unwrap_or_else(|| "bilin backup makes one, bilin backup --list shows them".to_owned());
            return Err(Error::new(ErrorKind::NotFound, message).with_hint(hint));
        };
        let store = self.stores.restore(backup)?;
        Ok((backup.clone(), info(&*store)))
    }

    /// Reads a collection back whole and compares it with its checksums; `deep` checks the catalog entry by entry. A
    /// damaged index is moved to quarantine (search is exact until the next maintenance).
    pub fn verify(&self, collection: &str, deep: bool) -> Result<Verified, Error> {
        self.stores.verify(collection, deep)
    }

    /// Somebody has read what happened to a collection; it is no longer told of. Returns what it was.
    pub fn acknowledge(&self, collection: &str) -> Result<Option<String>, Error> {
        self.stores.acknowledge(collection)
    }
}
