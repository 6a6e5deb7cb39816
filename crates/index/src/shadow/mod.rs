//! [`Shadow`]: rows compressed to four and eight bits per value with a known error, so that exact search reads less.
//!
//! A row `x` is kept as `y = x - mean`, perhaps rotated, `y = scale * c + residual`, `c` in -8..=7 (the *coarse* code, in blocks of 16 rows), and the
//! residual once more as `fine_scale * f + rest` (the *fine* code, packed row by row). With each code goes the norm of what it
//! leaves out, rounded up. A query is rounded to i8 the same way, so integer kernels give the distance between the rounded
//! query and the rounded row, and the triangle inequality (L2) or Cauchy-Schwarz (inner product) bounds the true one from
//! below: `bound.rs` has the formulas and every rounding. `search.rs` scans the coarse codes, looks at the fine code of what
//! is left, and measures the last few rows in f32.
//!
//! Invariant: a row is passed over only when the f32 kernel would give it a distance above the k-th found so far. So the answer
//! has the bits of a plain scan: the same rows, distances and order of ties.
//!
//! Rows that the bound cannot carry (a norm above [`MAX_NORM`]) have an infinite error and are always measured.
//! The idea is that of the VA-file (Weber, Schek, Blott 1998): an approximation small enough to be scanned, then the vectors.

mod bound;
mod encode;
mod lists;
mod search;
#[cfg(test)]
mod tests;

pub(crate) use lists::{ListCodes, ListFrame, ListQuery, MAX_BLOCKS};
pub(crate) use search::ShadowScan;

use crate::error::OpenError;
use crate::file::{self, Array, Reader, Section};
use crate::kernels::{BLOCK_ROWS, BLOCK_TERMS, Kernels, LINE_BYTES, LINE_VALUES};
use crate::metric::Metric;
use crate::rotation::Rotation;
use crate::rows::RowStore;

/// Rows from which a shadow pays for itself; fewer are in a cache anyway.
pub(crate) const MIN_ROWS: usize = 2048;
/// Values per row between which a shadow is kept: shorter rows are as small as their terms, longer ones would let the
/// bounds on f32 rounding grow past use.
const DIMS: std::ops::RangeInclusive<usize> = 12..=1 << 15;
/// Norm up to which rows and queries are bounded, so that no square of a sum overflows f32.
const MAX_NORM: f64 = 1e18;
/// After growing by this factor the mean is taken anew.
const REBUILD_FACTOR: usize = 4;
/// Every shadow that is rotated has the same rotation for its dimension.
const ROTATION_SEED: u64 = 0;
/// Floats per row beside its fine code: bias, scale, error.
const FINE_TERMS: usize = 3;

/// Compressed rows with error bounds; see the module's text.
#[derive(Debug)]
pub(crate) struct Shadow {
    metric: Metric,
    dim: usize,
    rows: usize,
    /// Rows there were when the mean was taken.
    mean_rows: usize,
    /// `[dim]`.
    mean: Vec<f32>,
    /// Of centred rows and queries, where that makes codes better: it spreads loud columns over all.
    rotation: Option<Rotation>,
    /// `[blocks][lines][LINE_BYTES]`.
    coarse: Array<u8>,
    /// `[blocks][3][BLOCK_ROWS]`: bias, scale, error.
    coarse_terms: Array<f32>,
    /// `[blocks]`: the largest norm of a bounded row, rounded up.
    reach: Array<f32>,
    /// `[rows][dim / 2 rounded up]`.
    fine: Array<u8>,
    /// `[rows][3]`: bias, scale, error.
    fine_terms: Array<f32>,
}

impl Shadow {
    /// A shadow of all rows of `store`, when there are enough and of a dimension that gains by it.
    pub(crate) fn of(store: &RowStore, metric: Metric, kernels: &Kernels) -> Option<Self> {
        let is_worth_it = store.len() >= MIN_ROWS && DIMS.contains(&store.dim());
        is_worth_it.then(|| Shadow::build(store, metric, kernels))
    }

    /// Follows `store` after rows were added at its end. Takes the mean anew when the rows have multiplied.
    pub(crate) fn follow(
        shadow: Option<Self>,
        store: &RowStore,
        metric: Metric,
        kernels: &Kernels,
    ) -> Option<Self> {
        match shadow {
            Some(mut shadow) if store.len() / REBUILD_FACTOR < shadow.mean_rows => {
                shadow.extend(store, kernels);
                Some(shadow)
            }
            _ => Shadow::of(store, metric, kernels),
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let codes = self.coarse.bytes() + self.fine.bytes();
        let floats = self.coarse_terms.bytes() + self.reach.bytes() + self.fine_terms.bytes();
        codes + floats + 4 * self.mean.len()
    }

    /// Whether rows are rotated before they are rounded; kept in the file's header.
    pub(crate) fn is_turned(&self) -> bool {
        self.rotation.is_some()
    }

    fn shape(&self) -> Shape {
        Shape { dim: self.dim }
    }

    /// What `read` takes back, in this order.
    pub(crate) fn sections(&self) -> [Section<'_>; 6] {
        [
            Section::new(b"smea", &self.mean),
            Section::new(b"scod", self.coarse.as_slice()),
            Section::new(b"ster", self.coarse_terms.as_slice()),
            Section::new(b"srea", self.reach.as_slice()),
            Section::new(b"sfin", self.fine.as_slice()),
            Section::new(b"sfte", self.fine_terms.as_slice()),
        ]
    }

    /// Reads what `sections` gave. Any codes and any floats are safe to search with (a bound that is no number holds nothing
    /// back); shapes are checked, the mean must be finite.
    pub(crate) fn read(
        reader: &Reader,
        rows: usize,
        mean_rows: usize,
        is_turned: bool,
    ) -> Result<Self, OpenError> {
        let (metric, dim) = (reader.header.metric, reader.header.dim);
        let shape = Shape { dim };
        if !DIMS.contains(&dim) {
            return Err(file::mismatch(20, "dim", format!("{DIMS:?} with a shadow"), dim));
        }
        let blocks = rows.div_ceil(BLOCK_ROWS);
        let (mean, offset) = reader.array::<f32>(b"smea", "mean", dim)?;
        let mean = mean.as_slice().to_vec();
        if let Some(value) = mean.iter().find(|value| !value.is_finite()) {
            return Err(file::mismatch(offset, "mean", "finite values", value));
        }
        let (coarse, _) = reader.array(b"scod", "coarse_codes", blocks * shape.block_bytes())?;
        let (coarse_terms, _) = reader.array(b"ster", "coarse_terms", blocks * BLOCK_TERMS)?;
        let (reach, _) = reader.array(b"srea", "reach", blocks)?;
        let (fine, _) = reader.array(b"sfin", "fine_codes", rows * shape.fine_bytes())?;
        let (fine_terms, _) = reader.array(b"sfte", "fine_terms", rows * FINE_TERMS)?;
        let rotation = is_turned.then(|| Rotation::new(dim, ROTATION_SEED));
        Ok(Shadow {
            metric,
            dim,
            rows,
            mean_rows,
            mean,
            rotation,
            coarse,
            coarse_terms,
            reach,
            fine,
            fine_terms,
        })
    }

    /// Rows there were when the mean was taken; kept in the file's header.
    pub(crate) fn mean_rows(&self) -> usize {
        self.mean_rows
    }
}

/// Sizes that follow from the dimension.
#[derive(Clone, Copy)]
struct Shape {
    dim: usize,
}

impl Shape {
    fn lines(self) -> usize {
        self.dim.div_ceil(LINE_VALUES)
    }

    fn block_bytes(self) -> usize {
        self.lines() * LINE_BYTES
    }

    fn fine_bytes(self) -> usize {
        self.dim.div_ceil(2)
    }
}
