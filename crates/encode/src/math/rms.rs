//! Root mean square normalisation (Zhang and Sennrich, 2019): `x * weight / sqrt(mean(x^2) + epsilon)`.

use pulp::{Arch, Simd, WithSimd};

use super::elementwise::{map, sum};

/// Scale of a root mean square normalisation.
pub(crate) struct RmsNorm {
    pub(crate) weight: Vec<f32>,
    /// Added to the mean of squares.
    pub(crate) epsilon: f32,
}

impl RmsNorm {
    /// Normalises every row of `x [rows, dim]` in place, `dim` being the weights' length.
    pub(crate) fn apply(&self, x: &mut [f32]) {
        Arch::new().dispatch(Normalise { norm: self, x });
    }
}

struct Normalise<'a> {
    norm: &'a RmsNorm,
    x: &'a mut [f32],
}

impl WithSimd for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Normalise { norm, x } = self;
        let dim = norm.weight.len();
        for x in x.chunks_exact_mut(dim) {
            let squares = sum(
                simd,
                x,
                #[inline(always)]
                |x| simd.mul_f32s(x, x),
            );
            let scale = simd.splat_f32s(1.0 / (squares / dim as f32 + norm.epsilon).sqrt());
            map(
                simd,
                x,
                #[inline(always)]
                |x| simd.mul_f32s(x, scale),
            );
            for (x, weight) in x.iter_mut().zip(&norm.weight) {
                *x *= weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_formula_row_by_row() {
        let dim = 37;
        let norm = RmsNorm { weight: (0..dim).map(|i| i as f32 * 0.1 - 1.0).collect(), epsilon: 1e-6 };
        let x: Vec<f32> = (0..3 * dim).map(|i| ((i * i) % 31) as f32 - 12.0).collect();
        let mut received = x.clone();
        norm.apply(&mut received);
        for (x, received) in x.chunks_exact(dim).zip(received.chunks_exact(dim)) {
            let mean = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / dim as f64;
            for ((x, weight), received) in x.iter().zip(&norm.weight).zip(received) {
                let expected = f64::from(*x) * f64::from(*weight) / (mean + 1e-6).sqrt();
                assert!((f64::from(*received) - expected).abs() < 1e-6, "{received} {expected}");
            }
        }
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        let mut x = [0.0; 8];
        RmsNorm { weight: vec![2.0; 4], epsilon: 1e-6 }.apply(&mut x);
        assert_eq!(x, [0.0; 8]);
    }
}
