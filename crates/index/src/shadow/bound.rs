//! The lower bound on a distance that a query takes from codes, with every rounding in it.
//!
//! Let `y` be a centred (and turned) row, `x'` its approximation by codes and `e >= |y - x'|`. Let `a` be `q - mean`, turned likewise, `g`
//! its i8 codes, `t g` its approximation and `w >= |a - t g|`. With `I = <g, codes>` the kernels know `<t g, x'> = t scale I`.
//!
//! **L2.** `|q - x| = |a - y| >= |t g - x'| - w - e`, so the distance is above `T` when
//! `|t g|^2 - 2 t scale I + |x'|^2 > (T + w + e)^2`, or, with `bias = |x'|^2 - e^2`,
//! `bias - 2 t scale I - 2 (T + w) e > (T + w)^2 - |t g|^2`.
//!
//! **Inner product.** `<q, x> = <q, mean> + <mean, y> + <a, y>` and `<a, y> <= t scale I + |t g| e + w |y|`. So with
//! `bias <= -<mean, y>` the distance `-<q, x>` is above `T` when
//! `bias - t scale I - |t g| e > T + <q, mean> + w |y|`. Centring the query too pays where rows share a direction, as
//! sentence embeddings do: `|a|` is then much smaller than `|q|`.
//!
//! `reach` stands for the largest `|y|` and `|x'|` of a block. The f32 kernel that defines the answer is off by at most
//! [`sum_error`] times `|q - x|^2` or `|q| |x|`, and the f32 arithmetic of the test by a few units of its terms' sizes
//! ([`SLACK`]); both are added to the limit. Query terms are f64.

use super::encode::sum_error;
use super::{MAX_NORM, Shadow};
use crate::kernels::{LINE_VALUES, NibbleBound};
use crate::metric::Metric;

/// Half the distance from 1 to the next f32.
pub(super) const UNIT_ROUNDOFF: f64 = 1.0 / (1 << 24) as f64;
/// Roundings of the test in the kernel, of the stored terms and of the limit, relative to the sizes of the terms: about
/// twenty units, with room.
const SLACK: f64 = 64.0 * UNIT_ROUNDOFF;
/// Far above every subnormal rounding, far below every distance that could matter.
const TINY: f64 = 1e-30;
/// Largest query code.
const MAX_CODE: f64 = 127.0;
/// Smallest step of a query, a normal float.
const MIN_STEP: f32 = 1e-15;

/// The f32 at or above `value`.
pub(super) fn round_up(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) < value { nearest.next_up() } else { nearest }
}

/// A query as codes, with what its bounds need.
pub(super) struct Query {
    metric: Metric,
    /// `t`, the step.
    pub(super) step: f32,
    /// Minus eight times the sum of the codes: codes of rows are stored with 8 added.
    start: i32,
    /// `|t g|`.
    norm: f64,
    /// `w`.
    pub(super) error: f64,
    /// `<q, mean>`, `|q|`, `|mean|`.
    along_mean: f64,
    full_norm: f64,
    mean_norm: f64,
    /// See [`sum_error`].
    kernel_error: f64,
}

impl Query {
    /// Rounds `query`, `[dim]`, writing its codes, padded with zeros to whole lines. `None` when it is too long to be bounded.
    pub(super) fn new(shadow: &Shadow, query: &[f32], codes: &mut [i8]) -> Option<Self> {
        debug_assert_eq!(codes.len(), shadow.shape().lines() * LINE_VALUES);
        let wide = |value: &f32| f64::from(*value);
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let full_norm = norm(&mut query.iter().map(wide)) * (1.0 + 1e-9);
        let mean_norm = norm(&mut shadow.mean.iter().map(wide)) * (1.0 + 1e-9);
        let is_bounded = full_norm <= MAX_NORM && mean_norm <= MAX_NORM;
        if !is_bounded {
            return None;
        }
        let mut centred: Vec<f64> =
            query.iter().zip(&shadow.mean).map(|(value, mean)| wide(value) - wide(mean)).collect();
        let mut rotation_error = 0.0;
        if let Some(rotation) = &shadow.rotation {
            let mut turned: Vec<f32> = centred.iter().map(|&value| value as f32).collect();
            rotation.apply(&mut turned);
            rotation_error =
                (rotation.error() + UNIT_ROUNDOFF) * (1.0 + 1e-6) * norm(&mut centred.iter().copied());
            centred = turned.iter().map(wide).collect();
        }
        let largest = centred.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let step = ((largest / MAX_CODE) as f32).max(MIN_STEP);
        let step_wide = f64::from(step);
        codes.fill(0);
        let (mut sum, mut square, mut error) = (0, 0, 0.0);
        for (code, value) in codes.iter_mut().zip(centred) {
            let rounded = (value / step_wide).round().clamp(-MAX_CODE, MAX_CODE);
            *code = rounded as i8;
            sum += i32::from(*code);
            square += i64::from(*code) * i64::from(*code);
            error += (value - step_wide * rounded).powi(2);
        }
        let along_mean = query.iter().zip(&shadow.mean).map(|(value, mean)| wide(value) * wide(mean)).sum();
        Some(Query {
            metric: shadow.metric,
            step,
            start: -8 * sum,
            norm: step_wide * (square as f64).sqrt(),
            // f64 roundings of differences whose size is that of the values, and subnormal ones of the rotation.
            error: error.sqrt() * (1.0 + 1e-9) + rotation_error + 1e-12 * (full_norm + mean_norm) + TINY,
            along_mean,
            full_norm,
            mean_norm,
            kernel_error: sum_error(shadow.dim),
        })
    }

    /// What a row must be marked by: its f32 distance may be at or below `threshold`.
    pub(super) fn bound(&self, threshold: f32) -> NibbleBound {
        let threshold = f64::from(threshold);
        if threshold == f64::INFINITY {
            return NibbleBound {
                start: self.start,
                limit: [f32::INFINITY, 0.0, 0.0],
                ..NibbleBound::default()
            };
        }
        match self.metric {
            Metric::L2 => self.l2_bound(threshold),
            Metric::InnerProduct | Metric::Cosine => self.inner_product_bound(threshold),
        }
    }

    fn l2_bound(&self, threshold: f64) -> NibbleBound {
        // The kernel's sum is at least (1 - kernel_error) of the true one.
        let true_square = (threshold.max(0.0) + TINY) / (1.0 - self.kernel_error);
        let radius = true_square.sqrt() * (1.0 + 1e-9) + self.error;
        let (radius_square, norm_square) = (radius * radius, self.norm * self.norm);
        let limit = radius_square - norm_square + SLACK * (radius_square + norm_square) + TINY;
        NibbleBound {
            start: self.start,
            slope: 2.0 * self.step,
            error_weight: round_up(2.0 * radius),
            limit: [round_up(limit), 0.0, round_up(4.0 * SLACK)],
        }
    }

    fn inner_product_bound(&self, threshold: f64) -> NibbleBound {
        let per_norm = self.kernel_error * self.full_norm;
        let limit = threshold
            + self.along_mean
            + per_norm * self.mean_norm
            + SLACK * (threshold.abs() + self.full_norm * self.mean_norm)
            + TINY;
        let per_reach = (self.error + per_norm) * (1.0 + SLACK) + SLACK * (4.0 * self.norm + self.mean_norm);
        NibbleBound {
            start: self.start,
            slope: self.step,
            error_weight: round_up(self.norm),
            limit: [round_up(limit), round_up(per_reach), 0.0],
        }
    }
}

/// True when a row may be as near as the bound asks, by both its codes: the kernel's test once more with the fine terms.
pub(super) fn may_be_near(
    bound: &NibbleBound,
    reach: f32,
    (coarse_scale, coarse_dot): (f32, i32),
    fine: [f32; 3],
    fine_dot: i32,
) -> bool {
    let [bias, scale, error] = fine;
    let wide = |value: f32| f64::from(value);
    let product = wide(coarse_scale) * f64::from(coarse_dot) + wide(scale) * f64::from(fine_dot);
    let value = wide(bias) - wide(bound.slope) * product - wide(bound.error_weight) * wide(error);
    let reach = wide(reach);
    let limit = wide(bound.limit[0]) + reach * (wide(bound.limit[1]) + reach * wide(bound.limit[2]));
    // Not `<=`: what is no number must pass.
    let is_above = value > limit;
    !is_above
}
