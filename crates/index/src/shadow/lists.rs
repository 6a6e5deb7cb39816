//! Coarse codes of the lists of an inverted file: rows that cannot be near are passed over.
//!
//! All lists share one centre, so a query is rounded once ([`ListQuery`]); a list holds coarse codes only ([`ListCodes`]), since
//! the few rows that are left are measured at once. Bounds and roundings are those of `bound.rs`.

use super::bound::Query;
use super::encode::{Encoder, pack_coarse};
use super::{DIMS, Shadow};
use crate::file::Array;
use crate::kernels::{BLOCK_ROWS, BLOCK_TERMS, Kernels, LINE_VALUES, NibbleBound, NibbleScan};
use crate::metric::Metric;
use std::ops::Range;

/// Most blocks of one call.
pub(crate) const MAX_BLOCKS: usize = 32;
/// Blocks after which it is asked whether codes hold at least half of the rows back.
const JUDGED_BLOCKS: usize = 128;

/// The centre that the codes of all lists share.
#[derive(Debug)]
pub(crate) struct ListFrame(Shadow);

impl ListFrame {
    /// `None` for dimensions whose codes would not pay.
    pub(crate) fn new(metric: Metric, centre: Vec<f32>) -> Option<Self> {
        DIMS.contains(&centre.len()).then(|| ListFrame(Shadow::empty(metric, centre)))
    }

    pub(crate) fn centre(&self) -> &[f32] {
        &self.0.mean
    }

    /// Bytes of a block of sixteen rows.
    pub(crate) fn block_bytes(&self) -> usize {
        self.0.shape().block_bytes()
    }

    /// Rounds a query, `[dim]`; `None` when it is too long to be bounded.
    pub(crate) fn query(&self, query: &[f32]) -> Option<ListQuery> {
        let mut codes = vec![0; self.0.shape().lines() * LINE_VALUES];
        let query = Query::new(&self.0, query, &mut codes)?;
        Some(ListQuery {
            query,
            codes,
            bound: NibbleBound::default(),
            threshold: f32::NAN,
            dots: Box::new([[0; BLOCK_ROWS]; MAX_BLOCKS]),
            seen: 0,
            left: 0,
        })
    }
}

/// Coarse codes of one list, in memory or in a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct ListCodes {
    /// `[blocks][lines][LINE_BYTES]`.
    pub(crate) codes: Array<u8>,
    /// `[blocks][3][BLOCK_ROWS]`: bias, scale, error.
    pub(crate) terms: Array<f32>,
    /// `[blocks]`: the largest norm of a bounded row.
    pub(crate) reach: Array<f32>,
}

impl ListCodes {
    pub(crate) fn empty() -> Self {
        ListCodes {
            codes: Array::Owned(Vec::new()),
            terms: Array::Owned(Vec::new()),
            reach: Array::Owned(Vec::new()),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.codes.bytes() + self.terms.bytes() + self.reach.bytes()
    }

    /// Encodes rows behind the `len` that the list has.
    pub(crate) fn append<'a>(
        &mut self,
        frame: &ListFrame,
        kernels: &Kernels,
        len: usize,
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
    ) {
        let blocks = (len + rows.len()).div_ceil(BLOCK_ROWS);
        let bytes = frame.block_bytes();
        let (codes, terms, reach) = (self.codes.to_mut(), self.terms.to_mut(), self.reach.to_mut());
        codes.resize(blocks * bytes, 0);
        terms.resize(blocks * BLOCK_TERMS, 0.0);
        reach.resize(blocks, 0.0);
        let mut encoder = Encoder::of(&frame.0, kernels);
        for (at, row) in (len..).zip(rows) {
            let (block, lane) = (at / BLOCK_ROWS, at % BLOCK_ROWS);
            let encoded = encoder.encode(row);
            pack_coarse(&encoder.coarse, lane, &mut codes[block * bytes..(block + 1) * bytes]);
            for (term, value) in encoded.coarse.into_iter().enumerate() {
                terms[block * BLOCK_TERMS + term * BLOCK_ROWS + lane] = value;
            }
            reach[block] = reach[block].max(encoded.reach);
        }
    }
}

/// A query rounded for the codes of lists.
pub(crate) struct ListQuery {
    query: Query,
    codes: Vec<i8>,
    bound: NibbleBound,
    /// The threshold that `bound` was made for; NaN at first.
    threshold: f32,
    dots: Box<[[i32; BLOCK_ROWS]; MAX_BLOCKS]>,
    /// Blocks judged, and rows left of them.
    seen: usize,
    left: usize,
}

impl ListQuery {
    /// Writes to `near`, per block of `blocks` (at most [`MAX_BLOCKS`]), a bit per row whose distance may be at or below
    /// `threshold`. Leaves `near` as it is where codes say nothing, or have held too little back to be worth reading.
    pub(crate) fn judge(
        &mut self,
        frame: &ListFrame,
        kernels: &Kernels,
        list: &ListCodes,
        blocks: Range<usize>,
        threshold: f32,
        near: &mut [u16; MAX_BLOCKS],
    ) {
        let is_hopeless = self.seen >= JUDGED_BLOCKS && self.left > self.seen * BLOCK_ROWS / 2;
        if threshold == f32::INFINITY || is_hopeless {
            return;
        }
        // No bound was made yet: NaN differs from every threshold.
        if threshold != self.threshold {
            self.threshold = threshold;
            self.bound = self.query.bound(threshold);
        }
        let (bytes, count) = (frame.block_bytes(), blocks.len());
        let scan = NibbleScan {
            codes: &list.codes.as_slice()[blocks.start * bytes..blocks.end * bytes],
            terms: &list.terms.as_slice()[blocks.start * BLOCK_TERMS..blocks.end * BLOCK_TERMS],
            reach: &list.reach.as_slice()[blocks],
            lines: frame.0.shape().lines(),
            queries: &self.codes,
            bounds: std::slice::from_ref(&self.bound),
        };
        kernels.nibble_scan(&scan, &mut near[..count], &mut self.dots[..count]);
        self.seen += count;
        self.left += near[..count].iter().map(|near| near.count_ones() as usize).sum::<usize>();
    }
}
