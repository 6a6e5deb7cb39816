//! [`IvfFlat`]: rows in lists by their nearest centroid; a search visits the lists nearest to the query.
//!
//! As FAISS's `IndexIVFFlat` (Sivic and Zisserman 2003; Jégou et al. 2011): centroids by k-means on a sample, assignment by
//! L2 or by inner product as the metric is. Invariants: each included row is in exactly one list; lists hold ascending row
//! numbers; visiting every list is exact. More lists than training rows is an error, never a bad index.
//!
//! Under a filter with selectivity `s` a search visits `nprobe / s` lists, so that as many rows are compared as without it;
//! rows that the filter leaves out cost one bit test. Few rows left means every list, which is exact. A search that has
//! found fewer than `k` rows goes on through further lists.
//!
//! Beside its vectors a list keeps four bits of each value with a bound on what they leave out (`shadow/lists.rs`): vectors that
//! cannot be near are not read, and answers are those of a plain scan.

mod coded;
mod file;
mod from_lists;
mod lists;
mod to_faiss;

pub(crate) use coded::{Coded, Parts};

use crate::error::IndexError;
use crate::hits::{Hits, TopK};
use crate::index::{BuildOptions, IndexInfo, VectorIndex};
use crate::kernels::{PANEL_ROWS, kernels};
use crate::kmeans::{self, Assigner, MAX_POINTS_PER_CENTROID};
use crate::metric::Metric;
use crate::random::Random;
use crate::row_set::RowSet;
use crate::rows::{MAX_ROWS, RowChunks, RowStore, Rows};
use crate::search::{SearchParams, prepared};
use crate::shadow::{ListCodes, ListFrame};
use crate::spec::{Codec, IndexSpec};
use lists::{List, ListScan};
use rayon::prelude::*;
use std::borrow::Cow;

/// Rows assigned and reported at a time while building.
const BUILD_BLOCK_ROWS: usize = 1 << 16;
/// Multiply-adds of a batch below which it stays on one thread.
const PARALLEL_FROM_OPERATIONS: usize = 8 << 20;
/// Lists that a search visits when it does not say: 1 in 32, at least 1.
const DEFAULT_NPROBE_SHARE: usize = 32;

/// Inverted file over full vectors.
#[derive(Debug)]
pub(crate) struct IvfFlat {
    metric: Metric,
    dim: usize,
    nlist: usize,
    seed: u64,
    /// Rows numbered so far; those left out are in no list.
    rows: usize,
    /// Rows of the `RowChunks` it was built over, of `rows`.
    shared_rows: usize,
    centroids: Vec<f32>,
    /// `None` until trained.
    coarse: Option<Assigner>,
    lists: Vec<List>,
    /// What the lists' codes are relative to; `None` when there are none.
    frame: Option<ListFrame>,
    warnings: Vec<String>,
}

impl IvfFlat {
    /// Trains on a sample of the included rows and fills the lists.
    pub(crate) fn build(
        metric: Metric,
        nlist: usize,
        rows: &RowChunks,
        options: &BuildOptions<'_>,
    ) -> Result<Self, IndexError> {
        let dim = rows.dim();
        let included = options.included(rows);
        let mut index = IvfFlat {
            metric,
            dim,
            nlist,
            seed: options.seed,
            rows: 0,
            shared_rows: rows.len(),
            centroids: Vec::new(),
            coarse: None,
            lists: Vec::new(),
            frame: None,
            warnings: coded::warnings(&IndexSpec::ivf(nlist, Codec::Flat), included.len()),
        };
        let sample = Random::new(options.seed).sample(included.len(), nlist * MAX_POINTS_PER_CENTROID);
        let store = RowStore::new(rows.clone());
        let view = store.view();
        let sample: Vec<f32> = sample.into_iter().flat_map(|at| view.row(included[at])).copied().collect();
        index.train_with(Rows::trusted(&sample, dim), &|_, _| options.report(0, included.len()))?;
        drop(sample);
        for (block, ids) in included.chunks(BUILD_BLOCK_ROWS).enumerate() {
            let vectors: Vec<f32> = ids.iter().flat_map(|&id| view.row(id)).copied().collect();
            index.fill(ids, &vectors);
            options.report((block * BUILD_BLOCK_ROWS + ids.len()).min(included.len()), included.len())?;
        }
        index.rows = rows.len();
        Ok(index)
    }

    fn train_with(
        &mut self,
        sample: Rows<'_>,
        report: &dyn Fn(usize, usize) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.centroids = kmeans::train(self.metric, sample, self.nlist, self.seed, report)?;
        self.coarse = Some(Assigner::new(self.metric, &self.centroids, self.dim));
        self.frame = ListFrame::new(self.metric, mean(sample.as_slice(), self.dim));
        self.lists = vec![List::empty(self.frame.is_some()); self.nlist];
        Ok(())
    }

    /// Puts prepared vectors, `[ids.len(), dim]`, into their lists, in the order given.
    fn fill(&mut self, ids: &[u32], vectors: &[f32]) {
        let numbers = self.coarse.as_ref().map(|coarse| coarse.assign(vectors));
        self.fill_lists(ids, vectors, &numbers.unwrap_or_default());
    }

    /// As [`IvfFlat::fill`], into the lists named.
    fn fill_lists(&mut self, ids: &[u32], vectors: &[f32], numbers: &[u32]) {
        let Some(coarse) = &self.coarse else { return };
        let (starts, order) = kmeans::group(numbers, coarse.count());
        let (kernels, frame, dim) = (kernels(), self.frame.as_ref(), self.dim);
        self.lists.par_iter_mut().enumerate().for_each(|(l, list)| {
            let positions = &order[starts[l]..starts[l + 1]];
            if positions.is_empty() {
                return;
            }
            let before = list.ids.as_slice().len();
            let vector_of = |position: u32| &vectors[position as usize * dim..(position as usize + 1) * dim];
            list.append(kernels, frame, dim, positions, vector_of);
            // Positions in this call become row numbers.
            list.ids.to_mut()[before..].iter_mut().for_each(|id| *id = ids[*id as usize]);
        });
    }

    fn search_one(&self, coarse: &Assigner, query: &[f32], params: &SearchParams<'_>, nprobe: usize) -> Hits {
        let mut collector = TopK::within(params.k, params.radius);
        let mut visited = RowSet::new();
        let near = nearest_centroids(coarse, self.metric, query, nprobe);
        let mut scan = ListScan {
            kernels: kernels(),
            metric: self.metric,
            query,
            filter: params.filter,
            rounded: self.frame.as_ref().and_then(|frame| Some((frame, frame.query(query)?))),
        };
        let mut visit =
            |list: u32, collector: &mut TopK| self.lists[list as usize].scan(&mut scan, collector);
        near.iter().for_each(|hit| visit(hit.row, &mut collector));
        // Whoever asks for what is within a radius does not ask for `k`.
        if collector.len() == params.k || params.radius.is_some() || near.len() == self.nlist {
            return collector.into_hits();
        }
        near.iter().for_each(|hit| {
            visited.insert(hit.row);
        });
        for hit in nearest_centroids(coarse, self.metric, query, self.nlist) {
            if collector.len() == params.k {
                break;
            }
            if visited.insert(hit.row) {
                visit(hit.row, &mut collector);
            }
        }
        collector.into_hits()
    }
}

/// Mean of rows, `[n, dim]`; zeros when there are none.
fn mean(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; dim];
    for row in rows.chunks_exact(dim) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = (rows.len() / dim).max(1) as f64;
    sums.iter().map(|sum| (sum / count) as f32).collect()
}

/// The `count` centroids nearest to the query, nearest first.
fn nearest_centroids(coarse: &Assigner, metric: Metric, query: &[f32], count: usize) -> Hits {
    let kernels = kernels();
    let mut nearest = TopK::new(count);
    let mut out = [0.0; PANEL_ROWS];
    for (p, panel) in coarse.panels().chunks_exact(PANEL_ROWS * query.len()).enumerate() {
        let lanes = (coarse.count() - p * PANEL_ROWS).min(PANEL_ROWS);
        let limit = nearest.threshold();
        let mask = match metric {
            Metric::L2 => kernels.panel_l2(query, panel, limit, &mut out),
            Metric::InnerProduct | Metric::Cosine => kernels.panel_dot(query, panel, limit, &mut out),
        };
        if mask == 0 {
            continue;
        }
        for (lane, &value) in out[..lanes].iter().enumerate().filter(|(lane, _)| mask >> lane & 1 == 1) {
            let distance = if metric == Metric::L2 { value } else { -value };
            nearest.offer((p * PANEL_ROWS + lane) as u32, distance);
        }
    }
    nearest.into_hits()
}

/// Lists to visit of `nlist`: as asked, more under a filter.
fn lists_to_visit(params: &SearchParams<'_>, nlist: usize, rows: usize) -> usize {
    let nprobe = params.nprobe.unwrap_or(nlist.div_ceil(DEFAULT_NPROBE_SHARE)).min(nlist);
    match params.filter {
        Some(filter) => {
            let allowed = filter.count().clamp(1, rows.max(1));
            let scaled = nprobe as u128 * rows.max(1) as u128 / allowed as u128;
            scaled.min(nlist as u128) as usize
        }
        None => nprobe,
    }
}

/// A sample to train an index of `rows` rows on, prepared for its metric; training comes before any row.
fn training_sample<'a>(
    metric: Metric,
    dim: usize,
    rows: usize,
    sample: Rows<'a>,
) -> Result<Cow<'a, [f32]>, IndexError> {
    if sample.dim() != dim {
        return Err(IndexError::Dimension { expected: dim, received: sample.dim() });
    }
    if rows > 0 {
        return Err(IndexError::Parameter {
            name: "train",
            expected: "an index without rows".to_owned(),
            received: format!("{rows} rows"),
        });
    }
    prepared(metric, sample)
}

impl VectorIndex for IvfFlat {
    fn info(&self) -> IndexInfo {
        let lists: usize = self
            .lists
            .iter()
            .map(|list| {
                list.ids.bytes() + list.vectors.bytes() + list.codes.as_ref().map_or(0, ListCodes::bytes)
            })
            .sum();
        IndexInfo {
            spec: IndexSpec::ivf(self.nlist, Codec::Flat),
            metric: self.metric,
            dim: self.dim,
            rows: self.rows,
            is_trained: self.coarse.is_some(),
            bytes: lists + self.centroids.len() * 8 + self.lists.len() * size_of::<List>(),
            // Lists hold vectors of their own.
            reads_rows: false,
            warnings: self.warnings.clone(),
        }
    }

    fn train(&mut self, sample: Rows<'_>) -> Result<(), IndexError> {
        let sample = training_sample(self.metric, self.dim, self.rows, sample)?;
        self.train_with(Rows::trusted(&sample, self.dim), &|_, _| Ok(()))
    }

    fn add(&mut self, rows: Rows<'_>) -> Result<(), IndexError> {
        if rows.dim() != self.dim {
            return Err(IndexError::Dimension { expected: self.dim, received: rows.dim() });
        }
        if self.coarse.is_none() {
            return Err(IndexError::NotTrained);
        }
        let received = self.rows + rows.len();
        if received > MAX_ROWS {
            return Err(IndexError::TooManyRows { limit: MAX_ROWS, received });
        }
        let vectors = prepared(self.metric, rows)?;
        let ids: Vec<u32> = (self.rows as u32..received as u32).collect();
        self.fill(&ids, &vectors);
        self.rows = received;
        Ok(())
    }

    fn remove(&mut self, rows: &RowSet) -> Result<usize, IndexError> {
        let (kernels, frame, dim) = (kernels(), self.frame.as_ref(), self.dim);
        let removed = self.lists.par_iter_mut().map(|list| list.remove(kernels, frame, dim, rows)).sum();
        Ok(removed)
    }

    fn reconstruct(&self, row: u32) -> Result<Vec<f32>, IndexError> {
        let found = self.lists.iter().find_map(|list| list.vector_of(row, self.dim));
        found.ok_or(IndexError::UnknownRow { row, rows: self.rows })
    }

    fn search(&self, queries: Rows<'_>, params: &SearchParams<'_>) -> Result<Vec<Hits>, IndexError> {
        params.check(queries, self.dim)?;
        let Some(coarse) = &self.coarse else { return Err(IndexError::NotTrained) };
        let queries = prepared(self.metric, queries)?;
        let nprobe = lists_to_visit(params, self.nlist, self.rows);
        let one = |query: &[f32]| self.search_one(coarse, query, params, nprobe);
        let compared = self.rows / self.nlist * nprobe + self.nlist;
        let is_small = queries.len().saturating_mul(compared) < PARALLEL_FROM_OPERATIONS;
        if rayon::current_num_threads() == 1 || queries.len() == self.dim || is_small {
            return Ok(queries.chunks_exact(self.dim).map(one).collect());
        }
        Ok(queries.par_chunks_exact(self.dim).map(one).collect())
    }

    fn to_faiss(&self) -> Result<crate::faiss::Index<'_>, crate::faiss::FaissError> {
        Ok(self.tree())
    }

    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.write_file(out)
    }
}
