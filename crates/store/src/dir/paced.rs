//! A disk that is read at a bounded rate, and that can be told to stop: for reading everything back beside searches.
//!
//! Invariant: only reads are held up; after [`Pace::stop`] each fails at once, so that whatever reads ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::InterruptHandle;

use super::{Disk, DiskFile};
use crate::map::Map;

/// Sleeps are cut into pieces of this length, so that a stop is noticed.
const NAP: Duration = Duration::from_millis(20);

/// How fast to read, and whether to go on. Shared by the one who reads and the one who may stop it.
#[derive(Default)]
pub struct Pace {
    bytes_per_s: Option<u64>,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the next bytes may be read.
    next: Option<Instant>,
    /// Of the catalog's check that runs now.
    check: Option<InterruptHandle>,
}

impl Pace {
    /// `None` = as fast as the disk reads.
    pub fn new(bytes_per_s: Option<u64>) -> Pace {
        Pace { bytes_per_s, ..Pace::default() }
    }

    /// Ends the reading; for good.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(check) = &self.state().check {
            check.interrupt();
        }
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Lets [`Pace::stop`] interrupt a statement (or, by `None`, nothing any more).
    pub(crate) fn watch(&self, check: Option<InterruptHandle>) {
        self.state().check = check;
    }

    /// Waits until `bytes` more may be read. Time that was not used earns nothing, so there are no bursts.
    pub(crate) fn take(&self, bytes: usize) -> io::Result<()> {
        if let Some(rate) = self.bytes_per_s.filter(|rate| *rate > 0) {
            let due = {
                let mut state = self.state();
                let now = Instant::now();
                let due = state.next.map_or(now, |next| next.max(now));
                state.next = Some(due + Duration::from_secs_f64(bytes as f64 / rate as f64));
                due
            };
            while !self.is_stopped() {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                std::thread::sleep(left.min(NAP));
            }
        }
        if self.is_stopped() { Err(io::Error::other("reading was stopped")) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A disk whose reads keep the pace.
pub(crate) struct Paced {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) pace: Arc<Pace>,
}

impl Paced {
    fn file(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(PacedFile { file: file?, pace: Arc::clone(&self.pace) }))
    }
}

impl Disk for Paced {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.open(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        self.disk.list(path)
    }
    fn leave(&self) {
        self.disk.leave();
    }
}

struct PacedFile {
    file: Box<dyn DiskFile>,
    pace: Arc<Pace>,
}

impl DiskFile for PacedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.pace.take(bytes.len())?;
        self.file.read_exact_at(bytes, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn map(&self, bytes: usize) -> io::Result<Map> {
        self.file.map(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keep_the_rate_and_stop_when_told() {
        let pace = Pace::new(Some(1 << 20));
        let started = Instant::now();
        for _ in 0..5 {
            pace.take(64 << 10).expect("not stopped");
        }
        // The first needs no wait, four pieces of a sixteenth of a second follow.
        assert!(started.elapsed() >= Duration::from_millis(245), "{:?}", started.elapsed());
        let slow = Arc::new(Pace::new(Some(1)));
        slow.take(1 << 20).expect("not stopped");
        let reader = {
            let slow = Arc::clone(&slow);
            std::thread::spawn(move || slow.take(1))
        };
        slow.stop();
        reader.join().expect("no panic").expect_err("stopped, and not after eleven days");
    }
}
