//! Read-only memory maps: the only `unsafe` of this crate.
//!
//! Invariant: bytes below the committed length of a row segment, and all bytes of an index file, never change while the
//! process holds the data folder's lock. A [`Map`] may be longer than what is committed (a segment grows under it), so no
//! reference to its whole is ever made: [`MappedRows`] covers exactly the committed rows of one commit.
use std::fs::File;
use std::io;
use std::slice;
use std::sync::Arc;

use bilin_index::SharedF32;
use memmap2::{Mmap, MmapOptions, MmapRaw};

/// The first bytes of a file, as memory.
#[derive(Debug)]
pub(crate) struct Map(MmapRaw);

impl Map {
    /// Maps the first `bytes` (at least 1) of `file`.
    pub(crate) fn new(file: &File, bytes: usize) -> io::Result<Map> {
        let length = file.metadata()?.len();
        if length < bytes as u64 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("expected at least {bytes} bytes, received a file of {length}"),
            ));
        }
        Ok(Map(MmapOptions::new().len(bytes).map_raw_read_only(file)?))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A complete, immutable file as bytes.
#[derive(Debug)]
pub(crate) struct MappedFile(Map);

impl MappedFile {
    /// `map` must be of a file that nobody writes to any more.
    pub(crate) fn new(map: Map) -> MappedFile {
        MappedFile(map)
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the map covers `len` bytes and lives as long as `self`. Index files are complete before they are mapped
        // and never written again; the data folder's lock keeps other bilin processes out. A foreign program that writes
        // to or cuts the file breaks this contract, as for every database that maps its files.
        unsafe { slice::from_raw_parts(self.0.0.as_ptr(), self.0.len()) }
    }
}

/// The committed rows of one segment at one commit: `floats` little-endian f32 values behind its header.
pub(crate) struct MappedRows {
    map: Arc<Map>,
    offset: usize,
    floats: usize,
}

impl MappedRows {
    /// `None` unless `offset` is a multiple of 4 and the map holds that many values behind it.
    pub(crate) fn new(map: Arc<Map>, offset: usize, floats: usize) -> Option<MappedRows> {
        let end = floats.checked_mul(size_of::<f32>())?.checked_add(offset)?;
        (end <= map.len() && offset.is_multiple_of(align_of::<f32>())).then_some(MappedRows {
            map,
            offset,
            floats,
        })
    }
}

impl SharedF32 for MappedRows {
    fn as_f32(&self) -> &[f32] {
        // SAFETY: `new` checked that `offset..offset + 4 * floats` lies in the map and that `offset` keeps the alignment of
        // f32 (the map itself starts at a page). Every bit pattern is an f32. These bytes were written and synced before
        // the commit that made this value; later writes and cuts of the segment happen behind them only.
        unsafe { slice::from_raw_parts(self.map.0.as_ptr().add(self.offset).cast::<f32>(), self.floats) }
    }
}

/// Rows that are not there any more, as zeros that take no memory until they are read.
pub(crate) struct ZeroRows {
    map: Mmap,
    floats: usize,
}

impl ZeroRows {
    pub(crate) fn new(floats: usize) -> io::Result<ZeroRows> {
        let bytes = floats.max(1) * size_of::<f32>();
        let map = MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?.make_read_only()?;
        Ok(ZeroRows { map, floats })
    }
}

impl SharedF32 for ZeroRows {
    fn as_f32(&self) -> &[f32] {
        // A map starts at a page, so it is aligned, and it is whole values long.
        bytemuck::try_cast_slice(&self.map)
            .ok()
            .and_then(|values| values.get(..self.floats))
            .unwrap_or_default()
    }
}
