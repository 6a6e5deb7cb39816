//! Damage on disk is noticed at open, named, and never answered with wrong results.
use std::fs;
use std::path::Path;

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, DataDir, StoreError};
use rusqlite::{Connection, OpenFlags};

use crate::sample::{Random, document, item, settings};

const DIM: usize = 8;

fn filled(folder: &Path, rows: usize, index: IndexSpec) {
    let data = DataDir::open(folder).unwrap();
    let collection = data.create_with_segments("notes", &settings(DIM, Metric::L2, index), 256).unwrap();
    let mut random = Random(9);
    let upsert = (0..rows)
        .map(|at| document(&at.to_string(), vec![item(random.vector(DIM), &at.to_string())]))
        .collect();
    collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
}

fn reopened(folder: &Path) -> Result<(), StoreError> {
    DataDir::open(folder).unwrap().open_collection("notes").map(drop)
}

/// As a newer bilin would: with checksums that fit.
fn set_version(path: &Path, version: u32) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags_and_vfs(path, flags, c"bilin-pages").unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
}

#[test]
fn damaged_rows_are_named_with_file_block_and_checksums() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 300, IndexSpec::FLAT);
    let path = folder.path().join("collections/notes/vectors/000001.rows");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 40] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let error = reopened(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("000001.rows, block 0 is damaged: checksum expected "), "{error}");
    bytes[4096 + 40] ^= 4;
    fs::write(&path, &bytes).unwrap();
    reopened(folder.path()).unwrap();
}

#[test]
fn a_damaged_newer_foreign_or_missing_catalog_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 300, IndexSpec::FLAT);
    let path = folder.path().join("collections/notes/catalog.sqlite");
    let good = fs::read(&path).unwrap();
    let opened_with = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        reopened(folder.path())
    };
    assert!(matches!(opened_with(&[]), Err(StoreError::Corrupt { .. })));
    assert!(matches!(opened_with(&[0x55; 8192]), Err(StoreError::Corrupt { .. })));
    assert!(opened_with(&good[..good.len() / 2]).is_err());
    // SQLite's header: user_version at 60, application_id at 68, big-endian.
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    let error = opened_with(&newer).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}: the page says otherwise");
    fs::write(&path, &good).unwrap();
    set_version(&path, 99);
    let error = reopened(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Version { found: 99, .. }), "{error}");
    let mut foreign = good.clone();
    foreign[68..72].copy_from_slice(&1_u32.to_be_bytes());
    assert!(matches!(opened_with(&foreign), Err(StoreError::Corrupt { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(reopened(folder.path()), Err(StoreError::Corrupt { .. })));
    opened_with(&good).unwrap();
}
