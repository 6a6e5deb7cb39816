//! Copies for replicas between two engines: only what is missing travels, and what is damaged on its way never counts.

// Set-up code of tests, like their bodies, stops at the first surprise.
#![allow(clippy::unwrap_used)]

use bilin_engine::{
    DocumentContent, Engine, EngineConfig, Error, ErrorKind, NewCollection, NewDocument, Query, ReplicaCopy,
    Target,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

fn engine(folder: &std::path::Path) -> Engine {
    Engine::open(EngineConfig::new(folder)).unwrap()
}

fn add(engine: &Engine, ids: std::ops::Range<usize>) {
    let document = |id: usize| NewDocument {
        id: Some(id.to_string()),
        content: Some(DocumentContent::Vector(vec![1.0, id as f32, 0.5, 0.25])),
        ..NewDocument::default()
    };
    engine.add_documents("points", ids.map(document).collect()).unwrap();
}

/// Takes a copy over; which of its files were fetched.
fn follow(primary: &Engine, replica: &Engine, have: Option<u64>) -> Result<(u64, BTreeSet<String>), Error> {
    let copy = primary.replica("points", have)?;
    let mut fetched = BTreeSet::new();
    let mut fetch = |file: usize, offset: u64| {
        fetched.insert(copy.files[file].path.clone());
        primary.replica_piece("points", copy.taken_unix_s, file, offset)
    };
    let taken = replica.take_in("points", &copy, &mut fetch)?;
    replica.supersede(&taken)?;
    Ok((copy.taken_unix_s, fetched))
}

/// Within a second, so that the clock cannot tell their copies apart.
#[test]
fn a_collection_made_anew_is_never_taken_for_the_one_before() {
    let (house, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut primary = engine(house.path());
    let replica = engine(copy.path());
    let make = |primary: &Engine, id: usize| {
        primary.create("points", &NewCollection { dim: Some(4), ..NewCollection::default() }).unwrap();
        add(primary, id..id + 1);
    };
    make(&primary, 0);
    let mut have = follow(&primary, &replica, None).unwrap().0;
    for id in 1..4 {
        primary.remove("points").unwrap();
        if id == 3 {
            // Also where the primary was started anew meanwhile.
            drop(primary);
            primary = engine(house.path());
        }
        make(&primary, id);
        let copy = primary.replica("points", Some(have)).unwrap();
        assert!(
            copy.taken_unix_s > have && !copy.files.is_empty(),
            "{id}: {} after {have}",
            copy.taken_unix_s
        );
        have = follow(&primary, &replica, Some(have)).unwrap().0;
        assert_eq!(nearest(&replica), [id.to_string()]);
    }
    let aside = std::fs::read_dir(copy.path().join("quarantine"));
    assert_eq!(aside.map_or(0, Iterator::count), 0, "none stood in another's place");
}

fn nearest(engine: &Engine) -> Vec<String> {
    let query = Query { top_k: 3, ..Query::new(Target::Vector(vec![1.0, 0.0, 0.5, 0.25])) };
    engine.search("points", &query).unwrap().results.into_iter().map(|found| found.id).collect()
}

#[test]
fn only_what_is_missing_is_fetched_and_only_what_is_whole_counts() {
    let (house, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (primary, replica) = (engine(house.path()), engine(copy.path()));
    let index = Some("IVF4,Flat".parse().unwrap());
    let new = NewCollection { dim: Some(4), index, ..NewCollection::default() };
    primary.create("points", &new).unwrap();
    add(&primary, 0..50);
    let (first, fetched) = follow(&primary, &replica, None).unwrap();
    assert!(fetched.iter().any(|path| path.starts_with("vectors/")), "{fetched:?}");
    assert_eq!(nearest(&replica), nearest(&primary));
    // The same commit is the same copy, told without its files.
    let same: ReplicaCopy = primary.replica("points", Some(first)).unwrap();
    assert_eq!((same.taken_unix_s, same.files.len()), (first, 0));
    // A delete changes no rows, so none travel.
    primary.delete_documents("points", &["0".to_owned()]).unwrap();
    let (second, fetched) = follow(&primary, &replica, Some(first)).unwrap();
    assert!(second > first);
    assert_eq!(fetched.iter().map(String::as_str).collect::<Vec<_>>(), ["catalog.sqlite", "manifest.json"]);
    assert_eq!(nearest(&replica), ["1", "2", "3"]);
    // An index is built without a commit, and is a newer copy all the same.
    let before = primary.replica("points", None).unwrap();
    primary.maintain("points", true).unwrap();
    assert!(primary.collection("points").unwrap().status.generation.is_some());
    let (second, fetched) = match primary.replica("points", Some(second)).unwrap() {
        copy if copy.taken_unix_s == before.taken_unix_s => panic!("the copy is the one without the index"),
        _ => follow(&primary, &replica, Some(second)).unwrap(),
    };
    assert!(fetched.iter().any(|path| path.starts_with("index/")), "{fetched:?}");
    assert!(replica.collection("points").unwrap().status.generation.is_some());
    // A bit that changes on its way: nothing changes here.
    add(&primary, 50..60);
    let copy = primary.replica("points", None).unwrap();
    let mut fetch = |file: usize, offset: u64| {
        let mut piece = primary.replica_piece("points", copy.taken_unix_s, file, offset)?;
        if copy.files[file].path.starts_with("vectors/") {
            let middle = piece.len() / 2;
            piece[middle] ^= 1;
        }
        Ok(piece)
    };
    let error = replica.take_in("points", &copy, &mut fetch).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Damaged, "{error:?}");
    assert_eq!(replica.collection("points").unwrap().status.documents, 49);
    follow(&primary, &replica, Some(second)).unwrap();
    assert_eq!(replica.collection("points").unwrap().status.documents, 59);
    assert_eq!(replica.backups(Some("points")).unwrap()[0].good.len(), 1, "older copies are gone");
    let gone = primary.replica_piece("points", first, 0, 0).unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);
}

#[test]
fn a_copy_of_a_collection_that_is_replaced_meanwhile_is_of_what_has_taken_its_place_or_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    engine.create("points", &NewCollection { dim: Some(4), ..NewCollection::default() }).unwrap();
    add(&engine, 0..300);
    let backup = engine.backup("points", 3).unwrap();
    let goes_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| {
            let mut made = 0;
            // On a busy machine it may be Busy each time until the last restore is over.
            while goes_on.load(Ordering::Acquire) || made == 0 {
                // What the file system says of a folder that has left is nobody's fault.
                match engine.replica("points", None) {
                    Ok(_) => made += 1,
                    Err(error) => assert_eq!(error.kind, ErrorKind::Busy, "{error:?}"),
                }
            }
            made
        });
        let restored =
            (0..40).try_for_each(|_| engine.restore("points", Some(backup.taken_unix_s)).map(drop));
        // Whatever came of it, or the other thread would never end.
        goes_on.store(false, Ordering::Release);
        let made = copying.join().unwrap();
        restored.unwrap();
        assert!(made > 0);
    });
    assert!(!engine.replica("points", None).unwrap().files.is_empty());
}
