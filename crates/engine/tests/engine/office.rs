//! Office files through the engine: from a folder and by API, with their places; and headings that are encoded with the text.

use crate::support::{Place, texts};
use bilin_engine::{
    AddOptions, Clash, DocumentContent, ErrorKind, NewCollection, NewDocument, ReencodeOptions, TextWishes,
};
use serde_json::json;
use std::path::Path;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ingest/fixtures/office");

fn file(name: &str) -> NewDocument {
    let bytes = std::fs::read(Path::new(FIXTURES).join(name)).expect("a fixture");
    NewDocument {
        id: None,
        content: Some(DocumentContent::File { name: name.to_owned(), bytes }),
        metadata: [("term".to_owned(), json!("autumn"))].into_iter().collect(),
    }
}

fn with_headings(headings: bool) -> AddOptions {
    AddOptions {
        texts: TextWishes { headings: Some(headings), ..TextWishes::default() },
        ..AddOptions::default()
    }
}

/// Vectors of a collection's document, item by item.
fn vectors(place: &Place, collection: &str, id: &str) -> Vec<Vec<f32>> {
    let found = place.engine.document(collection, id).expect("looked up").expect("it exists");
    found.items.into_iter().map(|item| item.vector.expect("a vector")).collect()
}

#[test]
fn a_dropped_deck_answers_with_its_slide() {
    let place = Place::new();
    for name in ["deck.pptx", "handout.docx", "archive.zip"] {
        std::fs::copy(Path::new(FIXTURES).join(name), place.files().join(name)).expect("copied");
    }
    let report = place.add("course").expect("added");
    assert_eq!(report.files_added, 3);
    assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
    let answer = place.ask("course", "哪种索引速度快、哪种慢?", 1);
    let metadata = &answer.results[0].metadata;
    assert_eq!((&metadata["slide"], &metadata["section"]), (&json!("3"), &json!("三种索引")));
    // Members of the archive stay when it is added again unchanged.
    assert_eq!(place.add("course").expect("added").files_unchanged, 3);
}

#[test]
fn files_by_api_are_read_as_those_on_disk() {
    let place = Place::new();
    place.engine.create("course", &NewCollection::default()).expect("made");
    let added =
        place.engine.add_documents("course", vec![file("deck.pptx"), file("archive.zip")]).expect("added");
    assert_eq!(added.ids, ["deck.pptx", "archive.zip/资料/讲义.docx", "archive.zip/越界.txt"]);
    assert_eq!(added.problems.len(), 2, "{:?}", added.problems);
    let slide = place.engine.document("course", "deck.pptx").expect("looked up").expect("it exists");
    let metadata = &slide.items[1].metadata;
    assert_eq!((&metadata["slide"], &metadata["term"]), (&json!("2"), &json!("autumn")));
    let secret = place.engine.add_documents("course", vec![file("secret.docx")]).expect_err("refused");
    assert!(
        secret.message.contains("secret.docx") && secret.message.contains("password"),
        "{}",
        secret.message
    );
}

#[test]
fn headings_are_encoded_where_a_collection_reads_them() {
    let place = Place::new();
    place.write("a.md", "# 猫\n\n## 睡觉\n\n它一天要睡十六个小时。\n");
    place.add_with("plain", &with_headings(false)).expect("added");
    // As it is when nothing is wished for.
    place.add("headed").expect("added");
    let id = &place.ask("plain", "睡觉", 1).results[0].id.clone();
    assert_eq!(
        texts(&place.ask("headed", "猫睡觉", 1)),
        ["它一天要睡十六个小时。"],
        "shown text is the same"
    );
    let (plain, headed) = (vectors(&place, "plain", id), vectors(&place, "headed", id));
    assert_ne!(plain, headed);

    // By API and on the way to a successor they are read in the same way.
    let document = NewDocument {
        id: Some("api".into()),
        content: Some(DocumentContent::Text("它一天要睡十六个小时。".into())),
        metadata: [("chapter".to_owned(), json!("猫")), ("section".to_owned(), json!("睡觉"))]
            .into_iter()
            .collect(),
    };
    place.engine.add_documents("headed", vec![document]).expect("added");
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    assert!(cosine(&vectors(&place, "headed", "api")[0], &headed[0]) > 0.9999);
    let model = place.engine.collection("headed").expect("there").settings.model.expect("a model").id;
    let options = ReencodeOptions { model, force: true, ..ReencodeOptions::default() };
    place.engine.reencode("headed", &options, &|_| true).expect("moved");
    assert!(cosine(&vectors(&place, "headed", "api")[0], &headed[0]) > 0.9999);

    // It is remembered, and the two ways do not mix.
    let place = place.reopen();
    let told = place.add_with("headed", &with_headings(false)).expect_err("another way");
    assert_eq!(told.kind, ErrorKind::Conflict);
    assert!(told.message.contains("with their headings"), "{}", told.message);
    assert!(place.engine.merge("plain", &["headed".to_owned()], Clash::Keep).is_err());
}
