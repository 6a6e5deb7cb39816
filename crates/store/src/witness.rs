//! A second witness of the newest commit: the file `head` beside the catalog.
//!
//! SQLite drops every frame of its log behind a damaged one without a word, and an older copy of the catalog is a perfectly good
//! catalog; either way commits that were acknowledged are gone and nothing looks wrong. So each commit is also written down
//! here, after it is durable: its number and counts, in one of two slots by turns, each with the collection's id and a
//! checksum. It is not fsynced by itself. Invariant: what it tells of was durable in the catalog before, so it is never ahead
//! of a catalog that is whole: after a `kill -9` it is at most one commit behind, after a power loss perhaps more, which is
//! harmless. A catalog that is behind it lacks commits. A missing or damaged one (data folders of old have none) is made anew.
//!
//! ```text
//! slot at 0 and at 4096 (so that a torn write can hit one only), u64 and u32 LE:
//! 0   8   magic "BILINHED"        32  8  seq
//! 8   4   version, now 1          40  8  rows
//! 12  4   zeros                   48  8  items
//! 16  16  id of the collection    56  4  changes of settings;  60  4  crc32c of bytes 0..60
//! ```
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::catalog::{self, State};
use crate::collection::VECTORS;
use crate::dir::{Disk, DiskFile, file_name, list_if_there};
use crate::error::{StoreError, catalog_error, io_error};
use crate::opening::QUARANTINE;
use crate::rows::{HEADER_BYTES, Layout};
use crate::time;

/// File name inside a collection's folder.
const FILE_NAME: &str = "head";
const MAGIC: &[u8; 8] = b"BILINHED";
const VERSION: u32 = 1;
const SLOT_BYTES: usize = 64;
const SUM_AT: usize = SLOT_BYTES - 4;
const SLOT_DISTANCE: u64 = 4096;
const FILE_BYTES: u64 = 2 * SLOT_DISTANCE;
/// Pieces in which files are copied.
const PIECE_BYTES: usize = 1 << 20;

/// A commit as it was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    id: [u8; 16],
    seq: u64,
    rows: u64,
    items: u64,
    /// How often the settings were changed, which is no commit with a number.
    changes: u32,
}

impl Told {
    /// Of two, the later has more.
    fn order(self) -> (u64, u32) {
        (self.seq, self.changes)
    }
}

/// The witness of an open collection.
pub(crate) struct Witness {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    newest: Told,
    /// Slot that is written next.
    turn: u64,
    failed: bool,
}

impl Witness {
    /// Opens the witness of a collection that has been found whole at `state`, and brings it up to that; makes it anew where it
    /// does not fit.
    pub(crate) fn keep(
        disk: &dyn Disk,
        folder: &Path,
        id: [u8; 16],
        state: &State,
        changes: u32,
    ) -> Result<Witness, StoreError> {
        let path = folder.join(FILE_NAME);
        let newest = Told { changes, ..told(id, state) };
        let slots = read(disk, folder);
        // Of the right collection, of no later commit, and with both slots in order.
        let fits = slots.iter().flatten().all(|slot| slot.id == id && slot.seq <= newest.seq)
            && slots.iter().flatten().count() == 2;
        if !fits {
            make(disk, folder, &newest)?;
        }
        let file = disk.open(&path).map_err(|source| io_error("open", &path, source))?;
        let turn = u64::from(slots[0].map(Told::order) > slots[1].map(Told::order));
        let mut witness = Witness { file, path, newest, turn, failed: false };
        if fits && !slots.iter().flatten().any(|slot| *slot == newest) {
            witness.write();
        }
        Ok(witness)
    }

    /// Writes down a commit that is durable. Failing to is no failure of the commit: the witness is then only older.
    pub(crate) fn tell(&mut self, seq: u64, rows: usize, items: usize) {
        if seq == self.newest.seq {
            return;
        }
        self.newest = Told { seq, rows: rows as u64, items: items as u64, ..self.newest };
        self.write();
    }

    /// Writes down that the settings were changed once more, durably.
    pub(crate) fn tell_of_settings(&mut self) {
        self.newest.changes = self.newest.changes.saturating_add(1);
        self.write();
    }

    fn write(&mut self) {
        let offset = self.turn * SLOT_DISTANCE;
        match self.file.write_all_at(&encode(&self.newest), offset) {
            Ok(()) => self.turn = 1 - self.turn,
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!(path = %self.path.display(), %error, "cannot write down the newest commit a second time");
            }
            Err(_) => {}
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Err(error) = self.file.sync() {
            tracing::warn!(path = %self.path.display(), %error, "cannot make the second witness durable");
        }
    }
}

fn told(id: [u8; 16], state: &State) -> Told {
    Told { id, seq: state.seq, rows: state.rows as u64, items: state.items as u64, changes: 0 }
}

/// An error when the witness knows of a commit that the catalog does not hold.
pub(crate) fn compare(disk: &dyn Disk, folder: &Path, id: [u8; 16], state: &State) -> Result<(), StoreError> {
    let ours = told(id, state);
    match newest(disk, folder, id).map(|newest| Told { changes: 0, ..newest }) {
        Some(newest) if newest.seq > ours.seq => {
            Err(StoreError::CommitsMissing { found: ours.seq, known: newest.seq })
        }
        // The same number with other counts: the catalog is of a history that was given up, so this commit is missing.
        Some(newest) if newest.seq == ours.seq && newest != ours => {
            Err(StoreError::CommitsMissing { found: ours.seq.saturating_sub(1), known: newest.seq })
        }
        _ => Ok(()),
    }
}

fn newest(disk: &dyn Disk, folder: &Path, id: [u8; 16]) -> Option<Told> {
    read(disk, folder).into_iter().flatten().filter(|slot| slot.id == id).max_by_key(|slot| slot.order())
}

/// How often the settings were changed. When the witness knows of a change that the catalog does not hold, those before stand,
/// and that is written down to be told until acknowledged.
pub(crate) fn count_changes(
    disk: &dyn Disk,
    folder: &Path,
    id: [u8; 16],
    connection: &Connection,
) -> Result<u32, StoreError> {
    let known = newest(disk, folder, id).map_or(0, |newest| newest.changes);
    let count = || -> rusqlite::Result<u32> {
        let found = catalog::changes(connection)?;
        if known > found {
            let told = format!(
                "{}: a change of its settings is missing, those before stand",
                time::utc(time::now())
            );
            tracing::error!(folder = %folder.display(), found, known, "a change of settings is missing");
            tell_too(connection, told)?;
            catalog::set_changes(connection, known)?;
        }
        Ok(found.max(known))
    };
    count().map_err(|source| catalog_error("read how often its settings were changed", source))
}

/// Keeps what happened, beside what is told already.
fn tell_too(connection: &Connection, told: String) -> rusqlite::Result<()> {
    let before = catalog::incident(connection)?;
    let told = before.into_iter().chain([told]).collect::<Vec<_>>().join("; ");
    catalog::set_incident(connection, Some(&told))
}

/// The newest commit that the witness in a folder knows of, whatever collection it is of.
pub(crate) fn last_seq(disk: &dyn Disk, folder: &Path) -> Option<u64> {
    read(disk, folder).into_iter().flatten().map(|slot| slot.seq).max()
}

/// Going on without commits that are missing, when no backup has them.
pub(crate) struct Loss {
    /// Folder in the collection's `quarantine` with copies of what was found.
    place: PathBuf,
    folder: PathBuf,
}

impl Loss {
    /// Copies the catalog, its log and the witness to a folder of their own in `quarantine`. To be called before the collection
    /// is opened, so that SQLite has not changed any of them.
    pub(crate) fn keep(disk: &dyn Disk, folder: &Path) -> Result<Loss, StoreError> {
        let parent = folder.join(QUARANTINE);
        let name = format!("{}-commits-missing", time::now());
        let mut place = parent.join(&name);
        let mut number = 0;
        while place.exists() {
            number += 1;
            place = parent.join(format!("{name}-{number}"));
        }
        disk.create_dir(&place).map_err(|source| io_error("create", &place, source))?;
        let catalog = catalog::FILE_NAME;
        let files =
            [catalog.to_owned(), format!("{catalog}-wal"), format!("{catalog}-shm"), FILE_NAME.to_owned()];
        for name in files {
            copy(disk, &folder.join(name), &place)?;
        }
        disk.sync_dir(&parent).map_err(|source| io_error("make durable the names in", &parent, source))?;
        Ok(Loss { place, folder: folder.to_owned() })
    }

    /// Looks whether the catalog is one older state and not a mixture of two (an older log over a newer file), copies row
    /// segments that hold more than it knows of, since opening cuts them, and writes down in the catalog which commits are
    /// missing, to be told until acknowledged. The witness is set back when the collection is open.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a mixture: then nothing but a backup can serve.
    pub(crate) fn accept(
        &self,
        disk: &dyn Disk,
        connection: &Connection,
        layout: &Layout,
        state: &State,
        missing: &StoreError,
    ) -> Result<(), StoreError> {
        let misfit = catalog::find_misfit(connection, state, true)
            .map_err(|source| catalog_error("check what is there of it", source))?;
        if let Some(misfit) = misfit {
            let detail = format!("{missing}; {}", misfit.detail);
            return Err(StoreError::Corrupt { what: catalog::FILE_NAME.to_owned(), detail });
        }
        let vectors = self.folder.join(VECTORS);
        for (name, path) in list_if_there(disk, &vectors)? {
            let Some(number) = name.strip_suffix(".rows").and_then(|stem| stem.parse::<usize>().ok()) else {
                continue;
            };
            let file = disk.open(&path).map_err(|source| io_error("open", &path, source))?;
            let bytes = file.len().map_err(|source| io_error("read the length of", &path, source))?;
            let known = HEADER_BYTES + layout.rows_in(number, state.rows) * layout.row_bytes();
            if bytes > known as u64 {
                copy(disk, &path, &self.place)?;
            }
        }
        let told = format!(
            "{}: {missing}; what was found is kept in \"{}\"",
            time::utc(time::now()),
            self.place.display()
        );
        tracing::error!(folder = %self.folder.display(), told, "acknowledged commits are missing and no backup has them");
        tell_too(connection, told).map_err(|source| catalog_error("write down what happened", source))
    }
}

/// Copies a file, if it is there, into a folder, and makes it durable.
fn copy(disk: &dyn Disk, source: &Path, place: &Path) -> Result<(), StoreError> {
    let from = match disk.open(source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(|error| io_error("open", source, error))?,
    };
    let target = place.join(file_name(source));
    let to = disk.create(&target).map_err(|error| io_error("create", &target, error))?;
    let bytes = from.len().map_err(|error| io_error("read the length of", source, error))?;
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let piece = buffer.get_mut(..PIECE_BYTES.min((bytes - at) as usize)).unwrap_or_default();
        from.read_exact_at(piece, at).map_err(|error| io_error("read", source, error))?;
        to.write_all_at(piece, at).map_err(|error| io_error("write", &target, error))?;
        at += piece.len() as u64;
    }
    to.sync().map_err(|error| io_error("make durable", &target, error))?;
    disk.sync_dir(place).map_err(|error| io_error("make durable the names in", place, error))
}

/// Both slots; `None` for one that cannot be read or is damaged. Never an error: a witness that cannot be heard says nothing.
fn read(disk: &dyn Disk, folder: &Path) -> [Option<Told>; 2] {
    let path = folder.join(FILE_NAME);
    let file = match disk.open(&path) {
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "cannot open the second witness of the newest commit");
            }
            return [None; 2];
        }
        Ok(file) => file,
    };
    let slots = [0, 1].map(|slot| {
        let mut bytes = [0; SLOT_BYTES];
        file.read_exact_at(&mut bytes, slot * SLOT_DISTANCE).ok().and_then(|()| decode(&bytes))
    });
    if slots == [None; 2] {
        tracing::warn!(path = %path.display(), "the second witness of the newest commit is damaged");
    }
    slots
}

/// Makes the file anew, aside, durable, then renamed; both slots tell the same.
fn make(disk: &dyn Disk, folder: &Path, newest: &Told) -> Result<(), StoreError> {
    let path = folder.join(FILE_NAME);
    let aside = folder.join(format!("{FILE_NAME}.new"));
    let make = || -> io::Result<()> {
        match disk.remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(&aside)?;
        file.set_len(FILE_BYTES)?;
        for slot in [0, 1] {
            file.write_all_at(&encode(newest), slot * SLOT_DISTANCE)?;
        }
        file.sync()?;
        disk.rename(&aside, &path)?;
        disk.sync_dir(folder)
    };
    make().map_err(|source| io_error("write", &path, source))
}

fn encode(told: &Told) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(to) = slot.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    };
    put(0, MAGIC);
    put(8, &VERSION.to_le_bytes());
    put(16, &told.id);
    put(56, &told.changes.to_le_bytes());
    for (at, number) in [(32, told.seq), (40, told.rows), (48, told.items)] {
        put(at, &number.to_le_bytes());
    }
    let sum = crc32c::crc32c(slot.get(..SUM_AT).unwrap_or_default());
    if let Some(to) = slot.last_chunk_mut() {
        *to = sum.to_le_bytes();
    }
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<Told> {
    let number = |at: usize| slot.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let told = Told {
        id: slot.get(16..32)?.try_into().ok()?,
        seq: number(32)?,
        rows: number(40)?,
        items: number(48)?,
        changes: slot.get(56..60)?.try_into().ok().map(u32::from_le_bytes)?,
    };
    // Whatever is not exactly what would be written for the same commit is damaged, or of a bilin to come.
    (encode(&told) == *slot).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::OsDisk;

    const ID: [u8; 16] = [7; 16];

    fn state(seq: u64) -> State {
        State { seq, rows: 10 * seq as usize, documents: 1, items: 5, mark: 0 }
    }

    fn seen(folder: &Path) -> Option<u64> {
        last_seq(&OsDisk, folder)
    }

    #[test]
    fn the_newest_commit_is_told_and_every_flip_costs_one_slot_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(compare(&OsDisk, folder, ID, &state(3)).is_ok(), "data folders of old have none");
        let mut witness = Witness::keep(&OsDisk, folder, ID, &state(3), 0).unwrap();
        for seq in 4..9 {
            witness.tell(seq, 10 * seq as usize, 5);
            assert_eq!(seen(folder), Some(seq));
        }
        drop(witness);
        let error = compare(&OsDisk, folder, ID, &state(6)).unwrap_err();
        assert!(matches!(error, StoreError::CommitsMissing { found: 6, known: 8 }), "{error}");
        assert!(compare(&OsDisk, folder, ID, &state(8)).is_ok());
        assert!(compare(&OsDisk, folder, ID, &state(9)).is_ok());
        assert!(compare(&OsDisk, folder, [8; 16], &state(1)).is_ok(), "it is of another collection");
        let other = State { rows: 1, ..state(8) };
        let error = compare(&OsDisk, folder, ID, &other).unwrap_err();
        assert!(matches!(error, StoreError::CommitsMissing { found: 7, known: 8 }), "{error}");
        let path = folder.join(FILE_NAME);
        let good = std::fs::read(&path).unwrap();
        for at in (0..SLOT_BYTES).chain(4096..4096 + SLOT_BYTES) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(seen(folder), Some(7 | 8)), "byte {at}");
        }
        for cut in [0, 1, 63, 64, 4096, 4100, 8191] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(matches!(seen(folder), None | Some(7 | 8)), "cut to {cut}");
            drop(Witness::keep(&OsDisk, folder, ID, &state(8), 0).unwrap());
            assert_eq!(seen(folder), Some(8), "made anew");
        }
    }

    #[test]
    fn a_witness_of_later_commits_or_of_another_collection_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        drop(Witness::keep(&OsDisk, folder, ID, &state(9), 0).unwrap());
        drop(Witness::keep(&OsDisk, folder, ID, &state(4), 0).unwrap());
        assert!(compare(&OsDisk, folder, ID, &state(4)).is_ok());
        assert_eq!(seen(folder), Some(4));
        drop(Witness::keep(&OsDisk, folder, [1; 16], &state(2), 0).unwrap());
        assert_eq!(seen(folder), Some(2));
        assert!(compare(&OsDisk, folder, [1; 16], &state(1)).is_err());
        let mut witness = Witness::keep(&OsDisk, folder, [1; 16], &state(3), 0).unwrap();
        assert_eq!(seen(folder), Some(3));
        witness.tell(4, 40, 5);
        assert_eq!(seen(folder), Some(4));
        assert!(!folder.join("head.new").exists());
    }
}
