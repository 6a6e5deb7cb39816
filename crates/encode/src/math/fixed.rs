//! Products of f32 matrices in fixed point, by tiles of bytes where a processor has these (AMX).
//!
//! A row of activations has one scale, a column of weights too, and a number is a whole one of 24 bits times that: three signed
//! bytes, `x = scale * (2^16 top + 2^8 middle + low)`. Of the nine products of bytes all but `low * low` are added up, exactly, in whole
//! numbers of 32 bits, those together that count alike. What is left out is some 2^-33 of the greatest activation of the row times the
//! greatest weight of the column, as often as the row is long and with changing signs; rounding to whole numbers loses more, at most
//! 2^-24 of the one times the other's ordinary size. For rows of ordinary shape that is no more than f32 loses by adding up one
//! after the other. (After Ozaki et al., 2012, "Error-free transformations of matrix multiplication", and Ootomo, Ozaki and Yokota, 2024,
//! "DGEMM on integer matrix multiplication unit", there with as many parts as f64 needs.) Weights take three quarters of their bytes
//! in f32.
//!
//! Invariant: a row of the result depends on that row of activations alone, and whole numbers have no order in which they must be
//! added; so a text has the same numbers alone and in a batch, on one thread and on many.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::fixed_x86 as kernels;
use super::tile::{Job, store};

/// Inputs of a tile: a product takes as many at once.
pub(super) const STEP: usize = 64;
/// So deep that sums of 32 bits cannot overflow: the low part adds up three products of at most 2^14 for each input.
pub(super) const MOST_INPUTS: usize = 1 << 15;
/// Columns of a panel: two strips of as many as a tile has.
pub(super) const COLUMNS: usize = 2 * SIDE;
/// Rows of a tile of activations at most, and columns of a tile of weights.
pub(super) const SIDE: usize = 16;
/// Bytes of a number.
pub(super) const BYTES: usize = 3;
/// The greatest whole number: 127 of each byte, less what a multiplication may round up to.
pub(super) const END: f32 = 8_355_708.0;

/// What a tile holds: `[16 rows, 64 inputs]` of activations, or `[16 groups of four inputs, 16 columns, 4 inputs]` of weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile(pub(super) [[i8; STEP]; SIDE]);

const EMPTY: Tile = Tile([[0; STEP]; SIDE]);

/// A row as bytes, step by step: the top ones, the middle ones, the low ones.
pub(super) type Row = [[[i8; STEP]; BYTES]];

/// Code for one machine.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// A row in whole numbers, cut into bytes, all of `row` overwritten: what is past the end of `x` with zeros. Gives the scale, times
    /// 2^8: what a number is whose middle byte is 1. A row with what is no number, or is infinite, has such a scale.
    pub(super) cut: fn(x: &[f32], row: &mut Row) -> f32,
    /// Sums of a group of rows with a strip.
    pub(super) multiply: fn(operands: &Operands<'_>, sums: &mut Sums, side: usize),
}

/// What a kernel multiplies, tiles `[steps, bytes]` by tiles `[steps, bytes]`.
pub(super) struct Operands<'a> {
    /// As many rows are read as there are scales.
    pub(super) activations: &'a [Tile],
    pub(super) weights: &'a [Tile],
    pub(super) row_scales: &'a [f32],
    pub(super) column_scales: &'a [f32; SIDE],
}

/// Sums of a group of rows with both strips of a panel, `[rows, strips, columns]`: a kernel overwrites the columns of one strip in as
/// many rows as there are.
pub(super) type Sums = [[[f32; SIDE]; 2]; SIDE];

/// The kernel of this machine, or none where f32 is as fast.
pub(super) fn kernel() -> Option<Kernel> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return kernels::native();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    None
}

/// Weights `[outputs, inputs]`.
pub(super) struct Weights {
    /// `[strips, steps, bytes]`, the strips filled up to a whole panel and the last step with zeros.
    tiles: Vec<Tile>,
    /// Of every column.
    scales: Vec<f32>,
    steps: usize,
    kernel: Kernel,
}

impl Weights {
    /// From numbers that lie output by output.
    pub(super) fn new(kernel: Kernel, weights: &[f32], inputs: usize, outputs: usize) -> Weights {
        let (columns, steps) = (outputs.next_multiple_of(COLUMNS), inputs.div_ceil(STEP));
        let mut tiles = vec![EMPTY; columns / SIDE * steps * BYTES];
        let mut scales = vec![0.0; columns];
        let mut row = vec![[[0; STEP]; BYTES]; steps];
        for (output, weights) in weights.chunks_exact(inputs).enumerate() {
            scales[output] = (kernel.cut)(weights, &mut row);
            let strip = &mut tiles[output / SIDE * steps * BYTES..][..steps * BYTES];
            for (tile, bytes) in strip.iter_mut().zip(row.as_flattened()) {
                for (line, four) in tile.0.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    line[output % SIDE * 4..][..4].copy_from_slice(four);
                }
            }
        }
        Weights { tiles, scales, steps, kernel }
    }

    /// `x [rows, depth]` as these weights are multiplied.
    pub(super) fn activations(&self, x: &[f32], depth: usize) -> Fixed {
        Fixed::new(self.kernel, x, depth)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.tiles.as_slice()) + size_of_val(self.scales.as_slice())
    }

    /// From input `first` on, a multiple of [`STEP`], of the columns of a strip, `steps` tiles of each byte; and their scales.
    fn strip(&self, strip: usize, first: usize, steps: usize) -> (&[Tile], &[f32; SIDE]) {
        assert!(first.is_multiple_of(STEP), "input {first} is not the first of a tile");
        let start = (strip * self.steps + first / STEP) * BYTES;
        (&self.tiles[start..][..steps * BYTES], &self.scales.as_chunks().0[strip])
    }
}

/// Activations in fixed point, cut into groups of rows of equal height. The last group may begin before the end of the one before it:
/// its first rows are then worked out twice, which costs nothing.
pub(super) struct Fixed {
    /// `[groups, steps, bytes]`
    tiles: Vec<Tile>,
    /// Of every row.
    scales: Vec<f32>,
    height: usize,
    steps: usize,
}

impl Fixed {
    fn new(kernel: Kernel, x: &[f32], depth: usize) -> Fixed {
        let (rows, steps) = (x.len() / depth, depth.div_ceil(STEP));
        let groups = rows.div_ceil(SIDE);
        let height = rows.div_ceil(groups.max(1));
        let tiles = vec![EMPTY; groups * steps * BYTES];
        let mut fixed = Fixed { tiles, scales: vec![0.0; rows], height, steps };
        let mut row = vec![[[0; STEP]; BYTES]; steps];
        for group in 0..groups {
            let first = fixed.first(group);
            let tiles = &mut fixed.tiles[group * steps * BYTES..][..steps * BYTES];
            for (line, x) in x[first * depth..][..height * depth].chunks_exact(depth).enumerate() {
                fixed.scales[first + line] = (kernel.cut)(x, &mut row);
                for (tile, bytes) in tiles.iter_mut().zip(row.as_flattened()) {
                    tile.0[line] = *bytes;
                }
            }
        }
        fixed
    }

    /// The first row of a group.
    fn first(&self, group: usize) -> usize {
        (group * self.height).min(self.scales.len() - self.height)
    }

    /// `job.x` times the weights of panel `panel` from input `first` on, a multiple of [`STEP`], finished and stored as by
    /// [`multiply`](super::tile::multiply); `job.x` and `job.panel` are not read.
    pub(super) fn multiply(
        &self,
        weights: &Weights,
        (panel, first): (usize, usize),
        job: &Job<'_>,
        out: &mut [f32],
    ) {
        let (height, steps) = (self.height, self.steps);
        let mut sums = [[[0.0; SIDE]; 2]; SIDE];
        for (group, activations) in self.tiles.chunks_exact(steps * BYTES).enumerate() {
            let row = self.first(group);
            let row_scales = &self.scales[row..][..height];
            for side in 0..2 {
                let (tiles, column_scales) = weights.strip(2 * panel + side, first, steps);
                let operands = Operands { activations, weights: tiles, row_scales, column_scales };
                (weights.kernel.multiply)(&operands, &mut sums, side);
            }
            store(job, row, sums[..height].as_flattened().as_flattened(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tile::Finish;
    use super::*;
    use proptest::prelude::*;
    use std::ops::Range;

    /// What every kernel must give.
    fn plain(operands: &Operands<'_>, sums: &mut Sums, side: usize) {
        let product = |row: usize, column: usize, (x, weight): (usize, usize)| -> i32 {
            let steps = operands.activations.chunks_exact(BYTES).zip(operands.weights.chunks_exact(BYTES));
            let at = |(activations, weights): (&[Tile], &[Tile]), k: usize| {
                i32::from(activations[x].0[row][k]) * i32::from(weights[weight].0[k / 4][4 * column + k % 4])
            };
            steps.map(|step| (0..STEP).map(|k| at(step, k)).sum::<i32>()).sum()
        };
        for (row, scale) in operands.row_scales.iter().enumerate() {
            for (column, column_scale) in operands.column_scales.iter().enumerate() {
                // Bytes that count alike: the sum of their places.
                let part = |places: usize| -> f32 {
                    let pairs =
                        (0..=places).map(|x| (x, places - x)).filter(|(x, weight)| *x.max(weight) < BYTES);
                    pairs.map(|pair| product(row, column, pair)).sum::<i32>() as f32
                };
                let whole =
                    part(0).mul_add(256.0, part(1)).mul_add(256.0, part(3).mul_add(1.0 / 256.0, part(2)));
                sums[row][side][column] = whole * (scale * column_scale);
            }
        }
    }

    fn plain_cut(x: &[f32], row: &mut Row) -> f32 {
        let most = x.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7FFF_FFFF));
        let scale = f32::from_bits(most) / END;
        let inverse = if (f32::MIN_POSITIVE..f32::INFINITY).contains(&scale) { 1.0 / scale } else { 0.0 };
        for (step, [tops, middles, lows]) in row.iter_mut().enumerate() {
            for (k, ((top, middle), low)) in tops.iter_mut().zip(middles).zip(lows).enumerate() {
                let number = x.get(step * STEP + k).map_or(0, |x| (x * inverse).round_ties_even() as i32);
                *low = number as i8;
                let rest = (number - i32::from(*low)) >> 8;
                *middle = rest as i8;
                *top = i8::try_from((rest - i32::from(*middle)) >> 8).expect("a byte");
            }
        }
        scale * 256.0
    }

    const PLAIN: Kernel = Kernel { cut: plain_cut, multiply: plain };

    /// Numbers between -1 and 1, a few of them `rare` times as great.
    fn numbers(count: usize, seed: u32, rare: f32) -> Vec<f32> {
        let number = |i: u32| {
            // Mixed well (the end of MurmurHash3): numbers that stand in a lattice have rests that do, too.
            let bits = i + seed;
            let bits = (bits ^ (bits >> 16)).wrapping_mul(0x85EB_CA6B);
            let bits = (bits ^ (bits >> 13)).wrapping_mul(0xC2B2_AE35);
            let bits = (bits ^ (bits >> 16)) >> 8;
            (bits as f32 / (1 << 23) as f32 - 1.0) * if bits.is_multiple_of(97) { rare } else { 1.0 }
        };
        (0..count as u32).map(number).collect()
    }

    fn product(kernel: Kernel, x: &[f32], weights: &[f32], depth: usize, outputs: usize) -> Vec<f32> {
        share(&Weights::new(kernel, weights, depth, outputs), x, 0..depth, outputs)
    }

    /// What inputs `range` alone add, `x [rows, range]`.
    fn share(weights: &Weights, x: &[f32], range: Range<usize>, outputs: usize) -> Vec<f32> {
        let depth = range.len();
        let rows = x.len() / depth;
        let fixed = weights.activations(x, depth);
        let mut out = vec![f32::NAN; rows * outputs];
        for panel in 0..outputs.div_ceil(COLUMNS) {
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
            fixed.multiply(weights, (panel, range.start), &job, &mut out);
        }
        out
    }

    /// The plain loop, and the machine's kernel where it has one.
    fn kernels() -> Vec<Kernel> {
        std::iter::once(PLAIN).chain(kernel()).collect()
    }

    fn greatest(x: &[f32]) -> f64 {
        f64::from(x.iter().fold(0.0f32, |most, x| most.max(x.abs())))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_the_product_of_f32(rows in 1usize..70, depth in 1usize..500, outputs in 1usize..70, seed: u32, rare in 1f32..40.0) {
            let (x, weights) = (numbers(rows * depth, seed >> 8, rare), numbers(outputs * depth, (seed >> 8) + 7, 1.0));
            let mut results = kernels().into_iter().map(|kernel| product(kernel, &x, &weights, depth, outputs));
            let plain = results.next().expect("the plain loop's");
            for (at, received) in plain.iter().enumerate() {
                let (x, weights) = (&x[at / outputs * depth..][..depth], &weights[at % outputs * depth..][..depth]);
                let expected: f64 = x.iter().zip(weights).map(|(x, weight)| f64::from(*x) * f64::from(*weight)).sum();
                // A walk to and fro of as many steps as the row is long, 2^-25 of the greatest product each, eight times as far as it
                // comes as a rule; and the rounding of the result.
                let bound = (depth as f64).sqrt() * greatest(x) * greatest(weights) / f64::from(1 << 22);
                let error = (f64::from(*received) - expected).abs();
                prop_assert!(error <= bound + expected.abs() / f64::from(1 << 22), "{received} {expected} {bound}");
            }
            for result in results {
                prop_assert_eq!(&result, &plain);
            }
        }
    }

    #[test]
    fn shares_of_the_depth_add_up() {
        let (rows, depth, outputs, cut) = (19, 200, 40, 2 * STEP);
        let wholes =
            |count, seed| numbers(count, seed, 1.0).iter().map(|x| (x * 50.0).round()).collect::<Vec<_>>();
        let (x, numbers) = (wholes(rows * depth, 1), wholes(outputs * depth, 2));
        for kernel in kernels() {
            let weights = Weights::new(kernel, &numbers, depth, outputs);
            let part = |range: Range<usize>| {
                let x: Vec<f32> =
                    x.chunks_exact(depth).flat_map(|row| &row[range.clone()]).copied().collect();
                share(&weights, &x, range, outputs)
            };
            let added: Vec<f32> = part(0..cut).iter().zip(part(cut..depth)).map(|(a, b)| a + b).collect();
            for (added, whole) in added.iter().zip(part(0..depth)) {
                assert!((added - whole).abs() <= 0.02, "{added} {whole}");
            }
        }
    }

    #[test]
    fn a_row_is_the_same_alone_and_among_others() {
        let (depth, outputs) = (96, 40);
        let (x, weights) = (numbers(37 * depth, 1, 1.0), numbers(outputs * depth, 2, 1.0));
        for kernel in kernels() {
            let together = product(kernel, &x, &weights, depth, outputs);
            for (x, together) in x.chunks_exact(depth).zip(together.chunks_exact(outputs)) {
                assert_eq!(product(kernel, x, &weights, depth, outputs), together);
            }
        }
    }

    #[test]
    fn every_kernel_cuts_alike() {
        for kernel in kernels() {
            for (count, rare) in [(1, 1.0), (63, 1.0), (64, 30.0), (65, 1e9), (400, 1e-9)] {
                let x = numbers(count, count as u32, rare);
                let cut = |kernel: Kernel| {
                    let mut row = vec![[[7; STEP]; BYTES]; count.div_ceil(STEP)];
                    ((kernel.cut)(&x, &mut row), row)
                };
                assert_eq!(cut(kernel), cut(PLAIN));
            }
        }
    }

    #[test]
    fn bytes_add_up_to_the_number_at_both_ends() {
        for most in [1.0, 0.1, 3e38, f32::MAX, 1e-30, 7.3e-12, 1.0 + f32::EPSILON] {
            for kernel in kernels() {
                let x: Vec<f32> = (0..200)
                    .map(|i| most * (i as f32 / 100.0 - 1.0).clamp(-1.0, 1.0))
                    .chain([most])
                    .collect();
                let mut bytes = vec![[[0; STEP]; BYTES]; 4];
                let scale = f64::from((kernel.cut)(&x, &mut bytes));
                for (i, x) in x.iter().enumerate() {
                    let [top, middle, low] = bytes[i / STEP].map(|bytes| f64::from(bytes[i % STEP]));
                    let error = (top * 256.0 + middle + low / 256.0) * scale - f64::from(*x);
                    assert!(error.abs() <= f64::from(most) * 1.3e-7, "{x} of {most}: {top} {middle} {low}");
                }
                assert!(bytes[3][0][9..].iter().all(|byte| *byte == 0), "what is past the end is zero");
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_in_its_row() {
        for kernel in kernels() {
            for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = numbers(3 * STEP, 5, 1.0);
                x[STEP + 4] = wrong;
                let received = product(kernel, &x, &numbers(STEP, 6, 1.0), STEP, 1);
                assert!(received[0].is_finite() && received[2].is_finite(), "{received:?}");
                assert!(!received[1].is_finite(), "{received:?}");
            }
        }
    }

    #[test]
    fn rows_of_zeros_and_of_next_to_nothing_are_zero() {
        for kernel in kernels() {
            for little in [0.0, -0.0, 1e-39] {
                assert_eq!(product(kernel, &[little; STEP], &numbers(STEP, 6, 1.0), STEP, 1), [0.0]);
            }
        }
    }
}
