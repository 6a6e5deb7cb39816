//! [`Coded`]: rows as codes, in lists by their nearest centroid or in one list of all (a scan), behind transforms, and with
//! full rows beside them for refinement; FAISS's `IndexIVFPQ`, `IndexIVFScalarQuantizer`, `IndexPQ`, `IndexPreTransform`,
//! `IndexRefineFlat` and their like in one.
//!
//! A query goes through the transforms, finds its lists, and is bound to the codec once. Refinement measures the vectors as
//! they came, before any transform. Invariants: each included row is in exactly one list; lists hold ascending row
//! numbers; the same seed and rows give the same index for any number of threads.

mod build;
mod file;
mod list;
mod measured;
mod parts;
mod refine;
mod search;
mod to_faiss;

use crate::codes::{Codes, Settings};
use crate::error::IndexError;
use crate::hits::Hits;
use crate::index::{IndexInfo, VectorIndex};
use crate::ivf::training_sample;
use crate::kmeans::Assigner;
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::{MAX_ROWS, RowStore, Rows};
use crate::search::{SearchParams, prepared};
use crate::spec::{IndexSpec, Structure};
use crate::transform::Chain;
pub(super) use build::warnings;
use list::CodeList;
pub(crate) use parts::Parts;
use rayon::prelude::*;
use refine::Slack;

/// Rows as codes.
#[derive(Debug)]
pub(crate) struct Coded {
    spec: IndexSpec,
    metric: Metric,
    dim: usize,
    seed: u64,
    /// Rows numbered so far; those left out are in no list.
    rows: usize,
    /// Rows of the `RowChunks` it was built over, of `rows`.
    shared_rows: usize,
    /// Full rows, when candidates are refined.
    store: Option<RowStore>,
    /// Rows that are in a list.
    members: RowSet,
    lists: Vec<CodeList>,
    trained: Trained,
    warnings: Vec<String>,
}

/// What training makes.
#[derive(Debug)]
struct Trained {
    chain: Chain,
    /// `[nlist, dim after transforms]`.
    centroids: Vec<f32>,
    coarse: Assigner,
    codes: Box<dyn Codes>,
    slack: Slack,
}

impl Trained {
    /// Values per vector after transforms.
    fn dim(&self) -> usize {
        self.chain.dim_out()
    }

    fn centroid(&self, list: usize) -> &[f32] {
        &self.centroids[list * self.dim()..(list + 1) * self.dim()]
    }
}

/// What the codec of a spec is made for.
fn settings_of(spec: &IndexSpec, metric: Metric, dim: usize, seed: u64) -> Settings {
    let in_lists = matches!(spec.structure, Structure::Ivf { .. });
    let by_residual = Settings::stores_differences(spec.codec, in_lists);
    Settings { codec: spec.codec, metric, dim, by_residual, seed }
}

/// Lists of a spec; a scan is one list.
fn nlist_of(spec: &IndexSpec) -> usize {
    match spec.structure {
        Structure::Ivf { nlist } => nlist,
        _ => 1,
    }
}

impl Coded {
    /// Numbers of the rows not kept at all, those removed and those never included.
    fn unknown(&self, row: u32) -> IndexError {
        IndexError::UnknownRow { row, rows: self.rows }
    }
}

impl VectorIndex for Coded {
    fn info(&self) -> IndexInfo {
        let lists: usize = self.lists.iter().map(|list| list.ids.bytes() + list.codes.bytes()).sum();
        let owned = self.store.as_ref().map_or(0, |store| store.owned.len() * 4);
        let learned = self.trained.codes.learned().len() + self.trained.chain.learned().len();
        let fixed = (self.trained.centroids.len() * 2 + learned) * 4;
        IndexInfo {
            spec: self.spec.clone(),
            metric: self.metric,
            dim: self.dim,
            rows: self.rows,
            is_trained: true,
            bytes: lists + owned + fixed + self.lists.len() * size_of::<CodeList>() + self.rows.div_ceil(8),
            reads_rows: self.store.is_some(),
            warnings: self.warnings.clone(),
        }
    }

    fn train(&mut self, sample: Rows<'_>) -> Result<(), IndexError> {
        let sample = training_sample(self.metric, self.dim, self.rows, sample)?;
        self.trained = build::train(&self.spec, self.metric, self.dim, &sample, self.seed, &|| Ok(()))?;
        self.warnings = build::warnings(&self.spec, sample.len() / self.dim);
        Ok(())
    }

    fn add(&mut self, rows: Rows<'_>) -> Result<(), IndexError> {
        if rows.dim() != self.dim {
            return Err(IndexError::Dimension { expected: self.dim, received: rows.dim() });
        }
        let received = self.rows + rows.len();
        if received > MAX_ROWS {
            return Err(IndexError::TooManyRows { limit: MAX_ROWS, received });
        }
        let vectors = prepared(self.metric, rows)?;
        let ids: Vec<u32> = (self.rows as u32..received as u32).collect();
        if let Some(store) = &mut self.store {
            store.owned.extend_from_slice(&vectors);
        }
        self.fill(&ids, &vectors);
        self.rows = received;
        Ok(())
    }

    fn remove(&mut self, rows: &RowSet) -> Result<usize, IndexError> {
        let codes = &*self.trained.codes;
        let removed = self.lists.par_iter_mut().map(|list| list.remove(codes, rows)).sum();
        self.members = self.members.subtract(rows);
        Ok(removed)
    }

    fn reconstruct(&self, row: u32) -> Result<Vec<f32>, IndexError> {
        if !self.members.contains(row) {
            return Err(self.unknown(row));
        }
        if let Some(store) = &self.store {
            return Ok(store.view().row(row).to_vec());
        }
        let found = self.lists.iter().enumerate().find_map(|(l, list)| Some((l, list.position_of(row)?)));
        let (l, at) = found.ok_or_else(|| self.unknown(row))?;
        let mut vector = vec![0.0; self.trained.dim()];
        let codes = self.lists[l].codes.as_slice();
        self.trained.codes.decode(codes, at, self.trained.centroid(l), &mut vector);
        Ok(self.trained.chain.invert(vector))
    }

    fn search(&self, queries: Rows<'_>, params: &SearchParams<'_>) -> Result<Vec<Hits>, IndexError> {
        params.check(queries, self.dim)?;
        let queries = prepared(self.metric, queries)?;
        Ok(self.search_all(&queries, params))
    }

    fn to_faiss(&self) -> Result<crate::faiss::Index<'_>, crate::faiss::FaissError> {
        self.tree()
    }

    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.write_file(out)
    }
}

#[cfg(test)]
mod tests;
