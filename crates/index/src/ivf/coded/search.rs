//! Searching codes.

use super::refine::Refiner;
use super::{Coded, Trained};
use crate::codes::{BLOCK, Output, Scorer};
use crate::exact::Scan;
use crate::hits::{Hit, Hits, TopK};
use crate::ivf::{lists_to_visit, nearest_centroids};
use crate::kernels::kernels;
use crate::rows::RowView;
use crate::search::SearchParams;
use rayon::prelude::*;

/// Entries times values of a batch below which it stays on one thread.
const PARALLEL_FROM_OPERATIONS: usize = 32 << 20;
/// Filters that leave at most this many rows are answered from full rows, where there are any.
const FEW_ROWS: usize = 4096;

/// One query, as it came and as the codes know it.
struct Query<'a> {
    full: &'a [f32],
    moved: &'a [f32],
    rows: Option<&'a RowView<'a>>,
}

impl Coded {
    /// Answers of prepared queries, `[n, dim]`.
    pub(super) fn search_all(&self, queries: &[f32], params: &SearchParams<'_>) -> Vec<Hits> {
        if let (Some(store), Some(filter)) = (&self.store, params.filter)
            && filter.count() <= FEW_ROWS
        {
            let allowed = filter.intersect(&self.members);
            let scan = Scan { store, metric: self.metric, filter: Some(&allowed), kernels: kernels() };
            return scan.search(queries, 0..store.len(), params.k, params.radius);
        }
        let nlist = self.lists.len();
        let nprobe = lists_to_visit(params, nlist, self.rows);
        let moved = self.trained.chain.apply(queries);
        let view = self.store.as_ref().map(|store| store.view());
        let dim = self.trained.dim();
        let one = |full: &[f32], moved: &[f32]| {
            self.search_one(&Query { full, moved, rows: view.as_ref() }, params, nprobe)
        };
        let compared = self.rows / nlist * nprobe + nlist;
        let threads = rayon::current_num_threads();
        let is_small = moved.len().saturating_mul(compared) < PARALLEL_FROM_OPERATIONS;
        let count = queries.len() / self.dim;
        if threads == 1 || is_small || (count == 1 && nlist > 1) {
            let pairs = queries.chunks_exact(self.dim).zip(moved.chunks_exact(dim));
            return pairs.map(|(full, moved)| one(full, moved)).collect();
        }
        if count < threads && nlist == 1 {
            let pairs = queries.chunks_exact(self.dim).zip(moved.chunks_exact(dim));
            let split = |(full, moved)| {
                self.scan_in_parts(&Query { full, moved, rows: view.as_ref() }, params, threads * 4)
            };
            return pairs.map(split).collect();
        }
        let pairs = queries.par_chunks_exact(self.dim).zip(moved.par_chunks_exact(dim));
        pairs.map(|(full, moved)| one(full, moved)).collect()
    }

    /// The `count` lists nearest to a query, nearest first.
    pub(super) fn nearest_lists(&self, moved: &[f32], count: usize) -> Hits {
        let Trained { coarse, .. } = &self.trained;
        if self.lists.len() == 1 {
            let distance = self.metric.distance(moved, self.trained.centroid(0));
            return vec![Hit { row: 0, distance }];
        }
        nearest_centroids(coarse, self.metric, moved, count)
    }

    fn search_one(&self, query: &Query<'_>, params: &SearchParams<'_>, nprobe: usize) -> Hits {
        let near = self.nearest_lists(query.moved, nprobe);
        let all = 0..usize::MAX;
        let found = self.visit(query, params, &near, &all);
        // Whoever asks for what is within a radius does not ask for `k`.
        if found.len() >= params.k || params.radius.is_some() || near.len() == self.lists.len() {
            return found.into_hits();
        }
        // Too few rows: every list, those visited once more, which costs little where so little was found.
        let every = self.nearest_lists(query.moved, self.lists.len());
        self.visit(query, params, &every, &all).into_hits()
    }

    /// A scan of one list by several threads.
    fn scan_in_parts(&self, query: &Query<'_>, params: &SearchParams<'_>, parts: usize) -> Hits {
        let near = self.nearest_lists(query.moved, 1);
        let len = self.lists.first().map_or(0, super::CodeList::len);
        let part = len.div_ceil(parts).next_multiple_of(BLOCK);
        let starts: Vec<usize> = (0..len).step_by(part.max(1)).collect();
        let found: Vec<TopK> = starts
            .into_par_iter()
            .map(|start| self.visit(query, params, &near, &(start..start + part)))
            .collect();
        let mut merged = TopK::within(params.k, params.radius);
        found.into_iter().for_each(|part| merged.merge(part));
        merged.into_hits()
    }

    /// The nearest of `range` of each list of `near`.
    fn visit(
        &self,
        query: &Query<'_>,
        params: &SearchParams<'_>,
        near: &[Hit],
        range: &std::ops::Range<usize>,
    ) -> TopK {
        let codes = &*self.trained.codes;
        let nearest = TopK::within(params.k, params.radius);
        match (query.rows, params.refine) {
            (Some(rows), None) => {
                let mut scorer = codes.bind(query.moved, Output::LowerBound);
                let mut sink = Refiner::new(nearest, rows, query.full, self.metric, self.trained.slack);
                self.scan_lists(&mut *scorer, near, range, params, &mut sink);
                sink.finish()
            }
            (Some(rows), Some(factor)) => {
                let mut scorer = codes.bind(query.moved, Output::Estimate);
                let count = params.k.saturating_mul(factor).min(self.rows.max(1));
                let mut sink = TopK::new(count);
                self.scan_lists(&mut *scorer, near, range, params, &mut sink);
                let refiner = Refiner::new(nearest, rows, query.full, self.metric, self.trained.slack);
                refiner.measure_all(sink.into_hits())
            }
            (None, _) => {
                let mut scorer = codes.bind(query.moved, Output::Estimate);
                let mut sink = nearest;
                self.scan_lists(&mut *scorer, near, range, params, &mut sink);
                sink
            }
        }
    }

    fn scan_lists(
        &self,
        scorer: &mut dyn Scorer,
        near: &[Hit],
        range: &std::ops::Range<usize>,
        params: &SearchParams<'_>,
        sink: &mut impl super::list::Sink,
    ) {
        for hit in near {
            let list = &self.lists[hit.row as usize];
            scorer.enter(self.trained.centroid(hit.row as usize), hit.distance);
            let range = range.start.min(list.len())..range.end.min(list.len());
            list.scan(&*self.trained.codes, scorer, range, params.filter, sink);
        }
    }
}
