//! Backups hold one commit each, share what did not change, and come back as they were; damage is never restored.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Backup, Batch, Collection, DataDir, MaintainOptions, StoreError};

use crate::sample::{Model, Random, compare, document, item, settings};

const DIM: usize = 8;
/// Of 8 values each: segments of 2 KiB, so that a few hundred rows fill several.
const SEGMENT_ROWS: usize = 64;

fn collection(data: &DataDir, index: IndexSpec) -> Arc<Collection> {
    data.create_with_segments("notes", &settings(DIM, Metric::L2, index), SEGMENT_ROWS).unwrap()
}

fn add(collection: &Collection, model: &mut Model, random: &mut Random, from: usize, count: usize) {
    let upsert: Vec<_> = (from..from + count)
        .map(|at| document(&at.to_string(), vec![item(random.vector(DIM), &format!("text {at}"))]))
        .collect();
    model.extend(upsert.iter().map(|document| (document.id.clone(), document.clone())));
    collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
}

fn inode(backup: &Backup, file: &str) -> u64 {
    fs::metadata(backup.path.join(file)).unwrap().ino()
}

#[test]
fn a_backup_is_one_commit_and_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (mut model, mut random) = (Model::default(), Random(3));
    let notes = collection(&data, IndexSpec::hnsw(8));
    add(&notes, &mut model, &mut random, 0, 200);
    let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
    notes.maintain(&options).unwrap();
    let kept = model.clone();
    let backup = data.backup(&notes).unwrap();
    assert_eq!((backup.seq, backup.documents, backup.items), (1, 200, 200));
    assert!(fs::read_dir(backup.path.join("index")).unwrap().count() == 1, "the index is in it");

    // What comes later is not in it.
    add(&notes, &mut model, &mut random, 100, 300);
    notes.apply(Batch { delete: vec!["0".to_owned()], ..Batch::default() }).unwrap();
    assert_eq!(data.list_backups("notes").unwrap().good, std::slice::from_ref(&backup));
    let before = notes.snapshot();
    let restored = data.restore(&backup, Some(notes)).unwrap();
    compare(&restored.snapshot(), &kept, Metric::L2, &mut random);
    restored.verify(true).unwrap();
    assert!(restored.snapshot().generation().is_some(), "its index serves");
    assert_eq!(before.count(), 399, "a reader keeps the commit that it holds");
    let quarantined: Vec<_> = fs::read_dir(data.path().join("quarantine")).unwrap().collect();
    assert_eq!(quarantined.len(), 1, "what was replaced is kept");

    // Life goes on, also after opening anew, and backups of two histories do not mix.
    let mut model = kept;
    add(&restored, &mut model, &mut random, 1000, 300);
    let later = data.backup(&restored).unwrap();
    drop((before, restored, data));
    let data = DataDir::open(folder.path()).unwrap();
    let reopened = data.open_collection("notes").unwrap();
    compare(&reopened.snapshot(), &model, Metric::L2, &mut random);
    let again = data.restore(&later, Some(reopened)).unwrap();
    compare(&again.snapshot(), &model, Metric::L2, &mut random);
}

#[test]
fn a_backup_costs_what_is_new_and_shares_nothing_with_the_live_files() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (mut model, mut random) = (Model::default(), Random(4));
    let notes = collection(&data, IndexSpec::FLAT);
    add(&notes, &mut model, &mut random, 0, 150);
    let first = data.backup(&notes).unwrap();
    add(&notes, &mut model, &mut random, 150, 150);
    let second = data.backup(&notes).unwrap();
    for full in ["vectors/000000.rows", "vectors/000001.rows"] {
        assert_eq!(inode(&first, full), inode(&second, full), "{full}");
        let live = fs::metadata(data.path().join("collections/notes").join(full)).unwrap().ino();
        assert_ne!(inode(&first, full), live, "{full}");
    }
    assert_ne!(inode(&first, "vectors/000002.rows"), inode(&second, "vectors/000002.rows"));
    assert!(second.taken_unix_s > first.taken_unix_s, "each has a time of its own");

    // The older one goes, the newer one keeps the shared files.
    assert_eq!(data.prune_backups("notes", 1).unwrap(), [first]);
    assert_eq!(data.list_backups("notes").unwrap().good, std::slice::from_ref(&second));
    compare(&data.restore(&second, Some(notes)).unwrap().snapshot(), &model, Metric::L2, &mut random);
}

#[test]
fn a_history_that_was_set_back_does_not_borrow_rows_of_the_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (mut model, mut random) = (Model::default(), Random(5));
    let notes = collection(&data, IndexSpec::FLAT);
    add(&notes, &mut model, &mut random, 0, 10);
    let (early, mut other) = (data.backup(&notes).unwrap(), model.clone());
    add(&notes, &mut model, &mut random, 10, 118);
    data.backup(&notes).unwrap();
    let notes = data.restore(&early, Some(notes)).unwrap();
    // As many rows as before, in segments of the same names and lengths, but other ones.
    add(&notes, &mut other, &mut random, 10, 118);
    let backup = data.backup(&notes).unwrap();
    compare(&data.restore(&backup, Some(notes)).unwrap().snapshot(), &other, Metric::L2, &mut random);
}

#[test]
fn damage_is_noticed_when_a_backup_is_made_and_when_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (mut model, mut random) = (Model::default(), Random(6));
    let notes = collection(&data, IndexSpec::FLAT);
    add(&notes, &mut model, &mut random, 0, 150);
    let backup = data.backup(&notes).unwrap();
    for file in ["catalog.sqlite", "vectors/000001.rows", "manifest.json"] {
        let path = backup.path.join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&path, &bad).unwrap();
        let error = data.restore(&backup, Some(Arc::clone(&notes))).err().unwrap();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{file}: {error}");
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(notes.snapshot().count(), 150, "a failed restore leaves what was there");
    assert!(!data.path().join("quarantine").exists());

    let live = data.path().join("collections/notes/vectors/000000.rows");
    let mut bytes = fs::read(&live).unwrap();
    bytes[4096 + 100] ^= 1;
    fs::write(&live, &bytes).unwrap();
    fs::remove_dir_all(&backup.path).unwrap();
    let error = data.backup(&notes).unwrap_err();
    assert!(error.to_string().contains("000000.rows, block 0"), "{error}");
    assert!(data.list_backups("notes").unwrap().good.is_empty(), "damage is not kept as good");
}

#[test]
fn a_backup_stands_beside_writers() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = collection(&data, IndexSpec::FLAT);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(7);
            for at in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let upsert = vec![document(&(at % 90).to_string(), vec![item(random.vector(DIM), "x"); 3])];
                notes.apply(Batch { upsert, ..Batch::default() }).unwrap();
            }
        });
        let mut last = 0;
        for _ in 0..12 {
            let backup = data.backup(&notes).unwrap();
            assert!(backup.seq >= last && backup.items == 3 * backup.documents, "{backup:?}");
            last = backup.seq;
        }
        stop.store(true, Ordering::Relaxed);
    });
    for backup in data.list_backups("notes").unwrap().good {
        let place = tempfile::tempdir().unwrap();
        let other = DataDir::open(place.path()).unwrap();
        let restored = other.restore(&backup, None).unwrap();
        assert_eq!(restored.snapshot().seq(), backup.seq);
        restored.verify(true).unwrap();
    }
}

#[test]
fn a_collection_of_the_same_name_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = collection(&data, IndexSpec::FLAT);
    let backup = data.backup(&notes).unwrap();
    let error = data.restore(&backup, None).err().unwrap();
    assert!(matches!(error, StoreError::CollectionExists { .. }), "{error}");
    data.remove(notes).unwrap();
    assert_eq!(data.backed_up().unwrap(), ["notes"], "backups outlive the collection");
    assert_eq!(data.restore(&backup, None).unwrap().snapshot().count(), 0);
    assert!(data.list_backups("../notes").is_err());
    let unfinished = Path::new(&backup.path).with_file_name(".making-20200101T000000Z");
    fs::create_dir(&unfinished).unwrap();
    data.prune_backups("notes", 7).unwrap();
    assert!(!unfinished.exists());
}

/// What a reader sees of document "0": its text, or nothing when it was deleted.
fn text_of_first(notes: &Collection) -> Option<String> {
    let snapshot = notes.snapshot();
    let items = snapshot.document("0").unwrap();
    let slots: Vec<u32> = items.iter().map(|item| item.slot).collect();
    assert_eq!(snapshot.items(&slots).unwrap(), items);
    items.first().and_then(|item| item.text.clone())
}

#[test]
fn readers_go_on_while_a_backup_takes_the_place_of_what_they_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (mut model, mut random) = (Model::default(), Random(9));
    let notes = collection(&data, IndexSpec::hnsw(8));
    add(&notes, &mut model, &mut random, 0, 150);
    let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
    notes.maintain(&options).unwrap();
    let with = data.backup(&notes).unwrap();
    notes.apply(Batch { delete: vec!["0".to_owned()], ..Batch::default() }).unwrap();
    let without = data.backup(&notes).unwrap();

    let current = RwLock::new(notes);
    let (stop, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let notes = Arc::clone(&current.read().unwrap());
                    let seen = text_of_first(&notes);
                    assert!(seen.is_none() || seen.as_deref() == Some("text 0"), "{seen:?}");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for turn in 0..12 {
            let old = Arc::clone(&current.read().unwrap());
            let backup = if turn % 2 == 0 { &with } else { &without };
            let restored = data.restore(backup, Some(Arc::clone(&old))).unwrap();
            // The one that was replaced still answers as before, and takes nothing new.
            assert_eq!(text_of_first(&old).is_some(), turn % 2 == 1, "turn {turn}");
            let late = old.apply(Batch { delete: vec!["1".to_owned()], ..Batch::default() });
            assert!(matches!(late, Err(StoreError::Replaced { .. })), "{late:?}");
            *current.write().unwrap() = restored;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(looks.load(Ordering::Relaxed) > 12);
    let notes = current.into_inner().unwrap();
    assert_eq!(text_of_first(&notes), None);
    notes.verify(true).unwrap();
}

#[test]
fn what_ends_late_leaves_the_files_of_the_successor_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (mut model, mut random) = (Model::default(), Random(10));
    let notes = collection(&data, IndexSpec::hnsw(8));
    add(&notes, &mut model, &mut random, 0, 150);
    let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
    notes.maintain(&options).unwrap();
    let backup = data.backup(&notes).unwrap();
    // A reader holds the index that a second build retires; its file would go with the reader.
    let reader = notes.snapshot();
    notes.maintain(&options).unwrap();
    let restored = data.restore(&backup, Some(Arc::clone(&notes))).unwrap();
    assert!(restored.snapshot().generation().is_some());
    assert!(notes.maintain(&options).is_err(), "its folder is no longer its own");
    assert!(data.backup(&notes).is_err());
    assert_eq!(reader.document("5").unwrap().len(), 1, "a snapshot outlives its collection");
    drop(notes);
    assert_eq!(reader.document("6").unwrap().len(), 1);
    drop(reader);
    restored.verify(true).unwrap();
    assert!(restored.snapshot().generation().is_some(), "its index serves still");
    drop((restored, data));
    let data = DataDir::open(folder.path()).unwrap();
    assert!(data.open_collection("notes").unwrap().snapshot().generation().is_some());
}
