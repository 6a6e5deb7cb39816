//! The disk as one collection uses it: until its folder becomes someone else's.
//!
//! A collection that a backup replaces goes on answering the readers that hold it, while its folder moves and another one
//! takes the name. Invariant: after [`Disk::leave`] no path is opened, made, renamed or removed through this handle any more,
//! so that what ends late (a build, a backup, the last reader of a retired index) never touches the files of its successor.
//! Files that are open stay open: on Unix they move with their folder.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Disk, DiskFile};

/// Why an operation was not tried.
#[derive(Debug, thiserror::Error)]
#[error("the collection was replaced or removed meanwhile")]
struct Left;

/// Whether an operation was not tried since its collection has left.
pub(crate) fn has_left(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Left>())
}

/// Operations on names that end at once when told so.
pub(crate) struct OwnDisk {
    inner: Arc<dyn Disk>,
    /// Read while an operation is under way, so that leaving waits for it.
    has_left: RwLock<bool>,
}

impl OwnDisk {
    pub(crate) fn new(inner: Arc<dyn Disk>) -> OwnDisk {
        OwnDisk { inner, has_left: RwLock::new(false) }
    }

    fn with<T>(&self, operation: impl FnOnce(&dyn Disk) -> io::Result<T>) -> io::Result<T> {
        let has_left = self.has_left.read().unwrap_or_else(PoisonError::into_inner);
        if *has_left {
            return Err(io::Error::other(Left));
        }
        operation(&*self.inner)
    }
}

impl Disk for OwnDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| disk.create_dir(path))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.with(|disk| disk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.with(|disk| disk.open(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|disk| disk.rename(from, to))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|disk| disk.link(from, to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| disk.remove_file(path))
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| disk.remove_dir_all(path))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| disk.sync_dir(path))
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.with(|disk| disk.free_bytes(path))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        self.with(|disk| disk.list(path))
    }
    fn leave(&self) {
        *self.has_left.write().unwrap_or_else(PoisonError::into_inner) = true;
    }
}
