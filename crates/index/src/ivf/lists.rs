//! One inverted list: row numbers, and their vectors in panels of sixteen interleaved rows.
//!
//! Lane `i % 16` of panel `i / 16` is the vector of the list's entry `i`; lanes without an entry are zero. Interleaved rows
//! give sixteen distances without horizontal sums, and let a scan leave a panel as soon as all of it is too far.

use crate::file::Array;
use crate::hits::TopK;
use crate::kernels::{Kernels, PANEL_ROWS};
use crate::metric::Metric;
use crate::row_set::RowSet;

/// Entries of one list, in memory or in a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// Row numbers, `[len]`.
    pub(crate) ids: Array<u32>,
    /// `[len / 16 rounded up][dim][16]`.
    pub(crate) panels: Array<f32>,
}

impl List {
    pub(crate) fn empty() -> Self {
        List { ids: Array::Owned(Vec::new()), panels: Array::Owned(Vec::new()) }
    }

    /// Appends entries; `vector_of` gives a row's vector.
    pub(crate) fn append<'a>(
        &mut self,
        kernels: &Kernels,
        dim: usize,
        added: &[u32],
        vector_of: impl Fn(u32) -> &'a [f32],
    ) {
        let mut len = self.ids.as_slice().len();
        let panels = self.panels.to_mut();
        panels.resize((len + added.len()).div_ceil(PANEL_ROWS) * PANEL_ROWS * dim, 0.0);
        // The last panel may have free lanes; whole panels follow, packed at once.
        let free = added.len().min(len.next_multiple_of(PANEL_ROWS) - len);
        let (into_free, rest) = added.split_at(free);
        for &id in into_free {
            let panel = &mut panels[len / PANEL_ROWS * PANEL_ROWS * dim..][..PANEL_ROWS * dim];
            for (column, &value) in panel.chunks_exact_mut(PANEL_ROWS).zip(vector_of(id)) {
                column[len % PANEL_ROWS] = value;
            }
            len += 1;
        }
        let mut scratch = Vec::with_capacity(PANEL_ROWS * dim);
        for group in rest.chunks(PANEL_ROWS) {
            scratch.clear();
            group.iter().for_each(|&id| scratch.extend_from_slice(vector_of(id)));
            kernels.pack(&scratch, dim, &mut panels[len * dim..][..PANEL_ROWS * dim]);
            len += group.len();
        }
        self.ids.to_mut().extend_from_slice(added);
    }

    /// Takes out the entries that are in `gone`; returns how many. The others keep their order.
    pub(crate) fn remove(&mut self, kernels: &Kernels, dim: usize, gone: &RowSet) -> usize {
        let ids = self.ids.as_slice();
        let kept: Vec<usize> = (0..ids.len()).filter(|&at| !gone.contains(ids[at])).collect();
        let removed = ids.len() - kept.len();
        if removed == 0 {
            return 0;
        }
        let vectors: Vec<f32> = kept.iter().flat_map(|&at| self.entry(at, dim)).collect();
        let kept: Vec<u32> = kept.into_iter().map(|at| ids[at]).collect();
        *self = List::empty();
        let positions: Vec<u32> = (0..kept.len() as u32).collect();
        self.append(kernels, dim, &positions, |at| &vectors[at as usize * dim..(at as usize + 1) * dim]);
        self.ids = Array::Owned(kept);
        removed
    }

    /// The vector of a row, if it is in this list.
    pub(crate) fn vector_of(&self, row: u32, dim: usize) -> Option<Vec<f32>> {
        let at = self.ids.as_slice().iter().position(|&id| id == row)?;
        Some(self.entry(at, dim).collect())
    }

    pub(super) fn entry(&self, at: usize, dim: usize) -> impl Iterator<Item = f32> + '_ {
        let panel = &self.panels.as_slice()[at / PANEL_ROWS * PANEL_ROWS * dim..][..PANEL_ROWS * dim];
        panel.iter().skip(at % PANEL_ROWS).step_by(PANEL_ROWS).copied()
    }

    /// Offers every entry (that `filter` allows) to the collector.
    pub(crate) fn scan(
        &self,
        kernels: &Kernels,
        metric: Metric,
        query: &[f32],
        filter: Option<&RowSet>,
        collector: &mut TopK,
    ) {
        let mut out = [0.0; PANEL_ROWS];
        let panels = self.panels.as_slice().chunks_exact(query.len() * PANEL_ROWS);
        for (ids, panel) in self.ids.as_slice().chunks(PANEL_ROWS).zip(panels) {
            let mut allowed = (1_u32 << ids.len()) - 1;
            if let Some(filter) = filter {
                allowed = lanes_in(ids, filter);
                if allowed == 0 {
                    continue;
                }
            }
            let limit = collector.threshold();
            let within = match metric {
                Metric::L2 => kernels.panel_l2(query, panel, limit, &mut out),
                Metric::InnerProduct | Metric::Cosine => kernels.panel_dot(query, panel, limit, &mut out),
            };
            let mut mask = within & allowed;
            while mask != 0 {
                let lane = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let distance = if metric == Metric::L2 { out[lane] } else { -out[lane] };
                collector.offer(ids[lane], distance);
            }
        }
    }
}

/// A bit per id that is in the set.
fn lanes_in(ids: &[u32], set: &RowSet) -> u32 {
    ids.iter().enumerate().fold(0, |mask, (lane, &id)| mask | u32::from(set.contains(id)) << lane)
}
