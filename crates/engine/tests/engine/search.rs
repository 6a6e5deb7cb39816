//! What queries may be, filters, and the default collection.

use crate::support::{Place, text_query, texts};
use bilin_engine::{DocumentContent, ErrorKind, Kind, NewCollection, NewDocument, Prompt, Query};

fn with_birds() -> Place {
    let place = Place::new();
    place.engine.create("birds", &NewCollection::default()).expect("made");
    let documents =
        [("owl", "猫头鹰在夜里捕猎", 3), ("swan", "天鹅在湖面上游泳", 9), ("crow", "乌鸦非常聪明", 1)];
    let documents = documents.map(|(id, text, price)| NewDocument {
        id: Some(id.to_owned()),
        content: Some(DocumentContent::Text(text.to_owned())),
        metadata: [("price".to_owned(), price.into())].into_iter().collect(),
    });
    place.engine.add_documents("birds", documents.to_vec()).expect("added");
    place
}

#[test]
fn a_bad_query_says_what_was_expected_and_what_came() {
    let place = with_birds();
    let long = "字".repeat(8_001);
    for (query, words) in [
        (text_query("", 3), "got none"),
        (text_query(" \t\n　", 3), "got none"),
        (text_query(&long, 3), "at most 8000 characters, got 8001"),
        (text_query("鸟", 0), "top_k must be 1 to 1000, got 0"),
        (text_query("鸟", 1_001), "top_k must be 1 to 1000, got 1001"),
        (Query { effort: Some(0), ..text_query("鸟", 1) }, "effort must be at least 1"),
    ] {
        let error = place.engine.search("birds", &query).expect_err(words);
        assert_eq!(error.kind, ErrorKind::InvalidInput);
        assert!(error.message.contains(words) && error.hint.is_some(), "{error}");
    }
    let longest = "字".repeat(8_000);
    assert_eq!(place.engine.search("birds", &text_query(&longest, 3)).expect("an answer").results.len(), 3);
    let error = place.engine.search("fish", &text_query("鱼", 3)).expect_err("no collection");
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.hint.is_some_and(|hint| hint.contains("birds")));
}

#[test]
fn filters_and_efforts_travel_with_the_query() {
    let place = with_birds();
    let filtered = |filter: &str| Query {
        filter: Some(filter.parse().expect("a filter")),
        effort: Some(64),
        ..text_query("哪种鸟最聪明?", 10)
    };
    let answer = place.engine.search("birds", &filtered("price < 5")).expect("an answer");
    assert_eq!(texts(&answer), ["乌鸦非常聪明", "猫头鹰在夜里捕猎"]);
    let answer = place.engine.search("birds", &filtered("price > 100")).expect("an answer");
    assert!(answer.results.is_empty());
    let timings = answer.timings;
    assert!(timings.encode_ms > 0.0 && timings.total_ms >= timings.encode_ms, "{timings:?}");
}

#[test]
fn an_empty_collection_answers_nothing() {
    let place = Place::new();
    place.engine.create("empty", &NewCollection::default()).expect("made");
    assert!(place.ask("empty", "有什么?", 5).results.is_empty());
}

#[test]
fn the_default_collection_is_the_configured_or_the_only_one() {
    let place = Place::new();
    let of_text = |configured: Option<&str>| place.engine.default_collection(Kind::Text, configured);
    assert_eq!(of_text(None).expect_err("none yet").kind, ErrorKind::NotFound);
    place.engine.create("one", &NewCollection::default()).expect("made");
    assert_eq!(of_text(None).expect("the only one"), "one");
    place.engine.create("two", &NewCollection::default()).expect("made");
    let error = of_text(None).expect_err("two of them");
    assert!(error.message.contains("one, two"), "{error}");
    place.engine.create("default", &NewCollection::default()).expect("made");
    assert_eq!(of_text(None).expect("named so"), "default");
    assert_eq!(of_text(Some("two")).expect("configured"), "two");
    assert_eq!(of_text(Some("three")).expect_err("unknown").kind, ErrorKind::NotFound);
}

#[test]
fn texts_are_encoded_for_callers() {
    let place = Place::new();
    let texts = ["今天天气很好".to_owned(), "FAISS".to_owned()];
    let (vectors, dim) = place.engine.encode_texts(None, &texts, Prompt::Document).expect("encoded");
    assert_eq!((dim, vectors.len()), (384, 768));
    for row in vectors.chunks(dim) {
        let norm: f32 = row.iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-4, "{norm}");
    }
    let (none, dim) = place.engine.encode_texts(None, &[], Prompt::Document).expect("nothing");
    assert_eq!((none.len(), dim), (0, 384));
    let error =
        place.engine.encode_texts(Some("efficientnet-lite0"), &texts, Prompt::Query).expect_err("pictures");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    let error = place.engine.encode_texts(None, &[" ".to_owned()], Prompt::Query).expect_err("blank");
    assert!(error.message.contains("text 0"), "{error}");
    assert_eq!(place.engine.models().len(), 2);
}
