//! Vector rows on disk: append-only segment files of a fixed number of rows, mapped for reading.
//!
//! Invariants: row `i` is row `i % rows_per_segment` of segment `i / rows_per_segment` for ever; bytes of committed rows
//! never change; what lies behind them (a write that was not committed) is cut off at open and overwritten by the next
//! append. The owner writes, commits the count and the block checksums in the catalog, and only then calls
//! [`RowStore::publish`]. Before the commit a large batch is synced; the rows of a small one go into the catalog's row log
//! in the same transaction, and the sync comes later, for many commits at once ([`RowStore::log_change`]). So committed rows
//! are durable in their segment or in the log, and what was synced is never in doubt.
mod dropped;
mod layout;
mod replay;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bilin_index::{RowChunks, SharedF32};

pub(crate) use layout::HEADER_BYTES;
pub(crate) use layout::{BLOCK_BYTES, BlockSum, Layout};
pub(crate) use replay::{Logged, replay};
pub(crate) use verify::{Depth, open_checked, verify};

use crate::dir::{Disk, DiskFile, file_name};
use crate::error::{StoreError, io_error};
use crate::map::{Map, MappedRows};
use layout::checksum_blocks;

#[cfg(target_endian = "big")]
compile_error!("row segments are little-endian and mapped as they are");

/// A file grows to at least this many bytes of rows at first, then doubles, so that it is remapped rarely.
const FIRST_GROWTH_BYTES: usize = 64 << 10;
/// When rows are fsynced at once instead of going into the row log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    /// Rows of a commit go into the log up to this size; more are synced at once, for less than writing them twice.
    pub commit_bytes: usize,
    /// The log grows to this and no further: what an open after a crash has to write again, and what it takes of the catalog.
    pub bytes: usize,
    /// Likewise in entries, for rows of few bytes.
    pub entries: usize,
}

const LOG_LIMITS: LogLimits = LogLimits { commit_bytes: 256 << 10, bytes: 8 << 20, entries: 8 << 10 };

/// The segments of a collection, open for appending. Used by one writer at a time.
pub(crate) struct RowStore {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    layout: Layout,
    committed: usize,
    /// Of the last block when it is partial.
    last_checksum: u32,
    segments: Vec<Segment>,
    /// Committed rows below this number are durable in their segments; those from here on are in the row log.
    synced: usize,
    /// Whether a segment was created whose name is not durable yet.
    new_names: bool,
    /// What the row log holds, also of rows that are synced meanwhile.
    logged: Logged,
    /// Tests make it small.
    pub(crate) limits: LogLimits,
    /// What every dropped segment shows.
    zeros: Option<Arc<dyn SharedF32>>,
}

struct Segment {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Length of the file, header included; what lies behind the committed rows is free room.
    length: usize,
    map: Option<Arc<Map>>,
    /// What the newest commit shows of it, kept so that full segments are not wrapped anew by each commit.
    shown: Option<(usize, Arc<dyn SharedF32>)>,
}

/// Rows that are written but not yet part of a commit.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Rows in all, once committed.
    pub rows: usize,
    /// Checksums to be kept in the same transaction.
    pub blocks: Vec<BlockSum>,
    last_checksum: u32,
    bytes: usize,
    synced: bool,
}

/// What the transaction of a commit has to do to the row log, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogChange {
    /// Everything in it is durable in the segments.
    pub clear: bool,
    /// The rows of this commit are not.
    pub append: bool,
}

impl RowStore {
    /// Opens the segments of `committed` rows, but those that were dropped, and cuts off what lies behind them.
    /// `last_checksum` is the catalog's for the last block. Headers and lengths are checked here, blocks by [`verify`].
    /// `logged` was replayed before.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        layout: Layout,
        committed: usize,
        last_checksum: u32,
        logged: Logged,
        dropped: &BTreeSet<usize>,
    ) -> Result<RowStore, StoreError> {
        let mut segments = Vec::new();
        for number in 0..layout.segments(committed) {
            if dropped.contains(&number) {
                segments.push(Segment::dropped(folder, number, &layout));
                continue;
            }
            let bytes = HEADER_BYTES + layout.rows_in(number, committed) * layout.row_bytes();
            let path = Layout::path(folder, number);
            let file = verify::open_checked(&*disk, &path, &layout, number, bytes)?;
            if file.len().map_err(|source| io_error("read the length of", &path, source))? != bytes as u64 {
                file.set_len(bytes as u64).map_err(|source| io_error("cut", &path, source))?;
            }
            segments.push(Segment { path, file, length: bytes, map: None, shown: None });
        }
        remove_leftovers(&*disk, folder, segments.len(), dropped)?;
        let mut rows = RowStore {
            disk,
            folder: folder.to_owned(),
            layout,
            committed,
            last_checksum,
            segments,
            synced: committed,
            new_names: false,
            logged,
            limits: LOG_LIMITS,
            zeros: None,
        };
        for number in dropped {
            rows.show_zeros(*number)?;
        }
        Ok(rows)
    }

    pub(crate) fn committed(&self) -> usize {
        self.committed
    }

    /// Writes rows (`[n, dim]`) behind the committed ones. Not durable before [`RowStore::sync`].
    pub(crate) fn write(&mut self, values: &[f32]) -> Result<Pending, StoreError> {
        let (rows, blocks, last_checksum) = (self.committed, Vec::new(), self.last_checksum);
        let mut pending = Pending { rows, blocks, last_checksum, bytes: 0, synced: false };
        self.append(&mut pending, values)?;
        Ok(pending)
    }

    /// Writes more rows behind those that are pending.
    pub(crate) fn append(&mut self, pending: &mut Pending, values: &[f32]) -> Result<(), StoreError> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        pending.bytes += bytes.len();
        let row_bytes = self.layout.row_bytes();
        let full = self.layout.segment_bytes();
        for (number, row, part) in self.layout.split(pending.rows, bytes) {
            self.ensure_segment(number)?;
            let start = row * row_bytes;
            if let Some(segment) = self.segments.get_mut(number) {
                segment.ensure_room(start + part.len(), full)?;
                segment
                    .file
                    .write_all_at(part, (HEADER_BYTES + start) as u64)
                    .map_err(|source| io_error("write rows to", &segment.path, source))?;
            }
            pending.last_checksum =
                checksum_blocks(number, start, part, pending.last_checksum, &mut pending.blocks);
            pending.rows += part.len() / row_bytes;
        }
        Ok(())
    }

    /// Whether [`RowStore::sync`] has to come before the commit: these rows are too many for the row log, or it is full.
    pub(crate) fn must_sync(&self, pending: &Pending) -> bool {
        pending.bytes > 0
            && (pending.bytes > self.limits.commit_bytes
                || self.logged.bytes + pending.bytes > self.limits.bytes
                || self.logged.entries >= self.limits.entries)
    }

    /// Makes all that [`RowStore::write`] wrote durable, the rows of earlier commits included. After an error the content of
    /// the files is uncertain: the kernel may have dropped what it could not write, and a second fsync would not say so.
    pub(crate) fn sync(&mut self, pending: &mut Pending) -> Result<(), StoreError> {
        self.sync_committed()?;
        pending.synced = true;
        Ok(())
    }

    /// As [`RowStore::sync`], without rows that are still to be committed.
    pub(crate) fn sync_committed(&mut self) -> Result<(), StoreError> {
        for segment in self.segments.iter().skip(self.synced / self.layout.rows_per_segment) {
            segment.file.sync().map_err(|source| StoreError::Io {
                what: format!("make rows durable in \"{}\"", segment.path.display()),
                source,
            })?;
        }
        if self.new_names {
            self.disk.sync_dir(&self.folder).map_err(|source| StoreError::Io {
                what: format!("make new names durable in \"{}\"", self.folder.display()),
                source,
            })?;
            self.new_names = false;
        }
        self.synced = self.committed;
        Ok(())
    }

    /// Whether the row log holds anything.
    pub(crate) fn is_logged(&self) -> bool {
        self.logged.entries > 0
    }

    /// What the transaction that commits these rows has to do to the row log.
    pub(crate) fn log_change(&self, pending: &Pending) -> LogChange {
        LogChange {
            clear: self.is_logged() && self.synced == self.committed,
            append: pending.bytes > 0 && !pending.synced,
        }
    }

    /// The row log was cleared.
    pub(crate) fn log_cleared(&mut self) {
        self.logged = Logged::default();
    }

    /// Takes the rows of a commit as committed, and what it did to the row log as done.
    pub(crate) fn publish(&mut self, pending: &Pending) {
        let LogChange { clear, append } = self.log_change(pending);
        if clear {
            self.log_cleared();
        }
        if append {
            self.logged.add(pending.bytes);
        } else if self.synced == self.committed {
            self.synced = pending.rows;
        }
        self.committed = pending.rows;
        self.last_checksum = pending.last_checksum;
    }

    /// Gives back the room that an uncommitted write took. Only tidiness: the next write would overwrite it.
    pub(crate) fn cut(&mut self) {
        for (number, segment) in self.segments.iter_mut().enumerate() {
            let bytes = HEADER_BYTES + self.layout.rows_in(number, self.committed) * self.layout.row_bytes();
            if segment.length > bytes && segment.file.set_len(bytes as u64).is_ok() {
                segment.length = bytes;
                segment.map = None;
                segment.shown = None;
            }
        }
    }

    /// The first `rows` rows as shared memory: committed ones, or those that the commit at hand is about to make so.
    pub(crate) fn chunks(&mut self, rows: usize) -> Result<RowChunks, StoreError> {
        let mut chunks: Vec<Arc<dyn SharedF32>> = Vec::with_capacity(self.segments.len());
        for number in 0..self.layout.segments(rows) {
            let floats = self.layout.rows_in(number, rows) * self.layout.dim;
            if let Some(segment) = self.segments.get_mut(number) {
                chunks.push(segment.show(floats)?);
            }
        }
        shared_rows(chunks, &self.layout, rows)
    }

    /// Creates (or empties) the next segment when it is not there.
    fn ensure_segment(&mut self, number: usize) -> Result<(), StoreError> {
        if number < self.segments.len() {
            return Ok(());
        }
        let path = Layout::path(&self.folder, number);
        let file = match self.disk.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left by a write that failed before its commit: it holds nothing committed.
                self.disk.open(&path).and_then(|file| file.set_len(0).map(|()| file))
            }
            other => other,
        }
        .map_err(|source| io_error("create", &path, source))?;
        file.write_all_at(&self.layout.header(number), 0)
            .map_err(|source| io_error("write the header of", &path, source))?;
        self.segments.push(Segment { path, file, length: HEADER_BYTES, map: None, shown: None });
        self.new_names = true;
        Ok(())
    }
}

impl Segment {
    fn ensure_room(&mut self, bytes: usize, full: usize) -> Result<(), StoreError> {
        if HEADER_BYTES + bytes <= self.length {
            return Ok(());
        }
        let room = bytes.next_power_of_two().max(FIRST_GROWTH_BYTES).min(full);
        let length = HEADER_BYTES + room;
        self.file.set_len(length as u64).map_err(|source| io_error("grow", &self.path, source))?;
        self.length = length;
        self.map = None;
        Ok(())
    }

    fn show(&mut self, floats: usize) -> Result<Arc<dyn SharedF32>, StoreError> {
        if let Some((shown, chunk)) = &self.shown
            && *shown == floats
        {
            return Ok(Arc::clone(chunk));
        }
        let map = match &self.map {
            Some(map) => Arc::clone(map),
            None => {
                let map = self.file.map(self.length).map_err(|source| io_error("map", &self.path, source))?;
                Arc::clone(self.map.insert(Arc::new(map)))
            }
        };
        let rows = MappedRows::new(map, HEADER_BYTES, floats).ok_or_else(|| StoreError::Corrupt {
            what: file_name(&self.path),
            detail: format!("expected room for {floats} values, found {} bytes", self.length),
        })?;
        let chunk: Arc<dyn SharedF32> = Arc::new(rows);
        self.shown = Some((floats, Arc::clone(&chunk)));
        Ok(chunk)
    }
}

fn shared_rows(
    chunks: Vec<Arc<dyn SharedF32>>,
    layout: &Layout,
    rows: usize,
) -> Result<RowChunks, StoreError> {
    RowChunks::new(chunks, layout.rows_per_segment, layout.dim, rows).map_err(|error| StoreError::Corrupt {
        what: "row segments".to_owned(),
        detail: format!("{rows} rows of {} values do not fit: {error}", layout.dim),
    })
}

/// Segments behind the last committed one hold nothing committed, and dropped ones nothing that anyone can ask for.
pub(crate) fn remove_leftovers(
    disk: &dyn Disk,
    folder: &Path,
    segments: usize,
    dropped: &BTreeSet<usize>,
) -> Result<(), StoreError> {
    for (name, path) in disk.list(folder).map_err(|source| io_error("list", folder, source))? {
        let number = name.strip_suffix(".rows").and_then(|stem| stem.parse::<usize>().ok());
        if number.is_some_and(|number| number >= segments || dropped.contains(&number)) {
            disk.remove_file(&path).map_err(|source| io_error("remove", &path, source))?;
        }
    }
    Ok(())
}
