//! What the `tokenizers` crate takes for granted of a `tokenizer.json`, checked before the file reaches it: of a file that lies
//! it would panic while it is read or at the first text, or take memory by a length that it did not compare with the file.
//!
//! Found by fuzzing (`fuzz/targets/encode_tokenizer.rs`). The table of a `Precompiled` normalizer is a double array (Aoe, 1989;
//! `darts.h`) as sentencepiece writes it: its length in bytes (u32), units (u32), and the texts that characters become, each
//! ended by a zero byte. Every unit that any text can lead to is visited, so that no text leads out of the array.

use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

/// Bytes of UTF-8 that are not zero.
const BYTES: std::ops::RangeInclusive<usize> = 1..=0xf4;

/// The parts that are looked at; the vocabulary is skipped.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
}

/// Read only where pieces have a prefix.
#[derive(Deserialize)]
struct WithMerges {
    model: Merges,
}

#[derive(Deserialize)]
struct Merges {
    #[serde(default)]
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair([String; 2]),
    Line(String),
}

impl Merge {
    /// The piece that is put behind another.
    fn second(&self) -> &str {
        match self {
            Merge::Pair([_, second]) => second,
            Merge::Line(line) => line.split_once(' ').map_or("", |(_, second)| second),
        }
    }
}

/// Whether the library may have the file.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    let outline: Outline = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    each_object(&outline.normalizer, &mut |object| match object.get("precompiled_charsmap") {
        Some(Value::String(table)) => {
            let bytes = base64::prelude::BASE64_STANDARD.decode(table).map_err(|error| error.to_string());
            bytes.and_then(|bytes| check_table(&bytes)).map_err(|reason| format!("its normalizer: {reason}"))
        }
        _ => Ok(()),
    })?;
    each_object(&outline.pre_tokenizer, &mut |object| match object.get("length").and_then(Value::as_u64) {
        Some(0) => Err("its pre_tokenizer cuts pieces of length 0".to_owned()),
        _ => Ok(()),
    })?;
    each_object(&outline.post_processor, &mut check_template)?;
    match outline.model.continuing_subword_prefix {
        Some(prefix) if !prefix.is_empty() => check_merges(json, &prefix),
        _ => Ok(()),
    }
}

/// Objects inside of one another, to the depth that `serde_json` reads.
fn each_object(
    value: &Value,
    check: &mut impl FnMut(&serde_json::Map<String, Value>) -> Result<(), String>,
) -> Result<(), String> {
    match value {
        Value::Object(object) => {
            check(object)?;
            object.values().try_for_each(|inside| each_object(inside, check))
        }
        Value::Array(items) => items.iter().try_for_each(|inside| each_object(inside, check)),
        _ => Ok(()),
    }
}

/// A template holds the text once, and no special token that it does not say the ids of.
fn check_template(object: &serde_json::Map<String, Value>) -> Result<(), String> {
    check_pieces(object, "single", &["A"])
}

/// A post-processor, as JSON, joins two texts: its template holds each once.
pub(super) fn check_pairs(processor: &Value) -> Result<(), String> {
    each_object(processor, &mut |object| check_pieces(object, "pair", &["A", "B"]))
}

/// The template `name`, where there is one, holds each of `texts` once in their order.
fn check_pieces(object: &serde_json::Map<String, Value>, name: &str, texts: &[&str]) -> Result<(), String> {
    let Some(Value::Array(pieces)) = object.get(name) else { return Ok(()) };
    let mut held = Vec::new();
    for piece in pieces {
        if let Some(token) = piece.pointer("/SpecialToken/id").and_then(Value::as_str) {
            let known = object.get("special_tokens").and_then(|tokens| tokens.get(token));
            known.ok_or_else(|| {
                format!("its post_processor puts {token:?} around a text and does not say its ids")
            })?;
        } else {
            match piece.pointer("/Sequence/id").and_then(Value::as_str).filter(|id| texts.contains(id)) {
                Some(id) => held.push(id),
                None if texts.len() == 1 => {
                    return Err(format!("its post_processor has the piece {piece} for one text"));
                }
                None => return Err(format!("its post_processor has the piece {piece} for two texts")),
            }
        }
    }
    match (held == texts, texts.len()) {
        (true, _) => Ok(()),
        (false, 1) => Err(format!("its post_processor holds the text {} times, expected once", held.len())),
        (false, _) => Err(format!("its post_processor joins two texts as {held:?}, expected {texts:?}")),
    }
}

/// The second piece of every merge loses its prefix.
fn check_merges(json: &[u8], prefix: &str) -> Result<(), String> {
    let WithMerges { model } = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    match model.merges.iter().find(|merge| merge.second().get(prefix.len()..).is_none()) {
        Some(merge) => {
            Err(format!("its merges join {:?}, which does not begin with {prefix:?}", merge.second()))
        }
        None => Ok(()),
    }
}

fn check_table(table: &[u8]) -> Result<(), String> {
    let broken = || "its table of characters is broken".to_owned();
    let (length, rest) = table.split_first_chunk::<4>().ok_or_else(broken)?;
    let units = u32::from_le_bytes(*length) as usize / 4;
    let (array, texts) = rest.split_at_checked(units * 4).ok_or_else(broken)?;
    let array: Vec<usize> =
        array.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit) as usize).collect();
    let texts = std::str::from_utf8(texts).map_err(|_| broken())?;
    let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
    let mut seen = vec![false; array.len()];
    let mut waiting = vec![offset(*array.first().ok_or_else(broken)?)];
    while let Some(node) = waiting.pop() {
        if std::mem::replace(seen.get_mut(node).ok_or_else(broken)?, true) {
            continue;
        }
        for byte in BYTES {
            let unit = *array.get(node ^ byte).ok_or_else(broken)?;
            if unit & ((1 << 31) | 0xff) != byte {
                continue;
            }
            let next = node ^ byte ^ offset(unit);
            if (unit >> 8) & 1 == 1 {
                let text = array.get(next).ok_or_else(broken)? & ((1 << 31) - 1);
                texts.get(text..).ok_or_else(broken)?;
            }
            waiting.push(next);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(change: impl Fn(&mut Value), file: &str) -> String {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/seeds/tokenizer").join(file);
        let mut json: Value = serde_json::from_slice(&std::fs::read(path).expect("a seed")).expect("JSON");
        assert_eq!(check(json.to_string().as_bytes()), Ok(()), "{file}");
        change(&mut json);
        super::super::from_json(json.to_string().as_bytes()).map(|_| ()).expect_err("refused")
    }

    fn with_table(json: &mut Value, change: impl Fn(&mut Vec<u8>)) {
        let place = json.pointer_mut("/normalizer/normalizers/0/precompiled_charsmap").expect("a table");
        let base64 = base64::prelude::BASE64_STANDARD;
        let mut table = base64.decode(place.as_str().expect("base64")).expect("base64");
        change(&mut table);
        *place = base64.encode(table).into();
    }

    #[test]
    fn a_table_that_leads_out_of_itself_is_refused() {
        let told = |change: &dyn Fn(&mut Vec<u8>)| reason(|json| with_table(json, change), "unigram.json");
        assert!(told(&|table| table[..4].fill(0xff)).contains("table of characters"), "a length of 4 GB");
        assert!(told(&|table| table[4..8].fill(0xff)).contains("table of characters"), "an offset far away");
        assert!(told(&|table| table.truncate(4)).contains("table of characters"));
        assert!(told(&|table| table.push(0xff)).contains("table of characters"), "not UTF-8");
    }

    #[test]
    fn what_would_panic_at_the_first_text_is_refused() {
        let template = |json: &mut Value| json["post_processor"]["special_tokens"] = serde_json::json!({});
        assert!(reason(template, "bpe.json").contains("does not say its ids"));
        let twice = |json: &mut Value| {
            let text = json["post_processor"]["single"][1].clone();
            json["post_processor"]["single"][0] = text;
        };
        assert!(reason(twice, "bpe.json").contains("2 times"));
        let length = |json: &mut Value| {
            json["pre_tokenizer"] = serde_json::json!({"type": "FixedLength", "length": 0});
        };
        assert!(reason(length, "bytes.json").contains("length 0"));
        let merges = |json: &mut Value| json["model"]["continuing_subword_prefix"] = "#########".into();
        assert!(reason(merges, "bpe.json").contains("does not begin with"));
        let decoder = |json: &mut Value| json["decoder"] = 5.into();
        assert!(
            reason(decoder, "bpe.json").contains("not understood"),
            "the library's own panic is an error"
        );
    }
}
