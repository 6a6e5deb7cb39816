//! Studies of indexes and settings: what they find is what brute force says, and what they apply is what is served.

use crate::recall::{fill, recall, rows, sampling};
use crate::support::{Place, vectors, wait_until};
use crate::upkeep::{DIM, add, create, of, open, quick};
use bilin_engine::{
    CancelToken, Effort, Engine, ErrorKind, GivenQueries, Measured, Point, Query, QuerySource, Reason, Study,
    StudyOptions, Target, TuneJob, TuneOptions, TuneOutcome, TuneState,
};
use std::sync::Mutex;

fn study(engine: &Engine, options: &StudyOptions) -> Result<Study, bilin_engine::Error> {
    engine.study("points", options, &CancelToken::new(), &|_| {})
}

fn given(count: usize) -> GivenQueries {
    GivenQueries::Vectors { values: vectors(count, DIM, 9).concat(), dim: DIM }
}

fn efforts(index: &Measured) -> Vec<usize> {
    let served = index.points.iter().filter(|point| point.refine.is_none());
    served.filter_map(|point| point.nprobe.or(point.ef)).collect()
}

/// Nothing finds at least as much at least as fast, and more of one.
fn is_on_front(point: &Point, all: &[&Point]) -> bool {
    !all.iter().any(|other| {
        let (more, faster) = (other.recall_at_10 - point.recall_at_10, other.qps - point.qps);
        more >= 0.0 && faster >= 0.0 && more + faster > 0.0
    })
}

#[test]
fn every_family_is_measured_and_the_front_is_marked() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), quick());
    fill(&engine);
    let told = Mutex::new(Vec::new());
    let study = engine
        .study("points", &StudyOptions::default(), &CancelToken::new(), &|progress| {
            told.lock().expect("a lock").push(progress.permille);
        })
        .expect("a study");
    let told = told.into_inner().expect("a lock");
    assert!(told.len() > 20 && told.iter().all(|permille| *permille <= 1_000), "{told:?}");
    assert_eq!((study.rows, study.measured_rows), (4_000, 3_000), "a quarter is held out");
    assert_eq!((study.queries.source, study.queries.count), (QuerySource::HeldOut, 1_000));
    let names: Vec<&str> = study.indexes.iter().map(|index| index.index.as_str()).collect();
    assert_eq!(names, ["Flat", "IVF54,Flat", "IVF54,RaBitQ,RFlat", "IVF54,SQ8", "HNSW16"]);
    assert_eq!(study.left_out, Vec::<String>::new());
    let exact = study.exact().expect("always measured");
    assert_eq!((exact.recall_at_10, exact.recall_error), (1.0, 0.0));
    for index in &study.indexes[1..] {
        let recalls: Vec<f64> =
            index.points.iter().filter(|p| p.refine.is_none()).map(|p| p.recall_at_10).collect();
        let steps = efforts(index);
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert!(recalls.windows(2).all(|pair| pair[1] >= pair[0] - 0.01), "{} {recalls:?}", index.index);
        // Codes that are not measured again cannot tell the points of one dense cloud apart.
        let found = if index.index.ends_with("SQ8") { 0.85 } else { 0.98 };
        assert!(*recalls.last().expect("points") > found, "{} {recalls:?}", index.index);
        assert!(index.build_s > 0.0 && index.bytes > 0 && index.bytes_for_all >= index.bytes);
    }
    let codes = &study.indexes[2];
    let depths: Vec<usize> = codes.points.iter().filter_map(|point| point.refine).collect();
    assert_eq!(depths, [1, 4, 16]);
    let all: Vec<&Point> = study.indexes.iter().flat_map(|index| &index.points).collect();
    for point in &all {
        assert_eq!(point.pareto, is_on_front(point, &all), "{point:?}");
        assert!(point.qps > 0.0 && point.p99_us >= point.p50_us, "{point:?}");
    }
    assert_eq!(all.iter().filter(|point| point.chosen).count(), 1);
    let (_, chosen) = study.chosen().expect("one");
    assert!(chosen.recall_at_10 >= 0.95 && chosen.refine.is_none());
    assert_eq!(study.reason, Some(Reason::ExactIsEnough), "4 000 rows of 8 values");
    assert!(engine.collection("points").expect("it").status.generation.is_none(), "nothing was built");
    let json = serde_json::to_value(&study).expect("JSON");
    assert_eq!(
        (&json["queries"]["source"], &json["reason"]),
        (&"held_out".into(), &"exact_is_enough".into())
    );
}

#[test]
fn the_nprobe_study_says_what_brute_force_says_and_what_is_applied_is_served() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), quick());
    fill(&engine);
    let options = StudyOptions {
        specs: vec!["IVF64,Flat".parse().expect("a spec")],
        nprobe: vec![1, 2, 6, 64, 900],
        queries: given(200),
        target_recall: Some(0.5),
        apply: true,
        ..StudyOptions::default()
    };
    let study = study(&engine, &options).expect("a study");
    assert_eq!((study.measured_rows, study.queries.source), (4_000, QuerySource::Given));
    assert!(study.indexes[0].reference && study.indexes[0].index == "Flat");
    let lists = &study.indexes[1];
    assert_eq!(efforts(lists), [1, 2, 6, 64], "more lists than there are mean all");
    assert_eq!(lists.points[3].recall_at_10, 1.0);
    assert_eq!(study.reason, Some(Reason::Fastest));
    let (_, chosen) = study.chosen().expect("one");
    let nprobe = chosen.nprobe.expect("an IVF was the only one asked for");
    assert!(study.applied.as_ref().expect("applied").contains(&format!("nprobe {nprobe}")), "{study:?}");
    let info = engine.collection("points").expect("it");
    assert_eq!((info.settings.index.to_string().as_str(), info.settings.target_recall), ("IVF64,Flat", 0.5));
    assert_eq!(info.status.generation.expect("built").effort, Effort::Nprobe(nprobe));
    let rows = rows();
    let brute = |effort: usize| {
        let queries = vectors(200, DIM, 9);
        let found = |query: &Vec<f32>| {
            let query =
                Query { top_k: 10, effort: Some(effort), ..Query::new(Target::Vector(query.clone())) };
            let answer = engine.search("points", &query).expect("an answer");
            answer.results.iter().map(|found| found.l2_distance).collect::<Vec<_>>()
        };
        queries.iter().map(|query| recall(&rows, query, &found(query))).sum::<f64>() / 200.0
    };
    for point in &lists.points[..3] {
        let (said, is) = (point.recall_at_10, brute(point.nprobe.expect("lists")));
        assert!((said - is).abs() < 0.06, "{point:?}: brute force over the built index says {is}");
    }
}

#[test]
fn a_refine_depth_is_applied_with_its_lists_and_kept() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), quick());
    fill(&engine);
    let options = StudyOptions {
        specs: vec!["IVF16,RaBitQ,RFlat".parse().expect("a spec")],
        nprobe: vec![4, 16],
        refine: vec![1, 2],
        queries: given(100),
        target_recall: Some(0.3),
        apply: true,
        ..StudyOptions::default()
    };
    let study = study(&engine, &options).expect("a study");
    let (_, chosen) = study.chosen().expect("one");
    let served = |engine: &Engine| {
        let generation = engine.collection("points").expect("it").status.generation.expect("built");
        (generation.effort, generation.refine)
    };
    let expected = (Effort::Nprobe(chosen.nprobe.expect("lists")), chosen.refine);
    assert_eq!(served(&engine), expected);
    assert!(study.applied.as_ref().expect("applied").contains(&chosen.setting()), "{study:?}");
    drop(engine);
    let engine = open(root.path(), quick());
    assert_eq!(served(&engine), expected, "kept over a restart");
    let history = engine.history("points").expect("it").studies;
    assert_eq!((history.len(), &history[0].setting), (1, &chosen.setting()));
    assert_eq!(history[0].applied, study.applied);
    engine.remove("points").expect("removed");
    create(&engine, "points", "auto");
    assert!(engine.history("points").expect("it").studies.is_empty(), "it went with the collection");
}

#[test]
fn a_sample_is_told_as_one_and_the_index_is_sized_to_all_rows() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), quick());
    fill(&engine);
    // Deleted rows are neither asked nor found.
    let gone: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    engine.delete_documents("points", &gone).expect("deleted");
    let options = StudyOptions { rows: Some(900), max_queries: 100, ..StudyOptions::default() };
    let sampled = study(&engine, &options).expect("a study");
    assert_eq!((sampled.rows, sampled.measured_rows, sampled.queries.count), (3_600, 900, 100));
    assert_eq!(
        (sampled.indexes[1].index.as_str(), sampled.indexes[1].index_for_all.as_str()),
        ("IVF30,Flat", "IVF60,Flat")
    );
    assert_eq!(sampled.indexes[0].bytes_for_all, 3_600 * 4 * DIM as u64);
    assert_eq!(sampled.exact().expect("exact").recall_at_10, 1.0);
    let whole = StudyOptions {
        specs: vec!["HNSW8".parse().expect("a spec")],
        max_queries: 50,
        ..StudyOptions::default()
    };
    let whole = study(&engine, &whole).expect("a study");
    assert_eq!((whole.measured_rows, whole.indexes.len()), (3_550, 2));
    assert!(whole.indexes[1].points.iter().any(|point| point.recall_at_10 > 0.95), "{whole:?}");
    let tight = StudyOptions { memory_bytes: Some(1), ..whole_options() };
    assert_eq!(study(&engine, &tight).expect("a study").reason, Some(Reason::NeedsLeast));
}

fn whole_options() -> StudyOptions {
    StudyOptions {
        specs: vec!["IVF8,Flat".parse().expect("a spec")],
        nprobe: vec![1],
        max_queries: 20,
        ..StudyOptions::default()
    }
}

#[test]
fn live_queries_are_asked_where_there_are_enough() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), sampling());
    let _upkeep = engine.start_upkeep();
    fill(&engine);
    wait_until("an index", || engine.collection("points").expect("it").status.generation.is_some());
    let held = study(&engine, &whole_options()).expect("a study");
    assert_eq!(held.queries.source, QuerySource::HeldOut, "nobody has searched yet");
    // Enough for a study; with one more, upkeep's raised effort would let the figure begin anew.
    for (number, query) in vectors(50, DIM, 3).into_iter().enumerate() {
        let query = Query { top_k: 10, ..Query::new(Target::Vector(query)) };
        engine.search("points", &query).expect("an answer");
        wait_until("a sample", || of(&engine, "points").recall_sampled == number as u64 + 1);
    }
    let live = study(&engine, &StudyOptions { max_queries: 1_000, ..whole_options() }).expect("a study");
    assert_eq!((live.queries.source, live.queries.count), (QuerySource::Live, 50));
    let recall = |study: &Study| study.indexes[1].points[0].recall_at_10;
    assert!(recall(&live) < recall(&held) - 0.1, "between the clouds one list is not enough");
}

#[test]
fn what_cannot_be_studied_is_refused_or_left_out_with_its_reason() {
    let place = Place::new();
    create(&place.engine, "points", "auto");
    add(&place.engine, "points", 0, 10);
    let engine = &place.engine;
    let refused = |options: StudyOptions, kind: ErrorKind, word: &str| {
        let error = study(engine, &options).expect_err(word);
        assert!(error.kind == kind && error.message.contains(word), "{error}");
    };
    refused(StudyOptions::default(), ErrorKind::InvalidInput, "needs 20");
    add(engine, "points", 10, 60);
    let texts = GivenQueries::Texts(vec!["a".to_owned()]);
    refused(StudyOptions { queries: texts, ..whole_options() }, ErrorKind::InvalidInput, "no model");
    let narrow = GivenQueries::Vectors { values: vec![0.0; 6], dim: 3 };
    refused(StudyOptions { queries: narrow, ..whole_options() }, ErrorKind::InvalidInput, "3 dimensions");
    let none = GivenQueries::Vectors { values: vec![], dim: DIM };
    refused(StudyOptions { queries: none, ..whole_options() }, ErrorKind::InvalidInput, "no queries");
    refused(StudyOptions { nprobe: vec![0], ..whole_options() }, ErrorKind::InvalidInput, "nprobe");
    let impossible = vec!["IVF999,Flat".parse().expect("a spec")];
    refused(
        StudyOptions { specs: impossible.clone(), ..whole_options() },
        ErrorKind::InvalidInput,
        "IVF999,Flat",
    );
    let some = StudyOptions { specs: [impossible, whole_options().specs].concat(), ..whole_options() };
    let some = study(engine, &some).expect("the other one is measured");
    assert!(some.left_out.len() == 1 && some.left_out[0].starts_with("IVF999,Flat: "), "{:?}", some.left_out);
    let error = engine.study("nobody", &whole_options(), &CancelToken::new(), &|_| {}).expect_err("unknown");
    assert_eq!(error.kind, ErrorKind::NotFound);
    let token = CancelToken::new();
    token.cancel();
    let stopped = engine.study("points", &whole_options(), &token, &|_| {}).expect_err("stopped");
    assert_eq!(stopped.kind, ErrorKind::Cancelled);
}

#[test]
fn jobs_run_one_at_a_time_can_be_stopped_and_keep_their_outcome() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), quick());
    fill(&engine);
    create(&engine, "others", "auto");
    add(&engine, "others", 0, 30);
    let state = || engine.tune_status("points").expect("it is there").map(|status| status.state);
    assert_eq!(state(), None);
    engine.start_tune("points", TuneJob::Quick(TuneOptions::default())).expect("begun");
    wait_until("the quick way", || state() == Some(TuneState::Done));
    let outcome = |name: &str| engine.tune_status(name).expect("it").and_then(|status| status.outcome);
    assert!(matches!(outcome("points").as_deref(), Some(TuneOutcome::Quick(_))));
    let begun = engine.start_tune("points", TuneJob::Study(StudyOptions::default())).expect("begun");
    assert!(begun.state == TuneState::Running && begun.outcome.is_some(), "{begun:?}");
    for name in ["points", "others"] {
        let error = engine.start_tune(name, TuneJob::Study(whole_options())).expect_err("one at a time");
        assert!(error.kind == ErrorKind::Conflict && error.message.contains("\"points\""), "{error}");
    }
    engine.cancel_tune("points").expect("it runs");
    wait_until("its end", || state() == Some(TuneState::Cancelled));
    let error = engine.cancel_tune("points").expect_err("nothing runs");
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(matches!(outcome("points").as_deref(), Some(TuneOutcome::Quick(_))), "the last outcome stays");
    engine.start_tune("others", TuneJob::Study(whole_options())).expect("begun");
    wait_until("the study", || outcome("others").is_some());
    assert!(matches!(outcome("others").as_deref(), Some(TuneOutcome::Study(_))));
    let error = engine.start_tune("others", TuneJob::Study(StudyOptions { ef: vec![0], ..whole_options() }));
    assert_eq!(error.expect_err("refused at once").kind, ErrorKind::InvalidInput);
}
