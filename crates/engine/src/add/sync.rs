//! Removing the documents of files that are gone.
//!
//! Bounded to the folders and files that were asked for. A file counts as gone only when the system says that nothing is
//! there; one that merely cannot be looked at (a permission, a disk that fails) keeps its documents.

use crate::error::Error;
use crate::storage::VectorStore;
use bilin_store::Batch;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};

/// Files removed in one commit.
const FILES_PER_COMMIT: usize = 1_000;

/// Removes what is gone below `roots`; `committed` is told the files of each commit and may stop the rest by `false`.
pub(super) fn remove_gone(
    store: &dyn VectorStore,
    roots: &[PathBuf],
    mut committed: impl FnMut(usize, u64) -> bool,
) -> Result<(), Error> {
    let gone: Vec<String> = store.files_below(roots)?.into_iter().filter(|path| is_gone(path)).collect();
    // A folder that went meanwhile took its files with it: that is no list of files that somebody removed.
    if roots.iter().any(|root| !root.exists()) {
        return Ok(());
    }
    for files in gone.chunks(FILES_PER_COMMIT) {
        let applied = store.apply(Batch { delete_files: files.to_vec(), ..Batch::default() })?;
        if !committed(files.len(), applied.seq) {
            break;
        }
    }
    Ok(())
}

fn is_gone(path: &str) -> bool {
    matches!(Path::new(path).symlink_metadata(), Err(error) if matches!(error.kind(), NotFound | NotADirectory))
}
