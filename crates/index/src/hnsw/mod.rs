//! [`Hnsw`]: a navigable small-world graph in levels (Malkov and Yashunin, arXiv 1603.09320), walked by codes of the rows.
//!
//! As FAISS's `IndexHNSWFlat`: `M` links per node and level, `2M` on level 0, a row's number of levels drawn with factor
//! `1 / ln M`. Vectors stay in the shared rows; rows added later are owned. A walk reads four bits per value ([`codes`]) and only
//! the rows that may be among the answers are read and measured exactly, so distances are those of the rows; see
//! `docs/decisions/0005-quantized-graph.md`. Rows that a build leaves out are not linked.
//!
//! Under inner product the graph is built and searched by inner products (Morozov and Babenko 2018, "Non-metric similarity
//! graphs for maximum inner product search"): long rows attract links, and they are also what searches look for. Lifting the
//! rows to equal length (Bachrach et al. 2014) was measured to be far worse; see `docs/decisions/0002-graph-building.md`.
//!
//! Under a filter the walk goes on through rows that are not allowed. When few rows are allowed, comparing those directly is
//! cheaper than walking past the others; see [`Hnsw::is_scan_cheaper`]. Rows taken out are walked through likewise, until there
//! are enough of them to mend the graph around them ([`repair`]).

mod coded;
mod codes;
mod file;
mod from_links;
mod graph;
mod held_out;
mod insert;
mod links;
mod measure;
mod repair;
mod search;
mod to_faiss;
mod walk;

use crate::error::IndexError;
use crate::flat::append;
use crate::hits::Hits;
use crate::index::{BuildOptions, IndexInfo, VectorIndex};
use crate::kernels::kernels;
use crate::kernels::scattered::scattered_kernels;
use crate::metric::Metric;
use crate::random::Random;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, RowStore, Rows};
use crate::search::{SearchParams, prepared};
use crate::spec::IndexSpec;
pub(crate) use coded::CodedGraph;
use codes::{CODES_FROM_DIM, Codes};
use graph::{Graph, MAX_LEVELS};
use insert::{BATCH_ROWS, Inserter};
use walk::ScratchPool;

/// Candidates kept while a row looks for its links.
const EF_CONSTRUCTION: usize = 128;
/// The mean is taken anew when there are this many times the rows it was taken over ...
const MEAN_GROWTH: usize = 4;
/// ... until it was taken over this many, which bounds what one `add` may have to encode again.
const MEAN_SETTLED_ROWS: usize = 16_384;
/// Rows of one graph; two bits of a row number mark nodes during a walk.
const MAX_GRAPH_ROWS: usize = 1 << 30;

/// Graph over rows, with codes to walk it by.
#[derive(Debug)]
pub(crate) struct Hnsw {
    metric: Metric,
    seed: u64,
    store: RowStore,
    graph: Graph,
    /// What walks read instead of rows; `None` for short rows and files of older versions.
    codes: Option<Codes>,
    /// Rows that are linked and not taken out; `None` = all.
    linked: Option<RowSet>,
    /// Rows taken out that links may still lead to.
    tombstones: usize,
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
        let mut index = Hnsw::empty(metric, m, rows, options);
        index.link(0, &|done, total| options.report(done, total))?;
        Ok(index)
    }

    /// A graph over the included rows in which none is linked yet.
    fn empty(metric: Metric, m: usize, rows: &RowChunks, options: &BuildOptions<'_>) -> Self {
        Hnsw {
            metric,
            seed: options.seed,
            store: RowStore::new(rows.clone()),
            graph: Graph::new(m),
            codes: (rows.dim() >= CODES_FROM_DIM).then(|| Codes::new(rows.dim(), metric, options.seed)),
            linked: options.include.map(|include| include.intersect(&RowSet::full(rows.len()))),
            tombstones: 0,
            pool: ScratchPool::default(),
        }
    }

    /// Links the rows from `first` on.
    fn link(
        &mut self,
        first: usize,
        report: &dyn Fn(usize, usize) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let new_rows = self.make_room(first)?;
        self.insert(&new_rows, &|done| report(done, new_rows.len()))
    }

    /// Gives the rows from `first` on their levels and codes; returns those that are to be linked.
    fn make_room(&mut self, first: usize) -> Result<Vec<u32>, IndexError> {
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
        self.encode();
        Ok(new_rows)
    }

    /// Links rows that have room; `report` gets the number done.
    fn insert(
        &mut self,
        rows: &[u32],
        report: &dyn Fn(usize) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.with_inserter(|inserter, graph| {
            for (b, batch) in rows.chunks(BATCH_ROWS).enumerate() {
                report(b * BATCH_ROWS)?;
                inserter.insert(graph, batch);
            }
            Ok::<_, IndexError>(())
        })?;
        report(rows.len())
    }

    /// Calls `change` with what an insertion needs and the graph to change.
    fn with_inserter<R>(&mut self, change: impl FnOnce(&Inserter<'_>, &mut Graph) -> R) -> R {
        let view = self.store.view();
        let codes = self.codes.as_ref().map(|codes| codes.view(scattered_kernels()));
        let inserter = Inserter {
            kernels: kernels(),
            view: &view,
            is_l2: self.metric == Metric::L2,
            dim: self.store.dim(),
            ef_construction: EF_CONSTRUCTION,
            has_tombstones: self.tombstones > 0,
            pool: &self.pool,
            codes: codes.as_ref(),
        };
        change(&inserter, &mut self.graph)
    }

    /// Gives every row a code; takes the mean anew while the index has grown much since.
    fn encode(&mut self) {
        let Some(codes) = &mut self.codes else { return };
        let trained = codes.trained_rows;
        if trained < MEAN_SETTLED_ROWS && self.store.len() >= trained.saturating_mul(MEAN_GROWTH).max(1) {
            codes.train(&self.store);
        }
        codes.extend(&self.store);
    }

    /// True for rows that can be found.
    fn is_in(&self, row: u32) -> bool {
        (row as usize) < self.store.len() && self.linked.as_ref().is_none_or(|linked| linked.contains(row))
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
        let codes = self.codes.as_ref().map_or(0, |codes| codes.bytes());
        IndexInfo {
            spec: IndexSpec::hnsw(self.graph.m),
            metric: self.metric,
            dim: self.store.dim(),
            rows: self.store.len(),
            is_trained: true,
            bytes: self.graph.bytes() + codes + self.store.owned.len() * 4,
            reads_rows: true,
            warnings: Vec::new(),
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
        Ok(self.take_out(rows))
    }

    fn reconstruct(&self, row: u32) -> Result<Vec<f32>, IndexError> {
        if !self.is_in(row) {
            return Err(IndexError::UnknownRow { row, rows: self.store.len() });
        }
        Ok(self.store.view().row(row).to_vec())
    }

    fn search(&self, queries: Rows<'_>, params: &SearchParams<'_>) -> Result<Vec<Hits>, IndexError> {
        params.check(queries, self.store.dim())?;
        let queries = prepared(self.metric, queries)?;
        Ok(self.answers(&queries, params))
    }

    fn to_faiss(&self) -> Result<crate::faiss::Index<'_>, crate::faiss::FaissError> {
        Ok(self.tree())
    }

    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.write_file(out)
    }
}
