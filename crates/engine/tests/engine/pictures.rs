//! Folders and requests of pictures, on drawings made here.

use crate::support::{Place, text_query};
use bilin_engine::{DocumentContent, ErrorKind, Kind, NewCollection, NewDocument, Query, Target};
use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

/// A drawing: rings, stripes or a checker board, in two colours, shifted a little by `variant`.
pub fn drawing(pattern: &str, variant: u32) -> Vec<u8> {
    let (dark, light) = (Rgb([30, 40 + variant as u8, 120]), Rgb([240, 220, 60 + variant as u8]));
    let picture = RgbImage::from_fn(160, 120, |x, y| {
        let (x, y) = (x + variant * 3, y + variant * 2);
        let lit = match pattern {
            "rings" => {
                let (dx, dy) = (f64::from(x) - 80.0, f64::from(y) - 60.0);
                (((dx * dx + dy * dy).sqrt() / 9.0) as u32).is_multiple_of(2)
            }
            "stripes" => (x / 12).is_multiple_of(2),
            _ => (x / 20 + y / 20).is_multiple_of(2),
        };
        if lit { light } else { dark }
    });
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).expect("written");
    bytes
}

pub fn with_pictures() -> Place {
    let place = Place::new();
    for pattern in ["rings", "stripes", "checker"] {
        for variant in 0..4 {
            place.write(&format!("{pattern}/{variant}.png"), drawing(pattern, variant));
        }
    }
    place
}

fn picture_query(bytes: Vec<u8>, top_k: usize) -> Query {
    Query { top_k, ..Query::new(Target::Picture(bytes)) }
}

#[test]
fn like_pictures_are_found_and_have_thumbnails() {
    let place = with_pictures();
    place.write("rings/broken.png", &drawing("rings", 0)[..300]);
    place.write("notes.txt", "这是文字。\n");
    let report = place.add("drawings").expect("added");
    assert_eq!((report.files_added, report.passed_over, report.problems.len()), (12, 1, 1), "{report:?}");
    assert!(report.problems[0].path.ends_with("broken.png"), "{report:?}");
    let info = place.engine.collection("drawings").expect("made");
    assert_eq!((info.settings.kind, info.settings.dim, info.status.items), (Kind::Image, 1280, 12));
    let answer =
        place.engine.search("drawings", &picture_query(drawing("stripes", 9), 4)).expect("an answer");
    for found in &answer.results {
        assert!(found.id.contains("stripes/"), "{:?}", answer.results);
    }
    let thumbnail = place.engine.thumbnail("drawings", &answer.results[0].id).expect("looked up");
    let thumbnail = image::load_from_memory(&thumbnail.expect("there is one")).expect("a picture");
    assert!(thumbnail.width() <= 256 && thumbnail.height() <= 256);
    let again = place.add("drawings").expect("added again");
    assert_eq!((again.files_unchanged, again.items_added), (12, 0), "{again:?}");
}

#[test]
fn a_picture_by_api_is_the_picture_of_the_file() {
    let place = with_pictures();
    place.add("drawings").expect("added");
    let document = NewDocument {
        id: Some("mine".into()),
        content: Some(DocumentContent::Picture(drawing("rings", 2))),
        ..NewDocument::default()
    };
    place.engine.add_documents("drawings", vec![document]).expect("added");
    let like = Query { top_k: 1, ..Query::new(Target::Like("mine".into())) };
    let answer = place.engine.search("drawings", &like).expect("an answer");
    assert!(answer.results[0].id.ends_with("rings/2.png"), "{:?}", answer.results);
    assert!(answer.results[0].similarity > 0.9999, "{:?}", answer.results);
}

#[test]
fn text_and_pictures_do_not_mix() {
    let place = with_pictures();
    place.add("drawings").expect("added");
    let error = place.engine.search("drawings", &text_query("rings", 3)).expect_err("no text space");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(
        error.message.contains("e5-small-zh-en@") && error.message.contains("efficientnet-lite0@"),
        "{error}"
    );
    place.engine.create("notes", &NewCollection::default()).expect("made");
    let error =
        place.engine.search("notes", &picture_query(drawing("rings", 0), 3)).expect_err("no picture space");
    assert!(
        error.message.contains("e5-small-zh-en@") && error.message.contains("efficientnet-lite0@"),
        "{error}"
    );
    let error = place.add("notes").expect_err("only pictures there");
    assert!(error.message.contains("\"notes\"") && error.message.contains("pictures"), "{error}");
    assert_eq!(place.engine.default_collection(Kind::Image, None).expect("one"), "drawings");
    assert_eq!(place.engine.default_collection(Kind::Text, None).expect("one"), "notes");
}

#[test]
fn bad_pictures_are_refused_with_the_reason() {
    let place = with_pictures();
    place.add("drawings").expect("added");
    let seq = place.engine.collection("drawings").expect("it").status.seq;
    for (bytes, kind) in [
        (Vec::new(), ErrorKind::InvalidInput),
        (b"this is no picture at all".to_vec(), ErrorKind::InvalidInput),
        (huge_png(), ErrorKind::TooLarge),
    ] {
        let error = place.engine.search("drawings", &picture_query(bytes.clone(), 3)).expect_err("refused");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.hint.is_some(), "{error}");
        let content = Some(DocumentContent::Picture(bytes));
        let document = NewDocument { id: Some("bad".into()), content, ..NewDocument::default() };
        let error = place.engine.add_documents("drawings", vec![document]).expect_err("refused");
        assert!(error.message.starts_with("document 0 (\"bad\"): "), "{error}");
    }
    assert_eq!(place.engine.collection("drawings").expect("it").status.seq, seq);
}

/// A PNG whose header announces 20 000 x 20 000 pixels, with a correct checksum.
fn huge_png() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(20_000u32.to_be_bytes());
    bytes.extend(20_000u32.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0]);
    let crc = crc32(&bytes[12..]);
    bytes.extend(crc.to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    })
}
