//! Copies for replicas: the newest commit of a collection as a backup of its own, apart from those that are kept.
//!
//! They lie in `<data>/replicas/<collection>/`, made and checked as backups are ([`crate::backup`]), and share their files with
//! each other; two stay, so that who fetches the one before can finish. A follower knows a copy by the name of its collection and
//! by its time alone, so no two copies of a name have one time, also where the collection was removed and made anew within a second.
//! On the other side a copy takes the place of the collection before it, which is removed and not kept as a damaged one would be:
//! its commits are the primary's.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backup::{self, Backup};
use crate::collection::Collection;
use crate::data_dir::{DataDir, REMOVING};
use crate::dir::file_name;
use crate::error::{StoreError, io_error};
use crate::{generation, name, time};

const FOLDER: &str = "replicas";
/// Copies that stay: the newest, and the one before, which somebody may still be fetching.
const KEPT: usize = 2;

/// Times of copies, which go up for each name: past those that lie on disk, those that were forgotten, and the start of the process.
pub(crate) struct Times {
    first: u64,
    /// By name, the earliest that is free.
    free: Mutex<BTreeMap<String, u64>>,
}

impl Times {
    pub(crate) fn from_now() -> Times {
        Times { first: time::now() + 1, free: Mutex::default() }
    }

    /// The time of the next copy of a name, in seconds since 1970, not before `free`.
    fn next(&self, name: &str, free: u64) -> u64 {
        self.raise(name, |own| time::now().max(free).max(own) + 1) - 1
    }

    /// No copy of a name will have a time before this.
    fn not_before(&self, name: &str, free: u64) {
        self.raise(name, |own| own.max(free));
    }

    /// Moves the earliest time that is free to where `to` says, and gives it.
    fn raise(&self, name: &str, to: impl FnOnce(u64) -> u64) -> u64 {
        let mut all = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(name.to_owned()).or_insert(self.first);
        *own = to(*own);
        *own
    }
}

impl DataDir {
    /// The copy that holds the newest commit of a collection, and its index, where there is one.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn newest_replica(&self, collection: &Collection) -> Result<Option<Backup>, StoreError> {
        let snapshot = collection.snapshot();
        let newest = self.replica_copies(collection.name())?.into_iter().next();
        let Some(copy) = newest.filter(|copy| copy.seq == snapshot.seq()) else { return Ok(None) };
        let manifest = backup::manifest(self.disk(), &copy)?;
        // An index is built beside commits, and is waited for by a replica as much as they are.
        let has_index = snapshot.generation().is_none_or(|generation| {
            let file = file_name(&generation::path(&collection.folder, generation.number));
            manifest.file(&format!("{}/{file}", generation::FOLDER)).is_some()
        });
        Ok((has_index && manifest.id == collection.id()).then_some(copy))
    }

    /// Copies of what another collection has replaced, or of one that was removed, are none of its successor's.
    pub(crate) fn forget_replicas(&self, name: &str) -> Result<(), StoreError> {
        let folder = self.replicas(name);
        // What cannot be read keeps nothing from taking its place: then the clock and what this process has made count.
        if let Ok([newest, ..]) = self.replica_copies(name).as_deref() {
            self.replica_times.not_before(name, newest.taken_unix_s + 1);
        }
        // In one step: a copy may still be being made there, and what is removed piece by piece while it grows is never empty.
        let leaving = self.free_name(&format!("{REMOVING}{name}"));
        match self.disk().rename(&folder, &leaving) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(|source| io_error("rename", &folder, source))?,
        }
        if let Err(error) = self.disk().remove_dir_all(&leaving) {
            tracing::warn!(path = %leaving.display(), %error, "the next start removes copies of what was replaced");
        }
        Ok(())
    }

    /// The newest commit of a collection as a copy: the one there is when it holds that commit, else a new one.
    ///
    /// # Errors
    /// As [`DataDir::backup`].
    pub fn replica(&self, collection: &Collection) -> Result<Backup, StoreError> {
        // Beside backups, which may take long: they lie elsewhere.
        let _one = collection.replicas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(copy) = self.newest_replica(collection)? {
            return Ok(copy);
        }
        let folder = self.replicas(collection.name());
        let is_foreign = |copy: &Backup| {
            backup::manifest(self.disk(), copy).map_or(true, |manifest| manifest.id != collection.id())
        };
        if self.replica_copies(collection.name())?.iter().any(is_foreign) {
            self.forget_replicas(collection.name())?;
        }
        let at = |free: u64| self.replica_times.next(collection.name(), free);
        let made = backup::take_at(collection, &*collection.disk, &folder, at)?;
        backup::prune(&*collection.disk, &folder, KEPT)?;
        Ok(made)
    }

    /// The copies of a collection that are there now, newest first.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn replica_copies(&self, name: &str) -> Result<Vec<Backup>, StoreError> {
        name::check(name)?;
        Ok(backup::list(self.disk(), &self.replicas(name))?.good)
    }

    /// Reads a piece of a file of a backup: `bytes` from `offset`, or what there is.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when there is no such file in its manifest, or those of the disk.
    pub fn backup_piece(
        &self,
        backup: &Backup,
        file: usize,
        offset: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let files = backup::files(self.disk(), backup)?;
        let Some(file) = files.get(file) else {
            return Err(StoreError::Corrupt {
                what: format!("backup \"{}\"", backup.path.display()),
                detail: format!("it has {} files, asked for was number {file}", files.len()),
            });
        };
        let path = file.path.split('/').fold(backup.path.clone(), |folder, part| folder.join(part));
        let opened = self.disk().open(&path).map_err(|source| io_error("open", &path, source))?;
        let left = file.bytes.saturating_sub(offset);
        let mut piece = vec![0; left.min(bytes as u64) as usize];
        opened.read_exact_at(&mut piece, offset).map_err(|source| io_error("read", &path, source))?;
        Ok(piece)
    }

    /// As [`DataDir::restore`], where what is replaced is removed.
    ///
    /// # Errors
    /// As [`DataDir::restore`].
    pub fn supersede(
        &self,
        backup: &Backup,
        replaced: Option<Arc<Collection>>,
    ) -> Result<Arc<Collection>, StoreError> {
        let (collection, moved) = self.restored(backup, replaced)?;
        if let Some(path) = moved
            && let Err(error) = self.disk().remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove a collection that was replaced");
        }
        Ok(collection)
    }

    fn replicas(&self, name: &str) -> PathBuf {
        self.path().join(FOLDER).join(name)
    }
}
