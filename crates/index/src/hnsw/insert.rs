//! Inserting rows into a graph, many at a time, with the same result for any number of threads.
//!
//! Rows are inserted in batches. Each row of a batch looks for its neighbours in the graph as it was before the batch, and
//! among the rows of its own batch exactly (by register tiles, which costs little next to a graph search); so nothing is
//! missed by inserting side by side. Then links back are gathered, sorted, and each touched list is rewritten by one thread.
//! No locks, no order that depends on timing (the idea of deterministic batch insertion: Dobson et al. 2023, "ParlayANN").
//!
//! Neighbours are chosen by the heuristic of Malkov and Yashunin (arXiv 1603.09320, algorithm 4): a candidate is taken unless
//! one taken before is nearer to it than the new row is.

use super::codes::CodeView;
use super::graph::Graph;
use super::measure::Measure;
use super::walk::{Distances, Goal, Keep, ScratchPool, beam, descend};
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

/// A list gets at least this part of its capacity, candidates permitting.
const FEWEST_LINKS_PART: usize = 4;

/// What an insertion needs besides the graph.
pub(crate) struct Inserter<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) view: &'a RowView<'a>,
    pub(crate) is_l2: bool,
    pub(crate) dim: usize,
    pub(crate) ef_construction: usize,
    /// True when links may lead to rows that were taken out.
    pub(crate) has_tombstones: bool,
    pub(crate) pool: &'a ScratchPool,
    /// Codes to walk by, when the index keeps them.
    pub(crate) codes: Option<&'a CodeView<'a>>,
}

/// A link to be written back: from `target` on `level` to `source`.
#[derive(Clone, Copy)]
pub(super) struct BackLink {
    pub(super) level: u8,
    pub(super) target: u32,
    pub(super) source: Hit,
}

impl<'a> Inserter<'a> {
    fn measure(&'a self, row: u32) -> Measure<'a> {
        Measure { kernels: self.kernels, view: self.view, query: self.view.row(row), is_l2: self.is_l2 }
    }

    /// Links `batch`, rows that the graph already has room for but no links of.
    pub(crate) fn insert(&self, graph: &mut Graph, batch: &[u32]) {
        let top = batch.iter().map(|&row| graph.view().levels_of(row)).max().unwrap_or(0);
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
        self.link_back(graph, back);
        self.raise_entry(graph, batch);
    }

    /// Adds links back to the lists of their targets.
    pub(super) fn link_back(&self, graph: &mut Graph, mut back: Vec<BackLink>) {
        back.sort_unstable_by_key(|link| (link.level, link.target, Ranked(link.source)));
        let groups: Vec<&[BackLink]> =
            back.chunk_by(|a, b| (a.level, a.target) == (b.level, b.target)).collect();
        let lists: Vec<Vec<u32>> = groups.par_iter().map(|group| self.linked_back(graph, group)).collect();
        for (group, links) in groups.iter().zip(lists) {
            graph.set_links(group[0].target, group[0].level, &links);
        }
    }

    /// For each row of the batch, its nearest rows of the batch on `level`; empty for rows that are not on it.
    fn within(&self, graph: &Graph, batch: &[u32], level: u8) -> Vec<Vec<Hit>> {
        let view = graph.view();
        let members: Vec<usize> = (0..batch.len()).filter(|&i| view.levels_of(batch[i]) > level).collect();
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
        let levels = graph.view().levels_of(row);
        let mut candidates: Vec<Vec<Hit>> =
            (0..usize::from(levels)).map(|level| beside[level][in_batch].clone()).collect();
        match self.codes {
            Some(codes) => self.walk(graph, &codes.query(self.view.row(row)), row, &mut candidates),
            None => self.walk(graph, &self.measure(row), row, &mut candidates),
        }
        let select = |(level, mut candidates): (usize, Vec<Hit>)| {
            candidates.sort_unstable_by_key(|&hit| Ranked(hit));
            self.select(&candidates, graph.capacity(level as u8))
        };
        candidates.into_iter().enumerate().map(select).collect()
    }

    /// Adds to the `candidates` of each level what the graph leads to, with exact distances.
    fn walk(&self, graph: &Graph, distances: &impl Distances, row: u32, candidates: &mut [Vec<Hit>]) {
        let view = graph.view();
        let Some((entry, top)) = view.entry() else { return };
        let levels = candidates.len() as u8;
        let mut starts = vec![descend(&view, distances, (entry, top), levels.saturating_sub(1).min(top))];
        let (mut rows, mut found) = (Vec::new(), Vec::new());
        let keep = if self.has_tombstones { Keep::Live } else { Keep::All };
        for level in (0..levels.min(top + 1)).rev() {
            let goal = Goal { level, ef: self.ef_construction, keep, most_measured: usize::MAX };
            self.pool.with(|scratch| beam(&view, distances, &starts, &goal, scratch, &mut found));
            // A row that is linked again may have found itself.
            found.retain(|hit| hit.row != row);
            if found.is_empty() {
                continue;
            }
            std::mem::swap(&mut starts, &mut found);
            let candidates = &mut candidates[usize::from(level)];
            if self.codes.is_none() {
                candidates.extend_from_slice(&starts);
                continue;
            }
            rows.clear();
            rows.extend(starts.iter().map(|hit| hit.row));
            candidates.extend(self.measured(row, &rows));
        }
    }

    /// Exact distances of `rows` from `base`.
    pub(super) fn measured(&self, base: u32, rows: &[u32]) -> Vec<Hit> {
        let exact = self.measure(base);
        rows.iter().for_each(|&row| exact.prefetch(row));
        let mut distances = vec![0.0; rows.len()];
        exact.measure(rows, &mut distances);
        rows.iter().zip(distances).map(|(&row, distance)| Hit { row, distance }).collect()
    }

    /// Algorithm 4: of candidates, nearest first, at most `limit` that are nearer to the base than to each other; where those are
    /// very few, the nearest of the others as well.
    pub(super) fn select(&self, candidates: &[Hit], limit: usize) -> Vec<Hit> {
        let (mut taken, mut crowded) = (Vec::<Hit>::with_capacity(limit), Vec::new());
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
            if is_crowded {
                crowded.push(candidate);
            } else {
                taken.push(candidate);
            }
        }
        // One row in the middle of all others crowds out every other link; a few more keep the graph in one piece.
        let fewest = limit / FEWEST_LINKS_PART;
        let missing = fewest.saturating_sub(taken.len());
        taken.extend(crowded.into_iter().take(missing));
        taken
    }

    /// The list of `group`'s target with its new links; chosen anew when it would overflow.
    fn linked_back(&self, graph: &Graph, group: &[BackLink]) -> Vec<u32> {
        let BackLink { level, target, .. } = group[0];
        let mut links = graph.view().links(target, level);
        let old = links.len();
        for link in group {
            if !links[..old].contains(&link.source.row) {
                links.push(link.source.row);
            }
        }
        if links.len() <= graph.capacity(level) {
            return links;
        }
        let mut candidates = self.measured(target, &links);
        candidates.sort_unstable_by_key(|&hit| Ranked(hit));
        self.select(&candidates, graph.capacity(level)).into_iter().map(|hit| hit.row).collect()
    }

    fn raise_entry(&self, graph: &mut Graph, batch: &[u32]) {
        let view = graph.view();
        let top = view.entry().map_or(0, |(entry, _)| view.levels_of(entry));
        // The first of the highest, so that the choice is fixed.
        let highest = batch.iter().copied().max_by_key(|&row| (view.levels_of(row), std::cmp::Reverse(row)));
        if let Some(row) = highest.filter(|&row| view.levels_of(row) > top) {
            graph.entry = row;
        }
    }
}
