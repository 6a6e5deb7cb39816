//! [`RowSet`]: a set of row numbers as a bitmap, copy-on-write in chunks.
//!
//! Chunk `c` holds rows `c * 65 536 ..`: 1 024 words of 64 bits (8 KiB) and their count. A clone shares every chunk; one
//! change copies one chunk and the list of chunk pointers (1 526 of them at 100 M rows). Chunks past the end and `None`
//! hold no row.

use std::sync::Arc;

const WORDS: usize = 1024;
const ROWS_PER_CHUNK: usize = WORDS * 64;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chunk {
    words: [u64; WORDS],
    count: u32,
}

/// A set of row numbers (a bitmap), copy-on-write in chunks so that a clone plus one change is cheap at 100 M rows.
///
/// ```
/// let mut live = bilin_index::RowSet::full(5);
/// let before = live.clone();
/// assert!(live.remove(3));
/// assert_eq!(live.iter().collect::<Vec<_>>(), [0, 1, 2, 4]);
/// assert_eq!(before.count(), 5);
/// ```
#[derive(Clone, Default)]
pub struct RowSet {
    chunks: Vec<Option<Arc<Chunk>>>,
}

impl RowSet {
    /// The empty set.
    pub fn new() -> Self {
        RowSet::default()
    }

    /// Every row in `0..n`.
    pub fn full(n: usize) -> Self {
        let whole = Arc::new(Chunk { words: [u64::MAX; WORDS], count: ROWS_PER_CHUNK as u32 });
        let mut chunks = vec![Some(whole); n / ROWS_PER_CHUNK];
        let rest = n % ROWS_PER_CHUNK;
        if rest > 0 {
            let mut words = [0; WORDS];
            words[..rest / 64].fill(u64::MAX);
            if !rest.is_multiple_of(64) {
                words[rest / 64] = (1 << (rest % 64)) - 1;
            }
            chunks.push(Some(Arc::new(Chunk { words, count: rest as u32 })));
        }
        RowSet { chunks }
    }

    /// True when the set holds `row`.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        let row = row as usize;
        match self.chunks.get(row / ROWS_PER_CHUNK) {
            Some(Some(chunk)) => chunk.words[row % ROWS_PER_CHUNK / 64] >> (row % 64) & 1 == 1,
            _ => false,
        }
    }

    /// Which of the sixteen rows from `start` on, a multiple of sixteen, are in the set; a bit each.
    #[inline]
    pub(crate) fn sixteen(&self, start: usize) -> u16 {
        debug_assert!(start.is_multiple_of(16));
        match self.chunks.get(start / ROWS_PER_CHUNK) {
            Some(Some(chunk)) => (chunk.words[start % ROWS_PER_CHUNK / 64] >> (start % 64)) as u16,
            _ => 0,
        }
    }

    /// Adds `row`; `false` when it was there already.
    pub fn insert(&mut self, row: u32) -> bool {
        if self.contains(row) {
            return false;
        }
        let at = row as usize / ROWS_PER_CHUNK;
        if at >= self.chunks.len() {
            self.chunks.resize(at + 1, None);
        }
        let chunk = self.chunks[at].get_or_insert_with(|| Arc::new(Chunk { words: [0; WORDS], count: 0 }));
        let chunk = Arc::make_mut(chunk);
        chunk.words[row as usize % ROWS_PER_CHUNK / 64] |= 1 << (row % 64);
        chunk.count += 1;
        true
    }

    /// Takes `row` out; `false` when it was not there.
    pub fn remove(&mut self, row: u32) -> bool {
        if !self.contains(row) {
            return false;
        }
        let slot = &mut self.chunks[row as usize / ROWS_PER_CHUNK];
        if let Some(shared) = slot {
            let chunk = Arc::make_mut(shared);
            chunk.words[row as usize % ROWS_PER_CHUNK / 64] &= !(1 << (row % 64));
            chunk.count -= 1;
            if chunk.count == 0 {
                *slot = None;
            }
        }
        true
    }

    /// Takes out every row in `start..end`.
    pub fn remove_range(&mut self, start: usize, end: usize) {
        let end = end.min(self.chunks.len() * ROWS_PER_CHUNK);
        let mut row = start;
        while row < end {
            let next = (row / ROWS_PER_CHUNK + 1) * ROWS_PER_CHUNK;
            if row.is_multiple_of(ROWS_PER_CHUNK) && next <= end {
                self.chunks[row / ROWS_PER_CHUNK] = None;
            } else {
                for row in row..next.min(end) {
                    self.remove(row as u32);
                }
            }
            row = next;
        }
    }

    /// Number of rows in the set.
    pub fn count(&self) -> usize {
        self.chunks.iter().flatten().map(|chunk| chunk.count as usize).sum()
    }

    /// True when the set is empty.
    pub fn is_empty(&self) -> bool {
        self.chunks.iter().all(Option::is_none)
    }

    /// Rows in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter_range(0, usize::MAX)
    }

    /// Rows in `start..end`, ascending.
    pub(crate) fn iter_range(&self, start: usize, end: usize) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().enumerate().skip(start / ROWS_PER_CHUNK).flat_map(move |(at, chunk)| {
            let base = at * ROWS_PER_CHUNK;
            let words: &[u64] = match chunk {
                Some(chunk) if base < end => &chunk.words,
                _ => &[],
            };
            let first = start.saturating_sub(base) / 64;
            words.iter().enumerate().skip(first).flat_map(move |(word, &bits)| {
                let base = base + word * 64;
                let mut bits = if base < start { bits & (u64::MAX << (start - base)) } else { bits };
                std::iter::from_fn(move || {
                    let row = base + bits.trailing_zeros() as usize;
                    (bits != 0 && row < end).then(|| {
                        bits &= bits - 1;
                        row as u32
                    })
                })
            })
        })
    }

    /// Rows in both sets.
    pub fn intersect(&self, other: &RowSet) -> RowSet {
        self.combine(other, |a, b| a & b)
    }

    /// Rows of this set that are not in `other`.
    pub fn subtract(&self, other: &RowSet) -> RowSet {
        self.combine(other, |a, b| a & !b)
    }

    /// Word-wise combination with an operator for which `0 op b = 0`.
    fn combine(&self, other: &RowSet, operator: impl Fn(u64, u64) -> u64) -> RowSet {
        let combine_chunk = |(at, chunk): (usize, &Option<Arc<Chunk>>)| {
            let mine = chunk.as_ref()?;
            let theirs = other.chunks.get(at).and_then(Option::as_ref);
            let mut words = [0; WORDS];
            for (i, word) in words.iter_mut().enumerate() {
                *word = operator(mine.words[i], theirs.map_or(0, |theirs| theirs.words[i]));
            }
            let count = words.iter().map(|word| word.count_ones()).sum();
            match count {
                0 => None,
                // Nothing went away: share the chunk instead of a copy of it.
                _ if count == mine.count => Some(mine.clone()),
                _ => Some(Arc::new(Chunk { words, count })),
            }
        };
        RowSet { chunks: self.chunks.iter().enumerate().map(combine_chunk).collect() }
    }

    /// Rows of this set in `start..end` counted.
    pub fn count_range(&self, start: u32, end: u32) -> usize {
        if start >= end {
            return 0;
        }
        let (start, end) = (start as usize, end as usize);
        let mut total = 0;
        for (at, chunk) in self.chunks.iter().enumerate().skip(start / ROWS_PER_CHUNK) {
            let base = at * ROWS_PER_CHUNK;
            if base >= end {
                break;
            }
            let Some(chunk) = chunk else { continue };
            let (from, to) = (start.saturating_sub(base), (end - base).min(ROWS_PER_CHUNK));
            if from == 0 && to == ROWS_PER_CHUNK {
                total += chunk.count as usize;
                continue;
            }
            for word in from / 64..to.div_ceil(64) {
                let mut bits = chunk.words[word];
                if word == from / 64 {
                    bits &= u64::MAX << (from % 64);
                }
                if (word + 1) * 64 > to {
                    bits &= u64::MAX >> (64 - to % 64);
                }
                total += bits.count_ones() as usize;
            }
        }
        total
    }
}

impl FromIterator<u32> for RowSet {
    fn from_iter<T: IntoIterator<Item = u32>>(rows: T) -> Self {
        let mut set = RowSet::new();
        for row in rows {
            set.insert(row);
        }
        set
    }
}

impl PartialEq for RowSet {
    fn eq(&self, other: &Self) -> bool {
        self.count() == other.count() && self.iter().eq(other.iter())
    }
}

impl Eq for RowSet {}

impl std::fmt::Debug for RowSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowSet {{ count: {} }}", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_sorted_set(
            n in 0_usize..70_000,
            changes in prop::collection::vec((any::<bool>(), 0_u32..200_000), 0..80),
            other in prop::collection::vec(0_u32..200_000, 0..80),
            (start, end) in (0_u32..200_000, 0_u32..200_000),
        ) {
            let mut set = RowSet::full(n);
            let mut model: BTreeSet<u32> = (0..n as u32).collect();
            let before = set.clone();
            for (is_insert, row) in changes {
                if is_insert {
                    prop_assert_eq!(set.insert(row), model.insert(row));
                } else {
                    prop_assert_eq!(set.remove(row), model.remove(&row));
                }
                prop_assert_eq!(set.contains(row), model.contains(&row));
            }
            prop_assert_eq!(set.count(), model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(before.count(), n);
            let expected = if start < end { model.range(start..end).count() } else { 0 };
            prop_assert_eq!(set.count_range(start, end), expected);
            let base = start as usize / 16 * 16;
            let sixteen = (0..16).fold(0, |bits, i| bits | u16::from(model.contains(&((base + i) as u32))) << i);
            prop_assert_eq!(set.sixteen(base), sixteen);
            let range = if start < end { model.range(start..end).copied().collect() } else { vec![] };
            prop_assert_eq!(set.iter_range(start as usize, end as usize).collect::<Vec<_>>(), range);
            let others: BTreeSet<u32> = other.iter().copied().collect();
            let other: RowSet = other.into_iter().collect();
            prop_assert!(set.intersect(&other).iter().eq(model.intersection(&others).copied()));
            prop_assert!(set.subtract(&other).iter().eq(model.difference(&others).copied()));
            prop_assert_eq!(set.subtract(&other).count(), model.difference(&others).count());
            set.remove_range(start as usize, end as usize);
            model.retain(|row| !(start..end).contains(row));
            prop_assert_eq!(set.count(), model.len());
            prop_assert!(set.iter().eq(model.iter().copied()));
        }
    }
}
