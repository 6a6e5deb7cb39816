//! Shape of a row segment file.
//!
//! ```text
//! 0      8       magic "BILINROW"
//! 8      4       version, u32 LE
//! 12     4       dim, u32 LE
//! 16     4       rows per segment, u32 LE, a power of two
//! 20     4       number of this segment, u32 LE
//! 24     16      id of the collection
//! 40     4052    zeros
//! 4092   4       crc32c of bytes 0..4092, u32 LE
//! 4096   ..      rows, f32 LE, row-major; a crc32c per 64 KiB block is kept in the catalog
//! ```
//! The header takes one page, so that rows are aligned in a map and blocks do not straddle pages of the file.
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::settings::MAX_DIM;

/// Bytes before the first row.
pub(crate) const HEADER_BYTES: usize = 4096;
/// Bytes of rows under one checksum.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;
/// A full segment has between half of this and this many bytes of rows.
const SEGMENT_BYTES: usize = 128 << 20;
/// Bound on what a catalog may claim for a segment.
const MAX_SEGMENT_BYTES: usize = 1 << 30;

const MAGIC: &[u8; 8] = b"BILINROW";
const VERSION: u32 = 1;

/// Sizes shared by all segments of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub dim: usize,
    /// A power of two.
    pub rows_per_segment: usize,
    /// Random id of the collection, so that a file of another one is noticed.
    pub collection: [u8; 16],
}

/// A checksum of one block of one segment, over its committed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSum {
    pub segment: u32,
    pub block: u32,
    pub checksum: u32,
}

impl Layout {
    /// The power of two of rows that fits [`SEGMENT_BYTES`].
    pub(crate) fn rows_per_segment_for(dim: usize) -> usize {
        let rows = (SEGMENT_BYTES / (dim * size_of::<f32>())).max(1);
        1 << rows.ilog2()
    }

    /// `None` when no segment can have this shape.
    pub(crate) fn new(dim: usize, rows_per_segment: usize, collection: [u8; 16]) -> Option<Layout> {
        let fits = (1..=MAX_DIM).contains(&dim)
            && rows_per_segment.is_power_of_two()
            && rows_per_segment <= MAX_SEGMENT_BYTES / (dim * size_of::<f32>());
        fits.then_some(Layout { dim, rows_per_segment, collection })
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.dim * size_of::<f32>()
    }

    /// Bytes of rows in a full segment.
    pub(crate) fn segment_bytes(&self) -> usize {
        self.rows_per_segment * self.row_bytes()
    }

    /// Segments that `rows` rows occupy.
    pub(crate) fn segments(&self, rows: usize) -> usize {
        rows.div_ceil(self.rows_per_segment)
    }

    /// Of `rows` rows in all, those in this segment.
    pub(crate) fn rows_in(&self, segment: usize, rows: usize) -> usize {
        rows.saturating_sub(segment * self.rows_per_segment).min(self.rows_per_segment)
    }

    /// Rows from number `first` on, as the parts that fall into one segment each: its number, the row there, the bytes.
    pub(crate) fn split<'a>(
        &self,
        first: usize,
        mut bytes: &'a [u8],
    ) -> impl Iterator<Item = (usize, usize, &'a [u8])> + use<'a> {
        let (per_segment, row_bytes) = (self.rows_per_segment, self.row_bytes());
        let mut at = first;
        std::iter::from_fn(move || {
            let (number, row) = (at / per_segment, at % per_segment);
            let rows = (per_segment - row).min(bytes.len() / row_bytes);
            let (part, rest) = bytes.split_at_checked(rows * row_bytes)?;
            bytes = rest;
            at += rows;
            (rows > 0).then_some((number, row, part))
        })
    }

    /// Slots of a segment when it is full.
    pub(crate) fn slots(&self, segment: usize) -> Range<usize> {
        segment * self.rows_per_segment..(segment + 1) * self.rows_per_segment
    }

    pub(crate) fn path(folder: &Path, segment: usize) -> PathBuf {
        folder.join(format!("{segment:06}.rows"))
    }

    pub(crate) fn header(&self, segment: usize) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        for value in [VERSION, self.dim as u32, self.rows_per_segment as u32, segment as u32] {
            header.extend_from_slice(&value.to_le_bytes());
        }
        header.extend_from_slice(&self.collection);
        header.resize(HEADER_BYTES - 4, 0);
        let checksum = crc32c::crc32c(&header);
        header.extend_from_slice(&checksum.to_le_bytes());
        header
    }

    /// Compares a header found in `file` with the one that belongs there.
    pub(crate) fn check_header(&self, found: &[u8], segment: usize, file: &str) -> Result<(), StoreError> {
        let what = format!("{file}, header");
        let damaged = |detail: String| Err(StoreError::Corrupt { what: what.clone(), detail });
        let word = |at: usize| {
            found.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        if found.get(..8) != Some(MAGIC.as_slice()) {
            return damaged("expected magic \"BILINROW\", found other bytes".to_owned());
        }
        let expected = found.get(..HEADER_BYTES - 4).map_or(0, crc32c::crc32c);
        if word(HEADER_BYTES - 4) != expected {
            return damaged(format!(
                "checksum expected {expected:08x}, found {:08x}",
                word(HEADER_BYTES - 4)
            ));
        }
        if word(8) > VERSION {
            return Err(StoreError::Version { what: file.to_owned(), found: word(8), newest: VERSION });
        }
        let fields = [
            ("version", 8, VERSION as usize),
            ("dim", 12, self.dim),
            ("rows per segment", 16, self.rows_per_segment),
            ("segment number", 20, segment),
        ];
        for (name, at, expected) in fields {
            if word(at) as usize != expected {
                return damaged(format!("{name} expected {expected}, found {}", word(at)));
            }
        }
        if found.get(24..40) != Some(self.collection.as_slice()) {
            return damaged("the segment belongs to another collection".to_owned());
        }
        Ok(())
    }
}

/// Checksums of the blocks that `bytes`, written at `start` within a segment's rows, fall into. `checksum` is that of the
/// partial block before `start` (0 when `start` begins a block); returns the one of the last block touched.
pub(crate) fn checksum_blocks(
    segment: usize,
    start: usize,
    mut bytes: &[u8],
    mut checksum: u32,
    blocks: &mut Vec<BlockSum>,
) -> u32 {
    let mut at = start;
    while !bytes.is_empty() {
        let room = BLOCK_BYTES - at % BLOCK_BYTES;
        let (part, rest) = bytes.split_at(room.min(bytes.len()));
        checksum = if at.is_multiple_of(BLOCK_BYTES) {
            crc32c::crc32c(part)
        } else {
            crc32c::crc32c_append(checksum, part)
        };
        blocks.push(BlockSum { segment: segment as u32, block: (at / BLOCK_BYTES) as u32, checksum });
        at += part.len();
        bytes = rest;
    }
    checksum
}
