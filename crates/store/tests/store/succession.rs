//! A collection gives way to its successor: nothing is lost that is written meanwhile, views from before stay as they are, and a
//! kill at any moment leaves the one or the other whole.
use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bilin_index::{IndexSpec, Metric, Rows};
use bilin_store::{
    Batch, Carried, Collection, DataDir, FileStamp, Kind, Lag, MaintainOptions, ModelRef, NewDocument,
    NewItem, Settings, StoreError, Succeeded, Successor,
};

use crate::lives::{CHILD, live};
use crate::sample::{Model, Random, compare, document, item, reopen};

const KILLS: usize = 20;
/// Documents in the kill test.
const DOCUMENTS: usize = 200;
/// Most items that are taken while writers wait.
const MOST: usize = 64;

/// As a collection of "model" number `dim`, whose vectors are made of texts by [`encoded`].
fn settings(dim: usize) -> Settings {
    let (id, revision, space) = (format!("model-{dim}"), dim.to_string(), format!("space-{dim}"));
    let model = ModelRef { id, revision, space, reading: Default::default() };
    Settings {
        kind: Kind::Text,
        model: Some(model),
        dim,
        metric: Metric::L2,
        index: IndexSpec::FLAT,
        target_recall: 0.95,
    }
}

/// What a model of this dimension makes of a text.
fn encoded(text: &str, dim: usize) -> Vec<f32> {
    let seed =
        text.bytes().fold(dim as u64, |seed, byte| seed.wrapping_mul(131).wrapping_add(u64::from(byte)));
    Random(seed).vector(dim)
}

fn note(id: &str, text: &str, dim: usize) -> NewDocument {
    let mut first: NewItem = item(encoded(text, dim), text);
    first.metadata.remove("first");
    first.thumbnail = Some(text.as_bytes().to_vec());
    first.sentences = Some(sentences(text, dim));
    document(id, vec![first])
}

/// Those of a text's sentences, of a model of this dimension.
fn sentences(text: &str, dim: usize) -> Vec<u8> {
    [text.as_bytes(), &[dim as u8]].concat()
}

/// The same documents as another model has them.
fn under(model: &Model, dim: usize) -> Model {
    let mut model = model.clone();
    for item in model.values_mut().flat_map(|document| &mut document.items) {
        item.vector = encoded(item.text.as_deref().unwrap(), dim);
        item.sentences = Some(sentences(item.text.as_deref().unwrap(), dim));
    }
    model
}

fn take_all(successor: &mut Successor<'_>, mut lag: Lag, dim: usize) -> Result<(), StoreError> {
    loop {
        let portion = successor.portion(&mut lag)?;
        if portion.is_empty() {
            return successor.caught_up(lag);
        }
        let texts = portion.iter().flat_map(Carried::texts).map(Option::unwrap);
        let (mut vectors, mut blobs) = (Vec::new(), Vec::new());
        for text in texts {
            vectors.extend(encoded(text, dim));
            blobs.push(Some(sentences(text, dim)));
        }
        successor.take(portion, &vectors, blobs)?;
    }
}

fn succeed(data: &DataDir, source: &Arc<Collection>, dim: usize) -> Result<Succeeded, StoreError> {
    let mut successor = data.begin_successor(source, &settings(dim), Some(16))?;
    let lag = successor.lag()?;
    take_all(&mut successor, lag, dim)?;
    successor.next()?.verify(true)?;
    successor.succeed(MOST, |successor, lag| take_all(successor, lag, dim))
}

/// Names in the folder of collections.
fn folders(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("collections")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn stamp(path: &str) -> FileStamp {
    FileStamp { path: path.to_owned(), bytes: 7, modified_ns: 8, hash: "h".to_owned() }
}

#[test]
fn everything_comes_along_and_older_views_stay() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let old = data.create_with_segments("notes", &settings(4), 16).unwrap();
    let mut model = Model::new();
    for at in 0..300 {
        let mut new = note(&format!("{at}"), &format!("text {at}"), 4);
        new.file = (at % 3 == 0).then(|| format!("/files/{at}"));
        let files = new.file.iter().map(|file| stamp(file)).collect();
        model.insert(new.id.clone(), new.clone());
        old.apply(Batch { upsert: vec![new], files, ..Batch::default() }).unwrap();
    }
    old.apply(Batch { delete: vec!["7".into()], ..Batch::default() }).unwrap();
    model.remove("7");
    let backup = data.backup(&old).unwrap();
    let before = old.snapshot();
    let done = succeed(&data, &old, 6).unwrap();
    let new = done.collection;
    println!("writers waited {:?}", done.writers_waited);
    assert_eq!(new.settings(), settings(6));
    assert!(new.snapshot().seq() > before.seq(), "commit numbers go on");
    compare(&new.snapshot(), &under(&model, 6), Metric::L2, &mut Random(1));
    assert_eq!(new.file_stamp("/files/3").unwrap(), Some(stamp("/files/3")));
    assert_eq!(new.files_below(&["/files".into()]).unwrap().len(), 100);
    assert_eq!(new.document_file("3").unwrap(), Some(Some("/files/3".to_owned())));
    new.verify(true).unwrap();
    // The view from before can still be asked for everything, though its files are gone.
    compare(&before, &model, Metric::L2, &mut Random(2));
    assert_eq!(folders(folder.path()), ["notes"]);
    let late = old.apply(Batch { delete: vec!["8".into()], ..Batch::default() });
    assert!(matches!(late, Err(StoreError::Replaced { .. })) && old.is_closed(), "{late:?}");
    drop((before, old));
    compare(&new.snapshot(), &under(&model, 6), Metric::L2, &mut Random(3));
    // What is written after it is written to the new one, over restarts too.
    new.apply(Batch { upsert: vec![note("late", "late", 6)], ..Batch::default() }).unwrap();
    model.insert("late".into(), note("late", "late", 6));
    let newer = data.backup(&new).unwrap();
    assert!(newer.seq > backup.seq);
    drop((new, data));
    let data = reopen(folder.path());
    let new = data.open_collection("notes").unwrap();
    compare(&new.snapshot(), &under(&model, 6), Metric::L2, &mut Random(4));
    // A backup from before brings the old model back, whole.
    let restored = data.restore(&backup, Some(new)).unwrap();
    assert_eq!(restored.settings(), settings(4));
    model.remove("late");
    compare(&restored.snapshot(), &under(&model, 4), Metric::L2, &mut Random(5));
}

#[test]
fn an_index_is_built_aside_and_moves_along() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let graph = |dim| Settings { index: IndexSpec::hnsw(8), ..settings(dim) };
    let old = data.create_with_segments("notes", &graph(4), 64).unwrap();
    let upsert = (0..500).map(|at| note(&at.to_string(), &format!("text {at}"), 4)).collect();
    old.apply(Batch { upsert, ..Batch::default() }).unwrap();
    let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: None };
    old.maintain(&options).unwrap();
    let mut successor = data.begin_successor(&old, &graph(8), None).unwrap();
    let lag = successor.lag().unwrap();
    take_all(&mut successor, lag, 8).unwrap();
    successor.next().unwrap().maintain(&options).unwrap();
    // Another index is wished for meanwhile: the wish comes along, the index that there is serves until it is built.
    old.set_index(IndexSpec::hnsw(12), 0.9).unwrap();
    let done = successor.succeed(MOST, |successor, lag| take_all(successor, lag, 8)).unwrap();
    let new = done.collection;
    let expected = Settings { index: IndexSpec::hnsw(12), target_recall: 0.9, ..settings(8) };
    assert_eq!(new.settings(), expected);
    assert_eq!(new.snapshot().generation().unwrap().rows, 500);
    let query = encoded("text 77", 8);
    let hits = new.snapshot().search(Rows::new(&query, 8).unwrap(), 1, None, None).unwrap().remove(0);
    assert_eq!(new.snapshot().items(&[hits[0].row]).unwrap()[0].document, "77");
    assert_eq!(hits[0].distance, 0.0);
}

/// Applies to whatever serves now.
fn apply(data: &DataDir, held: &Mutex<Arc<Collection>>, batch: impl Fn(usize) -> Batch) {
    loop {
        let collection = Arc::clone(&held.lock().unwrap());
        match collection.apply(batch(collection.settings().dim)) {
            Err(StoreError::Replaced { .. }) => {
                *held.lock().unwrap() = data.open_collection("notes").unwrap();
            }
            done => {
                done.unwrap();
                return;
            }
        }
    }
}

#[test]
fn what_is_written_meanwhile_is_there_afterwards() {
    let seed = crate::sample::number_from("BILIN_SEED", 46);
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let first = data.create_with_segments("notes", &settings(4), 16).unwrap();
    let held = Mutex::new(first);
    let (model, stop) = (Mutex::new(Model::new()), AtomicBool::new(false));
    let (mut waited, mut written) = (Duration::ZERO, 0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut random, mut written) = (Random(seed), 0);
            while !stop.load(Ordering::Relaxed) {
                let ids: Vec<String> =
                    (0..1 + random.below(6)).map(|_| random.below(120).to_string()).collect();
                let text = format!("text {}", random.below(1000));
                let is_delete = random.below(4) == 0;
                let mut model = model.lock().unwrap();
                for id in &ids {
                    match is_delete {
                        true => drop(model.remove(id)),
                        false => drop(model.insert(id.clone(), note(id, &text, 4))),
                    }
                }
                apply(&data, &held, |dim| match is_delete {
                    true => Batch { delete: ids.clone(), ..Batch::default() },
                    false => Batch {
                        upsert: ids.iter().map(|id| note(id, &text, dim)).collect(),
                        ..Batch::default()
                    },
                });
                written += 1;
                if random.below(10) == 0 {
                    // Moved documents get new versions; the successor follows them.
                    drop(model);
                    let options = bilin_store::CompactOptions { force: true, progress: None };
                    let collection = Arc::clone(&held.lock().unwrap());
                    let _ = collection.compact(&options);
                }
            }
            written
        });
        for round in 0..12 {
            let dim = if round % 2 == 0 { 6 } else { 4 };
            thread::sleep(Duration::from_millis(30));
            let source = data.open_collection("notes").unwrap();
            let done = succeed(&data, &source, dim).unwrap();
            waited = waited.max(done.writers_waited);
            let model = model.lock().unwrap();
            let now = data.open_collection("notes").unwrap();
            assert_eq!(now.settings(), settings(dim));
            compare(&now.snapshot(), &under(&model, dim), Metric::L2, &mut Random(round));
        }
        stop.store(true, Ordering::Relaxed);
        written = writer.join().unwrap();
    });
    println!("{written} commits beside 12 successions; writers waited {waited:?} at most");
    assert!(written > 12);
    let last = data.open_collection("notes").unwrap();
    last.verify(true).unwrap();
    let model = model.into_inner().unwrap();
    drop((last, held, data));
    let data = reopen(folder.path());
    let last = data.open_collection("notes").unwrap();
    compare(&last.snapshot(), &under(&model, 4), Metric::L2, &mut Random(9));
}

#[test]
fn what_is_left_out_can_be_added_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let old = data.create("notes", &settings(4)).unwrap();
    let add = |collection: &Collection, id: &str, dim: usize| {
        let mut new = note(id, id, dim);
        new.file = Some(format!("/{id}"));
        let files = vec![stamp(&format!("/{id}"))];
        collection.apply(Batch { upsert: vec![new], files, ..Batch::default() }).unwrap();
    };
    for id in ["a", "b", "c"] {
        add(&old, id, 4);
    }
    let mut successor = data.begin_successor(&old, &settings(6), None).unwrap();
    let mut lag = successor.lag().unwrap();
    assert_eq!((lag.items(), lag.documents()), (3, 3));
    let mut origins = Vec::new();
    successor
        .origins(&lag, |id, file, stamp| {
            origins.push((id.to_owned(), file.unwrap().to_owned(), stamp.unwrap().bytes));
            true
        })
        .unwrap();
    assert_eq!(origins[2], ("c".into(), "/c".into(), 7));
    // "b" is left out as it is now, and written anew before the end; "c" is left out for good.
    for carried in successor.portion(&mut lag).unwrap() {
        assert!(successor.is_newest(&carried).unwrap());
        match carried.id() {
            "a" => successor.take(vec![carried], &encoded("a", 6), vec![Some(sentences("a", 6))]).unwrap(),
            _ => successor.leave_out(carried).unwrap(),
        }
    }
    successor.caught_up(lag).unwrap();
    add(&old, "b", 4);
    let new = successor.succeed(MOST, |successor, lag| take_all(successor, lag, 6)).unwrap().collection;
    assert_eq!(new.snapshot().documents(), 2);
    assert!(new.snapshot().document("c").unwrap().is_empty());
    let stamps = ["/a", "/b", "/c"].map(|path| new.file_stamp(path).unwrap().is_some());
    assert_eq!(stamps, [true, true, false]);
}

#[test]
fn a_source_that_cannot_give_way_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let old = data.create("notes", &settings(4)).unwrap();
    old.apply(Batch { upsert: vec![note("a", "a", 4)], ..Batch::default() }).unwrap();
    // Every time something was taken over there is something new.
    let successor = data.begin_successor(&old, &settings(6), None).unwrap();
    let mut number = 0;
    let error = successor
        .succeed(0, |successor, lag| {
            take_all(successor, lag, 6)?;
            number += 1;
            old.apply(Batch { upsert: vec![note("a", &number.to_string(), 4)], ..Batch::default() }).map(drop)
        })
        .err()
        .unwrap();
    assert!(matches!(&error, StoreError::Succession { .. }), "{error}");
    assert!(error.to_string().contains("writes come faster"), "{error}");
    assert_eq!(folders(folder.path()), ["notes"], "nothing is left of it");
    // A vector that does not fit is named, and changes nothing.
    let mut successor = data.begin_successor(&old, &settings(6), None).unwrap();
    let mut lag = successor.lag().unwrap();
    let portion = successor.portion(&mut lag).unwrap();
    let error = successor.take(portion, &[1.0; 4], Vec::new()).unwrap_err();
    assert!(matches!(&error, StoreError::Dimension { expected: 6, received: 4, .. }), "{error}");
    // Once the source was removed, it has no successor, and one of the same name is none of its business.
    data.remove(Arc::clone(&old)).unwrap();
    let other = data.create("notes", &settings(4)).unwrap();
    assert!(successor.lag().is_ok_and(|lag| lag.items() == 1) || old.is_closed());
    assert!(successor.succeed(MOST, |successor, lag| take_all(successor, lag, 6)).is_err());
    assert!(data.begin_successor(&old, &settings(6), None).is_err());
    assert_eq!(folders(folder.path()), ["notes"]);
    other.apply(Batch { upsert: vec![note("b", "b", 4)], ..Batch::default() }).unwrap();
}

/// The second process: writes a version of every document by one commit and lets a successor of the other dimension take over,
/// again and again until it is killed.
#[test]
fn successor_process() {
    let Some(folder) = env::var_os(CHILD) else {
        // Run as a test: there is no folder to work on, and the real work is checked by the test below.
        return;
    };
    let data = DataDir::open(Path::new(&folder)).unwrap();
    let mut collection = data.open_collection("notes").unwrap();
    let first = collection.snapshot().document("0").unwrap().first().map_or(0, |item| version(&item.text));
    for version in first + 1.. {
        let dim = collection.settings().dim;
        let upsert = (0..DOCUMENTS).map(|id| note(&id.to_string(), &version.to_string(), dim)).collect();
        collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
        println!("\nwrote {version}");
        collection = succeed(&data, &collection, 10 - dim).unwrap().collection;
        println!("\nmoved {version} {}", 10 - dim);
        std::io::stdout().flush().unwrap();
    }
}

fn version(text: &Option<String>) -> u64 {
    text.as_ref().unwrap().parse().unwrap()
}

#[test]
fn a_kill_leaves_the_old_or_the_new() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    data.create_with_segments("notes", &settings(4), 64).unwrap();
    drop(data);
    let seed = 22;
    println!("seed {seed}");
    let (mut random, mut moves) = (Random(seed), 0);
    for kill in 0..KILLS {
        let lines = live("succession::successor_process", folder.path(), &mut random);
        let (mut wrote, mut moved) = (0, None);
        for line in lines {
            let mut words = line.split(' ');
            let number = |word: Option<&str>| word.unwrap().trim().parse::<u64>().unwrap();
            match words.next() {
                Some("wrote") => wrote = number(words.next()),
                Some("moved") => {
                    moved = Some((number(words.next()), number(words.next()) as usize));
                    moves += 1;
                }
                _ => {}
            }
        }
        let data = reopen(folder.path());
        assert_eq!(folders(folder.path()), ["notes"], "kill {kill}");
        let collection = data.open_collection("notes").unwrap();
        collection.verify(true).unwrap();
        let snapshot = collection.snapshot();
        let dim = snapshot.settings().dim;
        assert_eq!(collection.settings(), settings(dim));
        if snapshot.documents() == 0 {
            assert_eq!(wrote, 0);
            continue;
        }
        let now = version(&snapshot.document("0").unwrap()[0].text);
        let expected: Model = (0..DOCUMENTS)
            .map(|id| note(&id.to_string(), &now.to_string(), dim))
            .map(|d| (d.id.clone(), d))
            .collect();
        compare(&snapshot, &expected, Metric::L2, &mut random);
        assert!(now >= wrote, "kill {kill}: {now} {wrote}");
        // Once a move was told, that version is the other model's: it moves again only after the next was written.
        if let Some((version, moved_to)) = moved
            && version == now
        {
            assert_eq!(dim, moved_to, "kill {kill}");
        }
    }
    assert!(moves > 5, "only {moves} successions in {KILLS} lives");
    println!("{moves} successions over {KILLS} kills");
}
