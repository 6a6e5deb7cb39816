//! Reading row segments back and comparing them with the checksums of the catalog.
//!
//! Reads go through the file and not through the map, so that a bad sector is an error and not a signal.
use std::collections::BTreeSet;
use std::path::Path;

use crate::dir::{Disk, DiskFile, file_name};
use crate::error::{StoreError, io_error};

use super::layout::{BLOCK_BYTES, BlockSum, HEADER_BYTES, Layout};

/// Up to this many bytes of rows, opening a collection verifies all of them: a tenth of a second when they are in memory. In a
/// larger one a block that was damaged while it was closed can spoil answers until the scrub or a verify comes to it.
const VERIFY_AT_OPEN_BYTES: usize = 512 << 20;

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// All blocks of a small collection; the first and the last of each segment of a large one.
    Open,
    /// All blocks.
    Full,
}

/// Compares the blocks of `rows` committed rows, but those in `dropped` segments, with `blocks` (ordered by segment and
/// block); returns the blocks read.
pub(crate) fn verify(
    disk: &dyn Disk,
    folder: &Path,
    layout: &Layout,
    rows: usize,
    dropped: &BTreeSet<usize>,
    blocks: &[BlockSum],
    depth: Depth,
) -> Result<usize, StoreError> {
    let all = depth == Depth::Full || rows.saturating_mul(layout.row_bytes()) <= VERIFY_AT_OPEN_BYTES;
    let mut expected = blocks.iter();
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut read = 0;
    for segment in (0..layout.segments(rows)).filter(|segment| !dropped.contains(segment)) {
        let path = Layout::path(folder, segment);
        let bytes = layout.rows_in(segment, rows) * layout.row_bytes();
        let file = open_checked(disk, &path, layout, segment, HEADER_BYTES + bytes)?;
        let count = bytes.div_ceil(BLOCK_BYTES);
        for block in 0..count {
            let sum =
                expected.next().filter(|sum| (sum.segment as usize, sum.block as usize) == (segment, block));
            let what = || format!("{}, block {block}", file_name(&path));
            let Some(sum) = sum else {
                let detail = "the catalog holds no checksum for it".to_owned();
                return Err(StoreError::Corrupt { what: what(), detail });
            };
            if !(all || block == 0 || block + 1 == count) {
                continue;
            }
            let start = block * BLOCK_BYTES;
            let part = buffer.get_mut(..BLOCK_BYTES.min(bytes - start)).unwrap_or_default();
            file.read_exact_at(part, (HEADER_BYTES + start) as u64)
                .map_err(|source| io_error("read", &path, source))?;
            let found = crc32c::crc32c(part);
            if found != sum.checksum {
                let detail = format!("checksum expected {:08x}, found {found:08x}", sum.checksum);
                return Err(StoreError::Corrupt { what: what(), detail });
            }
            read += 1;
        }
    }
    if let Some(extra) = expected.next() {
        return Err(StoreError::Corrupt {
            what: "catalog.sqlite".to_owned(),
            detail: format!(
                "it holds a checksum for segment {}, block {}, behind {rows} committed rows",
                extra.segment, extra.block
            ),
        });
    }
    Ok(read)
}

/// Opens a segment whose committed part, header included, is `bytes` long, and checks length and header.
pub(crate) fn open_checked(
    disk: &dyn Disk,
    path: &Path,
    layout: &Layout,
    segment: usize,
    bytes: usize,
) -> Result<Box<dyn DiskFile>, StoreError> {
    let name = file_name(path);
    let damaged = |detail: String| StoreError::Corrupt { what: name.clone(), detail };
    let file = disk.open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => damaged(format!("expected a file of {bytes} bytes, found none")),
        _ => io_error("open", path, source),
    })?;
    let length = file.len().map_err(|source| io_error("read the length of", path, source))?;
    if length < bytes as u64 {
        return Err(damaged(format!("expected at least {bytes} bytes, found {length}")));
    }
    let mut header = vec![0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).map_err(|source| io_error("read", path, source))?;
    layout.check_header(&header, segment, &name)?;
    Ok(file)
}
