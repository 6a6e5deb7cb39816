//! A disk that works until it is told which operation is to fail. For tests.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Disk, DiskFile, OsDisk};
use crate::map::Map;

/// Which operation of files fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `write_all_at`, half-way: no space.
    Write,
    /// `set_len` to more: no space.
    Grow,
    /// `sync`.
    Sync,
    /// `map`.
    Map,
}

#[derive(Default)]
pub(crate) struct FaultyDisk {
    fault: Arc<Mutex<Option<Fault>>>,
    /// Operations that failed.
    pub calls: Arc<AtomicUsize>,
    /// What is said of free space, when not the truth.
    pub free_bytes: Mutex<Option<u64>>,
}

impl FaultyDisk {
    pub(crate) fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    pub(crate) fn heal(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn wrap(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { inner, fault: Arc::clone(&self.fault), calls: Arc::clone(&self.calls) })
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        OsDisk.create(path).map(|file| self.wrap(file))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        OsDisk.open(path).map(|file| self.wrap(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.sync_dir(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let told = *self.free_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        told.map_or_else(|| OsDisk.free_bytes(path), Ok)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        OsDisk.list(path)
    }
}

struct FaultyFile {
    inner: Box<dyn DiskFile>,
    fault: Arc<Mutex<Option<Fault>>>,
    calls: Arc<AtomicUsize>,
}

impl FaultyFile {
    fn fails(&self, fault: Fault) -> bool {
        let fails = *self.fault.lock().unwrap_or_else(PoisonError::into_inner) == Some(fault);
        self.calls.fetch_add(usize::from(fails), Ordering::Relaxed);
        fails
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(bytes, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.fails(Fault::Write) {
            self.inner.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write_all_at(bytes, offset)
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.len()? && self.fails(Fault::Grow) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.set_len(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        if self.fails(Fault::Sync) {
            return Err(io::Error::other("the device is gone"));
        }
        self.inner.sync()
    }
    fn map(&self, bytes: usize) -> io::Result<Map> {
        if self.fails(Fault::Map) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.inner.map(bytes)
    }
}
