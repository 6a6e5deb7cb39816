//! Taking rows out of a graph without losing the way to the others.
//!
//! A row taken out becomes a tombstone: walked through, never kept. Once there are enough of them, every list with a link to a
//! tombstone gets the tombstone's own neighbours as candidates instead and is chosen anew by the usual heuristic (the delete
//! of FreshDiskANN: Singh et al. 2021, arXiv 2105.09613); then tombstones lose their lists, and the new links are answered by
//! links back as at an insertion, without which lists would stay thin. Rows that nothing leads to afterwards are linked again as
//! if they were new. Mending costs a pass over the graph, shared by the many rows that were taken out.

use super::Hnsw;
use super::graph::{Graph, GraphView, NONE};
use super::insert::{BATCH_ROWS, BackLink, Inserter};
use crate::hits::{Hit, Ranked};
use crate::row_set::RowSet;
use rayon::prelude::*;

/// Tombstones are mended away when there is one for this many live rows.
const LIVE_PER_TOMBSTONE: usize = 8;
/// Tombstones looked through for one list.
const MAX_LOOKED_THROUGH: usize = 64;
/// Candidates, in lists full, with which the looking ends.
const CANDIDATE_LISTS: usize = 6;
/// Rounds of linking what nothing leads to.
const RELINK_ROUNDS: usize = 3;

/// A list chosen anew: node, level, links; and how to link back from those that are new.
type Mended = (u32, u8, Vec<u32>, Vec<BackLink>);

impl Hnsw {
    /// Takes rows out; returns how many were in.
    pub(super) fn take_out(&mut self, rows: &RowSet) -> usize {
        let live = self.linked.take().unwrap_or_else(|| RowSet::full(self.store.len()));
        let gone = rows.intersect(&live);
        let count = gone.count();
        let live = live.subtract(&gone);
        self.graph.bury(gone.iter());
        self.tombstones += count;
        if self.tombstones * LIVE_PER_TOMBSTONE > live.count() {
            self.linked = Some(live);
            self.mend();
        } else {
            // Nothing out yet: go on without a set.
            self.linked = (live.count() < self.store.len()).then_some(live);
        }
        count
    }

    /// Makes every list lead to live rows only.
    fn mend(&mut self) {
        self.tombstones = 0;
        self.with_inserter(|inserter, graph| {
            let mended = mended(inserter, graph);
            let mut back = Vec::new();
            for (node, level, links, new) in mended {
                graph.set_links(node, level, &links);
                back.extend(new);
            }
            graph.clear_buried();
            inserter.link_back(graph, back);
            graph.choose_entry();
            for _ in 0..RELINK_ROUNDS {
                let lost = unreached(&graph.view());
                if lost.is_empty() {
                    break;
                }
                for batch in lost.chunks(BATCH_ROWS) {
                    inserter.insert(graph, batch);
                }
            }
        });
    }
}

/// The lists that lead to tombstones, each chosen anew; in the order of nodes and levels.
fn mended(inserter: &Inserter<'_>, graph: &Graph) -> Vec<Mended> {
    let view = graph.view();
    (0..graph.len() as u32)
        .into_par_iter()
        .filter(|&node| !view.is_buried(node))
        .flat_map_iter(|node| (0..view.levels_of(node)).map(move |level| (node, level)))
        .filter_map(|(node, level)| {
            let links = view.links(node, level);
            if !links.iter().any(|&link| view.is_buried(link)) {
                return None;
            }
            let capacity = graph.capacity(level);
            let mut chosen = inserter.measured(node, &live_around(&view, node, level, &links, capacity));
            if chosen.len() > capacity {
                chosen.sort_unstable_by_key(|&hit| Ranked(hit));
                chosen = inserter.select(&chosen, capacity);
            }
            let new = chosen.iter().filter(|hit| !links.contains(&hit.row)).map(|hit| {
                let source = Hit { row: node, distance: hit.distance };
                BackLink { level, target: hit.row, source }
            });
            let new = new.collect();
            Some((node, level, chosen.iter().map(|hit| hit.row).collect(), new))
        })
        .collect()
}

/// Live neighbours of `node`, and those of the tombstones among its neighbours, through further tombstones where need be.
fn live_around(view: &GraphView<'_>, node: u32, level: u8, links: &[u32], capacity: usize) -> Vec<u32> {
    let (mut live, mut buried) = (Vec::new(), Vec::new());
    let sort = |links: &[u32], live: &mut Vec<u32>, buried: &mut Vec<u32>| {
        for &link in links {
            let group = if view.is_buried(link) { &mut *buried } else { &mut *live };
            if link != node && !group.contains(&link) {
                group.push(link);
            }
        }
    };
    sort(links, &mut live, &mut buried);
    let mut next = 0;
    while next < buried.len().min(MAX_LOOKED_THROUGH) && live.len() < CANDIDATE_LISTS * capacity {
        sort(&view.links(buried[next], level), &mut live, &mut buried);
        next += 1;
    }
    live
}

/// Live rows that no walk on level 0 from the entry comes to, ascending.
fn unreached(view: &GraphView<'_>) -> Vec<u32> {
    let mut reached = vec![false; view.len()];
    let mut waiting = Vec::new();
    if let Some((entry, _)) = view.entry() {
        reached[entry as usize] = true;
        waiting.push(entry);
    }
    while let Some(node) = waiting.pop() {
        view.for_each_link(node, 0, |link| {
            if !std::mem::replace(&mut reached[link as usize], true) {
                waiting.push(link);
            }
        });
    }
    (0..view.len() as u32).filter(|&row| !reached[row as usize] && view.is_live(row)).collect()
}

impl Graph {
    /// Marks rows as tombstones.
    fn bury(&mut self, rows: impl Iterator<Item = u32>) {
        let levels = self.levels.to_mut();
        rows.for_each(|row| levels[row as usize] |= super::graph::BURIED);
    }

    /// Empties the lists of tombstones, which no list leads to any more.
    fn clear_buried(&mut self) {
        for row in 0..self.len() as u32 {
            if self.view().is_buried(row) {
                (0..self.view().levels_of(row)).for_each(|level| self.set_links(row, level, &[]));
            }
        }
    }

    /// Makes the first of the highest live rows the entry.
    fn choose_entry(&mut self) {
        let view = self.view();
        let live = (0..self.len() as u32).filter(|&row| view.is_live(row));
        let highest = live.max_by_key(|&row| (view.levels_of(row), std::cmp::Reverse(row)));
        self.entry = highest.unwrap_or(NONE);
    }
}
