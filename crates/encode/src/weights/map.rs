//! Model files as memory, by `unsafe`.
//!
//! Invariant: maps are read only, and nobody here writes to a model's files. Whoever changes one in place while it is in use gets
//! wrong vectors or a bus error, as with every program that maps weights; tools that fetch models put a new file in the place
//! of the old one, which leaves the map whole.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};

/// A whole file, which pages in as it is read.
#[derive(Clone)]
pub(crate) struct Map(Arc<Mmap>);

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map {
    pub(crate) fn open(path: &Path) -> Result<Map, String> {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(told)?;
        if file.metadata().map_err(told)?.len() == 0 {
            return Err(format!("{} is empty", path.display()));
        }
        // SAFETY: the map is private to this process and read only; that the file stays as it is, see above.
        let map = unsafe { Mmap::map(&file) }.map_err(told)?;
        Ok(Map(Arc::new(map)))
    }

    /// The file's bytes, which keep the map.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// What was read no longer counts as this process's memory; what is read again comes from the system's cache or the disk.
    pub(crate) fn let_go(&self) {
        // SAFETY: nothing was ever written to these pages, so all that is lost of them stands in the file.
        let advised = unsafe { self.0.unchecked_advise(UncheckedAdvice::DontNeed) };
        // Only memory would be saved by it.
        drop(advised);
    }
}
