//! Four bits per dimension of every row, for walking a graph without touching the rows themselves.
//!
//! A row is centred by the mean, rotated ([`Rotation`]) and written as `u - 7.5` times a step, `u` in `0..16`; the step is the
//! one of a few whose code lies at the smallest angle to the row. Two factors make the estimate unbiased over rotations: with
//! `x` the rotated row and `c` its code, `<q, x> ~ <q, c> * |x|^2 / <c, x>` (extended RaBitQ: Gao et al. 2024, arXiv
//! 2409.09913; locally adaptive steps: Aguerrebere et al. 2023, "Similarity search in the blink of an eye"). The query is
//! rotated and rounded to eight bits once, so that an estimate is one integer product of bytes that lie together.
//!
//! A code (see `kernels::scattered`) takes whole cache lines, or half of one; the factors `|x|^2` and `|x|^2 / <c, x>` lie apart,
//! rounded to the upper half of an f32 each, which adds little to the error of the code and lets those of 200 000 rows stay in
//! a second-level cache.

use super::walk::Distances;
use crate::file::Array;
use crate::kernels::prefetch;
use crate::kernels::scattered::{CODE_BLOCK, ScatteredCodes, ScatteredKernels, ScatteredQuery};
use crate::metric::Metric;
use crate::rotation::Rotation;
use crate::rows::RowStore;
use rayon::prelude::*;

/// Below this dimension a row is hardly longer than its code, and the walk reads the rows.
pub(super) const CODES_FROM_DIM: usize = 64;
/// Rows that the mean is taken over, evenly spread.
const MEAN_ROWS: usize = 16_384;
/// Centre of the code values.
const CENTRE: f32 = 7.5;
/// Steps that are tried, in parts of a row's root mean square; the fourth is the best for a normal distribution.
const STEPS: [f32; 6] = [0.25, 0.28, 0.31, 0.335, 0.37, 0.41];
/// Length of a code's error in parts of the row's length.
const CODE_ERROR: f32 = 0.11;
/// Standard deviations of the error that refinement allows for.
const ERRORS: f32 = 2.5;
/// Rows encoded by one task.
const ROWS_PER_TASK: usize = 256;

/// A cache line of codes.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line([u8; 64]);

impl Default for Line {
    fn default() -> Self {
        Line([0; 64])
    }
}

/// Codes of all rows of an index.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    pub(super) mean: Array<f32>,
    /// `[rows, code_bytes]`, in cache lines.
    pub(super) lines: Array<Line>,
    /// Per row, `|x|^2` in the upper half and `|x|^2 / <c, x>` in the lower.
    pub(super) factors: Array<u32>,
    /// Rows when the mean was taken.
    pub(super) trained_rows: usize,
    rotation: Rotation,
    is_l2: bool,
}

impl Codes {
    /// No rows yet, mean zero.
    pub(super) fn new(dim: usize, metric: Metric, seed: u64) -> Self {
        let mean = Array::Owned(vec![0.0; dim]);
        Codes::from_parts(mean, Array::Owned(Vec::new()), Array::Owned(Vec::new()), 0, metric, seed)
    }

    /// What a file holds: as many lines and factors as [`Codes::lines_of`] says.
    pub(super) fn from_parts(
        mean: Array<f32>,
        lines: Array<Line>,
        factors: Array<u32>,
        trained_rows: usize,
        metric: Metric,
        seed: u64,
    ) -> Self {
        let rotation = Rotation::new(mean.as_slice().len(), seed);
        Codes { mean, lines, factors, trained_rows, rotation, is_l2: metric == Metric::L2 }
    }

    /// Bytes of a code for `dim` values.
    fn code_bytes(dim: usize) -> usize {
        let bytes = dim.div_ceil(2);
        bytes.next_multiple_of(if bytes <= CODE_BLOCK { CODE_BLOCK } else { size_of::<Line>() })
    }

    /// Cache lines that the codes of `rows` rows take.
    pub(super) fn lines_of(rows: usize, dim: usize) -> usize {
        rows.saturating_mul(Codes::code_bytes(dim)).div_ceil(size_of::<Line>())
    }

    /// Bytes of everything here.
    pub(super) fn bytes(&self) -> usize {
        self.lines.bytes() + self.factors.bytes() + self.mean.bytes()
    }

    fn dim(&self) -> usize {
        self.mean.as_slice().len()
    }

    /// Rows that have a code.
    pub(super) fn len(&self) -> usize {
        self.factors.as_slice().len()
    }

    /// Takes the mean of the rows of `store` anew and forgets all codes.
    pub(super) fn train(&mut self, store: &RowStore) {
        let (rows, dim) = (store.len(), self.dim());
        let view = store.view();
        let sampled = rows.min(MEAN_ROWS);
        let mut sums = vec![0.0_f64; dim];
        for i in 0..sampled {
            let row = view.row((i as u64 * rows as u64 / sampled as u64) as u32);
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        self.mean = Array::Owned(sums.iter().map(|sum| (sum / sampled.max(1) as f64) as f32).collect());
        (self.lines, self.factors) = (Array::Owned(Vec::new()), Array::Owned(Vec::new()));
        self.trained_rows = rows;
    }

    /// Encodes the rows of `store` that have no code yet.
    pub(super) fn extend(&mut self, store: &RowStore) {
        let (first, rows, dim) = (self.len(), store.len(), self.dim());
        let code_bytes = Codes::code_bytes(dim);
        let Codes { mean, lines, factors, rotation, .. } = self;
        let (mean, lines, factors) = (mean.as_slice(), lines.to_mut(), factors.to_mut());
        lines.resize(Codes::lines_of(rows, dim), Line::default());
        factors.resize(rows, 0);
        let view = store.view();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(lines);
        let new = &mut bytes[first * code_bytes..rows * code_bytes];
        let tasks = new.par_chunks_mut(ROWS_PER_TASK * code_bytes);
        tasks.zip(factors[first..].par_chunks_mut(ROWS_PER_TASK)).enumerate().for_each(
            |(task, (new, factors))| {
                let mut scratch = vec![0.0; dim];
                for (i, (code, factors)) in new.chunks_exact_mut(code_bytes).zip(factors).enumerate() {
                    let row = view.row((first + task * ROWS_PER_TASK + i) as u32);
                    let centred = row.iter().zip(mean).map(|(value, mean)| value - mean);
                    scratch.iter_mut().zip(centred).for_each(|(to, value)| *to = value);
                    rotation.apply(&mut scratch);
                    *factors = encode(&scratch, code);
                }
            },
        );
    }

    pub(super) fn view<'a>(&'a self, kernels: &'static ScatteredKernels) -> CodeView<'a> {
        let bytes = bytemuck::cast_slice(self.lines.as_slice());
        let nibbles = ScatteredCodes::new(bytes, Codes::code_bytes(self.dim()));
        CodeView { codes: self, nibbles, factors: self.factors.as_slice(), kernels }
    }
}

/// Codes ready to be compared with queries.
pub(super) struct CodeView<'a> {
    codes: &'a Codes,
    nibbles: ScatteredCodes<'a>,
    factors: &'a [u32],
    kernels: &'static ScatteredKernels,
}

impl CodeView<'_> {
    /// Prepares a query, `[dim]`.
    pub(super) fn query(&self, query: &[f32]) -> CodeQuery<'_> {
        let Codes { mean, rotation, is_l2, .. } = self.codes;
        let mean = mean.as_slice();
        let (mut values, constant): (Vec<f32>, f32) = if *is_l2 {
            let values: Vec<f32> = query.iter().zip(mean).map(|(value, mean)| value - mean).collect();
            let norm = values.iter().map(|value| value * value).sum();
            (values, norm)
        } else {
            (query.to_vec(), -query.iter().zip(mean).map(|(value, mean)| value * mean).sum::<f32>())
        };
        rotation.apply(&mut values);
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let mut sum = 0_i32;
        let rounded = values.iter().map(|value| {
            let value = (value / step).round() as i8;
            sum += i32::from(value);
            value
        });
        let nibbles = ScatteredQuery::new(rounded, Codes::code_bytes(query.len()));
        let scale = if *is_l2 { -2.0 * step } else { -step };
        CodeQuery {
            view: self,
            nibbles,
            constant,
            scale,
            offset: -scale * CENTRE * sum as f32,
            norm_scale: if *is_l2 { 1.0 } else { 0.0 },
            error_scale: error_scale(&values, *is_l2),
        }
    }
}

/// A query against codes: estimates of the internal distance.
pub(super) struct CodeQuery<'a> {
    view: &'a CodeView<'a>,
    nibbles: ScatteredQuery,
    constant: f32,
    scale: f32,
    offset: f32,
    norm_scale: f32,
    error_scale: f32,
}

/// Largest error of an estimate, in parts of the row's length: [`ERRORS`] standard deviations. Rounding a normal distribution
/// to 16 levels leaves an error of [`CODE_ERROR`] of the row's length in a direction that the query does not know, so
/// one part in `sqrt(dim)` of it falls on the query.
fn error_scale(query: &[f32], is_l2: bool) -> f32 {
    let norm = query.iter().map(|value| value * value).sum::<f32>();
    let deviation = CODE_ERROR * (norm / query.len() as f32).sqrt();
    if is_l2 { 2.0 * ERRORS * deviation } else { ERRORS * deviation }
}

impl CodeQuery<'_> {
    /// What the exact distance of a row is below its estimate at most, but for one row in hundreds.
    #[inline]
    pub(super) fn largest_error(&self, row: u32) -> f32 {
        let norm = f32::from_bits(self.view.factors[row as usize] & UPPER);
        self.error_scale * norm.sqrt()
    }
}

impl Distances for CodeQuery<'_> {
    #[inline]
    fn prefetch(&self, row: u32) {
        prefetch(self.view.nibbles.code(row));
        prefetch(&self.view.factors[row as usize..][..1]);
    }

    #[inline]
    fn measure(&self, rows: &[u32], out: &mut [f32]) {
        let CodeView { nibbles, factors, kernels, .. } = self.view;
        kernels.dots(nibbles, &self.nibbles, rows, out);
        for (&row, out) in rows.iter().zip(out) {
            let both = factors[row as usize];
            let (norm, factor) = (f32::from_bits(both & UPPER), f32::from_bits(both << 16));
            let estimate = norm * self.norm_scale + factor * (*out * self.scale + self.offset);
            // An overflow must not become a NaN, which would be nearer and farther than everything.
            *out = (estimate + self.constant).min(f32::MAX);
        }
    }
}

/// The upper half of an f32: sign, exponent, seven bits.
const UPPER: u32 = 0xffff_0000;

/// Both values, each rounded to its upper half; neither negative, both finite.
fn pack(first: f32, second: f32) -> u32 {
    let rounded = |value: f32| (value.min(MAX_FACTOR).to_bits() + 0x8000) & UPPER;
    rounded(first) | rounded(second) >> 16
}

/// Largest factor, well inside of what rounding up leaves finite.
const MAX_FACTOR: f32 = 3e38;

/// Writes the code of a centred and rotated row; returns its factors.
fn encode(values: &[f32], code: &mut [u8]) -> u32 {
    let norm: f32 = values.iter().map(|value| value * value).sum();
    let root = (norm / values.len() as f32).sqrt();
    code.fill(0);
    if !(norm.is_finite() && root > 0.0) {
        // The mean itself, or a length beyond f32, which is far from everything.
        return pack(if norm == 0.0 { 0.0 } else { MAX_FACTOR }, 0.0);
    }
    // The largest cosine: `<c, x> / |c|`.
    let (mut best, mut inverse, mut product) = (f32::NEG_INFINITY, 0.0, 0.0);
    for step in STEPS {
        let candidate = 1.0 / (step * root);
        let (mut along, mut length) = (0.0_f32, 0.0_f32);
        for &value in values {
            let code = level(value, candidate) - CENTRE;
            along += code * value;
            length += code * code;
        }
        let cosine = along / length.sqrt();
        if cosine > best {
            (best, inverse, product) = (cosine, candidate, along);
        }
    }
    let half = code.len();
    for (at, &value) in values.iter().enumerate() {
        // 0..=15, exactly.
        let level = level(value, inverse) as u8;
        if at < half { code[at] |= level } else { code[at - half] |= level << 4 }
    }
    pack(norm, norm / product)
}

/// The code value of `value` where one step is `1 / inverse`: a whole number of `0..=15`.
#[inline]
fn level(value: f32, inverse: f32) -> f32 {
    /// Adding and taking away 2^23 rounds to a whole number, in registers.
    const ROUND: f32 = 8_388_608.0;
    ((value * inverse + CENTRE).clamp(0.0, 15.0) + ROUND) - ROUND
}
