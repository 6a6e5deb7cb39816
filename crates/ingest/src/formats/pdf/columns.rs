//! Columns: rows of pieces in the order in which a person reads them.
//!
//! A gutter is a vertical strip that neighbouring rows all leave empty. The rows between two that cross it are columns if both
//! sides read as running text: rows enough, and lines that fill their side. Tables leave strips empty as well, but their
//! cells are short; they are read row by row. The baselines of two columns need not agree: a heading of two lines in one of them
//! moves all that follows, and each row then holds a line of one side alone. Each side may have columns again.

use super::lines::{Line, Piece};

/// Narrowest gutter, in parts of the size.
const GUTTER_EM: f64 = 0.9;
/// Rows with text on both sides that make two columns.
const MIN_ROWS: usize = 4;
/// Baselines of running text lie no further apart than so many sizes.
const MAX_LEADING_EM: f64 = 2.2;
/// Part of its column that the usual line of running text fills.
const FILLED: f64 = 0.55;
/// Characters of the usual line: cells of tables have less.
const MIN_CHARACTERS: usize = 12;
/// Columns within columns.
const MAX_DEPTH: usize = 4;
/// Beyond so many rows a page is no page of text, and is read row by row.
const MAX_ROWS: usize = 5_000;

type Row = Vec<Piece>;

/// Lines in reading order; their blocks are counted from `first_block`.
pub(super) fn in_reading_order(rows: Vec<Row>, first_block: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut block = first_block;
    let depth = if rows.len() > MAX_ROWS { MAX_DEPTH } else { 0 };
    order(rows, depth, &mut block, &mut lines);
    lines
}

fn order(rows: Vec<Row>, depth: usize, block: &mut usize, lines: &mut Vec<Line>) {
    let mut rest = rows;
    while depth < MAX_DEPTH
        && let Some(zone) = first_zone(&rest)
    {
        let after = rest.split_off(zone.end);
        let columns = rest.split_off(zone.start);
        plain(rest, block, lines);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for row in columns {
            let (a, b): (Row, Row) = row.into_iter().partition(|piece| piece.right <= zone.gutter);
            left.extend(Some(a).filter(|row| !row.is_empty()));
            right.extend(Some(b).filter(|row| !row.is_empty()));
        }
        order(left, depth + 1, block, lines);
        order(right, depth + 1, block, lines);
        rest = after;
    }
    plain(rest, block, lines);
}

/// Rows as lines of one column.
fn plain(rows: Vec<Row>, block: &mut usize, lines: &mut Vec<Line>) {
    if rows.is_empty() {
        return;
    }
    let sides = rows
        .iter()
        .flatten()
        .fold((f64::MAX, f64::MIN), |(left, right), piece| (left.min(piece.left), right.max(piece.right)));
    lines.extend(rows.into_iter().map(|pieces| Line { pieces, column: sides, block: *block }));
    *block += 1;
}

/// Rows that are columns: all that lies right of the gutter is read after all that lies left of it.
struct Zone {
    start: usize,
    end: usize,
    gutter: f64,
}

fn first_zone(rows: &[Row]) -> Option<Zone> {
    let mut start = 0;
    while start < rows.len() {
        let (end, gutter) = longest_strip(rows, start);
        if let Some(gutter) = gutter
            && let Some(zone) = rows.get(start..end)
            && is_running_text(zone, gutter)
        {
            return Some(Zone { start, end, gutter });
        }
        start += 1;
    }
    None
}

/// How far rows from `start` on leave one strip empty that has text on both sides in the first of them, or in the first two; with
/// the middle of that strip.
fn longest_strip(rows: &[Row], start: usize) -> (usize, Option<f64>) {
    let mut best = (start, None);
    let Some(first) = rows.get(start) else { return best };
    let mut sides: Vec<(f64, f64)> =
        first.windows(2).filter_map(|pair| Some((pair.first()?.right, pair.last()?.left))).collect();
    if let ([alone], Some([next])) = (first.as_slice(), rows.get(start + 1).map(Vec::as_slice)) {
        let (a, b) = if alone.left < next.left { (alone, next) } else { (next, alone) };
        sides.extend((a.right < b.left).then_some((a.right, b.left)));
    }
    for (mut left, mut right) in sides {
        let mut end = start + 1;
        while let Some(row) = rows.get(end) {
            let width = GUTTER_EM * row.first().map_or(0.0, |piece| piece.size);
            let (mut from, mut to) = (left, right);
            for piece in row {
                // A piece lies on the side that leaves the wider strip.
                if (piece.left + piece.right) < (left + right) {
                    from = from.max(piece.right)
                } else {
                    to = to.min(piece.left)
                }
            }
            if to - from < width {
                break;
            }
            (left, right) = (from, to);
            end += 1;
        }
        if end > best.0 {
            best = (end, Some((left + right) / 2.0));
        }
    }
    best
}

fn is_running_text(zone: &[Row], gutter: f64) -> bool {
    let side = |is_left: bool| {
        let of_row = move |row: &Row| {
            let mut pieces = row.iter().filter(|piece| (piece.right <= gutter) == is_left);
            let first = pieces.next()?;
            let (right, characters) = pieces.fold((first.right, first.characters), |(_, count), piece| {
                (piece.right, count + piece.characters)
            });
            Some((first.left, right, characters))
        };
        zone.iter().filter_map(of_row).collect::<Vec<_>>()
    };
    stand_side_by_side(zone, gutter) && fills(side(true)) && fills(side(false))
}

/// Whether rows enough have text on both sides; or, where the baselines differ, whether lines enough of each side stand at the same
/// height, one closely below the other.
fn stand_side_by_side(zone: &[Row], gutter: f64) -> bool {
    let of = |is_left: bool| {
        let first = move |row: &Row| {
            row.iter().find(|piece| (piece.right <= gutter) == is_left).map(|p| (p.base, p.size))
        };
        zone.iter().filter_map(first).collect::<Vec<_>>()
    };
    let (left, right) = (of(true), of(false));
    if (left.len() + right.len()).saturating_sub(zone.len()) >= MIN_ROWS {
        return true;
    }
    let ([left_top, .., left_bottom], [right_top, .., right_bottom]) = (left.as_slice(), right.as_slice())
    else {
        return false;
    };
    let (top, bottom) = (left_top.0.max(right_top.0), left_bottom.0.min(right_bottom.0));
    let runs = |lines: &[(f64, f64)]| {
        let beside: Vec<_> =
            lines.iter().filter(|(base, size)| (top - size..=bottom + size).contains(base)).collect();
        let close =
            |pair: &&[&(f64, f64)]| matches!(pair, [a, b] if b.0 - a.0 <= MAX_LEADING_EM * a.1.max(b.1));
        beside.len() >= MIN_ROWS && 2 * beside.windows(2).filter(close).count() >= beside.len()
    };
    runs(&left) && runs(&right)
}

/// Whether the usual line fills its column and has as many characters as a line of text.
fn fills(mut lines: Vec<(f64, f64, usize)>) -> bool {
    let left = lines.iter().map(|line| line.0).fold(f64::MAX, f64::min);
    let right = lines.iter().map(|line| line.1).fold(f64::MIN, f64::max);
    lines.sort_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)));
    let Some(usual) = lines.get(lines.len() / 2) else { return false };
    usual.1 - usual.0 >= FILLED * (right - left) && usual.2 >= MIN_CHARACTERS
}
