//! Which quotes and brackets belong together within one line or wrapped paragraph.
//!
//! A sentence is not ended inside a pair, since both halves would be left open. Text is written by people, so a pair counts
//! only if it closes within [`LONGEST_PAIR_CHARS`]; anything else is treated as if the mark were not there.

use super::characters::{closer_of, is_closer};

/// A quote or bracket longer than this does not hold its sentences together.
const LONGEST_PAIR_CHARS: usize = 160;
/// Openers that wait for their partner at one time; more than any real text nests, so that a line of openers stays cheap.
const MAX_OPEN: usize = 16;

/// An opening mark and its partner, by byte offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) open: usize,
    /// Offset of the closing mark.
    pub(super) close: usize,
    /// The opening mark.
    pub(super) opener: char,
}

/// The pairs of one line or paragraph.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Sorted by `close`.
    by_close: Vec<Pair>,
    /// Outermost pairs short enough to protect their inside, sorted and disjoint, as `open..end`.
    protected: Vec<(usize, usize)>,
}

impl Pairs {
    pub(super) fn find(text: &str) -> Self {
        let mut waiting: Vec<(usize, usize, char)> = Vec::new();
        let mut by_close = Vec::new();
        let mut protected: Vec<(usize, usize)> = Vec::new();
        let mut before = None;
        for (count, (offset, character)) in text.char_indices().enumerate() {
            let straight_closes = character == '"' && waiting.iter().any(|open| open.2 == '"');
            if is_closer(character)
                || straight_closes
                || character == '“' && waiting.iter().any(|w| w.2 == '„')
            {
                let partner = |opener: char| {
                    if opener == '"' { character == '"' } else { closer_of(opener) == Some(character) }
                };
                if let Some(position) = waiting.iter().rposition(|open| partner(open.2)) {
                    let (open, open_count, opener) = waiting[position];
                    waiting.truncate(position);
                    let end = offset + character.len_utf8();
                    by_close.push(Pair { open, close: offset, opener });
                    if count - open_count <= LONGEST_PAIR_CHARS {
                        while protected.last().is_some_and(|inner| inner.0 > open) {
                            protected.pop();
                        }
                        protected.push((open, end));
                    }
                }
            } else if character == '"' && !is_inch_mark(before) || closer_of(character).is_some() {
                if waiting.len() == MAX_OPEN {
                    waiting.remove(0);
                }
                waiting.push((offset, count, character));
            }
            before = Some(character);
        }
        Self { by_close, protected }
    }

    /// Whether `offset` lies within a pair that closes after it.
    pub(super) fn holds(&self, offset: usize) -> bool {
        let after = self.protected.partition_point(|pair| pair.0 < offset);
        after.checked_sub(1).and_then(|last| self.protected.get(last)).is_some_and(|pair| pair.1 > offset)
    }

    /// The pair whose closing mark stands at `offset`.
    pub(super) fn closing_at(&self, offset: usize) -> Option<Pair> {
        let position = self.by_close.binary_search_by_key(&offset, |pair| pair.close).ok()?;
        self.by_close.get(position).copied()
    }
}

/// A straight quote right after a digit measures; it does not open.
fn is_inch_mark(before: Option<char>) -> bool {
    before.is_some_and(|character| character.is_ascii_digit())
}
