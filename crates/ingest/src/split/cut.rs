//! Units that are longer than the token budget, cut where it hurts least.
//!
//! Invariant: what comes out counts no more tokens than the budget, with one exception that no cut can avoid: a single
//! character that alone counts more. The counting function is taken to grow with the text; a prefix that fits is found by
//! doubling and halving from a guess, so that no more than twice the budget is counted at a time, however long the text.

use super::characters::{is_cjk, is_clause_mark, is_closer, is_cutting_mark, is_terminal};
use super::{Budget, Unit, UnitKind};
use unicode_segmentation::GraphemeCursor;

/// No tokenizer packs more bytes than this into a token, averaged over a text: longer texts are not counted whole first.
const MOST_BYTES_PER_TOKEN: usize = 64;
/// First guess at the bytes that fill one token.
const USUAL_BYTES_PER_TOKEN: usize = 3;
/// The repeated header of a table may take this share of the budget at most.
const HEADER_SHARE: usize = 3;

/// Whether it is worth counting the whole text to see if it fits.
pub(super) fn may_fit(text: &str, budget: Budget<'_>) -> bool {
    text.len() / MOST_BYTES_PER_TOKEN <= budget.tokens
}

/// Units as they are where they fit, in pieces where not; each with its token count.
pub(super) fn fit(units: Vec<Unit>, budget: Budget<'_>) -> Vec<(Unit, usize)> {
    let mut fitted = Vec::with_capacity(units.len());
    for unit in units {
        if may_fit(&unit.text, budget) {
            let tokens = (budget.count)(&unit.text);
            if tokens <= budget.tokens {
                fitted.push((unit, tokens));
                continue;
            }
        }
        let pieces = match unit.kind {
            UnitKind::Sentence => cut(&unit.text, budget).into_iter().map(str::to_owned).collect(),
            UnitKind::Lines { header_lines } => cut_lines(&unit.text, header_lines, budget),
        };
        let mut gap = unit.gap;
        let mut marker = unit.marker;
        for text in pieces {
            let tokens = (budget.count)(&text);
            let (kind, sentence, pages) = (unit.kind, unit.sentence, unit.pages);
            fitted.push((Unit { text, kind, gap, marker, sentence, pages }, tokens));
            gap = if unit.kind == UnitKind::Sentence { super::Gap::Space } else { super::Gap::Line };
            marker = String::new();
        }
    }
    fitted
}

/// Pieces of a text, none over budget: cut after a comma if one is near the end, else at a space, else between Chinese
/// characters, else between graphemes.
pub(super) fn cut<'t>(text: &'t str, budget: Budget<'_>) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    let mut guess = budget.tokens.saturating_mul(USUAL_BYTES_PER_TOKEN).max(1);
    while !rest.is_empty() {
        let mut fitting = longest_fitting(rest, budget, guess);
        let place = loop {
            let place = if fitting == rest.len() { fitting } else { best_place(rest, fitting) };
            let one_character = rest.chars().next().map_or(0, char::len_utf8);
            // Tokens at the seam may differ from those within: what is cut off is counted again.
            if place <= one_character || budget.fits(rest.get(..place).unwrap_or_default().trim_end()) {
                break place.max(one_character);
            }
            fitting = floor_char(rest, place - place.div_ceil(4)).max(one_character);
        };
        let (piece, remainder) = rest.split_at_checked(place).unwrap_or((rest, ""));
        let piece = piece.trim_end();
        if !piece.is_empty() {
            pieces.push(piece);
        }
        guess = place;
        rest = remainder.trim_start();
    }
    pieces
}

/// Length of about the longest prefix within the budget, at a character boundary; 0 if not even one character fits.
fn longest_fitting(text: &str, budget: Budget<'_>, guess: usize) -> usize {
    /// After so many steps by proportion the rest is halved, so that the number of steps is bounded.
    const PROPORTIONAL_STEPS: usize = 3;
    let mut fits = 0;
    let mut over = None;
    let mut probe = guess;
    for step in 0.. {
        let end = floor_char(text, probe);
        let tokens = (budget.count)(text.get(..end).unwrap_or_default());
        if tokens <= budget.tokens {
            fits = end;
            // A sixteenth of slack is lost to the search for a good place anyway.
            if end == text.len() || end > 0 && tokens.saturating_mul(16) >= budget.tokens.saturating_mul(15) {
                break;
            }
        } else {
            over = Some(end);
        }
        let first_char = text.get(fits..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        let limit = over.unwrap_or(text.len() + 1);
        if fits + first_char >= limit {
            break;
        }
        let proportional = end.saturating_mul(budget.tokens) / tokens.max(1) / 32 * 31;
        let halving = over.map_or(fits.saturating_mul(2), |over| fits + (over - fits) / 2);
        let next = if step < PROPORTIONAL_STEPS { proportional } else { halving };
        let next = floor_char(text, if next > fits && next < limit { next } else { halving });
        probe = next.max(fits + first_char).min(text.len());
    }
    fits
}

/// The best place to cut within `text[..end]`, looked for in its last half.
fn best_place(text: &str, end: usize) -> usize {
    let window = text.get(..end).unwrap_or_default();
    let (mut space, mut between) = (None, None);
    let mut after = text.get(end..).and_then(|rest| rest.chars().next());
    for (offset, character) in window.char_indices().rev() {
        let place = offset + character.len_utf8();
        if place <= end / 2 {
            break;
        }
        // Nothing may begin with a comma or a closing mark, and a number keeps its points.
        let begins_well =
            after.is_none_or(|next| !is_closer(next) && !is_clause_mark(next) && !is_terminal(next));
        let splits_word = after.is_some_and(|next| !is_cjk(character) && next.is_alphanumeric());
        if begins_well && is_boundary(text, place) {
            if is_cutting_mark(character) && !splits_word {
                return place;
            }
            if character.is_whitespace() {
                space = space.or(Some(place));
            } else if is_cjk(character) || after.is_some_and(is_cjk) {
                between = between.or(Some(place));
            }
        }
        after = Some(character);
    }
    space.or(between).unwrap_or_else(|| last_boundary(text, end))
}

/// The last character boundary at or before `place`.
fn floor_char(text: &str, place: usize) -> usize {
    let mut place = place.min(text.len());
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

fn is_boundary(text: &str, place: usize) -> bool {
    GraphemeCursor::new(place, text.len(), true).is_boundary(text, 0).unwrap_or(true)
}

/// The last grapheme boundary at or before `end`; `end` itself where one grapheme is longer than that.
fn last_boundary(text: &str, end: usize) -> usize {
    if is_boundary(text, end) {
        return end;
    }
    match GraphemeCursor::new(end, text.len(), true).prev_boundary(text, 0) {
        Ok(Some(place)) if place > 0 => place,
        _ => end,
    }
}

/// Pieces of a listing or table, cut at line ends; the first `header_lines` lines open every piece where they are short.
fn cut_lines(text: &str, header_lines: usize, budget: Budget<'_>) -> Vec<String> {
    let header: Vec<&str> = text.lines().take(header_lines).collect();
    let header = header.join("\n");
    let header_tokens = if header.is_empty() { 0 } else { (budget.count)(&header) };
    let header = if header_tokens * HEADER_SHARE <= budget.tokens { header } else { String::new() };
    let skipped = if header.is_empty() { 0 } else { header_lines };

    let mut pieces = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    let mut tokens = header_tokens;
    for line in text.lines().skip(skipped) {
        let line_tokens =
            if may_fit(line, budget) { (budget.count)(line) } else { budget.tokens.saturating_add(1) };
        // One token for the line end: more than any tokenizer takes. A blank line is a good place to stop early.
        let early = line.trim().is_empty() && tokens * 3 > budget.tokens * 2;
        if !lines.is_empty() && (early || tokens + line_tokens + 1 > budget.tokens) {
            push_lines(&header, &mut lines, budget, &mut pieces);
            tokens = header_tokens;
        }
        lines.push(line);
        tokens += line_tokens + 1;
    }
    push_lines(&header, &mut lines, budget, &mut pieces);
    pieces
}

/// Joins collected lines into a piece, or into several where the sum of their counts was too hopeful.
fn push_lines(header: &str, lines: &mut Vec<&str>, budget: Budget<'_>, pieces: &mut Vec<String>) {
    let taken = std::mem::take(lines);
    let body = taken.join("\n");
    let body = body.trim_matches('\n');
    if body.trim().is_empty() {
        return;
    }
    if !header.is_empty() {
        let whole = format!("{header}\n{body}");
        if may_fit(&whole, budget) && budget.fits(&whole) {
            pieces.push(whole);
            return;
        }
    }
    if may_fit(body, budget) && budget.fits(body) {
        pieces.push(body.to_owned());
    } else if taken.len() > 1 {
        let (mut first, mut second) = (taken.clone(), Vec::new());
        second.extend(first.drain(taken.len() / 2..));
        push_lines(header, &mut first, budget, pieces);
        push_lines(header, &mut second, budget, pieces);
    } else {
        pieces.extend(cut(body, budget).into_iter().map(str::to_owned));
    }
}
