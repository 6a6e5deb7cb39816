//! Reranking: what is scored stands first by its score, time is bounded, nothing else changes, and bad folders are named.

use crate::small_model::{small_model, small_reranker};
use crate::support::{config, text_query};
use bilin_engine::eval::{EvalOptions, EvalSetting, read_questions};
use bilin_engine::{
    AddOptions, Answer, CancelToken, Engine, EngineConfig, ErrorKind, Query, RERANK_BUDGET, RerankConfig,
    Reranked,
};
use std::path::Path;
use std::time::Duration;

const LINES: usize = 24;

/// An engine over some lines in collection `lines`, whose rerank settings are `rerank`.
fn engine(root: &Path, rerank: RerankConfig) -> Engine {
    let line = |at: usize| format!("Line {at} is about {}.", vec!["xyz"; at % 7 + 1].join(" "));
    let lines: Vec<String> = (0..LINES).map(line).collect();
    std::fs::create_dir_all(root.join("files")).expect("a folder");
    std::fs::write(root.join("files/lines.txt"), lines.join("\n")).expect("a file");
    let engine = Engine::open(EngineConfig { rerank, ..config(root) }).expect("an engine");
    engine.add_paths("lines", &[root.join("files")], &AddOptions::default(), &()).expect("added");
    engine
}

fn with_model(root: &Path) -> RerankConfig {
    let model = small_reranker(&root.join("reranker"), 32, 5);
    RerankConfig { model: Some(model.to_string_lossy().into_owned()), ..RerankConfig::default() }
}

fn reranked(query: &str, top_k: usize) -> Query {
    Query { rerank: Some(true), ..text_query(query, top_k) }
}

fn keys(answer: &Answer) -> Vec<(String, u32)> {
    answer.results.iter().map(|found| (found.id.clone(), found.ordinal)).collect()
}

#[test]
fn the_scored_stand_first_by_their_score_and_similarity_stays_the_cosine() {
    let root = tempfile::tempdir().expect("a folder");
    let rerank = RerankConfig { budget: Duration::from_secs(60), ..with_model(root.path()) };
    let engine = engine(root.path(), rerank);
    let plain = engine.search("lines", &text_query("what is line 7 about?", LINES)).expect("an answer");
    assert!(plain.reranked.is_none() && plain.results.iter().all(|found| found.reranked.is_none()));
    let answer = engine.search("lines", &reranked("what is line 7 about?", LINES)).expect("an answer");
    assert_eq!(answer.reranked, Some(Reranked { candidates: LINES, scored: LINES }));
    assert!(answer.degraded.is_empty());
    let scores: Vec<f32> = answer.results.iter().filter_map(|found| found.reranked).collect();
    assert_eq!(scores.len(), LINES);
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_ne!(keys(&plain), keys(&answer), "the order is another");
    for (rank, found) in (1..).zip(&answer.results) {
        assert_eq!(found.rank, rank);
        let same =
            plain.results.iter().find(|other| (&other.id, other.ordinal) == (&found.id, found.ordinal));
        assert_eq!(same.map(|same| same.similarity), Some(found.similarity));
    }
    // Fewer results are the best of the same candidates.
    let three = engine.search("lines", &reranked("what is line 7 about?", 3)).expect("an answer");
    assert_eq!(keys(&three), keys(&answer)[..3]);
}

#[test]
fn what_is_no_candidate_or_not_scored_in_time_keeps_its_order_behind() {
    let root = tempfile::tempdir().expect("a folder");
    let rerank = RerankConfig { candidates: 5, budget: Duration::from_secs(60), ..with_model(root.path()) };
    let engine_of_five = engine(root.path(), rerank.clone());
    let plain = keys(&engine_of_five.search("lines", &text_query("xyz", 12)).expect("an answer"));
    let answer = engine_of_five.search("lines", &reranked("xyz", 12)).expect("an answer");
    assert_eq!(answer.reranked, Some(Reranked { candidates: 5, scored: 5 }));
    assert!(answer.results[..5].iter().all(|found| found.reranked.is_some()));
    assert!(answer.results[5..].iter().all(|found| found.reranked.is_none()));
    assert_eq!(keys(&answer)[5..], plain[5..]);
    drop(engine_of_five);
    let engine = engine(root.path(), RerankConfig { budget: Duration::from_nanos(1), ..rerank });
    let answer = engine.search("lines", &reranked("xyz", 12)).expect("an answer");
    assert_eq!(answer.reranked, Some(Reranked { candidates: 5, scored: 0 }));
    assert_eq!(answer.degraded, [RERANK_BUDGET]);
    assert_eq!(keys(&answer), plain);
}

#[test]
fn whether_to_rerank_follows_the_configuration_where_nothing_is_said() {
    let root = tempfile::tempdir().expect("a folder");
    let by_default = RerankConfig { by_default: true, ..with_model(root.path()) };
    let engine = engine(root.path(), by_default);
    assert!(engine.search("lines", &text_query("xyz", 3)).expect("an answer").reranked.is_some());
    let off = Query { rerank: Some(false), ..text_query("xyz", 3) };
    assert!(engine.search("lines", &off).expect("an answer").reranked.is_none());
    let like = Query::new(bilin_engine::Target::Like("lines.txt".into()));
    let told = engine.search("lines", &Query { rerank: Some(true), ..like }).expect_err("no text");
    assert_eq!(told.kind, ErrorKind::InvalidInput);
    assert!(told.message.contains("reads a text for a query"), "{told}");
    let token = CancelToken::new();
    token.cancel();
    let told = engine.search_cancellable("lines", &text_query("xyz", 3), &token).expect_err("cancelled");
    assert_eq!(told.kind, ErrorKind::Cancelled);
}

#[test]
fn queries_at_once_all_get_an_answer() {
    let root = tempfile::tempdir().expect("a folder");
    let rerank = RerankConfig { budget: Duration::from_secs(60), ..with_model(root.path()) };
    let engine = engine(root.path(), rerank);
    let alone = keys(&engine.search("lines", &reranked("line 3", LINES)).expect("an answer"));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let answer = engine.search("lines", &reranked("line 3", LINES)).expect("an answer");
                assert_eq!(answer.reranked.map(|reranked| reranked.scored), Some(LINES));
                assert_eq!(keys(&answer), alone);
            });
        }
    });
}

#[test]
fn what_is_no_reranker_is_named() {
    let root = tempfile::tempdir().expect("a folder");
    let engine_without = engine(root.path(), RerankConfig::default());
    let told = engine_without.search("lines", &reranked("xyz", 3)).expect_err("there is none");
    assert!(
        told.message.contains("no reranker") && told.hint.is_some_and(|hint| hint.contains("rerank.model"))
    );
    drop(engine_without);
    let vectors = small_model(&root.path().join("vectors"), 32, 5).to_string_lossy().into_owned();
    let engine = engine(root.path(), RerankConfig { model: Some(vectors), ..RerankConfig::default() });
    let told = engine.search("lines", &reranked("xyz", 3)).expect_err("it makes vectors");
    assert!(told.message.contains("it is no reranker"), "{told}");
    let reranker = small_reranker(&root.path().join("reranker"), 32, 5).to_string_lossy().into_owned();
    let options = AddOptions { model: Some(reranker), ..AddOptions::default() };
    let told =
        engine.add_paths("other", &[root.path().join("files")], &options, &()).expect_err("it gives labels");
    assert!(told.message.contains("may be a reranker"), "{told}");
}

#[test]
fn an_evaluation_compares_with_and_without() {
    let root = tempfile::tempdir().expect("a folder");
    let rerank = RerankConfig { budget: Duration::from_secs(60), ..with_model(root.path()) };
    let reranking = engine(root.path(), rerank);
    let asked = r#"{"question": "what is line 7 about?", "contains": "Line 7 "}"#;
    let questions = read_questions(asked.as_bytes().to_vec()).expect("questions");
    let axes = [("rerank".to_owned(), vec!["false".to_owned(), "true".to_owned()])];
    let mut options = EvalOptions::new(EvalSetting::new("lines"));
    options.settings = EvalSetting::grid(&options.settings[0], &axes).expect("a grid");
    let evaluate = |engine: &Engine| engine.evaluate(&questions, &options, &CancelToken::new(), &|_| {});
    let evaluation = evaluate(&reranking).expect("an evaluation");
    let stages = |run: usize| -> Vec<&str> {
        evaluation.runs[run].latency.iter().map(|latency| latency.stage.as_str()).collect()
    };
    assert_eq!(stages(0), ["encode", "search", "fetch", "total"]);
    assert_eq!(stages(1), ["encode", "search", "fetch", "rerank", "total"]);
    assert_eq!(evaluation.runs[1].label, "rerank=true");
    let first = |run: usize| evaluation.runs[run].answers[0].results[0].ordinal;
    let answer = reranking.search("lines", &reranked("what is line 7 about?", 100)).expect("an answer");
    assert_eq!(first(1), answer.results[0].ordinal);
    drop(reranking);
    let without = Engine::open(config(root.path())).expect("an engine");
    assert!(evaluate(&without).expect_err("no reranker").hint.is_some());
}
