//! Backups: complete copies of a collection, each in a folder named by its time, with a checksummed manifest.
//!
//! ```text
//! <data>/backups/<collection>/20261122T120000Z/manifest.json     every file with length and blake3
//!                                             /catalog.sqlite    one commit, by VACUUM INTO
//!                                             /vectors/*.rows    the committed rows of that commit
//!                                             /index/<n>.idx     its index, if there was one
//! ```
//!
//! Invariants: a folder with a time for a name is complete and was read back whole after it was made (it is built under a
//! name that starts with `.making-`). Files that did not change since the backup before are hard links to that backup's, so
//! a backup costs what is new; no file is shared with the live collection, so damage there never reaches a backup.

mod manifest;
mod receive;
mod restore;
mod take;

use std::path::{Path, PathBuf};

use crate::dir::{Disk, list_if_there, sync_names};
use crate::error::{StoreError, io_error};
use crate::time;
pub(crate) use manifest::Manifest;
pub(crate) use receive::files;
pub use receive::{BackupFile, Receiving};
pub(crate) use restore::copy_into;
pub(crate) use take::{hash_file, take, take_at, verify_made};

/// Name that an unfinished backup starts with.
const MAKING: &str = ".making-";
/// Name that a backup starts with while it is removed.
const LEAVING: &str = ".removing-";

/// One good backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The collection that it is of.
    pub collection: String,
    /// When it was taken, seconds since 1970.
    pub taken_unix_s: u64,
    /// Number of the commit that it holds.
    pub seq: u64,
    /// Live documents in it.
    pub documents: usize,
    /// Live items in it.
    pub items: usize,
    /// Bytes of its files; those shared with the backup before it are counted too.
    pub bytes: u64,
    /// Its folder.
    pub path: PathBuf,
}

impl Backup {
    /// Its time, as its folder is named: `20261122T120000Z`.
    pub fn time(&self) -> String {
        time::compact(self.taken_unix_s)
    }

    fn of(manifest: &Manifest, path: PathBuf) -> Backup {
        Backup {
            collection: manifest.collection.clone(),
            taken_unix_s: manifest.taken_unix_s,
            seq: manifest.seq,
            documents: manifest.documents,
            items: manifest.items,
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            path,
        }
    }
}

/// The backups of a collection.
#[derive(Clone, Debug, Default)]
pub struct Backups {
    /// Those with a manifest that holds, newest first.
    pub good: Vec<Backup>,
    /// Folders whose manifest cannot be used, with the reason.
    pub bad: Vec<(PathBuf, String)>,
}

/// The backups in `folder`.
pub(crate) fn list(disk: &dyn Disk, folder: &Path) -> Result<Backups, StoreError> {
    let entries = list_if_there(disk, folder)?;
    let mut found = Backups::default();
    for (name, path) in entries.into_iter().rev() {
        if time::from_compact(&name).is_none() {
            continue;
        }
        match Manifest::read(disk, &path) {
            Ok(manifest) => found.good.push(Backup::of(&manifest, path)),
            Err(error) => found.bad.push((path, error.to_string())),
        }
    }
    Ok(found)
}

/// What a backup holds.
pub(crate) fn manifest(disk: &dyn Disk, backup: &Backup) -> Result<Manifest, StoreError> {
    Manifest::read(disk, &backup.path)
}

/// Removes all but the newest `keep` backups; returns those removed.
pub(crate) fn prune(disk: &dyn Disk, folder: &Path, keep: usize) -> Result<Vec<Backup>, StoreError> {
    let removed: Vec<Backup> = list(disk, folder)?.good.into_iter().skip(keep.max(1)).collect();
    for backup in &removed {
        remove(disk, folder, backup)?;
    }
    Ok(removed)
}

/// Removes one backup. Files that others share with it stay theirs.
pub(crate) fn remove(disk: &dyn Disk, folder: &Path, backup: &Backup) -> Result<(), StoreError> {
    // Renamed first: a folder with a time for a name is complete.
    let aside = folder.join(format!("{LEAVING}{}", backup.time()));
    if let Err(source) = disk.rename(&backup.path, &aside) {
        // Somebody else removes it just now.
        let is_gone = source.kind() == std::io::ErrorKind::NotFound;
        return if is_gone { Ok(()) } else { Err(io_error("rename", &backup.path, source)) };
    }
    // Before any file goes, or a power loss could bring back a name and not all that it stands for. It also makes sure of
    // the backups that stay, whatever became of the process that made them.
    sync_names(disk, folder)?;
    disk.remove_dir_all(&aside).map_err(|source| io_error("remove", &aside, source))
}

/// Removes what interrupted backups and removals left. Not while a backup is being made there.
pub(crate) fn remove_unfinished(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    let is_left = |name: &str| name.starts_with(MAKING) || name.starts_with(LEAVING);
    for (_, path) in list_if_there(disk, folder)?.iter().filter(|(name, _)| is_left(name)) {
        match disk.remove_dir_all(path) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(|source| io_error("remove", path, source))?,
        }
    }
    Ok(())
}
