//! [`Plain`]: codes of one row each, one after the other, as FAISS keeps them; over any [`Quantizer`].
//!
//! An entry is its code, behind it the f32 of the module's formula when differences are stored under L2.

use super::{BLOCK, Codes, Form, Layout, Output, Scorer, at_most};
use crate::metric::Metric;

/// Bytes of the term that differences need under L2.
const TERM_BYTES: usize = 4;

/// A vector as a code of fixed length, and back.
pub(crate) trait Quantizer: Send + Sync + std::fmt::Debug {
    /// Values per vector.
    fn dim(&self) -> usize;
    /// Bytes per code.
    fn code_bytes(&self) -> usize;
    /// Codes of `vectors`, `[n, dim]`, into `codes`, `[n, code_bytes]`.
    fn encode(&self, vectors: &[f32], codes: &mut [u8]);
    /// The vector that a code stands for.
    fn decode(&self, code: &[u8], vector: &mut [f32]);
    /// Binds a query for measuring.
    fn bind<'a>(&'a self, query: &'a [f32], form: Form) -> Box<dyn Measure + 'a>;
    /// Learned numbers, as the file keeps them.
    fn learned(&self) -> Vec<f32>;
}

/// A query bound to a quantizer.
pub(crate) trait Measure {
    /// Measures the code at the start of each `stride` bytes, at most [`BLOCK`] of them.
    fn measure(&mut self, codes: &[u8], stride: usize, out: &mut [f32; BLOCK]);
}

/// Entries of one row each.
#[derive(Debug)]
pub(crate) struct Plain<Q> {
    quantizer: Q,
    form: Form,
    by_residual: bool,
}

impl<Q: Quantizer> Plain<Q> {
    /// `by_residual`: differences to the lists' centroids are stored.
    pub(crate) fn new(quantizer: Q, metric: Metric, by_residual: bool) -> Self {
        Plain { quantizer, form: metric.into(), by_residual }
    }

    fn has_term(&self) -> bool {
        self.by_residual && self.form == Form::L2
    }

    fn stride(&self) -> usize {
        self.quantizer.code_bytes() + if self.has_term() { TERM_BYTES } else { 0 }
    }

    /// Appends entries whose codes exist already, `[n, code_bytes]`.
    fn append_codes(&self, codes: &mut Vec<u8>, centroid: &[f32], added: &[u8]) {
        let code_bytes = self.quantizer.code_bytes();
        codes.reserve(added.len() / code_bytes * self.stride());
        let mut decoded = vec![0.0; self.quantizer.dim()];
        for code in added.chunks_exact(code_bytes) {
            codes.extend_from_slice(code);
            if self.has_term() {
                self.quantizer.decode(code, &mut decoded);
                let term: f32 = decoded.iter().zip(centroid).map(|(y, c)| y * (y + 2.0 * c)).sum();
                codes.extend_from_slice(&term.to_le_bytes());
            }
        }
    }
}

impl<Q: Quantizer> Codes for Plain<Q> {
    fn layout(&self) -> Layout {
        Layout { entries: 1, bytes: self.stride() }
    }

    fn append(&self, codes: &mut Vec<u8>, _len: usize, centroid: &[f32], vectors: &[f32]) {
        let dim = self.quantizer.dim();
        let mut added = vec![0; vectors.len() / dim * self.quantizer.code_bytes()];
        if self.by_residual {
            self.quantizer.encode(&differences(vectors, centroid), &mut added);
        } else {
            self.quantizer.encode(vectors, &mut added);
        }
        self.append_codes(codes, centroid, &added);
    }

    fn append_encoded(&self, codes: &mut Vec<u8>, _len: usize, centroid: &[f32], encoded: &[u8]) -> bool {
        let is_whole = encoded.len().is_multiple_of(self.quantizer.code_bytes());
        if is_whole {
            self.append_codes(codes, centroid, encoded);
        }
        is_whole
    }

    fn encoded(&self, codes: &[u8], len: usize) -> Option<Vec<u8>> {
        let entries = codes.chunks_exact(self.stride()).take(len);
        Some(entries.flat_map(|entry| &entry[..self.quantizer.code_bytes()]).copied().collect())
    }

    fn move_entry(&self, codes: &mut [u8], from: usize, to: usize) {
        let stride = self.stride();
        codes.copy_within(from * stride..(from + 1) * stride, to * stride);
    }

    fn decode(&self, codes: &[u8], at: usize, centroid: &[f32], vector: &mut [f32]) {
        self.quantizer.decode(&codes[at * self.stride()..][..self.quantizer.code_bytes()], vector);
        if self.by_residual {
            vector.iter_mut().zip(centroid).for_each(|(value, centre)| *value += centre);
        }
    }

    fn bind<'a>(&'a self, query: &'a [f32], _output: Output) -> Box<dyn Scorer + 'a> {
        let form = if self.has_term() { Form::Dot } else { self.form };
        Box::new(PlainScorer {
            measure: self.quantizer.bind(query, form),
            stride: self.stride(),
            term_at: self.has_term().then_some(self.quantizer.code_bytes()),
            by_residual: self.by_residual,
            form: self.form,
            base: 0.0,
        })
    }

    fn learned(&self) -> Vec<f32> {
        self.quantizer.learned()
    }

    fn by_residual(&self) -> bool {
        self.by_residual
    }
}

/// `[n, dim]` vectors less a centroid.
pub(super) fn differences(vectors: &[f32], centroid: &[f32]) -> Vec<f32> {
    let rows = vectors.chunks_exact(centroid.len());
    rows.flat_map(|row| row.iter().zip(centroid).map(|(value, centre)| value - centre)).collect()
}

struct PlainScorer<'a> {
    measure: Box<dyn Measure + 'a>,
    stride: usize,
    term_at: Option<usize>,
    by_residual: bool,
    form: Form,
    /// Distance of the centroid where it is a part of an entry's distance.
    base: f32,
}

impl Scorer for PlainScorer<'_> {
    fn enter(&mut self, _centroid: &[f32], distance: f32) {
        self.base = if self.by_residual { distance } else { 0.0 };
    }

    fn score(&mut self, codes: &[u8], count: usize, limit: f32, out: &mut [f32; BLOCK]) -> u32 {
        let codes = &codes[..count * self.stride];
        self.measure.measure(codes, self.stride, out);
        match (self.form, self.term_at) {
            (Form::L2, None) => {}
            (Form::L2, Some(at)) => {
                for (out, entry) in out.iter_mut().zip(codes.chunks_exact(self.stride)) {
                    *out = self.base + f32_at(entry, at) - 2.0 * *out;
                }
            }
            (Form::Dot, _) => out.iter_mut().for_each(|out| *out = self.base - *out),
        }
        at_most(out, count, limit)
    }
}

/// The little-endian f32 at a byte offset.
#[inline]
pub(super) fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
