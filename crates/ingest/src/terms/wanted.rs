//! What a query asks for by words.
//!
//! Words rank; characters that belong to no word of the query are looked for as units, inside whatever word they stand;
//! what stands in quotes (`"…"`, `“…”`, `「…」`) must be there unit by unit. A quote that is never closed holds nothing
//! together. At most [`MAX_WANTED`] terms are looked for, the first ones.

use super::{Layer, each_term, is_function_word};
use std::collections::BTreeSet;

/// Most terms of one query, phrases included.
pub const MAX_WANTED: usize = 512;
/// Opening and closing quotes.
const QUOTES: [(char, char); 5] = [('"', '"'), ('“', '”'), ('「', '」'), ('＂', '＂'), ('„', '“')];

/// The terms of a query, each once, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Words that rank.
    pub words: BTreeSet<String>,
    /// Units that rank: Han characters which belong to no word of the query.
    pub units: BTreeSet<String>,
    /// Rows of units, each of which must be there.
    pub phrases: Vec<Vec<String>>,
    /// Whether something stands outside the quotes too, as in a question that quotes a term.
    pub asks_around_phrases: bool,
}

impl Wanted {
    /// Reads a query.
    pub fn of(query: &str) -> Wanted {
        let mut wanted = Wanted::default();
        let mut in_words: Vec<std::ops::Range<usize>> = Vec::new();
        let mut units = Vec::new();
        each_term(query, &mut |layer, term, chars| match layer {
            Layer::Word => {
                if wanted.words.len() < MAX_WANTED {
                    wanted.words.insert(term.to_owned());
                }
                in_words.push(chars);
            }
            Layer::Pair if wanted.words.len() < MAX_WANTED => {
                wanted.words.insert(term.to_owned());
            }
            Layer::Pair => {}
            Layer::Unit => units.push((term.to_owned(), chars.start)),
        });
        in_words.sort_unstable_by_key(|range| range.start);
        let mut ranges = in_words.into_iter().peekable();
        let mut covered = 0;
        for (unit, at) in units {
            while let Some(range) = ranges.next_if(|range| range.start <= at) {
                covered = covered.max(range.end);
            }
            if at >= covered && wanted.units.len() < MAX_WANTED {
                wanted.units.insert(unit);
            }
        }
        let (phrases, around) = phrases(query);
        wanted.phrases = phrases;
        each_term(&around, &mut |_, _, _| wanted.asks_around_phrases = true);
        wanted
    }

    /// Whether it holds nothing but function words.
    pub fn says_nothing(&self) -> bool {
        self.words.iter().chain(&self.units).all(|term| is_function_word(term))
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.units.is_empty()
    }
}

/// The phrases of a query, and what stands around them.
fn phrases(query: &str) -> (Vec<Vec<String>>, String) {
    let mut around = String::new();
    let mut phrases: Vec<Vec<String>> = Vec::new();
    let mut room = MAX_WANTED;
    let mut rest = query;
    while let Some(start) = rest.find(|character| QUOTES.iter().any(|(open, _)| *open == character)) {
        let Some(opener) = rest.get(start..).and_then(|text| text.chars().next()) else { break };
        around.push_str(rest.get(..start).unwrap_or_default());
        // Where the quote stood, nothing grows together.
        around.push(' ');
        let inside = rest.get(start + opener.len_utf8()..).unwrap_or_default();
        let closer = QUOTES.iter().find(|(open, _)| *open == opener).map_or(opener, |(_, close)| *close);
        let Some(end) = inside.find(closer) else {
            // Never closed; another kind of quote may still stand behind it.
            rest = inside;
            continue;
        };
        let mut phrase = Vec::new();
        each_term(inside.get(..end).unwrap_or_default(), &mut |layer, term, _| {
            if layer == Layer::Unit && phrase.len() < room {
                phrase.push(term.to_owned());
            }
        });
        room -= phrase.len();
        if !phrase.is_empty() && !phrases.contains(&phrase) {
            phrases.push(phrase);
        }
        rest = inside.get(end + closer.len_utf8()..).unwrap_or_default();
    }
    around.push_str(rest);
    (phrases, around)
}
