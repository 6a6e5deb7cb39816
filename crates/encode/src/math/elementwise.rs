//! What runs between the products: GELU, layer norm, softmax, unit length. All on f32, in registers of the machine.
//!
//! `exp` is Cephes' `expf` (reduction by ln 2 in two parts, a polynomial of degree 6; relative error 2e-7) and `erf` is
//! Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7): both without branches. Written in explicit vectors: left to
//! the compiler's own vectoriser, this file took minutes to build. Every closure that works on vectors says `#[inline(always)]`: one that
//! stays a function of its own is not compiled for the wide registers, and each of its operations becomes a call.

use pulp::{Arch, Simd, WithSimd};

/// Replaces every `x` by `f(x)`. Lanes past the end hold zeros.
#[inline(always)]
pub(super) fn map<S: Simd>(simd: S, x: &mut [f32], f: impl Fn(S::f32s) -> S::f32s) {
    let (whole, rest) = S::as_mut_simd_f32s(x);
    for x in whole {
        *x = f(*x);
    }
    if !rest.is_empty() {
        let x = f(simd.partial_load_f32s(rest));
        simd.partial_store_f32s(rest, x);
    }
}

/// Sum of `f(x)`; one partial sum a lane, which also rounds less than one long chain.
#[inline(always)]
pub(super) fn sum<S: Simd>(simd: S, x: &[f32], f: impl Fn(S::f32s) -> S::f32s) -> f32 {
    let (whole, rest) = S::as_simd_f32s(x);
    let mut lanes = simd.splat_f32s(0.0);
    for x in whole {
        lanes = simd.add_f32s(lanes, f(*x));
    }
    let mut total = simd.reduce_sum_f32s(lanes);
    if !rest.is_empty() {
        // Lanes past the end would add f(0), so they are put away first.
        let mut tail = [0.0; 64];
        let lanes = f(simd.partial_load_f32s(rest));
        tail[..S::F32_LANES].copy_from_slice(bytemuck::cast_slice(&[lanes]));
        total += tail[..rest.len()].iter().sum::<f32>();
    }
    total
}

/// `e^x`, for x from -87 to 88; outside, the value at that end.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-87.0)), simd.splat_f32s(88.0));
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer, whose bits are the lowest of the sum.
    let rounder = simd.splat_f32s(12_582_912.0);
    let shifted = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), rounder);
    let power = simd.sub_f32s(shifted, rounder);
    let r = simd.mul_add_e_f32s(power, simd.splat_f32s(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(power, simd.splat_f32s(2.121_944_4e-4), r);
    let mut p = simd.splat_f32s(1.987_569_2e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(c));
    }
    let p = simd.add_f32s(simd.mul_add_e_f32s(simd.mul_f32s(p, r), r, r), simd.splat_f32s(1.0));
    let bits: S::u32s = bytemuck::cast(shifted);
    let exponent = simd.wrapping_dyn_shl_u32s(simd.add_u32s(bits, simd.splat_u32s(127)), simd.splat_u32s(23));
    simd.mul_f32s(p, bytemuck::cast(exponent))
}

/// GELU of every number, as [`Finish::Gelu`](super::tile::Finish) is of a product's.
pub(crate) fn gelu(x: &mut [f32]) {
    struct Gelu<'a>(&'a mut [f32]);
    impl WithSimd for Gelu<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            map(
                simd,
                self.0,
                #[inline(always)]
                |x| gelu_of(simd, x),
            );
        }
    }
    Arch::new().dispatch(Gelu(x));
}

/// `x * 0.5 * (1 + erf(x / sqrt 2))`: the exact GELU of BERT, not the tanh form.
#[inline(always)]
pub(super) fn gelu_of<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let size = simd.abs_f32s(x);
    let z = simd.mul_f32s(size, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2));
    let t = simd.div_f32s(one, simd.mul_add_e_f32s(z, simd.splat_f32s(0.327_591_1), one));
    let mut p = simd.splat_f32s(0.5 * 1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = simd.mul_add_e_f32s(p, t, simd.splat_f32s(0.5 * c));
    }
    // The tail is (1 - erf |z|) / 2: what is missing of x above zero, and what is left of it below.
    let tail = simd.mul_f32s(simd.mul_f32s(p, t), exp(simd, simd.neg_f32s(simd.mul_f32s(z, z))));
    simd.sub_f32s(simd.max_f32s(x, zero), simd.mul_f32s(size, tail))
}

/// `x * sigmoid(1.702 * x)`: the approximation of GELU that OpenAI's CLIP was trained with.
#[inline(always)]
pub(super) fn quick_gelu_of<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (slope, one) = (simd.splat_f32s(-1.702), simd.splat_f32s(1.0));
    simd.div_f32s(x, simd.add_f32s(one, exp(simd, simd.mul_f32s(x, slope))))
}

/// Scale and shift of a layer normalisation.
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    /// Added to the variance.
    pub(crate) epsilon: f32,
}

impl LayerNorm {
    /// Every row of `x [rows, dim]` in its place.
    pub(crate) fn apply(&self, x: &mut [f32]) {
        Arch::new().dispatch(Normalise { norm: self, x });
    }
}

struct Normalise<'a> {
    norm: &'a LayerNorm,
    x: &'a mut [f32],
}

impl WithSimd for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Normalise { norm, x } = self;
        let dim = norm.weight.len();
        for x in x.chunks_exact_mut(dim) {
            let mean = simd.splat_f32s(
                sum(
                    simd,
                    x,
                    #[inline(always)]
                    |x| x,
                ) / dim as f32,
            );
            let squares = sum(
                simd,
                x,
                #[inline(always)]
                |x| {
                    let x = simd.sub_f32s(x, mean);
                    simd.mul_f32s(x, x)
                },
            );
            let scale = simd.splat_f32s(1.0 / (squares / dim as f32 + norm.epsilon).sqrt());
            map(
                simd,
                x,
                #[inline(always)]
                |x| simd.mul_f32s(simd.sub_f32s(x, mean), scale),
            );
            for ((x, weight), bias) in x.iter_mut().zip(&norm.weight).zip(&norm.bias) {
                *x = *x * weight + bias;
            }
        }
    }
}

/// Turns each row of `x [rows, dim]` into `softmax(scale * row)`.
pub(crate) fn softmax_rows(x: &mut [f32], dim: usize, scale: f32) {
    Arch::new().dispatch(Softmax { x, dim, scale });
}

struct Softmax<'a> {
    x: &'a mut [f32],
    dim: usize,
    scale: f32,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Softmax { x, dim, scale } = self;
        for row in x.chunks_exact_mut(dim) {
            let (whole, rest) = S::as_simd_f32s(row);
            let mut lanes = simd.splat_f32s(f32::NEG_INFINITY);
            for x in whole {
                lanes = simd.max_f32s(lanes, *x);
            }
            let top = rest.iter().copied().fold(simd.reduce_max_f32s(lanes), f32::max);
            let (shift, factor) = (simd.splat_f32s(-top * scale), simd.splat_f32s(scale));
            map(
                simd,
                row,
                #[inline(always)]
                |x| exp(simd, simd.mul_add_e_f32s(x, factor, shift)),
            );
            let inverse = simd.splat_f32s(
                1.0 / sum(
                    simd,
                    row,
                    #[inline(always)]
                    |x| x,
                ),
            );
            map(
                simd,
                row,
                #[inline(always)]
                |x| simd.mul_f32s(x, inverse),
            );
        }
    }
}

/// Divides by the L2 norm, or by 1e-6 where the norm is smaller.
pub(crate) fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt().max(1e-6);
    let scale = 1.0 / norm;
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its series around 0 and continued fraction far out, in f64.
    fn erf(x: f64) -> f64 {
        let steps = 20_000;
        let h = x / f64::from(steps);
        let f = |t: f64| (-t * t).exp();
        let inner: f64 = (1..steps).map(|i| f64::from(2 + 2 * (i % 2)) * f(f64::from(i) * h)).sum();
        (f(0.0) + inner + f(x)) * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn exp_is_within_3e7_relative() {
        let exp = |x: f32| exp(pulp::Scalar, x);
        for i in -8000..8000 {
            let x = i as f32 * 0.01;
            let (received, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(((received - expected) / expected).abs() < 3e-7, "exp({x}): {received} {expected}");
        }
        assert!(exp(f32::NEG_INFINITY) > 0.0 && exp(1e9).is_finite());
    }

    #[test]
    fn gelu_is_within_5e7_of_the_exact_one() {
        let mut x: Vec<f32> = (-600..600).map(|i| i as f32 * 0.01).collect();
        let expected: Vec<f64> =
            x.iter().map(|x| f64::from(*x)).map(|x| x * 0.5 * (1.0 + erf(x / 2f64.sqrt()))).collect();
        let mut one_by_one = x.clone();
        gelu(&mut x);
        one_by_one.iter_mut().for_each(|x| *x = gelu_of(pulp::Scalar, *x));
        for (vector, scalar) in x.iter().zip(one_by_one) {
            assert!((vector - scalar).abs() < 1e-6, "{vector} {scalar}");
        }
        for (received, expected) in x.iter().zip(expected) {
            assert!((f64::from(*received) - expected).abs() < 8e-7, "{received} {expected}");
        }
    }

    #[test]
    fn quick_gelu_is_x_times_a_sigmoid() {
        let numbers: Vec<f32> = (-900..900).map(|i| i as f32 * 0.1).collect();
        for x in numbers.iter().map(|x| f64::from(*x)) {
            let received = quick_gelu_of(pulp::Scalar, x as f32);
            let expected = x / (1.0 + (-1.702 * x).exp());
            assert!(
                (f64::from(received) - expected).abs() < 1e-6 * x.abs().max(1.0),
                "{x}: {received} {expected}"
            );
        }
    }

    #[test]
    fn layer_norm_gives_mean_0_and_deviation_1() {
        let norm = LayerNorm { weight: vec![1.0; 50], bias: vec![0.0; 50], epsilon: 1e-12 };
        let mut x: Vec<f32> = (0..50).map(|i| (i * i) as f32).collect();
        norm.apply(&mut x);
        let mean = x.iter().sum::<f32>() / 50.0;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 50.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
    }

    #[test]
    fn softmax_sums_to_1_however_large_the_scores() {
        let mut x = vec![1e30, -1e30, 1e30, 0.0, 5.0, 5.0, 5.0, 5.0];
        softmax_rows(&mut x, 4, 0.5);
        assert!((x[0] - 0.5).abs() < 1e-6 && x[1] < 1e-6 && (x[4] - 0.25).abs() < 1e-6);
    }

    #[test]
    fn a_zero_vector_stays_finite() {
        let mut zero = vec![0.0; 4];
        normalise(&mut zero);
        assert_eq!(zero, [0.0; 4]);
        let mut vector = vec![3.0, 4.0];
        normalise(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
    }
}
