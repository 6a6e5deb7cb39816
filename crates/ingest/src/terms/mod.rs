//! What a text is found by: words for ranking, units for exact phrases and single characters.
//!
//! One function ([`each_term`]) cuts documents and queries, so that what was written one way is found when asked another:
//! characters are folded first (width, case, accents, traditional to simplified), Chinese is then cut into the words of a
//! dictionary as a search engine wants them (a long word and the words inside it), English is stemmed, and everything else
//! falls back to characters in pairs. Folding and terms serve matching alone: no displayed text is ever changed by it.
//!
//! Two layers. A *word* is what relevance is counted by. A *unit* is one Han character, syllable, number or unstemmed word,
//! in the order of the text: a phrase is a row of units, whatever the dictionary makes of its neighbours, and a single
//! character is found inside any word.
//!
//! Invariants: the same text gives the same terms on every machine ([`VERSION`] is raised when that changes); no input
//! panics; time is linear in the length of the text, since nothing looks further than [`MAX_RUN_CHARS`]; no term holds a
//! blank or is longer than [`MAX_TERM_CHARS`]; every range is of characters of the text as it was given.

mod cut;
mod fold;
mod shared;
mod snippet;
mod stop;
mod wanted;
mod words;

#[cfg(test)]
mod tests;

pub use shared::{Shared, shared};
pub use snippet::{Excerpt, excerpt};
pub use stop::is_function_word;
pub use wanted::Wanted;
pub use words::warm_up;

use std::ops::Range;

/// Names the rules by which texts are cut; indexes made by others do not fit.
pub const VERSION: &str = "jieba-0.11 opencc-0.4 snowball-en 1";
/// Longest run that is looked at as one; a longer one is cut there.
pub const MAX_RUN_CHARS: usize = 1_024;
/// A longer term is cut off there, in documents and in queries alike.
pub const MAX_TERM_CHARS: usize = 64;
/// What units begin with where both layers stand in one list of terms; no word begins with it.
pub const UNIT_MARK: char = '=';

/// What a term is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A word of a dictionary, a stem, a code, a pair of syllables.
    Word,
    /// Two Han characters beside each other of which neither belongs to a known word: counted as a word.
    Pair,
    /// A Han character, a syllable, a number or a word as it is spelled.
    Unit,
}

/// The terms of one text, each list separated by blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Words, in no order that means anything.
    pub words: String,
    /// Units in the order of the text, each behind [`UNIT_MARK`].
    pub units: String,
}

impl Terms {
    /// Cuts a text.
    pub fn of(text: &str) -> Terms {
        let mut terms = Terms::default();
        each_term(text, &mut |layer, term, _| {
            let list = match layer {
                Layer::Word | Layer::Pair => &mut terms.words,
                Layer::Unit => &mut terms.units,
            };
            if !list.is_empty() {
                list.push(' ');
            }
            if layer == Layer::Unit {
                list.push(UNIT_MARK);
            }
            list.push_str(term);
        });
        terms
    }
}

/// Calls `visit` with every term of a text and the characters that it stands for.
pub fn each_term(text: &str, visit: &mut dyn FnMut(Layer, &str, Range<usize>)) {
    let mut cutter = cut::Cutter::new(visit);
    fold::fold(text, |letter| cutter.push(letter));
    cutter.flush();
}
