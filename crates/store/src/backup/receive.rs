//! Backups that leave and come back: which files make one, and taking one in that was kept elsewhere.
//!
//! Invariant: what is taken in is written under the name of an unfinished backup and counts only after it was read back
//! whole, as if it had been made here.

use std::path::{Path, PathBuf};

use super::manifest::{FILE_NAME, Manifest, is_plain};
use super::take::{hash_file, verify_made};
use super::{Backup, MAKING, sync_names};
use crate::collection::VECTORS;
use crate::data_dir::Making;
use crate::dir::{Disk, DiskFile, make_dirs};
use crate::error::{StoreError, io_error};
use crate::{generation, time};

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    /// Relative to the backup's folder, with `/` between its parts.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// blake3 of its content, hexadecimal.
    pub blake3: String,
}

/// Every file of a backup, its manifest last.
pub(crate) fn files(disk: &dyn Disk, backup: &Backup) -> Result<Vec<BackupFile>, StoreError> {
    let manifest = Manifest::read(disk, &backup.path)?;
    let mut files: Vec<BackupFile> = manifest
        .files
        .into_iter()
        .map(|file| BackupFile { path: file.path, bytes: file.bytes, blake3: file.blake3 })
        .collect();
    let path = backup.path.join(FILE_NAME);
    let file = disk.open(&path).map_err(|source| io_error("open", &path, source))?;
    let (bytes, blake3) = hash_file(&*file, &path)?;
    files.push(BackupFile { path: FILE_NAME.to_owned(), bytes, blake3 });
    Ok(files)
}

/// A backup on its way in. What was written goes when it is dropped before [`Receiving::finish`].
pub struct Receiving<'a> {
    disk: &'a dyn Disk,
    /// Where the collection's backups lie.
    backups: PathBuf,
    quarantine: PathBuf,
    taken_unix_s: u64,
    aside: PathBuf,
    current: Option<Current>,
    is_finished: bool,
    _making: Making<'a>,
}

/// The file that is being written.
pub(crate) struct Current {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    bytes: u64,
}

impl<'a> Receiving<'a> {
    pub(crate) fn begin(
        disk: &'a dyn Disk,
        backups: PathBuf,
        quarantine: PathBuf,
        taken_unix_s: u64,
        making: Making<'a>,
    ) -> Result<Receiving<'a>, StoreError> {
        let aside = backups.join(format!("{MAKING}{}", time::compact(taken_unix_s)));
        if aside.exists() {
            disk.remove_dir_all(&aside).map_err(|source| io_error("remove", &aside, source))?;
        }
        for folder in [aside.clone(), aside.join(VECTORS), aside.join(generation::FOLDER)] {
            disk.create_dir(&folder).map_err(|source| io_error("create", &folder, source))?;
        }
        Ok(Receiving {
            disk,
            backups,
            quarantine,
            taken_unix_s,
            aside,
            current: None,
            is_finished: false,
            _making: making,
        })
    }

    /// Begins a file; the one before is complete.
    ///
    /// # Errors
    /// [`StoreError::Limit`] for a path that no backup has, or those of the disk.
    pub fn file(&mut self, path: &str) -> Result<(), StoreError> {
        if path != FILE_NAME && !is_plain(path) {
            return Err(StoreError::Limit {
                what: "path of a file in a backup".to_owned(),
                expected: "a name, or a folder and a name, of letters, digits, \".\", \"-\" and \"_\""
                    .to_owned(),
                received: format!("{path:?}"),
            });
        }
        self.complete()?;
        let path = path.split('/').fold(self.aside.clone(), |folder, part| folder.join(part));
        let file = self.disk.create(&path).map_err(|source| io_error("create", &path, source))?;
        self.current = Some(Current { path, file, bytes: 0 });
        Ok(())
    }

    /// Links to a file of a backup that is here, where one has it by length and checksum; says whether. What is linked to is
    /// read back with everything else.
    ///
    /// # Errors
    /// As [`Receiving::file`].
    pub fn link(&mut self, file: &BackupFile) -> Result<bool, StoreError> {
        if !is_plain(&file.path) || file.path == FILE_NAME {
            return Ok(false);
        }
        self.complete()?;
        let target = file.path.split('/').fold(self.aside.clone(), |folder, part| folder.join(part));
        for backup in super::list(self.disk, &self.backups)?.good {
            let manifest = Manifest::read(self.disk, &backup.path)?;
            let same = |own: &&super::manifest::FileSum| own.bytes == file.bytes && own.blake3 == file.blake3;
            if let Some(own) = manifest.files.iter().find(same) {
                // A file system without links: it comes as the others do.
                return Ok(self.disk.link(&own.in_folder(&backup.path), &target).is_ok());
            }
        }
        Ok(false)
    }

    /// Adds to the file that was begun last.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] and others of the disk.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = current.file.write_all_at(bytes, current.bytes);
        written.map_err(|source| io_error("write", &current.path, source))?;
        current.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Reads everything back, and gives the backup its name.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a file is not what the manifest says, or those of the disk.
    pub fn finish(mut self) -> Result<Backup, StoreError> {
        self.complete()?;
        let disk = self.disk;
        for folder in [self.aside.join(VECTORS), self.aside.join(generation::FOLDER), self.aside.clone()] {
            disk.sync_dir(&folder)
                .map_err(|source| io_error("make durable the names in", &folder, source))?;
        }
        let manifest = Manifest::read(disk, &self.aside)?;
        if manifest.taken_unix_s != self.taken_unix_s {
            return Err(StoreError::Corrupt {
                what: "the manifest of the backup that was fetched".to_owned(),
                detail: format!(
                    "expected the time {}, found {}",
                    time::compact(self.taken_unix_s),
                    time::compact(manifest.taken_unix_s)
                ),
            });
        }
        verify_made(disk, &self.aside)?;
        let path = self.backups.join(time::compact(self.taken_unix_s));
        if path.exists() {
            move_aside(disk, &path, &self.quarantine)?;
        }
        disk.rename(&self.aside, &path).map_err(|source| io_error("rename", &self.aside, source))?;
        sync_names(disk, &self.backups)?;
        self.is_finished = true;
        Ok(Backup::of(&manifest, path))
    }

    fn complete(&mut self) -> Result<(), StoreError> {
        let Some(current) = self.current.take() else { return Ok(()) };
        current.file.sync().map_err(|source| io_error("make durable", &current.path, source))
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = self.disk.remove_dir_all(&self.aside)
        {
            // The next backup removes it.
            tracing::warn!(path = %self.aside.display(), %error, "cannot remove an unfinished backup");
        }
    }
}

/// A folder in the place of a backup that cannot be used, out of the way of a good one of the same time.
fn move_aside(disk: &dyn Disk, path: &Path, quarantine: &Path) -> Result<(), StoreError> {
    make_dirs(disk, quarantine)?;
    let name = format!("{}-backup-{}", time::compact(time::now()), crate::dir::file_name(path));
    let target = quarantine.join(name);
    disk.rename(path, &target).map_err(|source| io_error("move to quarantine", path, source))?;
    disk.sync_dir(quarantine).map_err(|source| io_error("make durable the names in", quarantine, source))
}
