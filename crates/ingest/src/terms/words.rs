//! The words of Chinese and the stems of English.
//!
//! jieba's dictionary is part of its crate and takes a tenth of a second and some 33 MB to unpack, so it is unpacked when
//! the first Chinese text is cut ([`warm_up`] does it beforehand), never by starting the program. Its guessing of words
//! that it does not know is off: what it guesses depends on the neighbours, so that a name could be cut one way in a
//! document and another way in the query. English is stemmed by Snowball's English stemmer (Porter 2).

use jieba_rs::Jieba;
use rust_stemmers::{Algorithm, Stemmer};
use std::borrow::Cow;
use std::sync::OnceLock;

/// Shorter words are their own stems.
const SHORTEST_STEMMED: usize = 3;

fn dictionary() -> &'static Jieba {
    static DICTIONARY: OnceLock<Jieba> = OnceLock::new();
    DICTIONARY.get_or_init(Jieba::new)
}

/// Unpacks the dictionary, so that nobody waits for it later.
pub fn warm_up() {
    dictionary();
}

/// Calls `each` with begin and end, in characters, of the words of a run of Han characters: those that make up the run, and
/// before each long one the words inside it. A character that belongs to no word is a word of one.
pub(super) fn han_words(run: &str, mut each: impl FnMut(usize, usize)) {
    for token in dictionary().cut_for_search(run, false) {
        each(token.start, token.end);
    }
}

/// The stem of a folded word of the letters a to z and apostrophes; of any other word, itself.
pub(super) fn stem(word: &str) -> Cow<'_, str> {
    let is_english =
        word.len() >= SHORTEST_STEMMED && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'\'');
    if !is_english {
        return Cow::Borrowed(word);
    }
    Stemmer::create(Algorithm::English).stem(word)
}
