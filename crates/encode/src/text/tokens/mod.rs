//! Text to token ids, by the `tokenizers` crate.
//!
//! From a model's own `tokenizer.json`; older models have a `vocab.txt` ([`wordpiece`]), a sentencepiece file
//! ([`sentencepiece`]) or, of CLIP, a `vocab.json` with its pairs ([`pairs`]), which are turned into what their `tokenizer.json`
//! would say.
//! Invariant: what comes out is never empty (the special tokens are always there) and never longer than the model reads.

mod joined;
mod pairs;
mod sentencepiece;
mod sound;
mod wordpiece;

use tokenizers::{Encoding, Tokenizer, TruncationDirection};

use crate::models::ModelError;

pub(crate) use joined::Joined;
pub(crate) use pairs::{PairsConfig, from_pairs};
pub(crate) use sentencepiece::from_sentencepiece;
pub(crate) use wordpiece::{WordPieceConfig, from_vocabulary};

/// Characters per token that are looked at when a text is cut: no vocabulary has tokens nearly that long, so
/// what lies behind this many characters for every token cannot reach the model and is not tokenized.
const CHARACTERS_PER_TOKEN: usize = 64;

/// Windows over a long text share one part in so many of what a window holds with the one before.
const OVERLAP_PART: usize = 8;

/// What the model reads at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// With prompt and special tokens.
    pub(crate) ids: Vec<u32>,
    /// How many of them are the text's: what a window weighs.
    pub(crate) tokens: usize,
}

/// A tokenizer and the longest input of its model.
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    max_tokens: usize,
    /// Special tokens put around one text.
    special: usize,
    /// Of them, those in front of it and those behind it.
    around: [Vec<u32>; 2],
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

/// Ids of the special tokens in front of a text and behind it.
fn around(tokenizer: &Tokenizer) -> Result<[Vec<u32>; 2], String> {
    // No vocabulary has that many tokens.
    const TEXT: u32 = u32::MAX;
    let text = Encoding::new(
        vec![TEXT],
        vec![0],
        vec!["x".to_owned()],
        vec![Some(0)],
        vec![(0, 1)],
        vec![0],
        vec![1],
        Vec::new(),
        Default::default(),
    );
    let told = |error: tokenizers::Error| format!("its tokenizer cannot be set up: {error}");
    let encoding = tokenizer.post_process(text, None, true).map_err(told)?;
    let mut parts = encoding.get_ids().split(|id| *id == TEXT).map(<[u32]>::to_vec);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(before), Some(after), None) => Ok([before, after]),
        _ => Err("its tokenizer does not put special tokens around a text once".to_owned()),
    }
}

impl Tokens {
    pub(crate) fn new(
        model: &str,
        mut tokenizer: Tokenizer,
        max_tokens: Option<usize>,
    ) -> Result<Tokens, ModelError> {
        let broken = |reason: String| ModelError::Broken { id: model.to_owned(), reason };
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(|error| broken(format!("its tokenizer cannot be set up: {error}")))?;
        let around = around(&tokenizer).map_err(broken)?;
        if let Some(id) = around.iter().flatten().find(|id| tokenizer.id_to_token(**id).is_none()) {
            return Err(broken(format!("its special token {id} is not in its vocabulary")));
        }
        // One special token may be several ids.
        let special = around.iter().map(Vec::len).sum();
        let max_tokens = max_tokens.unwrap_or(usize::MAX);
        if max_tokens <= special {
            return Err(broken(format!("it reads {max_tokens} tokens, of which {special} are special")));
        }
        Ok(Tokens { tokenizer, max_tokens, special, around })
    }

    /// Tokens of prompt and text that the model reads besides special ones.
    pub(crate) fn room(&self) -> usize {
        self.max_tokens - self.special
    }

    /// Tokens in front of a text that has the prompt `prefix`: special ones and the prompt's own.
    pub(crate) fn before_text(&self, prefix: &str) -> usize {
        self.around[0].len() + self.count(prefix)
    }

    /// All of a text with its prompt: in one piece where that fits, else in windows that overlap, the prompt and special tokens
    /// around each. The prompt leaves room for the text; how long that may be is the caller's to bound.
    pub(crate) fn windows(&self, prefix: &str, text: &str) -> Vec<Piece> {
        let ids = |text: &str| {
            let encoding = self.tokenizer.encode_fast(text, false).unwrap_or_default();
            encoding.get_ids().to_vec()
        };
        let all = ids(&[prefix, text.trim()].concat());
        // A text may melt into the end of its prompt; those tokens are the text's.
        let prompt = all.iter().zip(ids(prefix)).take_while(|(a, b)| *a == b).count();
        let (prompt, text) = all.split_at(prompt);
        let room = self.room().saturating_sub(prompt.len()).max(1);
        let step = room - room / OVERLAP_PART;
        let [before, after] = &self.around;
        let windows = text.len().saturating_sub(room).div_ceil(step) + 1;
        (0..windows)
            .map(|window| {
                let start = window * step;
                let held = &text[start..text.len().min(start + room)];
                let ids = [before, prompt, held, after].concat();
                Piece { ids: if ids.is_empty() { vec![0] } else { ids }, tokens: held.len().max(1) }
            })
            .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Words `a` to `z` of one letter, in front of them `[CLS]`, behind them `[SEP]`.
    pub(super) fn letters(max_tokens: usize) -> Tokens {
        let letters = ('a'..='z').map(String::from).collect::<Vec<_>>().join("\n");
        let vocabulary = format!("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n{letters}\n");
        let tokenizer =
            from_vocabulary(vocabulary.as_bytes(), &WordPieceConfig::default()).expect("a tokenizer");
        Tokens::new("m", tokenizer, Some(max_tokens)).expect("tokens")
    }

    fn text(tokens: usize) -> String {
        ('a'..='z').cycle().take(tokens).map(|letter| format!("{letter} ")).collect()
    }

    #[test]
    fn windows_hold_every_token_and_overlap_by_an_eighth() {
        let tokens = letters(2 + 2 + 16);
        for count in 1..90 {
            let windows = tokens.windows("x y ", &text(count));
            let ids = tokens.encode("", &text(count)).0;
            assert_eq!(windows.len(), 1 + count.saturating_sub(16).div_ceil(14), "{count}");
            let mut covered = 0;
            for (window, Piece { ids: read, tokens: held }) in windows.iter().enumerate() {
                let (front, rest) = read.split_at(3);
                assert_eq!((front, rest.last()), ([2, 28, 29].as_slice(), Some(&3)));
                assert_eq!(rest.len(), held + 1);
                assert!(*held <= 16 && window * 14 <= covered);
                covered = window * 14 + held;
                let letter = |at: usize| 5 + (at % 26) as u32;
                assert!(rest[..*held].iter().enumerate().all(|(at, id)| *id == letter(window * 14 + at)));
            }
            assert_eq!(covered, count);
            if count <= 16 {
                assert_eq!(windows[0].ids[3..], ids[1..], "one piece is the text as it always was");
            }
        }
    }

    #[test]
    fn tokens_in_front_of_a_text_are_counted() {
        let tokens = letters(20);
        assert_eq!((tokens.before_text("x y z"), tokens.before_text(""), tokens.room()), (4, 1, 18));
        assert_eq!(tokens.windows("", ""), [Piece { ids: vec![2, 3], tokens: 1 }]);
    }
}
