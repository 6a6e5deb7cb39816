//! Commits on disks that fail, and what the row log brings back: whatever happens, a commit is there whole or not at all.
use std::sync::atomic::Ordering;

use bilin_index::Metric;

use super::*;
use crate::batch::{NewDocument, NewItem};
use crate::dir::faulty::{Fault, FaultyDisk};
use crate::opening;
use crate::rows::LogLimits;
use crate::settings::Kind;

fn batch(id: &str, value: f32) -> Batch {
    let item = NewItem {
        vector: vec![value; 4],
        text: None,
        metadata: Default::default(),
        thumbnail: None,
        sentences: None,
    };
    let document = NewDocument { id: id.to_owned(), file: None, items: vec![item] };
    Batch { upsert: vec![document], ..Batch::default() }
}

/// Every commit syncs its rows: the log holds nothing.
const NO_LOG: LogLimits = LogLimits { commit_bytes: 0, bytes: 0, entries: 0 };

/// What a machine that stops now would find when it starts again, had the disk kept everything.
fn copied(collection: &Collection) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["", VECTORS, crate::generation::FOLDER] {
        let (from, to) = (collection.folder.join(name), folder.path().join("notes").join(name));
        std::fs::create_dir_all(&to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.path().is_file() && !entry.path().ends_with("catalog.sqlite-shm") {
                std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
            }
        }
    }
    folder
}

fn reopened(folder: &Path, disk: Arc<dyn Disk>) -> Collection {
    opening::open("notes", &folder.join("notes"), disk, None).expect("reopened")
}

/// A collection with one document, "a", on a disk that can be told to fail.
fn collection(folder: &Path) -> (Collection, Arc<FaultyDisk>) {
    let disk = Arc::new(FaultyDisk::default());
    let settings = Settings {
        kind: Kind::Vector,
        model: None,
        dim: 4,
        metric: Metric::L2,
        index: IndexSpec::FLAT,
        target_recall: 0.95,
    };
    let folder = folder.join("notes");
    opening::create(&*disk, &folder, &settings, 4).expect("a new collection");
    let collection = opening::open("notes", &folder, Arc::clone(&disk) as Arc<dyn Disk>, None)
        .expect("an open collection");
    collection.apply(batch("a", 1.0)).expect("a first commit");
    (collection, disk)
}

#[test]
fn a_full_disk_changes_nothing_and_writes_return_by_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, disk) = collection(folder.path());
    for fault in [Fault::Write, Fault::Grow] {
        disk.fail(fault);
        // Five rows: a new segment, too, so that there is something to grow.
        let mut large = batch("b", 2.0);
        let item = large.upsert[0].items[0].clone();
        large.upsert[0].items = vec![item; 5];
        let error = collection.apply(large).expect_err("the disk is full");
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
        disk.heal();
        assert_eq!((collection.snapshot().seq(), collection.snapshot().count()), (1, 1));
    }
    assert_eq!(collection.apply(batch("b", 3.0)).expect("there is room again").seq, 2);
    assert_eq!(collection.snapshot().vector(1), [3.0; 4]);
    collection.verify(true).expect("checksums of what was committed");
}

#[test]
fn after_a_failed_fsync_no_write_is_accepted_until_reopened() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, disk) = collection(folder.path());
    collection.limit_log(NO_LOG);
    disk.fail(Fault::Sync);
    assert!(matches!(collection.apply(batch("b", 2.0)), Err(StoreError::Io { .. })));
    disk.heal();
    for _ in 0..2 {
        let error = collection.apply(batch("c", 3.0)).expect_err("writes stopped");
        assert!(matches!(error, StoreError::WritesStopped { .. }), "{error}");
    }
    assert_eq!(collection.snapshot().count(), 1);
    assert_eq!(collection.status().warnings.len(), 1);
    drop(collection);
    let disk: Arc<dyn Disk> = disk;
    let collection = opening::open("notes", &folder.path().join("notes"), disk, None).expect("reopened");
    assert_eq!(collection.apply(batch("c", 3.0)).expect("writes go on").seq, 2);
    assert_eq!(collection.snapshot().vector(1), [3.0; 4]);
}

#[test]
fn small_commits_need_no_fsync_of_rows_and_survive_one_that_fails_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, disk) = collection(folder.path());
    collection.limit_log(LogLimits { commit_bytes: 16, bytes: 1 << 20, entries: 6 });
    disk.fail(Fault::Sync);
    for number in 2..7 {
        collection.apply(batch(&number.to_string(), number as f32)).expect("durable by the log");
    }
    assert_eq!(disk.calls.load(Ordering::Relaxed), 0);
    let error =
        collection.apply(batch("late", 7.0)).expect_err("the log is full, the segment cannot be synced");
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    let error = collection.apply(batch("late", 7.0)).expect_err("writes stopped");
    assert!(matches!(error, StoreError::WritesStopped { .. }), "{error}");
    drop(collection);
    disk.heal();
    let collection = reopened(folder.path(), disk);
    for row in 0..6 {
        assert_eq!(collection.snapshot().vector(row), [row as f32 + 1.0; 4]);
    }
    assert_eq!(collection.apply(batch("late", 7.0)).expect("writes go on").seq, 7);
    collection.verify(true).expect("all as it was");
}

#[test]
fn rows_that_never_reached_their_segments_come_back_from_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, disk) = collection(folder.path());
    for number in 2..11 {
        collection.apply(batch(&number.to_string(), number as f32)).expect("a commit");
    }
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |_| {},
        |vectors| std::fs::remove_dir_all(vectors).expect("removed"),
        |vectors| {
            for number in 0..3 {
                std::fs::write(vectors.join(format!("00000{number}.rows")), [0; 5000]).expect("zeros");
            }
        },
        |vectors| std::fs::write(vectors.join("000002.rows"), []).expect("empty"),
    ];
    for damage in damages {
        let image = copied(&collection);
        damage(&image.path().join("notes").join(VECTORS));
        // The first close clears the log, so the second time the segments speak for themselves.
        for _ in 0..2 {
            let again = reopened(image.path(), Arc::new(crate::dir::OsDisk));
            again.verify(true).expect("all is there");
            for row in 0..10 {
                assert_eq!(again.snapshot().vector(row), [row as f32 + 1.0; 4]);
            }
        }
        let again = reopened(image.path(), Arc::new(crate::dir::OsDisk));
        again.apply(batch("more", 11.0)).expect("a commit");
        drop(again);
        let again = reopened(image.path(), Arc::new(crate::dir::OsDisk));
        assert_eq!(again.snapshot().vector(10), [11.0; 4]);
    }
    drop(disk);
}

#[test]
fn a_backup_holds_rows_in_its_segments_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, _) = collection(folder.path());
    for stopped in [None, Some("a test".to_owned())] {
        collection.apply(batch("b", 2.0)).expect("a commit");
        // Then the log cannot be emptied before it is copied.
        collection.health().writes_stopped = stopped;
        let backup = crate::backup::take(&collection, &*collection.disk, &folder.path().join("backups"))
            .expect("a backup");
        let copy = Connection::open(backup.path.join(catalog::FILE_NAME)).expect("a catalog");
        assert!(catalog::row_log(&copy).expect("read").is_empty());
    }
    assert_eq!(collection.snapshot().seq(), 3);
}

#[test]
fn what_was_synced_is_checked_and_not_taken_from_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, _) = collection(folder.path());
    collection.apply(batch("b", 2.0)).expect("a commit");
    collection.settle().expect("synced");
    assert!(
        catalog::row_log(collection.writer().expect("a writer").connection.as_ref().expect("open"))
            .expect("read")
            .is_empty()
    );
    collection.apply(batch("c", 3.0)).expect("a commit");
    let image = copied(&collection);
    let segment = image.path().join("notes").join(VECTORS).join("000000.rows");
    std::fs::write(&segment, &std::fs::read(&segment).expect("read")[..4096 + 31]).expect("cut");
    let error = opening::open("notes", &image.path().join("notes"), Arc::new(crate::dir::OsDisk), None)
        .err()
        .expect("damage");
    assert!(error.to_string().contains("expected at least 4128 bytes, found 4127"), "{error}");
}

#[test]
fn a_commit_whose_fate_is_open_is_there_or_not_but_never_half() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, disk) = collection(folder.path());
    collection.limit_log(NO_LOG);
    // The commit is on the disk, but SQLite's answer says that its fsync failed.
    let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    *collection.forged.lock().expect("free") = Some(rusqlite::Error::SqliteFailure(failed, None));
    let error = collection.apply(batch("b", 2.0)).expect_err("nobody knows");
    assert!(matches!(error, StoreError::Catalog { .. }), "{error}");
    assert!(matches!(collection.apply(batch("c", 3.0)), Err(StoreError::WritesStopped { .. })));
    assert_eq!(collection.snapshot().count(), 1);
    drop(collection);
    let collection = reopened(folder.path(), disk);
    assert_eq!(collection.snapshot().vector(1), [2.0; 4]);
    collection.verify(true).expect("rows and catalog agree");
    // That the disk was full is a certain answer; that the commit is there all the same is none.
    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    *collection.forged.lock().expect("free") = Some(rusqlite::Error::SqliteFailure(full, None));
    collection.apply(batch("c", 3.0)).expect_err("contradicted by the catalog");
    assert!(matches!(collection.apply(batch("d", 4.0)), Err(StoreError::WritesStopped { .. })));
}

#[test]
fn a_map_that_fails_leaves_the_commit_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, disk) = collection(folder.path());
    let mut many = batch("b", 2.0);
    let item = many.upsert[0].items[0].clone();
    many.upsert[0].items = vec![item; 9];
    disk.fail(Fault::Map);
    collection.apply(many.clone()).expect_err("no map to be had");
    disk.heal();
    assert_eq!(collection.snapshot().count(), 1);
    assert!(disk.calls.load(Ordering::Relaxed) > 0);
    assert_eq!(collection.apply(many).expect("maps are back").seq, 2);
    assert_eq!(collection.snapshot().vector(9), [2.0; 4]);
}

#[test]
fn without_room_nothing_is_compacted_and_both_figures_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collection, disk) = collection(folder.path());
    for id in ["b", "c", "d", "e", "f"] {
        collection.apply(batch(id, 2.0)).expect("written");
    }
    let delete = vec!["a".to_owned(), "c".to_owned(), "d".to_owned()];
    collection.apply(Batch { delete, ..Batch::default() }).expect("deleted");
    let before = (collection.snapshot().seq(), collection.status().disk_bytes);
    *disk.free_bytes.lock().expect("a figure") = Some(1000);
    let options = crate::CompactOptions { force: true, progress: None };
    let error = collection.compact(&options).expect_err("no room").to_string();
    assert!(error.contains("4194304 bytes needed, 1000 bytes free"), "{error}");
    assert_eq!((collection.snapshot().seq(), collection.status().disk_bytes), before);
    *disk.free_bytes.lock().expect("a figure") = None;
    let compacted = collection.compact(&options).expect("there is room");
    assert_eq!((compacted.segments_dropped, compacted.rows_moved), (1, 1), "{}", compacted.reason);
    assert_eq!(collection.snapshot().count(), 3);
    collection.verify(true).expect("checksums of what was moved");
}
