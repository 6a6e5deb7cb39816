//! Moving collections to other models: everything comes along, nothing is mixed, what cannot come is named.

use crate::small_model::small_model;
use crate::support::{Place, config, text_query, wait_until};
use bilin_engine::{
    AddOptions, DocumentContent, Engine, ErrorKind, NewCollection, NewDocument, Prompt, ReencodeOptions,
    ReencodeStage, ReencodeStatus, UpkeepPolicy,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How far vectors of one text may lie apart that were encoded in other company.
const NEAR: f32 = 1e-5;

fn name_of(model: &Path) -> String {
    model.to_str().expect("a path of UTF-8").to_owned()
}

fn to(model: &str) -> ReencodeOptions {
    ReencodeOptions { model: model.to_owned(), ..ReencodeOptions::default() }
}

/// Two models in folders, of 16 and 24 dimensions.
fn models(root: &Path) -> (String, String) {
    let model = |name: &str, dim, seed| name_of(&small_model(&root.join("models").join(name), dim, seed));
    (model("first", 16, 1), model("second", 24, 2))
}

/// Every vector of a collection is the one its model makes of its text.
fn check_vectors(engine: &Engine, collection: &str, ids: &[String]) {
    let settings = engine.collection(collection).expect("a collection").settings;
    let model = settings.model.expect("a model").id;
    for id in ids {
        let found =
            engine.document(collection, id).expect("an answer").unwrap_or_else(|| panic!("{id} is there"));
        let texts: Vec<String> = found.items.iter().map(|item| item.text.clone().expect("a text")).collect();
        let (expected, dim) = engine.encode_texts(Some(&model), &texts, Prompt::Document).expect("vectors");
        assert_eq!(dim, settings.dim);
        for (item, expected) in found.items.iter().zip(expected.chunks(dim)) {
            let vector = item.vector.as_ref().expect("a vector");
            assert_eq!(vector.len(), dim);
            let apart = vector.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < NEAR, "{id} is {apart} apart");
        }
    }
}

/// Names in the folder of collections.
fn folders(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.root.path().join("data/collections")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.collect()
}

#[test]
fn a_collection_moves_and_an_unchanged_folder_stays_unchanged() {
    let place = Place::new();
    let (first, second) = models(place.root.path());
    for at in 0..40 {
        place.write(&format!("{at}.txt"), format!("note number {at} about letters"));
    }
    let long = "many words and more ".repeat(30);
    place.write("long.txt", &long);
    let options = AddOptions { model: Some(first.clone()), ..AddOptions::default() };
    place.add_with("notes", &options).expect("an add");
    let before = place.engine.collection("notes").expect("a collection");
    let ids: Vec<String> = place.ask("notes", "note", 40).results.into_iter().map(|found| found.id).collect();
    check_vectors(&place.engine, "notes", &ids);
    let stages = std::sync::Mutex::new(Vec::new());
    let status = place
        .engine
        .reencode("notes", &to(&second), &|status| {
            let mut stages = stages.lock().expect("no panic");
            if stages.last() != Some(&status.stage) {
                stages.push(status.stage);
            }
            true
        })
        .expect("a move");
    assert_eq!((status.from.as_str(), status.model.as_str()), (first.as_str(), second.as_str()));
    assert_eq!((status.stage, status.missing), (ReencodeStage::Done, 0));
    assert_eq!(status.items_done, before.status.items);
    let stages = stages.into_inner().expect("no panic");
    assert!(stages.contains(&ReencodeStage::Encoding) && stages.is_sorted(), "{stages:?}");
    let now = place.engine.collection("notes").expect("a collection");
    assert_eq!(now.settings.model.as_ref().map(|model| &model.id), Some(&second));
    assert_eq!((now.settings.dim, now.status.items, now.status.documents), (24, before.status.items, 41));
    assert!(
        now.status.seq > before.status.seq && now.status.warnings.is_empty(),
        "{:?}",
        now.status.warnings
    );
    check_vectors(&place.engine, "notes", &ids);
    let answer = place.ask("notes", "note number 17 about letters", 1);
    assert_eq!(answer.results[0].text.as_deref(), Some("note number 17 about letters"));
    assert_eq!(folders(&place), ["notes"]);
    // Nothing is read again, and what is new is encoded by the new model, over a restart too.
    let again = place.add("notes").expect("an add");
    assert_eq!((again.files_unchanged, again.items_added), (41, 0));
    let place = place.reopen();
    place.write("new.txt", "something new");
    assert_eq!(place.add("notes").expect("an add").files_added, 1);
    let new = place.ask("notes", "something new", 1).results.remove(0);
    assert_eq!(new.text.as_deref(), Some("something new"));
    check_vectors(&place.engine, "notes", &[new.id]);
}

#[test]
fn a_collection_whose_model_is_gone_can_be_moved() {
    let place = Place::new();
    let (first, second) = models(place.root.path());
    place.write("a.txt", "some letters");
    let options = AddOptions { model: Some(first.clone()), ..AddOptions::default() };
    place.add_with("notes", &options).expect("an add");
    std::fs::remove_dir_all(&first).expect("a folder that goes");
    let place = place.reopen();
    let refused = place.engine.search("notes", &text_query("letters", 1)).expect_err("no model");
    assert!(refused.message.contains("first"), "{refused}");
    place.engine.reencode("notes", &to(&second), &|_| true).expect("a move");
    assert_eq!(place.ask("notes", "letters", 1).results.len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let place = Place::new();
    let (first, second) = models(place.root.path());
    let engine = &place.engine;
    let refused = |collection: &str, options: &ReencodeOptions, kind: ErrorKind, word: &str| {
        let error = engine.reencode(collection, options, &|_| true).expect_err("a refusal");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(word) && error.hint.is_some(), "{word}: {error}");
    };
    engine
        .create("points", &NewCollection { dim: Some(4), ..NewCollection::default() })
        .expect("a collection");
    refused("points", &to(&second), ErrorKind::InvalidInput, "bare vectors");
    refused("nots", &to(&second), ErrorKind::NotFound, "nots");
    let new = NewCollection { model: Some(first.clone()), ..NewCollection::default() };
    engine.create("notes", &new).expect("a collection");
    refused("notes", &to(&first), ErrorKind::Conflict, "already");
    refused("notes", &to("efficientnet-lite0"), ErrorKind::InvalidInput, "pictures");
    refused("notes", &to("no-such-model"), ErrorKind::NotFound, "no-such-model");
    assert_eq!(engine.cancel_reencode("notes").expect_err("no job").kind, ErrorKind::NotFound);
    // An empty collection moves as well, and with force to the model it has.
    let forced = ReencodeOptions { force: true, ..to(&first) };
    assert_eq!(engine.reencode("notes", &forced, &|_| true).expect("a move").items_done, 0);
    engine.reencode("notes", &to(&second), &|_| true).expect("a move");
    assert_eq!(engine.collection("notes").expect("a collection").settings.dim, 24);
}

#[test]
fn a_stopped_move_leaves_everything_as_it_was() {
    let place = Place::new();
    let (first, second) = models(place.root.path());
    for at in 0..50 {
        place.write(&format!("{at}.txt"), format!("note {at}"));
    }
    place.add_with("notes", &AddOptions { model: Some(first), ..AddOptions::default() }).expect("an add");
    let before = place.engine.collection("notes").expect("a collection");
    for last in [ReencodeStage::Checking, ReencodeStage::Encoding, ReencodeStage::Switching] {
        let error = place
            .engine
            .reencode("notes", &to(&second), &|status| status.stage != last)
            .expect_err("it is stopped");
        assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
        let now = place.engine.collection("notes").expect("a collection");
        assert_eq!((&now.settings, now.status.seq), (&before.settings, before.status.seq));
        let status = now.reencode.expect("a status");
        assert_eq!(status.stage, ReencodeStage::Cancelled);
        assert_eq!(folders(&place), ["notes"]);
    }
    assert_eq!(place.ask("notes", "note 7", 1).results[0].text.as_deref(), Some("note 7"));
}

fn note(id: String, text: String) -> NewDocument {
    NewDocument { id: Some(id), content: Some(DocumentContent::Text(text)), ..NewDocument::default() }
}

#[test]
fn writes_and_searches_go_on_and_are_all_there_afterwards() {
    let place = Place::new();
    let (first, second) = models(place.root.path());
    for at in 0..200 {
        place.write(&format!("{at}.txt"), format!("file {at}"));
    }
    let options = AddOptions { model: Some(first.clone()), ..AddOptions::default() };
    place.add_with("notes", &options).expect("an add");
    let (engine, stop, searches) = (&place.engine, AtomicBool::new(false), AtomicUsize::new(0));
    let written: Vec<String> = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut ids = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let id = format!("api {}", ids.len());
                engine
                    .add_documents("notes", vec![note(id.clone(), format!("text of {id}"))])
                    .expect("a write beside a move");
                if ids.len() % 5 == 4 {
                    let gone: String = ids.swap_remove(ids.len() / 2);
                    let deleted = engine.delete_documents("notes", std::slice::from_ref(&gone));
                    assert_eq!(deleted.expect("a delete beside a move").deleted, 1, "{gone}");
                    ids.push(format!("{id} twin"));
                    engine
                        .add_documents("notes", vec![note(format!("{id} twin"), format!("twin of {id}"))])
                        .expect("a write beside a move");
                }
                ids.push(id);
            }
            ids
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let answer =
                    engine.search("notes", &text_query("file 3", 5)).expect("an answer beside a move");
                assert_eq!(answer.results.len(), 5);
                searches.fetch_add(1, Ordering::Relaxed);
            }
        });
        let slowly = |_: &ReencodeStatus| {
            std::thread::sleep(Duration::from_millis(2));
            true
        };
        for model in [&second, &first, &second] {
            let status = engine.reencode("notes", &to(model), &slowly).expect("a move beside writers");
            println!("{} items, writers waited {:?} ms", status.items_done, status.writers_waited_ms);
            std::thread::sleep(Duration::from_millis(50));
        }
        // An add of a folder that spans a switch goes on with the other model.
        for at in 200..400 {
            place.write(&format!("{at}.txt"), format!("file {at}"));
        }
        let add = scope.spawn(|| place.add("notes").expect("an add beside a move"));
        engine.reencode("notes", &to(&first), &slowly).expect("a move beside an add");
        let added = add.join().expect("no panic");
        assert_eq!((added.files_added, added.files_unchanged), (200, 200));
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic")
    });
    println!("{} documents written, {searches:?} searches", written.len());
    let info = engine.collection("notes").expect("a collection");
    assert_eq!(info.status.documents, 400 + written.len());
    assert_eq!(info.settings.model.expect("a model").id, first);
    check_vectors(engine, "notes", &written);
    engine.verify("notes", true).expect("all is well");
    assert_eq!(place.add("notes").expect("an add").files_unchanged, 400);
}

fn save_picture(path: &Path, colour: u8) {
    let mut picture = image::RgbImage::from_pixel(48, 32, image::Rgb([colour, 90, 20]));
    picture.put_pixel(3, 3, image::Rgb([255, 255, 255]));
    picture.save(path).expect("a picture");
}

#[test]
fn pictures_are_read_again_and_those_that_are_gone_are_named() {
    let place = Place::new();
    let paths: Vec<PathBuf> =
        ["a.bmp", "b.bmp", "c.bmp", "d.bmp"].map(|name| place.files().join(name)).into();
    for (path, colour) in paths.iter().zip([10, 80, 150, 220]) {
        save_picture(path, colour);
    }
    let added = place.add("shots").expect("an add");
    assert_eq!(added.files_added, 4);
    let force = ReencodeOptions { force: true, ..to("efficientnet-lite0") };
    let engine = &place.engine;
    assert_eq!(engine.reencode("shots", &force, &|_| true).expect("a move").items_done, 4);
    let before = engine.collection("shots").expect("a collection");
    // One is gone; another has the same length and other bytes.
    std::fs::remove_file(&paths[1]).expect("a file that goes");
    let error = engine.reencode("shots", &force, &|_| true).expect_err("a refusal");
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains("1 documents") && error.message.contains("b.bmp"), "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("--drop-missing")), "{error:?}");
    save_picture(&paths[2], 151);
    save_picture(&paths[1], 80);
    let error = engine.reencode("shots", &force, &|_| true).expect_err("a refusal");
    assert!(error.message.contains("c.bmp") && error.message.contains("changed"), "{error}");
    assert_eq!(engine.collection("shots").expect("a collection").status.seq, before.status.seq);
    std::fs::remove_file(&paths[1]).expect("a file that goes");
    let bytes = std::fs::read(&paths[0]).expect("a picture");
    let by_api = NewDocument {
        id: Some("by api".into()),
        content: Some(DocumentContent::Picture(bytes)),
        ..NewDocument::default()
    };
    engine.add_documents("shots", vec![by_api]).expect("a picture by API");
    let dropping = ReencodeOptions { drop_missing: true, ..force };
    let status = engine.reencode("shots", &dropping, &|_| true).expect("a move");
    assert_eq!(status.missing, 3, "{:?}", status.missing_named);
    assert!(status.missing_named.iter().any(|named| named.contains("by API")), "{:?}", status.missing_named);
    assert_eq!(engine.collection("shots").expect("a collection").status.documents, 2);
    // What was left out can be added again; the thumbnail of what stayed came along.
    save_picture(&paths[1], 80);
    let again = place.add("shots").expect("an add");
    assert_eq!((again.files_added, again.files_unchanged), (2, 2));
    let id = place.engine.search(
        "shots",
        &bilin_engine::Query {
            top_k: 1,
            ..bilin_engine::Query::new(bilin_engine::Target::Picture(
                std::fs::read(&paths[3]).expect("a picture"),
            ))
        },
    );
    let id = id.expect("an answer").results[0].id.clone();
    assert!(engine.thumbnail("shots", &id).expect("an answer").is_some());
}

#[test]
fn a_move_in_the_background_is_told_of_stopped_and_followed_by_a_backup() {
    let root = tempfile::tempdir().expect("a folder");
    let (first, second) = models(root.path());
    let policy = UpkeepPolicy { look_every: Duration::from_millis(20), ..UpkeepPolicy::default() };
    let config = bilin_engine::EngineConfig { upkeep: policy, ..config(root.path()) };
    let engine = Arc::new(Engine::open(config).expect("an engine"));
    let upkeep = engine.start_upkeep();
    engine.create("notes", &NewCollection { model: Some(first), ..NewCollection::default() }).expect("made");
    let documents =
        |from: usize| (from..from + 5_000).map(|at| note(at.to_string(), format!("note {at}"))).collect();
    engine.add_documents("notes", documents(0)).expect("an add");
    engine.start_reencode("notes", &to(&second)).expect("a job");
    let again = engine.start_reencode("notes", &to(&second)).expect_err("one at a time");
    assert_eq!(again.kind, ErrorKind::Conflict, "{again}");
    engine.cancel_reencode("notes").expect("a job to stop");
    let stage =
        |stage| move |engine: &Engine| engine.reencode_status("notes").is_some_and(|job| job.stage == stage);
    wait_until("the end of a stopped move", || stage(ReencodeStage::Cancelled)(&engine));
    assert_eq!(engine.collection("notes").expect("a collection").settings.dim, 16);
    engine.start_reencode("notes", &to(&second)).expect("a job");
    wait_until("the end of a move", || stage(ReencodeStage::Done)(&engine));
    let info = engine.collection("notes").expect("a collection");
    assert_eq!((info.settings.dim, info.status.items), (24, 5_000));
    wait_until("a backup of the moved collection", || {
        let lists = engine.backups(Some("notes")).expect("a list");
        lists[0].good.first().is_some_and(|backup| backup.seq == info.status.seq)
    });
    // Ending stops what runs, and leaves nothing behind.
    let back = engine.collection("notes").expect("a collection").reencode.expect("a status").from;
    engine.start_reencode("notes", &to(&back)).expect("a job");
    drop(upkeep);
    assert!(!engine.reencode_status("notes").expect("a status").stage.is_running());
    assert_eq!(std::fs::read_dir(root.path().join("data/collections")).expect("a folder").count(), 1);
}
