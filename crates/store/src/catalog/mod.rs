//! The catalog: one SQLite file per collection, and the one place where a commit happens.
//!
//! Invariants: one connection writes, behind the collection's writer mutex; readers share a small bounded pool of
//! read-only connections and, thanks to WAL, never wait for the writer. `synchronous=FULL`, so a commit that returned
//! survives a power loss (<https://sqlite.org/pragma.html#pragma_synchronous>). Every catalog, copies in backups included, is
//! opened through [`pages`], so that no byte of it is used that was not compared with a checksum.
mod carry;
mod full_text;
mod given_back;
mod log;
mod merge;
mod pages;
mod pool;
mod read;
mod schema;
mod seal;
mod write;

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub(crate) use carry::*;
pub(crate) use full_text::*;
pub(crate) use given_back::*;
pub(crate) use log::*;
pub(crate) use merge::*;
pub(crate) use pages::take_mismatch;
pub(crate) use pool::ReadPool;
pub(crate) use read::*;
pub(crate) use write::*;

use crate::dir::Disk;
use crate::error::{StoreError, catalog_error};
use crate::rows::Layout;
use crate::settings::Settings;

/// File name inside a collection's folder.
pub(crate) const FILE_NAME: &str = "catalog.sqlite";
/// A tool that reads the catalog may hold its lock this long before a write gives up.
const BUSY_TIMEOUT_MS: u64 = 10_000;
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_KEEP_BYTES: i64 = 64 << 20;
/// Page cache of the writer, in KiB.
const WRITER_CACHE_KIB: i64 = 32 << 10;
/// Statements kept prepared per connection.
const STATEMENTS: usize = 64;

/// What never changes in a collection's life, and its settings.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub settings: Settings,
    pub layout: Layout,
}

/// Creates a catalog in a folder that has none. Closed again, so that a single complete file is left.
pub(crate) fn create(folder: &Path, settings: &Settings, rows_per_segment: usize) -> Result<(), StoreError> {
    let path = folder.join(FILE_NAME);
    let created = pages::create(&path).and_then(|connection| {
        // Before anything is written: the catalog can give back its free pages step by step.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        Ok(connection)
    });
    let mut connection = created.map_err(|source| catalog_error("create it", source))?;
    set_up(&connection)?;
    schema::migrate(&mut connection, true)?;
    write::initialise(&connection, settings, rows_per_segment)
        .map_err(|source| catalog_error("write the settings", source))?;
    connection.close().map_err(|(_, source)| catalog_error("close it", source))
}

/// Opens the one connection that writes, migrating an older file. Until [`trust`] is called the write-ahead log stays as it is
/// when the connection is closed, so that a catalog which turns out to be damaged is kept as it was found.
pub(crate) fn open_writer(disk: &dyn Disk, folder: &Path) -> Result<Connection, StoreError> {
    let path = folder.join(FILE_NAME);
    if !path.is_file() {
        return Err(StoreError::Corrupt {
            what: format!("collection folder \"{}\"", folder.display()),
            detail: format!("expected a file {FILE_NAME}, found none"),
        });
    }
    seal::seal_format_1(disk, folder)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = pages::open(&path, flags).map_err(|source| catalog_error("open it", source))?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(|source| catalog_error("open it", source))?;
    set_up(&connection)?;
    schema::migrate(&mut connection, false)?;
    Ok(connection)
}

/// The catalog has passed its checks: from now on its log is folded into the file when the connection is closed.
pub(crate) fn trust(connection: &Connection) -> Result<(), StoreError> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map(drop)
        .map_err(|source| catalog_error("set it up", source))
}

/// Opens the catalog in a folder, or that of a backup, only to look.
pub(crate) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    pages::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Opens a catalog that nobody else has, such as a backup in the making, to change it.
pub(crate) fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
    pages::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn set_up(connection: &Connection) -> Result<(), StoreError> {
    let pragmas = || -> rusqlite::Result<String> {
        set_up_any(connection)?;
        let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // macOS only: fsync there does not reach the platter.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update_and_check(None, "journal_size_limit", WAL_KEEP_BYTES, |_| Ok(()))?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        // A delete on a full disk must not ask for a temporary file.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(mode)
    };
    let mode = pragmas().map_err(|source| catalog_error("set it up", source))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::Catalog {
            what: "set it up".to_owned(),
            detail: format!(
                "expected journal mode \"wal\", received {mode:?}; is this a network file system?"
            ),
        });
    }
    Ok(())
}

/// A connection for the pool. The writer must be open, since it keeps the shared memory of the WAL alive.
fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_to_read(path)?;
    set_up_any(&connection)?;
    Ok(connection)
}

/// What the writer and the readers have in common.
fn set_up_any(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A statement is planned when it is prepared, and not again for each value that is bound to it: where an index has a
    // condition, SQLite would look at the value, and plan anew at every step after another one was bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
