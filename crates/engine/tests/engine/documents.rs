//! Documents by API: all or none, replaced by id, refused with position and id.

use crate::support::{Place, texts};
use bilin_engine::{
    Applied, DocumentContent, ErrorKind, Filter, MAX_ID_BYTES, MAX_METADATA_BYTES, NewCollection, NewDocument,
};

fn text(id: &str, text: &str) -> NewDocument {
    NewDocument {
        id: Some(id.to_owned()),
        content: Some(DocumentContent::Text(text.to_owned())),
        ..NewDocument::default()
    }
}

fn with_collection() -> Place {
    let place = Place::new();
    place.engine.create("notes", &NewCollection::default()).expect("made");
    place
}

#[test]
fn documents_are_added_replaced_and_deleted_by_id() {
    let place = with_collection();
    let added = place
        .engine
        .add_documents("notes", vec![text("cat", "猫在沙发上睡觉"), text("rain", "今天下大雨")])
        .expect("added");
    assert_eq!((added.added, added.updated, added.ids), (2, 0, vec!["cat".to_owned(), "rain".to_owned()]));
    let again = place.engine.add_documents("notes", vec![text("cat", "猫在屋顶上晒太阳")]).expect("replaced");
    assert_eq!((again.added, again.updated), (0, 1));
    assert!(again.seq > added.seq);
    assert_eq!(texts(&place.ask("notes", "小猫", 10)), ["猫在屋顶上晒太阳", "今天下大雨"]);
    let found = place.engine.document("notes", "cat").expect("looked up").expect("it exists");
    assert_eq!(found.items[0].vector.as_ref().map(Vec::len), Some(384));
    let ids = ["cat".to_owned(), "dog".to_owned()];
    let deleted = place.engine.delete_documents("notes", &ids).expect("deleted");
    assert_eq!(deleted.deleted, 1);
    assert!(place.engine.document("notes", "cat").expect("looked up").is_none());
    assert_eq!(texts(&place.ask("notes", "小猫", 10)), ["今天下大雨"]);
}

#[test]
fn made_ids_are_unique_and_sort_by_time() {
    let place = with_collection();
    let without_id = |words: &str| NewDocument { id: None, ..text("", words) };
    let added = place
        .engine
        .add_documents("notes", (0..50).map(|number| without_id(&format!("句子{number}"))).collect())
        .expect("added");
    assert!(added.ids.is_sorted_by(|a, b| a < b), "{:?}", added.ids);
    let later = place.engine.add_documents("notes", vec![without_id("后来")]).expect("added");
    assert!(later.ids[0] > added.ids[49]);
}

#[test]
fn a_long_text_becomes_passages_of_one_document() {
    let place = with_collection();
    let long: String = (0..60).map(|number| format!("这是一篇长文章的第{number}句话,讲的是检索。")).collect();
    let added = place.engine.add_documents("notes", vec![text("long", &long)]).expect("added");
    assert_eq!((added.added, added.truncated), (1, 0));
    let found = place.engine.document("notes", "long").expect("looked up").expect("it exists");
    assert!(found.items.len() > 1, "{}", found.items.len());
    let joined: String = found.items.iter().filter_map(|item| item.text.as_deref()).collect();
    assert_eq!(joined, long);
    let like = bilin_engine::Query::new(bilin_engine::Target::Like("long".into()));
    assert!(place.engine.search("notes", &like).expect("an answer").results.is_empty(), "itself is left out");
}

#[test]
fn a_bad_document_refuses_the_whole_request() {
    let place = with_collection();
    let good = || text("good", "好的");
    let long_id = "x".repeat(MAX_ID_BYTES + 1);
    let heavy = [("field".to_owned(), "x".repeat(MAX_METADATA_BYTES).into())].into_iter().collect();
    let cases = [
        (text("blank", " \n　"), ErrorKind::InvalidInput, "document 1 (\"blank\"): its text is empty"),
        (
            NewDocument { content: None, ..text("none", "") },
            ErrorKind::InvalidInput,
            "document 1 (\"none\"): it has no content",
        ),
        (text("", "没有编号"), ErrorKind::InvalidInput, "document 1: document id \"\""),
        (text(&long_id, "编号太长"), ErrorKind::InvalidInput, "the limit is 512"),
        (text("a\nb", "换行"), ErrorKind::InvalidInput, "control character"),
        (good(), ErrorKind::InvalidInput, "documents 0 and 1 have the same id \"good\""),
        (
            NewDocument { metadata: heavy, ..text("heavy", "很多字段") },
            ErrorKind::TooLarge,
            "document 1 (\"heavy\")",
        ),
        (
            NewDocument { content: Some(DocumentContent::Vector(vec![0.5; 384])), ..text("v", "") },
            ErrorKind::InvalidInput,
            "holds text (vector space e5-small-zh-en@",
        ),
        (
            NewDocument { content: Some(DocumentContent::Picture(vec![1])), ..text("p", "") },
            ErrorKind::InvalidInput,
            "got a picture",
        ),
    ];
    for (bad, kind, words) in cases {
        let error = place.engine.add_documents("notes", vec![good(), bad]).expect_err(words);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error} should say {words:?}");
    }
    let error = place.engine.add_documents("notes", Vec::new()).expect_err("nothing");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    let error = place.engine.add_documents("missing", vec![good()]).expect_err("no collection");
    assert_eq!(error.kind, ErrorKind::NotFound);
    let info = place.engine.collection("notes").expect("it");
    assert_eq!((info.status.items, info.status.documents), (0, 0));
}

#[test]
fn documents_are_deleted_by_filter() {
    let place = with_collection();
    let documents = (0..20).map(|number| NewDocument {
        metadata: [
            ("number".to_owned(), number.into()),
            ("nested".to_owned(), serde_json::json!({"kept": [1, {"deep": true}]})),
        ]
        .into_iter()
        .collect(),
        ..text(&format!("n{number}"), &format!("第{number}号"))
    });
    place.engine.add_documents("notes", documents.collect()).expect("added");
    let filter: Filter = "number >= 5".parse().expect("a filter");
    let applied: Applied = place.engine.delete_where("notes", &filter).expect("deleted");
    assert_eq!(applied.deleted, 15);
    let nothing = place.engine.delete_where("notes", &filter).expect("nothing to delete");
    assert_eq!((nothing.deleted, nothing.seq), (0, applied.seq));
    let kept = place.engine.document("notes", "n4").expect("looked up").expect("it exists");
    assert_eq!(kept.items[0].metadata["nested"]["kept"][1]["deep"], true);
}
