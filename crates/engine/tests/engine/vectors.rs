//! Collections of bare vectors, under each metric.

use crate::support::{Place, text_query};
use bilin_engine::{
    Clash, DocumentContent, Engine, EngineConfig, ErrorKind, Kind, Metric, NewCollection, NewDocument, Query,
    Target, TuneOptions,
};

fn vector(id: &str, values: &[f32]) -> NewDocument {
    let content = Some(DocumentContent::Vector(values.to_vec()));
    NewDocument { id: Some(id.to_owned()), content, ..NewDocument::default() }
}

fn with_vectors(metric: Metric) -> Place {
    let place = Place::new();
    let new = NewCollection { dim: Some(3), metric: Some(metric), ..NewCollection::default() };
    let info = place.engine.create("v", &new).expect("made");
    assert_eq!((info.settings.kind, info.settings.metric), (Kind::Vector, metric));
    let documents =
        vec![vector("x", &[1.0, 0.0, 0.0]), vector("far", &[6.0, 8.0, 0.0]), vector("z", &[0.0, 0.0, 2.0])];
    place.engine.add_documents("v", documents).expect("added");
    place
}

fn query(values: &[f32]) -> Query {
    Query::new(Target::Vector(values.to_vec()))
}

#[test]
fn each_metric_orders_and_scores_in_its_own_way() {
    // query [2, 2, 0]: by L2 x is nearest, by inner product and cosine "far" is
    for (metric, ids, score) in [
        (Metric::L2, ["x", "z", "far"], 5.0),
        (Metric::InnerProduct, ["far", "x", "z"], 28.0),
        (Metric::Cosine, ["far", "x", "z"], 0.989_949_5),
    ] {
        let place = with_vectors(metric);
        let answer = place.engine.search("v", &query(&[2.0, 2.0, 0.0])).expect("an answer");
        assert_eq!(
            answer.results.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(),
            ids,
            "{metric:?}"
        );
        let first = &answer.results[0];
        assert!((first.score - score).abs() < 1e-5, "{metric:?} {first:?}");
        let cosine = if first.id == "x" { 0.5f32.sqrt() } else { 0.989_949_5 };
        assert!((first.similarity - cosine).abs() < 1e-5, "{metric:?} {first:?}");
    }
}

#[test]
fn like_leaves_itself_out_and_uses_its_own_vector() {
    let place = with_vectors(Metric::L2);
    let answer = place.engine.search("v", &Query::new(Target::Like("x".into()))).expect("an answer");
    assert_eq!(answer.results.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["z", "far"]);
    assert_eq!(answer.results[0].l2_distance, 5.0);
    let error = place.engine.search("v", &Query::new(Target::Like("nobody".into()))).expect_err("unknown");
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[test]
fn bad_vectors_and_settings_are_refused() {
    let place = with_vectors(Metric::Cosine);
    for (values, words) in [
        (vec![1.0, 2.0], "dimension 3 is expected, got 2"),
        (vec![1.0, f32::NAN, 0.0], "number 1 is NaN"),
        (vec![1.0, 0.0, f32::INFINITY], "number 2 is inf"),
        (vec![0.0, 0.0, 0.0], "no cosine"),
    ] {
        let error = place.engine.search("v", &query(&values)).expect_err(words);
        assert!(error.kind == ErrorKind::InvalidInput && error.message.contains(words), "{error}");
        let error = place.engine.add_documents("v", vec![vector("bad", &values)]).expect_err(words);
        assert!(error.kind == ErrorKind::InvalidInput && error.message.contains(words), "{error}");
    }
    let error = place.engine.search("v", &text_query("文字", 3)).expect_err("no model");
    assert!(error.message.contains("bare vectors"), "{error}");
    place.write("a.txt", "一句话。\n");
    let error = place.add("v").expect_err("no model");
    assert!(error.message.contains("bare vectors"), "{error}");
    for new in [
        NewCollection { kind: Some(Kind::Vector), ..Default::default() },
        NewCollection { dim: Some(0), ..Default::default() },
        NewCollection { dim: Some(8), kind: Some(Kind::Text), ..Default::default() },
        NewCollection { model: Some("e5-small-zh-en".into()), kind: Some(Kind::Image), ..Default::default() },
        NewCollection { target_recall: Some(1.5), ..Default::default() },
    ] {
        let error = place.engine.create("other", &new).expect_err("refused");
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{error}");
    }
    let error = place.engine.create("v", &NewCollection::default()).expect_err("there already");
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    let error = place.engine.create("../v", &NewCollection::default()).expect_err("no name");
    assert_eq!(error.kind, ErrorKind::InvalidInput, "{error}");
}

#[test]
fn a_collection_can_be_removed_and_made_again() {
    let place = with_vectors(Metric::L2);
    place.engine.remove("v").expect("removed");
    assert_eq!(
        place.engine.search("v", &query(&[1.0, 1.0, 1.0])).expect_err("gone").kind,
        ErrorKind::NotFound
    );
    assert_eq!(place.engine.remove("v").expect_err("gone").kind, ErrorKind::NotFound);
    let new = NewCollection { dim: Some(5), ..NewCollection::default() };
    place.engine.create("v", &new).expect("made again");
    let place = place.reopen();
    assert_eq!(place.engine.collection("v").expect("it").settings.dim, 5);
}

#[test]
fn a_second_engine_on_one_folder_is_refused() {
    let place = with_vectors(Metric::L2);
    let config = EngineConfig::new(place.root.path().join("data"));
    let error = Engine::open(config).expect_err("locked");
    assert_eq!(error.kind, ErrorKind::Locked, "{error}");
    assert!(error.hint.is_some(), "{error}");
}

#[test]
fn a_broken_collection_does_not_stop_the_others() {
    let place = with_vectors(Metric::L2);
    let new = NewCollection { dim: Some(2), ..NewCollection::default() };
    place.engine.create("w", &new).expect("made");
    let bilin_place = {
        let Place { root, engine } = place;
        drop(engine);
        let catalog = root.path().join("data/collections/v/catalog.sqlite");
        std::fs::write(catalog, b"this is no database, it only looks like a file").expect("damaged");
        let engine = Engine::open(crate::support::config(root.path())).expect("opens all the same");
        Place { root, engine }
    };
    let health = bilin_place.engine.health();
    assert_eq!((health.status.as_str(), health.collections.len(), health.broken.len()), ("degraded", 1, 1));
    assert_eq!(health.broken[0].0, "v");
    let error = bilin_place.engine.search("v", &query(&[1.0, 1.0, 1.0])).expect_err("damaged");
    assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
    assert!(bilin_place.engine.search("w", &query(&[1.0, 1.0])).expect("the other works").results.is_empty());
}

#[test]
fn tuning_measures_on_the_rows_and_builds_when_told_to() {
    let place = Place::new();
    let new = NewCollection { dim: Some(8), metric: Some(Metric::L2), ..NewCollection::default() };
    place.engine.create("v", &new).expect("made");
    let mut state = 7_u32;
    let mut next = move || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let documents: Vec<NewDocument> =
        (0..11_000).map(|i| vector(&i.to_string(), &std::array::from_fn::<f32, 8, _>(|_| next()))).collect();
    for part in documents.chunks(5_500) {
        place.engine.add_documents("v", part.to_vec()).expect("added");
    }
    let tune = |options: TuneOptions| place.engine.tune("v", &options, &|_, _| true);
    let told = tune(TuneOptions::default()).expect("measured");
    assert_eq!((told.choice.rows, told.target_recall, told.applied.as_deref()), (11_000, 0.95, None));
    assert!(told.choice.pilot_rows > 1_000 && told.choice.candidates.len() > 2, "{told:?}");
    assert!(place.engine.collection("v").expect("there").status.generation.is_none(), "nothing was built");

    let options = TuneOptions { target_recall: Some(0.9), apply: true, ..TuneOptions::default() };
    let done = tune(options).expect("built");
    assert!(done.applied.is_some(), "{done:?}");
    let info = place.engine.collection("v").expect("there");
    assert_eq!((&info.settings.index, info.settings.target_recall), (&done.choice.spec, 0.9));
    match &info.status.generation {
        Some(generation) => assert_eq!(generation.spec, done.choice.spec),
        None => assert!(done.choice.spec.is_exact(), "{done:?}"),
    }
    let error =
        tune(TuneOptions { target_recall: Some(0.0), ..TuneOptions::default() }).expect_err("no recall");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    let stopped = place.engine.tune("v", &TuneOptions::default(), &|_, _| false).expect_err("stopped");
    assert_eq!(stopped.kind, ErrorKind::Cancelled);
}

#[test]
fn collections_of_one_space_are_united_and_others_refused() {
    let place = with_vectors(Metric::L2);
    let engine = &place.engine;
    let new = NewCollection { dim: Some(3), metric: Some(Metric::L2), ..NewCollection::default() };
    engine.create("w", &new).expect("made");
    engine
        .add_documents("w", vec![vector("z", &[9.0, 9.0, 9.0]), vector("new", &[1.0, 1.0, 1.0])])
        .expect("added");
    let sources = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();

    let merge = |target: &str, names: &[&str], clash| engine.merge(target, &sources(names), clash);
    for (target, names, kind, word) in [
        ("v", vec![], ErrorKind::InvalidInput, "no source"),
        ("v", vec!["w", "v"], ErrorKind::InvalidInput, "into itself"),
        ("v", vec!["w", "w"], ErrorKind::InvalidInput, "twice"),
        ("v", vec!["nobody"], ErrorKind::NotFound, "nobody"),
        (
            "v",
            vec!["w"],
            ErrorKind::Conflict,
            "1 documents are in both collections by id or file, \"z\" among them",
        ),
    ] {
        let error = merge(target, &names, Clash::Fail).expect_err(word);
        assert!(error.kind == kind && error.message.contains(word), "{error}");
        assert!(error.hint.is_some());
    }
    let other = NewCollection { dim: Some(2), ..new.clone() };
    engine.create("flat", &other).expect("made");
    let error = merge("v", &["w", "flat"], Clash::Keep).expect_err("another dimension");
    assert!(error.message.contains("dimension 3 in") && error.message.contains("2 in \"flat\""), "{error}");
    assert_eq!(engine.collection("v").expect("there").status.items, 3, "nothing was merged");

    let kept = merge("v", &["w"], Clash::Keep).expect("merged");
    assert_eq!((kept.created, kept.added, kept.updated, kept.kept, kept.items), (false, 1, 0, 1, 1));
    // A target that is not there is made; of two sources the later counts when told so.
    let made = merge("both", &["v", "w"], Clash::Replace).expect("merged");
    assert_eq!((made.created, made.sources, made.added, made.updated, made.items), (true, 2, 4, 2, 6));
    let answer = engine.search("both", &query(&[9.0, 9.0, 9.0])).expect("an answer");
    assert_eq!((answer.results[0].id.as_str(), answer.results[0].l2_distance), ("z", 0.0));
    merge("new", &["v", "w"], Clash::Fail).expect_err("they share documents");
    let report = engine.compact("both", true).expect("compacted");
    assert!(report.contains("purged 2 items"), "{report}");
    assert!(
        engine.maintain("both", true).expect("maintained").contains("index: 4 rows are searched exactly")
    );
}
