//! Built indexes: when they are built, that they answer well, that files come and go with them, and that damage is survived.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bilin_index::{Codec, Effort, Hit, IndexSpec, Metric, RowSet, Rows};
use bilin_store::{Batch, Collection, DataDir, MaintainOptions, Maintained, Snapshot, StoreError};

use crate::sample::{Random, document, item, settings};

const DIM: usize = 8;
const HNSW: IndexSpec = IndexSpec::hnsw(8);
const IVF: IndexSpec = IndexSpec::ivf(30, Codec::Flat);

fn add(collection: &Collection, from: usize, count: usize) {
    let mut random = Random(from as u64);
    let upsert = (from..from + count)
        .map(|at| document(&at.to_string(), vec![item(random.vector(DIM), &at.to_string())]))
        .collect();
    collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
}

fn delete(collection: &Collection, range: std::ops::Range<usize>) {
    collection.apply(Batch { delete: range.map(|at| at.to_string()).collect(), ..Batch::default() }).unwrap();
}

fn maintain(collection: &Collection, force: bool) -> Maintained {
    collection.maintain(&MaintainOptions { force, threads: 2, memory_bytes: None, progress: None }).unwrap()
}

fn filled(folder: &Path, rows: usize, index: IndexSpec, metric: Metric) -> (DataDir, Arc<Collection>) {
    let data = DataDir::open(folder).unwrap();
    let collection = data.create_with_segments("notes", &settings(DIM, metric, index), 512).unwrap();
    add(&collection, 0, rows);
    (data, collection)
}

fn files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("collections/notes").join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn search(
    snapshot: &Snapshot,
    query: &[f32],
    k: usize,
    effort: Option<Effort>,
    filter: Option<&RowSet>,
) -> Vec<Hit> {
    snapshot.search(Rows::new(query, DIM).unwrap(), k, effort, filter).unwrap().remove(0)
}

/// recall@10 against the exact scan of the same snapshot, which also must agree on order and distances.
fn recall(snapshot: &Snapshot, filter: Option<&RowSet>) -> f64 {
    let mut random = Random(77);
    let (mut found, mut wanted) = (0, 0);
    for _ in 0..100 {
        let query = random.vector(DIM);
        let exact = search(snapshot, &query, 10, Some(Effort::Exact), filter);
        let hits = search(snapshot, &query, 10, None, filter);
        assert_eq!(hits.len(), exact.len());
        assert!(hits.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)));
        assert!(hits.iter().all(|hit| snapshot.live().contains(hit.row)));
        assert!(hits.iter().all(|hit| filter.is_none_or(|filter| filter.contains(hit.row))));
        wanted += exact.len();
        found += exact.iter().filter(|hit| hits.contains(hit)).count();
    }
    found as f64 / wanted as f64
}

#[test]
fn generation_tail_deletions_and_filters_make_one_answer() {
    for (index, metric) in [(HNSW, Metric::L2), (IVF, Metric::Cosine), (HNSW, Metric::InnerProduct)] {
        let folder = tempfile::tempdir().unwrap();
        let (data, collection) = filled(folder.path(), 3000, index.clone(), metric);
        let built = maintain(&collection, false).built.unwrap();
        assert_eq!((built.number, built.rows, &built.spec), (1, 3000, &index));
        assert!(built.recall_at_10.unwrap() >= 0.95, "{built:?}");
        assert!(recall(&collection.snapshot(), None) >= 0.9);
        add(&collection, 3000, 500);
        delete(&collection, 100..700);
        delete(&collection, 3400..3450);
        let status = collection.status();
        assert_eq!((status.items, status.rows_committed, status.tail_rows), (2850, 3500, 500));
        let check = |snapshot: &Snapshot| {
            assert!(recall(snapshot, None) >= 0.9);
            let most: RowSet = (0..3500).filter(|row| row % 10 != 0).collect();
            assert!(recall(snapshot, Some(&most)) >= 0.9);
            let few: RowSet = (0..3500).filter(|row| row % 100 == 0).collect();
            assert_eq!(recall(snapshot, Some(&few)), 1.0, "few rows are scanned");
            let all = search(snapshot, &[1.0; DIM], 5000, None, None);
            assert_eq!(all.len(), 2850, "a k above the collection returns what there is");
        };
        check(&collection.snapshot());
        drop((collection, data));
        let data = DataDir::open(folder.path()).unwrap();
        let collection = data.open_collection("notes").unwrap();
        assert!(collection.status().warnings.is_empty());
        assert_eq!(collection.status().generation.unwrap().number, 1);
        check(&collection.snapshot());
    }
}

#[test]
fn a_new_generation_is_built_at_half_as_many_rows_again_and_old_files_go_with_their_last_reader() {
    let folder = tempfile::tempdir().unwrap();
    let (_data, collection) = filled(folder.path(), 1000, HNSW, Metric::L2);
    assert!(maintain(&collection, false).built.is_some());
    add(&collection, 1000, 499);
    let kept = maintain(&collection, false);
    assert!(kept.built.is_none(), "{}", kept.reason);
    let reader = collection.snapshot();
    add(&collection, 1499, 1);
    let built = maintain(&collection, false);
    assert_eq!(built.built.unwrap().number, 2, "{}", built.reason);
    assert_eq!(files(folder.path(), "index").len(), 2, "a reader still uses the first");
    assert!(recall(&reader, None) >= 0.9);
    drop(reader);
    assert_eq!(files(folder.path(), "index").len(), 1);
    collection.set_index(IndexSpec::FLAT, 0.95).unwrap();
    assert!(maintain(&collection, false).built.is_none());
    assert!(files(folder.path(), "index").is_empty());
    assert_eq!(collection.status().tail_rows, 1500);
    assert_eq!(recall(&collection.snapshot(), None), 1.0);
    assert!(collection.set_index(IndexSpec::FLAT, 1.5).is_err());
}

#[test]
fn a_build_that_is_cancelled_or_has_too_few_rows_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_data, collection) = filled(folder.path(), 20, IVF, Metric::L2);
    let few = maintain(&collection, true);
    assert!(few.built.is_none() && few.reason.contains("search stays exact"), "{}", few.reason);
    add(&collection, 20, 2000);
    let stop = |_: usize, _: usize| false;
    let options = MaintainOptions { force: true, threads: 1, memory_bytes: None, progress: Some(&stop) };
    assert!(matches!(collection.maintain(&options), Err(StoreError::Cancelled)));
    assert!(files(folder.path(), "index").is_empty());
    assert!(collection.status().generation.is_none());
    assert!(maintain(&collection, false).built.is_some());
}

#[test]
fn a_damaged_cut_or_missing_index_is_quarantined_and_search_stays_right() {
    let folder = tempfile::tempdir().unwrap();
    let (data, collection) = filled(folder.path(), 800, HNSW, Metric::L2);
    maintain(&collection, false);
    drop((collection, data));
    let path = folder.path().join("collections/notes/index/1.idx");
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (round, damage) in
        [Some(flipped), Some(good[..good.len() - 7].to_vec()), Some(Vec::new()), None].into_iter().enumerate()
    {
        let path = files(folder.path(), "index").remove(0);
        match &damage {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let data = DataDir::open(folder.path()).unwrap();
        let collection = data.open_collection("notes").unwrap();
        let warnings = collection.status().warnings;
        assert!(warnings.len() == 1 && warnings[0].starts_with("search is exact until"), "{warnings:?}");
        assert_eq!(recall(&collection.snapshot(), None), 1.0);
        assert!(files(folder.path(), "index").is_empty());
        let kept = files(folder.path(), "quarantine");
        assert_eq!(kept.len(), (round + 1).min(3), "damaged files are kept: {kept:?}");
        let rebuilt = maintain(&collection, false);
        assert_eq!(rebuilt.built.unwrap().number as usize, round + 2);
        assert!(collection.status().warnings.is_empty());
    }
}

#[test]
fn what_an_interrupted_build_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, collection) = filled(folder.path(), 800, HNSW, Metric::L2);
    maintain(&collection, false);
    drop((collection, data));
    let index = folder.path().join("collections/notes/index");
    fs::write(index.join("2.idx"), "not named by the catalog").unwrap();
    fs::write(index.join("3.idx.tmp"), "half").unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.open_collection("notes").unwrap();
    assert_eq!(files(folder.path(), "index"), [index.canonicalize().unwrap().join("1.idx")]);
    assert_eq!(maintain(&collection, true).built.unwrap().number, 2);
}

#[test]
fn many_rows_searched_exactly_are_answered_from_a_shadow_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (_data, collection) = filled(folder.path(), 10_500, IndexSpec::FLAT, Metric::L2);
    let few: RowSet = (0..10_500).filter(|row| row % 3 == 0).collect();
    let mut random = Random(77);
    let queries: Vec<Vec<f32>> = (0..20).map(|_| random.vector(DIM)).collect();
    let answers = |snapshot: &Snapshot| -> Vec<Vec<Hit>> {
        let ask = |query: &Vec<f32>| {
            [search(snapshot, query, 10, None, None), search(snapshot, query, 10, None, Some(&few))]
        };
        queries.iter().flat_map(ask).collect()
    };
    let scanned = answers(&collection.snapshot());
    let built = maintain(&collection, false).built.unwrap();
    assert_eq!((&built.spec, built.effort), (&IndexSpec::FLAT, Effort::Exact));
    assert_eq!(answers(&collection.snapshot()), scanned);
    delete(&collection, 40..900);
    add(&collection, 10_500, 100);
    let with_shadow = answers(&collection.snapshot());
    collection.set_index(IndexSpec::hnsw(8), 0.9).unwrap();
    let exact = |query: &Vec<f32>| search(&collection.snapshot(), query, 10, Some(Effort::Exact), None);
    maintain(&collection, false).built.unwrap();
    let expected: Vec<Vec<Hit>> = queries.iter().map(exact).collect();
    assert_eq!(with_shadow.into_iter().step_by(2).collect::<Vec<_>>(), expected);
}

#[test]
fn an_index_trained_on_too_few_rows_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (_data, collection) = filled(folder.path(), 300, IVF, Metric::L2);
    let done = maintain(&collection, false);
    assert!(done.built.is_some() && done.reason.contains("; warning: "), "{}", done.reason);
    assert!(done.reason.contains("was trained on 300 rows"), "{}", done.reason);
}
