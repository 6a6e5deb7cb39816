//! Measuring rows that something else has found.

use super::Coded;
use crate::codes::{BLOCK, Output};
use crate::hits::{Hits, TopK};
use crate::search::SearchParams;

impl Coded {
    /// The `k` nearest of `rows` (in one list of all rows, a scan) to a prepared query, by their codes. Rows that are not here
    /// are left out.
    pub(crate) fn measured(&self, query: &[f32], rows: &[u32], params: &SearchParams<'_>) -> Hits {
        let mut nearest = TopK::within(params.k, params.radius);
        let [list] = self.lists.as_slice() else { return Hits::new() };
        let codec = &*self.trained.codes;
        let (layout, moved) = (codec.layout(), self.trained.chain.apply(query));
        let mut scorer = codec.bind(&moved, Output::Estimate);
        let near = self.nearest_lists(&moved, 1);
        scorer.enter(self.trained.centroid(0), near.first().map_or(0.0, |hit| hit.distance));
        let (ids, bytes) = (list.ids.as_slice(), list.codes.as_slice());
        let mut out = [0.0; BLOCK];
        for &row in rows {
            let Ok(at) = ids.binary_search(&row) else { continue };
            // Entries that stand alone are measured alone; others with their block.
            let (block, lane) = (at / layout.entries, at % layout.entries);
            let count = (ids.len() - block * layout.entries).min(layout.entries);
            let bytes = &bytes[block * layout.bytes..(block + 1) * layout.bytes];
            // Without a limit: codecs that stop early at one may err, and the nearest come first here.
            let mask = scorer.score(bytes, count, f32::INFINITY, &mut out);
            if mask >> lane & 1 == 1 {
                nearest.offer(row, out[lane]);
            }
        }
        nearest.into_hits()
    }
}
