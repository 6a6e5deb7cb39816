//! Rotary positions (Su et al., 2021, "RoFormer"): numbers `i` and `i + half` of a head are turned together, by an angle that
//! is the token's position times a frequency that falls with `i`. So a product of query and key depends on their distance only.
//!
//! The pairing is that of GPT-NeoX and of `transformers`' `rotate_half`, not that of neighbours. Angles are products in f32, as
//! there: at a position of thousands a finer product would be another angle.

use pulp::{Arch, Simd, WithSimd};

/// How fast each pair of a head turns, `[head / 2]`.
pub(crate) struct Frequencies(Vec<f32>);

impl Frequencies {
    /// `base ^ (-2i / head)`; `head` is even.
    pub(crate) fn new(base: f64, head: usize) -> Frequencies {
        let half = head / 2;
        // Powers are taken in f64 and rounded once: within an ulp of every f32 library's.
        let power = |i: usize| base.powf(f64::from(2.0 * i as f32 / head as f32)) as f32;
        Frequencies((0..half).map(|i| 1.0 / power(i)).collect())
    }

    /// Cosines and sines of the first `positions` positions.
    pub(crate) fn turns(&self, positions: usize) -> Rotation {
        let angles = (0..positions).flat_map(|at| self.0.iter().map(move |turn| at as f32 * turn));
        let (cosines, sines) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Rotation { half: self.0.len(), cosines, sines }
    }
}

/// `[positions, half]` cosines and sines.
pub(crate) struct Rotation {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotation {
    /// Turns the first `heads` heads of every row of `x [tokens, stride]`, the first row being at position 0. There are no more
    /// rows than positions.
    pub(crate) fn apply(&self, x: &mut [f32], stride: usize, heads: usize) {
        Arch::new().dispatch(Turn { rotation: self, x, stride, heads });
    }
}

struct Turn<'a> {
    rotation: &'a Rotation,
    x: &'a mut [f32],
    stride: usize,
    heads: usize,
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Turn { rotation: Rotation { half, cosines, sines }, x, stride, heads } = self;
        let angles = cosines.chunks_exact(*half).zip(sines.chunks_exact(*half));
        for (row, (cosines, sines)) in x.chunks_exact_mut(stride).zip(angles) {
            for head in row.chunks_exact_mut(2 * half).take(heads) {
                turn(simd, head, cosines, sines);
            }
        }
    }
}

#[inline(always)]
fn turn<S: Simd>(simd: S, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (a, b) = head.split_at_mut(cosines.len());
    let both = |a: S::f32s, b: S::f32s, cosine: S::f32s, sine: S::f32s| {
        let first = simd.sub_f32s(simd.mul_f32s(a, cosine), simd.mul_f32s(b, sine));
        (first, simd.add_f32s(simd.mul_f32s(b, cosine), simd.mul_f32s(a, sine)))
    };
    let ((a, a_rest), (b, b_rest)) = (S::as_mut_simd_f32s(a), S::as_mut_simd_f32s(b));
    let ((cosines, cosines_rest), (sines, sines_rest)) = (S::as_simd_f32s(cosines), S::as_simd_f32s(sines));
    for ((a, b), (cosine, sine)) in a.iter_mut().zip(b).zip(cosines.iter().zip(sines)) {
        (*a, *b) = both(*a, *b, *cosine, *sine);
    }
    if !a_rest.is_empty() {
        let load = |numbers: &[f32]| simd.partial_load_f32s(numbers);
        let (first, second) = both(load(a_rest), load(b_rest), load(cosines_rest), load(sines_rest));
        simd.partial_store_f32s(a_rest, first);
        simd.partial_store_f32s(b_rest, second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_turned_by_position_and_the_rest_of_a_row_is_left() {
        let (head, heads, stride, tokens) = (10, 3, 3 * 10 + 4, 6);
        let x: Vec<f32> = (0..tokens * stride).map(|i| ((i * 37) % 101) as f32 * 0.02 - 1.0).collect();
        let mut received = x.clone();
        Frequencies::new(10_000.0, head).turns(tokens).apply(&mut received, stride, heads);
        for (at, (x, received)) in x.chunks_exact(stride).zip(received.chunks_exact(stride)).enumerate() {
            assert_eq!(x[heads * head..], received[heads * head..]);
            for h in 0..heads {
                for i in 0..head / 2 {
                    let angle = at as f64 * 10_000f64.powf(-2.0 * i as f64 / head as f64);
                    let (a, b) = (f64::from(x[h * head + i]), f64::from(x[h * head + head / 2 + i]));
                    let (first, second) = (received[h * head + i], received[h * head + head / 2 + i]);
                    assert!((f64::from(first) - (a * angle.cos() - b * angle.sin())).abs() < 1e-6);
                    assert!((f64::from(second) - (b * angle.cos() + a * angle.sin())).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn products_depend_on_the_distance_only() {
        let head = 64;
        let (q, k): (Vec<f32>, Vec<f32>) =
            (0..head).map(|i| ((i as f32).sin(), (i as f32 * 0.7).cos())).unzip();
        let rotation = Frequencies::new(1e6, head).turns(40);
        let at = |x: &[f32], position: usize| {
            let mut rows = x.repeat(position + 1);
            rotation.apply(&mut rows, head, 1);
            rows[position * head..].to_vec()
        };
        let product =
            |i: usize, j: usize| -> f32 { at(&q, i).iter().zip(at(&k, j)).map(|(a, b)| a * b).sum() };
        assert!((product(9, 4) - product(35, 30)).abs() < 1e-4);
        assert!((product(9, 4) - product(9, 8)).abs() > 1e-2);
    }
}
