//! Line ends: which of them end a sentence, and which only wrap a long line.
//!
//! A line end ends a sentence, as headings, verses and list items need it. But much English text (and older Chinese) is
//! hard-wrapped at some column, and there a sentence goes on over line ends. A line end is taken for a wrap only where
//! either the line is long and the next begins with a small Latin letter or a mark that begins none, or the text's paragraphs are visibly filled to a
//! column and the next line's first word would not have fitted before it.

use super::characters::{
    columns, is_cjk, is_clause_mark, is_closer, is_line_end, is_strong_terminal, joins_without_space,
};
use std::borrow::Cow;
use std::ops::Range;

/// Narrowest and widest column that text is wrapped at by hand or by an editor.
const WRAP_COLUMNS: std::ops::RangeInclusive<usize> = 60..=120;
/// A line shorter than this is not wrapped, whatever follows.
const SHORTEST_WRAPPED_COLUMNS: usize = 50;
/// Filled lines that make a text a hard-wrapped one.
const MIN_FILLED_LINES: usize = 3;
/// The longest lines of paragraphs wrapped at one column differ by up to so many columns.
const RAGGED_COLUMNS: usize = 6;
/// How far a line may stick out: a mark that may not begin a line is kept on the one before.
const HANGING_COLUMNS: usize = 2;

/// One physical line, trimmed.
#[derive(Debug)]
struct Line {
    range: Range<usize>,
    columns: usize,
}

/// Ranges of text whose inner line ends are only wraps; blank lines are in none.
pub(super) fn groups(text: &str) -> Vec<Range<usize>> {
    let lines = physical_lines(text);
    let wrap_column = wrap_column(text, &lines);
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut previous: Option<&Line> = None;
    for line in &lines {
        if line.range.is_empty() {
            previous = None;
            continue;
        }
        match (previous, groups.last_mut()) {
            (Some(before), Some(group)) if is_wrap(text, before, line, wrap_column) => {
                group.end = line.range.end
            }
            _ => groups.push(line.range.clone()),
        }
        previous = Some(line);
    }
    groups
}

/// The text of a sentence with its wraps undone. A line end beside a line of mere marks (a rule under a heading) stays.
pub(super) fn unwrapped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_line_end) {
        return Cow::Borrowed(text);
    }
    let mut joined = String::with_capacity(text.len());
    let has_word = |line: &str| line.contains(char::is_alphanumeric);
    let mut words_before = false;
    for line in text.split(is_line_end).map(str::trim).filter(|line| !line.is_empty()) {
        let words = has_word(line);
        if let (Some(before), Some(after)) = (joined.chars().next_back(), line.chars().next()) {
            // A stop that alone was wrapped belongs to the line before.
            let ends_line = is_closer(after) || is_strong_terminal(after);
            if (!words || !words_before) && !ends_line {
                joined.push('\n');
            } else if !joins_without_space(before, after) {
                joined.push(' ');
            }
        }
        joined.push_str(line);
        words_before = words;
    }
    Cow::Owned(joined)
}

fn physical_lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    for raw in text.split_inclusive(is_line_end) {
        // "\r\n" is one line end, not a blank line.
        if raw != "\n" || !text.get(..start).is_some_and(|before| before.ends_with('\r')) {
            let trimmed = raw.trim();
            let offset = start + (raw.len() - raw.trim_start().len());
            let indent =
                if trimmed.is_empty() { 0 } else { raw.chars().take_while(|c| c.is_whitespace()).count() };
            lines.push(Line {
                range: offset..offset + trimmed.len(),
                columns: indent + trimmed.chars().map(columns).sum::<usize>(),
            });
        }
        start += raw.len();
    }
    lines
}

/// The column that the text is hard-wrapped at, if it is: the one that most paragraphs of three lines and more fill.
fn wrap_column(text: &str, lines: &[Line]) -> Option<usize> {
    let mut votes = [0usize; *WRAP_COLUMNS.end() + 1];
    for paragraph in lines.split(|line| line.range.is_empty()) {
        let widest = paragraph.iter().map(|line| line.columns).max().unwrap_or(0);
        let mut pairs = paragraph.iter().zip(paragraph.iter().skip(1));
        let filled = paragraph.len() > 2 && pairs.all(|(line, next)| is_filled(text, line, next, widest));
        if filled && let Some(vote) = votes.get_mut(widest) {
            *vote += paragraph.len() - 1;
        }
    }
    let score = |column: usize| -> usize {
        votes.get(column - RAGGED_COLUMNS..=column).unwrap_or_default().iter().sum()
    };
    let best = WRAP_COLUMNS.rev().max_by_key(|&column| score(column))?;
    (score(best) >= MIN_FILLED_LINES).then_some(best)
}

/// Whether the first word of `next` would not have fitted on `line`.
fn is_filled(text: &str, line: &Line, next: &Line, column: usize) -> bool {
    let word: usize =
        match text.get(next.range.clone()).and_then(|next| next.chars().next().map(|c| (c, next))) {
            // A mark that may not begin a line drags the character before it along.
            Some((first, _)) if is_cjk(first) => 4,
            Some((_, next)) => 1 + next.chars().take_while(|&c| !c.is_whitespace() && !is_cjk(c)).count(),
            None => 0,
        };
    line.columns >= SHORTEST_WRAPPED_COLUMNS
        && line.columns <= column + HANGING_COLUMNS
        && line.columns + word > column
        && !text.get(next.range.clone()).is_some_and(begins_item)
}

fn is_wrap(text: &str, line: &Line, next: &Line, wrap_column: Option<usize>) -> bool {
    let (Some(before), Some(after)) = (text.get(line.range.clone()), text.get(next.range.clone())) else {
        return false;
    };
    if line.columns < SHORTEST_WRAPPED_COLUMNS || before.ends_with(['：', ':', '；']) || begins_item(after)
    {
        return false;
    }
    let goes_on = |c: char| {
        c.is_ascii_lowercase() || is_closer(c) || is_strong_terminal(c) || is_clause_mark(c) && c != '—'
    };
    if after.starts_with(goes_on) && line.columns <= *WRAP_COLUMNS.end() {
        return true;
    }
    wrap_column.is_some_and(|column| is_filled(text, line, next, column))
}

/// Whether a line begins a list item, a rule, a quotation or a table row rather than going on with a sentence.
fn begins_item(line: &str) -> bool {
    let mut characters = line.chars();
    match characters.next() {
        Some(
            '-'
            | '*'
            | '+'
            | '•'
            | '·'
            | '○'
            | '●'
            | '◆'
            | '■'
            | '□'
            | '>'
            | '|'
            | '#'
            | '='
            | '~'
            | '_'
            | '─'..='╿',
        ) => true,
        Some(first) if first.is_ascii_digit() => {
            let after = line.trim_start_matches(|c: char| c.is_ascii_digit());
            after.starts_with([')', '）', '、', '．']) || after.starts_with(". ")
        }
        Some('(' | '（') => {
            let inner =
                characters.as_str().trim_start_matches(|c: char| c.is_numeric() || c.is_ascii_alphabetic());
            inner.starts_with([')', '）']) && characters.as_str().len() - inner.len() <= 6
        }
        Some(_) => line.chars().nth(1) == Some('、'),
        None => false,
    }
}
