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
        self.stores.on_what_serves(collection, || {
            self.stores.backup(collection, keep).inspect_err(|error| self.suspect(collection, error))
        })
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

    /// Removes all but the newest `keep` (at least one) backups of a collection; returns those removed.
    pub fn prune_backups(&self, collection: &str, keep: usize) -> Result<Vec<Backup>, Error> {
        self.stores.data().prune_backups(collection, keep).map_err(|error| for_collection(error, collection))
    }

    /// Removes the backup that was taken at this time (seconds since 1970); returns it.
    pub fn remove_backup(&self, collection: &str, taken_unix_s: u64) -> Result<Backup, Error> {
        let backup = self.backup_of(collection, taken_unix_s)?;
        self.stores.data().remove_backup(&backup).map_err(|error| for_collection(error, collection))?;
        Ok(backup)
    }

    /// The backup that was taken at this time (seconds since 1970).
    pub fn backup_of(&self, collection: &str, taken_unix_s: u64) -> Result<Backup, Error> {
        let good = self.backups(Some(collection))?.remove(0).good;
        let times: Vec<String> = good.iter().map(Backup::time).collect();
        good.into_iter().find(|backup| backup.taken_unix_s == taken_unix_s).ok_or_else(|| {
            let message = format!("there is no backup of collection {collection:?} of that time");
            let hint = match times.len() {
                0 => "there are none of this collection".to_owned(),
                _ => format!("there are those of {}", times.join(", ")),
            };
            Error::new(ErrorKind::NotFound, message).with_hint(hint)
        })
    }

    /// Reads a backup back whole and compares it with its manifest and its checksums.
    pub fn verify_backup(&self, backup: &Backup) -> Result<(), Error> {
        self.stores.data().verify_backup(backup).map_err(|error| for_collection(error, &backup.collection))
    }

    /// How many whole collections were moved aside when a backup took their place; nothing is ever deleted there.
    pub fn quarantined_collections(&self) -> usize {
        self.stores.data().quarantined()
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
        let _occupied = self.reencodings.occupy([&backup.collection], "restored");
        let store = self.stores.restore(backup)?;
        self.board.change(collection, |kept| kept.newest_backup = None);
        self.recall.forget(collection);
        self.nudge();
        Ok((backup.clone(), info(self, &*store, self.reencode_status(store.name()))))
    }

    /// Reads a collection back whole and compares it with its checksums; `deep` checks the catalog entry by entry. A
    /// damaged index is moved to quarantine (search is exact until the next maintenance). Where upkeep runs, other damage
    /// makes it look again and switch to a backup.
    pub fn verify(&self, collection: &str, deep: bool) -> Result<Verified, Error> {
        self.stores.verify(collection, deep).inspect_err(|error| self.suspect(collection, error))
    }

    /// Somebody has read what happened to a collection; it is no longer told of. Returns what it was.
    pub fn acknowledge(&self, collection: &str) -> Result<Option<String>, Error> {
        self.stores.acknowledge(collection)
    }
}
