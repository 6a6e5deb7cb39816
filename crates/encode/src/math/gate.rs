//! Gated activations: `act(gate) * up`, where one matrix product has made gate and up side by side (Shazeer, 2020, "GLU
//! variants improve transformer"; SwiGLU with SiLU, GeGLU with GELU).

use pulp::{Arch, Simd, WithSimd};

use super::elementwise::{exp, gelu_of};

/// What the gate goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x * (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
}

impl Gate {
    /// `out [rows, wide] = act(x[.., ..wide]) * x[.., wide..]` for `x [rows, 2 * wide]`.
    pub(crate) fn apply(self, x: &[f32], wide: usize, out: &mut [f32]) {
        Arch::new().dispatch(Gated { gate: self, x, wide, out });
    }
}

struct Gated<'a> {
    gate: Gate,
    x: &'a [f32],
    wide: usize,
    out: &'a mut [f32],
}

impl WithSimd for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Gated { gate, x, wide, out } = self;
        match gate {
            Gate::Silu => rows(
                simd,
                x,
                wide,
                out,
                #[inline(always)]
                |x| silu(simd, x),
            ),
            Gate::Gelu => rows(
                simd,
                x,
                wide,
                out,
                #[inline(always)]
                |x| gelu_of(simd, x),
            ),
        }
    }
}

#[inline(always)]
fn rows<S: Simd>(simd: S, x: &[f32], wide: usize, out: &mut [f32], act: impl Fn(S::f32s) -> S::f32s) {
    for (x, out) in x.chunks_exact(2 * wide).zip(out.chunks_exact_mut(wide)) {
        let (gate, up) = x.split_at(wide);
        let ((gate, gate_rest), (up, up_rest)) = (S::as_simd_f32s(gate), S::as_simd_f32s(up));
        let (out, out_rest) = S::as_mut_simd_f32s(out);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = simd.mul_f32s(act(*gate), *up);
        }
        if !out_rest.is_empty() {
            let (gate, up) = (simd.partial_load_f32s(gate_rest), simd.partial_load_f32s(up_rest));
            simd.partial_store_f32s(out_rest, simd.mul_f32s(act(gate), up));
        }
    }
}

#[inline(always)]
fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.div_f32s(x, simd.add_f32s(simd.splat_f32s(1.0), exp(simd, simd.neg_f32s(x))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_the_ones_they_are_named_for() {
        let wide = 37;
        let x: Vec<f32> = (0..4 * wide).map(|i| (i as f32 - 70.0) * 0.3).collect();
        let mut gelu: Vec<f32> = x.clone();
        super::super::elementwise::gelu(&mut gelu);
        for gate in [Gate::Silu, Gate::Gelu] {
            let mut out = vec![f32::NAN; 2 * wide];
            gate.apply(&x, wide, &mut out);
            for (at, received) in out.iter().enumerate() {
                let place = at / wide * 2 * wide + at % wide;
                let (input, up) = (f64::from(x[place]), f64::from(x[place + wide]));
                let act = match gate {
                    Gate::Silu => input / (1.0 + (-input).exp()),
                    Gate::Gelu => f64::from(gelu[place]),
                };
                let difference = (f64::from(*received) - act * up).abs();
                assert!(difference <= 1e-6 * (1.0 + (act * up).abs()), "{gate:?} {input} {up}: {received}");
            }
        }
    }

    #[test]
    fn far_off_inputs_stay_finite() {
        let mut out = [f32::NAN; 2];
        Gate::Silu.apply(&[-1e30, 1e30, 1.0, 1.0], 2, &mut out);
        assert!(out[0].abs() < 1e-5 && out[1] == 1e30, "{out:?}");
    }
}
