//! Products of f32 matrices by tiles of bfloat16 numbers, where a processor has these (AMX).
//!
//! A number is cut into two halves, `x = high + low`: the bfloat16 nearest to it, and the bfloat16 nearest to what is left. Of a
//! product `x * w` the parts `low * high`, `high * high` and `high * low` are added up in f32; what is left out is smaller than
//! 2^-16 of it (Henry, Tang and Heinecke, 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
//! Computations"). Weights take as many bytes as in f32.
//!
//! Invariant: a row of the result depends on that row of activations alone, and its sums are added in the order of their depth; so
//! a text has the same numbers alone and in a batch.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::halves_x86 as kernels;
use super::panels::DEPTH_STEP;
use super::tile::{Job, store};

/// Columns of a panel: two tiles.
pub(super) const COLUMNS: usize = 32;
/// Most rows of a tile.
const MOST_ROWS: usize = 16;
/// Lines of weights for one step of depth: `[high and low, left and right, 16 pairs of inputs]`.
const LINES_PER_STEP: usize = 4 * MOST_ROWS;

/// What a tile reads at once: 32 inputs of one row, or one pair of inputs for each of 16 columns.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u16; DEPTH_STEP]);

const EMPTY: Line = Line([0; DEPTH_STEP]);

/// A product of two tiles of activations and one panel.
pub(super) struct Tiles<'a> {
    /// `[steps, low and high, first and second tile, height]`
    pub(super) activations: &'a [Line],
    /// `[steps, high and low, left and right, 16]`
    pub(super) weights: &'a [Line],
    /// Rows of a tile, 1 to 16.
    pub(super) height: usize,
}

/// Sums of two tiles of rows, `[2 * height, COLUMNS]`.
pub(super) type Sums = [[f32; COLUMNS]; 2 * MOST_ROWS];

/// Code for one machine: overwrites the first `2 * height` rows of `sums`.
pub(super) type Kernel = fn(tiles: &Tiles<'_>, sums: &mut Sums);

/// The kernel of this machine, or none where f32 is as fast.
pub(super) fn kernel() -> Option<Kernel> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return kernels::native();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    None
}

/// Activations in halves, cut into pairs of tiles of equal height. The last tiles may begin before the end of those before them:
/// their first rows are then worked out twice, which costs nothing.
pub(super) struct Halves {
    /// Of each pair as in [`Tiles::activations`].
    lines: Vec<Line>,
    rows: usize,
    height: usize,
    steps: usize,
    kernel: Kernel,
}

impl Halves {
    /// Cuts `x [rows, depth]`; `depth` is a multiple of [`DEPTH_STEP`].
    pub(super) fn new(kernel: Kernel, x: &[f32], depth: usize) -> Halves {
        let (rows, steps) = (x.len() / depth, depth / DEPTH_STEP);
        let pairs = rows.div_ceil(2 * MOST_ROWS);
        let height = rows.div_ceil(2 * pairs.max(1));
        let lines = Vec::with_capacity(pairs * steps * 4 * height);
        let mut halves = Halves { lines, rows, height, steps, kernel };
        Arch::new().dispatch(Cut { x: x.as_chunks().0, pairs, halves: &mut halves });
        halves
    }

    /// The first row of a tile.
    fn first(&self, tile: usize) -> usize {
        (tile * self.height).min(self.rows - self.height)
    }

    /// `job.x * weights`, finished and stored as by [`multiply`](super::tile::multiply); `job.x` and `job.panel` are not read.
    pub(super) fn multiply(&self, weights: &[Line], job: &Job<'_>, out: &mut [f32]) {
        let height = self.height;
        let mut sums = [[0.0; COLUMNS]; 2 * MOST_ROWS];
        for (pair, activations) in self.lines.chunks_exact(self.steps * 4 * height).enumerate() {
            (self.kernel)(&Tiles { activations, weights, height }, &mut sums);
            for (side, sums) in sums.chunks_exact(height).take(2).enumerate() {
                store(job, self.first(2 * pair + side), sums.as_flattened(), out);
            }
        }
    }
}

struct Cut<'a> {
    x: &'a [[f32; DEPTH_STEP]],
    pairs: usize,
    halves: &'a mut Halves,
}

impl WithSimd for Cut<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Cut { x, pairs, halves } = self;
        let (height, steps) = (halves.height, halves.steps);
        let mut lines = [EMPTY; 4 * MOST_ROWS];
        let (low, high) = lines[..4 * height].split_at_mut(2 * height);
        for pair in 0..pairs {
            let firsts = [halves.first(2 * pair), halves.first(2 * pair + 1)];
            for step in 0..steps {
                let places = low.iter_mut().zip(high.iter_mut()).enumerate();
                for (at, (low, high)) in places {
                    let row = firsts[at / height] + at % height;
                    cut(&x[row * steps + step], high, low);
                }
                halves.lines.extend_from_slice(low);
                halves.lines.extend_from_slice(high);
            }
        }
    }
}

#[inline(always)]
fn cut(x: &[f32; DEPTH_STEP], high: &mut Line, low: &mut Line) {
    for ((x, high), low) in x.iter().zip(&mut high.0).zip(&mut low.0) {
        (*high, *low) = halved(*x);
    }
}

/// A number as the sum of two, each the upper half of an f32. What is no number or too great for the first half has no second.
#[inline(always)]
fn halved(x: f32) -> (u16, u16) {
    let high = nearest(x);
    let rest = x - whole(high);
    let low = if rest.abs() < f32::INFINITY { nearest(rest) } else { 0 };
    (high, low)
}

/// The bfloat16 nearest to a number, ties to even.
#[inline(always)]
fn nearest(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    let is_number = bits & 0x7FFF_FFFF <= 0x7F80_0000;
    ((if is_number { rounded } else { bits | 0x0040_0000 }) >> 16) as u16
}

/// Lines of a whole matrix `[outputs, inputs]`, panel by panel; the last panel is padded with zeros.
pub(super) fn packed(weights: &[f32], inputs: usize, outputs: usize) -> Vec<Line> {
    let per_panel = inputs / DEPTH_STEP * LINES_PER_STEP;
    let mut lines = vec![EMPTY; outputs.div_ceil(COLUMNS) * per_panel];
    for (panel, rows) in lines.chunks_exact_mut(per_panel).zip(weights.chunks(inputs * COLUMNS)) {
        for (column, row) in rows.chunks_exact(inputs).enumerate() {
            let (side, column) = (column / MOST_ROWS, column % MOST_ROWS);
            for (input, weight) in row.iter().enumerate() {
                let (step, input) = (input / DEPTH_STEP, input % DEPTH_STEP);
                let at = step * LINES_PER_STEP + side * MOST_ROWS + input / 2;
                let (high, low) = halved(*weight);
                panel[at].0[2 * column + input % 2] = high;
                panel[at + 2 * MOST_ROWS].0[2 * column + input % 2] = low;
            }
        }
    }
    lines
}

/// Where `size` weights from `start` on stand among the lines; both are whole steps of [`COLUMNS`] columns.
pub(super) fn lines_of(start: usize, size: usize) -> Range<usize> {
    let line = |weights: usize| weights / (DEPTH_STEP * COLUMNS) * LINES_PER_STEP;
    line(start)..line(start + size)
}

/// Whole steps of a panel as `[depth, COLUMNS]`, overwritten.
pub(super) fn unpack(lines: &[Line], out: &mut [f32]) {
    let steps = lines.chunks_exact(LINES_PER_STEP).zip(out.chunks_exact_mut(DEPTH_STEP * COLUMNS));
    for (lines, out) in steps {
        for (at, out) in out.iter_mut().enumerate() {
            let (input, column) = (at / COLUMNS, at % COLUMNS);
            let line = column / MOST_ROWS * MOST_ROWS + input / 2;
            let half = |line: usize| whole(lines[line].0[column % MOST_ROWS * 2 + input % 2]);
            *out = half(line) + half(line + 2 * MOST_ROWS);
        }
    }
}

/// The number of a half.
#[inline(always)]
fn whole(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

#[cfg(test)]
mod tests {
    use super::super::tile::Finish;
    use super::*;
    use proptest::prelude::*;

    /// What every kernel must give, but for the order in which sums are rounded.
    fn plain(tiles: &Tiles<'_>, sums: &mut Sums) {
        let height = tiles.height;
        for (row, sums) in sums.iter_mut().enumerate().take(2 * height) {
            for (column, sum) in sums.iter_mut().enumerate() {
                let steps = tiles
                    .activations
                    .chunks_exact(4 * height)
                    .zip(tiles.weights.chunks_exact(LINES_PER_STEP));
                let product = |(x, weights): (&[Line], &[Line]), k: usize| {
                    let x = |half: usize| f64::from(whole(x[half * 2 * height + row].0[k]));
                    let weight = |half: usize| {
                        let line = (half * 2 + column / MOST_ROWS) * MOST_ROWS + k / 2;
                        f64::from(whole(weights[line].0[column % MOST_ROWS * 2 + k % 2]))
                    };
                    x(0) * weight(0) + x(1) * weight(0) + x(1) * weight(1)
                };
                *sum =
                    steps.flat_map(|step| (0..DEPTH_STEP).map(move |k| product(step, k))).sum::<f64>() as f32;
            }
        }
    }

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let number = |i: u32| ((i + seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
        (0..count as u32).map(number).collect()
    }

    fn product(kernel: Kernel, x: &[f32], weights: &[f32], depth: usize, outputs: usize) -> Vec<f32> {
        let lines = packed(weights, depth, outputs);
        let rows = x.len() / depth;
        let mut out = vec![f32::NAN; rows * outputs];
        let halves = Halves::new(kernel, x, depth);
        for (panel, lines) in lines.chunks_exact(depth / DEPTH_STEP * LINES_PER_STEP).enumerate() {
            let column = panel * COLUMNS;
            let job = Job {
                x,
                x_stride: depth,
                panel: &[],
                bias: &[],
                finish: Finish::Keep,
                rows,
                depth,
                columns: COLUMNS.min(outputs - column),
                out_stride: outputs,
                out_column: column,
            };
            halves.multiply(lines, &job, &mut out);
        }
        out
    }

    /// The plain loop, and the machine's kernel where it has one.
    fn kernels() -> Vec<Kernel> {
        std::iter::once(plain as Kernel).chain(kernel()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_the_product_of_f32_to_sixteen_bits(rows in 1usize..100, steps in 1usize..14, outputs in 1usize..70, seed: u32) {
            let depth = steps * DEPTH_STEP;
            let (x, weights) = (numbers(rows * depth, seed >> 8), numbers(outputs * depth, (seed >> 8) + 7));
            for kernel in kernels() {
                let received = product(kernel, &x, &weights, depth, outputs);
                for (at, received) in received.iter().enumerate() {
                    let (x, weights) = (&x[at / outputs * depth..][..depth], &weights[at % outputs * depth..][..depth]);
                    let parts = x.iter().zip(weights).map(|(x, weight)| f64::from(*x) * f64::from(*weight));
                    let (expected, size) = parts.fold((0.0, 0.0), |(sum, size), part| (sum + part, size + part.abs()));
                    let error = (f64::from(*received) - expected).abs();
                    prop_assert!(error <= size / 65_536.0, "{received} {expected} {size}");
                }
            }
        }
    }

    #[test]
    fn a_row_is_the_same_alone_and_among_others() {
        let (depth, outputs) = (96, 40);
        let (x, weights) = (numbers(37 * depth, 1), numbers(outputs * depth, 2));
        for kernel in kernels() {
            let together = product(kernel, &x, &weights, depth, outputs);
            for (x, together) in x.chunks_exact(depth).zip(together.chunks_exact(outputs)) {
                assert_eq!(product(kernel, x, &weights, depth, outputs), together);
            }
        }
    }

    #[test]
    fn halves_add_up_and_what_is_no_number_stays_so() {
        for x in [0.0, -0.0, 1.0, -1.0 / 3.0, 1e-30, 12_345.678, -3e38, f32::MIN_POSITIVE] {
            let (high, low) = halved(x);
            assert!((whole(high) + whole(low) - x).abs() <= x.abs() / 65_536.0, "{x}");
        }
        assert_eq!(halved(f32::INFINITY), (0x7F80, 0));
        assert_eq!(halved(f32::NEG_INFINITY), (0xFF80, 0));
        assert!(whole(halved(f32::NAN).0).is_nan() && whole(halved(-f32::from_bits(0x7F80_0001)).0).is_nan());
        assert_eq!((whole(halved(f32::MAX).0), halved(f32::MAX).1), (f32::INFINITY, 0));
        for kernel in kernels() {
            let mut x = numbers(3 * DEPTH_STEP, 5);
            x[DEPTH_STEP + 4] = f32::NAN;
            let received = product(kernel, &x, &numbers(DEPTH_STEP, 6), DEPTH_STEP, 1);
            assert!(
                received[0].is_finite() && received[1].is_nan() && received[2].is_finite(),
                "{received:?}"
            );
        }
    }
}
