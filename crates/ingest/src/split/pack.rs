//! Neighbouring units of one section packed into passages.
//!
//! Of all ways to cut a section into runs of units within the budget, the one with the least cost is taken (the dynamic
//! programme of Knuth and Plass 1981 for lines): a passage costs the square of the room it leaves, which evens lengths out and
//! leaves no tiny last passage, and a cut costs more the closer the units on both sides belong together.
//! Counts of single units add up only about to the count of their passage, so each passage is counted once more and
//! halved where it is over after all.

use super::{Budget, Gap, Piece, Unit};

/// Units in one passage, at most: bounds the programme where units count no tokens.
const MAX_UNITS: usize = 512;

/// Passages of the units of one section, none over budget.
pub(super) fn passages(units: &[(Unit, usize)], budget: Budget<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in ends(units, budget.tokens) {
        push(units.get(start..end).unwrap_or_default(), budget, &mut pieces);
        start = end;
    }
    pieces
}

/// Where each passage of the cheapest cutting ends.
fn ends(units: &[(Unit, usize)], budget: usize) -> Vec<usize> {
    // best[i]: least cost of cutting units[..i], and where its last passage begins.
    let mut best: Vec<(f64, usize)> = vec![(0.0, 0)];
    for end in 1..=units.len() {
        let mut tokens = 0usize;
        let mut least = (f64::INFINITY, end - 1);
        for start in (end.saturating_sub(MAX_UNITS)..end).rev() {
            let Some((unit, count)) = units.get(start) else { break };
            tokens += count + unit.marker.trim().len().min(2);
            if tokens > budget && start + 1 < end {
                break;
            }
            let room = 1.0 - tokens.min(budget) as f64 / budget.max(1) as f64;
            let before = best.get(start).map_or(0.0, |(cost, _)| *cost);
            let cost = before + room * room + if start == 0 { 0.0 } else { cut_cost(units, start) };
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
    let Some((first, _)) = units.first() else { return };
    let joined = join(units);
    if budget.fits(&joined) {
        pieces.push(Piece { text: joined, sentence: first.sentence });
    } else if let [(only, _)] = units {
        // Without its marker it fits: that is what was counted.
        pieces.push(Piece { text: only.text.clone(), sentence: only.sentence });
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
