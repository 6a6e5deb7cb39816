//! Convolutions of 3 x 3 at stride 1 by fewer products: F(2 x 2, 3 x 3) of Winograd's filters (Lavin and Gray, 2015, "Fast
//! algorithms for convolutional neural networks").
//!
//! A tile of 2 x 2 results needs 4 x 4 inputs. Tiles and filters are transformed to 4 x 4 positions; at each position the channels
//! of all tiles meet those of the filters in a matrix product of its own, and what comes out is transformed back: 16 products
//! where there were 36. Sums differ from those of the plain way in their last bits.
//!
//! Shapes: inputs `[side, side, inputs]`, results `[side, side, outputs]` with a border of one pixel that counts as 0;
//! transformed `[16, tiles, channels]`, tiles row by row.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::buffer::{Buffer, in_pieces};
use crate::math::finished;
use crate::math::linear::{Finish, Linear};

/// Positions of a transformed tile.
const POSITIONS: usize = 16;
/// Tiles that are worked on at a time: transformed, they stay in second-level cache.
const TILE_BLOCK: usize = 56;
/// Channels come in whole registers of every instruction set.
const LANES: usize = 16;

/// A convolution whose filters are transformed.
pub(super) struct Winograd {
    /// Of every position, `[outputs, inputs]`.
    filters: Vec<Linear>,
    bias: Vec<f32>,
    finish: Finish,
    inputs: usize,
}

impl Winograd {
    /// Whether there is code for so many channels.
    pub(super) fn suits(inputs: usize, outputs: usize) -> bool {
        inputs.is_multiple_of(LANES) && outputs.is_multiple_of(LANES)
    }

    /// From `[outputs, 3, 3, inputs]` and a bias per output.
    pub(super) fn new(weights: &[f32], inputs: usize, bias: Vec<f32>, finish: Finish) -> Winograd {
        let outputs = bias.len();
        let mut filters = vec![vec![0.0; outputs * inputs]; POSITIONS];
        for (output, filter) in weights.chunks_exact(9 * inputs).enumerate() {
            for input in 0..inputs {
                let g = |y: usize, x: usize| filter[(y * 3 + x) * inputs + input];
                let columns: [[f32; 3]; 4] =
                    turned(std::array::from_fn(|x| of_three([g(0, x), g(1, x), g(2, x)])));
                for (position, number) in columns.map(of_three).into_iter().flatten().enumerate() {
                    filters[position][output * inputs + input] = number;
                }
            }
        }
        let linear = |filter: Vec<f32>| Linear::full(&filter, inputs, vec![0.0; outputs], Finish::Keep);
        Winograd { filters: filters.into_iter().map(linear).collect(), bias, finish, inputs }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.filters.iter().map(Linear::bytes).sum::<usize>() + size_of_val(self.bias.as_slice())
    }

    /// `x [side, side, inputs]` to `[side, side, outputs]`; `shared` lets the other threads help.
    pub(super) fn apply(&self, x: &[f32], side: usize, shared: bool) -> Buffer {
        let (across, outputs) = (side.div_ceil(2), self.bias.len());
        let mut out = Buffer::take(side * side * outputs);
        let threads = if shared { rayon::current_num_threads() } else { 1 };
        if threads > 1 && across * across < TILE_BLOCK * threads {
            // Too few tiles to share out: the positions are.
            self.rows(x, side, 0..across, &mut out, true);
            return out;
        }
        let rows = (TILE_BLOCK / across).max(1);
        in_pieces(&mut out, 2 * rows * side * outputs, shared, |at, out| {
            self.rows(x, side, at * rows..across.min((at + 1) * rows), out, false);
        });
        out
    }

    /// Some rows of tiles, to the rows of the result that belong to them.
    fn rows(&self, x: &[f32], side: usize, rows: Range<usize>, out: &mut [f32], shared: bool) {
        let (inputs, outputs) = (self.inputs, self.bias.len());
        let tiles = rows.len() * side.div_ceil(2);
        let mut before = Buffer::take(POSITIONS * tiles * inputs);
        let mut after = Buffer::take(POSITIONS * tiles * outputs);
        Arch::new().dispatch(Forward { x, side, inputs, rows: rows.clone(), out: &mut before });
        let product = |((filter, x), out): ((&Linear, &[f32]), &mut [f32])| filter.apply(x, out);
        let (x, out_size) = (before.chunks_exact(tiles * inputs), tiles * outputs);
        if shared {
            let x: Vec<&[f32]> = x.collect();
            self.filters.par_iter().zip(x).zip(after.par_chunks_exact_mut(out_size)).for_each(product);
        } else {
            self.filters.iter().zip(x).zip(after.chunks_exact_mut(out_size)).for_each(product);
        }
        Arch::new().dispatch(Back { x: &after, side, rows, bias: &self.bias, finish: self.finish, out });
    }
}

/// `G g` for the three numbers of a filter's column or row.
fn of_three([a, b, c]: [f32; 3]) -> [f32; 4] {
    [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c]
}

fn turned(columns: [[f32; 4]; 3]) -> [[f32; 3]; 4] {
    std::array::from_fn(|y| std::array::from_fn(|x| columns[x][y]))
}

/// Inputs to transformed tiles.
struct Forward<'a> {
    x: &'a [f32],
    side: usize,
    inputs: usize,
    rows: Range<usize>,
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Forward { x, side, inputs, rows, out } = self;
        let (x, out) = (S::as_simd_f32s(x).0, S::as_mut_simd_f32s(out).0);
        let wide = inputs / S::F32_LANES;
        let across = side.div_ceil(2);
        let size = rows.len() * across * wide;
        // What lies outside.
        let nothing = vec![simd.splat_f32s(0.0); wide];
        for (tile, (row, column)) in
            rows.flat_map(|row| (0..across).map(move |column| (row, column))).enumerate()
        {
            let mut pixels: [[&[S::f32s]; 4]; 4] = [[&nothing; 4]; 4];
            for (y, pixels) in pixels.iter_mut().enumerate() {
                for (x_of_tile, pixel) in pixels.iter_mut().enumerate() {
                    // Positions count from the border.
                    let (y, at) = (2 * row + y, 2 * column + x_of_tile);
                    if (1..=side).contains(&y) && (1..=side).contains(&at) {
                        *pixel = &x[((y - 1) * side + at - 1) * wide..][..wide];
                    }
                }
            }
            for channel in 0..wide {
                let mut half = [[simd.splat_f32s(0.0); 4]; 4];
                for column in 0..4 {
                    let (a, b) = (pixels[0][column][channel], pixels[1][column][channel]);
                    let (c, d) = (pixels[2][column][channel], pixels[3][column][channel]);
                    half[0][column] = simd.sub_f32s(a, c);
                    half[1][column] = simd.add_f32s(b, c);
                    half[2][column] = simd.sub_f32s(c, b);
                    half[3][column] = simd.sub_f32s(b, d);
                }
                for y in 0..4 {
                    let [a, b, c, d] = half[y];
                    let place = &mut out[4 * y * size + tile * wide + channel..];
                    place[0] = simd.sub_f32s(a, c);
                    place[size] = simd.add_f32s(b, c);
                    place[2 * size] = simd.sub_f32s(c, b);
                    place[3 * size] = simd.sub_f32s(b, d);
                }
            }
        }
    }
}

/// Products of the positions to results.
struct Back<'a> {
    x: &'a [f32],
    side: usize,
    rows: Range<usize>,
    bias: &'a [f32],
    finish: Finish,
    /// From the first of these rows of tiles on.
    out: &'a mut [f32],
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Back { x, side, rows, bias, finish, out } = self;
        let (x, bias, out) = (S::as_simd_f32s(x).0, S::as_simd_f32s(bias).0, S::as_mut_simd_f32s(out).0);
        let (wide, across) = (bias.len(), side.div_ceil(2));
        let size = rows.len() * across * wide;
        let first = 2 * rows.start;
        for (tile, (row, column)) in
            rows.flat_map(|row| (0..across).map(move |column| (row, column))).enumerate()
        {
            let (has_below, has_right) = (2 * row + 1 < side, 2 * column + 1 < side);
            let place = ((2 * row - first) * side + 2 * column) * wide;
            for (channel, bias) in bias.iter().enumerate() {
                let x = &x[tile * wide + channel..];
                let mut half = [[simd.splat_f32s(0.0); 4]; 2];
                for column in 0..4 {
                    let (a, b) = (x[column * size], x[(4 + column) * size]);
                    let (c, d) = (x[(8 + column) * size], x[(12 + column) * size]);
                    half[0][column] = simd.add_f32s(simd.add_f32s(a, b), c);
                    half[1][column] = simd.sub_f32s(simd.sub_f32s(b, c), d);
                }
                let [above, below] = half;
                let place = place + channel;
                let step = has_right.then_some(wide);
                pair(simd, above, *bias, finish, step, &mut out[place..]);
                if has_below {
                    pair(simd, below, *bias, finish, step, &mut out[place + side * wide..]);
                }
            }
        }
    }
}

/// A row of a tile's results, the right one `step` registers behind the left one where there is one.
#[inline(always)]
fn pair<S: Simd>(
    simd: S,
    [a, b, c, d]: [S::f32s; 4],
    bias: S::f32s,
    finish: Finish,
    step: Option<usize>,
    out: &mut [S::f32s],
) {
    let left = simd.add_f32s(simd.add_f32s(a, b), c);
    out[0] = finished(simd, finish, simd.add_f32s(left, bias));
    if let Some(step) = step {
        let right = simd.sub_f32s(simd.sub_f32s(b, c), d);
        out[step] = finished(simd, finish, simd.add_f32s(right, bias));
    }
}
