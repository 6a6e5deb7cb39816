//! What one search asks for: [`SearchParams`] and [`Effort`], and the checks and preparation that every index shares.

use crate::error::{IndexError, MAX_K};
use crate::metric::{Metric, normalise};
use crate::row_set::RowSet;
use crate::rows::Rows;
use std::borrow::Cow;

/// What one search asks for. `None` means the index's own default.
#[derive(Clone, Copy, Debug)]
pub struct SearchParams<'a> {
    /// Neighbours wanted, `1..=MAX_K`; an index with fewer rows returns what there is.
    pub k: usize,
    /// IVF: lists to visit.
    pub nprobe: Option<usize>,
    /// HNSW: candidates kept while searching layer 0 (ef_search); at least `k` are.
    pub ef: Option<usize>,
    /// Codes behind `RFlat`: this many times `k` candidates are measured again; `None` = as many as the codes' error asks for.
    pub refine: Option<usize>,
    /// Only hits whose distance is below this one (a range search); in the order of [`crate::Hit::distance`], so a bound on
    /// an inner product is given negated.
    pub radius: Option<f32>,
    /// Only these rows may be returned.
    pub filter: Option<&'a RowSet>,
}

impl<'a> SearchParams<'a> {
    /// The `k` nearest rows with the index's default effort.
    pub fn new(k: usize) -> Self {
        SearchParams { k, nprobe: None, ef: None, refine: None, radius: None, filter: None }
    }

    /// Every row nearer than `radius`, with the index's default effort; at most [`MAX_K`] of them.
    pub fn range(radius: f32) -> Self {
        SearchParams { radius: Some(radius), ..SearchParams::new(MAX_K) }
    }

    /// Sets whichever of `nprobe` / `ef` the kind of index understands (what `calibrate` measured).
    #[must_use]
    pub fn with_effort(mut self, effort: Effort) -> Self {
        match effort {
            Effort::Exact => {}
            Effort::Nprobe(nprobe) => self.nprobe = Some(nprobe),
            Effort::Ef(ef) => self.ef = Some(ef),
        }
        self
    }

    /// Only rows in `filter` may be returned.
    #[must_use]
    pub fn with_filter(mut self, filter: &'a RowSet) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Checks every parameter against its limits and the queries against the index's dimension.
    pub(crate) fn check(&self, queries: Rows<'_>, dim: usize) -> Result<(), IndexError> {
        if queries.dim() != dim {
            return Err(IndexError::Dimension { expected: dim, received: queries.dim() });
        }
        let parameter = |name, value: usize, expected: String| {
            Err(IndexError::Parameter { name, expected, received: value.to_string() })
        };
        if self.k == 0 || self.k > MAX_K {
            return parameter("k", self.k, format!("1..={MAX_K}"));
        }
        if self.nprobe == Some(0) {
            return parameter("nprobe", 0, "at least 1".to_owned());
        }
        if self.ef == Some(0) {
            return parameter("ef", 0, "at least 1".to_owned());
        }
        if self.refine == Some(0) {
            return parameter("refine", 0, "at least 1".to_owned());
        }
        if self.radius.is_some_and(f32::is_nan) {
            let expected = "a number".to_owned();
            return Err(IndexError::Parameter { name: "radius", expected, received: "NaN".to_owned() });
        }
        Ok(())
    }
}

/// Search effort of an approximate index, as calibrated or as asked by a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The index is exact; there is nothing to choose.
    Exact,
    /// IVF: lists to visit.
    Nprobe(usize),
    /// HNSW: candidates kept (ef_search).
    Ef(usize),
}

/// Vectors as the metric compares them: unit length under cosine, unchanged (and not copied) else.
pub(crate) fn prepared<'a>(metric: Metric, rows: Rows<'a>) -> Result<Cow<'a, [f32]>, IndexError> {
    if metric != Metric::Cosine {
        return Ok(Cow::Borrowed(rows.as_slice()));
    }
    let mut data = rows.as_slice().to_vec();
    for (row, vector) in data.chunks_exact_mut(rows.dim()).enumerate() {
        if !normalise(vector) {
            return Err(IndexError::ZeroVector { row });
        }
    }
    Ok(Cow::Owned(data))
}
