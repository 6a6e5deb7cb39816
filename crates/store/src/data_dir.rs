//! The data folder: one process per folder, a folder per collection.
//!
//! Layout: `bilin.lock` and `collections/<name>/`. Invariants: all operations happen under an operating system's lock on
//! `bilin.lock`, which ends with the process however it ends; a folder under `collections/` whose name is that of a
//! collection is complete, because it is built under a name that starts with `.creating-` and renamed, and renamed to
//! `.removing-` before it is removed. What a crash leaves of either is removed at the next open.
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::collection::Collection;
use crate::dir::{Disk, OsDisk};
use crate::error::{StoreError, io_error};
use crate::rows::Layout;
use crate::settings::Settings;
use crate::{name, opening};

const LOCK: &str = "bilin.lock";
const COLLECTIONS: &str = "collections";
const CREATING: &str = ".creating-";
const REMOVING: &str = ".removing-";
/// Of a lock file's content, at most this much is shown.
const HOLDER_BYTES: u64 = 256;

/// A data folder, locked by this process.
pub struct DataDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// One object per collection, so that there is one writer per collection in this process too.
    open: Mutex<HashMap<String, Weak<Collection>>>,
    /// Unlocked when its last holder, this or an open collection, closes it.
    lock: Arc<File>,
}

impl DataDir {
    /// Creates or opens a data folder.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process (or another `DataDir`) holds it, naming folder and holder.
    pub fn open(path: &Path) -> Result<DataDir, StoreError> {
        fs::create_dir_all(path.join(COLLECTIONS)).map_err(|source| io_error("create", path, source))?;
        let path = path.canonicalize().map_err(|source| io_error("open", path, source))?;
        let lock = lock(&path)?;
        let data = DataDir { path, disk: Arc::new(OsDisk), open: Mutex::default(), lock: Arc::new(lock) };
        data.disk
            .sync_dir(&data.path)
            .map_err(|source| io_error("make durable the names in", &data.path, source))?;
        data.remove_leftovers()?;
        Ok(data)
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
        settings.check()?;
        if Layout::new(settings.dim, rows_per_segment, [0; 16]).is_none() {
            return Err(StoreError::Setting {
                name: "rows_per_segment",
                expected: "a power of two, at most 1 GiB of rows".to_owned(),
                received: rows_per_segment.to_string(),
            });
        }
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

    fn open_in(
        &self,
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
        let collection =
            Arc::new(opening::open(name, &folder, Arc::clone(&self.disk), Some(Arc::clone(&self.lock)))?);
        open.insert(name.to_owned(), Arc::downgrade(&collection));
        Ok(collection)
    }

    fn unknown(&self, name: &str) -> StoreError {
        StoreError::UnknownCollection { name: name.to_owned(), known: self.names().unwrap_or_default() }
    }

    fn remove_leftovers(&self) -> Result<(), StoreError> {
        for (name, path) in self.list()? {
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

    /// Only for names that passed [`name::check`].
    fn folder(&self, name: &str) -> PathBuf {
        self.collections().join(name)
    }

    fn free_name(&self, stem: &str) -> PathBuf {
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
        let folder = self.collections();
        self.disk.sync_dir(&folder).map_err(|source| io_error("make durable the names in", &folder, source))
    }

    fn open_collections(&self) -> MutexGuard<'_, HashMap<String, Weak<Collection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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
    match file.try_lock() {
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
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let holder = format!("process {} started at {}\n", std::process::id(), utc(now));
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(holder.as_bytes()))
        .map_err(|source| io_error("write", &path, source))?;
    Ok(file)
}

/// `2026-01-31T12:00:00Z`, by the civil-from-days algorithm (<https://howardhinnant.github.io/date_algorithms.html>).
fn utc(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_civil() {
        assert_eq!(super::utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(super::utc(1_798_761_599), "2026-12-31T23:59:59Z");
    }
}
