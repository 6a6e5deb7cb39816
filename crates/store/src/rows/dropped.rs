//! Segments that compaction gave back: their file is gone, their row numbers stay.
//!
//! A dropped segment shows zeros, so that [`RowChunks`](bilin_index::RowChunks) keeps its shape; nothing live and no index in
//! use points there. Views from before the drop hold maps of the old file, whose bytes the system keeps for them.
use std::io;
use std::path::Path;
use std::sync::Arc;

use bilin_index::SharedF32;

use super::layout::checksum_blocks;
use super::{HEADER_BYTES, Layout, Pending, RowStore, Segment};
use crate::dir::DiskFile;
use crate::error::{StoreError, io_error};
use crate::map::{Map, ZeroRows};

/// Checksums of zeros are taken in pieces of this size.
const ZERO_BYTES: usize = 1 << 20;

impl Segment {
    pub(super) fn dropped(folder: &Path, number: usize, layout: &Layout) -> Segment {
        let path = Layout::path(folder, number);
        let length = HEADER_BYTES + layout.segment_bytes();
        Segment { path, file: Box::new(NoFile), length, map: None, shown: None }
    }
}

impl RowStore {
    /// Whether a segment is full of committed rows.
    pub(crate) fn is_full(&self, segment: usize) -> bool {
        self.layout.slots(segment).end <= self.committed
    }

    /// Fills the last segment up with zeros that take no room, so that the next rows begin a new one. As
    /// [`RowStore::write`]: not durable before a sync, not committed before the catalog says so.
    pub(crate) fn fill_up(&mut self) -> Result<Pending, StoreError> {
        let mut pending = self.write(&[])?;
        let number = self.committed / self.layout.rows_per_segment;
        let start = self.layout.rows_in(number, self.committed) * self.layout.row_bytes();
        let full = self.layout.segment_bytes();
        let Some(segment) = self.segments.get_mut(number).filter(|_| start > 0) else { return Ok(pending) };
        // Cut first: what a failed write left behind the committed rows is not zeros.
        for bytes in [HEADER_BYTES + start, HEADER_BYTES + full] {
            segment.file.set_len(bytes as u64).map_err(|source| io_error("grow", &segment.path, source))?;
            segment.length = bytes;
            segment.map = None;
        }
        let zeros = vec![0; ZERO_BYTES.min(full - start)];
        let mut at = start;
        while at < full {
            let part = zeros.get(..zeros.len().min(full - at)).unwrap_or_default();
            pending.last_checksum =
                checksum_blocks(number, at, part, pending.last_checksum, &mut pending.blocks);
            at += part.len();
        }
        pending.rows = self.layout.slots(number).end;
        Ok(pending)
    }

    /// From now on the segment shows zeros and has no file. The file itself is left to the caller.
    pub(crate) fn drop_segment(&mut self, number: usize) -> Result<(), StoreError> {
        if let Some(segment) = self.segments.get_mut(number) {
            *segment = Segment::dropped(&self.folder, number, &self.layout);
        }
        self.show_zeros(number)
    }

    pub(super) fn show_zeros(&mut self, number: usize) -> Result<(), StoreError> {
        let floats = self.layout.rows_per_segment * self.layout.dim;
        let zeros = match &self.zeros {
            Some(zeros) => Arc::clone(zeros),
            None => {
                let zeros = ZeroRows::new(floats).map_err(|source| {
                    io_error("map zeros for", &Layout::path(&self.folder, number), source)
                })?;
                let zeros: Arc<dyn SharedF32> = Arc::new(zeros);
                Arc::clone(self.zeros.insert(zeros))
            }
        };
        if let Some(segment) = self.segments.get_mut(number) {
            segment.shown = Some((floats, zeros));
        }
        Ok(())
    }
}

/// What stands for the file of a dropped segment: durable and never written to.
struct NoFile;

impl DiskFile for NoFile {
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn map(&self, _: usize) -> io::Result<Map> {
        Err(io::ErrorKind::NotFound.into())
    }
}
