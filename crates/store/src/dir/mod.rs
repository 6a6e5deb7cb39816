//! The one seam to the file system for files of our own (row segments, index files, folders of collections).
//!
//! Invariant: nothing else in this crate creates, writes, syncs, renames, cuts or removes a file, except SQLite for its
//! own. A crash test stands in for [`Disk`] and stops, or damages what was not synced, at any of these calls.
//! Promises: bytes given to [`DiskFile::write_all_at`] are visible at once to readers and maps of this process, and
//! survive a power loss only after [`DiskFile::sync`]; names (created, renamed, removed) survive only after
//! [`Disk::sync_dir`] of their folder.
#[cfg(test)]
pub(crate) mod faulty;
mod own;
mod paced;
#[cfg(test)]
mod power;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{StoreError, io_error};
use crate::map::Map;
pub(crate) use own::{OwnDisk, has_left};
pub use paced::Pace;
pub(crate) use paced::Paced;

/// Operations on names.
pub(crate) trait Disk: Send + Sync {
    /// Creates a folder whose parent exists; an error when it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates an empty file for reading and writing; an error when it exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Moves a file or folder in one step; replaces an existing file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name; an error when that exists, or where the file system has no hard links.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all it holds.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that can still be written in the file system of `path`, by this user.
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        fs4::available_space(path)
    }
    /// Entries of a folder, sorted by name; names that are not UTF-8 are none of ours and left out.
    fn list(&self, path: &Path) -> io::Result<Vec<(String, PathBuf)>>;
    /// Ends the use of names through this handle: what they lead to is someone else's from now on.
    fn leave(&self) {}
}

/// As [`Disk::list`]; a folder that is not there has no entries.
pub(crate) fn list_if_there(disk: &dyn Disk, path: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(|source| io_error("list", path, source)),
    }
}

/// Creates a folder, and those above it, where they are missing; durable when it returns. One that is there may be left by a
/// process that was killed before it made the name durable, so that is done anyway.
pub(crate) fn make_dirs(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if path.is_dir() {
        return match disk.sync_dir(parent) {
            // Somebody else's folder, and somebody else's care.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced.map_err(|source| io_error("make durable the names in", parent, source)),
        };
    }
    make_dirs(disk, parent)?;
    match disk.create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|source| io_error("create", path, source))?,
    }
    sync_names(disk, parent)
}

/// As [`Disk::sync_dir`], telling which folder when it fails.
pub(crate) fn sync_names(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    disk.sync_dir(folder).map_err(|source| io_error("make durable the names in", folder, source))
}

/// Operations on one open file.
pub(crate) trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `bytes` from `offset`; an error when the file ends before.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Grows (with zeros) or cuts the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Maps the first `bytes` for reading. The file must be at least that long.
    fn map(&self, bytes: usize) -> io::Result<Map>;
}

/// The operating system's file system.
#[derive(Debug)]
pub(crate) struct OsDisk;

impl Disk for OsDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(OsFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(OsFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Windows has no fsync of a folder; its metadata journal keeps names.
        if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push((name, entry.path()));
            }
        }
        entries.sort();
        Ok(entries)
    }
}

struct OsFile(File);

impl DiskFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, bytes, offset)
    }

    #[cfg(unix)]
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, bytes, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    bytes = &mut bytes[read..];
                    offset += read as u64;
                }
            }
        }
        Ok(())
    }

    #[cfg(windows)]
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)?;
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn map(&self, bytes: usize) -> io::Result<Map> {
        Map::new(&self.0, bytes)
    }
}

/// The last path component, for messages.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
