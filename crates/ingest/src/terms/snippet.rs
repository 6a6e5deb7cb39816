//! The part of a text that fits a query best, with what matched marked where it stands.
//!
//! The sentence that holds the most weight of what is wanted, each term counted once; of equals the first. A long sentence is
//! cut around its first match. Invariants: the excerpt is a part of the text, character for character; highlights are ranges
//! of its characters, ordered and not touching each other.

use super::{Layer, UNIT_MARK, Wanted, each_term};
use crate::split::sentences;
use std::collections::BTreeSet;
use std::ops::Range;

/// Longest excerpt in characters.
const MAX_CHARS: usize = 240;
/// Characters shown before the first match of a sentence that is cut.
const LEAD_CHARS: usize = 40;

/// A part of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// As it stands in the text.
    pub text: String,
    /// Where it begins in the text, in characters.
    pub start: usize,
    /// What matched, as ranges of characters of the excerpt.
    pub highlights: Vec<Range<usize>>,
}

/// What matched at one place.
struct Match {
    chars: Range<usize>,
    /// The term, with its mark when it is a unit.
    term: String,
}

/// The part of `text` that fits best. `weight` says how much a term (a unit with its mark) counts; what has none is not marked.
pub fn excerpt(text: &str, wanted: &Wanted, weight: &dyn Fn(&str) -> f32) -> Excerpt {
    let matches: Vec<Match> =
        matches(text, wanted).into_iter().filter(|found| weight(&found.term) > 0.0).collect();
    let sentences = in_characters(text, sentences(text));
    let mut best: Option<(f32, Range<usize>)> = None;
    let mut next = 0;
    for sentence in sentences {
        while matches.get(next).is_some_and(|found| found.chars.start < sentence.start) {
            next += 1;
        }
        let inside = matches.iter().skip(next).take_while(|found| found.chars.start < sentence.end);
        let terms: BTreeSet<&str> = inside.map(|found| found.term.as_str()).collect();
        let score: f32 = terms.into_iter().map(weight).sum();
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, sentence));
        }
    }
    let Some((_, sentence)) = best else { return Excerpt::default() };
    let marked = merged(matches.into_iter().map(|found| found.chars).collect());
    let shown = shortened(sentence, &marked);
    let highlights = marked
        .into_iter()
        .map(|range| range.start.max(shown.start)..range.end.min(shown.end))
        .filter(|range| range.start < range.end)
        .map(|range| range.start - shown.start..range.end - shown.start)
        .collect();
    let part = text.chars().skip(shown.start).take(shown.len()).collect();
    Excerpt { text: part, start: shown.start, highlights }
}

/// Everything of the text that is wanted, in its order.
fn matches(text: &str, wanted: &Wanted) -> Vec<Match> {
    let mut found = Vec::new();
    let mut units: Vec<(String, Range<usize>)> = Vec::new();
    let keeps_units = !wanted.phrases.is_empty();
    each_term(text, &mut |layer, term, chars| match layer {
        Layer::Word | Layer::Pair if wanted.words.contains(term) => {
            found.push(Match { chars, term: term.to_owned() });
        }
        Layer::Word | Layer::Pair => {}
        Layer::Unit => {
            if wanted.units.contains(term) {
                found.push(Match { chars: chars.clone(), term: format!("{UNIT_MARK}{term}") });
            }
            if keeps_units {
                units.push((term.to_owned(), chars));
            }
        }
    });
    for phrase in &wanted.phrases {
        for row in units.windows(phrase.len()) {
            if let (true, Some((_, first)), Some((_, last))) =
                (row.iter().map(|(unit, _)| unit).eq(phrase), row.first(), row.last())
            {
                let term =
                    phrase.iter().map(|unit| format!("{UNIT_MARK}{unit}")).collect::<Vec<_>>().join(" ");
                found.push(Match { chars: first.start..last.end, term });
            }
        }
    }
    found.sort_by_key(|found| (found.chars.start, found.chars.end));
    found
}

/// Ranges that overlap or touch become one.
fn merged(ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// At most [`MAX_CHARS`] of a sentence, from a little before its first match on.
fn shortened(sentence: Range<usize>, marked: &[Range<usize>]) -> Range<usize> {
    if sentence.len() <= MAX_CHARS {
        return sentence;
    }
    let first =
        marked.iter().find(|range| range.end > sentence.start).map_or(sentence.start, |range| range.start);
    let latest = sentence.end - MAX_CHARS;
    let start = first.saturating_sub(LEAD_CHARS).clamp(sentence.start, latest);
    start..start + MAX_CHARS
}

/// Byte ranges, ordered, as ranges of characters.
fn in_characters(text: &str, ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut offsets =
        text.char_indices().map(|(offset, _)| offset).chain([text.len()]).enumerate().peekable();
    let mut character_at = |offset: usize| {
        while offsets.next_if(|(_, at)| *at < offset).is_some() {}
        offsets.peek().map_or(0, |(character, _)| *character)
    };
    ranges.into_iter().map(|range| character_at(range.start)..character_at(range.end)).collect()
}
