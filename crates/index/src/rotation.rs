//! A random rotation in `O(dim log dim)`: signs flipped at random and Hadamard transforms, for any dimension.
//!
//! A Hadamard transform needs a power of two. Other dimensions take turns: the first `w` values, then the last `w`, with `w`
//! the largest power of two that fits, and between turns a step of sums and differences of both halves, so that every value
//! reaches every place (the idea of the fast transforms of Ailon and Chazelle 2009 and of the Kac walk). Every step is
//! orthonormal, so lengths and inner products stay. After it, whatever the data was, values spread evenly over the dimensions.

use crate::random::Random;

/// Turns for a power of two, and for other dimensions.
const TURNS: [usize; 2] = [2, 4];

/// A fixed rotation of vectors of one dimension.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    /// Per turn and value, 1 or -1, times the transform's scale.
    signs: Vec<f32>,
    dim: usize,
    width: usize,
}

impl Rotation {
    /// The rotation of `seed`; `dim >= 1`.
    pub(crate) fn new(dim: usize, seed: u64) -> Self {
        let width = 1 << dim.max(1).ilog2();
        let turns = TURNS[usize::from(width != dim)];
        let scale = 1.0 / (width as f32).sqrt();
        let mut random = Random::new(seed ^ 0x726f_7461_7469_6f6e);
        let signs = (0..turns)
            .flat_map(|turn| (0..dim).map(move |at| (turn, at)))
            .map(|(turn, at)| {
                let sign = if random.next_u64() >> 63 == 0 { 1.0 } else { -1.0 };
                if Self::span(dim, width, turn).contains(&at) { sign * scale } else { sign }
            })
            .collect();
        Rotation { signs, dim, width }
    }

    /// The values that a turn transforms.
    fn span(dim: usize, width: usize, turn: usize) -> std::ops::Range<usize> {
        if turn.is_multiple_of(2) { 0..width } else { dim - width..dim }
    }

    /// Rotates `values`, `[dim]`, in place.
    pub(crate) fn apply(&self, values: &mut [f32]) {
        for (turn, signs) in self.signs.chunks_exact(self.dim).enumerate() {
            for (value, sign) in values.iter_mut().zip(signs) {
                *value *= sign;
            }
            hadamard(&mut values[Self::span(self.dim, self.width, turn)]);
            if self.width != self.dim {
                mix_halves(values);
            }
        }
    }

    /// Length of what the f32 roundings of [`Rotation::apply`] can change in a vector of length 1, beside the exact rotation:
    /// per turn one unit for each stage of additions, and six for the scales, their products and the sums of halves.
    pub(crate) fn error(&self) -> f64 {
        let turns = self.signs.len() / self.dim;
        turns as f64 * f64::from(self.width.ilog2() + 6) * f64::from(f32::EPSILON / 2.0)
    }

    /// Takes [`Rotation::apply`] back: every step is its own inverse, in reverse order.
    pub(crate) fn invert(&self, values: &mut [f32]) {
        for (turn, signs) in self.signs.chunks_exact(self.dim).enumerate().rev() {
            if self.width != self.dim {
                mix_halves(values);
            }
            hadamard(&mut values[Self::span(self.dim, self.width, turn)]);
            for (value, sign) in values.iter_mut().zip(signs) {
                *value *= sign;
            }
        }
    }
}

/// Sums and differences of both halves; the middle value of an odd number stays.
fn mix_halves(values: &mut [f32]) {
    let half = values.len() / 2;
    let (first, second) = values.split_at_mut(half);
    for (a, b) in first.iter_mut().zip(second) {
        (*a, *b) = ((*a + *b) * std::f32::consts::FRAC_1_SQRT_2, (*a - *b) * std::f32::consts::FRAC_1_SQRT_2);
    }
}

/// The transform without its scale; the length is a power of two.
fn hadamard(values: &mut [f32]) {
    let mut half = values.len() / 2;
    // From far to near: the order does not matter, and the long strides come first.
    while half >= 4 {
        for block in values.chunks_exact_mut(2 * half) {
            let (first, second) = block.split_at_mut(half);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half /= 2;
    }
    if values.len() >= 4 {
        for [a, b, c, d] in values.as_chunks_mut::<4>().0 {
            let (sum, difference, other_sum, other_difference) = (*a + *b, *a - *b, *c + *d, *c - *d);
            *a = sum + other_sum;
            *b = difference + other_difference;
            *c = sum - other_sum;
            *d = difference - other_difference;
        }
    } else if let [a, b] = values {
        (*a, *b) = (*a + *b, *a - *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_products_stay_and_energy_spreads() {
        for dim in [1, 2, 3, 4, 5, 64, 96, 100, 128, 384, 768, 1000, 1536] {
            let rotation = Rotation::new(dim, 7);
            let mut random = Random::new(dim as u64);
            let mut vector = || (0..dim).map(|_| random.unit() as f32 - 0.5).collect::<Vec<f32>>();
            let (mut a, mut b) = (vector(), vector());
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let before = [dot(&a, &a), dot(&b, &b), dot(&a, &b)];
            let original = a.clone();
            rotation.apply(&mut a);
            let mut back = a.clone();
            rotation.invert(&mut back);
            assert!(back.iter().zip(&original).all(|(back, value)| (back - value).abs() <= 1e-5), "{dim}");
            let length = |values: &mut dyn Iterator<Item = f32>| {
                values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
            };
            let off = length(&mut back.iter().zip(&original).map(|(back, value)| back - value));
            assert!(off <= 2.0 * rotation.error() * length(&mut original.iter().copied()), "{dim}: {off}");
            rotation.apply(&mut b);
            for (before, after) in before.into_iter().zip([dot(&a, &a), dot(&b, &b), dot(&a, &b)]) {
                assert!((before - after).abs() <= 1e-5 * dim as f32, "{dim}: {before} became {after}");
            }
            let mut unit = vec![0.0; dim];
            unit[dim / 3] = 1.0;
            rotation.apply(&mut unit);
            let largest = unit.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            assert!(dim < 64 || largest < 0.5, "{dim}: one value became {largest}");
        }
    }
}
