//! Two texts read as one input: `[CLS] query [SEP] document [SEP]`, or `<s> query </s></s> document </s>`.
//!
//! As `transformers` joins a pair with `truncation="longest_first"`: of two texts that are too long together, tokens go from the
//! end of the longer one until they are equal, then from both. Invariant: never longer than the model reads.

use tokenizers::utils::truncation::{TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{PostProcessor, TruncationDirection};

use super::{CHARACTERS_PER_TOKEN, Tokens, sound};

/// A pair as a model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// With special tokens.
    pub(crate) ids: Vec<u32>,
    /// Where tokens of type 1 begin; the length where there are none.
    pub(crate) second: usize,
    /// Not all of both is in.
    pub(crate) is_cut: bool,
}

/// Two texts as one, cut to what is read.
struct Pair {
    ids: Vec<u32>,
    /// Which text each id is of.
    types: Vec<u32>,
    is_cut: bool,
}

impl Tokens {
    /// Special tokens around two texts.
    fn special_of_pairs(&self) -> usize {
        self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true))
    }

    /// Whether pairs can be read at all: room for both, special tokens that there are, types in one block each.
    pub(crate) fn check_pairs(&self) -> Result<(), String> {
        // The library would panic on a template that is none.
        let processor = serde_json::to_value(self.tokenizer.get_post_processor());
        sound::check_pairs(&processor.map_err(|error| error.to_string())?)?;
        let special = self.special_of_pairs();
        if self.max_tokens < special + 2 {
            return Err(format!(
                "it reads {} tokens, of which {special} are special in a pair of texts",
                self.max_tokens
            ));
        }
        let Pair { ids, types, .. } =
            self.join_types("a", "b").ok_or("its tokenizer does not join two texts")?;
        if let Some(id) = ids.iter().find(|id| self.tokenizer.id_to_token(**id).is_none()) {
            return Err(format!("its special token {id} is not in its vocabulary"));
        }
        match types.is_sorted() && types.iter().all(|kind| *kind < 2) {
            true => Ok(()),
            false => Err(format!("its tokenizer gives a pair of texts the token types {types:?}")),
        }
    }

    /// `None`: the tokenizer fails on them.
    fn join_types(&self, first: &str, second: &str) -> Option<Pair> {
        let most_characters = self.max_tokens.saturating_mul(CHARACTERS_PER_TOKEN);
        let mut is_cut = false;
        let mut cut = |text: &str| {
            let end = text.char_indices().nth(most_characters).map_or(text.len(), |(at, _)| at);
            is_cut |= end < text.len();
            // A tokenizer fails only on a vocabulary without an unknown token; such a text has no tokens.
            self.tokenizer.encode_fast(&text[..end], false).unwrap_or_default()
        };
        let (first, second) = (cut(first), cut(second));
        let room = self.max_tokens.saturating_sub(self.special_of_pairs());
        is_cut |= first.len() + second.len() > room;
        let parameters = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: room,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        let (mut first, mut second) = truncate_encodings(first, Some(second), &parameters).ok()?;
        // What was cut off is kept beside what is left, and would be joined as well: every piece with every other.
        first.take_overflowing();
        second.as_mut().map(tokenizers::Encoding::take_overflowing);
        let encoding = self.tokenizer.post_process(first, second, true).ok()?;
        Some(Pair { ids: encoding.get_ids().to_vec(), types: encoding.get_type_ids().to_vec(), is_cut })
    }

    /// Two texts as one input.
    pub(crate) fn join(&self, first: &str, second: &str) -> Joined {
        match self.join_types(first, second) {
            Some(Pair { ids, types, is_cut }) if !ids.is_empty() => {
                let second = types.iter().position(|kind| *kind > 0).unwrap_or(ids.len());
                Joined { ids, second, is_cut }
            }
            // What `Tokens::encode` gives of a text without tokens.
            _ => Joined { ids: vec![0], second: 1, is_cut: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letters;
    use super::*;

    #[test]
    fn pairs_are_joined_and_the_longer_is_cut_first() {
        let join = |most, first: &str, second: &str| letters(most).join(first, second);
        let whole = Joined { ids: vec![2, 5, 6, 3, 7, 3], second: 4, is_cut: false };
        assert_eq!(join(9, "a b", "c"), whole);
        let cut = Joined { ids: vec![2, 5, 3, 6, 7, 8, 3], second: 3, is_cut: true };
        assert_eq!(join(7, "a", "b c d e f"), cut);
        let both = Joined { ids: vec![2, 5, 6, 7, 3, 10, 11, 3], second: 5, is_cut: true };
        assert_eq!(join(8, "a b c d e", "f g h i"), both);
        assert_eq!(join(9, "", " ").ids, [2, 3, 3], "nothing is a pair of nothings");
        assert!(join(9, &"a ".repeat(9_000), "b").is_cut);
    }

    #[test]
    fn a_model_must_have_room_for_both() {
        assert!(letters(4).check_pairs().is_err_and(|told| told.contains("3 are special in a pair")));
        assert_eq!(letters(5).check_pairs(), Ok(()));
    }
}
