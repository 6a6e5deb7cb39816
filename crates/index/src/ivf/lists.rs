//! One inverted list: row numbers, and their vectors in groups of sixteen.
//!
//! Where a list has codes, a scan reads those of every row and then only the vectors of rows that may be near, so a group is
//! row after row. Where it has none (dimensions too small or large, files of old), a group is a panel of interleaved
//! rows: lane `i % 16` of panel `i / 16` is entry `i`. That gives sixteen distances without horizontal sums, and lets a scan
//! leave a panel as soon as all of it is too far. Places without an entry are zero.

use crate::file::Array;
use crate::hits::TopK;
use crate::kernels::{Kernels, PANEL_ROWS, prefetch};
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::shadow::{ListCodes, ListFrame, ListQuery, MAX_BLOCKS};

/// Blocks of codes that the first call looks at.
const FIRST_BLOCKS: usize = 4;

/// Entries of one list, in memory or in a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// Row numbers, `[len]`.
    pub(crate) ids: Array<u32>,
    /// With codes `[len / 16 rounded up][16][dim]`, without `[len / 16 rounded up][dim][16]`.
    pub(crate) vectors: Array<f32>,
    /// `None` when the index has no frame.
    pub(crate) codes: Option<ListCodes>,
}

/// What a scan of lists is about.
pub(crate) struct ListScan<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) metric: Metric,
    pub(crate) query: &'a [f32],
    pub(crate) filter: Option<&'a RowSet>,
    /// The query for the lists' codes.
    pub(crate) rounded: Option<(&'a ListFrame, ListQuery)>,
}

impl List {
    pub(crate) fn empty(with_codes: bool) -> Self {
        let codes = with_codes.then(ListCodes::empty);
        List { ids: Array::Owned(Vec::new()), vectors: Array::Owned(Vec::new()), codes }
    }

    /// Appends entries; `vector_of` gives a row's vector.
    pub(crate) fn append<'a>(
        &mut self,
        kernels: &Kernels,
        frame: Option<&ListFrame>,
        dim: usize,
        added: &[u32],
        vector_of: impl Fn(u32) -> &'a [f32],
    ) {
        let len = self.ids.as_slice().len();
        let vectors = self.vectors.to_mut();
        vectors.resize((len + added.len()).div_ceil(PANEL_ROWS) * PANEL_ROWS * dim, 0.0);
        match (&mut self.codes, frame) {
            (Some(codes), Some(frame)) => {
                for (at, &id) in (len..).zip(added) {
                    vectors[at * dim..(at + 1) * dim].copy_from_slice(vector_of(id));
                }
                codes.append(frame, kernels, len, added.iter().map(|&id| vector_of(id)));
            }
            _ => append_panels(kernels, vectors, len, dim, added, vector_of),
        }
        self.ids.to_mut().extend_from_slice(added);
    }

    /// Takes out the entries that are in `gone`; returns how many. The others keep their order.
    pub(crate) fn remove(
        &mut self,
        kernels: &Kernels,
        frame: Option<&ListFrame>,
        dim: usize,
        gone: &RowSet,
    ) -> usize {
        let ids = self.ids.as_slice();
        let kept: Vec<usize> = (0..ids.len()).filter(|&at| !gone.contains(ids[at])).collect();
        let removed = ids.len() - kept.len();
        if removed == 0 {
            return 0;
        }
        let vectors: Vec<f32> = kept.iter().flat_map(|&at| self.entry(at, dim)).collect();
        let kept: Vec<u32> = kept.into_iter().map(|at| ids[at]).collect();
        *self = List::empty(self.codes.is_some());
        let positions: Vec<u32> = (0..kept.len() as u32).collect();
        self.append(kernels, frame, dim, &positions, |at| {
            &vectors[at as usize * dim..(at as usize + 1) * dim]
        });
        self.ids = Array::Owned(kept);
        removed
    }

    /// The vector of a row, if it is in this list.
    pub(crate) fn vector_of(&self, row: u32, dim: usize) -> Option<Vec<f32>> {
        let at = self.ids.as_slice().iter().position(|&id| id == row)?;
        Some(self.entry(at, dim).collect())
    }

    pub(super) fn entry(&self, at: usize, dim: usize) -> impl Iterator<Item = f32> + '_ {
        let group = &self.vectors.as_slice()[at / PANEL_ROWS * PANEL_ROWS * dim..][..PANEL_ROWS * dim];
        let lane = at % PANEL_ROWS;
        let (first, step) = if self.codes.is_some() { (lane * dim, 1) } else { (lane, PANEL_ROWS) };
        group.iter().skip(first).step_by(step).take(dim).copied()
    }

    /// Offers every entry that may be near (and that the filter allows) to the collector.
    pub(crate) fn scan(&self, scan: &mut ListScan<'_>, collector: &mut TopK) {
        let ids = self.ids.as_slice();
        let Some(codes) = &self.codes else {
            (0..ids.len().div_ceil(PANEL_ROWS)).for_each(|panel| self.panel(scan, panel, collector));
            return;
        };
        let blocks = ids.len().div_ceil(PANEL_ROWS);
        // A few at first: the threshold falls quickly.
        let (mut at, mut step) = (0, FIRST_BLOCKS);
        let mut near = [u16::MAX; MAX_BLOCKS];
        while at < blocks {
            let end = blocks.min(at + step);
            near[..end - at].fill(u16::MAX);
            if let Some((frame, rounded)) = &mut scan.rounded {
                rounded.judge(frame, scan.kernels, codes, at..end, collector.threshold(), &mut near);
            }
            for (block, &near) in (at..end).zip(&near) {
                self.rows(scan, block, u32::from(near), collector);
            }
            at = end;
            step = (step * 2).min(MAX_BLOCKS);
        }
    }

    /// Measures those rows of a group that are `near`, four at a time.
    fn rows(&self, scan: &ListScan<'_>, block: usize, near: u32, collector: &mut TopK) {
        let ids = self.ids.as_slice();
        let ids = &ids[block * PANEL_ROWS..ids.len().min((block + 1) * PANEL_ROWS)];
        let mut mask = ((1_u32 << ids.len()) - 1) & near;
        if mask == 0 {
            return;
        }
        if let Some(filter) = scan.filter {
            mask &= lanes_in(ids, filter);
        }
        let dim = scan.query.len();
        let group = &self.vectors.as_slice()[block * PANEL_ROWS * dim..(block + 1) * PANEL_ROWS * dim];
        let (mut lanes, mut count) = ([0; PANEL_ROWS], 0);
        while mask != 0 {
            lanes[count] = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            prefetch(&group[lanes[count] * dim..(lanes[count] + 1) * dim]);
            count += 1;
        }
        for lanes in lanes[..count].chunks(4) {
            // A short last group repeats its first row; the repeats are not offered.
            let mut four = [lanes[0]; 4];
            four[..lanes.len()].copy_from_slice(lanes);
            let rows = four.map(|lane| &group[lane * dim..(lane + 1) * dim]);
            let distances = match scan.metric {
                Metric::L2 => scan.kernels.l2_4(scan.query, rows),
                Metric::InnerProduct | Metric::Cosine => scan.kernels.dot4(scan.query, rows).map(|dot| -dot),
            };
            for (&lane, distance) in lanes.iter().zip(distances) {
                collector.offer(ids[lane], distance);
            }
        }
    }

    /// Offers the entries of one panel.
    fn panel(&self, scan: &ListScan<'_>, panel: usize, collector: &mut TopK) {
        let ListScan { kernels, metric, query, filter, .. } = *scan;
        let ids = self.ids.as_slice();
        let ids = &ids[panel * PANEL_ROWS..ids.len().min((panel + 1) * PANEL_ROWS)];
        let mut allowed = (1_u32 << ids.len()) - 1;
        if let Some(filter) = filter {
            allowed &= lanes_in(ids, filter);
        }
        if allowed == 0 {
            return;
        }
        let width = query.len() * PANEL_ROWS;
        let panel = &self.vectors.as_slice()[panel * width..(panel + 1) * width];
        let limit = collector.threshold();
        let mut out = [0.0; PANEL_ROWS];
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

/// Appends rows to the panels of a list that has `len` entries; there is room for them.
fn append_panels<'a>(
    kernels: &Kernels,
    panels: &mut [f32],
    mut len: usize,
    dim: usize,
    added: &[u32],
    vector_of: impl Fn(u32) -> &'a [f32],
) {
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
}

/// A bit per id that is in the set.
fn lanes_in(ids: &[u32], set: &RowSet) -> u32 {
    ids.iter().enumerate().fold(0, |mask, (lane, &id)| mask | u32::from(set.contains(id)) << lane)
}
