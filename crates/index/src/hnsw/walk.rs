//! Searching a graph: greedy descent, the best-first beam of one level, and the filtered variant.
//!
//! The beam is one sorted array of the `ef` nearest nodes seen; each step expands the nearest one not yet expanded, until
//! all are. That equals the two heaps of Malkov and Yashunin's SEARCH-LAYER (arXiv 1603.09320, algorithm 2), with less
//! bookkeeping. All unseen neighbours of a node are gathered first and their vectors asked for, then measured four at a time,
//! so that memory reads overlap.

use super::graph::{GraphView, NONE};
use crate::hits::{Hit, Ranked, TopK};
use crate::kernels::{Kernels, prefetch};
use crate::row_set::RowSet;
use crate::rows::RowView;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Mutex;

/// Measures one query against rows.
pub(crate) struct Measure<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) view: &'a RowView<'a>,
    pub(crate) query: &'a [f32],
    pub(crate) is_l2: bool,
}

impl Measure<'_> {
    #[inline]
    pub(crate) fn one(&self, row: u32) -> f32 {
        if self.is_l2 {
            self.kernels.l2(self.query, self.view.row(row))
        } else {
            -self.kernels.dot(self.query, self.view.row(row))
        }
    }

    #[inline]
    pub(crate) fn four(&self, rows: [u32; 4]) -> [f32; 4] {
        let vectors = rows.map(|row| self.view.row(row));
        if self.is_l2 {
            return self.kernels.l2_4(self.query, vectors);
        }
        self.kernels.dot4(self.query, vectors).map(|dot| -dot)
    }

    /// Calls `each` with every row and its distance, measured four at a time.
    #[inline]
    pub(crate) fn all(&self, rows: &[u32], mut each: impl FnMut(u32, f32)) {
        let mut fours = rows.chunks_exact(4);
        for four in &mut fours {
            let four = [four[0], four[1], four[2], four[3]];
            for (row, distance) in four.into_iter().zip(self.four(four)) {
                each(row, distance);
            }
        }
        for &row in fours.remainder() {
            each(row, self.one(row));
        }
    }
}

/// Set in a beam's node number once it has been expanded; so graphs hold fewer than 2^31 rows.
const EXPANDED: u32 = 1 << 31;

/// What one search needs, reused by the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Per row, the number of the search that saw it last.
    seen: Vec<u8>,
    search: u8,
    beam: Vec<Hit>,
    fresh: Vec<u32>,
}

impl Scratch {
    fn begin(&mut self, rows: usize) {
        if self.seen.len() != rows {
            self.seen.clear();
            self.seen.resize(rows, 0);
            self.search = 0;
        }
        if self.search == u8::MAX {
            self.seen.fill(0);
            self.search = 0;
        }
        self.search += 1;
    }

    /// True the first time in this search.
    #[inline]
    fn see(&mut self, row: u32) -> bool {
        std::mem::replace(&mut self.seen[row as usize], self.search) != self.search
    }

    /// Gathers the neighbours not seen before and asks for their vectors.
    #[inline]
    fn gather(&mut self, graph: &GraphView<'_>, view: &RowView<'_>, node: u32, level: u8) {
        self.fresh.clear();
        for &link in graph.list(node, level) {
            if link == NONE {
                break;
            }
            if self.see(link) {
                prefetch(view.row(link));
                self.fresh.push(link);
            }
        }
    }
}

/// Scratch memory for as many searches as run at once.
#[derive(Debug, Default)]
pub(crate) struct ScratchPool {
    free: Mutex<Vec<Scratch>>,
}

impl ScratchPool {
    /// Runs `search` with scratch memory from the pool.
    pub(crate) fn with<R>(&self, search: impl FnOnce(&mut Scratch) -> R) -> R {
        // A poisoned pool only holds scratch memory, which every search begins by resetting.
        let lock = || self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut scratch = lock().pop().unwrap_or_default();
        let result = search(&mut scratch);
        lock().push(scratch);
        result
    }
}

/// Walks greedily from `start` on `level` until no neighbour is nearer; returns the node reached and its distance.
pub(crate) fn descend(graph: &GraphView<'_>, measure: &Measure<'_>, start: Hit, level: u8) -> Hit {
    let mut nearest = start;
    let mut links = Vec::with_capacity(32);
    loop {
        let from = nearest;
        links.clear();
        links.extend(graph.links(from.row, level));
        links.iter().for_each(|&link| prefetch(measure.view.row(link)));
        measure.all(&links, |row, distance| {
            if distance < nearest.distance {
                nearest = Hit { row, distance };
            }
        });
        if nearest.row == from.row {
            return nearest;
        }
    }
}

/// The `ef` nearest nodes of `level` that the graph leads to from `starts`, nearest first, in `scratch`'s beam.
pub(crate) fn beam<'s>(
    graph: &GraphView<'_>,
    measure: &Measure<'_>,
    starts: &[Hit],
    level: u8,
    ef: usize,
    scratch: &'s mut Scratch,
) -> &'s [Hit] {
    scratch.begin(graph.levels.len());
    scratch.beam.clear();
    for start in starts.iter().take(ef) {
        scratch.see(start.row);
        scratch.beam.push(*start);
    }
    scratch.beam.sort_unstable_by_key(|&hit| Ranked(hit));
    let mut next = 0;
    while next < scratch.beam.len() {
        let node = scratch.beam[next].row;
        scratch.beam[next].row |= EXPANDED;
        scratch.gather(graph, measure.view, node, level);
        if let Some(following) = scratch.beam.get(next + 1) {
            prefetch(graph.list(following.row & !EXPANDED, level));
        }
        let mut first_new = usize::MAX;
        let Scratch { beam, fresh, .. } = scratch;
        measure.all(fresh, |row, distance| {
            let is_full = beam.len() == ef;
            if is_full && beam.last().is_some_and(|last| distance >= last.distance) {
                return;
            }
            let at = beam.partition_point(|hit| hit.distance <= distance);
            if is_full {
                beam.pop();
            }
            beam.insert(at, Hit { row, distance });
            first_new = first_new.min(at);
        });
        next = first_new.min(next + 1);
        while next < beam.len() && beam[next].row & EXPANDED != 0 {
            next += 1;
        }
    }
    scratch.beam.iter_mut().for_each(|hit| hit.row &= !EXPANDED);
    &scratch.beam
}

/// The nearest allowed nodes of level 0: nodes that are not allowed are walked through but not kept. Ends when the nearest
/// node left to expand is farther than the worst of `ef` allowed ones.
pub(crate) fn filtered(
    graph: &GraphView<'_>,
    measure: &Measure<'_>,
    start: Hit,
    ef: usize,
    allowed: &RowSet,
    scratch: &mut Scratch,
) -> TopK {
    scratch.begin(graph.levels.len());
    scratch.see(start.row);
    let mut kept = TopK::new(ef);
    if allowed.contains(start.row) {
        kept.offer(start.row, start.distance);
    }
    let mut open = BinaryHeap::from([Reverse(Ranked(start))]);
    while let Some(Reverse(Ranked(node))) = open.pop() {
        if node.distance > kept.threshold() {
            break;
        }
        scratch.gather(graph, measure.view, node.row, 0);
        measure.all(&scratch.fresh, |row, distance| {
            if distance <= kept.threshold() {
                open.push(Reverse(Ranked(Hit { row, distance })));
                if allowed.contains(row) {
                    kept.offer(row, distance);
                }
            }
        });
    }
    kept
}
