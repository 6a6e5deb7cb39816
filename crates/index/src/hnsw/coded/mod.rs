//! [`CodedGraph`]: a graph that finds candidates, and codes that measure them; FAISS's `IndexHNSWSQ`, `IndexHNSWPQ`, and graphs
//! behind transforms.
//!
//! The graph is that of [`Hnsw`], walked by four bits per value of the vectors as they came, whatever the codec; its candidates
//! are then measured by the codes (a scan of [`Coded`], in which every row has its place), so a search reads no full rows. With
//! `RFlat` the candidates are measured against full rows instead. Building, and rows added later, need the full rows. Invariant:
//! both parts hold the same rows under the same numbers.

mod file;

use super::Hnsw;
use crate::error::IndexError;
use crate::hits::Hits;
use crate::index::{BuildOptions, IndexInfo, VectorIndex};
use crate::ivf::Coded;
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, Rows};
use crate::search::{SearchParams, prepared};
use crate::spec::{IndexSpec, Structure};
use rayon::prelude::*;

/// Queries from which a batch is spread over threads.
const PARALLEL_FROM_QUERIES: usize = 8;

/// A graph over rows, and their codes.
#[derive(Debug)]
pub(crate) struct CodedGraph {
    spec: IndexSpec,
    graph: Hnsw,
    codes: Coded,
}

/// The spec of the codes of a graph's spec.
fn codes_of(spec: &IndexSpec) -> IndexSpec {
    IndexSpec { structure: Structure::Scan, refine: false, ..spec.clone() }
}

impl CodedGraph {
    /// Trains the codec and links the included rows.
    pub(crate) fn build(
        spec: &IndexSpec,
        m: usize,
        metric: Metric,
        rows: &RowChunks,
        options: &BuildOptions<'_>,
    ) -> Result<Self, IndexError> {
        let codes = CodedGraph::codes(spec, metric, rows, options)?;
        Ok(CodedGraph::join(spec, Hnsw::build(metric, m, rows, options)?, codes))
    }

    /// The codes alone. To be made before the graph: they take seconds where it takes minutes, so that a codec which does not
    /// fit the rows is refused at once. Progress is that of the graph.
    pub(crate) fn codes(
        spec: &IndexSpec,
        metric: Metric,
        rows: &RowChunks,
        options: &BuildOptions<'_>,
    ) -> Result<Coded, IndexError> {
        Coded::build(&codes_of(spec), metric, rows, &BuildOptions { progress: None, ..*options })
    }

    /// A graph and codes of the same rows.
    pub(crate) fn join(spec: &IndexSpec, graph: Hnsw, codes: Coded) -> Self {
        CodedGraph { spec: spec.clone(), graph, codes }
    }
}

impl VectorIndex for CodedGraph {
    fn info(&self) -> IndexInfo {
        let (graph, codes) = (self.graph.info(), self.codes.info());
        IndexInfo {
            spec: self.spec.clone(),
            bytes: graph.bytes + codes.bytes,
            // Short rows have no codes to walk by.
            reads_rows: self.spec.refine || self.graph.codes.is_none(),
            warnings: codes.warnings,
            ..graph
        }
    }

    fn train(&mut self, sample: Rows<'_>) -> Result<(), IndexError> {
        self.codes.train(sample)
    }

    fn add(&mut self, rows: Rows<'_>) -> Result<(), IndexError> {
        // The graph refuses more than the codes do, so that it goes first.
        self.graph.add(rows)?;
        self.codes.add(rows)
    }

    fn remove(&mut self, rows: &RowSet) -> Result<usize, IndexError> {
        self.codes.remove(rows)?;
        self.graph.remove(rows)
    }

    fn reconstruct(&self, row: u32) -> Result<Vec<f32>, IndexError> {
        self.codes.reconstruct(row)
    }

    fn search(&self, queries: Rows<'_>, params: &SearchParams<'_>) -> Result<Vec<Hits>, IndexError> {
        if self.spec.refine {
            return self.graph.search(queries, params);
        }
        let dim = self.graph.store.dim();
        params.check(queries, dim)?;
        let queries = prepared(self.graph.metric, queries)?;
        let found = self.graph.candidates(&queries, params);
        let one = |(query, rows): (&[f32], &Vec<u32>)| self.codes.measured(query, rows, params);
        if rayon::current_num_threads() == 1 || found.len() < PARALLEL_FROM_QUERIES {
            return Ok(queries.chunks_exact(dim).zip(&found).map(one).collect());
        }
        Ok(queries.par_chunks_exact(dim).zip(&found).map(one).collect())
    }

    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.write_file(out)
    }
}
