//! Vectors in, neighbours out: metrics, SIMD kernels, Flat / IVF / HNSW, index spec strings.
//!
//! Invariants of the whole crate:
//! * one order everywhere: **a smaller distance is closer**; scores are made at the edge by [`Metric::score`];
//! * row numbers are positions (`u32`) in a [`RowChunks`]; an index never renumbers rows;
//! * search parameters travel with each call and are never stored on the index;
//! * no files beyond byte slices and readers, no async, no logging.
//!
//! The verbs (`train`, `add`, `search`) and the spec words are those of FAISS (Douze et al. 2024, arXiv 2401.08281).
//!
//! ```
//! use bilin_index::{BuildOptions, IndexSpec, Metric, RowChunks, Rows, SearchParams, build};
//! let rows = RowChunks::from_vec(vec![0.0, 0.0, 3.0, 4.0, 1.0, 0.0], 2)?;
//! let index = build(&IndexSpec::AUTO, Metric::L2, &rows, &BuildOptions::default())?;
//! let hits = index.search(Rows::new(&[0.9, 0.0], 2)?, &SearchParams::new(2))?;
//! assert_eq!(hits[0].iter().map(|hit| hit.row).collect::<Vec<_>>(), [2, 0]);
//! # Ok::<(), bilin_index::IndexError>(())
//! ```

mod auto;
mod codes;
mod error;
mod exact;
pub mod faiss;
mod file;
mod flat;
mod hits;
mod hnsw;
mod id_map;
mod index;
mod ivf;
pub mod kernels;
mod kmeans;
mod metric;
mod random;
mod rotation;
mod row_set;
mod rows;
mod search;
mod shadow;
mod spec;
mod transform;

pub use auto::{Built, Calibration, Candidate, Choice, Verdict, Wishes, build_to_target, choose};
pub use error::{IndexError, MAX_K, OpenError};
pub use exact::exact;
pub use hits::{Hit, Hits};
pub use id_map::IdMap;
pub use index::{BuildOptions, IndexInfo, Progress, VectorIndex, build, open};
pub use metric::{Metric, MetricError, normalise};
pub use row_set::RowSet;
pub use rows::{MAX_DIM, MAX_ROWS, RowChunks, Rows, RowsError, SharedF32};
pub use search::{Effort, SearchParams};
pub use spec::{
    AUTO_FLAT_BELOW_ROWS, AUTO_GRAPH_UP_TO_ROWS, Codec, HNSW_M_RANGE, IndexSpec, MAX_NLIST, PQ_BITS_RANGE,
    RABITQ_BITS_RANGE, ScalarBits, SpecError, Structure, Transform,
};
