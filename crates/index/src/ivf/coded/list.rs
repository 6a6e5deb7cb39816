//! One list of codes: row numbers, and the blocks of a codec.

use crate::codes::{BLOCK, Codes, Scorer};
use crate::file::Array;
use crate::row_set::RowSet;

/// Entries of one list, in memory or in a mapped file.
#[derive(Clone, Debug)]
pub(super) struct CodeList {
    /// Row numbers, `[len]`, ascending as added.
    pub(super) ids: Array<u32>,
    /// As the codec lays them out.
    pub(super) codes: Array<u8>,
}

impl CodeList {
    pub(super) fn empty() -> Self {
        CodeList { ids: Array::Owned(Vec::new()), codes: Array::Owned(Vec::new()) }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.as_slice().len()
    }

    /// Appends rows and their vectors, `[ids.len(), dim]`.
    pub(super) fn append(&mut self, codes: &dyn Codes, centroid: &[f32], ids: &[u32], vectors: &[f32]) {
        let len = self.len();
        codes.append(self.codes.to_mut(), len, centroid, vectors);
        self.ids.to_mut().extend_from_slice(ids);
    }

    /// Takes out the entries that are in `gone`; returns how many. The others keep their order.
    pub(super) fn remove(&mut self, codes: &dyn Codes, gone: &RowSet) -> usize {
        let ids = self.ids.as_slice();
        let kept: Vec<usize> = (0..ids.len()).filter(|&at| !gone.contains(ids[at])).collect();
        let removed = ids.len() - kept.len();
        if removed == 0 {
            return 0;
        }
        let (ids, bytes) = (self.ids.to_mut(), self.codes.to_mut());
        for (to, &from) in kept.iter().enumerate().filter(|(to, from)| to != *from) {
            ids[to] = ids[from];
            codes.move_entry(bytes, from, to);
        }
        ids.truncate(kept.len());
        bytes.truncate(codes.layout().bytes_of(kept.len()));
        removed
    }

    /// Position of a row, if it is in this list.
    pub(super) fn position_of(&self, row: u32) -> Option<usize> {
        self.ids.as_slice().iter().position(|&id| id == row)
    }

    /// Shows `sink` the entries of `range` (which starts at a block) whose number is at or below its limit and that `filter`
    /// allows.
    pub(super) fn scan(
        &self,
        codes: &dyn Codes,
        scorer: &mut dyn Scorer,
        range: std::ops::Range<usize>,
        filter: Option<&RowSet>,
        sink: &mut impl Sink,
    ) {
        let layout = codes.layout();
        let (ids, bytes) = (&self.ids.as_slice()[range.clone()], self.codes.as_slice());
        let bytes = &bytes[range.start / BLOCK * layout.chunk_bytes()..];
        let mut out = [0.0; BLOCK];
        for (ids, bytes) in ids.chunks(BLOCK).zip(bytes.chunks(layout.chunk_bytes())) {
            let allowed = match filter {
                Some(filter) => lanes_in(ids, filter),
                None => u32::MAX,
            };
            if allowed == 0 {
                continue;
            }
            let mut mask = scorer.score(bytes, ids.len(), sink.limit(), &mut out) & allowed;
            while mask != 0 {
                let lane = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                sink.offer(ids[lane], out[lane]);
            }
        }
    }
}

/// Takes what a scan finds.
pub(super) trait Sink {
    /// Entries above it need not be offered.
    fn limit(&self) -> f32;
    fn offer(&mut self, row: u32, distance: f32);
}

/// A bit per id that is in the set.
fn lanes_in(ids: &[u32], set: &RowSet) -> u32 {
    ids.iter().enumerate().fold(0, |mask, (lane, &id)| mask | u32::from(set.contains(id)) << lane)
}
