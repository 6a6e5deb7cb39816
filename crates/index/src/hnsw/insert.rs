//! Inserting rows into a graph, many at a time, with the same result for any number of threads.
//!
//! Rows are inserted in batches. Each row of a batch looks for its neighbours in the graph as it was before the batch, and
//! among the rows of its own batch exactly (by register tiles, which costs little next to a graph search); so nothing is
//! missed by inserting side by side. Then links back are gathered, sorted, and each touched list is rewritten by one thread.
//! No locks, no order that depends on timing (the idea of deterministic batch insertion: Dobson et al. 2023, "ParlayANN").
//!
//! Neighbours are chosen by the heuristic of Malkov and Yashunin (arXiv 1603.09320, algorithm 4): a candidate is taken unless
//! one taken before is nearer to it than the new row is.

use super::graph::Graph;
use super::walk::{Measure, ScratchPool, beam, descend};
use crate::exact::Scan;
use crate::hits::{Hit, Ranked};
use crate::kernels::Kernels;
use crate::metric::Metric;
use crate::rows::{RowChunks, RowStore, RowView};
use rayon::prelude::*;

/// Rows inserted side by side.
pub(crate) const BATCH_ROWS: usize = 1024;
/// Neighbours that a row looks for within its own batch.
const IN_BATCH_NEIGHBOURS: usize = 32;

/// What an insertion needs besides the graph.
pub(crate) struct Inserter<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) view: &'a RowView<'a>,
    pub(crate) is_l2: bool,
    pub(crate) dim: usize,
    pub(crate) ef_construction: usize,
    pub(crate) pool: &'a ScratchPool,
}

/// A link to be written back: from `target` on `level` to `source`.
#[derive(Clone, Copy)]
struct BackLink {
    level: u8,
    target: u32,
    source: Hit,
}

impl<'a> Inserter<'a> {
    fn measure(&'a self, row: u32) -> Measure<'a> {
        Measure { kernels: self.kernels, view: self.view, query: self.view.row(row), is_l2: self.is_l2 }
    }

    /// Links `batch`, rows that the graph already has room for but no links of.
    pub(crate) fn insert(&self, graph: &mut Graph, batch: &[u32]) {
        let top = batch.iter().map(|&row| graph.levels.as_slice()[row as usize]).max().unwrap_or(0);
        let beside: Vec<Vec<Vec<Hit>>> = (0..top).map(|level| self.within(graph, batch, level)).collect();
        let chosen: Vec<Vec<Vec<Hit>>> =
            batch.par_iter().enumerate().map(|(i, &row)| self.neighbours(graph, row, i, &beside)).collect();
        let mut back = Vec::new();
        for (&row, levels) in batch.iter().zip(&chosen) {
            for (level, neighbours) in levels.iter().enumerate() {
                let level = level as u8;
                let links: Vec<u32> = neighbours.iter().map(|hit| hit.row).collect();
                graph.set_links(row, level, &links);
                back.extend(neighbours.iter().map(|hit| {
                    let source = Hit { row, distance: hit.distance };
                    BackLink { level, target: hit.row, source }
                }));
            }
        }
        back.sort_unstable_by_key(|link| (link.level, link.target, Ranked(link.source)));
        let groups: Vec<&[BackLink]> =
            back.chunk_by(|a, b| (a.level, a.target) == (b.level, b.target)).collect();
        let lists: Vec<Vec<u32>> = groups.par_iter().map(|group| self.linked_back(graph, group)).collect();
        for (group, links) in groups.iter().zip(lists) {
            graph.set_links(group[0].target, group[0].level, &links);
        }
        self.raise_entry(graph, batch);
    }

    /// For each row of the batch, its nearest rows of the batch on `level`; empty for rows that are not on it.
    fn within(&self, graph: &Graph, batch: &[u32], level: u8) -> Vec<Vec<Hit>> {
        let levels = graph.levels.as_slice();
        let members: Vec<usize> = (0..batch.len()).filter(|&i| levels[batch[i] as usize] > level).collect();
        let mut vectors = Vec::with_capacity(members.len() * self.dim);
        for &i in &members {
            vectors.extend_from_slice(self.view.row(batch[i]));
        }
        let mut nearest = vec![Vec::new(); batch.len()];
        let Ok(rows) = RowChunks::from_vec(vectors.clone(), self.dim) else { return nearest };
        let metric = if self.is_l2 { Metric::L2 } else { Metric::InnerProduct };
        let scan = Scan { store: &RowStore::new(rows), metric, filter: None, kernels: self.kernels };
        let found = scan.search(&vectors, 0..members.len(), IN_BATCH_NEIGHBOURS + 1, None);
        for (hits, &i) in found.into_iter().zip(&members) {
            let others = hits.into_iter().map(|hit| Hit { row: batch[members[hit.row as usize]], ..hit });
            nearest[i] = others.filter(|hit| hit.row != batch[i]).collect();
        }
        nearest
    }

    /// The links of a new row, per level from 0 up.
    fn neighbours(
        &self,
        graph: &Graph,
        row: u32,
        in_batch: usize,
        beside: &[Vec<Vec<Hit>>],
    ) -> Vec<Vec<Hit>> {
        let view = graph.view();
        let measure = self.measure(row);
        let row_levels = view.levels[row as usize];
        let mut chosen = vec![Vec::new(); usize::from(row_levels)];
        let mut starts: Vec<Hit> = Vec::new();
        let top = view.entry().map(|(entry, top)| {
            let mut start = Hit { row: entry, distance: measure.one(entry) };
            for level in (row_levels..=top).rev() {
                start = descend(&view, &measure, start, level);
            }
            starts.push(start);
            top
        });
        for level in (0..row_levels).rev() {
            let mut candidates = beside[usize::from(level)][in_batch].clone();
            if top.is_some_and(|top| level <= top) {
                self.pool.with(|scratch| {
                    let found = beam(&view, &measure, &starts, level, self.ef_construction, scratch);
                    candidates.extend_from_slice(found);
                    starts.clear();
                    starts.extend_from_slice(found);
                });
            }
            candidates.sort_unstable_by_key(|&hit| Ranked(hit));
            chosen[usize::from(level)] = self.select(&candidates, graph.capacity(level));
        }
        chosen
    }

    /// Algorithm 4: of candidates, nearest first, at most `limit` that are nearer to the base than to each other.
    fn select(&self, candidates: &[Hit], limit: usize) -> Vec<Hit> {
        let mut taken: Vec<Hit> = Vec::with_capacity(limit);
        for &candidate in candidates {
            if taken.len() == limit {
                break;
            }
            let measure = self.measure(candidate.row);
            let is_crowded = taken.chunks(4).any(|group| match *group {
                [a, b, c, d] => {
                    measure.four([a.row, b.row, c.row, d.row]).iter().any(|&other| other < candidate.distance)
                }
                _ => group.iter().any(|hit| measure.one(hit.row) < candidate.distance),
            });
            if !is_crowded {
                taken.push(candidate);
            }
        }
        taken
    }

    /// The list of `group`'s target with its new links; chosen anew when it would overflow.
    fn linked_back(&self, graph: &Graph, group: &[BackLink]) -> Vec<u32> {
        let BackLink { level, target, .. } = group[0];
        let view = graph.view();
        let mut links: Vec<u32> = view.links(target, level).collect();
        let old = links.len();
        for link in group {
            if !links[..old].contains(&link.source.row) {
                links.push(link.source.row);
            }
        }
        if links.len() <= graph.capacity(level) {
            return links;
        }
        let mut candidates: Vec<Hit> = Vec::with_capacity(links.len());
        self.measure(target).all(&links, |row, distance| candidates.push(Hit { row, distance }));
        candidates.sort_unstable_by_key(|&hit| Ranked(hit));
        self.select(&candidates, graph.capacity(level)).into_iter().map(|hit| hit.row).collect()
    }

    fn raise_entry(&self, graph: &mut Graph, batch: &[u32]) {
        let levels = graph.levels.as_slice();
        let top = graph.view().entry().map_or(0, |(entry, _)| levels[entry as usize]);
        // The first of the highest, so that the choice is fixed.
        let highest = batch.iter().copied().max_by_key(|&row| (levels[row as usize], std::cmp::Reverse(row)));
        if let Some(row) = highest.filter(|&row| levels[row as usize] > top) {
            graph.entry = row;
        }
    }
}
