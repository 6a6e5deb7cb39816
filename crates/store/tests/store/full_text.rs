//! Full text through the store's interface: views, phrases, hostile queries, and what happens to a collection that was made
//! without one. Ranks and scores are compared in [`crate::words`].
use std::fs;
use std::sync::Arc;

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Analyzer, Batch, CompactOptions, DataDir, Snapshot, StoreError, Terms, TextQuery};
use rusqlite::Connection;

use crate::compatibility::copy;
use crate::sample::{document, item, settings};
use crate::words::{B, K1, PLAIN, search, words};

fn notes(data: &DataDir) -> Arc<bilin_store::Collection> {
    data.create_with_segments("notes", &settings(2, Metric::L2, IndexSpec::FLAT), 8).unwrap()
}

fn add(collection: &bilin_store::Collection, id: &str, text: &str) {
    let upsert = vec![document(id, vec![item(vec![1.0, 2.0], text)])];
    collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
}

fn found(snapshot: &Snapshot, terms: &[&str], phrases: &[&str]) -> Vec<u32> {
    search(snapshot, terms, phrases, None).unwrap().hits.iter().map(|hit| hit.row).collect()
}

#[test]
fn a_view_finds_the_words_of_its_own_commit() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = notes(&data);
    add(&notes, "a", "red apple");
    let before = notes.snapshot();
    let score = search(&before, &["apple"], &[], None).unwrap();
    add(&notes, "b", "green apple");
    add(&notes, "a", "red pear");
    assert_eq!(search(&before, &["apple"], &[], None).unwrap(), score, "as it was");
    let after = notes.snapshot();
    assert_eq!((found(&after, &["apple"], &[]), found(&after, &["red"], &[])), (vec![1], vec![2]));
    // Compaction takes the old words away once nobody can ask for them.
    drop(before);
    notes.compact(&CompactOptions { force: true, progress: None }).unwrap();
    let now = notes.snapshot();
    assert_eq!(found(&now, &["apple"], &[]).len(), 1);
    assert_eq!(
        search(&now, &["apple"], &[], None).unwrap().hits[0].score,
        search(&after, &["apple"], &[], None).unwrap().hits[0].score
    );
    notes.verify(true).unwrap();
}

#[test]
fn phrases_are_rows_of_units_and_marks_of_queries_mean_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = notes(&data);
    add(&notes, "a", "the nearest neighbour search");
    add(&notes, "b", "search the nearest good neighbour");
    let now = notes.snapshot();
    assert_eq!(found(&now, &["nearest"], &["nearest neighbour"]), [0]);
    assert_eq!(found(&now, &[], &["search", "good neighbour"]), [1]);
    assert_eq!(found(&now, &["\"", "*", "near(", "{units}", "a AND b", "nearest"], &[]).len(), 2);
    for hostile in ["\"", "x\" OR \"y", "units : z", "*", "^a", "-"] {
        let query = TextQuery {
            analyzer: PLAIN,
            terms: &[],
            phrases: &[vec![hostile.to_owned()]],
            limit: 9,
            k1: K1,
            b: B,
        };
        assert_eq!(now.search_text(&query, None, &|| true).unwrap().hits, [], "{hostile}");
    }
}

#[test]
fn a_search_that_nobody_waits_for_ends() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = notes(&data);
    add(&notes, "a", "word");
    let terms = ["word".to_owned()];
    let query = TextQuery { analyzer: PLAIN, terms: &terms, phrases: &[], limit: 9, k1: K1, b: B };
    let ended = notes.snapshot().search_text(&query, None, &|| false);
    assert!(matches!(ended, Err(StoreError::Cancelled)), "{ended:?}");
}

/// As the plain one, but with other terms.
struct Reversed;

impl Analyzer for Reversed {
    fn id(&self) -> &str {
        "reversed 1"
    }
    fn terms(&self, text: &str, _: &str) -> Terms {
        let words = words(text).iter().map(|word| word.chars().rev().collect::<String>()).collect::<Vec<_>>();
        Terms { words: words.join(" "), units: words.iter().map(|word| format!("={word} ")).collect() }
    }
}

#[test]
fn another_analyzer_makes_the_full_text_anew_and_half_of_it_is_never_searched() {
    let folder = tempfile::tempdir().unwrap();
    {
        let data = DataDir::open(folder.path()).unwrap();
        let notes = notes(&data);
        for number in 0..700 {
            add(&notes, &number.to_string(), &format!("word n{number}"));
        }
        assert_eq!(notes.full_text_lag().unwrap(), None);
    }
    let data = DataDir::open(folder.path()).unwrap().with_analyzer(Arc::new(Reversed));
    let notes = data.open_collection("notes").unwrap();
    let terms = ["drow".to_owned()];
    let query = TextQuery { analyzer: "reversed 1", terms: &terms, phrases: &[], limit: 9_999, k1: K1, b: B };
    let ask = || notes.snapshot().search_text(&query, None, &|| true);
    assert!(matches!(ask(), Err(StoreError::FullText { done: 0, .. })), "{:?}", ask());
    // One step, then writers come between, then the process stops.
    let steps = std::cell::Cell::new(0);
    let one = |_: usize, _: usize| steps.replace(steps.get() + 1) < 2;
    assert!(!notes.fill_full_text(&one).unwrap());
    add(&notes, "new", "word new");
    add(&notes, "3", "changed");
    notes.compact(&CompactOptions { force: true, progress: None }).unwrap();
    let (done, all) = notes.full_text_lag().unwrap().unwrap();
    assert!(0 < done && done < all, "{done} of {all}");
    assert!(matches!(ask(), Err(StoreError::FullText { .. })));
    notes.verify(true).unwrap();
    drop((notes, data));
    let data = DataDir::open(folder.path()).unwrap().with_analyzer(Arc::new(Reversed));
    let notes = data.open_collection("notes").unwrap();
    assert!(notes.fill_full_text(&|_, _| true).unwrap());
    let hits = notes.snapshot().search_text(&query, None, &|| true).unwrap().hits;
    assert_eq!(hits.len(), 700, "700 less one, and one new");
    assert!(notes.fill_full_text(&|_, _| panic!("there is nothing to do")).unwrap());
    notes.verify(true).unwrap();
}

#[test]
fn a_collection_of_format_1_gets_its_full_text_in_steps() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    copy(&fixture, &folder.path().join("collections/课程"));
    let data = DataDir::open(folder.path()).unwrap();
    let course = data.open_collection("课程").unwrap();
    assert!(course.full_text_lag().unwrap().is_some());
    course.verify(true).unwrap();
    // Deleting leaves it as it is.
    course.apply(Batch { delete: vec!["nobody".into()], ..Batch::default() }).unwrap();
    assert!(matches!(search(&course.snapshot(), &["passage"], &[], None), Err(StoreError::FullText { .. })));
    assert!(course.fill_full_text(&|_, _| true).unwrap());
    assert_eq!(found(&course.snapshot(), &["passage"], &["second passage"]).len(), 1);
    course.verify(true).unwrap();
}

#[test]
fn a_full_text_that_lacks_an_item_is_noticed_at_open_and_by_a_check() {
    let folder = tempfile::tempdir().unwrap();
    {
        let data = DataDir::open(folder.path()).unwrap();
        let notes = notes(&data);
        add(&notes, "a", "word");
        add(&notes, "b", "word");
    }
    let path = folder.path().join("collections/notes/catalog.sqlite");
    {
        // Through SQLite itself, whose pages then have their checksums: what only a count can notice.
        drop(DataDir::open(folder.path()).unwrap().open_collection("notes").unwrap());
        let connection = Connection::open(&path).unwrap();
        connection.execute("DELETE FROM full_text WHERE rowid = 1", []).unwrap();
    }
    let opened = DataDir::open(folder.path()).unwrap().open_collection("notes");
    let error = opened.map(drop).unwrap_err();
    assert!(error.to_string().contains("full text") || error.to_string().contains("checksum"), "{error}");
    assert!(fs::exists(&path).unwrap());
}

#[test]
fn pictures_and_vectors_have_no_full_text() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let mut settings = settings(2, Metric::L2, IndexSpec::FLAT);
    settings.kind = bilin_store::Kind::Vector;
    let points = data.create("points", &settings).unwrap();
    add(&points, "a", "word");
    assert_eq!(points.full_text_lag().unwrap(), None);
    let refused = search(&points.snapshot(), &["word"], &[], None);
    assert!(matches!(refused, Err(StoreError::Limit { .. })), "{refused:?}");
    points.verify(true).unwrap();
    drop((points, data));
    DataDir::open(folder.path()).unwrap().open_collection("points").unwrap().verify(true).unwrap();
}
