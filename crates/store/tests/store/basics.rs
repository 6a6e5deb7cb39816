//! What one collection promises, one promise per test.
use std::fs;

use bilin_index::{IndexSpec, Metric, RowSet, Rows};
use bilin_store::{Applied, Batch, DataDir, FileStamp, StoreError};

use crate::sample::{document, item, settings};

fn stamp(path: &str, bytes: u64) -> FileStamp {
    FileStamp { path: path.to_owned(), bytes, modified_ns: 7, hash: "ab".to_owned() }
}

#[test]
fn bad_vectors_are_refused_with_document_and_item_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.create("notes", &settings(2, Metric::Cosine, IndexSpec::AUTO)).unwrap();
    let refused = |vector: Vec<f32>| {
        let items = vec![item(vec![1.0, 0.0], "good"), item(vector, "bad")];
        let batch = Batch { upsert: vec![document("a", items)], ..Batch::default() };
        collection.apply(batch).err().unwrap().to_string()
    };
    assert_eq!(refused(vec![1.0; 3]), "document \"a\", item 1: expected 2 dimensions, received 3");
    assert_eq!(refused(vec![1.0, f32::NAN]), "document \"a\", item 1: value NaN at position 1 is not finite");
    assert_eq!(
        refused(vec![f32::INFINITY, 0.0]),
        "document \"a\", item 1: value inf at position 0 is not finite"
    );
    assert!(refused(vec![0.0, -0.0]).contains("all zeros"));
    assert_eq!(collection.snapshot().seq(), 0);
    assert_eq!(collection.status().rows_committed, 0);
    let batch = Batch { upsert: vec![document("", vec![])], ..Batch::default() };
    assert!(matches!(collection.apply(batch), Err(StoreError::Limit { .. })));
}

#[test]
fn tiny_and_huge_vectors_keep_their_direction_under_cosine() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.create("notes", &settings(2, Metric::Cosine, IndexSpec::AUTO)).unwrap();
    let items = vec![item(vec![3e38, 3e38], "huge"), item(vec![1e-45, 0.0], "tiny")];
    collection.apply(Batch { upsert: vec![document("a", items)], ..Batch::default() }).unwrap();
    let snapshot = collection.snapshot();
    assert!((snapshot.vector(0)[0] - 0.5_f32.sqrt()).abs() < 1e-6);
    assert_eq!(snapshot.vector(1), [1.0, 0.0]);
    assert!(snapshot.vector(2).is_empty());
    let zero = [0.0, 0.0];
    let error = snapshot.search(Rows::new(&zero, 2).unwrap(), 1, None, None).err().unwrap();
    assert!(matches!(error, StoreError::Query { query: 0, .. }), "{error}");
}

#[test]
fn a_batch_that_changes_nothing_makes_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.create("notes", &settings(1, Metric::L2, IndexSpec::AUTO)).unwrap();
    assert_eq!(collection.apply(Batch::default()).unwrap(), Applied::default());
    let unknown = Batch { delete: vec!["x".into()], delete_files: vec!["/x".into()], ..Batch::default() };
    assert_eq!(collection.apply(unknown).unwrap(), Applied::default());
    let stamps = Batch { files: vec![stamp("/docs/a", 3)], ..Batch::default() };
    assert_eq!(collection.apply(stamps).unwrap(), Applied::default());
    assert_eq!(collection.file_stamp("/docs/a").unwrap(), Some(stamp("/docs/a", 3)));
}

#[test]
fn of_two_documents_with_one_id_the_later_counts() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.create("notes", &settings(1, Metric::L2, IndexSpec::AUTO)).unwrap();
    let upsert =
        vec![document("a", vec![item(vec![1.0], "old")]), document("a", vec![item(vec![2.0], "new")])];
    let applied = collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
    assert_eq!(applied, Applied { seq: 1, added: 1, updated: 0, deleted: 0 });
    assert_eq!(collection.snapshot().document("a").unwrap()[0].text.as_deref(), Some("new"));
    assert_eq!(collection.status().rows_committed, 1);
}

#[test]
fn files_and_their_stamps_are_found_replaced_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.create("notes", &settings(1, Metric::L2, IndexSpec::AUTO)).unwrap();
    let mut upsert = Vec::new();
    for (at, path) in ["/docs/a.md", "/docs/b/c.md", "/docs0/d.md", "/docs"].iter().enumerate() {
        let mut new = document(&format!("{at}"), vec![item(vec![1.0], path)]);
        new.file = Some((*path).to_owned());
        upsert.push(new);
    }
    upsert.push(document("api", vec![item(vec![1.0], "api")]));
    let files = vec![stamp("/docs/a.md", 1), stamp("/docs/empty.md", 0)];
    collection.apply(Batch { upsert, files, ..Batch::default() }).unwrap();

    let below = |root: &str| collection.files_below(&[root.into()]).unwrap();
    assert_eq!(below("/docs"), ["/docs", "/docs/a.md", "/docs/b/c.md", "/docs/empty.md"]);
    assert_eq!(below("/docs/"), ["/docs", "/docs/a.md", "/docs/b/c.md", "/docs/empty.md"]);
    assert_eq!(below("/docs/b/c.md"), ["/docs/b/c.md"]);
    assert_eq!(below("/").len(), 5);
    assert!(below("/doc").is_empty());
    assert_eq!(collection.document_file("0").unwrap(), Some(Some("/docs/a.md".to_owned())));
    assert_eq!(collection.document_file("api").unwrap(), Some(None));
    assert_eq!(collection.document_file("none").unwrap(), None);

    let mut new = document("0", vec![item(vec![2.0], "changed")]);
    new.file = Some("/docs/a.md".to_owned());
    let batch = Batch {
        delete_files: vec!["/docs/a.md".into(), "/docs/b/c.md".into(), "/docs/empty.md".into()],
        upsert: vec![new],
        files: vec![stamp("/docs/a.md", 2)],
        ..Batch::default()
    };
    let applied = collection.apply(batch).unwrap();
    assert_eq!(applied, Applied { seq: 2, added: 0, updated: 1, deleted: 1 });
    assert_eq!(below("/docs"), ["/docs", "/docs/a.md"]);
    assert_eq!(collection.file_stamp("/docs/a.md").unwrap(), Some(stamp("/docs/a.md", 2)));
    assert_eq!(collection.file_stamp("/docs/empty.md").unwrap(), None);
}

#[test]
fn a_filter_and_deletions_narrow_a_search() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.create("notes", &settings(1, Metric::L2, IndexSpec::AUTO)).unwrap();
    let upsert = (0..10).map(|at| document(&format!("{at}"), vec![item(vec![at as f32], "t")])).collect();
    collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
    let before = collection.snapshot();
    collection.apply(Batch { delete: vec!["4".into(), "5".into()], ..Batch::default() }).unwrap();
    let snapshot = collection.snapshot();
    let rows = |snapshot: &bilin_store::Snapshot, filter: Option<&RowSet>| -> Vec<u32> {
        let hits = snapshot.search(Rows::new(&[4.4], 1).unwrap(), 3, None, filter).unwrap();
        hits[0].iter().map(|hit| hit.row).collect()
    };
    assert_eq!(rows(&snapshot, None), [3, 6, 2]);
    assert_eq!(rows(&before, None), [4, 5, 3]);
    let small = snapshot.select(&"first <= 4".parse().unwrap()).unwrap();
    assert_eq!(small.iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(before.select(&"first <= 4".parse().unwrap()).unwrap().count(), 5);
    assert_eq!(rows(&snapshot, Some(&small)), [3, 2, 1]);
    assert_eq!(rows(&snapshot, Some(&RowSet::new())), [0; 0]);
    assert!(matches!(snapshot.items(&[4]), Err(StoreError::Limit { .. })));
    assert!(matches!(snapshot.items(&[99]), Err(StoreError::Limit { .. })));
    assert_eq!(before.items(&[4]).unwrap()[0].document, "4");
}

#[test]
fn rows_that_were_not_committed_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection =
        data.create_with_segments("notes", &settings(4, Metric::L2, IndexSpec::AUTO), 8).unwrap();
    let items = (0..6).map(|at| item(vec![at as f32; 4], "t")).collect();
    collection.apply(Batch { upsert: vec![document("a", items)], ..Batch::default() }).unwrap();
    drop((collection, data));
    let vectors = folder.path().join("collections/notes/vectors");
    let first = vectors.join("000000.rows");
    let mut bytes = fs::read(&first).unwrap();
    bytes.truncate(4096 + 6 * 16);
    let committed = bytes.len() as u64;
    bytes.extend_from_slice(&[0xff; 20]);
    fs::write(&first, bytes).unwrap();
    fs::write(vectors.join("000001.rows"), [0xff; 5000]).unwrap();

    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.open_collection("notes").unwrap();
    assert_eq!(fs::metadata(&first).unwrap().len(), committed);
    assert!(!vectors.join("000001.rows").exists());
    let items = (6..12).map(|at| item(vec![at as f32; 4], "t")).collect();
    collection.apply(Batch { upsert: vec![document("b", items)], ..Batch::default() }).unwrap();
    collection.verify(true).unwrap();
    let snapshot = collection.snapshot();
    for slot in 0..12 {
        assert_eq!(snapshot.vector(slot), [slot as f32; 4]);
    }
}
