//! Several examples in one query, unlike others, and parts of pictures.

use crate::pictures::{drawing, with_pictures};
use crate::support::Place;
use bilin_engine::{Alike, Answer, ErrorKind, Filter, MAX_ALIKE, Query, Region, Target};
use image::{GenericImage, RgbImage};
use std::io::Cursor;

fn ask(place: &Place, alike: Alike, top_k: usize) -> Answer {
    let query = Query { top_k, ..Query::new(Target::Alike(alike)) };
    place.engine.search("drawings", &query).expect("an answer")
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.results.iter().map(|found| found.id.as_str()).collect()
}

/// The id of a drawing as it was added.
fn id(place: &Place, name: &str) -> String {
    place.files().canonicalize().expect("the folder").join(name).display().to_string()
}

fn vector(place: &Place, id: &str) -> Vec<f32> {
    let document = place.engine.document("drawings", id).expect("looked up").expect("it is there");
    document.items[0].vector.clone().expect("a vector")
}

/// `wanted` minus half of `unwanted`, at unit length.
fn expected(wanted: &[Vec<f32>], unwanted: &[Vec<f32>]) -> Vec<f32> {
    let mean = |vectors: &[Vec<f32>], at: usize| {
        vectors.iter().map(|vector| f64::from(vector[at])).sum::<f64>() / vectors.len().max(1) as f64
    };
    let sum: Vec<f64> = (0..wanted[0].len()).map(|at| mean(wanted, at) - 0.5 * mean(unwanted, at)).collect();
    let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    sum.iter().map(|value| (value / norm) as f32).collect()
}

#[test]
fn several_examples_are_their_mean_minus_half_of_the_others() {
    let place = with_pictures();
    place.add("drawings").expect("added");
    let like = vec![id(&place, "rings/0.png"), id(&place, "stripes/1.png")];
    let unlike = vec![id(&place, "checker/2.png")];
    let wanted: Vec<Vec<f32>> = like.iter().map(|id| vector(&place, id)).collect();
    let unwanted = vec![vector(&place, &unlike[0])];
    for (unlike, unwanted) in [(Vec::new(), Vec::new()), (unlike, unwanted)] {
        let named: Vec<String> = like.iter().chain(&unlike).cloned().collect();
        let answer = ask(&place, Alike { like: like.clone(), unlike, ..Alike::default() }, 12);
        assert_eq!(answer.results.len(), 12 - named.len(), "what was named is not answered");
        let query = Query { top_k: 12, ..Query::new(Target::Vector(expected(&wanted, &unwanted))) };
        let by_vector = place.engine.search("drawings", &query).expect("an answer");
        let others: Vec<_> = by_vector.results.iter().filter(|found| !named.contains(&found.id)).collect();
        for (found, other) in answer.results.iter().zip(others) {
            assert_eq!(found.id, other.id);
            assert!((found.similarity - other.similarity).abs() < 1e-5, "{found:?} {other:?}");
        }
    }
    // A picture given as bytes counts as the same picture inside, and does not leave it out.
    let alike =
        Alike { pictures: vec![drawing("rings", 0)], like: vec![like[1].clone()], ..Alike::default() };
    let answer = ask(&place, alike, 2);
    assert!(ids(&answer).contains(&like[0].as_str()), "{:?}", ids(&answer));
    assert!(!ids(&answer).contains(&like[1].as_str()), "{:?}", ids(&answer));
}

#[test]
fn unlike_turns_the_answer_away_and_filters_hold() {
    let place = with_pictures();
    place.add("drawings").expect("added");
    let half = |answer: &Answer, kind: &str| {
        answer.results.iter().position(|found| found.id.contains(kind)).expect("it is there")
    };
    let like = vec![id(&place, "rings/0.png"), id(&place, "stripes/0.png")];
    let both = Alike { like: like.clone(), ..Alike::default() };
    let away = Alike { like, unlike_pictures: vec![drawing("stripes", 3)], ..Alike::default() };
    let (before, after) = (ask(&place, both.clone(), 10), ask(&place, away, 10));
    assert!(half(&after, "stripes/") > half(&after, "rings/"), "{:?}", ids(&after));
    let striped = |answer: &Answer| {
        let best = answer.results.iter().find(|found| found.id.contains("stripes/")).expect("stripes");
        best.similarity
    };
    assert!(striped(&after) < striped(&before), "{:?} {:?}", before.results, after.results);
    let filter: Filter = "category = \"checker\"".parse().expect("a filter");
    let query = Query { top_k: 9, filter: Some(filter), ..Query::new(Target::Alike(both)) };
    let answer = place.engine.search("drawings", &query).expect("an answer");
    assert_eq!(answer.results.len(), 4);
    assert!(ids(&answer).iter().all(|id| id.contains("checker/")), "{:?}", ids(&answer));
}

#[test]
fn a_region_counts_as_the_picture_cut_out_beforehand() {
    let place = with_pictures();
    place.add("drawings").expect("added");
    let decode = |bytes: &[u8]| image::load_from_memory(bytes).expect("a picture").into_rgb8();
    let (left, right) = (decode(&drawing("rings", 1)), decode(&drawing("stripes", 1)));
    let mut both = RgbImage::new(320, 120);
    both.copy_from(&left, 0, 0).expect("room");
    both.copy_from(&right, 160, 0).expect("room");
    let mut bytes = Vec::new();
    both.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).expect("written");
    for (from, name) in [(0.0, "rings/1.png"), (0.5, "stripes/1.png")] {
        let region = Some(Region { left: from, top: 0.0, width: 0.5, height: 1.0 });
        let alike = Alike { pictures: vec![bytes.clone()], region, ..Alike::default() };
        let best = &ask(&place, alike, 1).results[0];
        assert!(best.id.ends_with(name) && best.similarity > 0.9999, "{best:?}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let place = with_pictures();
    place.add("drawings").expect("added");
    let (one, rings) = (|| vec![drawing("rings", 0)], id(&place, "rings/0.png"));
    let region = Some(Region { left: 0.5, top: 0.0, width: 0.6, height: 1.0 });
    for (alike, kind, word) in [
        (
            Alike { unlike: vec![rings.clone()], ..Alike::default() },
            ErrorKind::InvalidInput,
            "should be like",
        ),
        (
            Alike { like: vec![rings.clone(); MAX_ALIKE + 1], ..Alike::default() },
            ErrorKind::InvalidInput,
            "at most 8",
        ),
        (
            Alike { pictures: one(), region, ..Alike::default() },
            ErrorKind::InvalidInput,
            "within the picture",
        ),
        (
            Alike { like: vec![rings.clone()], region, ..Alike::default() },
            ErrorKind::InvalidInput,
            "exactly one",
        ),
        (Alike { pictures: vec![Vec::new()], ..Alike::default() }, ErrorKind::InvalidInput, "empty"),
        (
            Alike { pictures: one(), unlike: vec!["nobody".into()], ..Alike::default() },
            ErrorKind::NotFound,
            "nobody",
        ),
        // Nothing is left of a direction that is taken away from itself twice.
        (
            Alike { pictures: one(), unlike_pictures: vec![b"no picture".to_vec()], ..Alike::default() },
            ErrorKind::InvalidInput,
            "not a picture",
        ),
    ] {
        let query = Query::new(Target::Alike(alike));
        let error = place.engine.search("drawings", &query).expect_err("refused");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(word) && error.hint.is_some(), "{word}: {error:?}");
    }
}

#[test]
fn values_of_a_field_are_counted() {
    let place = with_pictures();
    place.add("drawings").expect("added");
    place.engine.delete_documents("drawings", &[id(&place, "rings/3.png")]).expect("deleted");
    let facets = place.engine.facets("drawings", "category", None).expect("counted");
    let told: Vec<(String, usize)> = facets
        .values
        .iter()
        .map(|(value, count)| (value.as_str().unwrap_or("").to_owned(), *count))
        .collect();
    assert_eq!(told, [("checker".to_owned(), 4), ("stripes".to_owned(), 4), ("rings".to_owned(), 3)]);
    assert_eq!(facets.others, 0);
    let filter: Filter = "NOT category = \"checker\"".parse().expect("a filter");
    let facets = place.engine.facets("drawings", "product_id", Some(&filter)).expect("counted");
    assert_eq!(facets.values.iter().map(|(_, count)| count).sum::<usize>(), 7);
    assert!(place.engine.facets("drawings", "nowhere", None).expect("counted").values.is_empty());
    for field in ["", "a\"b", "a\\b"] {
        let error = place.engine.facets("drawings", field, None).expect_err("refused");
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{field:?}");
    }
}
