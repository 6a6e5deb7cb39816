//! The best sentence beside its passage: it counts where it was encoded, stays with the item, and can be switched off.

use crate::support::{Place, config};
use bilin_engine::{
    DocumentContent, Engine, EngineConfig, Fusion, Mode, NewCollection, NewDocument, Query, ReencodeOptions,
    Target,
};

const PASSAGE: &str =
    "图书馆周一到周五开门。猫是一种会抓老鼠的动物。三号楼的电梯正在修理。今天下午操场上有比赛。";
const QUESTION: &str = "哪种宠物能捉鼠?";

fn add(engine: &Engine, id: &str, text: &str) {
    let document = NewDocument {
        id: Some(id.to_owned()),
        content: Some(DocumentContent::Text(text.to_owned())),
        metadata: Default::default(),
    };
    engine.add_documents("notes", vec![document]).expect("added");
}

/// Score of the passage when its best sentence counts this much.
fn score(engine: &Engine, weight: f32, fusion: Fusion) -> f32 {
    let query = Query {
        sentences: Some(weight),
        fusion: Some(fusion),
        mode: Some(Mode::Hybrid),
        ..Query::new(Target::Text(QUESTION.to_owned()))
    };
    let answer = engine.search("notes", &query).expect("an answer");
    answer.results.iter().find(|found| found.id == "passage").expect("the passage").score
}

#[test]
fn the_best_sentence_counts_by_its_weight_and_stays_with_its_passage() {
    let place = Place::new();
    place.engine.create("notes", &NewCollection::default()).expect("made");
    add(&place.engine, "passage", PASSAGE);
    add(&place.engine, "single", "只有一句话的一段。");
    let share = Fusion::default();
    let scores = |engine: &Engine| [0.0, 0.5, 1.0].map(|weight| score(engine, weight, share));
    let before = scores(&place.engine);
    assert!(before[2] > before[0] + 0.01, "one sentence of four answers: {before:?}");
    assert!((before[1] - (before[0] + before[2]) / 2.0).abs() < 1e-4, "{before:?}");
    // Ranks have no cosine that could give way.
    let ranks = Fusion::Rrf { k: 60 };
    assert_eq!(score(&place.engine, 1.0, ranks), score(&place.engine, 0.0, ranks));

    // Alone, the sentence is as near as it is within its passage.
    add(&place.engine, "alone", "猫是一种会抓老鼠的动物。");
    let query = Query { mode: Some(Mode::Dense), ..Query::new(Target::Text(QUESTION.to_owned())) };
    let answer = place.engine.search("notes", &query).expect("an answer");
    let cosine = |id: &str| answer.results.iter().find(|found| found.id == id).expect(id).similarity;
    let gained = (before[2] - before[0]) - (cosine("alone") - cosine("passage"));
    assert!(gained.abs() < 5e-3, "{gained}");

    let place = place.reopen();
    let after = scores(&place.engine);
    assert!(before.iter().zip(after).all(|(a, b)| (a - b).abs() < 0.05), "{before:?} {after:?}");
    assert!(after[2] > after[0] + 0.01, "after reopening: {after:?}");
}

#[test]
fn without_vectors_of_sentences_the_weight_means_nothing_until_they_are_made() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let without = EngineConfig { sentences: false, ..config(root.path()) };
    let engine = Engine::open(without).expect("opened");
    engine.create("notes", &NewCollection::default()).expect("made");
    add(&engine, "passage", PASSAGE);
    let share = Fusion::default();
    assert_eq!(score(&engine, 1.0, share), score(&engine, 0.0, share));
    drop(engine);
    let engine = Engine::open(config(root.path())).expect("opened");
    assert_eq!(score(&engine, 1.0, share), score(&engine, 0.0, share));
    let model = engine.collection("notes").expect("a collection").settings.model.expect("a model").id;
    let options = ReencodeOptions { model, force: true, ..ReencodeOptions::default() };
    engine.reencode("notes", &options, &|_| true).expect("moved");
    assert!(score(&engine, 1.0, share) > score(&engine, 0.0, share) + 0.01);
}
