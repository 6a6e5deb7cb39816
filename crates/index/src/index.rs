//! [`VectorIndex`], what every index can do, and [`build`], which makes one over rows that exist already.

use crate::error::{IndexError, OpenError};
use crate::file::{self, Reader};
use crate::flat::Flat;
use crate::hits::Hits;
use crate::hnsw::{CodedGraph, Hnsw};
use crate::ivf::{Coded, IvfFlat};
use crate::kernels::kernels;
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, Rows};
use crate::search::SearchParams;
use crate::spec::{Codec, IndexSpec, Structure};
use std::sync::Arc;

/// What an index is.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexInfo {
    /// Kind and parameters; never `auto`.
    pub spec: IndexSpec,
    /// Metric of its distances.
    pub metric: Metric,
    /// Values per vector.
    pub dim: usize,
    /// Rows it covers, those left out by `BuildOptions::include` counted.
    pub rows: usize,
    /// False until an index that needs training has had it.
    pub is_trained: bool,
    /// Bytes this index holds itself, shared rows not counted.
    pub bytes: usize,
    /// True when searches read the shared rows, so that serving needs them in memory too.
    pub reads_rows: bool,
    /// What whoever built it should know: too few rows to train on, for example. Not kept in a file.
    pub warnings: Vec<String>,
}

/// Vectors in, neighbours out.
///
/// Searches run on the calling thread, or on the threads of the current rayon pool when a batch or a scan is large enough;
/// call inside `ThreadPool::install` to bound them. Answers do not depend on the number of threads.
pub trait VectorIndex: Send + Sync {
    /// Kind, metric, size.
    fn info(&self) -> IndexInfo;

    /// Learns from a sample (k-means for IVF). A no-op for indexes that need none. Seeded and repeatable.
    fn train(&mut self, sample: Rows<'_>) -> Result<(), IndexError>;

    /// Appends rows; the first gets the number `info().rows`. On error nothing was added.
    fn add(&mut self, rows: Rows<'_>) -> Result<(), IndexError>;

    /// Takes rows out, which are then never found again; numbers that are out already or were never in count for nothing.
    /// The other rows keep their numbers. Returns how many were taken out.
    fn remove(&mut self, rows: &RowSet) -> Result<usize, IndexError>;

    /// The vector of a row as the index compares it: unit length under cosine, decoded where only codes are kept.
    fn reconstruct(&self, row: u32) -> Result<Vec<f32>, IndexError>;

    /// The primitive is the batch: one `Hits` per query, each at most `params.k` long.
    fn search(&self, queries: Rows<'_>, params: &SearchParams<'_>) -> Result<Vec<Hits>, IndexError>;

    /// Writes the index in our checksummed file format (not the shared rows).
    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()>;

    /// The index as FAISS knows it, vectors included, to be given to [`crate::faiss::write`]. Its ids are our row numbers.
    fn to_faiss(&self) -> Result<crate::faiss::Index<'_>, crate::faiss::FaissError> {
        Err(crate::faiss::FaissError::Write {
            what: self.info().spec.to_string(),
            hint: "Flat, SQ, PQ, lists of these and HNSW<m> can be",
        })
    }
}

/// Called with rows done and rows in all, from any thread; returning `false` cancels.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) -> bool + Sync);

/// How to build an index over rows that exist already.
#[derive(Clone, Copy, Default)]
pub struct BuildOptions<'a> {
    /// Threads to build with; 0 = those of the current rayon pool. The index is the same for any number.
    pub threads: usize,
    /// Seed of every random choice.
    pub seed: u64,
    /// Rows to include (the live ones); `None` = all. Row numbers stay those of the `RowChunks`.
    pub include: Option<&'a RowSet>,
    /// Called with rows done and rows in all, from any thread; returning `false` cancels the build.
    pub progress: Option<Progress<'a>>,
}

impl BuildOptions<'_> {
    /// How many of `rows` are included.
    pub(crate) fn count(&self, rows: &RowChunks) -> usize {
        self.include.map_or(rows.len(), |include| include.count_range(0, rows.len() as u32))
    }

    /// Which of `rows` are included, ascending.
    pub(crate) fn included(&self, rows: &RowChunks) -> Vec<u32> {
        match self.include {
            Some(include) => include.iter_range(0, rows.len()).collect(),
            None => (0..rows.len() as u32).collect(),
        }
    }

    /// Reports progress; an error when the build is to stop.
    pub(crate) fn report(&self, done: usize, total: usize) -> Result<(), IndexError> {
        match self.progress {
            Some(progress) if !progress(done, total) => Err(IndexError::Cancelled),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for BuildOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildOptions")
            .field("threads", &self.threads)
            .field("seed", &self.seed)
            .field("include", &self.include)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

/// Builds an index over `rows` (shared, not copied, except that IVF keeps its lists contiguous).
///
/// Under [`Metric::Cosine`] the rows must be unit length (see [`crate::normalise`]); this is checked.
pub fn build(
    spec: &IndexSpec,
    metric: Metric,
    rows: &RowChunks,
    options: &BuildOptions<'_>,
) -> Result<Box<dyn VectorIndex>, IndexError> {
    on_threads(options.threads, || build_here(spec, metric, rows, options))
}

/// Runs `work` on a pool of so many threads; 0 = the current one.
pub(crate) fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    if threads == 0 {
        return work();
    }
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(work),
        // No thread to be had: the calling one builds the same index, only later.
        Err(_) => work(),
    }
}

fn build_here(
    spec: &IndexSpec,
    metric: Metric,
    rows: &RowChunks,
    options: &BuildOptions<'_>,
) -> Result<Box<dyn VectorIndex>, IndexError> {
    let included = options.count(rows);
    check_rows(metric, rows, options.include)?;
    let spec = spec.resolve(included, rows.dim());
    let is_plain = is_plain(&spec);
    match spec.structure {
        Structure::Auto | Structure::Scan if is_plain => {
            options.report(included, included)?;
            Ok(Box::new(Flat::new(metric, rows, options.include.cloned())))
        }
        Structure::Ivf { nlist } if is_plain => Ok(Box::new(IvfFlat::build(metric, nlist, rows, options)?)),
        Structure::Hnsw { m } if is_plain => Ok(Box::new(Hnsw::build(metric, m, rows, options)?)),
        Structure::Scan | Structure::Ivf { .. } => Ok(Box::new(Coded::build(&spec, metric, rows, options)?)),
        Structure::Hnsw { m } => Ok(Box::new(CodedGraph::build(&spec, m, metric, rows, options)?)),
        Structure::Auto => Err(IndexError::Parameter {
            name: "spec",
            expected: "auto alone".to_owned(),
            received: spec.to_string(),
        }),
    }
}

/// Full vectors as they came.
pub(crate) fn is_plain(spec: &IndexSpec) -> bool {
    spec.transforms.is_empty() && spec.codec == Codec::Flat
}

/// Under cosine, rows must be unit length already.
pub(crate) fn check_rows(
    metric: Metric,
    rows: &RowChunks,
    include: Option<&RowSet>,
) -> Result<(), IndexError> {
    if metric == Metric::Cosine { check_unit_length(rows, include) } else { Ok(()) }
}

/// Lengths may be off by this much: f16 storage rounds by 5e-4 per value.
const UNIT_LENGTH_TOLERANCE: f32 = 2e-3;

fn check_unit_length(rows: &RowChunks, include: Option<&RowSet>) -> Result<(), IndexError> {
    let kernels = kernels();
    let mut at = 0;
    while at < rows.len() {
        let run = rows.run(at, rows.len());
        for i in 0..run.len() {
            let row = at + i;
            if include.is_some_and(|include| !include.contains(row as u32)) {
                continue;
            }
            let norm = kernels.dot(run.row(i), run.row(i)).sqrt();
            if norm.is_nan() || (norm - 1.0).abs() > UNIT_LENGTH_TOLERANCE {
                return Err(IndexError::NotUnitLength { row, norm });
            }
        }
        at += run.len();
    }
    Ok(())
}

/// Opens an index file written by `write_to`. `bytes` is usually a memory map; every length, version and checksum is checked
/// before it is trusted. `rows` must be the rows that it was built over (their count and dimension are compared).
///
/// The file is used in place where its memory allows; `bytes` must return the same unchanging memory at every call.
pub fn open(
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    rows: &RowChunks,
) -> Result<Box<dyn VectorIndex>, OpenError> {
    let reader = Reader::new(bytes)?;
    let header = reader.header;
    if header.dim != rows.dim() {
        return Err(file::mismatch(20, "dim", format!("{} as the rows given", rows.dim()), header.dim));
    }
    if header.shared_rows != rows.len() {
        let expected = format!("{} as the rows given", rows.len());
        return Err(file::mismatch(24, "shared_rows", expected, header.shared_rows));
    }
    match header.kind {
        file::KIND_FLAT => Ok(Box::new(Flat::read(&reader, rows)?)),
        file::KIND_IVF_FLAT => Ok(Box::new(IvfFlat::read(&reader, rows)?)),
        file::KIND_HNSW => Ok(Box::new(Hnsw::read(&reader, rows)?)),
        file::KIND_CODED => Ok(Box::new(Coded::read(&reader, rows)?)),
        file::KIND_CODED_GRAPH => Ok(Box::new(CodedGraph::read(&reader, rows)?)),
        other => Err(file::mismatch(12, "kind", "1 (Flat), 2 (IVFFlat), 3 (HNSW) or 4 (codes)", other)),
    }
}
