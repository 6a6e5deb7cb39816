//! Collections of pictures: tables beside them, folders as categories, archives, what their files tell, and duplicates.

use crate::pictures::drawing;
use crate::support::Place;
use bilin_engine::{
    AddOptions, DocumentContent, DuplicateOptions, Duplicates, ErrorKind, Kind, Metadata, NewCollection,
    NewDocument,
};
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

/// A ZIP archive of these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("begun");
        writer.write_all(content).expect("written");
    }
    writer.finish().expect("finished").into_inner()
}

/// Fields of every picture of collection `shop`, by the file's name.
fn fields(place: &Place, name: &str) -> Metadata {
    let info = place.engine.facets("shop", "source", None).expect("counted");
    let of_name = |(value, _): &(Value, usize)| {
        value.as_str().filter(|source| source.ends_with(name)).map(str::to_owned)
    };
    let id = info.values.iter().find_map(of_name).unwrap_or_else(|| panic!("{name} is not in {info:?}"));
    let document = place.engine.document("shop", &id).expect("looked up").expect("it is there");
    document.items[0].metadata.clone()
}

fn told(fields: &Metadata, names: &[&str]) -> Value {
    names.iter().map(|name| fields.get(*name).cloned().unwrap_or(Value::Null)).collect()
}

#[test]
fn a_table_beside_pictures_tells_their_fields_and_may_change() {
    let place = Place::new();
    for (name, pattern) in [("1.png", "rings"), ("birds/2.png", "stripes"), ("birds/3.png", "checker")] {
        place.write(name, drawing(pattern, 1));
    }
    place.write("metadata.csv", "file_name,category,price,note\n1.png,shoes,9.5,红色\nbirds/2.png,,3,\n");
    place.write(
        "birds/own.jsonl",
        "{\"product_id\": \"3\", \"price\": 7}\n{\"product_id\": \"2\", \"price\": 4}\n",
    );
    let report = place.add("shop").expect("added");
    assert_eq!((report.files_added, report.problems.len()), (3, 0), "{report:?}");
    assert_eq!(place.engine.collection("shop").expect("made").settings.kind, Kind::Image);
    let names = ["product_id", "category", "price", "note", "width", "height"];
    assert_eq!(told(&fields(&place, "1.png"), &names), json!(["1", "shoes", 9.5, "红色", 160, 120]));
    assert_eq!(
        told(&fields(&place, "2.png"), &names),
        json!(["2", "birds", 4, null, 160, 120]),
        "the deeper table"
    );
    assert_eq!(told(&fields(&place, "3.png"), &names), json!(["3", "birds", 7, null, 160, 120]));
    assert_eq!(fields(&place, "3.png")["blake3"].as_str().map(str::len), Some(32));
    let again = place.add("shop").expect("added again");
    assert_eq!((again.files_unchanged, again.items_added), (3, 0), "{again:?}");
    // A row that changes changes its picture, and no other one.
    place.write("metadata.csv", "file_name,category,price\n1.png,boots,12\nbirds/2.png,,3\nnone.png,x,1\n");
    let changed = place.add("shop").expect("added again");
    assert_eq!((changed.files_changed, changed.files_unchanged), (1, 2), "{changed:?}");
    assert_eq!(told(&fields(&place, "1.png"), &["category", "price", "note"]), json!(["boots", 12, null]));
    assert_eq!(changed.problems.len(), 1, "{changed:?}");
    assert!(changed.problems[0].reason.contains("none.png"), "{changed:?}");
}

#[test]
fn the_folder_that_was_named_is_a_category_when_that_is_asked_for() {
    let place = Place::new();
    place.write("birds/1.png", drawing("rings", 1));
    place.write("birds/red/2.png", drawing("stripes", 1));
    let named = [place.files().join("birds")];
    let add = |options: &AddOptions| place.engine.add_paths("shop", &named, options, &()).expect("added");
    add(&AddOptions::default());
    let category = |name: &str| fields(&place, name).get("category").cloned();
    assert_eq!((category("1.png"), category("2.png")), (None, Some(json!("red"))));
    let report = add(&AddOptions { category_from_folder: true, ..AddOptions::default() });
    assert_eq!((report.files_changed, report.files_unchanged), (1, 1), "{report:?}");
    assert_eq!((category("1.png"), category("2.png")), (Some(json!("birds")), Some(json!("red"))));
}

#[test]
fn an_archive_of_pictures_is_a_folder_of_them_and_leads_nowhere_else() {
    let place = Place::new();
    let (rings, stripes) = (drawing("rings", 1), drawing("stripes", 1));
    let whole = archive(&[
        ("birds/1.png", &rings),
        ("../../escaped.png", &stripes),
        ("broken.png", &rings[..200]),
        ("inner.zip", b"PK"),
        ("notes.txt", b"no picture"),
        ("birds/.hidden.png", &stripes),
        ("metadata.csv", b"file_name,price,source\nbirds/1.png,5,/etc/passwd\n../../../etc/passwd,6,x\n"),
    ]);
    place.write("photos.zip", &whole);
    let report = place.add("shop").expect("added");
    assert_eq!(
        place.engine.collection("shop").expect("made").settings.kind,
        Kind::Image,
        "told by what is inside"
    );
    assert_eq!((report.files_added, report.items_added), (1, 2), "{report:?}");
    let reasons: Vec<&str> = report.problems.iter().map(|problem| problem.reason.as_str()).collect();
    for word in ["broken.png", "inner.zip", "1 of its 2 rows name pictures that are not there"] {
        assert!(reasons.iter().any(|reason| reason.contains(word)), "{word}: {reasons:?}");
    }
    assert_eq!(
        told(&fields(&place, "birds/1.png"), &["category", "price", "product_id"]),
        json!(["birds", 5, "1"])
    );
    let escaped = fields(&place, "photos.zip/escaped.png");
    assert!(!escaped["source"].as_str().expect("text").contains(".."), "{escaped:?}");
    assert!(!place.root.path().join("escaped.png").exists() && !place.files().join("escaped.png").exists());
    let id = escaped["source"].as_str().expect("text");
    assert!(place.engine.thumbnail("shop", id).expect("looked up").is_some());
    assert_eq!(place.add("shop").expect("added again").files_unchanged, 1);

    // The same archive by API, and one without a picture.
    place
        .engine
        .create("other", &NewCollection { kind: Some(Kind::Image), ..NewCollection::default() })
        .expect("made");
    let file = |bytes: &[u8]| NewDocument {
        content: Some(DocumentContent::File { name: "photos.zip".into(), bytes: bytes.to_vec() }),
        ..NewDocument::default()
    };
    let error = place.engine.add_documents("other", vec![file(&whole)]).expect_err("one picture is broken");
    assert!(error.message.contains("photos.zip/broken.png"), "{error}");
    let good = archive(&[("a/1.png", &rings), ("b/2.png", &stripes)]);
    let added = place.engine.add_documents("other", vec![file(&good)]).expect("added");
    assert_eq!(added.ids, ["photos.zip/a/1.png", "photos.zip/b/2.png"]);
    let error =
        place.engine.add_documents("other", vec![file(&archive(&[("a.txt", b"x")]))]).expect_err("nothing");
    assert!(error.message.contains("it holds no pictures"), "{error}");
}

fn duplicates(place: &Place, similarity: Option<f32>) -> Duplicates {
    let options = DuplicateOptions { similarity, limit: 100, budget: None };
    place.engine.duplicates("shop", &options, &|_, _| true).expect("looked")
}

/// The file names of each group.
fn named(found: &Duplicates) -> Vec<(bool, Vec<&str>)> {
    found
        .groups
        .iter()
        .map(|group| {
            let items = group.items.iter();
            (group.is_exact, items.map(|item| item.id.rsplit('/').next().unwrap_or_default()).collect())
        })
        .collect()
}

#[test]
fn copies_are_found_by_content_and_what_is_near_by_vector() {
    let place = Place::new();
    place.write("a.png", drawing("rings", 0));
    place.write("b.png", drawing("stripes", 0));
    place.write("copies/c.png", drawing("rings", 0));
    place.write("copies/d.png", drawing("checker", 0));
    place.write("photos.zip", archive(&[("e.png", &drawing("rings", 0)), ("f.png", &drawing("checker", 3))]));
    // The same picture, compressed anew.
    let mut jpeg = Vec::new();
    let stripes = image::load_from_memory(&drawing("stripes", 0)).expect("a picture");
    stripes.write_to(&mut Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).expect("written");
    place.write("g.jpg", jpeg);
    place.add("shop").expect("added");
    let exact = duplicates(&place, None);
    assert_eq!((exact.examined, exact.complete), (7, true));
    assert_eq!(named(&exact), [(true, vec!["a.png", "c.png", "e.png"])]);
    assert!(exact.groups[0].items.iter().all(|item| item.similarity > 0.9999), "{exact:?}");
    let near = duplicates(&place, Some(0.9));
    let groups = named(&near);
    let ringed = groups.iter().find(|(_, names)| names.contains(&"a.png")).expect("the copies");
    assert!(ringed.1.contains(&"c.png") && ringed.1.contains(&"e.png"), "{groups:?}");
    let striped = groups.iter().find(|(_, names)| names.contains(&"b.png")).expect("b.png and g.jpg");
    assert!(!striped.0 && striped.1.contains(&"g.jpg"), "{groups:?}");
    // The work can be stopped, bounded in time, and asked for what makes no sense.
    let options = DuplicateOptions { similarity: None, limit: 100, budget: None };
    let error = place.engine.duplicates("shop", &options, &|_, _| false).expect_err("stopped");
    assert_eq!(error.kind, ErrorKind::Cancelled);
    let none = DuplicateOptions { budget: Some(std::time::Duration::ZERO), ..options };
    let found = place.engine.duplicates("shop", &none, &|_, _| true).expect("looked");
    assert_eq!((found.examined, found.complete), (0, false));
    for wrong in [
        DuplicateOptions { similarity: Some(0.0), ..options },
        DuplicateOptions { similarity: Some(f32::NAN), ..options },
        DuplicateOptions { similarity: Some(1.5), ..options },
        DuplicateOptions { limit: 0, ..options },
    ] {
        let error = place.engine.duplicates("shop", &wrong, &|_, _| true).expect_err("refused");
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{wrong:?}");
    }
}
