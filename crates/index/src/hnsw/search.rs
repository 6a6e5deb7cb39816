//! Answering queries: which plan, the walk, and the exact end of it.
//!
//! Plans: few allowed rows are compared exactly; more, by their codes; else the graph is walked, and given up for the scan when
//! the walk has measured as many rows as the scan would. With codes, a row is read only when its estimate, less the error that
//! an estimate may have, could still put it among the answers. Range searches double the beam until half of it is outside.

use super::Hnsw;
use super::codes::{CodeQuery, CodeView};
use super::graph::GraphView;
use super::measure::Measure;
use super::walk::{Distances, Goal, Keep, beam, descend};
use crate::exact::Scan;
use crate::flat::both;
use crate::hits::{Hit, Hits, Ranked, TopK};
use crate::kernels::kernels;
use crate::kernels::scattered::scattered_kernels;
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::RowView;
use crate::search::SearchParams;
use rayon::prelude::*;

/// Candidates kept by a search that does not say.
pub(super) const DEFAULT_EF: usize = 64;
/// Rows measured per candidate kept, seen on real data; the estimate behind [`Hnsw::is_scan_cheaper`].
const MEASURED_PER_CANDIDATE: usize = 8;
/// What measuring a row by its code costs during a walk, where a scan pays one.
const WALK_COST: usize = 3;
/// Up to this many allowed rows are compared exactly, without codes.
const EXACT_ROWS: usize = 1000;
/// Rows read together once `k` have been measured.
const ROWS_REFINED_AT_ONCE: usize = 4;
/// Rows of a scan measured together.
const ROWS_SCANNED_AT_ONCE: usize = 64;
/// Queries from which a batch is spread over threads.
const PARALLEL_FROM_QUERIES: usize = 8;

/// What a search reads, resolved once for all queries of a call.
struct Views<'a> {
    graph: GraphView<'a>,
    rows: RowView<'a>,
    codes: Option<CodeView<'a>>,
}

/// What one query asks for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    k: usize,
    ef: usize,
    radius: Option<f32>,
    /// Rows that may be found, when those are not all.
    allowed: Option<&'a RowSet>,
    /// How many those are.
    reachable: usize,
    is_filtered: bool,
}

impl Hnsw {
    /// Rows that may be among the answers of prepared queries, `[n, dim]`, found without reading full rows where there are
    /// codes: all that may be found where those are few, else the candidates of a walk.
    pub(super) fn candidates(&self, queries: &[f32], params: &SearchParams<'_>) -> Vec<Vec<u32>> {
        let dim = self.store.dim();
        let filtered = params.filter.and_then(|filter| both(self.linked.as_ref(), Some(filter)));
        let wanted = self.wanted(params, filtered.as_deref());
        let all = || match wanted.allowed {
            Some(allowed) => allowed.iter().collect(),
            None => (0..self.store.len() as u32).collect::<Vec<u32>>(),
        };
        if self.is_better_compared(&wanted) {
            return vec![all(); queries.len() / dim];
        }
        let views = self.views();
        let one = |query: &[f32]| {
            let found = match &views.codes {
                Some(codes) => {
                    let query = codes.query(query);
                    self.found(&views, &query, &wanted, |hit| query.largest_error(hit.row))
                }
                None => {
                    let is_l2 = self.metric == Metric::L2;
                    let exact = Measure { kernels: kernels(), view: &views.rows, query, is_l2 };
                    self.found(&views, &exact, &wanted, |_| 0.0)
                }
            };
            let is_short = wanted.radius.is_none() && found.len() < wanted.k;
            if is_short { all() } else { found.into_iter().map(|hit| hit.row).collect() }
        };
        if rayon::current_num_threads() == 1 || queries.len() / dim < PARALLEL_FROM_QUERIES {
            return queries.chunks_exact(dim).map(one).collect();
        }
        queries.par_chunks_exact(dim).map(one).collect()
    }

    /// What each query of a call asks for; `filtered` are the rows that a filter allows, if there is one.
    fn wanted<'a>(&'a self, params: &SearchParams<'_>, filtered: Option<&'a RowSet>) -> Wanted<'a> {
        let allowed = filtered.or(self.linked.as_ref());
        let reachable = allowed.map_or(self.store.len(), RowSet::count);
        let ef = params.ef.unwrap_or(DEFAULT_EF);
        Wanted {
            k: params.k,
            ef: if params.radius.is_some() { ef } else { ef.max(params.k) },
            radius: params.radius,
            allowed,
            reachable,
            is_filtered: filtered.is_some(),
        }
    }

    /// True when every row that may be found is to be compared, without a walk.
    fn is_better_compared(&self, wanted: &Wanted<'_>) -> bool {
        let is_all = wanted.radius.is_none() && wanted.k >= wanted.reachable;
        let is_few = wanted.is_filtered && wanted.reachable <= EXACT_ROWS;
        is_all || wanted.reachable <= wanted.ef || is_few
    }

    fn views(&self) -> Views<'_> {
        Views {
            graph: self.graph.view(),
            rows: self.store.view(),
            codes: self.codes.as_ref().map(|codes| codes.view(scattered_kernels())),
        }
    }

    /// Answers of prepared queries, `[n, dim]`.
    pub(super) fn answers(&self, queries: &[f32], params: &SearchParams<'_>) -> Vec<Hits> {
        let dim = self.store.dim();
        let filtered = params.filter.and_then(|filter| both(self.linked.as_ref(), Some(filter)));
        let wanted = self.wanted(params, filtered.as_deref());
        let allowed = wanted.allowed;
        if self.is_better_compared(&wanted) {
            return self.scan(queries, params, allowed);
        }
        let views = self.views();
        let one = |query: &[f32]| {
            let hits = self.one(&views, query, &wanted);
            // The graph may not lead to every row; whoever asks for k rows gets them.
            let is_short = wanted.radius.is_none() && hits.len() < wanted.k;
            if is_short { self.scan(query, params, allowed).remove(0) } else { hits }
        };
        if rayon::current_num_threads() == 1 || queries.len() / dim < PARALLEL_FROM_QUERIES {
            return queries.chunks_exact(dim).map(one).collect();
        }
        queries.par_chunks_exact(dim).map(one).collect()
    }

    fn one(&self, views: &Views<'_>, query: &[f32], wanted: &Wanted<'_>) -> Hits {
        let is_l2 = self.metric == Metric::L2;
        let exact = Measure { kernels: kernels(), view: &views.rows, query, is_l2 };
        match &views.codes {
            Some(codes) => {
                let query = codes.query(query);
                let found = self.found(views, &query, wanted, |hit| query.largest_error(hit.row));
                refined(&exact, &query, &found, wanted)
            }
            None => {
                let mut hits = self.found(views, &exact, wanted, |_| 0.0);
                hits.sort_unstable_by_key(|&hit| Ranked(hit));
                hits.retain(|hit| wanted.radius.is_none_or(|radius| hit.distance < radius));
                hits.truncate(wanted.k);
                hits
            }
        }
    }

    /// Candidates by `distances`, nearest first: of a walk, or of a scan where that is cheaper.
    fn found(
        &self,
        views: &Views<'_>,
        distances: &impl Distances,
        wanted: &Wanted<'_>,
        error: impl Fn(&Hit) -> f32,
    ) -> Hits {
        let mut ef = wanted.ef;
        while !self.is_scan_cheaper(wanted, ef) {
            let Some(found) = self.walk(&views.graph, distances, wanted, ef) else { break };
            let Some(radius) = wanted.radius else { return found };
            let is_within = |hit: &&Hit| hit.distance - error(hit) < radius;
            if found.len() < ef || found.iter().filter(is_within).count() <= ef / 2 {
                return found;
            }
            ef *= 2;
        }
        self.compared(distances, wanted, error)
    }

    /// Comparing the allowed rows costs their number; walking costs [`WALK_COST`] times about [`MEASURED_PER_CANDIDATE`] rows
    /// for each of the `ef * rows / allowed` nodes that have to be kept in view to see `ef` allowed ones.
    fn is_scan_cheaper(&self, wanted: &Wanted<'_>, ef: usize) -> bool {
        if !wanted.is_filtered && wanted.radius.is_none() {
            return false;
        }
        let cost = if self.codes.is_some() { WALK_COST } else { 1 };
        let walked = ef.saturating_mul(MEASURED_PER_CANDIDATE * cost) as u128 * self.store.len() as u128;
        (wanted.reachable as u128) * (wanted.reachable as u128) <= walked
    }

    /// The nearest `ef` rows by `distances` that the graph leads to; `None` when a scan would have been done by then.
    fn walk(
        &self,
        graph: &GraphView<'_>,
        distances: &impl Distances,
        wanted: &Wanted<'_>,
        ef: usize,
    ) -> Option<Hits> {
        let start = descend(graph, distances, graph.entry()?, 0);
        let keep = match wanted.allowed {
            Some(allowed) if wanted.is_filtered || self.tombstones > 0 => Keep::In(allowed),
            _ => Keep::All,
        };
        let most_measured = if wanted.is_filtered { wanted.reachable } else { usize::MAX };
        let goal = Goal { level: 0, ef, keep, most_measured };
        let mut found = Vec::with_capacity(ef);
        self.pool
            .with(|scratch| beam(graph, distances, &[start], &goal, scratch, &mut found))
            .then_some(found)
    }

    /// The allowed rows compared one by one by `distances`: those that could be among the `k` nearest, nearest first.
    fn compared(&self, distances: &impl Distances, wanted: &Wanted<'_>, error: impl Fn(&Hit) -> f32) -> Hits {
        let all;
        let allowed = match wanted.allowed {
            Some(allowed) => allowed,
            None => {
                all = RowSet::full(self.store.len());
                &all
            }
        };
        let radius = wanted.radius.unwrap_or(f32::INFINITY);
        // The k-th smallest of what distances are at most: no row that is at least farther can be an answer.
        let mut at_most = TopK::new(wanted.k);
        let mut candidates = Hits::new();
        let mut rows = allowed.iter().peekable();
        let (mut group, mut measured) = (Vec::new(), [0.0; ROWS_SCANNED_AT_ONCE]);
        while rows.peek().is_some() {
            group.clear();
            group.extend(rows.by_ref().take(ROWS_SCANNED_AT_ONCE));
            group.iter().for_each(|&row| distances.prefetch(row));
            distances.measure(&group, &mut measured[..group.len()]);
            for (&row, &distance) in group.iter().zip(&measured) {
                let hit = Hit { row, distance };
                let error = error(&hit);
                if distance - error <= at_most.threshold().min(radius) {
                    at_most.offer(row, distance + error);
                    candidates.push(hit);
                }
            }
        }
        let limit = at_most.threshold().min(radius);
        candidates.retain(|hit| hit.distance - error(hit) <= limit);
        candidates.sort_unstable_by_key(|&hit| Ranked(hit));
        candidates
    }

    /// The allowed rows compared exactly.
    fn scan(&self, queries: &[f32], params: &SearchParams<'_>, allowed: Option<&RowSet>) -> Vec<Hits> {
        let scan = Scan { store: &self.store, metric: self.metric, filter: allowed, kernels: kernels() };
        scan.search(queries, 0..self.store.len(), params.k, params.radius)
    }
}

/// The `k` nearest of the rows found, by exact distances; `found` is in the order of its estimates, and rows whose estimate is
/// too far to be among the `k` nearest, whatever its error, are not read.
fn refined(exact: &Measure<'_>, query: &CodeQuery<'_>, found: &[Hit], wanted: &Wanted<'_>) -> Hits {
    let mut nearest = TopK::new(wanted.k);
    let radius = wanted.radius.unwrap_or(f32::INFINITY);
    let (mut rows, mut distances) = (Vec::with_capacity(found.len()), vec![0.0; found.len()]);
    let mut waiting = found;
    while let Some(first) = waiting.first() {
        // As many as are still wanted for certain, else a few.
        let count = wanted.k.saturating_sub(nearest.len()).max(ROWS_REFINED_AT_ONCE).min(waiting.len());
        let (group, rest) = waiting.split_at(count);
        let limit = nearest.threshold().min(radius);
        if first.distance - query.largest_error(first.row) > limit {
            break;
        }
        let is_possible = |hit: &&Hit| hit.distance - query.largest_error(hit.row) <= limit;
        rows.clear();
        rows.extend(group.iter().filter(is_possible).map(|hit| hit.row));
        rows.iter().for_each(|&row| exact.prefetch(row));
        exact.measure(&rows, &mut distances[..rows.len()]);
        for (&row, &distance) in rows.iter().zip(&distances) {
            if distance < radius || wanted.radius.is_none() {
                nearest.offer(row, distance);
            }
        }
        waiting = rest;
    }
    nearest.into_hits()
}
