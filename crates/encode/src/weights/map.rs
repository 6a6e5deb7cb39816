//! Model files as memory, by `unsafe`.
//!
//! Invariant: maps are read only, and nobody here writes to a model's files. Whoever changes one in place while it is in use gets
//! wrong vectors or a bus error, as with every program that maps weights; tools that fetch models put a new file in the place
//! of the old one, which leaves the map whole.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

/// A whole file, which pages in as it is read.
pub(crate) fn map(path: &Path) -> Result<Bytes, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(told)?;
    if file.metadata().map_err(told)?.len() == 0 {
        return Err(format!("{} is empty", path.display()));
    }
    // SAFETY: the map is private to this process and read only; that the file stays as it is, see above.
    let map = unsafe { Mmap::map(&file) }.map_err(told)?;
    Ok(Bytes::from_owner(map))
}
