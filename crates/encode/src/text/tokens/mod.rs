//! Text to token ids, by the `tokenizers` crate.
//!
//! From a model's own `tokenizer.json`; older models have a `vocab.txt` ([`wordpiece`]) or a sentencepiece file
//! ([`sentencepiece`]), which are turned into what their `tokenizer.json` would say.
//! Invariant: what comes out is never empty (the special tokens are always there) and never longer than the model reads.

mod sentencepiece;
mod sound;
mod wordpiece;

use tokenizers::{Encoding, Tokenizer, TruncationDirection};

use crate::models::ModelError;

pub(crate) use sentencepiece::from_sentencepiece;
pub(crate) use wordpiece::{WordPieceConfig, from_vocabulary};

/// Characters per token that are looked at when a text is cut: no vocabulary has tokens nearly that long, so
/// what lies behind this many characters for every token cannot reach the model and is not tokenized.
const CHARACTERS_PER_TOKEN: usize = 64;

/// A tokenizer and the longest input of its model.
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    max_tokens: usize,
    /// Special tokens put around one text.
    special: usize,
}

/// The tokenizer of a `tokenizer.json`.
pub(crate) fn from_json(json: &[u8]) -> Result<Tokenizer, String> {
    let told = |reason: String| format!("its tokenizer is not understood: {reason}");
    sound::check(json).map_err(told)?;
    // The library reads some parts by `expect`.
    let read = std::panic::catch_unwind(|| Tokenizer::from_bytes(json));
    read.map_err(|_| told("the library that reads it failed".to_owned()))?
        .map_err(|error| told(error.to_string()))
}

impl Tokens {
    pub(crate) fn new(
        model: &str,
        mut tokenizer: Tokenizer,
        max_tokens: Option<usize>,
    ) -> Result<Tokens, ModelError> {
        let broken = |reason: String| ModelError::Broken { id: model.to_owned(), reason };
        // What is put around no text; one special token may be several ids.
        let around = tokenizer.post_process(Encoding::default(), None, true);
        let around = around.map_err(|error| broken(format!("its special tokens: {error}")))?;
        if let Some(id) = around.get_ids().iter().find(|id| tokenizer.id_to_token(**id).is_none()) {
            return Err(broken(format!("its special token {id} is not in its vocabulary")));
        }
        let special = around.len();
        let max_tokens = max_tokens.unwrap_or(usize::MAX);
        if max_tokens <= special {
            return Err(broken(format!("it reads {max_tokens} tokens, of which {special} are special")));
        }
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(|error| broken(format!("its tokenizer cannot be set up: {error}")))?;
        Ok(Tokens { tokenizer, max_tokens, special })
    }

    /// How many tokens the vocabulary has.
    pub(crate) fn vocabulary(&self) -> usize {
        // Ids may have gaps, so not the number of tokens.
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |most| most as usize + 1)
    }

    /// Ids of `prefix` + `text` with special tokens, and whether the end had to be cut off.
    pub(crate) fn encode(&self, prefix: &str, text: &str) -> (Vec<u32>, bool) {
        let text = text.trim();
        let most_characters = self.max_tokens.saturating_mul(CHARACTERS_PER_TOKEN);
        let end = text.char_indices().nth(most_characters).map_or(text.len(), |(at, _)| at);
        let mut cut = end < text.len();
        // A tokenizer fails only on a vocabulary without an unknown token; such a text keeps its special tokens.
        let mut encoding =
            self.tokenizer.encode_fast([prefix, &text[..end]].concat(), false).unwrap_or_default();
        let room = self.max_tokens - self.special;
        if encoding.len() > room {
            encoding.truncate(room, 0, TruncationDirection::Right);
            cut = true;
        }
        let ids = match self.tokenizer.post_process(encoding, None, true) {
            Ok(encoding) => encoding.get_ids().to_vec(),
            Err(_) => Vec::new(),
        };
        (if ids.is_empty() { vec![0] } else { ids }, cut)
    }

    /// Tokens of `text` without special tokens.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.tokenizer.encode_fast(text, false).map_or(0, |encoding| encoding.len())
    }
}
