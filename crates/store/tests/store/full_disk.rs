//! A real file system that is really full: reads go on, writes say so and change nothing, deletes work, writes come back.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bilin_index::{Codec, IndexSpec, Metric};
use bilin_store::{Batch, Collection, CompactOptions, DataDir, MaintainOptions, StoreError};

use crate::mounted::{Mounted, fill};
use crate::sample::{Model, Random, compare, document, item, settings};

const DIM: usize = 512;
const MIB: usize = 1 << 20;

#[test]
fn a_full_tmpfs() {
    let place = tempfile::tempdir().unwrap();
    let _mounted = Mounted::tmpfs(place.path(), 28);
    live_on_a_full_disk(place.path(), 1);
}

#[test]
fn a_full_ext4() {
    let place = tempfile::tempdir().unwrap();
    let image = place.path().join("image");
    fs::File::create(&image).unwrap().set_len(36 * MIB as u64).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).env("PATH", path()).status();
    assert!(made.unwrap().success(), "mkfs.ext4");
    let folder = tempfile::tempdir().unwrap();
    let _mounted = Mounted::new(folder.path(), &["-o", "loop"], &image.to_string_lossy());
    live_on_a_full_disk(folder.path(), 2);
}

/// Tools of the file system are not on every user's path.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

fn batch(random: &mut Random, model: &mut Model, first: usize, documents: usize) -> Batch {
    let upsert: Vec<_> = (first..first + documents)
        .map(|number| document(&number.to_string(), vec![item(random.vector(DIM), &"word ".repeat(40))]))
        .collect();
    model.extend(upsert.iter().map(|document| (document.id.clone(), document.clone())));
    Batch { upsert, ..Batch::default() }
}

#[track_caller]
fn is_full(result: Result<impl std::fmt::Debug, StoreError>) {
    match result {
        Err(StoreError::NoSpace { .. }) => {}
        other => panic!("expected no space, received {other:?}"),
    }
}

fn open(folder: &Path) -> (DataDir, Arc<Collection>) {
    let data = DataDir::open(folder).unwrap();
    let collection = data.open_collection("notes").unwrap();
    (data, collection)
}

fn delete(collection: &Collection, model: &mut Model, documents: usize) {
    for _ in 0..documents {
        let id = model.keys().next().unwrap().clone();
        let applied = collection.apply(Batch { delete: vec![id.clone()], ..Batch::default() }).unwrap();
        assert_eq!(applied.deleted, 1);
        model.remove(&id);
    }
}

/// Adds large and small batches until none fits; returns the number of the next document.
fn add_until_full(collection: &Collection, model: &mut Model, mut next: usize, random: &mut Random) -> usize {
    for documents in [500, 50, 1] {
        loop {
            let mut later = model.clone();
            let batch = batch(random, &mut later, next, documents);
            match collection.apply(batch) {
                Ok(_) => (*model, next) = (later, next + documents),
                full => break is_full(full.map(drop)),
            }
        }
    }
    next
}

fn live_on_a_full_disk(folder: &Path, seed: u64) {
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut model = Model::new();
    // What is freed in the end.
    let filler = folder.join("filler");
    fs::write(&filler, vec![7; 4 * MIB]).unwrap();
    let place = folder.join("data");
    let data = DataDir::open(&place).unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::ivf(4, Codec::Flat));
    let collection = data.create_with_segments("notes", &settings, 1024).unwrap();
    let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
    collection.apply(batch(&mut random, &mut model, 0, 200)).unwrap();
    let built = collection.maintain(&options).unwrap().built.unwrap();
    data.backup(&collection).unwrap();

    let mut next = add_until_full(&collection, &mut model, 200, &mut random);
    fill(&filler);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    collection.verify(true).unwrap();

    // Full: adds, builds and backups say so and leave nothing; deletes work, also after reopening.
    let mut unused = model.clone();
    is_full(collection.apply(batch(&mut random, &mut unused, next, 1)));
    is_full(collection.maintain(&options).map(drop));
    assert_eq!(collection.status().generation.unwrap().number, built.number);
    is_full(data.backup(&collection));
    assert_eq!(fs::read_dir(place.join("backups/notes")).unwrap().count(), 1);
    delete(&collection, &mut model, 20);
    // A delete that needs the reserve folds the log into the catalog, which may leave more room than it found.
    fill(&filler);
    is_full(collection.apply(batch(&mut random, &mut unused, next, 500)));
    drop((collection, data));
    fill(&filler);
    let (data, collection) = open(&place);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    is_full(collection.apply(batch(&mut random, &mut unused, next, 500)));
    delete(&collection, &mut model, 20);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    collection.verify(true).unwrap();
    assert_eq!(collection.status().warnings, Vec::<String>::new());

    // What was deleted gives room, also on a full disk: two segments without a document that counts.
    for first in (1024..3072).step_by(128) {
        let delete: Vec<String> = (first..first + 128).map(|number| number.to_string()).collect();
        delete.iter().for_each(|id| drop(model.remove(id)));
        collection.apply(Batch { delete, ..Batch::default() }).unwrap();
    }
    is_full(collection.apply(batch(&mut random, &mut unused, next, 500)));
    let compacted = collection.compact(&CompactOptions { force: false, progress: None }).unwrap();
    assert!(compacted.segments_dropped >= 2, "{}", compacted.reason);
    let more = batch(&mut random, &mut model, next, 500);
    collection.apply(more).unwrap();
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    next += 500;

    // Room again: all of it works by itself.
    fs::remove_file(&filler).unwrap();
    let first = batch(&mut random, &mut model, next, 300);
    collection.apply(first).unwrap();
    drop((collection, data));
    let (_data, collection) = open(&place);
    compare(&collection.snapshot(), &model, Metric::L2, &mut random);
    collection.verify(true).unwrap();
}
