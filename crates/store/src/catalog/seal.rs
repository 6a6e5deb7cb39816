//! Bringing catalogs of format 1 into pages that are checked (see [`super::pages`]), before anything else is done with them.
//!
//! Invariant: a catalog of format 1 has no reserved bytes and every later one has them, so no damaged page of a newer catalog can
//! pass for one that never had a checksum. The catalog is copied aside (`VACUUM INTO`, through the layer that seals), read
//! back whole, made durable and renamed over the old one, whose log was folded in before; a crash leaves the one or the other.
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{FILE_NAME, open_to_read, pages, schema};
use crate::dir::Disk;
use crate::error::{StoreError, catalog_error, io_error};

/// Where fields lie in the file's header (<https://sqlite.org/fileformat2.html#the_database_header>); numbers are big-endian.
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
const RESERVED_AT: usize = 20;
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;

/// Seals the pages of the catalog in `folder` if it is of format 1; leaves any other as it is, to be judged page by page.
pub(super) fn seal_format_1(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(FILE_NAME);
    if !is_format_1(disk, &path)? {
        return Ok(());
    }
    tracing::info!(catalog = %path.display(), "giving the pages of a catalog of format 1 their checksums");
    let aside = folder.join(format!("{FILE_NAME}.new"));
    for left in [aside.clone(), folder.join(format!("{FILE_NAME}.new-journal"))] {
        match disk.remove_file(&left) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error("remove", &left, source));
            }
            _ => {}
        }
    }
    pages::register()
        .and_then(|()| copy(&path, &aside))
        .map_err(|source| catalog_error("seal it", source))?;
    let file = disk.open(&aside).map_err(|source| io_error("open", &aside, source))?;
    file.sync().map_err(|source| io_error("make durable", &aside, source))?;
    let read_back =
        || open_to_read(&aside)?.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    let said = read_back().map_err(|source| catalog_error("read its sealed copy back", source))?;
    if said != "ok" {
        return Err(StoreError::Corrupt { what: FILE_NAME.to_owned(), detail: said });
    }
    let sync =
        || disk.sync_dir(folder).map_err(|source| io_error("make durable the names in", folder, source));
    // The name of the old log is gone for good before the new catalog takes the place: it must never be applied to that.
    sync()?;
    disk.rename(&aside, &path).map_err(|source| io_error("rename", &aside, source))?;
    sync()
}

fn is_format_1(disk: &dyn Disk, path: &Path) -> Result<bool, StoreError> {
    let file = disk.open(path).map_err(|source| io_error("open", path, source))?;
    let length = file.len().map_err(|source| io_error("read the length of", path, source))?;
    if length < HEADER_BYTES as u64 {
        return Ok(false);
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).map_err(|source| io_error("read", path, source))?;
    let number = |at: usize| header.get(at..at + 4);
    Ok(header.starts_with(MAGIC)
        && header.get(RESERVED_AT) == Some(&0)
        && number(USER_VERSION_AT) == Some(&1_u32.to_be_bytes())
        && number(APPLICATION_ID_AT) == Some(&schema::APPLICATION_ID.to_be_bytes()))
}

fn copy(path: &Path, aside: &Path) -> rusqlite::Result<()> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags)?;
    // Folds the log into the file and removes it, or fails.
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))?;
    // The copy is made so that compaction can give back its free pages.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let reserve = pages::SUM_BYTES;
    let target = format!("{}?vfs={}&reserve={reserve}", uri(aside), pages::VFS.to_string_lossy());
    connection.execute("VACUUM INTO ?1", [target])?;
    connection.close().map_err(|(_, source)| source)
}

/// An absolute path as SQLite reads it in a URI (<https://sqlite.org/uri.html>).
fn uri(path: &Path) -> String {
    let path = path.to_string_lossy().replace('\\', "/");
    let mut uri = "file:///".to_owned();
    for byte in path.trim_start_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.:".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_of_a_path_survives_in_a_uri() {
        assert_eq!(uri(Path::new("/a b/比?#%&.x")), "file:///a%20b/%E6%AF%94%3F%23%25%26.x");
    }
}
