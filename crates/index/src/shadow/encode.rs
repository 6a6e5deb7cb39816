//! Building a [`Shadow`]: the centre, then every row's codes and terms, in parallel over runs of blocks.
//!
//! All of a row's arithmetic is f32 and every rounding is paid for in the stored error: with `u = 2^-24`, a difference or
//! product of two floats is off by at most `u` times its size, and a sum of `n` products in any order by at most `n u` times
//! the sum of their sizes (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). Sums of integers up to 2^24 are exact.

use super::bound::{UNIT_ROUNDOFF, round_up};
use super::{BLOCK_ROWS, BLOCK_TERMS, FINE_TERMS, LINE_VALUES, MAX_NORM, ROTATION_SEED, Shadow, Shape};
use crate::file::Array;
use crate::kernels::Kernels;
use crate::metric::Metric;
use crate::rotation::Rotation;
use crate::rows::{RowStore, RowView};
use rayon::prelude::*;

/// Rows that the centre is taken from.
const MEAN_SAMPLE_ROWS: usize = 4096;
/// Rows longer than this many median lengths do not move the centre.
const OUTLIER_LENGTHS: f32 = 4.0;
/// Blocks that one task encodes.
const BLOCKS_PER_TASK: usize = 32;
/// Half the width of the code's range: the largest value of a row becomes 7.5 steps, half a step from the nearest code.
const HALF_RANGE: f32 = 7.5;
/// Smallest step, so that steps and their reciprocals are normal floats.
const MIN_SCALE: f32 = 1e-15;
/// Errors of subnormal products, far above what they can sum to.
const TINY_NORM: f64 = 1e-18;
/// Rows that tell whether a rotation pays, and how much smaller it must make their errors.
const ROTATION_SAMPLE_ROWS: usize = 256;
const ROTATION_GAIN: f64 = 0.97;
/// Added to a number from 0 to 2^22, leaves it rounded in the low bits.
const ROUNDING: f32 = 8_388_608.0;

impl Shadow {
    /// A shadow of all rows, whatever their number.
    pub(super) fn build(store: &RowStore, metric: Metric, kernels: &Kernels) -> Self {
        let mean = centre(store, kernels);
        let rotation = Rotation::new(store.dim(), ROTATION_SEED);
        let view = store.view();
        let error = |rotation: Option<&Rotation>| -> f64 {
            let mut encoder = Encoder::new(metric, &mean, rotation, kernels);
            let sample = (0..store.len()).step_by(store.len().div_ceil(ROTATION_SAMPLE_ROWS).max(1));
            let relative_errors = sample.map(|row| {
                let encoded = encoder.encode(view.row(row as u32));
                // Infinite where there is no bound, with or without.
                f64::from(encoded.coarse[2] / encoded.reach.max(MIN_SCALE)).min(1.0)
            });
            relative_errors.sum()
        };
        let pays = error(Some(&rotation)) < error(None) * ROTATION_GAIN;
        drop(view);
        Shadow::build_turned(store, metric, kernels, mean, pays.then_some(rotation))
    }

    /// A shadow around a given centre.
    pub(super) fn build_turned(
        store: &RowStore,
        metric: Metric,
        kernels: &Kernels,
        mean: Vec<f32>,
        rotation: Option<Rotation>,
    ) -> Self {
        let mut shadow = Shadow { mean_rows: store.len(), rotation, ..Shadow::empty(metric, mean) };
        shadow.extend(store, kernels);
        shadow
    }

    /// A shadow of no rows.
    pub(super) fn empty(metric: Metric, mean: Vec<f32>) -> Self {
        Shadow {
            metric,
            dim: mean.len(),
            rows: 0,
            mean_rows: 0,
            mean,
            rotation: None,
            coarse: Array::Owned(Vec::new()),
            coarse_terms: Array::Owned(Vec::new()),
            reach: Array::Owned(Vec::new()),
            fine: Array::Owned(Vec::new()),
            fine_terms: Array::Owned(Vec::new()),
        }
    }

    /// Encodes the rows of `store` that the shadow does not have; the last block it has may be a part of one.
    pub(super) fn extend(&mut self, store: &RowStore, kernels: &Kernels) {
        let (from, rows) = (self.rows / BLOCK_ROWS, store.len());
        let blocks = rows.div_ceil(BLOCK_ROWS);
        let shape = self.shape();
        let (block_bytes, fine_bytes) = (shape.block_bytes(), shape.fine_bytes());
        let coarse = self.coarse.to_mut();
        coarse.resize(blocks * block_bytes, 0);
        let coarse_terms = self.coarse_terms.to_mut();
        coarse_terms.resize(blocks * BLOCK_TERMS, 0.0);
        let reach = self.reach.to_mut();
        reach.resize(blocks, 0.0);
        let fine = self.fine.to_mut();
        fine.resize(rows * fine_bytes, 0);
        let fine_terms = self.fine_terms.to_mut();
        fine_terms.resize(rows * FINE_TERMS, 0.0);
        self.rows = rows;

        let view = store.view();
        let first_row = from * BLOCK_ROWS;
        let per_task = BLOCKS_PER_TASK;
        let encoder = || Encoder::new(self.metric, &self.mean, self.rotation.as_ref(), kernels);
        coarse[from * block_bytes..]
            .par_chunks_mut(per_task * block_bytes)
            .zip(coarse_terms[from * BLOCK_TERMS..].par_chunks_mut(per_task * BLOCK_TERMS))
            .zip(reach[from..].par_chunks_mut(per_task))
            .zip(fine[first_row * fine_bytes..].par_chunks_mut(per_task * BLOCK_ROWS * fine_bytes))
            .zip(fine_terms[first_row * FINE_TERMS..].par_chunks_mut(per_task * BLOCK_ROWS * FINE_TERMS))
            .enumerate()
            .for_each_init(encoder, |encoder, (task, ((((coarse, terms), reach), fine), fine_terms))| {
                let first_row = (from + task * per_task) * BLOCK_ROWS;
                let mut parts = Parts { shape, coarse, terms, reach, fine, fine_terms };
                parts.encode(encoder, &view, first_row);
            });
    }
}

/// The mutable arrays of a run of blocks.
struct Parts<'a> {
    shape: Shape,
    coarse: &'a mut [u8],
    terms: &'a mut [f32],
    reach: &'a mut [f32],
    fine: &'a mut [u8],
    fine_terms: &'a mut [f32],
}

impl Parts<'_> {
    /// Encodes the rows from `first_row` on that these arrays have room for.
    fn encode(&mut self, encoder: &mut Encoder<'_>, view: &RowView<'_>, first_row: usize) {
        let fine_bytes = self.shape.fine_bytes();
        self.reach.fill(0.0);
        let fine_rows =
            self.fine.chunks_exact_mut(fine_bytes).zip(self.fine_terms.chunks_exact_mut(FINE_TERMS));
        for (i, (fine, fine_terms)) in fine_rows.enumerate() {
            let (block, lane) = (i / BLOCK_ROWS, i % BLOCK_ROWS);
            let encoded = encoder.encode(view.row((first_row + i) as u32));
            fine_terms.copy_from_slice(&encoded.fine);
            pack_fine(&encoder.fine, fine);
            let bytes = self.shape.block_bytes();
            pack_coarse(&encoder.coarse, lane, &mut self.coarse[block * bytes..(block + 1) * bytes]);
            let terms = &mut self.terms[block * BLOCK_TERMS..(block + 1) * BLOCK_TERMS];
            for (term, value) in encoded.coarse.into_iter().enumerate() {
                terms[term * BLOCK_ROWS + lane] = value;
            }
            self.reach[block] = self.reach[block].max(encoded.reach);
        }
    }
}

/// Writes a row's codes, padded to whole lines, into a block.
pub(super) fn pack_coarse(codes: &[u8], lane: usize, block: &mut [u8]) {
    let lines = block.chunks_exact_mut(BLOCK_ROWS * 4);
    for (eight, line) in codes.chunks_exact(LINE_VALUES).zip(lines) {
        let bytes = &mut line[4 * lane..4 * lane + 4];
        for (byte, (low, high)) in bytes.iter_mut().zip(eight[..4].iter().zip(&eight[4..])) {
            *byte = low | high << 4;
        }
    }
}

/// Writes a row's codes, padded to an even number, in two halves.
fn pack_fine(codes: &[u8], packed: &mut [u8]) {
    let (low, high) = codes.split_at(packed.len());
    for (byte, (low, high)) in packed.iter_mut().zip(low.iter().zip(high)) {
        *byte = low | high << 4;
    }
}

/// What goes with a row's codes.
pub(super) struct Encoded {
    /// Bias, scale, error.
    pub(super) coarse: [f32; 3],
    /// Bias, scale, error.
    fine: [f32; 3],
    /// At least the norm of the centred row and of both its approximations; 0 for a row without a bound.
    pub(super) reach: f32,
}

/// Scratch for one row at a time.
pub(super) struct Encoder<'a> {
    metric: Metric,
    mean: &'a [f32],
    mean_norm: f64,
    rotation: Option<&'a Rotation>,
    kernels: &'a Kernels,
    /// The centred row, turned, then what codes leave of it, `[dim]`.
    left: Vec<f32>,
    /// Codes as numbers in -8..=7, `[dim]`.
    coarse_values: Vec<f32>,
    fine_values: Vec<f32>,
    /// Codes in 0..=15, padded with zeros to whole lines.
    pub(super) coarse: Vec<u8>,
    fine: Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// Encodes as the rows of `shadow` are.
    pub(super) fn of(shadow: &'a Shadow, kernels: &'a Kernels) -> Self {
        Encoder::new(shadow.metric, &shadow.mean, shadow.rotation.as_ref(), kernels)
    }

    fn new(metric: Metric, mean: &'a [f32], rotation: Option<&'a Rotation>, kernels: &'a Kernels) -> Self {
        let dim = mean.len();
        let padded = Shape { dim }.lines() * LINE_VALUES;
        Encoder {
            metric,
            mean,
            mean_norm: upper_norm(mean, kernels),
            rotation,
            kernels,
            left: vec![0.0; dim],
            coarse_values: vec![0.0; dim],
            fine_values: vec![0.0; dim],
            coarse: vec![0; padded],
            fine: vec![0; padded],
        }
    }

    /// Encodes `row`, `[dim]`; the codes are left in `coarse` and `fine`.
    pub(super) fn encode(&mut self, row: &[f32]) -> Encoded {
        for (left, (value, mean)) in self.left.iter_mut().zip(row.iter().zip(self.mean)) {
            *left = value - mean;
        }
        let norm = upper_norm(&self.left, self.kernels);
        // Also false for NaN.
        let is_bounded = norm <= MAX_NORM && upper_norm(row, self.kernels) <= MAX_NORM;
        if !is_bounded {
            self.coarse.fill(0);
            self.fine.fill(0);
            let terms = [0.0, 0.0, f32::INFINITY];
            return Encoded { coarse: terms, fine: terms, reach: 0.0 };
        }
        let kernels = self.kernels;
        let along_mean = f64::from(kernels.dot(self.mean, &self.left));
        let along_mean_error = sum_error(self.left.len()) * self.mean_norm * norm;
        let mut turning_error = 0.0;
        if let Some(rotation) = self.rotation {
            rotation.apply(&mut self.left);
            turning_error = rotation.error() * norm;
        }

        let scale = quantise(&mut self.left, &mut self.coarse_values, &mut self.coarse);
        let coarse_square = f64::from(kernels.dot(&self.coarse_values, &self.coarse_values));
        let coarse_norm = f64::from(scale) * coarse_square.sqrt();
        let error =
            upper_norm(&self.left, kernels) + 4.0 * UNIT_ROUNDOFF * (norm + coarse_norm) + turning_error;

        let fine_scale = quantise(&mut self.left, &mut self.fine_values, &mut self.fine);
        let fine_square = f64::from(kernels.dot(&self.fine_values, &self.fine_values));
        let product = f64::from(kernels.dot(&self.coarse_values, &self.fine_values));
        let (coarse_scale, fine_scale_wide) = (f64::from(scale), f64::from(fine_scale));
        let approximate_square = coarse_scale * coarse_scale * coarse_square
            + 2.0 * coarse_scale * fine_scale_wide * product
            + fine_scale_wide * fine_scale_wide * fine_square;
        let fine_error = upper_norm(&self.left, kernels)
            + 8.0 * UNIT_ROUNDOFF * (norm + 2.0 * coarse_norm)
            + turning_error;

        let (error, fine_error) = (round_up(error), round_up(fine_error));
        let bias = |square: f64, error: f32| match self.metric {
            Metric::L2 => (square - f64::from(error) * f64::from(error)) as f32,
            Metric::InnerProduct | Metric::Cosine => (-along_mean - along_mean_error) as f32,
        };
        let approximate_norm = approximate_square.max(0.0).sqrt();
        Encoded {
            coarse: [bias(coarse_scale * coarse_scale * coarse_square, error), scale, error],
            fine: [bias(approximate_square, fine_error), fine_scale, fine_error],
            reach: round_up(norm.max(coarse_norm).max(approximate_norm)),
        }
    }
}

/// Rounds `left` to multiples of the step returned and keeps in `left` what that leaves out.
fn quantise(left: &mut [f32], values: &mut [f32], codes: &mut [u8]) -> f32 {
    let largest = left.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = (largest / HALF_RANGE).max(MIN_SCALE);
    let steps = scale.recip();
    for ((left, value), code) in left.iter_mut().zip(values.iter_mut()).zip(codes) {
        let at = (*left * steps + 8.0).clamp(0.0, 15.0) + ROUNDING;
        *code = (at.to_bits() & 15) as u8;
        *value = at - ROUNDING - 8.0;
        *left -= scale * *value;
    }
    scale
}

/// Largest error of a sum of `n` products, relative to the sum of their sizes, with room for the roundings around it.
pub(super) fn sum_error(n: usize) -> f64 {
    (n + 8) as f64 * UNIT_ROUNDOFF
}

/// At least the norm of `values`.
fn upper_norm(values: &[f32], kernels: &Kernels) -> f64 {
    f64::from(kernels.dot(values, values)).sqrt() * (1.0 + sum_error(values.len())) + TINY_NORM
}

/// The mean of a sample of rows, far outliers left out; zeros when there is no finite one.
fn centre(store: &RowStore, kernels: &Kernels) -> Vec<f32> {
    let (rows, dim) = (store.len(), store.dim());
    let view = store.view();
    let sample: Vec<&[f32]> =
        (0..rows).step_by(rows.div_ceil(MEAN_SAMPLE_ROWS).max(1)).map(|row| view.row(row as u32)).collect();
    let lengths: Vec<f32> = sample.iter().map(|row| kernels.dot(row, row).sqrt()).collect();
    let mut sorted = lengths.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let limit = sorted.get(sorted.len() / 2).map_or(0.0, |median| median * OUTLIER_LENGTHS);
    let mut sums = vec![0.0_f64; dim];
    let mut count = 0.0;
    for (row, _) in sample.iter().zip(&lengths).filter(|&(_, &length)| length <= limit) {
        sums.iter_mut().zip(*row).for_each(|(sum, &value)| *sum += f64::from(value));
        count += 1.0;
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / f64::max(count, 1.0)) as f32).collect();
    match upper_norm(&mean, kernels) {
        norm if norm <= MAX_NORM => mean,
        _ => vec![0.0; dim],
    }
}
