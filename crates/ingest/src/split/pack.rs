//! Neighbouring units of one section packed into passages.
//!
//! Of all ways to cut a section into runs of units within the budget, the one with the least cost is taken (the dynamic
//! programme of Knuth and Plass 1981 for lines): a passage costs the square of the room it leaves, which evens lengths out and
//! leaves no tiny last passage, and a cut costs more the closer the units on both sides belong together.
//! A passage runs over the end of a page only within a paragraph, a list or a table: pages are cited. One that begins within a
//! paragraph or a list repeats the last sentences of the one before, as far as the overlap and its own room allow.
//! Counts of single units add up only about to the count of their passage, so each passage is counted once more and
//! halved where it is over after all.

use super::{Budget, Gap, Pages, Piece, Unit, UnitKind};
use std::ops::Range;

/// Units in one passage, at most: bounds the programme where units count no tokens.
const MAX_UNITS: usize = 512;
/// What it costs to go on over the end of a page between paragraphs: more than any passage saves by being filled.
const NEXT_PAGE_COST: f64 = 1.0;
/// The same within a paragraph, list or table.
const NEXT_PAGE_WITHIN_COST: f64 = 0.25;

/// Passages of the units of one section, none over budget.
pub(super) fn passages(units: &[(Unit, usize)], budget: Budget<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut before, mut start) = (0, 0);
    for end in ends(units, budget.tokens) {
        let repeated = overlap(units, before..start, budget.overlap);
        let with_overlap = units.get(repeated..end).unwrap_or_default();
        if repeated < start
            && let joined = join(with_overlap)
            && budget.fits(&joined)
        {
            pieces.push(piece(joined, with_overlap));
        } else {
            push(units.get(start..end).unwrap_or_default(), budget, &mut pieces);
        }
        (before, start) = (start, end);
    }
    pieces
}

/// Where the units begin that a passage repeats of the one before it, `range`; its end if it repeats none. Never all of them.
fn overlap(units: &[(Unit, usize)], range: Range<usize>, most_tokens: usize) -> usize {
    let mut start = range.end;
    let mut tokens = 0usize;
    while start > range.start + 1 {
        let goes_on = units.get(start).is_some_and(|(unit, _)| unit.gap < Gap::Paragraph);
        let Some((unit, count)) = units.get(start - 1) else { break };
        tokens = tokens.saturating_add(*count);
        if !goes_on || unit.kind != UnitKind::Sentence || tokens > most_tokens {
            break;
        }
        start -= 1;
    }
    start
}

/// The first and the last page of units.
fn pages_of(units: &[(Unit, usize)]) -> Option<Pages> {
    let (first, last) = units.first().zip(units.last())?;
    first.0.pages.zip(last.0.pages).map(|(first, last)| (first.0, last.1))
}

fn piece(text: String, units: &[(Unit, usize)]) -> Piece {
    Piece { text, sentence: units.first().map_or(0, |(unit, _)| unit.sentence), pages: pages_of(units) }
}

/// Where each passage of the cheapest cutting ends.
fn ends(units: &[(Unit, usize)], budget: usize) -> Vec<usize> {
    // best[i]: least cost of cutting units[..i], and where its last passage begins.
    let mut best: Vec<(f64, usize)> = vec![(0.0, 0)];
    for end in 1..=units.len() {
        let mut tokens = 0usize;
        let mut joining = 0.0;
        let mut least = (f64::INFINITY, end - 1);
        for start in (end.saturating_sub(MAX_UNITS)..end).rev() {
            let Some((unit, count)) = units.get(start) else { break };
            tokens += count + unit.marker.trim().len().min(2);
            if start + 1 < end {
                joining += page_cost(units, start + 1);
            }
            if tokens > budget && start + 1 < end {
                break;
            }
            let room = 1.0 - tokens.min(budget) as f64 / budget.max(1) as f64;
            let before = best.get(start).map_or(0.0, |(cost, _)| *cost);
            let cost = before + joining + room * room + if start == 0 { 0.0 } else { cut_cost(units, start) };
            if cost < least.0 {
                least = (cost, start);
            }
        }
        best.push(least);
    }
    let mut ends = Vec::new();
    let mut end = units.len();
    while end > 0 {
        ends.push(end);
        end = best.get(end).map_or(0, |(_, start)| *start);
    }
    ends.reverse();
    ends
}

/// What it costs to keep the unit at `start` in one passage with the one before it, if a page ends between them.
fn page_cost(units: &[(Unit, usize)], start: usize) -> f64 {
    let before = start.checked_sub(1).and_then(|before| units.get(before)).and_then(|(unit, _)| unit.pages);
    match (before, units.get(start)) {
        (Some((_, end)), Some((unit, _))) if unit.pages.is_some_and(|(begin, _)| begin > end) => {
            if unit.gap >= Gap::Paragraph { NEXT_PAGE_COST } else { NEXT_PAGE_WITHIN_COST }
        }
        _ => 0.0,
    }
}

/// What it costs to begin a passage with the unit at `start`.
fn cut_cost(units: &[(Unit, usize)], start: usize) -> f64 {
    let introduces = start
        .checked_sub(1)
        .and_then(|before| units.get(before))
        .is_some_and(|(unit, _)| unit.text.ends_with(['：', ':']));
    if introduces {
        return 0.5;
    }
    match units.get(start).map(|(unit, _)| unit.gap) {
        Some(Gap::None | Gap::Space) => 0.25,
        Some(Gap::Line) => 0.08,
        _ => 0.0,
    }
}

fn push(units: &[(Unit, usize)], budget: Budget<'_>, pieces: &mut Vec<Piece>) {
    if units.is_empty() {
        return;
    }
    let joined = join(units);
    if budget.fits(&joined) {
        pieces.push(piece(joined, units));
    } else if let [(only, _)] = units {
        // Without its marker it fits: that is what was counted.
        pieces.push(piece(only.text.clone(), units));
    } else {
        let (left, right) = units.split_at(units.len() / 2);
        push(left, budget, pieces);
        push(right, budget, pieces);
    }
}

/// The units with their gaps and markers. Where all lines are indented, they are moved left together.
fn join(units: &[(Unit, usize)]) -> String {
    let indent_of = |unit: &Unit| unit.marker.len() - unit.marker.trim_start().len();
    let begins_line = |position: usize, unit: &Unit| position == 0 || unit.gap >= Gap::Line;
    let lines = units.iter().enumerate().filter(|(position, (unit, _))| begins_line(*position, unit));
    let indent = lines.map(|(_, (unit, _))| indent_of(unit)).min().unwrap_or(0);
    let mut joined = String::new();
    for (position, (unit, _)) in units.iter().enumerate() {
        if position > 0 {
            joined.push_str(unit.gap.as_str());
        }
        if begins_line(position, unit) {
            joined.push_str(unit.marker.get(indent..).unwrap_or_default());
        }
        joined.push_str(&unit.text);
    }
    joined
}
