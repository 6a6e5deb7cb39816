//! Vectors in, neighbours out: metrics, SIMD kernels, quantizers, Flat / IVF / HNSW, index spec strings.
//!
//! Invariants of the whole crate:
//! * one order everywhere: **a smaller distance is closer**; scores are made at the edge by [`Metric::score`];
//! * row numbers are positions (`u32`) in a [`RowChunks`]; an index never renumbers rows;
//! * search parameters travel with each call and are never stored on the index;
//! * no files beyond byte slices and readers, no async, no logging.
//!
//! The verbs (`train`, `add`, `search`) and the spec words are those of FAISS (Douze et al. 2024, arXiv 2401.08281).

#![allow(missing_docs, dead_code, unused, clippy::todo)] // skeleton only
// CONTRACT SKELETON: the shapes below are agreed between the crates. Bodies move into modules.
use std::sync::Arc;

/// How far apart two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Squared Euclidean distance, as FAISS reports it.
    L2,
    /// Inner product; the internal distance is `-ip`.
    InnerProduct,
    /// Cosine; rows and queries are unit length inside the index and the internal distance is `-ip`.
    Cosine,
}
impl Metric {
    /// Internal distance (smaller is closer) between two vectors of equal length.
    pub fn distance(self, _a: &[f32], _b: &[f32]) -> f32 {
        todo!()
    }
    /// User-facing score of an internal distance: squared L2, inner product or cosine.
    pub fn score(self, _distance: f32) -> f32 {
        todo!()
    }
}
// also: Display/FromStr: "l2", "ip" (also "inner_product"), "cosine"; serde is NOT used in this crate.

/// Borrowed `[n, dim]` f32 rows, row-major, every value finite; checked once at construction.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    data: &'a [f32],
    dim: usize,
}
impl<'a> Rows<'a> {
    /// Wraps `data`; errors name expected and received lengths, or the first row and column that is NaN or infinite.
    pub fn new(_data: &'a [f32], _dim: usize) -> Result<Self, RowsError> {
        todo!()
    }
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
    pub fn dim(&self) -> usize {
        self.dim
    }
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }
    pub fn as_slice(&self) -> &'a [f32] {
        self.data
    }
}
/// Why a slice cannot be used as rows.
#[derive(Debug, Clone, PartialEq)]
pub enum RowsError {
    Shape { len: usize, dim: usize },
    NotFinite { row: usize, column: usize, value: f32 },
}

/// One chunk of shared f32 memory (an owned vector, or a memory map made by the store).
pub trait SharedF32: Send + Sync {
    fn as_f32(&self) -> &[f32];
}
impl SharedF32 for Vec<f32> {
    fn as_f32(&self) -> &[f32] {
        self
    }
}

/// Read-only `[len, dim]` rows in chunks of `rows_per_chunk` (a power of two) rows; cheap to clone, never copied.
/// The last chunk may hold more memory than `len` needs. Row `i` is row `i % rows_per_chunk` of chunk `i / rows_per_chunk`.
#[derive(Clone)]
pub struct RowChunks {
    pub(crate) chunks: Arc<[Arc<dyn SharedF32>]>,
    pub(crate) rows_per_chunk: usize,
    pub(crate) dim: usize,
    pub(crate) len: usize,
}
impl RowChunks {
    pub fn new(
        _chunks: Vec<Arc<dyn SharedF32>>,
        _rows_per_chunk: usize,
        _dim: usize,
        _len: usize,
    ) -> Result<Self, RowsError> {
        todo!()
    }
    /// One owned chunk; for tests, benchmarks and imports.
    pub fn from_vec(_data: Vec<f32>, _dim: usize) -> Result<Self, RowsError> {
        todo!()
    }
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    pub fn dim(&self) -> usize {
        self.dim
    }
    pub fn row(&self, _i: u32) -> &[f32] {
        todo!()
    }
    /// The longest contiguous run of rows starting at `start` and ending at or before `end`.
    pub fn run(&self, _start: usize, _end: usize) -> Rows<'_> {
        todo!()
    }
}

/// A set of row numbers (a bitmap), copy-on-write in chunks so that a clone plus one change is cheap at 100 M rows.
#[derive(Clone, Debug, Default)]
pub struct RowSet {}
impl RowSet {
    pub fn new() -> Self {
        todo!()
    }
    /// Every row in `0..n`.
    pub fn full(_n: usize) -> Self {
        todo!()
    }
    pub fn contains(&self, _row: u32) -> bool {
        todo!()
    }
    pub fn insert(&mut self, _row: u32) -> bool {
        todo!()
    }
    pub fn remove(&mut self, _row: u32) -> bool {
        todo!()
    }
    pub fn count(&self) -> usize {
        todo!()
    }
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::empty()
    }
    pub fn intersect(&self, _other: &RowSet) -> RowSet {
        todo!()
    }
    pub fn subtract(&self, _other: &RowSet) -> RowSet {
        todo!()
    }
    /// Rows of this set in `start..end` counted.
    pub fn count_range(&self, _start: u32, _end: u32) -> usize {
        todo!()
    }
}
impl FromIterator<u32> for RowSet {
    fn from_iter<T: IntoIterator<Item = u32>>(_: T) -> Self {
        todo!()
    }
}

/// One neighbour: a row number and its internal distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    pub row: u32,
    pub distance: f32,
}
/// Neighbours of one query, nearest first, ties by row number; at most `k`.
pub type Hits = Vec<Hit>;

/// What one search asks for. `None` means the index's own default.
#[derive(Clone, Copy, Debug)]
pub struct SearchParams<'a> {
    pub k: usize,
    /// IVF: lists to visit.
    pub nprobe: Option<usize>,
    /// HNSW: candidates kept while searching layer 0 (ef_search).
    pub ef: Option<usize>,
    /// Only these rows may be returned.
    pub filter: Option<&'a RowSet>,
}
impl<'a> SearchParams<'a> {
    pub fn new(k: usize) -> Self {
        SearchParams { k, nprobe: None, ef: None, filter: None }
    }
    /// Sets whichever of `nprobe` / `ef` the kind of index understands (what `calibrate` measured).
    pub fn with_effort(self, _effort: Effort) -> Self {
        todo!()
    }
    pub fn with_filter(mut self, filter: &'a RowSet) -> Self {
        self.filter = Some(filter);
        self
    }
}
/// Search effort of an approximate index, as calibrated or as asked by a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    Exact,
    Nprobe(usize),
    Ef(usize),
}

/// An index description in FAISS's factory grammar. `FromStr` + `Display` round-trip.
/// Now: `Flat`, `IVF<n>,Flat`, `HNSW<m>[,Flat]`, `auto`. The error shows where in the string and the nearest valid word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexSpec {
    Auto,
    Flat,
    IvfFlat { nlist: usize },
    Hnsw { m: usize },
}
impl IndexSpec {
    /// Replaces `Auto` by a concrete spec for `rows` rows (Flat below 10 000, else sized to the data).
    pub fn resolve(&self, _rows: usize, _dim: usize) -> IndexSpec {
        todo!()
    }
}

/// What an index is.
#[derive(Clone, Debug)]
pub struct IndexInfo {
    pub spec: IndexSpec,
    pub metric: Metric,
    pub dim: usize,
    pub rows: usize,
    pub is_trained: bool,
    /// Bytes this index holds itself, shared rows not counted.
    pub bytes: usize,
}

/// Vectors in, neighbours out.
pub trait VectorIndex: Send + Sync {
    fn info(&self) -> IndexInfo;
    /// Learns from a sample (k-means for IVF). A no-op for indexes that need none. Seeded and repeatable.
    fn train(&mut self, sample: Rows<'_>) -> Result<(), IndexError>;
    /// Appends rows; the first gets the number `info().rows`.
    fn add(&mut self, rows: Rows<'_>) -> Result<(), IndexError>;
    /// The primitive is the batch: one `Hits` per query, each at most `params.k` long.
    fn search(&self, queries: Rows<'_>, params: &SearchParams<'_>) -> Result<Vec<Hits>, IndexError>;
    /// Writes the index in our checksummed file format (not the shared rows).
    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()>;
}

/// How to build an index over rows that exist already.
pub struct BuildOptions<'a> {
    pub threads: usize,
    pub seed: u64,
    /// Rows to include (the live ones); `None` = all. Row numbers stay those of the `RowChunks`.
    pub include: Option<&'a RowSet>,
    /// Called with rows done and rows in all, from any thread; returning `false` cancels the build.
    pub progress: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

/// Builds an index over `rows` (shared, not copied, except that IVF keeps its lists contiguous).
pub fn build(
    _spec: &IndexSpec,
    _metric: Metric,
    _rows: &RowChunks,
    _options: &BuildOptions<'_>,
) -> Result<Box<dyn VectorIndex>, IndexError> {
    todo!()
}

/// Opens an index file written by `write_to`. `bytes` is usually a memory map; every length, version and checksum is checked
/// before it is trusted. `rows` must be the rows that it was built over (their count and dim are compared).
pub fn open(
    _bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    _rows: &RowChunks,
) -> Result<Box<dyn VectorIndex>, OpenError> {
    todo!()
}

/// Exact top k over `start..end` of `rows`; what the tail, recall measurements and small filters use.
pub fn exact(
    _rows: &RowChunks,
    _range: std::ops::Range<usize>,
    _metric: Metric,
    _queries: Rows<'_>,
    _k: usize,
    _filter: Option<&RowSet>,
) -> Result<Vec<Hits>, IndexError> {
    todo!()
}

/// The least effort that reaches `target_recall` at 10 on held-out queries, and the recall that was measured.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    pub effort: Effort,
    pub recall_at_10: f32,
    pub queries: usize,
}
/// Measures on a seeded sample of the rows themselves (each row excluded from its own answer).
pub fn calibrate(
    _index: &dyn VectorIndex,
    _rows: &RowChunks,
    _include: Option<&RowSet>,
    _target_recall: f32,
    _seed: u64,
) -> Result<Calibration, IndexError> {
    todo!()
}

/// What can go wrong in `train`, `add`, `search`, `build`.
#[derive(Debug)]
pub enum IndexError {
    Dimension {
        expected: usize,
        received: usize,
    },
    Rows(RowsError),
    /// k outside 1..=MAX_K, nprobe or ef of 0, ...
    Parameter {
        name: &'static str,
        expected: String,
        received: String,
    },
    NotTrained,
    TooFewRows {
        needed: usize,
        received: usize,
    },
    ZeroVector {
        row: usize,
    },
    Cancelled,
}
/// Why bytes are not an index file of ours.
#[derive(Debug)]
pub enum OpenError {/* offset, field, expected, received */}
/// Why a spec string cannot be read.
#[derive(Debug)]
pub struct SpecError {}
