//! Writing the rows of the catalog's row log into their segments again, at open.
//!
//! The log holds rows that were committed without an fsync of their segment, so after a power loss anything may be missing
//! of them: bytes, the growth of the file, its header, even its name. Invariant: after [`replay`] returned, all of that is
//! there and durable. Nothing else is touched: what a segment holds before its first logged row was synced before, and is
//! checked, not repaired. Rows never change once committed, so a log that was not cleared in time does no harm.
use std::io;
use std::path::Path;

use crate::dir::{Disk, DiskFile};
use crate::error::{StoreError, io_error};

use super::layout::{HEADER_BYTES, Layout};
use super::verify::open_checked;

/// Size of the row log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Logged {
    /// One per commit.
    pub entries: usize,
    /// Of the rows in them.
    pub bytes: usize,
}

impl Logged {
    /// Counts one more entry.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes;
    }
}

/// Writes `log` (first slot and bytes of each entry, by slot) into the segments of `committed` rows and fsyncs them.
pub(crate) fn replay(
    disk: &dyn Disk,
    folder: &Path,
    layout: &Layout,
    committed: usize,
    log: &[(i64, Vec<u8>)],
) -> Result<Logged, StoreError> {
    let mut logged = Logged::default();
    let mut open: Option<(usize, Box<dyn DiskFile>)> = None;
    let mut created = false;
    for (slot, bytes) in log {
        let rows = bytes.len() / layout.row_bytes();
        let first = usize::try_from(*slot).unwrap_or(usize::MAX);
        if !bytes.len().is_multiple_of(layout.row_bytes()) || first.saturating_add(rows) > committed {
            return Err(StoreError::Corrupt {
                what: "catalog.sqlite".to_owned(),
                detail: format!(
                    "expected logged rows of {} bytes below row {committed}, found {} bytes at row {slot}",
                    layout.row_bytes(),
                    bytes.len()
                ),
            });
        }
        for (number, row, part) in layout.split(first, bytes) {
            let file = match open.take() {
                Some((at, file)) if at == number => file,
                before => {
                    sync(folder, before)?;
                    created |= row == 0;
                    reopen(disk, folder, layout, number, row)?
                }
            };
            let path = Layout::path(folder, number);
            file.write_all_at(part, (HEADER_BYTES + row * layout.row_bytes()) as u64)
                .map_err(|source| io_error("write logged rows to", &path, source))?;
            open = Some((number, file));
        }
        logged.add(bytes.len());
    }
    sync(folder, open)?;
    if created {
        disk.sync_dir(folder).map_err(|source| io_error("make durable the names in", folder, source))?;
    }
    Ok(logged)
}

/// Opens a segment for its logged rows from `row` on. When that is its first, neither its name nor its header need be there.
fn reopen(
    disk: &dyn Disk,
    folder: &Path,
    layout: &Layout,
    number: usize,
    row: usize,
) -> Result<Box<dyn DiskFile>, StoreError> {
    let path = Layout::path(folder, number);
    if row > 0 {
        return open_checked(disk, &path, layout, number, HEADER_BYTES + row * layout.row_bytes());
    }
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&path),
        found => found,
    }
    .map_err(|source| io_error("create", &path, source))?;
    file.write_all_at(&layout.header(number), 0)
        .map_err(|source| io_error("write the header of", &path, source))?;
    Ok(file)
}

fn sync(folder: &Path, open: Option<(usize, Box<dyn DiskFile>)>) -> Result<(), StoreError> {
    let Some((number, file)) = open else { return Ok(()) };
    let path = Layout::path(folder, number);
    file.sync().map_err(|source| io_error("make durable logged rows in", &path, source))
}
