//! Vectors stored in fewer bits: [`Codes`] are the trained codec of a list's entries, a [`Scorer`] is a query bound to it once.
//!
//! Structures (a scan, lists) know only these two traits, so that codecs times structures cost as many files as their sum.
//! A list's codes are bytes in *blocks* ([`Layout`]): one entry for codecs whose entries are read one by one, 32 entries where
//! a kernel compares a query with 32 of them at once. Entry `i` is entry `i % entries` of block `i / entries`.
//!
//! What is stored is a vector, or its difference to the centroid of its list. In the second case, under L2, an entry also
//! holds `|y|^2 + 2<c, y>` (`y` the decoded difference, `c` the centroid), since `|q - c - y|^2 = |q - c|^2 + that - 2<q, y>`:
//! tables are then made once for a query instead of once for a list (FAISS precomputes them by list for the same end).

mod fast_scan;
mod flat;
mod plain;
mod product;
mod rabitq;
mod scalar;
mod train;

use crate::metric::Metric;
use std::fmt;

pub(crate) use fast_scan::FastScan;
pub(crate) use flat::FlatCodes;
pub(crate) use plain::Plain;
pub(crate) use product::{Pq, nearest_divisor};
pub(crate) use rabitq::RaBitQ;
pub(crate) use scalar::Sq;
pub(crate) use train::{Settings, open, train};

/// Entries that a scorer looks at in one call.
pub(crate) const BLOCK: usize = 32;

/// How entries lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Entries of a block: 1 or [`BLOCK`].
    pub(crate) entries: usize,
    /// Bytes of a block.
    pub(crate) bytes: usize,
}

impl Layout {
    /// Bytes of `entries` entries, the last block filled up.
    pub(crate) fn bytes_of(self, entries: usize) -> usize {
        entries.div_ceil(self.entries) * self.bytes
    }

    /// Bytes of [`BLOCK`] entries.
    pub(crate) fn chunk_bytes(self) -> usize {
        BLOCK / self.entries * self.bytes
    }
}

/// What a scorer's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// The best guess of an entry's distance.
    Estimate,
    /// Where the codec knows its error by entry: a distance that the true one is hardly ever below. Others: the guess.
    LowerBound,
}

/// A trained codec. Deterministic: equal vectors give equal codes.
pub(crate) trait Codes: Send + Sync + fmt::Debug {
    /// How entries lie.
    fn layout(&self) -> Layout;

    /// Appends vectors, `[n, dim]`, behind the `len` entries of `codes`, which belong to the list of `centroid`.
    fn append(&self, codes: &mut Vec<u8>, len: usize, centroid: &[f32], vectors: &[f32]);

    /// Appends entries that another library encoded: one after the other, `m * bits` or `dim` values as a little-endian bit
    /// string each (the layout of FAISS). `false`, and nothing appended, for codecs that are not exchanged and for bytes that
    /// are not whole codes.
    fn append_encoded(&self, codes: &mut Vec<u8>, len: usize, centroid: &[f32], encoded: &[u8]) -> bool;

    /// The first `len` entries in that layout; `None` for codecs that are not exchanged.
    fn encoded(&self, codes: &[u8], len: usize) -> Option<Vec<u8>>;

    /// Copies entry `from` over entry `to`.
    fn move_entry(&self, codes: &mut [u8], from: usize, to: usize);

    /// Writes the vector that entry `at` stands for.
    fn decode(&self, codes: &[u8], at: usize, centroid: &[f32], vector: &mut [f32]);

    /// Binds a query, `[dim]`.
    fn bind<'a>(&'a self, query: &'a [f32], output: Output) -> Box<dyn Scorer + 'a>;

    /// Learned numbers, as the file keeps them.
    fn learned(&self) -> Vec<f32>;

    /// True when [`Output::LowerBound`] differs from an estimate.
    fn has_bounds(&self) -> bool {
        false
    }

    /// True when differences to centroids are stored.
    fn by_residual(&self) -> bool;
}

/// A query bound to codes; internal distances, smaller is closer.
pub(crate) trait Scorer {
    /// Turns to the list of `centroid`, which is at `distance` (internal) from the query.
    fn enter(&mut self, centroid: &[f32], distance: f32);

    /// Measures the first `count <= 32` entries of `codes`, which start at a block. Returns a bit per entry that is at or
    /// below `limit`; the numbers of the others are not defined.
    fn score(&mut self, codes: &[u8], count: usize, limit: f32, out: &mut [f32; BLOCK]) -> u32;
}

/// A bit per value of the first `count` at or below `limit`.
pub(crate) fn at_most(values: &[f32; BLOCK], count: usize, limit: f32) -> u32 {
    let all = values.iter().enumerate().fold(0, |mask, (i, &value)| mask | u32::from(value <= limit) << i);
    all & first_bits(count)
}

/// The lowest `count <= 32` bits.
pub(crate) fn first_bits(count: usize) -> u32 {
    ((1_u64 << count) - 1) as u32
}

/// The distance that a codec for one row at a time measures in a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Squared Euclidean distance.
    L2,
    /// Inner product.
    Dot,
}

impl From<Metric> for Form {
    fn from(metric: Metric) -> Form {
        if metric.is_inner_product() { Form::Dot } else { Form::L2 }
    }
}
