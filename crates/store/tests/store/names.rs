//! Names of collections: none of them leaves its folder, and creating and removing are all or nothing.
use std::fs;

use bilin_index::{IndexSpec, Metric};
use bilin_store::{DataDir, StoreError};

use crate::sample::settings;

#[test]
fn names_never_leave_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(&folder.path().join("data")).unwrap();
    let settings = settings(2, Metric::L2, IndexSpec::AUTO);
    for name in ["", "..", "../x", "/tmp/x", "a/b", "a\\b", ".creating-x", "A", "a\0b", "con"] {
        assert!(matches!(data.create(name, &settings), Err(StoreError::Name { .. })), "{name:?}");
        assert!(matches!(data.open_collection(name), Err(StoreError::Name { .. })), "{name:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(data.names().unwrap().is_empty());
}

#[test]
fn collections_are_created_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(2, Metric::L2, IndexSpec::AUTO);
    let birds = data.create("鸟类", &settings).unwrap();
    data.create("notes", &settings).unwrap();
    assert_eq!(data.names().unwrap(), ["notes", "鸟类"]);
    assert!(matches!(data.create("notes", &settings), Err(StoreError::CollectionExists { .. })));
    let error = data.open_collection("other").err().unwrap();
    assert_eq!(error.to_string(), "no collection \"other\"; known: notes, 鸟类");

    let kept = birds.snapshot();
    let second = data.open_collection("鸟类").unwrap();
    assert!(std::sync::Arc::ptr_eq(&birds, &second), "one writer per collection");
    data.remove(birds).unwrap();
    assert_eq!(data.names().unwrap(), ["notes"]);
    assert!(matches!(second.apply(Default::default()), Err(StoreError::UnknownCollection { .. })));
    assert_eq!(kept.count(), 0);
    assert!(matches!(data.remove(second), Err(StoreError::UnknownCollection { .. })));
    data.create("鸟类", &settings).unwrap();
    assert_eq!(data.names().unwrap(), ["notes", "鸟类"]);
}

#[test]
fn what_an_interrupted_create_or_remove_left_is_gone_after_opening() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    data.create("notes", &settings(2, Metric::L2, IndexSpec::AUTO)).unwrap();
    drop(data);
    let collections = folder.path().join("collections");
    for name in [".creating-a", ".removing-b-0"] {
        fs::create_dir(collections.join(name)).unwrap();
        fs::write(collections.join(name).join("catalog.sqlite"), "half").unwrap();
    }
    let data = DataDir::open(folder.path()).unwrap();
    assert_eq!(data.names().unwrap(), ["notes"]);
    assert_eq!(fs::read_dir(&collections).unwrap().count(), 1);
    data.create("a", &settings(2, Metric::L2, IndexSpec::AUTO)).unwrap();
}
