//! Line ends: which of them end a sentence, and which only wrap a long line.
//!
//! A line end ends a sentence, as headings, verses and list items need it. But much English text (and older Chinese) is
//! hard-wrapped at some column, and there a sentence goes on over line ends. A line end is taken for a wrap only where
//! either the line is long and the next begins with a small Latin letter, or the whole text is visibly filled to a column
//! and the next line's first word would not have fitted.

use super::characters::{columns, is_cjk, is_line_end, joins_without_space};
use std::borrow::Cow;
use std::ops::Range;

/// Narrowest and widest column that text is wrapped at by hand or by an editor.
const WRAP_COLUMNS: std::ops::RangeInclusive<usize> = 60..=120;
/// A line shorter than this is not wrapped, whatever follows.
const SHORTEST_WRAPPED_COLUMNS: usize = 50;
/// Filled lines that make a text a hard-wrapped one.
const MIN_FILLED_LINES: usize = 3;

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
            if !words || !words_before {
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

/// The column that the text is hard-wrapped at, if it is.
fn wrap_column(text: &str, lines: &[Line]) -> Option<usize> {
    let mut widths: Vec<usize> = lines.iter().map(|line| line.columns).filter(|&width| width > 0).collect();
    widths.sort_unstable();
    // A few lines may stick out: addresses that cannot be wrapped.
    let column = *widths.get((widths.len() * 98 / 100).min(widths.len().saturating_sub(1)))?;
    if !WRAP_COLUMNS.contains(&column) {
        return None;
    }
    let (mut followed, mut filled) = (0usize, 0usize);
    for pair in lines.windows(2) {
        if let [line, next] = pair
            && !line.range.is_empty()
            && !next.range.is_empty()
        {
            followed += 1;
            filled += usize::from(is_filled(text, line, next, column));
        }
    }
    (filled >= MIN_FILLED_LINES && filled * 2 >= followed).then_some(column)
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
    line.columns >= SHORTEST_WRAPPED_COLUMNS && line.columns + word > column
}

fn is_wrap(text: &str, line: &Line, next: &Line, wrap_column: Option<usize>) -> bool {
    let (Some(before), Some(after)) = (text.get(line.range.clone()), text.get(next.range.clone())) else {
        return false;
    };
    if line.columns < SHORTEST_WRAPPED_COLUMNS || before.ends_with(['：', ':', '；']) || begins_item(after)
    {
        return false;
    }
    if after.starts_with(|c: char| c.is_ascii_lowercase()) && line.columns <= *WRAP_COLUMNS.end() {
        return true;
    }
    wrap_column.is_some_and(|column| is_filled(text, line, next, column))
}

/// Whether a line begins a list item, a rule, a quotation or a table row rather than going on with a sentence.
fn begins_item(line: &str) -> bool {
    let mut characters = line.chars();
    match characters.next() {
        Some(
            '-' | '*' | '+' | '•' | '·' | '○' | '●' | '◆' | '■' | '□' | '>' | '|' | '#' | '=' | '~' | '_',
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
