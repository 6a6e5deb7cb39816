//! [`Hnsw`]: a navigable small-world graph in levels over full vectors (Malkov and Yashunin, arXiv 1603.09320).
//!
//! As FAISS's `IndexHNSWFlat`: `M` links per node and level, `2M` on level 0, a row's number of levels drawn with factor
//! `1 / ln M`. Vectors stay in the shared rows; rows added later are owned. Rows that a build leaves out are not linked.
//!
//! Under inner product the graph is built and searched by inner products (Morozov and Babenko 2018, "Non-metric similarity
//! graphs for maximum inner product search"): long rows attract links, and they are also what searches look for. Lifting the
//! rows to equal length (Bachrach et al. 2014) was measured to be far worse; see `docs/decisions/0002-graph-building.md`.
//!
//! Under a filter the walk goes on through rows that are not allowed. When few rows are allowed, comparing those directly is
//! cheaper than walking past the others, and exact; see [`Hnsw::is_scan_cheaper`].

mod file;
mod from_links;
mod graph;
mod insert;
mod to_faiss;
mod walk;

use crate::error::IndexError;
use crate::exact::Scan;
use crate::flat::{append, both};
use crate::hits::{Hit, Hits};
use crate::index::{BuildOptions, IndexInfo, VectorIndex};
use crate::kernels::kernels;
use crate::metric::Metric;
use crate::random::Random;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, RowStore, RowView, Rows};
use crate::search::{SearchParams, prepared};
use crate::spec::IndexSpec;
use graph::{Graph, GraphView, MAX_LEVELS};
use insert::{BATCH_ROWS, Inserter};
use rayon::prelude::*;
use walk::{Measure, ScratchPool, beam, descend, filtered};

/// Candidates kept while a row looks for its links.
const EF_CONSTRUCTION: usize = 128;
/// Candidates kept by a search that does not say.
const DEFAULT_EF: usize = 64;
/// Rows of one graph; one bit of a row number marks expanded nodes.
const MAX_GRAPH_ROWS: usize = 1 << 31;
/// Rows measured per candidate kept, seen on real data; the estimate behind [`Hnsw::is_scan_cheaper`].
const MEASURED_PER_CANDIDATE: usize = 8;

/// Graph over full vectors.
#[derive(Debug)]
pub(crate) struct Hnsw {
    metric: Metric,
    seed: u64,
    store: RowStore,
    graph: Graph,
    /// Rows that are linked; `None` = all.
    linked: Option<RowSet>,
    pool: ScratchPool,
}

impl Hnsw {
    /// Links the included rows, in their order.
    pub(crate) fn build(
        metric: Metric,
        m: usize,
        rows: &RowChunks,
        options: &BuildOptions<'_>,
    ) -> Result<Self, IndexError> {
        let linked = options.include.map(|include| include.intersect(&RowSet::full(rows.len())));
        let mut index = Hnsw {
            metric,
            seed: options.seed,
            store: RowStore::new(rows.clone()),
            graph: Graph::new(m),
            linked,
            pool: ScratchPool::default(),
        };
        index.link(0, &|done, total| options.report(done, total))?;
        Ok(index)
    }

    /// Links the rows from `first` on.
    fn link(
        &mut self,
        first: usize,
        report: &dyn Fn(usize, usize) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let rows = self.store.len();
        if rows >= MAX_GRAPH_ROWS {
            return Err(IndexError::TooManyRows { limit: MAX_GRAPH_ROWS - 1, received: rows });
        }
        let is_linked = |row: u32| self.linked.as_ref().is_none_or(|linked| linked.contains(row));
        let new_rows: Vec<u32> = (first as u32..rows as u32).filter(|&row| is_linked(row)).collect();
        let levels: Vec<u8> = (first as u32..rows as u32)
            .map(|row| if is_linked(row) { levels_of(self.seed, row, self.graph.m) } else { 0 })
            .collect();
        self.graph.extend(&levels);
        let view = self.store.view();
        let inserter = Inserter {
            kernels: kernels(),
            view: &view,
            is_l2: self.metric == Metric::L2,
            dim: self.store.dim(),
            ef_construction: EF_CONSTRUCTION,
            pool: &self.pool,
        };
        for (b, batch) in new_rows.chunks(BATCH_ROWS).enumerate() {
            report(b * BATCH_ROWS, new_rows.len())?;
            inserter.insert(&mut self.graph, batch);
        }
        report(new_rows.len(), new_rows.len())
    }

    /// Comparing the `allowed` rows costs their number; walking costs about [`MEASURED_PER_CANDIDATE`] rows for each of the
    /// `ef * rows / allowed` nodes that have to be kept in view to see `ef` allowed ones.
    fn is_scan_cheaper(&self, allowed: usize, ef: usize) -> bool {
        let walked = (ef * MEASURED_PER_CANDIDATE) as u128 * self.store.len() as u128;
        (allowed as u128) * (allowed as u128) <= walked
    }

    fn search_one(
        &self,
        graph: &GraphView<'_>,
        view: &RowView<'_>,
        query: &[f32],
        params: &SearchParams<'_>,
        allowed: Option<&RowSet>,
    ) -> Hits {
        let ef = params.ef.unwrap_or(DEFAULT_EF).max(params.k);
        let is_l2 = self.metric == Metric::L2;
        let measure = Measure { kernels: kernels(), view, query, is_l2 };
        let Some((entry, top)) = graph.entry() else { return Hits::new() };
        let mut start = Hit { row: entry, distance: measure.one(entry) };
        for level in (1..=top).rev() {
            start = descend(graph, &measure, start, level);
        }
        self.pool.with(|scratch| match allowed {
            Some(allowed) => {
                let mut hits = filtered(graph, &measure, start, ef, allowed, scratch).into_hits();
                hits.truncate(params.k);
                hits
            }
            None => {
                let found = beam(graph, &measure, &[start], 0, ef, scratch);
                let mut hits = found[..found.len().min(ef)].to_vec();
                hits.sort_unstable_by_key(|&hit| crate::hits::Ranked(hit));
                hits.truncate(params.k);
                hits
            }
        })
    }

    fn scan(&self, queries: &[f32], params: &SearchParams<'_>, allowed: Option<&RowSet>) -> Vec<Hits> {
        let scan = Scan { store: &self.store, metric: self.metric, filter: allowed, kernels: kernels() };
        scan.search(queries, 0..self.store.len(), params.k, params.radius)
    }
}

/// Number of levels of a row, 1 or more: geometric with factor `1 / m`, a function of seed and row number only.
fn levels_of(seed: u64, row: u32, m: usize) -> u8 {
    let mut random = Random::new(seed ^ (u64::from(row) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let above = -random.unit().ln() / (m as f64).ln();
    1 + (above as u64).min(u64::from(MAX_LEVELS) - 1) as u8
}

impl VectorIndex for Hnsw {
    fn info(&self) -> IndexInfo {
        let Graph { levels, base, upper, upper_start, .. } = &self.graph;
        let graph = levels.bytes() + base.bytes() + upper.bytes() + upper_start.len() * 4;
        IndexInfo {
            spec: IndexSpec::hnsw(self.graph.m),
            metric: self.metric,
            dim: self.store.dim(),
            rows: self.store.len(),
            is_trained: true,
            bytes: graph + self.store.owned.len() * 4,
            reads_rows: true,
        }
    }

    fn train(&mut self, _sample: Rows<'_>) -> Result<(), IndexError> {
        Ok(())
    }

    fn add(&mut self, rows: Rows<'_>) -> Result<(), IndexError> {
        let first = self.store.len();
        if first + rows.len() >= MAX_GRAPH_ROWS {
            let received = first + rows.len();
            return Err(IndexError::TooManyRows { limit: MAX_GRAPH_ROWS - 1, received });
        }
        append(&mut self.store, self.metric, rows)?;
        if let Some(linked) = &mut self.linked {
            (first..first + rows.len()).for_each(|row| {
                linked.insert(row as u32);
            });
        }
        self.link(first, &|_, _| Ok(()))
    }

    fn remove(&mut self, rows: &RowSet) -> Result<usize, IndexError> {
        let live = self.linked.clone().unwrap_or_else(|| RowSet::full(self.store.len()));
        let rows = rows.intersect(&live);
        if rows.is_empty() {
            return Ok(0);
        }
        Err(IndexError::Parameter {
            name: "remove",
            expected: "an index that can take rows out".to_owned(),
            received: format!("{} rows to take out of a graph", rows.count()),
        })
    }

    fn reconstruct(&self, row: u32) -> Result<Vec<f32>, IndexError> {
        let is_in = (row as usize) < self.store.len()
            && self.linked.as_ref().is_none_or(|linked| linked.contains(row));
        if !is_in {
            return Err(IndexError::UnknownRow { row, rows: self.store.len() });
        }
        Ok(self.store.view().row(row).to_vec())
    }

    fn search(&self, queries: Rows<'_>, params: &SearchParams<'_>) -> Result<Vec<Hits>, IndexError> {
        let dim = self.store.dim();
        params.check(queries, dim)?;
        let queries = prepared(self.metric, queries)?;
        let allowed = params.filter.and_then(|filter| both(self.linked.as_ref(), Some(filter)));
        let linked = self.linked.as_ref().map_or(self.store.len(), RowSet::count);
        let reachable = allowed.as_ref().map_or(linked, |allowed| allowed.count());
        let ef = params.ef.unwrap_or(DEFAULT_EF).max(params.k);
        let scanned = allowed.as_deref().or(self.linked.as_ref());
        if params.radius.is_some()
            || params.k >= reachable
            || (allowed.is_some() && self.is_scan_cheaper(reachable, ef))
        {
            return Ok(self.scan(&queries, params, scanned));
        }
        let (graph, view) = (self.graph.view(), self.store.view());
        let one = |query: &[f32]| {
            let hits = self.search_one(&graph, &view, query, params, allowed.as_deref());
            // The graph may not lead to every row; whoever asks for k rows gets them.
            if hits.len() < params.k { self.scan(query, params, scanned).remove(0) } else { hits }
        };
        if rayon::current_num_threads() == 1 || queries.len() / dim < 8 {
            return Ok(queries.chunks_exact(dim).map(one).collect());
        }
        Ok(queries.par_chunks_exact(dim).map(one).collect())
    }

    fn to_faiss(&self) -> Result<crate::faiss::Index<'_>, crate::faiss::FaissError> {
        Ok(self.tree())
    }

    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.write_file(out)
    }
}
