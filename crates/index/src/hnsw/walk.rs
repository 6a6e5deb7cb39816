//! Walking a graph: greedy descent, and the best-first beam of one level.
//!
//! The beam is one sorted array of the nearest nodes seen, until it holds `ef` that may be kept; each step expands the nearest
//! one not yet expanded, until all are. That equals the two heaps of Malkov and Yashunin's SEARCH-LAYER (arXiv 1603.09320,
//! algorithm 2), with less bookkeeping. Nodes that may not be kept are walked through; they take places in the array but do not
//! count. All unseen neighbours of a node are gathered first and their memory asked for, then measured together, so that
//! reads overlap.

use super::graph::GraphView;
use crate::hits::Hit;
use crate::row_set::RowSet;
use std::sync::Mutex;

/// One query against rows, exactly or by codes; smaller is nearer.
pub(crate) trait Distances {
    /// Asks for what [`Distances::measure`] will read of a row.
    fn prefetch(&self, row: u32);

    /// Writes the distance of each row; `out` is as long as `rows`.
    fn measure(&self, rows: &[u32], out: &mut [f32]);
}

/// Set in a beam's node number once it has been expanded ...
const EXPANDED: u64 = 1 << 31;
/// ... and when it may not be kept; so graphs hold fewer than 2^30 rows.
const PASSED: u64 = 1 << 30;
/// From this length on, a place in the beam is found by halving.
const LONG_BEAM: usize = 128;

/// Which nodes a walk may keep.
#[derive(Clone, Copy)]
pub(crate) enum Keep<'a> {
    /// Every node.
    All,
    /// Nodes that were not taken out.
    Live,
    /// Nodes of a set.
    In(&'a RowSet),
}

/// What a walk of one level is to find.
#[derive(Clone, Copy)]
pub(crate) struct Goal<'a> {
    pub(crate) level: u8,
    /// Nodes to keep.
    pub(crate) ef: usize,
    pub(crate) keep: Keep<'a>,
    /// The walk is given up after measuring this many.
    pub(crate) most_measured: usize,
}

impl Goal<'_> {
    /// [`PASSED`] for nodes that may not be kept.
    #[inline]
    fn mark(&self, graph: &GraphView<'_>, row: u32) -> u64 {
        let is_kept = match self.keep {
            Keep::All => true,
            Keep::Live => !graph.is_buried(row),
            Keep::In(rows) => rows.contains(row),
        };
        if is_kept { 0 } else { PASSED }
    }
}

/// A node of the beam as one number: its distance, as bits that sort like it, above its row.
#[inline]
fn key(row: u32, distance: f32) -> u64 {
    let bits = distance.to_bits();
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(ordered) << 32 | u64::from(row)
}

/// The distance in a key.
#[inline]
fn distance_of(key: u64) -> f32 {
    let ordered = (key >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

/// The row in a key.
#[inline]
fn row_of(key: u64) -> u32 {
    (key & !(EXPANDED | PASSED)) as u32
}

/// What one search needs, reused by the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Per row, the number of the search that saw it last.
    seen: Vec<u8>,
    search: u8,
    /// Keys of the nearest nodes, ascending.
    beam: Vec<u64>,
    /// Room for a list: the neighbours seen for the first time, their distances, the keys of those near enough.
    fresh: Vec<u32>,
    distances: Vec<f32>,
    nearer: Vec<u64>,
}

impl Scratch {
    fn begin(&mut self, graph: &GraphView<'_>) {
        if self.seen.len() < graph.len() {
            self.seen.resize(graph.len(), 0);
        }
        let links = graph.capacity(0).max(graph.capacity(1));
        if self.fresh.len() < links {
            self.fresh.resize(links, 0);
            self.distances.resize(links, 0.0);
            self.nearer.resize(links, 0);
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

    /// Gathers the neighbours not seen before, asks for their memory, then measures them; returns how many they are.
    #[inline(always)]
    fn expand(&mut self, graph: &GraphView<'_>, distances: &impl Distances, node: u32, level: u8) -> usize {
        let (seen, search) = (&mut self.seen[..], self.search);
        let fresh = &mut self.fresh[..graph.capacity(level)];
        let mut count = 0;
        // Whether a neighbour was seen is as good as random: it is counted, not branched on.
        graph.for_each_link(node, level, |link| {
            let last = std::mem::replace(&mut seen[link as usize], search);
            fresh[count] = link;
            count += usize::from(last != search);
        });
        let fresh = &fresh[..count];
        fresh.iter().for_each(|&row| distances.prefetch(row));
        let measured = &mut self.distances[..count];
        distances.measure(fresh, measured);
        count
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

/// Walks greedily from the entry down to `level`: on each level until no neighbour is nearer.
pub(crate) fn descend(
    graph: &GraphView<'_>,
    distances: &impl Distances,
    (entry, top): (u32, u8),
    level: u8,
) -> Hit {
    let mut first = [0.0];
    distances.measure(&[entry], &mut first);
    let mut nearest = Hit { row: entry, distance: first[0] };
    let mut links = Vec::with_capacity(graph.capacity(1));
    let mut measured = vec![0.0; graph.capacity(1)];
    for above in (level + 1..=top).rev() {
        loop {
            let from = nearest.row;
            links.clear();
            graph.for_each_link(from, above, |link| {
                distances.prefetch(link);
                links.push(link);
            });
            distances.measure(&links, &mut measured[..links.len()]);
            for (&row, &distance) in links.iter().zip(&measured) {
                if distance < nearest.distance {
                    nearest = Hit { row, distance };
                }
            }
            if nearest.row == from {
                break;
            }
        }
    }
    nearest
}

/// Replaces `found` by the nearest nodes that the graph leads to from `starts` and that may be kept, nearest first; false when
/// the walk was given up.
pub(crate) fn beam(
    graph: &GraphView<'_>,
    distances: &impl Distances,
    starts: &[Hit],
    goal: &Goal<'_>,
    scratch: &mut Scratch,
    found: &mut Vec<Hit>,
) -> bool {
    let Goal { level, ef, most_measured, .. } = *goal;
    scratch.begin(graph);
    scratch.beam.clear();
    for start in starts.iter().take(ef) {
        scratch.see(start.row);
        scratch.beam.push(key(start.row, start.distance) | goal.mark(graph, start.row));
    }
    scratch.beam.sort_unstable();
    let mut kept = scratch.beam.iter().filter(|&&key| key & PASSED == 0).count();
    let (mut next, mut measured) = (0, 0);
    while next < scratch.beam.len() {
        let node = row_of(scratch.beam[next]);
        scratch.beam[next] |= EXPANDED;
        let count = scratch.expand(graph, distances, node, level);
        measured += count;
        if measured > most_measured {
            return false;
        }
        let Scratch { beam, fresh, distances, nearer, .. } = scratch;
        next += 1;
        let worst = if kept == ef {
            beam.last().map_or(f32::INFINITY, |&key| distance_of(key))
        } else {
            f32::INFINITY
        };
        let mut near = 0;
        for (&row, &distance) in fresh[..count].iter().zip(&distances[..count]) {
            nearer[near] = key(row, distance);
            near += usize::from(distance < worst);
        }
        for &new in &nearer[..near] {
            let new = new | goal.mark(graph, row_of(new));
            let Some(at) = place(beam, new, ef, &mut kept) else { continue };
            if at < next {
                next = at;
                if level == 0 {
                    graph.prefetch(row_of(new));
                }
            }
        }
        while next < beam.len() && beam[next] & EXPANDED != 0 {
            next += 1;
        }
        if level == 0
            && let Some(&following) = beam.get(next + 1)
        {
            graph.prefetch(row_of(following));
        }
    }
    let kept = scratch.beam.iter().filter(|&&key| key & PASSED == 0);
    found.clear();
    found.extend(kept.map(|&key| Hit { row: row_of(key), distance: distance_of(key) }));
    true
}

/// Puts a key in its place, unless the beam is full of nearer ones, and keeps the beam at `ef` keys that count, the last of
/// them at its end; returns the place.
#[inline(always)]
fn place(beam: &mut Vec<u64>, new: u64, ef: usize, kept: &mut usize) -> Option<usize> {
    let is_full = *kept == ef;
    if is_full && beam.last().is_some_and(|&last| new >= last) {
        return None;
    }
    let counts = new & PASSED == 0;
    if is_full && counts {
        beam.pop();
    } else {
        *kept += usize::from(counts);
    }
    beam.push(new);
    let mut at = beam.len() - 1;
    if at >= LONG_BEAM {
        let place = beam[..at].partition_point(|&key| key < new);
        beam.copy_within(place..at, place + 1);
        at = place;
    } else {
        // From the far end, where most of what is let in belongs.
        while at > 0 && beam[at - 1] > new {
            beam[at] = beam[at - 1];
            at -= 1;
        }
    }
    beam[at] = new;
    if *kept == ef {
        // What does not count is of no use behind the last that does.
        while beam.last().is_some_and(|&last| last & PASSED != 0) {
            beam.pop();
        }
    }
    Some(at)
}
