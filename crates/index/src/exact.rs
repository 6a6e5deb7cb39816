//! Exact search: every row is looked at. Used by Flat, by tails, by small filters and as the truth of recall measurements.
//!
//! Few queries: each is compared with four rows at a time, bound by memory speed. Many queries: rows are interleaved into a
//! panel that stays in cache while register tiles of queries run over it. The tile works with inner products
//! (`|x|^2 - 2 q.x` under L2), whose rounding differs from the direct form, so it only *rejects*: a pair whose tile value is
//! above the current k-th distance by more than the bound of both roundings cannot enter. What is left is measured by the
//! pair kernel. Hence a query's answer has the same bits alone, in a batch, and for any number of threads.

use crate::error::IndexError;
use crate::hits::{Hits, TopK};
use crate::kernels::{Kernels, PANEL_ROWS, Tile, TileOut, kernels, tolerance};
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, RowStore, Rows};
use crate::search::{SearchParams, prepared};
use rayon::prelude::*;
use std::ops::Range;

/// Queries from which the interleaved form pays for its packing.
pub(crate) const TILE_FROM_QUERIES: usize = 4;
/// Query bytes that one pass over the rows serves, so that they stay in the second-level cache.
const QUERY_BLOCK_BYTES: usize = 256 << 10;
/// Multiply-adds below which a second thread costs more than it brings (about half a millisecond).
const PARALLEL_FROM_OPERATIONS: usize = 8 << 20;
/// Rows per block when several queries share a pass without tiles: 64 rows x 128 values fill a first-level cache.
const BLOCK_ROWS: usize = 64;
/// Above this the inner-product form could overflow; such pairs are measured directly.
const MAX_TILE_MAGNITUDE: f32 = 1e37;

/// Exact top k over `start..end` of `rows`; what the tail, recall measurements and small filters use.
///
/// Under [`Metric::Cosine`] the rows must be unit length; the queries need not be.
pub fn exact(
    rows: &RowChunks,
    range: Range<usize>,
    metric: Metric,
    queries: Rows<'_>,
    k: usize,
    filter: Option<&RowSet>,
) -> Result<Vec<Hits>, IndexError> {
    SearchParams::new(k).check(queries, rows.dim())?;
    let queries = prepared(metric, queries)?;
    let scan = Scan { store: &RowStore::new(rows.clone()), metric, filter, kernels: kernels() };
    Ok(scan.search(&queries, range, k, None))
}

/// How a search may be cut into tasks.
pub(crate) struct Work {
    pub(crate) dim: usize,
    /// Rows to look at.
    pub(crate) range: Range<usize>,
    /// Multiply-adds, or what costs as much.
    pub(crate) operations: usize,
    /// Queries that registers hold.
    pub(crate) tile_queries: usize,
    /// Ranges of rows per thread when there are few queries.
    pub(crate) tasks_per_thread: usize,
}

impl Work {
    /// Answers of `queries`, `[n, dim]`, by `collect`, which gets the number of its first query, queries and a range of rows;
    /// on the threads of the current rayon pool when the work is worth it. Ranges start at multiples of [`PANEL_ROWS`] from
    /// the first row on.
    pub(crate) fn spread(
        &self,
        queries: &[f32],
        collector: impl Fn() -> TopK,
        collect: impl Fn(usize, &[f32], Range<usize>) -> Vec<TopK> + Sync,
    ) -> Vec<Hits> {
        let Work { dim, ref range, .. } = *self;
        let query_count = queries.len() / dim;
        let threads = rayon::current_num_threads();
        if threads == 1 || self.operations < PARALLEL_FROM_OPERATIONS {
            return collect(0, queries, range.clone()).into_iter().map(TopK::into_hits).collect();
        }
        if query_count >= threads * 4 * self.tile_queries {
            let per_task = query_count.div_ceil(threads * 2);
            let tasks = queries.par_chunks(per_task * dim).enumerate();
            let tasks = tasks.map(|(task, part)| collect(task * per_task, part, range.clone()));
            return tasks.flatten_iter().map(TopK::into_hits).collect();
        }
        // Few queries over many rows: each thread takes ranges of rows, and the collectors are merged.
        let per_task = range.len().div_ceil(threads * self.tasks_per_thread).next_multiple_of(PANEL_ROWS);
        let starts: Vec<usize> = range.clone().step_by(per_task.max(1)).collect();
        let parts: Vec<Vec<TopK>> = starts
            .into_par_iter()
            .map(|start| collect(0, queries, start..range.end.min(start + per_task)))
            .collect();
        let mut merged: Vec<TopK> = (0..query_count).map(|_| collector()).collect();
        for part in parts {
            for (collector, found) in merged.iter_mut().zip(part) {
                collector.merge(found);
            }
        }
        merged.into_iter().map(TopK::into_hits).collect()
    }
}

/// One exact search over the rows of a store.
pub(crate) struct Scan<'a> {
    pub(crate) store: &'a RowStore,
    pub(crate) metric: Metric,
    pub(crate) filter: Option<&'a RowSet>,
    pub(crate) kernels: &'a Kernels,
}

impl Scan<'_> {
    /// Answers of prepared queries, `[n, dim]`, over the rows in `range`. Spreads over the threads of the current rayon
    /// pool when the work is worth it. At most `k` each, nearer than `radius` if there is one.
    pub(crate) fn search(
        &self,
        queries: &[f32],
        range: Range<usize>,
        k: usize,
        radius: Option<f32>,
    ) -> Vec<Hits> {
        let range = range.start..range.end.min(self.store.len());
        let work = Work {
            dim: self.store.dim(),
            range: range.clone(),
            operations: queries.len().saturating_mul(self.rows_in(&range)),
            tile_queries: self.kernels.tile_queries(),
            tasks_per_thread: 4,
        };
        let collect = |_, queries: &[f32], range| self.collect(queries, range, k, radius);
        work.spread(queries, || TopK::within(k, radius), collect)
    }

    /// Rows of `range` that may be found.
    pub(crate) fn rows_in(&self, range: &Range<usize>) -> usize {
        match self.filter {
            Some(filter) => filter.count_range(range.start as u32, range.end.max(range.start) as u32),
            None => range.len(),
        }
    }

    pub(crate) fn collect(
        &self,
        queries: &[f32],
        range: Range<usize>,
        k: usize,
        radius: Option<f32>,
    ) -> Vec<TopK> {
        let dim = self.store.dim();
        let mut collectors: Vec<TopK> = (0..queries.len() / dim).map(|_| TopK::within(k, radius)).collect();
        if collectors.len() < TILE_FROM_QUERIES {
            match self.filter {
                None => self.blocks(queries, range, &mut collectors),
                Some(filter) => {
                    self.scattered(queries, filter.iter_range(range.start, range.end), &mut collectors)
                }
            }
            return collectors;
        }
        let per_block = (QUERY_BLOCK_BYTES / (4 * dim)).max(self.kernels.tile_queries());
        for (queries, collectors) in queries.chunks(per_block * dim).zip(collectors.chunks_mut(per_block)) {
            self.panels(queries, range.clone(), collectors);
        }
        collectors
    }

    /// A few queries over contiguous rows.
    fn blocks(&self, queries: &[f32], range: Range<usize>, collectors: &mut [TopK]) {
        let dim = self.store.dim();
        let mut at = range.start;
        while at < range.end {
            let run = self.store.run(at, range.end);
            if run.is_empty() {
                return;
            }
            for (b, block) in run.as_slice().chunks(BLOCK_ROWS * dim).enumerate() {
                let base = (at + b * BLOCK_ROWS) as u32;
                for (query, collector) in queries.chunks_exact(dim).zip(collectors.iter_mut()) {
                    self.block(query, block, base, collector);
                }
            }
            at += run.len();
        }
    }

    fn block(&self, query: &[f32], block: &[f32], base: u32, collector: &mut TopK) {
        let dim = query.len();
        let mut row = base;
        let mut fours = block.chunks_exact(4 * dim);
        for four in &mut fours {
            let rows = [&four[..dim], &four[dim..2 * dim], &four[2 * dim..3 * dim], &four[3 * dim..]];
            for distance in self.distance4(query, rows) {
                collector.offer(row, distance);
                row += 1;
            }
        }
        for last in fours.remainder().chunks_exact(dim) {
            collector.offer(row, self.distance(query, last));
            row += 1;
        }
    }

    /// A few queries over rows picked one by one.
    fn scattered(&self, queries: &[f32], rows: impl Iterator<Item = u32>, collectors: &mut [TopK]) {
        let dim = self.store.dim();
        let view = self.store.view();
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut ids = [0; 4];
            let mut count = 0;
            for (id, row) in ids.iter_mut().zip(&mut rows) {
                *id = row;
                count += 1;
            }
            // A short last group repeats its first row; the repeats are not offered.
            let first = ids[0];
            ids[count..].fill(first);
            let vectors = ids.map(|id| view.row(id));
            for (query, collector) in queries.chunks_exact(dim).zip(collectors.iter_mut()) {
                for (&id, distance) in ids[..count].iter().zip(self.distance4(query, vectors)) {
                    collector.offer(id, distance);
                }
            }
        }
    }

    /// Many queries: rows in panels, queries in tiles.
    fn panels(&self, queries: &[f32], range: Range<usize>, collectors: &mut [TopK]) {
        let dim = self.store.dim();
        let mut tiles = Tiles::new(self, queries);
        if let Some(filter) = self.filter {
            let view = self.store.view();
            let mut ids = Vec::with_capacity(PANEL_ROWS);
            let mut vectors = Vec::with_capacity(PANEL_ROWS * dim);
            for row in filter.iter_range(range.start, range.end) {
                ids.push(row);
                vectors.extend_from_slice(view.row(row));
                if ids.len() == PANEL_ROWS {
                    tiles.panel(&ids, &vectors, collectors);
                    ids.clear();
                    vectors.clear();
                }
            }
            tiles.panel(&ids, &vectors, collectors);
            return;
        }
        let mut at = range.start;
        while at < range.end {
            let run = self.store.run(at, range.end);
            if run.is_empty() {
                return;
            }
            for (p, vectors) in run.as_slice().chunks(PANEL_ROWS * dim).enumerate() {
                let base = (at + p * PANEL_ROWS) as u32;
                let ids: [u32; PANEL_ROWS] = std::array::from_fn(|lane| base + lane as u32);
                tiles.panel(&ids[..vectors.len() / dim], vectors, collectors);
            }
            at += run.len();
        }
    }

    /// What the answer of a pair is defined by.
    #[inline]
    pub(crate) fn distance(&self, query: &[f32], row: &[f32]) -> f32 {
        match self.metric {
            Metric::L2 => self.kernels.l2(query, row),
            Metric::InnerProduct | Metric::Cosine => -self.kernels.dot(query, row),
        }
    }

    #[inline]
    fn distance4(&self, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        match self.metric {
            Metric::L2 => self.kernels.l2_4(query, rows),
            Metric::InnerProduct | Metric::Cosine => self.kernels.dot4(query, rows).map(|dot| -dot),
        }
    }
}

/// A block of queries, their squared norms, and scratch for one panel.
struct Tiles<'a> {
    scan: &'a Scan<'a>,
    queries: &'a [f32],
    query_norms: Vec<f32>,
    panel: Vec<f32>,
    out: TileOut,
}

impl<'a> Tiles<'a> {
    fn new(scan: &'a Scan<'a>, queries: &'a [f32]) -> Self {
        let dim = scan.store.dim();
        let query_norms = queries.chunks_exact(dim).map(|query| scan.kernels.dot(query, query)).collect();
        Tiles { scan, queries, query_norms, panel: vec![0.0; dim * PANEL_ROWS], out: TileOut::default() }
    }

    /// Offers up to [`PANEL_ROWS`] rows, `vectors` `[ids.len(), dim]`, to every query of the block.
    fn panel(&mut self, ids: &[u32], vectors: &[f32], collectors: &mut [TopK]) {
        let Scan { kernels, metric, store, .. } = *self.scan;
        let dim = store.dim();
        if ids.is_empty() {
            return;
        }
        kernels.pack(vectors, dim, &mut self.panel);
        let mut norms = [0.0; PANEL_ROWS];
        for (norm, row) in norms.iter_mut().zip(vectors.chunks_exact(dim)) {
            *norm = kernels.dot(row, row);
        }
        let largest_norm = norms.iter().fold(0.0_f32, |largest, &norm| largest.max(norm)).sqrt();
        let is_l2 = metric == Metric::L2;
        let (bias, scale) = if is_l2 { (norms, -2.0) } else { ([0.0; PANEL_ROWS], -1.0) };
        let valid = (1_u32 << ids.len()) - 1;
        let height = kernels.tile_queries();
        let mut limits = [0.0; crate::kernels::MAX_TILE_QUERIES];
        for start in (0..collectors.len()).step_by(height) {
            let collectors = &mut collectors[start..];
            let count = collectors.len().min(height);
            let mut must_measure = 0_u32;
            for (i, collector) in collectors[..count].iter().enumerate() {
                let query_norm = self.query_norms[start + i];
                let sum = query_norm.sqrt() + largest_norm;
                let magnitude = if is_l2 { sum * sum } else { query_norm.sqrt() * largest_norm };
                let own_part = if is_l2 { query_norm } else { 0.0 };
                limits[i] = collector.threshold() - own_part + tolerance(dim, magnitude);
                let is_too_large = sum.is_nan() || sum * sum >= MAX_TILE_MAGNITUDE;
                must_measure |= u32::from(is_too_large) << i;
            }
            let queries = &self.queries[start * dim..(start + count) * dim];
            let tile =
                Tile { queries, panel: &self.panel, dim, bias: &bias, scale, limits: &limits[..count] };
            kernels.tile(&tile, &mut self.out);
            for (i, collector) in collectors[..count].iter_mut().enumerate() {
                let mut mask = if must_measure >> i & 1 == 1 { valid } else { self.out.masks[i] & valid };
                let query = &queries[i * dim..(i + 1) * dim];
                while mask != 0 {
                    let lane = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    let row = &vectors[lane * dim..(lane + 1) * dim];
                    collector.offer(ids[lane], self.scan.distance(query, row));
                }
            }
        }
    }
}
