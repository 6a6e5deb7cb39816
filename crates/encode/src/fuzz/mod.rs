//! What hostile files are thrown at: one function a kind of input, for `fuzz/` (built with `--cfg fuzzing`) and for `tests`, the
//! short form that every run of the tests goes through.
//!
//! Invariant: whatever the bytes are, a function returns. What it accepts has kept its promises: shapes and bytes of tensors agree,
//! token ids are in the vocabulary and no more than the model reads, pictures are whole and within their limits, vectors are
//! of unit length. A broken promise is a panic, which both callers report with the input.

#[cfg(test)]
mod mutate;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;

use crate::text::tokens::{Tokens, WordPieceConfig, from_json, from_sentencepiece, from_vocabulary};
use crate::weights::Weights;
use crate::{Input, Picture, PictureError, PictureLimits, Prompt};

/// Most tokens of a text.
const MAX_TOKENS: usize = 24;
/// Small, so that a run is short; what is above them is refused by the header.
const LIMITS: PictureLimits = PictureLimits { max_bytes: 1 << 20, max_side: 512, max_pixels: 1 << 16 };
/// Cut by every tokenizer that is accepted.
const TEXTS: [&str; 5] = [
    "向量检索 finds neighbours, naïve café ①ﬁ 😀👩‍👩‍👧",
    "a",
    "[CLS]<s></s>[MASK] <mask>##ing",
    "\u{0}\u{301}\u{200d}\u{feff}\u{10ffff}\u{3000}",
    "0123456789 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
/// Between the files of a folder that is written as one text.
const SEPARATOR: &str = "=== ";
/// Files of a folder that are always there: a network of one layer, and its vocabulary.
const FIXED: [(&str, &[u8]); 2] = [
    ("model.safetensors", include_bytes!("../../fixtures/seeds/model.safetensors")),
    ("vocab.txt", include_bytes!("../../fixtures/seeds/tokenizer/vocab.txt")),
];

/// Any bytes as a file of weights: safetensors, or of `torch.save` in either form.
pub fn weights(bytes: &[u8]) {
    let Ok(weights) = Weights::read("fuzz", &Bytes::copy_from_slice(bytes)) else { return };
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    for name in names {
        let shape = weights.shape(&name).unwrap_or_default().to_vec();
        if let Ok(numbers) = weights.dense(&name, &shape) {
            assert_eq!(numbers.len(), shape.iter().product::<usize>(), "{name:?} {shape:?}");
            assert!(numbers.iter().all(|number| number.is_finite()));
        }
        let [rows, columns] = shape[..] else { continue };
        if let Ok(table) = weights.table(&name, rows, columns) {
            assert_eq!(table.rows(), rows);
            let mut row = vec![0.0; columns];
            [0, rows / 2, rows].iter().for_each(|at| table.row(*at, &mut row));
        }
        if let Ok(matrix) = weights.matrix(&name, rows, columns) {
            assert_eq!(matrix.into_full().len(), rows * columns);
        }
    }
}

/// Any bytes as each of the files that a tokenizer is made from.
pub fn tokenizer(bytes: &[u8]) {
    let read =
        [from_json(bytes), from_vocabulary(bytes, &WordPieceConfig::default()), from_sentencepiece(bytes)];
    for tokenizer in read.into_iter().flatten() {
        if let Ok(tokens) = Tokens::new("fuzz", tokenizer, Some(MAX_TOKENS)) {
            let vocabulary = tokens.vocabulary();
            TEXTS.iter().for_each(|text| cut(&tokens, vocabulary, text));
            if tokens.check_pairs().is_ok() {
                TEXTS.iter().for_each(|text| join(&tokens, vocabulary, text));
            }
        }
    }
}

/// Any text, cut by a small tokenizer of each kind.
pub fn text(text: &str) {
    static SMALL: LazyLock<Vec<(Tokens, usize)>> = LazyLock::new(|| {
        let json: [&[u8]; 4] = [
            include_bytes!("../../fixtures/seeds/tokenizer/bpe.json"),
            include_bytes!("../../fixtures/seeds/tokenizer/unigram.json"),
            include_bytes!("../../fixtures/seeds/tokenizer/wordpiece.json"),
            include_bytes!("../../../../models/e5-small-zh-en/tokenizer.json"),
        ];
        let read = json.into_iter().map(from_json).chain([
            from_vocabulary(FIXED[1].1, &WordPieceConfig::default()),
            from_sentencepiece(include_bytes!("../../fixtures/seeds/tokenizer/sentencepiece.bpe.model")),
        ]);
        read.map(|tokenizer| {
            let tokenizer = tokenizer.expect("a seed is a tokenizer");
            let tokens = Tokens::new("fuzz", tokenizer, Some(MAX_TOKENS)).expect("it fits");
            let vocabulary = tokens.vocabulary();
            (tokens, vocabulary)
        })
        .collect()
    });
    for (tokens, vocabulary) in &*SMALL {
        cut(tokens, *vocabulary, text);
        join(tokens, *vocabulary, text);
    }
}

fn cut(tokens: &Tokens, vocabulary: usize, text: &str) {
    let (ids, is_cut) = tokens.encode("query: ", text);
    assert!(!ids.is_empty() && ids.len() <= MAX_TOKENS, "{} tokens of {text:?}", ids.len());
    assert!(ids.iter().all(|id| (*id as usize) < vocabulary), "{ids:?} of {vocabulary} for {text:?}");
    assert!(is_cut || tokens.count(text) <= MAX_TOKENS);
}

fn join(tokens: &Tokens, vocabulary: usize, text: &str) {
    for (first, second) in [(text, TEXTS[0]), ("a", text), (text, text)] {
        let joined = tokens.join(first, second);
        let ids = &joined.ids;
        assert!(!ids.is_empty() && ids.len() <= MAX_TOKENS, "{} tokens of {first:?}, {second:?}", ids.len());
        assert!(ids.iter().all(|id| (*id as usize) < vocabulary), "{ids:?} of {vocabulary} for {second:?}");
        assert!(joined.second <= ids.len());
    }
}

/// Any bytes as a picture.
pub fn picture(bytes: &[u8]) {
    match Picture::decode(bytes, &LIMITS) {
        Ok(picture) => {
            assert!(picture.is_whole(), "{picture:?}");
            assert!(picture.width.max(picture.height) <= LIMITS.max_side, "{picture:?}");
            assert!(!picture.thumbnail(32).is_empty());
        }
        Err(PictureError::TooLarge { width, height, .. }) => {
            let pixels = u64::from(width) * u64::from(height);
            assert!(width.max(height) > LIMITS.max_side || pixels > LIMITS.max_pixels);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A text as the small files of a model's folder (`=== NAME`, then the file), which is made in `place` and opened.
pub fn folder(text: &str, place: &Path) {
    let mut files: Vec<(&str, &[u8])> = FIXED.to_vec();
    for file in text.split(SEPARATOR).skip(1) {
        let (name, content) = file.split_once('\n').unwrap_or((file, ""));
        // Names are the fuzzer's, the place is ours.
        let parts: Vec<&str> = name.split('/').collect();
        let is_plain = |part: &&str| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
                && !part.starts_with('.')
                && (1..64).contains(&part.len())
        };
        if parts.len() <= 2 && parts.iter().all(is_plain) && files.iter().all(|(known, _)| *known != name) {
            files.push((name, content.as_bytes()));
        }
    }
    let folder = place.join("model");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, content) in files {
        let path = folder.join(name);
        // A name may stand where another has a folder: then that file is missing.
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = std::fs::write(path, content);
    }
    let reranker = crate::open_cross_encoder(&folder.to_string_lossy());
    assert!(reranker.is_err_and(|error| !error.to_string().is_empty()), "its weights have no labels");
    match crate::open(&folder.to_string_lossy()) {
        Ok(encoder) => {
            let input = Input::Text { text: "向量检索 search", prompt: Prompt::Query };
            let vector = encoder.encode(&[input]).expect("a text encodes").vectors;
            let norm: f32 = vector.iter().map(|number| number * number).sum();
            assert_eq!(vector.len(), encoder.card().dim);
            assert!((norm - 1.0).abs() < 1e-3 || norm == 0.0, "{norm}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
