//! Copying a backup back to where a collection can be opened.

use std::path::Path;

use super::manifest::Manifest;
use super::take::copy_hashed;
use crate::collection::VECTORS;
use crate::dir::{Disk, sync_names};
use crate::error::{StoreError, io_error};
use crate::generation;
use crate::opening::QUARANTINE;

/// Copies every file of the backup in `backup` into the new folder `target`, comparing each with the manifest on the way.
/// Copied and not linked, since the restored collection writes to its files.
pub(crate) fn copy_into(disk: &dyn Disk, backup: &Path, target: &Path) -> Result<Manifest, StoreError> {
    let manifest = Manifest::read(disk, backup)?;
    for folder in
        [target.to_owned(), target.join(VECTORS), target.join(generation::FOLDER), target.join(QUARANTINE)]
    {
        disk.create_dir(&folder).map_err(|source| io_error("create", &folder, source))?;
    }
    for file in &manifest.files {
        let (source, copied) = (file.in_folder(backup), file.in_folder(target));
        let from = disk.open(&source).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::Corrupt {
                what: format!("backup file \"{}\"", source.display()),
                detail: format!("expected {} bytes, found no file", file.bytes),
            },
            _ => io_error("open", &source, error),
        })?;
        let to = disk.create(&copied).map_err(|error| io_error("create", &copied, error))?;
        let found = copy_hashed(&*from, &source, &*to, &copied)?;
        if found != (file.bytes, file.blake3.clone()) {
            return Err(StoreError::Corrupt {
                what: format!("backup file \"{}\"", source.display()),
                detail: format!("expected blake3 {}, found {}", file.blake3, found.1),
            });
        }
    }
    for folder in [target.join(VECTORS), target.join(generation::FOLDER), target.to_owned()] {
        sync_names(disk, &folder)?;
    }
    Ok(manifest)
}
