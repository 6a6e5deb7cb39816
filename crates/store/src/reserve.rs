//! Room that is kept back for the day when the disk is full.
//!
//! A delete needs some room itself: the write-ahead log grows by the pages that it changes. Opening a collection needs a
//! little, too. So one file per data folder, of bytes that no file system can squeeze, is given back when one of them finds
//! the disk full, and is made again from what is free afterwards. Invariants: nothing depends on the file, whatever its length
//! (it holds no data); making it never fails anything; it grows only after a commit, so that a folder which is only read
//! stays as it is.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::dir::{Disk, DiskFile};
use crate::error::{StoreError, is_full};

/// Name inside the data folder.
const FILE_NAME: &str = "reserve";
/// The pages of some hundred deleted documents, and what opening needs.
pub(crate) const RESERVE_BYTES: u64 = 8 << 20;
/// Most deletes need less than this of it.
const FIRST_BYTES: u64 = 1 << 20;
const PIECE_BYTES: usize = 64 << 10;
/// After the disk was found full, making the reserve larger is not tried again for so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    bytes: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Length of the file; `None` before it was looked at.
    bytes: Option<u64>,
    retry_at: Option<Instant>,
}

impl Reserve {
    /// Of `bytes` in a data folder; nothing is read or written yet.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &Path, bytes: u64) -> Reserve {
        Reserve { disk, folder: folder.to_owned(), bytes, kept: Mutex::default() }
    }

    /// Runs `work`; when it finds no room, gives back a part of the reserve and runs it again, then with all of it.
    pub(crate) fn help<T>(&self, mut work: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut result = work();
        let mut is_used = false;
        for bytes in [FIRST_BYTES, self.bytes] {
            match &result {
                Err(StoreError::NoSpace { what }) if self.give_back(bytes) => {
                    tracing::warn!(what, "the disk is full; the reserve is used");
                    is_used = true;
                    result = work();
                }
                _ => break,
            }
        }
        if is_used {
            self.fill_now();
        }
        result
    }

    /// Makes the file as long as it should be, if there is room. Cheap when it is.
    pub(crate) fn fill(&self) {
        let is_due = {
            let mut kept = self.lock();
            self.bytes_kept(&mut kept) < self.bytes && kept.retry_at.is_none_or(|at| at <= Instant::now())
        };
        if is_due {
            self.fill_now();
        }
    }

    fn fill_now(&self) {
        let mut kept = self.lock();
        let mut at = self.bytes_kept(&mut kept);
        let grown = self.open().and_then(|file| {
            while at < self.bytes {
                file.write_all_at(&noise(at), at)?;
                at += PIECE_BYTES as u64;
            }
            Ok(())
        });
        kept.bytes = Some(at);
        kept.retry_at = grown.err().map(|error| {
            if !is_full(&error) {
                tracing::warn!(folder = %self.folder.display(), %error, "cannot keep room for a full disk");
            }
            Instant::now() + RETRY_AFTER
        });
    }

    /// Whether there was something to give back; at most `bytes`.
    fn give_back(&self, bytes: u64) -> bool {
        let mut kept = self.lock();
        let before = self.bytes_kept(&mut kept);
        if before == 0 {
            return false;
        }
        let left = before.saturating_sub(bytes);
        // A file system may free the blocks only with its next transaction, so it is asked to end this one.
        let cut = self.open().and_then(|file| file.set_len(left).and_then(|()| file.sync()));
        if let Err(error) = &cut {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot give back the room kept for a full disk");
        }
        kept.bytes = Some(left);
        cut.is_ok()
    }

    fn open(&self) -> io::Result<Box<dyn DiskFile>> {
        match self.disk.open(&self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.disk.create(&self.path()),
            file => file,
        }
    }

    /// Whole pieces only: the last one may have been cut short by a full disk.
    fn bytes_kept(&self, kept: &mut Kept) -> u64 {
        let look = || self.disk.open(&self.path()).and_then(|file| file.len()).unwrap_or(0);
        let bytes = kept.bytes.get_or_insert_with(look);
        *bytes - *bytes % PIECE_BYTES as u64
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    /// Plain numbers, whole at any point.
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that cannot be compressed, others for each piece (xorshift64, Marsaglia 2003).
fn noise(at: u64) -> Vec<u8> {
    let mut state = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    while bytes.len() < PIECE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::OsDisk;
    use crate::dir::faulty::{Fault, FaultyDisk};

    fn no_space() -> StoreError {
        StoreError::NoSpace { what: "a test".to_owned() }
    }

    #[test]
    fn it_helps_once_and_is_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let length = || std::fs::metadata(folder.path().join(FILE_NAME)).map_or(0, |file| file.len());
        let reserve = Reserve::new(Arc::new(OsDisk), folder.path(), 3 << 20);
        assert!(matches!(reserve.help(|| Err::<(), _>(no_space())), Err(StoreError::NoSpace { .. })));
        assert_eq!(length(), 0, "nothing was kept yet, nothing was made");
        reserve.fill();
        assert_eq!(length(), 3 << 20);
        // One that needs little, and one that needs all of it.
        for room in [1 << 20, 3 << 20] {
            let helped = reserve.help(|| if length() > (3 << 20) - room { Err(no_space()) } else { Ok(7) });
            assert_eq!((helped.expect("with the reserve"), length()), (7, 3 << 20));
        }
        let again = Reserve::new(Arc::new(OsDisk), folder.path(), 3 << 20);
        again.help(|| if length() == 3 << 20 { Err(no_space()) } else { Ok(()) }).expect("it is found again");
    }

    #[test]
    fn a_full_disk_keeps_what_there_was_room_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(FaultyDisk::default());
        let reserve = Reserve::new(Arc::clone(&disk) as Arc<dyn Disk>, folder.path(), 1 << 20);
        disk.fail(Fault::Write);
        reserve.fill();
        disk.heal();
        reserve.fill();
        let length = std::fs::metadata(folder.path().join(FILE_NAME)).expect("a file").len();
        assert_eq!(length, PIECE_BYTES as u64 / 2, "not tried again at once");
    }
}
