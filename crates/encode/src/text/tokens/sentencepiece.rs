//! The tokenizer of an XLM-RoBERTa model that has only its sentencepiece file, `sentencepiece.bpe.model`.
//!
//! The file is a protocol buffer (`sentencepiece_model.proto`): pieces with their log probabilities (Kudo, 2018), and the
//! normalisation as a table. Fairseq, which trained these models, put four tokens of its own before the pieces and one
//! behind them; `transformers` calls that `XLMRobertaTokenizer`. Every length is compared with what is left of the file.

use base64::Engine as _;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

/// Fairseq's own; the first three of the file are sentencepiece's and not used.
const OWN: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
const SKIPPED: usize = 3;
const MASK: &str = "<mask>";
/// `TrainerSpec.model_type`.
const UNIGRAM: u64 = 1;

/// What of the file is needed.
#[derive(Default)]
struct Model<'a> {
    pieces: Vec<(String, f32)>,
    kind: Option<u64>,
    normalisation: &'a [u8],
}

/// The tokenizer of a sentencepiece file.
pub(crate) fn from_sentencepiece(bytes: &[u8]) -> Result<Tokenizer, String> {
    let model = read(bytes).map_err(|reason| format!("its sentencepiece file: {reason}"))?;
    if model.kind.is_some_and(|kind| kind != UNIGRAM) {
        return Err("its sentencepiece file is no unigram model, which is the only kind supported".to_owned());
    }
    if model.pieces.len() <= SKIPPED {
        return Err(format!("its sentencepiece file has {} pieces", model.pieces.len()));
    }
    let own = OWN.iter().map(|token| json!([token, 0.0]));
    let pieces = model.pieces.iter().skip(SKIPPED).map(|(piece, score)| json!([piece, score]));
    let vocabulary: Vec<Value> = own.chain(pieces).chain([json!([MASK, 0.0])]).collect();
    let last = vocabulary.len() - 1;
    let special = |id: usize, token: &str| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": token == MASK, "rstrip": false,
            "normalized": false, "special": true})
    };
    let added: Vec<Value> =
        OWN.iter().enumerate().map(|(id, token)| special(id, token)).chain([special(last, MASK)]).collect();
    let mut normalizers = Vec::new();
    if !model.normalisation.is_empty() {
        let table = base64::prelude::BASE64_STANDARD.encode(model.normalisation);
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": table}));
    }
    // Sentencepiece takes away spaces at the ends and of several together all but one; the one in front is put there anyway.
    normalizers.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
    normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    let token = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let file = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [token("<s>"), {"Sequence": {"id": "A", "type_id": 0}}, token("</s>")],
            "pair": [token("<s>"), {"Sequence": {"id": "A", "type_id": 0}}, token("</s>"), token("</s>"),
                {"Sequence": {"id": "B", "type_id": 0}}, token("</s>")],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]},
                "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocabulary, "byte_fallback": false},
    });
    super::from_json(file.to_string().as_bytes())
}

/// A field of a message: its number and its value.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Float(f32),
}

/// The next field of `rest`, which it is taken from.
fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Field<'a>), String> {
    let key = varint(rest)?;
    let field = match key & 7 {
        0 => Field::Number(varint(rest)?),
        1 => {
            take(rest, 8)?;
            Field::Number(0)
        }
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| "a length does not fit".to_owned())?;
            Field::Bytes(take(rest, length)?)
        }
        5 => {
            let bytes = take(rest, 4)?;
            Field::Float(bytes.first_chunk::<4>().map_or(0.0, |bytes| f32::from_le_bytes(*bytes)))
        }
        kind => return Err(format!("a field is of kind {kind}, which no protocol buffer has")),
    };
    Ok((key >> 3, field))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, after) =
        rest.split_at_checked(count).ok_or_else(|| format!("{} bytes are left of {count}", rest.len()))?;
    *rest = after;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number is longer than 64 bits".to_owned())
}

fn read(mut rest: &[u8]) -> Result<Model<'_>, String> {
    let mut model = Model::default();
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, Field::Bytes(piece)) => model.pieces.push(read_piece(piece)?),
            (2, Field::Bytes(trainer)) => model.kind = number(trainer, 3)?,
            (3, Field::Bytes(mut normalizer)) => {
                while !normalizer.is_empty() {
                    if let (2, Field::Bytes(table)) = field(&mut normalizer)? {
                        model.normalisation = table;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(model)
}

fn read_piece(mut rest: &[u8]) -> Result<(String, f32), String> {
    let (mut piece, mut score) = (String::new(), 0.0);
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, Field::Bytes(text)) => {
                piece = std::str::from_utf8(text).map_err(|error| format!("a piece: {error}"))?.to_owned();
            }
            (2, Field::Float(value)) => score = value,
            _ => {}
        }
    }
    if !score.is_finite() {
        return Err(format!("piece {piece:?} has the score {score}"));
    }
    Ok((piece, score))
}

fn number(mut rest: &[u8], wanted: u64) -> Result<Option<u64>, String> {
    let mut found = None;
    while !rest.is_empty() {
        if let (at, Field::Number(value)) = field(&mut rest)?
            && at == wanted
        {
            found = Some(value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(pieces: &[(&str, f32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (piece, score) in pieces {
            let length = piece.len() as u8;
            bytes.extend([0x0a, length + 7, 0x0a, length]);
            bytes.extend(piece.as_bytes());
            bytes.push(0x15);
            bytes.extend(score.to_le_bytes());
        }
        bytes.extend([0x12, 2, 0x18, UNIGRAM as u8]);
        bytes
    }

    #[test]
    fn pieces_are_numbered_as_fairseq_does() {
        let pieces = [
            ("<unk>", 0.0),
            ("<s>", 0.0),
            ("</s>", 0.0),
            ("\u{2581}", -3.0),
            ("\u{2581}你", -1.0),
            ("好", -1.5),
        ];
        let tokenizer = from_sentencepiece(&file(&pieces)).expect("a tokenizer");
        let ids = |text: &str| tokenizer.encode_fast(text, true).expect("tokens").get_ids().to_vec();
        assert_eq!(ids("你好"), [0, 5, 6, 2]);
        assert_eq!(ids("你  好"), [0, 5, 4, 6, 2]);
        assert_eq!(ids("x"), [0, 4, 3, 2]);
        assert_eq!(ids("<mask>"), [0, 7, 2]);
    }

    #[test]
    fn other_kinds_and_broken_files_are_refused() {
        let mut other = file(&[("a", 0.0), ("b", 0.0), ("c", 0.0), ("d", 0.0)]);
        *other.last_mut().expect("a kind") = 2;
        assert!(from_sentencepiece(&other).is_err_and(|reason| reason.contains("unigram")));
        assert!(from_sentencepiece(&other[..other.len() - 1]).is_err());
        assert!(from_sentencepiece(b"").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }
    }
}
