//! Answers that are kept: when they are found again, and above all when not.

use crate::support::{config, text_query};
use bilin_engine::{
    Answer, Asked, BACKUPS_KEPT, CacheConfig, CancelToken, DocumentContent, Ended, Engine, EngineConfig,
    Lead, Metric, NewCollection, NewDocument, Query, Restraint, Target, Unfit,
};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const FORM: &str = "ids";

fn engine_with(root: &Path, cache: CacheConfig) -> Engine {
    let engine = Engine::open(EngineConfig { cache, ..config(root) }).expect("an engine");
    create(&engine);
    engine
}

fn create(engine: &Engine) {
    let new = NewCollection { dim: Some(2), metric: Some(Metric::L2), ..NewCollection::default() };
    engine.create("v", &new).expect("made");
    add(engine, "a", [1.0, 0.0]);
}

fn add(engine: &Engine, id: &str, values: [f32; 2]) {
    let content = Some(DocumentContent::Vector(values.to_vec()));
    let document = NewDocument { id: Some(id.to_owned()), content, ..NewDocument::default() };
    engine.add_documents("v", vec![document]).expect("added");
}

fn query() -> Query {
    Query::new(Target::Vector(vec![0.0, 1.0]))
}

fn rendered(answer: &Answer) -> Arc<[u8]> {
    let ids: Vec<&str> = answer.results.iter().map(|found| found.id.as_str()).collect();
    ids.join(",").into_bytes().into()
}

fn lead(engine: &Engine, query: &Query) -> Lead {
    match engine.ask("v", query, FORM).expect("a collection") {
        Asked::Lead(lead) => lead,
        _ => panic!("expected to have to make it"),
    }
}

/// What is answered, and whether it was there.
fn answered(engine: &Engine, query: &Query) -> (String, bool) {
    let (body, was_there) = match engine.ask("v", query, FORM).expect("a collection") {
        Asked::Hit(body) => (body, true),
        Asked::Lead(lead) => {
            let answer = engine.serve("v", query, Restraint::default(), &CancelToken::new()).expect("found");
            let body = rendered(&answer);
            lead.answered(&answer, &body, true);
            (body, false)
        }
        Asked::Follow(_) | Asked::Alone => panic!("nobody else asks"),
    };
    (String::from_utf8(body.to_vec()).expect("text"), was_there)
}

fn fresh(engine: &Engine, expected: &str) {
    assert_eq!(answered(engine, &query()), (expected.to_owned(), false));
    assert_eq!(answered(engine, &query()), (expected.to_owned(), true));
}

#[test]
fn a_commit_a_collection_made_anew_and_a_restored_backup_are_never_answered_from_the_past() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = engine_with(root.path(), CacheConfig::default());
    fresh(&engine, "a");
    let backup = engine.backup("v", BACKUPS_KEPT).expect("a backup");
    add(&engine, "b", [0.0, 1.0]);
    fresh(&engine, "b,a");
    engine.delete_documents("v", &["b".to_owned()]).expect("deleted");
    fresh(&engine, "a");
    // The same commit as when the backup was made, so the same answer; then another commit of number 2.
    engine.restore("v", Some(backup.taken_unix_s)).expect("restored");
    assert_eq!(answered(&engine, &query()), ("a".to_owned(), true));
    add(&engine, "c", [0.0, 1.0]);
    assert_eq!(engine.collection("v").expect("there").status.seq, 2);
    fresh(&engine, "c,a");
    // Another collection under its name, at commits of the same numbers.
    engine.remove("v").expect("removed");
    create(&engine);
    fresh(&engine, "a");
    assert_eq!(engine.collection("v").expect("there").cache.hits, 1, "counts are of this one");
}

#[test]
fn an_index_that_was_built_since_answers_for_itself() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(config(root.path())).expect("an engine");
    let index = Some("HNSW8".parse().expect("a spec"));
    engine.create("v", &NewCollection { dim: Some(2), index, ..NewCollection::default() }).expect("made");
    let point = |at: u32| {
        let (y, x) = (f64::from(at) / 100.0).sin_cos();
        let content = Some(DocumentContent::Vector(vec![x as f32, y as f32]));
        NewDocument { id: Some(at.to_string()), content, ..NewDocument::default() }
    };
    engine.add_documents("v", (0..200).map(point).collect()).expect("added");
    fresh(&engine, "157,158,156");
    let seq = engine.collection("v").expect("there").status.seq;
    engine.maintain("v", true).expect("built");
    let status = engine.collection("v").expect("there").status;
    assert!(status.seq == seq && status.generation.is_some(), "an index and no commit");
    fresh(&engine, "157,158,156");
}

#[test]
fn an_answer_of_another_commit_than_the_one_asked_is_told_and_not_kept() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = engine_with(root.path(), CacheConfig::default());
    let lead = lead(&engine, &query());
    add(&engine, "b", [0.0, 1.0]);
    let answer = engine.search("v", &query()).expect("found");
    assert!(!lead.answered(&answer, &rendered(&answer), true));
    assert_eq!(answered(&engine, &query()), ("b,a".to_owned(), false));
}

#[test]
fn what_lacks_something_for_a_passing_reason_is_told_and_not_kept() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = engine_with(root.path(), CacheConfig::default());
    let whole = engine.search("v", &query()).expect("found");
    for lack in ["rerank_budget", "lexical", "similarity", "load: fewer results"] {
        let answer = Answer { degraded: vec![lack.to_owned()], ..whole.clone() };
        assert!(!lead(&engine, &query()).answered(&answer, &rendered(&answer), true), "{lack}");
    }
    assert!(!lead(&engine, &query()).answered(&whole, &rendered(&whole), false), "restrained");
    assert_eq!(engine.cache_status().answers, 0);
    // What will lack tomorrow as well is kept.
    let always = vec!["query_truncated".to_owned(), "term \"the\"".to_owned()];
    let answer = Answer { degraded: always, ..whole };
    assert!(lead(&engine, &query()).answered(&answer, &rendered(&answer), true));
    assert_eq!(engine.cache_status().answers, 1);
}

#[test]
fn those_who_ask_at_once_wait_for_one_and_none_fails_with_another() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = engine_with(root.path(), CacheConfig::default());
    let mut context = Context::from_waker(Waker::noop());
    let mut poll = |asked: &mut Asked| match asked {
        Asked::Follow(follow) => Pin::new(follow).poll(&mut context),
        _ => panic!("expected that another makes it"),
    };
    let ask = || engine.ask("v", &query(), FORM).expect("a collection");
    let first = lead(&engine, &query());
    let mut waiting = [ask(), ask()];
    assert!(waiting.iter_mut().all(|asked| poll(asked).is_pending()));
    drop(first);
    assert!(waiting.iter_mut().all(|asked| poll(asked) == Poll::Ready(Ended::Abandoned)));
    // One of them makes it now.
    let second = lead(&engine, &query());
    let mut again = ask();
    second.failed();
    assert_eq!(poll(&mut again), Poll::Ready(Ended::Failed));
    let third = lead(&engine, &query());
    let mut last = ask();
    let answer = engine.search("v", &query()).expect("found");
    third.answered(&answer, &rendered(&answer), true);
    assert_eq!(poll(&mut last), Poll::Ready(Ended::Answered(rendered(&answer))));
    let used = engine.collection("v").expect("there").cache;
    assert_eq!((used.hits, used.joined, used.misses), (0, 4, 3));
    assert_eq!(used.ratio(), Some(4.0 / 7.0));
}

#[test]
fn answers_age_and_bytes_are_bounded() {
    let root = tempfile::tempdir().expect("a folder");
    let cache = CacheConfig { ttl: Duration::from_nanos(1), ..CacheConfig::default() };
    let engine = engine_with(root.path(), cache);
    assert_eq!(answered(&engine, &query()), answered(&engine, &query()));
    assert_eq!(engine.collection("v").expect("there").cache.hits, 0);
    drop(engine);

    let root = tempfile::tempdir().expect("a folder");
    let bytes = 256 << 10;
    let engine = engine_with(root.path(), CacheConfig { answer_bytes: bytes, ..CacheConfig::default() });
    let answer = engine.search("v", &query()).expect("found");
    let body: Arc<[u8]> = vec![b'x'; 2_000].into();
    for k in 1..=1_000 {
        lead(&engine, &Query { top_k: k, ..query() }).answered(&answer, &body, true);
    }
    let status = engine.cache_status();
    assert_eq!(status.answer_bytes_max, bytes as u64);
    assert!(status.answers >= 50 && status.answer_bytes <= bytes as u64, "{status:?}");
    drop(engine);

    let root = tempfile::tempdir().expect("a folder");
    let engine = engine_with(root.path(), CacheConfig { answer_bytes: 0, ..CacheConfig::default() });
    assert!(!answered(&engine, &query()).1 && !answered(&engine, &query()).1);
}

#[test]
fn what_a_shared_cache_holds_is_used_only_when_it_is_whole_and_of_this_query() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = engine_with(root.path(), CacheConfig::default());
    let answer = engine.search("v", &query()).expect("found");
    let first = lead(&engine, &query());
    let key = first.shared_key();
    let sealed = first.seal(&rendered(&answer));
    assert!(first.answered(&answer, &rendered(&answer), true));
    drop(engine);

    // Another process over the same data folder: memory is empty, the name is the same.
    let engine = Engine::open(config(root.path())).expect("an engine");
    let lead_now = lead(&engine, &query());
    assert_eq!(lead_now.shared_key(), key);
    let mut damaged = sealed.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    let Err((lead_now, unfit)) = lead_now.open(&damaged) else { panic!("damaged") };
    assert_eq!(unfit, Unfit::Checksum);
    assert!(lead_now.open(&sealed).is_ok_and(|body| *body == *rendered(&answer)));
    assert_eq!(answered(&engine, &query()), ("a".to_owned(), true));
    let other = lead(&engine, &Query { top_k: 1, ..query() });
    assert_ne!(other.shared_key(), key);
    assert!(matches!(other.open(&sealed), Err((_, Unfit::OtherKey))));
}

#[test]
fn a_query_that_was_asked_before_is_not_encoded_again() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(config(root.path())).expect("an engine");
    engine.create("t", &NewCollection::default()).expect("made");
    let document = |id: &str, text: &str| NewDocument {
        id: Some(id.to_owned()),
        content: Some(DocumentContent::Text(text.to_owned())),
        ..NewDocument::default()
    };
    engine.add_documents("t", vec![document("1", "倒排索引把词映射到文档")]).expect("added");
    let ask = |query: &Query| {
        engine.serve("t", query, Restraint::default(), &CancelToken::new()).expect("found").results
    };
    let counts = || (engine.cache_status().vector_hits, engine.cache_status().vector_misses);
    let first = ask(&text_query("什么是倒排索引?", 1));
    assert_eq!(counts(), (0, 1));
    engine.add_documents("t", vec![document("2", "向量索引比较方向")]).expect("added");
    let second = ask(&text_query("什么是倒排索引?", 2));
    assert_eq!(counts(), (1, 1), "a write changes nothing about it");
    assert_eq!((second.len(), second[0].similarity), (2, first[0].similarity));
    engine.search("t", &text_query("什么是倒排索引?", 2)).expect("found");
    assert_eq!(counts(), (1, 1), "a search that may be timed pays for itself");
}
