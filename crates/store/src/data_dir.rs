//! The data folder: one process per folder, a folder per collection.
//!
//! Layout: `bilin.lock`, `collections/<name>/`, `reserve`. Invariants: all operations happen under an operating system's lock
//! on `bilin.lock`, which ends with the process however it ends; a folder under `collections/` whose name is that of a
//! collection is complete, because it is built under a name that starts with `.creating-` and renamed, and renamed to
//! `.removing-` before it is removed. What a crash leaves of either is removed at the next open. A backup on its way back
//! is complete when it is named `.restoring-`, and so is the successor of a collection ([`crate::succession`]); the next open
//! finishes its way once the collection it replaces has gone.
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockResult, Weak};
use std::time::Duration;

use crate::backup::{Backup, BackupFile, Backups, Receiving};
use crate::collection::{Collection, Writer};
use crate::dir::{Disk, OsDisk, OwnDisk, Pace, Paced, list_if_there, make_dirs, sync_names};
use crate::error::{StoreError, io_error, is_full};
use crate::full_text::{Analyzer, PlainAnalyzer};
use crate::replica::Times;
use crate::reserve::{RESERVE_BYTES, Reserve};
use crate::rows::Layout;
use crate::settings::Settings;
use crate::{backup, name, opening, time};

const LOCK: &str = "bilin.lock";
const COLLECTIONS: &str = "collections";
const BACKUPS: &str = "backups";
/// Where damaged or replaced collections are moved to.
const QUARANTINE: &str = "quarantine";
const CREATING: &str = ".creating-";
pub(crate) const REMOVING: &str = ".removing-";
/// A complete copy of a backup on its way to the place of a collection.
const RESTORING: &str = ".restoring-";
/// A lock that is held is tried again so many times.
const LOCK_TRIES: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Of a lock file's content, at most this much is shown.
const HOLDER_BYTES: u64 = 256;

/// A way to open the collection in a folder.
type Opener = fn(&str, &Path, Arc<dyn Disk>, Option<Arc<File>>) -> Result<Collection, StoreError>;

/// A data folder, locked by this process.
pub struct DataDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// One object per collection, so that there is one writer per collection in this process too.
    open: Mutex<HashMap<String, Weak<Collection>>>,
    /// One restore at a time; held over the copy, which takes long, and taken before `open`.
    restores: Mutex<()>,
    /// Names of collections of which a backup is being made.
    making: Mutex<BTreeSet<String>>,
    pub(crate) replica_times: Times,
    reserve: Arc<Reserve>,
    analyzer: Arc<dyn Analyzer>,
    /// Unlocked when its last holder, this or an open collection, closes it.
    lock: Arc<File>,
}

impl DataDir {
    /// Creates or opens a data folder.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process (or another `DataDir`) holds it, naming folder and holder.
    pub fn open(path: &Path) -> Result<DataDir, StoreError> {
        DataDir::open_on(path, Arc::new(OsDisk), RESERVE_BYTES)
    }

    pub(crate) fn open_on(
        path: &Path,
        disk: Arc<dyn Disk>,
        reserve_bytes: u64,
    ) -> Result<DataDir, StoreError> {
        make_dirs(&*disk, path)?;
        let path = path.canonicalize().map_err(|source| io_error("open", path, source))?;
        make_dirs(&*disk, &path.join(COLLECTIONS))?;
        let lock = lock(&path)?;
        let (open, restores, making) = (Mutex::default(), Mutex::default(), Mutex::default());
        let reserve = Arc::new(Reserve::new(Arc::clone(&disk), &path, reserve_bytes));
        let analyzer = Arc::new(PlainAnalyzer);
        let (replica_times, lock) = (Times::from_now(), Arc::new(lock));
        let data = DataDir { path, disk, open, restores, making, replica_times, reserve, analyzer, lock };
        // What a killed process renamed is seen here, but may not be durable yet.
        data.sync_names()?;
        data.remove_leftovers()?;
        Ok(data)
    }

    /// Cuts the texts of all collections by `analyzer`. Before any of them is opened.
    #[must_use]
    pub fn with_analyzer(self, analyzer: Arc<dyn Analyzer>) -> DataDir {
        DataDir { analyzer, ..self }
    }

    /// Its canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names on disk, sorted.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self
            .list()?
            .into_iter()
            .filter(|(name, path)| name::check(name).is_ok() && path.is_dir())
            .map(|(name, _)| name)
            .collect())
    }

    /// Creates a collection: complete or not at all, whatever happens meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Name`], [`StoreError::CollectionExists`], [`StoreError::Setting`], or those of the disk.
    pub fn create(&self, name: &str, settings: &Settings) -> Result<Arc<Collection>, StoreError> {
        settings.check()?;
        self.create_with_segments(name, settings, Layout::rows_per_segment_for(settings.dim))
    }

    /// As [`DataDir::create`], with a number of rows per segment (a power of two) of the caller's choice. The usual one
    /// makes segments of 64 to 128 MiB; tests make small ones.
    ///
    /// # Errors
    /// As [`DataDir::create`].
    pub fn create_with_segments(
        &self,
        name: &str,
        settings: &Settings,
        rows_per_segment: usize,
    ) -> Result<Arc<Collection>, StoreError> {
        name::check(name)?;
        DataDir::check_segments(settings, Some(rows_per_segment))?;
        let mut open = self.open_collections();
        let target = self.folder(name);
        if target.exists() {
            return Err(StoreError::CollectionExists { name: name.to_owned() });
        }
        let aside = self.collections().join(format!("{CREATING}{name}"));
        let built = opening::create(&*self.disk, &aside, settings, rows_per_segment).and_then(|()| {
            self.disk.rename(&aside, &target).map_err(|source| io_error("rename", &aside, source))
        });
        if let Err(error) = built {
            if aside.exists()
                && let Err(error) = self.disk.remove_dir_all(&aside)
            {
                tracing::warn!(path = %aside.display(), %error, "cannot remove an unfinished collection");
            }
            return Err(error);
        }
        self.sync_names()?;
        self.open_in(&mut open, name)
    }

    /// Rows of a segment, of the caller's choice or the usual number, for settings that can be.
    pub(crate) fn check_segments(
        settings: &Settings,
        rows_per_segment: Option<usize>,
    ) -> Result<usize, StoreError> {
        settings.check()?;
        let rows = rows_per_segment.unwrap_or_else(|| Layout::rows_per_segment_for(settings.dim));
        if Layout::new(settings.dim, rows, [0; 16]).is_some() {
            return Ok(rows);
        }
        Err(StoreError::Setting {
            name: "rows_per_segment",
            expected: "a power of two, at most 1 GiB of rows".to_owned(),
            received: rows.to_string(),
        })
    }

    /// Opens a collection; the same object as long as someone holds it.
    ///
    /// # Errors
    /// [`StoreError::UnknownCollection`], or [`StoreError::Corrupt`] when its rows or its catalog are damaged.
    pub fn open_collection(&self, name: &str) -> Result<Arc<Collection>, StoreError> {
        name::check(name)?;
        self.open_in(&mut self.open_collections(), name)
    }

    /// Removes a collection that the user asked to delete (renamed aside first, so that a crash leaves all or nothing).
    /// Snapshots that are still held can be searched, but not be asked for items any more.
    ///
    /// # Errors
    /// [`StoreError::UnknownCollection`] when it was removed before, or those of the disk.
    pub fn remove(&self, collection: Arc<Collection>) -> Result<(), StoreError> {
        let mut open = self.open_collections();
        let name = collection.name().to_owned();
        let ours =
            open.get(&name).and_then(Weak::upgrade).is_some_and(|ours| Arc::ptr_eq(&ours, &collection));
        if !ours {
            return Err(self.unknown(&name));
        }
        collection.close()?;
        open.remove(&name);
        drop(collection);
        let aside = self.free_name(&format!("{REMOVING}{name}"));
        self.disk
            .rename(&self.folder(&name), &aside)
            .map_err(|source| io_error("rename", &self.folder(&name), source))?;
        self.sync_names()?;
        self.disk.remove_dir_all(&aside).map_err(|source| io_error("remove", &aside, source))
    }

    /// Makes a backup of the newest commit, beside readers and writers, and reads it back whole before it counts.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the collection itself is damaged, [`StoreError::NoSpace`], or those of the disk; what was
    /// begun is removed by the next backup.
    pub fn backup(&self, collection: &Collection) -> Result<Backup, StoreError> {
        self.backup_paced(collection, &Arc::new(Pace::new(None)))
    }

    /// As [`DataDir::backup`], reading no faster than `pace` allows.
    ///
    /// # Errors
    /// As [`DataDir::backup`]; [`StoreError::Cancelled`] once `pace` was stopped.
    pub fn backup_paced(&self, collection: &Collection, pace: &Arc<Pace>) -> Result<Backup, StoreError> {
        let _one = collection.backups.lock().unwrap_or_else(PoisonError::into_inner);
        let _making = Making::begin(&self.making, collection.name());
        let disk = Paced { disk: Arc::clone(&collection.disk), pace: Arc::clone(pace) };
        match backup::take(collection, &disk, &self.backups(collection.name())) {
            // What a stopped reader meets is the stop.
            Err(StoreError::Io { .. }) if pace.is_stopped() => Err(StoreError::Cancelled),
            made => made,
        }
    }

    /// How many whole collections were moved aside when a backup took their place.
    pub fn quarantined(&self) -> usize {
        crate::status::entries_in(&self.path.join(QUARANTINE))
    }

    /// The backups of a collection, which need not exist any more.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list_backups(&self, name: &str) -> Result<Backups, StoreError> {
        name::check(name)?;
        backup::list(&*self.disk, &self.backups(name))
    }

    /// Names of everything that has backups, sorted.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn backed_up(&self) -> Result<Vec<String>, StoreError> {
        let folder = self.path.join(BACKUPS);
        let entries = list_if_there(&*self.disk, &folder)?;
        Ok(entries.into_iter().map(|entry| entry.0).filter(|name| name::check(name).is_ok()).collect())
    }

    /// Removes all but the newest `keep` (at least one) backups, and what interrupted ones left; returns those removed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn prune_backups(&self, name: &str, keep: usize) -> Result<Vec<Backup>, StoreError> {
        name::check(name)?;
        let removed = backup::prune(&*self.disk, &self.backups(name), keep)?;
        let making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if !making.contains(name) {
            // The lock is held, so that none begins meanwhile.
            backup::remove_unfinished(&*self.disk, &self.backups(name))?;
        }
        Ok(removed)
    }

    /// Removes one backup.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove_backup(&self, backup: &Backup) -> Result<(), StoreError> {
        name::check(&backup.collection)?;
        backup::remove(&*self.disk, &self.backups(&backup.collection), backup)
    }

    /// Reads a backup back whole: every file against its manifest, the catalog by SQLite's own check, rows block by block.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] naming what differs, or those of the disk.
    pub fn verify_backup(&self, backup: &Backup) -> Result<(), StoreError> {
        backup::verify_made(&*self.disk, &backup.path)
    }

    /// As [`DataDir::verify_backup`], reading no faster than `pace` allows.
    ///
    /// # Errors
    /// As [`DataDir::verify_backup`]; [`StoreError::Cancelled`] once `pace` was stopped.
    pub fn verify_backup_paced(&self, backup: &Backup, pace: &Arc<Pace>) -> Result<(), StoreError> {
        let disk = Paced { disk: Arc::clone(&self.disk), pace: Arc::clone(pace) };
        match backup::verify_made(&disk, &backup.path) {
            Err(StoreError::Io { .. }) if pace.is_stopped() => Err(StoreError::Cancelled),
            read => read,
        }
    }

    /// Every file of a backup with its length and checksum, its manifest last.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when its manifest cannot be used, or those of the disk.
    pub fn backup_files(&self, backup: &Backup) -> Result<Vec<BackupFile>, StoreError> {
        backup::files(&*self.disk, backup)
    }

    /// Begins to take in a backup that was kept elsewhere; it counts when [`Receiving::finish`] has read it back. A folder
    /// that stands in its place is moved to `quarantine/` then.
    ///
    /// # Errors
    /// [`StoreError::Name`], or those of the disk.
    pub fn receive_backup(&self, name: &str, taken_unix_s: u64) -> Result<Receiving<'_>, StoreError> {
        name::check(name)?;
        let folder = self.backups(name);
        make_dirs(&*self.disk, &folder)?;
        let making = Making::begin(&self.making, name);
        Receiving::begin(&*self.disk, folder, self.path.join(QUARANTINE), taken_unix_s, making)
    }

    /// Puts a backup in the place of a collection. What stood there, `replaced`, is moved to `quarantine/` and never
    /// deleted; readers that hold it or a snapshot of it go on, writers get [`StoreError::Replaced`]. Complete or not at all.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a file of the backup is not what its manifest says,
    /// [`StoreError::CollectionExists`] when there is a collection of this name and `replaced` is not it.
    pub fn restore(
        &self,
        backup: &Backup,
        replaced: Option<Arc<Collection>>,
    ) -> Result<Arc<Collection>, StoreError> {
        self.restored(backup, replaced).map(|(collection, _)| collection)
    }

    /// As [`DataDir::restore`]; tells also where what was replaced has gone.
    pub(crate) fn restored(
        &self,
        backup: &Backup,
        replaced: Option<Arc<Collection>>,
    ) -> Result<(Arc<Collection>, Option<PathBuf>), StoreError> {
        let name = &backup.collection;
        name::check(name)?;
        let _one = self.one_restore();
        // Asked before the copy too, which takes long.
        self.is_replaceable(&self.open_collections(), name, replaced.as_ref())?;
        let aside = self.copied(backup, |_| Ok(()))?;
        self.exchange(&aside, name, replaced)
    }

    /// As [`DataDir::restore`], where what stands in the place is a collection that cannot be opened.
    ///
    /// # Errors
    /// [`StoreError::CollectionExists`] when it can be opened after all, else as [`DataDir::restore`].
    pub fn restore_over_broken(&self, backup: &Backup) -> Result<Arc<Collection>, StoreError> {
        name::check(&backup.collection)?;
        if self.open_undamaged(&backup.collection).is_ok() {
            return Err(StoreError::CollectionExists { name: backup.collection.clone() });
        }
        self.replace(backup, |_| Ok(())).map(|(collection, _)| collection)
    }

    /// Puts a backup in the place of a collection that is not open because it is damaged; `prepare` may change the copy
    /// before anyone sees it. Returns the collection and where the damaged one went.
    pub(crate) fn replace(
        &self,
        backup: &Backup,
        prepare: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<(Arc<Collection>, PathBuf), StoreError> {
        let name = &backup.collection;
        let _one = self.one_restore();
        let aside = self.copied(backup, prepare)?;
        let mut open = self.open_collections();
        let ready = self.ready(&aside, name)?;
        let quarantined = self.move_to_quarantine(name)?;
        self.put_in_place(&ready, name)?;
        Ok((self.open_in(&mut open, name)?, quarantined))
    }

    /// As [`DataDir::replace`], where the damaged collection is open and in use.
    pub(crate) fn replace_open(
        &self,
        backup: &Backup,
        damaged: &Arc<Collection>,
        prepare: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<(Arc<Collection>, PathBuf), StoreError> {
        let name = &backup.collection;
        let _one = self.one_restore();
        self.is_replaceable(&self.open_collections(), name, Some(damaged))?;
        let aside = self.copied(backup, prepare)?;
        let (collection, quarantined) = self.exchange(&aside, name, Some(Arc::clone(damaged)))?;
        Ok((collection, quarantined.unwrap_or_default()))
    }

    /// Whether `replaced` is what is open under the name, or there is nothing of that name.
    fn is_replaceable(
        &self,
        open: &HashMap<String, Weak<Collection>>,
        name: &str,
        replaced: Option<&Arc<Collection>>,
    ) -> Result<(), StoreError> {
        let ours = open.get(name).and_then(Weak::upgrade);
        let is_same = match (&ours, replaced) {
            (Some(ours), Some(replaced)) => Arc::ptr_eq(ours, replaced),
            (None, None) => !self.folder(name).exists(),
            _ => false,
        };
        if is_same { Ok(()) } else { Err(StoreError::CollectionExists { name: name.to_owned() }) }
    }

    /// Puts a complete copy in the place of a collection; returns it, and where the one before went.
    fn exchange(
        &self,
        aside: &Path,
        name: &str,
        replaced: Option<Arc<Collection>>,
    ) -> Result<(Arc<Collection>, Option<PathBuf>), StoreError> {
        let mut open = self.open_collections();
        if let Err(error) = self.is_replaceable(&open, name, replaced.as_ref()) {
            self.remove_copy(aside);
            return Err(error);
        }
        let ready = self.ready(aside, name)?;
        let mut quarantined = None;
        if let Some(replaced) = replaced {
            replaced.set_aside()?;
            open.remove(name);
            quarantined = Some(self.move_to_quarantine(name)?);
        }
        self.put_in_place(&ready, name)?;
        Ok((self.open_in(&mut open, name)?, quarantined))
    }

    /// A complete, durable copy of a backup, under a name that the next open removes.
    fn copied(
        &self,
        backup: &Backup,
        prepare: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<PathBuf, StoreError> {
        let aside = self.free_name(&format!("{CREATING}{}", backup.collection));
        let copied = backup::copy_into(&*self.disk, &backup.path, &aside).and_then(|_| prepare(&aside));
        if let Err(error) = copied {
            self.remove_copy(&aside);
            return Err(error);
        }
        Ok(aside)
    }

    /// A free place to make the successor of a collection that serves; the next open removes what is left there.
    pub(crate) fn aside_for(&self, source: &Arc<Collection>) -> Result<PathBuf, StoreError> {
        self.is_replaceable(&self.open_collections(), source.name(), Some(source))?;
        Ok(self.free_name(&format!("{CREATING}{}", source.name())))
    }

    /// Opens a collection in a place that nobody looks at.
    pub(crate) fn open_aside(&self, name: &str, aside: &Path) -> Result<Collection, StoreError> {
        let mut collection =
            opening::open(name, aside, Arc::clone(&self.disk), Some(Arc::clone(&self.lock)))?;
        collection.analyzer = Arc::clone(&self.analyzer);
        Ok(collection)
    }

    /// Puts a complete collection that is closed in the place of `old`, whose writers wait, and removes the files of that one.
    pub(crate) fn exchange_for(
        &self,
        aside: &Path,
        open: &mut HashMap<String, Weak<Collection>>,
        old: &Arc<Collection>,
        writer: &mut Writer,
    ) -> Result<Arc<Collection>, StoreError> {
        let name = old.name();
        self.is_replaceable(open, name, Some(old))?;
        let ready = self.ready(aside, name)?;
        old.set_aside_by(writer)?;
        open.remove(name);
        let leaving = self.free_name(&format!("{REMOVING}{name}"));
        let folder = self.folder(name);
        self.disk.rename(&folder, &leaving).map_err(|source| io_error("rename", &folder, source))?;
        self.sync_names()?;
        self.put_in_place(&ready, name)?;
        let collection = self.open_in(open, name)?;
        if let Err(error) = self.disk.remove_dir_all(&leaving) {
            tracing::warn!(path = %leaving.display(), %error, "the next start removes the collection that was replaced");
        }
        Ok(collection)
    }

    pub(crate) fn remove_copy(&self, aside: &Path) {
        if let Err(left) = self.disk.remove_dir_all(aside) {
            tracing::warn!(path = %aside.display(), error = %left, "cannot remove an unfinished copy");
        }
    }

    /// Gives a complete copy the name from which a crash takes it to its place: once the collection has been moved away,
    /// the next open finishes what was begun.
    fn ready(&self, aside: &Path, name: &str) -> Result<PathBuf, StoreError> {
        let ready = self.collections().join(format!("{RESTORING}{name}"));
        if ready.exists() {
            self.disk.remove_dir_all(&ready).map_err(|source| io_error("remove", &ready, source))?;
        }
        self.disk.rename(aside, &ready).map_err(|source| io_error("rename", aside, source))?;
        self.sync_names()?;
        Ok(ready)
    }

    fn put_in_place(&self, aside: &Path, name: &str) -> Result<(), StoreError> {
        self.forget_replicas(name)?;
        self.disk.rename(aside, &self.folder(name)).map_err(|source| io_error("rename", aside, source))?;
        self.sync_names()
    }

    /// Moves a collection's folder aside; returns where to.
    fn move_to_quarantine(&self, name: &str) -> Result<PathBuf, StoreError> {
        let place = self.path.join(QUARANTINE);
        make_dirs(&*self.disk, &place)?;
        let mut target = place.join(format!("{}-{name}", time::compact(time::now())));
        let mut number = 0;
        while target.exists() {
            number += 1;
            target = place.join(format!("{}-{name}-{number}", time::compact(time::now())));
        }
        let folder = self.folder(name);
        self.disk
            .rename(&folder, &target)
            .map_err(|source| io_error("move to quarantine", &folder, source))?;
        for folder in [&place, &self.path] {
            sync_names(&*self.disk, folder)?;
        }
        Ok(target)
    }

    fn backups(&self, name: &str) -> PathBuf {
        self.path.join(BACKUPS).join(name)
    }

    fn open_in(
        &self,
        open: &mut HashMap<String, Weak<Collection>>,
        name: &str,
    ) -> Result<Arc<Collection>, StoreError> {
        self.open_by(opening::open, open, name)
    }

    /// Opens a collection whose newest commits are missing as it is; what was found is copied to quarantine before.
    pub(crate) fn open_with_loss(&self, name: &str) -> Result<Arc<Collection>, StoreError> {
        self.open_by(opening::open_with_loss, &mut self.open_collections(), name)
    }

    fn open_by(
        &self,
        opener: Opener,
        open: &mut HashMap<String, Weak<Collection>>,
        name: &str,
    ) -> Result<Arc<Collection>, StoreError> {
        if let Some(collection) = open.get(name).and_then(Weak::upgrade) {
            return Ok(collection);
        }
        let folder = self.folder(name);
        if !folder.is_dir() {
            return Err(self.unknown(name));
        }
        // SQLite needs some pages for the memory that its connections share, so a full disk needs the reserve here, too.
        let mut collection = self.reserve.help(|| {
            let disk = Arc::new(OwnDisk::new(Arc::clone(&self.disk)));
            opener(name, &folder, disk, Some(Arc::clone(&self.lock)))
        })?;
        collection.reserve = Some(Arc::clone(&self.reserve));
        collection.analyzer = Arc::clone(&self.analyzer);
        let collection = Arc::new(collection);
        open.insert(name.to_owned(), Arc::downgrade(&collection));
        Ok(collection)
    }

    fn unknown(&self, name: &str) -> StoreError {
        StoreError::UnknownCollection { name: name.to_owned(), known: self.names().unwrap_or_default() }
    }

    fn remove_leftovers(&self) -> Result<(), StoreError> {
        for (name, path) in self.list()? {
            if let Some(restored) = name.strip_prefix(RESTORING) {
                let is_moved_away = name::check(restored).is_ok() && !self.folder(restored).exists();
                if is_moved_away {
                    tracing::info!(collection = restored, "finishing an interrupted restore");
                    self.put_in_place(&path, restored)?;
                } else {
                    // What it was to replace is still there and is judged anew.
                    self.disk.remove_dir_all(&path).map_err(|source| io_error("remove", &path, source))?;
                }
                continue;
            }
            if name.starts_with(CREATING) || name.starts_with(REMOVING) {
                tracing::info!(path = %path.display(), "removing what an interrupted create or delete left");
                self.disk.remove_dir_all(&path).map_err(|source| io_error("remove", &path, source))?;
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<(String, PathBuf)>, StoreError> {
        let folder = self.collections();
        self.disk.list(&folder).map_err(|source| io_error("list", &folder, source))
    }

    fn collections(&self) -> PathBuf {
        self.path.join(COLLECTIONS)
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Only for names that passed [`name::check`].
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.collections().join(name)
    }

    pub(crate) fn free_name(&self, stem: &str) -> PathBuf {
        let mut number = 0;
        loop {
            let path = self.collections().join(format!("{stem}-{number}"));
            if !path.exists() {
                return path;
            }
            number += 1;
        }
    }

    fn sync_names(&self) -> Result<(), StoreError> {
        sync_names(&*self.disk, &self.collections())
    }

    /// Without waiting for whoever holds it.
    pub(crate) fn try_open_collections(
        &self,
    ) -> TryLockResult<MutexGuard<'_, HashMap<String, Weak<Collection>>>> {
        self.open.try_lock()
    }

    pub(crate) fn one_restore(&self) -> MutexGuard<'_, ()> {
        self.restores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_collections(&self) -> MutexGuard<'_, HashMap<String, Weak<Collection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A backup under way.
pub(crate) struct Making<'a> {
    all: &'a Mutex<BTreeSet<String>>,
    name: String,
}

impl<'a> Making<'a> {
    fn begin(all: &'a Mutex<BTreeSet<String>>, name: &str) -> Making<'a> {
        all.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Making { all, name: name.to_owned() }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Locks the folder for this process and writes down who holds it, for the message that the next one shows.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    // Not truncated: until the lock is ours, the content is the holder's.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| io_error("open", &path, source))?;
    // A process that this or another one is just starting holds copies of all open files for a moment, locks included.
    let mut locked = file.try_lock();
    for _ in 0..LOCK_TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = file.take(HOLDER_BYTES).read_to_string(&mut holder);
            let holder = match read {
                Ok(_) if !holder.trim().is_empty() => holder.trim().to_owned(),
                _ => "another process".to_owned(),
            };
            return Err(StoreError::Locked { path: folder.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io_error("lock", &path, source)),
    }
    let holder = format!("process {} started at {}\n", std::process::id(), time::utc(time::now()));
    // In place, which needs no room on a full disk once it was written. Without it the lock holds all the same.
    let written = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.write_all(holder.as_bytes()))
        .and_then(|()| file.set_len(holder.len() as u64));
    match written {
        Err(error) if is_full(&error) => Ok(file),
        written => written.map(|()| file).map_err(|source| io_error("write", &path, source)),
    }
}
