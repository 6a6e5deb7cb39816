//! Vectors of the sentences of a passage, kept beside its own and asked after the best candidates of a query are known.
//!
//! A passage's vector is the mean of what it says; a question is mostly about one sentence of it. So each sentence is encoded by
//! itself, behind the nearest heading where the collection encodes headings, and the best one counts beside the passage
//! (decision 0110). Indexes know nothing of it. Passages of one sentence have none: theirs is the passage's.
//!
//! Form of a blob (version 1, little-endian): the byte 1, then for each sentence a scale (f32) and `dim` numbers of 8 bits; number
//! `i` of the vector is `scale * number`. Invariant: what is not of that form or of another dimension counts as no sentences.

use crate::models::encode_in_batches;
use bilin_encode::{EncodeError, Encoder, Input, Prompt};
use bilin_ingest::{Limits, Metadata, ReadOptions, Split, split_text};

const VERSION: u8 = 1;
const SCALE_BYTES: usize = 4;
/// Sentences of an item that are kept, from its beginning.
const MOST: usize = 64;
const LARGEST: f32 = 127.0;

/// An item that is a text, with its fields.
pub(crate) type Told<'t> = (&'t str, &'t Metadata);

/// The blob of each item, in order; `None` for what is no text or one sentence. `Ok(None)`: `go_on` said no. Called inside the
/// thread pool that is to do the work.
pub(crate) fn encode<'t>(
    encoder: &dyn Encoder,
    items: impl Iterator<Item = Option<Told<'t>>>,
    headings: bool,
    go_on: impl FnMut() -> bool,
) -> Result<Option<Vec<Option<Vec<u8>>>>, EncodeError> {
    let of_item = |told: Option<Told<'t>>| told.map_or_else(Vec::new, |told| sentences_of(told, headings));
    let all: Vec<Vec<String>> = items.map(of_item).collect();
    let inputs: Vec<Input<'_>> =
        all.iter().flatten().map(|text| Input::Text { text, prompt: Prompt::Document }).collect();
    let Some(encoded) = encode_in_batches(encoder, &inputs, go_on)? else { return Ok(None) };
    let mut vectors = encoded.vectors.chunks_exact(encoded.dim.max(1));
    let blob = |sentences: &Vec<String>| match sentences.len() {
        0 => None,
        count => Some(pack(vectors.by_ref().take(count))),
    };
    Ok(Some(all.iter().map(blob).collect()))
}

/// What is encoded of the sentences of a text; none where there is but one.
fn sentences_of((text, metadata): Told<'_>, headings: bool) -> Vec<String> {
    let options = ReadOptions {
        split: Split::Sentence,
        max_tokens: usize::MAX,
        count_tokens: &|_| 1,
        overlap_tokens: 0,
        max_file_bytes: text.len() as u64,
        limits: Limits::default(),
    };
    let mut sentences = split_text(text, &options);
    if sentences.len() < 2 {
        return Vec::new();
    }
    sentences.truncate(MOST);
    if let Some(heading) = heading(metadata).filter(|_| headings) {
        for sentence in sentences.iter_mut().filter(|sentence| !sentence.starts_with(heading)) {
            *sentence = format!("{heading}\n{sentence}");
        }
    }
    sentences
}

/// The nearest heading above an item.
fn heading(metadata: &Metadata) -> Option<&str> {
    let of = |name: &str| metadata.get(name).and_then(serde_json::Value::as_str);
    let nearest = of("section").and_then(|section| section.rsplit(" > ").next()).or_else(|| of("chapter"));
    nearest.filter(|heading| !heading.trim().is_empty())
}

fn pack<'v>(vectors: impl Iterator<Item = &'v [f32]>) -> Vec<u8> {
    let mut blob = vec![VERSION];
    for vector in vectors {
        let most = vector.iter().fold(0.0f32, |most, number| most.max(number.abs()));
        let scale = if most > 0.0 { most / LARGEST } else { 1.0 };
        blob.extend(scale.to_le_bytes());
        blob.extend(vector.iter().map(|number| ((number / scale).round() as i8).cast_unsigned()));
    }
    blob
}

/// Cosine of a query of unit length with the sentence of a blob that is nearest to it; `None` where the blob holds none of that dimension.
pub(crate) fn nearest(query: &[f32], blob: &[u8]) -> Option<f64> {
    let (version, sentences) = blob.split_first()?;
    let each = SCALE_BYTES + query.len();
    if *version != VERSION || query.is_empty() || !sentences.len().is_multiple_of(each) {
        return None;
    }
    let cosine = |sentence: &[u8]| {
        let (scale, numbers) = sentence.split_first_chunk::<SCALE_BYTES>()?;
        let products =
            numbers.iter().zip(query).map(|(number, value)| f32::from(number.cast_signed()) * value);
        let cosine = f32::from_le_bytes(*scale) * products.sum::<f32>();
        cosine.is_finite().then_some(f64::from(cosine))
    };
    sentences.chunks_exact(each).filter_map(cosine).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: serde_json::Value) -> Metadata {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_text_of_several_sentences_is_cut_and_gets_its_nearest_heading() {
        let metadata = fields(json!({"chapter": "第二章", "section": "2.1 图 > 参数"}));
        let text = "M 是边数。参数 ef 是宽度。";
        assert_eq!(sentences_of((text, &metadata), true), ["参数\nM 是边数。", "参数 ef 是宽度。"]);
        assert_eq!(sentences_of((text, &metadata), false), ["M 是边数。", "参数 ef 是宽度。"]);
        assert_eq!(sentences_of((text, &fields(json!({"chapter": "二"}))), true)[0], "二\nM 是边数。");
        assert!(sentences_of(("只有一句。", &metadata), true).is_empty());
        assert_eq!(sentences_of((&"又一句。".repeat(MOST + 9), &metadata), true).len(), MOST);
    }

    #[test]
    fn the_nearest_sentence_is_found_to_three_places() {
        let mut draws = crate::random::Random::new(7);
        let mut unit = || {
            let mut vector: Vec<f32> = (0..48).map(|_| draws.below(2001) as f32 / 1000.0 - 1.0).collect();
            bilin_index::normalise(&mut vector);
            vector
        };
        for _ in 0..50 {
            let (query, sentences) = (unit(), [unit(), unit(), unit()]);
            let dot = |other: &Vec<f32>| query.iter().zip(other).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let expected = sentences.iter().map(dot).fold(f64::MIN, f64::max);
            let received = nearest(&query, &pack(sentences.iter().map(Vec::as_slice))).expect("sentences");
            assert!((expected - received).abs() < 4e-3, "{expected} {received}");
        }
    }

    #[test]
    fn what_is_no_blob_counts_as_no_sentences() {
        let good = pack([[0.6f32, 0.8].as_slice()].into_iter());
        assert!(nearest(&[0.6, 0.8], &good).is_some());
        let newer: Vec<u8> = std::iter::once(2).chain(good.iter().skip(1).copied()).collect();
        let infinite = [[VERSION].as_slice(), &f32::INFINITY.to_le_bytes(), &[1, 1]].concat();
        for bad in [&[][..], &[VERSION], &newer, &infinite, &good[..good.len() - 1]] {
            assert_eq!(nearest(&[0.6, 0.8], bad), None, "{bad:?}");
        }
        assert_eq!(nearest(&[1.0, 0.0, 0.0], &good), None, "another dimension");
        assert_eq!(nearest(&[], &good), None);
    }
}
