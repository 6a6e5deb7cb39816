//! Glyphs of a page as lines of text in reading order.
//!
//! Glyphs on one baseline make pieces (what no wide gap parts), pieces make rows. Where neighbouring rows leave the same
//! vertical strip empty and both sides read as running text, they are columns, read one after the other (`columns`); else the
//! pieces of a row are the cells of one line. Text that runs in another direction (a mark in the margin, vertical Chinese) is
//! turned, laid out by itself, and put after the rest.
//!
//! Lengths are in points, y downwards.

use super::columns;
use super::content::{Glyph, Shown};
use crate::split::{is_cjk, joins_without_space};

/// Gap, in parts of the size, that stands for a space between letters.
const SPACE_EM: f64 = 0.17;
/// The same beside Chinese characters, which justified lines spread.
const CJK_SPACE_EM: f64 = 0.45;
/// Gap that parts pieces of a line.
const PIECE_EM: f64 = 1.0;
/// Baselines that differ by less are one line.
const SAME_LINE_EM: f64 = 0.35;
/// Raised and lowered characters are smaller than this part of the line's size.
const SMALL: f64 = 0.85;

/// What no wide gap parts.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) base: f64,
    pub(super) size: f64,
    /// Characters in fonts whose characters are equally wide, of all.
    pub(super) fixed: usize,
    pub(super) characters: usize,
}

/// A line of the page as it is read.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// More than one where it is a row of cells.
    pub(super) pieces: Vec<Piece>,
    /// Sides of the column that it stands in.
    pub(super) column: (f64, f64),
    /// Number of the column; lines of different ones never make one paragraph by their places.
    pub(super) block: usize,
}

impl Line {
    pub(super) fn base(&self) -> f64 {
        self.pieces.first().map_or(0.0, |piece| piece.base)
    }

    pub(super) fn left(&self) -> f64 {
        self.pieces.first().map_or(0.0, |piece| piece.left)
    }

    pub(super) fn right(&self) -> f64 {
        self.pieces.last().map_or(0.0, |piece| piece.right)
    }

    /// Of most of its characters.
    pub(super) fn size(&self) -> f64 {
        self.pieces.iter().max_by_key(|piece| piece.characters).map_or(0.0, |piece| piece.size)
    }

    pub(super) fn text(&self) -> String {
        self.pieces.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn is_fixed(&self) -> bool {
        let sum = |of: fn(&Piece) -> usize| self.pieces.iter().map(of).sum::<usize>();
        sum(|piece| piece.fixed) * 10 >= sum(|piece| piece.characters) * 8
    }
}

/// The lines of a page in reading order.
pub(super) fn of_page(shown: &Shown) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for turn in 0..4 {
        let pieces = pieces(&shown.glyphs, turn);
        let block = lines.last().map_or(0, |line| line.block + 1);
        lines.extend(columns::in_reading_order(rows(pieces), block));
    }
    lines
}

/// Direction that a glyph runs in: quarter turns clockwise from left to right. Vertical text runs downwards.
fn turn_of(glyph: &Glyph) -> usize {
    let (x, y) = (glyph.to.0 - glyph.from.0, glyph.to.1 - glyph.from.1);
    match () {
        () if x.abs() >= y.abs() && x >= 0.0 => 0,
        () if x.abs() >= y.abs() => 2,
        () if y > 0.0 => 1,
        () => 3,
    }
}

/// A point as it stands when the page is turned so that text of this direction runs to the right.
fn turned((x, y): (f64, f64), turn: usize) -> (f64, f64) {
    match turn {
        0 => (x, y),
        1 => (y, -x),
        2 => (-x, -y),
        _ => (-y, x),
    }
}

/// The glyphs of one direction, joined to pieces in the order in which the page shows them.
fn pieces(glyphs: &[Glyph], turn: usize) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut pending_space = false;
    for glyph in glyphs.iter().filter(|glyph| turn_of(glyph) == turn) {
        let (from, to) = (turned(glyph.from, turn), turned(glyph.to, turn));
        if glyph.text.trim().is_empty() {
            pending_space |= !glyph.text.is_empty();
            continue;
        }
        let joined = pieces.last_mut().is_some_and(|last| last.take(glyph, from, to, pending_space));
        pending_space = false;
        if !joined {
            pieces.push(Piece::of(glyph, from, to));
        }
    }
    pieces
}

impl Piece {
    fn of(glyph: &Glyph, from: (f64, f64), to: (f64, f64)) -> Self {
        let characters = glyph.text.chars().count();
        Self {
            text: glyph.text.trim_end().into(),
            left: from.0,
            right: to.0,
            base: from.1,
            size: glyph.size,
            fixed: if glyph.is_fixed { characters } else { 0 },
            characters,
        }
    }

    /// Takes a glyph that goes on with the piece; false where it does not.
    fn take(&mut self, glyph: &Glyph, from: (f64, f64), to: (f64, f64), spaced: bool) -> bool {
        let size = self.size.max(glyph.size);
        let gap = from.0 - self.right;
        if (from.1 - self.base).abs() > 0.1 * size || gap > PIECE_EM * size || gap < -0.5 * size {
            return false;
        }
        if glyph.size < SMALL * self.size || self.size < SMALL * glyph.size {
            return false;
        }
        // The same glyph once more at the same place: bold by printing twice.
        if to.0 <= self.right + 0.05 * size && gap < -0.3 * size && self.text.ends_with(&*glyph.text) {
            return true;
        }
        push_joined(&mut self.text, &glyph.text, gap, size, spaced);
        let characters = glyph.text.chars().count();
        self.characters += characters;
        self.fixed += if glyph.is_fixed { characters } else { 0 };
        self.right = self.right.max(to.0);
        true
    }

    /// Puts another piece of the same line behind this one.
    fn append(&mut self, next: Self) {
        push_joined(&mut self.text, &next.text, next.left - self.right, self.size.min(next.size), false);
        if next.characters > self.characters {
            (self.size, self.base) = (next.size, next.base);
        }
        self.characters += next.characters;
        self.fixed += next.fixed;
        self.right = self.right.max(next.right);
        self.left = self.left.min(next.left);
    }
}

/// Appends text that stands `gap` further on, with a space where that is wide enough for one.
fn push_joined(text: &mut String, next: &str, gap: f64, size: f64, spaced: bool) {
    if let (Some(before), Some(after)) = (text.chars().next_back(), next.chars().next()) {
        let wide = match (is_cjk(before), is_cjk(after)) {
            (true, true) => gap > 1.2 * size || spaced && gap > SPACE_EM * size,
            (false, false) => gap > SPACE_EM * size || spaced,
            _ => gap > CJK_SPACE_EM * size || spaced,
        };
        let glued = joins_without_space(before, after) && !spaced && gap < 1.2 * size;
        if wide && !glued && !before.is_whitespace() && !after.is_whitespace() {
            text.push(' ');
        }
    }
    text.push_str(next);
}

/// Pieces by their baselines, top down; the pieces of a row from left to right, those that no wide gap parts joined.
fn rows(mut pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    pieces.sort_by(|a, b| a.base.total_cmp(&b.base));
    let mut rows: Vec<Vec<Piece>> = Vec::new();
    // Raised and lowered pieces are put to the row of larger ones that they touch.
    let (mut small, mut plain) = (Vec::new(), Vec::new());
    let usual = usual_size(&pieces);
    for piece in pieces {
        if piece.size < SMALL * usual && piece.characters <= 12 {
            small.push(piece)
        } else {
            plain.push(piece)
        }
    }
    for piece in plain {
        match rows.last_mut() {
            Some(row) if is_same_line(row, &piece) => row.push(piece),
            _ => rows.push(vec![piece]),
        }
    }
    for piece in small {
        let bases = |row: &Vec<Piece>| row.first().map_or(0.0, |first| first.base);
        let near = rows.partition_point(|row| bases(row) < piece.base - piece.size);
        let touched = rows.iter_mut().skip(near.saturating_sub(1)).take(4).find(|row| {
            row.iter().any(|other| {
                (other.base - piece.base).abs() < 0.6 * other.size
                    && piece.left < other.right + 0.5 * other.size
                    && piece.right > other.left - 0.5 * other.size
            })
        });
        match touched {
            Some(row) => row.push(piece),
            None => {
                let at = rows.partition_point(|row| bases(row) <= piece.base);
                match at.checked_sub(1).and_then(|above| rows.get_mut(above)) {
                    Some(row) if is_same_line(row, &piece) => row.push(piece),
                    _ => rows.insert(at, vec![piece]),
                }
            }
        }
    }
    rows.into_iter().map(joined).collect()
}

fn is_same_line(row: &[Piece], piece: &Piece) -> bool {
    row.last().is_some_and(|last| (piece.base - last.base).abs() < SAME_LINE_EM * last.size.min(piece.size))
}

/// The size of most characters.
pub(super) fn usual_size(pieces: &[Piece]) -> f64 {
    let mut sizes: Vec<(f64, usize)> = pieces.iter().map(|piece| (piece.size, piece.characters)).collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = sizes.iter().map(|(_, characters)| characters).sum::<usize>() / 2;
    let mut before = 0;
    for (size, characters) in sizes {
        before += characters;
        if before > half {
            return size;
        }
    }
    0.0
}

fn joined(mut row: Vec<Piece>) -> Vec<Piece> {
    row.sort_by(|a, b| a.left.total_cmp(&b.left));
    let mut parts: Vec<Piece> = Vec::new();
    for piece in row {
        match parts.last_mut() {
            Some(last) if piece.left - last.right <= PIECE_EM * last.size.max(piece.size) => {
                last.append(piece)
            }
            _ => parts.push(piece),
        }
    }
    parts
}
