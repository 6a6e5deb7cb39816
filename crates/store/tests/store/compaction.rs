//! Compaction: what was deleted is given back, and nobody sees a difference, before, meanwhile and after.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bilin_index::{IndexSpec, Metric, Rows};
use bilin_store::{
    Batch, Collection, CompactOptions, Compacted, DataDir, MaintainOptions, NewDocument, StoreError,
};

use crate::sample::{Model, Random, compare, document, item, reopen, settings};

const DIM: usize = 8;

fn compact(collection: &Collection, force: bool) -> Compacted {
    collection.compact(&CompactOptions { force, progress: None }).unwrap()
}

fn build(collection: &Collection) -> String {
    let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
    collection.maintain(&options).unwrap().reason
}

fn note(number: usize, random: &mut Random) -> NewDocument {
    let mut item = item(random.vector(DIM), &format!("passage {number} {}", "近邻 ".repeat(20)));
    item.thumbnail = Some(vec![number as u8; 200]);
    item.sentences = Some(vec![number as u8 ^ 1; 100]);
    document(&number.to_string(), vec![item])
}

fn add(collection: &Collection, model: &mut Model, numbers: std::ops::Range<usize>, random: &mut Random) {
    let upsert: Vec<NewDocument> = numbers.map(|number| note(number, random)).collect();
    model.extend(upsert.iter().map(|document| (document.id.clone(), document.clone())));
    collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
}

/// Deletes all documents but those whose number is a multiple of `kept`.
fn delete(collection: &Collection, model: &mut Model, kept: usize) {
    let delete: Vec<String> =
        model.keys().filter(|id| !id.parse::<usize>().unwrap().is_multiple_of(kept)).cloned().collect();
    delete.iter().for_each(|id| drop(model.remove(id)));
    for delete in delete.chunks(10_000) {
        collection.apply(Batch { delete: delete.to_vec(), ..Batch::default() }).unwrap();
    }
}

#[test]
fn space_of_what_was_deleted_is_given_back_beside_readers() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::FLAT);
    let collection = data.create_with_segments("notes", &settings, 8192).unwrap();
    let (mut random, mut model) = (Random(1), Model::new());
    for first in (0..100_000).step_by(10_000) {
        add(&collection, &mut model, first..first + 10_000, &mut random);
    }
    let full = collection.status().disk_bytes;
    delete(&collection, &mut model, 10);
    let (stop, views) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (answers, before) = (AtomicUsize::new(0), collection.snapshot());
    let compacted = thread::scope(|scope| {
        for seed in 0..3 {
            let (collection, model, stop, views, answers) = (&collection, &model, &stop, &views, &answers);
            scope.spawn(move || {
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    let snapshot = collection.snapshot();
                    assert_eq!((snapshot.documents(), snapshot.count()), (model.len(), model.len()));
                    for _ in 0..20 {
                        let id = (random.below(10_000) * 10).to_string();
                        let items = snapshot.document(&id).unwrap();
                        assert_eq!(items.len(), 1, "{id}");
                        let expected = &model[&id].items[0];
                        assert_eq!(
                            (&items[0].text, &items[0].metadata),
                            (&expected.text, &expected.metadata)
                        );
                        assert_eq!(snapshot.vector(items[0].slot), expected.vector);
                        let query = Rows::new(&expected.vector, DIM).unwrap();
                        let hits = snapshot.search(query, 1, None, None).unwrap().remove(0);
                        assert_eq!(hits[0].distance, 0.0);
                        let found = &snapshot.items(&[hits[0].row]).unwrap()[0].document;
                        assert_eq!(model[found].items[0].vector, expected.vector);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    views.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let compacted = compact(&collection, false);
        stop.store(true, Ordering::Relaxed);
        compacted
    });
    println!("{compacted:?}; {} answers of {views:?} views", answers.load(Ordering::Relaxed));
    assert!(answers.load(Ordering::Relaxed) > 100);
    // The view from before is as it was.
    compare(&before, &model, Metric::L2, &mut random);
    drop(before);
    let last = compact(&collection, true);
    let left = collection.status().disk_bytes;
    println!("{last:?}; {full} bytes before, {left} after");
    assert!(left * 100 < full * 30, "{left} of {full} bytes are left: {}", last.reason);
    assert!(collection.snapshot().seq() > 10);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    collection.verify(true).unwrap();
    drop(collection);
    drop(data);
    let data = reopen(folder.path());
    let collection = data.open_collection("notes").unwrap();
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    add(&collection, &mut model, 100_000..100_010, &mut random);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    collection.verify(true).unwrap();
}

#[test]
fn an_older_view_is_never_cut_and_delays_only_what_it_can_ask_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::FLAT);
    let collection = data.create_with_segments("notes", &settings, 64).unwrap();
    let (mut random, mut model) = (Random(2), Model::new());
    add(&collection, &mut model, 0..256, &mut random);
    let (view, seen) = ((*collection.snapshot()).clone(), model.clone());
    delete(&collection, &mut model, 8);
    let first = compact(&collection, true);
    assert_eq!((first.segments_dropped, first.rows_moved), (0, 32), "{}", first.reason);
    assert!(
        first.reason.contains("256 deleted items and 4 empty segments wait for readers"),
        "{}",
        first.reason
    );
    compare(&view, &seen, Metric::L2, &mut random);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    drop(view);
    let second = compact(&collection, true);
    assert_eq!((second.segments_dropped, second.rows_moved), (4, 0), "{}", second.reason);
    assert!(!second.reason.contains("wait"), "{}", second.reason);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    let third = compact(&collection, true);
    assert_eq!((third.segments_dropped, third.reason.as_str()), (0, "nothing was deleted"));
}

#[test]
fn an_index_keeps_its_rows_until_it_is_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::hnsw(8));
    let mut collection = data.create_with_segments("notes", &settings, 256).unwrap();
    let (mut random, mut model) = (Random(3), Model::new());
    add(&collection, &mut model, 0..1024, &mut random);
    build(&collection);
    delete(&collection, &mut model, 8);
    let held = compact(&collection, true);
    assert_eq!(held.segments_dropped, 0, "{}", held.reason);
    assert!(held.reason.contains("4 empty segments wait until the index is built anew"), "{}", held.reason);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    drop(collection);
    drop(data);
    let data = reopen(folder.path());
    collection = data.open_collection("notes").unwrap();
    assert_eq!(compact(&collection, true).segments_dropped, 0);
    let options = MaintainOptions { force: false, threads: 1, memory_bytes: None, progress: None };
    println!("{}", collection.maintain(&options).unwrap().reason);
    assert_eq!(compact(&collection, true).segments_dropped, 4);
    let found = collection.snapshot();
    assert!(found.generation().is_some());
    for document in model.values() {
        let query = Rows::new(&document.items[0].vector, DIM).unwrap();
        let hits = found.search(query, 1, None, None).unwrap().remove(0);
        assert_eq!(found.items(&[hits[0].row]).unwrap()[0].document, document.id);
    }
    drop(found);
    collection.verify(true).unwrap();
    let backup = data.backup(&collection).unwrap();
    assert!(!backup.path.join("vectors/000000.rows").exists());
    let collection = data.restore(&backup, Some(collection)).unwrap();
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    assert_eq!(collection.status().warnings, Vec::<String>::new());
}

#[test]
fn everything_deleted_leaves_an_empty_collection_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::FLAT);
    let collection = data.create_with_segments("notes", &settings, 64).unwrap();
    let (mut random, mut model) = (Random(4), Model::new());
    add(&collection, &mut model, 1..100, &mut random);
    // A document without items is as dead as one with them.
    collection.apply(Batch { upsert: vec![document("empty", vec![])], ..Batch::default() }).unwrap();
    let delete = model.keys().cloned().chain(["empty".to_owned()]).collect();
    model.clear();
    collection.apply(Batch { delete, ..Batch::default() }).unwrap();
    let compacted = compact(&collection, true);
    assert_eq!(compacted.segments_dropped, 2, "{}", compacted.reason);
    assert_eq!(std::fs::read_dir(folder.path().join("collections/notes/vectors")).unwrap().count(), 0);
    assert_eq!(collection.snapshot().rows().len(), 128);
    drop(collection);
    drop(data);
    let data = reopen(folder.path());
    let collection = data.open_collection("notes").unwrap();
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    add(&collection, &mut model, 0..70, &mut random);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    collection.verify(true).unwrap();
}

#[test]
fn a_backup_and_a_check_beside_compactions_see_whole_commits() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::FLAT);
    let collection = data.create_with_segments("notes", &settings, 64).unwrap();
    let (mut random, mut model) = (Random(5), Model::new());
    add(&collection, &mut model, 0..200, &mut random);
    let stop = AtomicBool::new(false);
    let dropped = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                collection.verify(true).unwrap();
                data.backup(&collection).unwrap();
                data.prune_backups("notes", 1).unwrap();
            }
        });
        let mut dropped = 0;
        for round in 1..40 {
            add(&collection, &mut model, round * 200..(round + 1) * 200, &mut random);
            delete(&collection, &mut model, 16);
            dropped += compact(&collection, true).segments_dropped;
            compare(&collection.snapshot(), &model, Metric::L2, &mut random);
        }
        stop.store(true, Ordering::Relaxed);
        dropped
    });
    assert!(dropped > 40, "{dropped}");
    collection.verify(true).unwrap();
    compact(&collection, true);
    let files = std::fs::read_dir(folder.path().join("collections/notes/vectors")).unwrap().count();
    assert!(files < 30, "{files} files are left");
}

#[test]
fn a_compaction_that_is_stopped_leaves_whole_commits() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::FLAT);
    let collection = data.create_with_segments("notes", &settings, 2048).unwrap();
    let (mut random, mut model) = (Random(6), Model::new());
    add(&collection, &mut model, 0..8192, &mut random);
    delete(&collection, &mut model, 3);
    let stop = |moved: usize, all: usize| {
        assert!(all >= moved);
        moved == 0
    };
    let error = collection.compact(&CompactOptions { force: true, progress: Some(&stop) }).unwrap_err();
    assert!(matches!(error, StoreError::Cancelled), "{error}");
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    collection.verify(true).unwrap();
    compact(&collection, true);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
}
