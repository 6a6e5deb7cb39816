//! Sentences of Chinese and English text.
//!
//! Invariants: the ranges are in order, disjoint, trimmed and not blank, and together hold every non-blank character of the
//! text. Chinese ends at 。！？； and …… in full or half width, English at . ! ? before a space; closing quotes and brackets
//! stay with their sentence; nothing ends inside a pair that closes soon (see `pairs`). One pass, linear time.
//!
//! The English rules follow what sentence splitters for English agree on (Kiss and Strunk 2006 name the cases):
//! abbreviations, initials, numbers, ellipses, and the small letter that says that the sentence goes on.

use super::characters::{
    is_bracket_opener, is_cjk, is_cjk_letter, is_clause_mark, is_closer, is_strong_terminal, is_terminal,
    is_title_opener,
};
use super::pairs::Pairs;
use super::{english, lines};
use std::ops::Range;

/// Sentences of a text as byte ranges.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for group in lines::groups(text) {
        let Some(slice) = text.get(group.clone()) else { continue };
        for sentence in sentences_of_group(slice) {
            found.push(group.start + sentence.start..group.start + sentence.end);
        }
    }
    without_bare_marks(text, found)
}

/// Whether a sentence is nothing but the number of a note, set right behind the one that ends at `end`: `。[1]`.
fn refers_from(end: usize, range: &Range<usize>, text: &str) -> bool {
    let number = text.get(range.clone()).and_then(|text| text.strip_prefix('[')?.strip_suffix(']'));
    range.start == end && number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// A run of mere marks (a rule, a row of stars) is nothing to search for: it stays with the sentence before it.
fn without_bare_marks(text: &str, found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
    let mut last_is_bare = false;
    for range in found {
        let bare = !text.get(range.clone()).is_some_and(|sentence| sentence.contains(char::is_alphanumeric));
        match merged.last_mut() {
            Some(last) if bare || last_is_bare || refers_from(last.end, &range, text) => {
                last.end = range.end;
                last_is_bare &= bare;
            }
            _ => {
                merged.push(range);
                last_is_bare = bare;
            }
        }
    }
    merged
}

/// Terminals with the closing marks that belong to them.
struct Run {
    /// Offset of the first terminal.
    start: usize,
    /// Offset after the last character of the run.
    end: usize,
    /// The terminal that decides.
    last: char,
    /// How many terminals stood before the first closing mark.
    terminals: usize,
    /// Offset of the closing mark that ends the run, if one does.
    closer: Option<usize>,
    /// All terminals are ellipsis marks.
    ellipsis: bool,
}

fn sentences_of_group(text: &str) -> Vec<Range<usize>> {
    let pairs = Pairs::find(text);
    let mut found = Vec::new();
    let mut start = 0;
    let mut offset = 0;
    while let Some(character) = text.get(offset..).and_then(|rest| rest.chars().next()) {
        if !is_terminal(character) {
            offset += character.len_utf8();
            continue;
        }
        let run = run_at(text, offset, &pairs);
        offset = run.end;
        if ends_sentence(text, start, &run, &pairs) {
            push_trimmed(text, start..run.end, &mut found);
            start = run.end;
        }
    }
    push_trimmed(text, start..text.len(), &mut found);
    found
}

fn push_trimmed(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let Some(slice) = text.get(range.clone()) else { return };
    let trimmed = slice.trim();
    if !trimmed.is_empty() {
        let start = range.start + (slice.len() - slice.trim_start().len());
        found.push(start..start + trimmed.len());
    }
}

fn run_at(text: &str, start: usize, pairs: &Pairs) -> Run {
    let mut run = Run { start, end: start, last: '.', terminals: 0, closer: None, ellipsis: true };
    for (offset, character) in text.get(start..).unwrap_or_default().char_indices() {
        let offset = start + offset;
        if is_terminal(character) {
            run.last = character;
            run.ellipsis &= matches!(character, '…' | '⋯');
            if run.closer.is_none() {
                run.terminals += 1;
            }
            run.closer = None;
        } else if is_closer(character) || is_straight_closer(text, offset, character, pairs) {
            run.closer = Some(offset);
        } else {
            break;
        }
        run.end = offset + character.len_utf8();
    }
    run
}

fn is_straight_closer(text: &str, offset: usize, character: char, pairs: &Pairs) -> bool {
    match character {
        '"' => pairs.closing_at(offset).is_some(),
        '\'' => text
            .get(offset + 1..)
            .and_then(|rest| rest.chars().next())
            .is_none_or(|next| next.is_whitespace()),
        _ => false,
    }
}

/// Whether the sentence that began at `start` ends with `run`.
fn ends_sentence(text: &str, start: usize, run: &Run, pairs: &Pairs) -> bool {
    if pairs.holds(run.end) {
        return false;
    }
    let after = text.get(run.end..).unwrap_or_default();
    let Some(next) = after.chars().next() else { return true };
    if is_clause_mark(next) {
        return false;
    }
    if let Some(closer) = run.closer
        && !closer_may_end(text, start, run, closer, next, pairs)
    {
        return false;
    }
    let before = text.get(..run.start).and_then(|before| before.chars().next_back());
    let spaced = next.is_whitespace();
    let beyond = after.chars().find(|character| !character.is_whitespace());
    let goes_on_small = beyond.is_some_and(char::is_lowercase);
    if run.ellipsis {
        return ellipsis_ends(text, start, run, next, spaced && !goes_on_small);
    }
    match run.last {
        strong if is_strong_terminal(strong) => true,
        // A run that mixes an ellipsis with something else.
        '…' | '⋯' => is_cjk(next) || spaced && !goes_on_small,
        '!' | '?' => {
            before.is_some_and(is_cjk) && !spaced
                || is_cjk(next)
                || spaced && !goes_on_small
                || run.closer.is_some() && !spaced && !next.is_ascii()
        }
        ';' => {
            before.is_some_and(is_cjk_letter)
                || beyond.is_some_and(is_cjk) && !english::is_entity(text, run.start)
        }
        '．' => !before.is_some_and(char::is_numeric),
        _ => dot_ends(text, start, run, before, next, beyond),
    }
}

/// A closing mark after the terminal: speech ends a sentence, a remark or a title within one does not.
fn closer_may_end(text: &str, start: usize, run: &Run, closer: usize, next: char, pairs: &Pairs) -> bool {
    let Some(pair) = pairs.closing_at(closer) else { return true };
    if is_title_opener(pair.opener) {
        return false;
    }
    let Some(lead) = text.get(start..pair.open) else { return true };
    let Some(lead) = lead.trim_end().chars().next_back() else { return true };
    if is_bracket_opener(pair.opener) {
        return next.is_whitespace() && !is_cjk_letter(lead);
    }
    let introduced = is_clause_mark(lead) || is_closer(lead) || is_terminal(lead) || lead == '"';
    // An exclamation quoted in the middle of a sentence (他大喊“救命！”的时候) goes on; a full stop does not.
    introduced || matches!(run.last, '。' | '｡' | '.') || next.is_whitespace()
}

fn ellipsis_ends(text: &str, start: usize, run: &Run, next: char, spaced: bool) -> bool {
    /// Fewer characters than this before an ellipsis are a stammer or a leading ellipsis (我……我不知道).
    const MIN_CHARS: usize = 3;
    /// How far to look for them.
    const LOOK_CHARS: usize = 32;
    let lead = text.get(start..run.start).unwrap_or_default();
    let enough = lead.chars().take(LOOK_CHARS).filter(|c| c.is_alphanumeric()).count() >= MIN_CHARS
        || lead.len() > 4 * LOOK_CHARS;
    // 苹果、香蕉……等 goes on.
    enough && (spaced || run.terminals >= 2 && next != '等' && !next.is_ascii_lowercase())
}

fn dot_ends(
    text: &str,
    start: usize,
    run: &Run,
    before: Option<char>,
    next: char,
    beyond: Option<char>,
) -> bool {
    let spaced = next.is_whitespace();
    if !spaced {
        // README.中, 图1.结果: only a word before the dot makes it a full stop.
        let word_before = before.is_some_and(|c| c.is_alphabetic() || is_cjk(c) || is_closer(c));
        return is_cjk(next) && (word_before || run.closer.is_some()) && run.terminals == 1;
    }
    if beyond.is_some_and(char::is_lowercase) {
        return false;
    }
    if run.terminals > 1 || run.closer.is_some() || before.is_some_and(is_cjk) {
        return true;
    }
    !english::is_enumerator(text, start, run.start)
        && !english::is_abbreviation(text, run.start, text.get(run.end..).unwrap_or_default().trim_start())
}

#[cfg(test)]
mod tests;
