//! Every page of a catalog is checked, in the collection and in its backups, and catalogs from before that are taken along.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, Collection, DataDir, StoreError};
use rusqlite::{Connection, OpenFlags};

use crate::sample::{Model, Random, compare, document, item, settings};

const DIM: usize = 4;
const PAGE: usize = 4096;

fn filled(folder: &Path, documents: usize) -> (DataDir, Arc<Collection>, Model) {
    let data = DataDir::open(folder).unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
    let mut random = Random(30);
    let upsert: Vec<_> = (0..documents)
        .map(|at| document(&at.to_string(), vec![item(random.vector(DIM), &format!("needle {at}"))]))
        .collect();
    let model = upsert.iter().map(|document| (document.id.clone(), document.clone())).collect();
    notes.apply(Batch { upsert, ..Batch::default() }).unwrap();
    (data, notes, model)
}

fn catalog(folder: &Path) -> PathBuf {
    folder.join("collections/notes/catalog.sqlite")
}

/// What is wrong with the collection, by any way of looking at all of it.
fn damage(folder: &Path) -> Option<StoreError> {
    let data = DataDir::open(folder).unwrap();
    data.open_collection("notes").and_then(|notes| notes.verify(true)).err()
}

fn position(bytes: &[u8], needle: &str) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap()
}

#[test]
fn a_flipped_letter_of_a_text_is_named_with_its_page_and_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let (data, notes, _) = filled(folder.path(), 300);
    drop((notes, data));
    let path = catalog(folder.path());
    let good = fs::read(&path).unwrap();
    let at = position(&good, "needle 77");
    let mut bad = good.clone();
    bad[at] ^= 0x20;
    fs::write(&path, &bad).unwrap();
    let error = damage(folder.path()).unwrap();
    let expected = format!("catalog.sqlite is damaged: page {}: checksum expected ", at / PAGE + 1);
    assert!(error.to_string().starts_with(&expected), "{error}");
    let data = DataDir::open(folder.path()).unwrap();
    if let Ok(notes) = data.open_collection("notes") {
        let error = notes.snapshot().document("77").unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
    drop(data);
    fs::write(&path, &good).unwrap();
    assert!(damage(folder.path()).is_none());
}

#[test]
fn swapped_zeroed_and_missing_pages_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, notes, _) = filled(folder.path(), 300);
    drop((notes, data));
    let path = catalog(folder.path());
    let good = fs::read(&path).unwrap();
    let pages = good.len() / PAGE;
    assert!(pages > 20 && good.len().is_multiple_of(PAGE));
    assert_eq!(good[20], 8, "reserved bytes");
    let mut random = Random(31);
    for round in 0..60 {
        let (a, b) = (random.below(pages), random.below(pages));
        let mut bad = good.clone();
        let what = match round % 3 {
            0 if a == b => continue,
            0 => {
                bad.copy_within(b * PAGE..(b + 1) * PAGE, a * PAGE);
                bad[b * PAGE..(b + 1) * PAGE].copy_from_slice(&good[a * PAGE..(a + 1) * PAGE]);
                format!("pages {} and {} swapped", a + 1, b + 1)
            }
            1 => {
                bad[a * PAGE..(a + 1) * PAGE].fill(0);
                format!("page {} zeroed", a + 1)
            }
            _ => {
                bad.truncate(a * PAGE + random.below(PAGE));
                format!("cut to {} bytes", bad.len())
            }
        };
        fs::write(&path, &bad).unwrap();
        let error = damage(folder.path()).unwrap_or_else(|| panic!("{what} went unnoticed"));
        assert!(matches!(error, StoreError::Corrupt { .. }), "{what}: {error}");
    }
}

#[test]
fn the_catalog_of_a_backup_is_checked_in_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let (data, notes, model) = filled(folder.path(), 200);
    let backup = data.backup(&notes).unwrap();
    drop(notes);
    let copy = backup.path.join("catalog.sqlite");
    let bytes = fs::read(&copy).unwrap();
    assert_eq!((bytes[20], bytes.len() % PAGE), (8, 0), "VACUUM INTO keeps the reserved bytes");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let text = |path: &Path| -> rusqlite::Result<String> {
        let connection = Connection::open_with_flags_and_vfs(path, flags, c"bilin-pages")?;
        connection.query_row("SELECT group_concat(text) FROM items", [], |row| row.get(0))
    };
    assert!(text(&copy).unwrap().contains("needle 123"));
    let other = folder.path().join("other.sqlite");
    let mut bad = bytes.clone();
    bad[position(&bytes, "needle 123")] ^= 1;
    fs::write(&other, bad).unwrap();
    let error = text(&other).unwrap_err();
    assert_eq!(error.sqlite_error().unwrap().extended_code, rusqlite::ffi::SQLITE_IOERR_DATA);
    let restored = data.restore(&backup, Some(data.open_collection("notes").unwrap())).unwrap();
    compare(&restored.snapshot(), &model, Metric::L2, &mut Random(32));
    restored.verify(true).unwrap();
}

#[test]
fn a_catalog_that_was_never_sealed_is_not_taken_for_one_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let (data, notes, _) = filled(folder.path(), 50);
    let plain = folder.path().join("plain.sqlite");
    drop((notes, data));
    let path = catalog(folder.path());
    // Any tool can read the catalog; what it writes has no checksums.
    let connection = Connection::open(&path).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM items", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 50);
    let target = format!("file:{}?reserve=0", plain.display());
    connection.execute("VACUUM INTO ?1", [target]).unwrap();
    drop(connection);
    fs::copy(&plain, &path).unwrap();
    let error = damage(folder.path()).unwrap();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_log_that_is_damaged_while_it_is_in_use_is_neither_served_nor_folded_in() {
    let folder = tempfile::tempdir().unwrap();
    let (data, notes, model) = filled(folder.path(), 300);
    let log = catalog(folder.path()).with_extension("sqlite-wal");
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.len()
        - 1
        - bytes
            .iter()
            .rev()
            .collect::<Vec<_>>()
            .windows(9)
            .position(|window| window.iter().rev().copied().eq(b"needle 77"))
            .unwrap();
    bytes[at] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let told = |error: &StoreError| error.to_string().starts_with("catalog.sqlite-wal is damaged: page ");
    let error = notes.snapshot().document("77").unwrap_err();
    assert!(told(&error), "{error}");
    assert!(told(&notes.verify(true).unwrap_err()));
    // Many pages later a checkpoint is due; it stops at the damaged frame.
    let text = "x".repeat(40_000);
    for round in 0..60 {
        let upsert = (0..3).map(|at| document(&format!("{round}-{at}"), vec![item(vec![1.0; DIM], &text)]));
        notes.apply(Batch { upsert: upsert.collect(), ..Batch::default() }).unwrap();
    }
    assert!(told(&notes.snapshot().document("77").unwrap_err()));
    assert_eq!(notes.snapshot().document("299").unwrap()[0].text, model["299"].items[0].text);
    drop((notes, data));
    let data = DataDir::open(folder.path()).unwrap();
    let error = data.open_collection("notes").err().unwrap();
    assert!(matches!(error, StoreError::CommitsMissing { .. } | StoreError::Corrupt { .. }), "{error}");
}

/// Larger than the writer's page cache: SQLite then writes pages to the log amid the transaction, reads them again, writes them
/// once more in their old place, and mends the checksums behind them when it commits.
#[test]
fn a_commit_that_does_not_fit_into_memory_is_not_taken_for_damage() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
    let (mut random, mut model, text) = (Random(33), Model::default(), "y".repeat(9000));
    for round in 0..2 {
        let upsert: Vec<_> = (0..5000)
            .map(|at| {
                // Ids and files in no order, so that pages of their indexes are met again and again.
                let mut document =
                    document(&format!("{:x}-{at}", at * 7919 % 5000), vec![item(random.vector(DIM), &text)]);
                document.file = Some(format!("/{:x}/{round}", at * 104_729 % 5000));
                document
            })
            .collect();
        model.extend(upsert.iter().map(|document| (document.id.clone(), document.clone())));
        assert_eq!(notes.apply(Batch { upsert, ..Batch::default() }).unwrap().seq, round + 1);
    }
    let log = fs::metadata(catalog(folder.path()).with_extension("sqlite-wal")).unwrap().len();
    assert!(log > 40 << 20, "{log}");
    notes.verify(true).unwrap();
    compare(&notes.snapshot(), &model, Metric::L2, &mut random);
    drop((notes, data));
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.open_collection("notes").unwrap();
    compare(&notes.snapshot(), &model, Metric::L2, &mut random);
    notes.verify(true).unwrap();
}

#[test]
fn a_row_without_its_item_is_an_error_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (_data, notes, _) = filled(folder.path(), 30);
    assert_eq!(notes.status().missing_items, 0);
    // No way of ours leads there: an item is taken away beside the store, with checksums that fit.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let path = catalog(folder.path());
    let connection = Connection::open_with_flags_and_vfs(path, flags, c"bilin-pages").unwrap();
    assert_eq!(connection.execute("DELETE FROM items WHERE slot = 7", []).unwrap(), 1);
    let error = notes.snapshot().items(&[7]).unwrap_err();
    assert!(error.to_string().contains("expected an item for slot 7"), "{error}");
    assert_eq!(notes.status().missing_items, 1);
    assert!(matches!(notes.verify(false), Err(StoreError::Corrupt { .. })));
    assert_eq!((notes.status().missing_items, notes.status().warnings.len()), (2, 1));
}
