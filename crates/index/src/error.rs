//! What can go wrong with an index: in use ([`IndexError`]) and when its file is opened ([`OpenError`]).

use crate::rows::RowsError;

/// Largest `k` of a search.
pub const MAX_K: usize = 1 << 20;

/// What can go wrong in `train`, `add`, `search`, `build`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IndexError {
    /// Vectors of another dimension than the index's.
    #[error("dimension {received}, expected {expected}")]
    Dimension {
        /// Values per row of the index.
        expected: usize,
        /// Values per row that came.
        received: usize,
    },
    /// A slice cannot be used as rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// `k` outside 1..=[`MAX_K`], `nprobe` or `ef` of 0, a spec that cannot be built.
    #[error("{name} is {received}, expected {expected}")]
    Parameter {
        /// Which parameter.
        name: &'static str,
        /// What it may be.
        expected: String,
        /// What it was.
        received: String,
    },
    /// The index must be trained before it can take rows.
    #[error("the index is not trained, expected `train` before `add`")]
    NotTrained,
    /// Too few training rows for the spec.
    #[error("{received} rows, expected at least {needed} to train this index")]
    TooFewRows {
        /// Fewest rows that will do.
        needed: usize,
        /// Rows that came.
        received: usize,
    },
    /// A vector of length zero has no direction, so no cosine.
    #[error("row {row} is all zeros, expected a vector with a direction under the cosine metric")]
    ZeroVector {
        /// Its position among the rows or queries given.
        row: usize,
    },
    /// Shared rows must be unit length already under the cosine metric.
    #[error("row {row} has length {norm}, expected unit length under the cosine metric")]
    NotUnitLength {
        /// Its row number.
        row: usize,
        /// Its Euclidean length.
        norm: f32,
    },
    /// More rows than row numbers.
    #[error("{received} rows, expected at most {limit}")]
    TooManyRows {
        /// Most rows of one index.
        limit: usize,
        /// Rows it would have had.
        received: usize,
    },
    /// A row number that the index does not hold, or no longer.
    #[error("row {row} is not in the index (it has {rows} rows, removed ones counted)")]
    UnknownRow {
        /// The number.
        row: u32,
        /// Rows numbered so far.
        rows: usize,
    },
    /// An id that stands for two rows.
    #[error("id {id} comes twice, expected each id once")]
    DuplicateId {
        /// The id.
        id: i64,
    },
    /// The progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Why bytes are not an index file of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index file, offset {offset}, {field}: expected {expected}, received {received}")]
pub struct OpenError {
    /// Byte offset of the field in the file.
    pub offset: u64,
    /// Its name in `docs/formats.md`.
    pub field: &'static str,
    /// What it should have been.
    pub expected: String,
    /// What it was.
    pub received: String,
}
