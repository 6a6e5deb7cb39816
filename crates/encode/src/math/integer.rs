//! Products of rounded activations and packed weights, by whole numbers.
//!
//! A row of activations is cut into blocks of 32, as the weights are, and each block rounded to one scale and whole numbers: signed
//! bytes beside 4-bit weights (ggml's Q8_0), and of twice the length, in two bytes, beside 8-bit weights, whose own error is
//! less than a byte's. Within a block a product is then a sum of small whole numbers, which processors add four or two at a time
//! (`vpdpbusd` of AVX-512 VNNI, `vpmaddubsw` of AVX2); between blocks sums are f32, in the order of the blocks. Sums of whole
//! numbers are exact, so every instruction set gives the same bits: `out = fma(dot, weight scale * scale, out)`.
//!
//! A weight is held with `OFFSET` = 2^(BITS-1) added, so that it has no sign; a block's sum therefore begins with
//! `-OFFSET * (sum of the block's bytes)`.

use pulp::{Arch, Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
use super::integer_x86 as kernels;
use super::tile::{Job, even_height, store};
use crate::weights::Q4_BLOCK as BLOCK;

/// Groups of four bytes in a block, each multiplied at once.
pub(super) const QUADS: usize = BLOCK / 4;
/// Most rows any kernel takes at a time.
const MOST_ROWS: usize = 12;
/// Bytes of a rounded activation: its first one counts 128 times as much as a second.
pub(super) const fn parts(bits: usize) -> usize {
    if bits == 4 { 1 } else { 2 }
}
/// Columns of the widest panel.
const MOST_COLUMNS: usize = 32;

/// Rows of activations, rounded block by block. They lie as tiles of as many rows as the kernel takes, so that it reads them from
/// the first to the last.
pub(super) struct Rounded {
    /// Of each tile `[blocks, parts, rows]`.
    blocks: Vec<[i32; QUADS]>,
    /// Of each tile `[blocks, rows]`.
    marks: Vec<Mark>,
    /// Blocks of a row.
    per_row: usize,
    parts: usize,
    kernel: Kernel,
}

/// What belongs to a block of rounded activations.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    /// The activation that the number 1 stands for.
    pub(super) scale: f32,
    /// What the sum of the block begins with.
    pub(super) start: i32,
}

/// A tile of rounded activations.
pub(super) struct Tile<'a> {
    /// `[blocks, parts, rows]`
    pub(super) blocks: &'a [[i32; QUADS]],
    /// `[blocks, rows]`
    pub(super) marks: &'a [Mark],
    pub(super) rows: usize,
}

/// Code for one instruction set.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// Sums of a tile's rows with a panel, to `sums [rows, width]`, overwritten.
    pub(super) run: fn(weights: &Slice<'_>, tile: &Tile<'_>, sums: &mut [f32]),
    /// Most rows of a tile.
    pub(super) most_rows: usize,
}

/// Part of one panel: words `[blocks * BLOCK / P, width]`, `P` numbers to a word, and scales `[blocks, width]`.
pub(super) struct Slice<'a> {
    pub(super) words: &'a [u32],
    pub(super) scales: &'a [f32],
}

/// The kernel of this machine for weights of `BITS` bits, or none where f32 is as fast or it has no such instructions.
pub(super) fn kernel<const BITS: usize>() -> Option<Kernel> {
    #[cfg(target_arch = "x86_64")]
    return kernels::native::<BITS>();
    #[cfg(not(target_arch = "x86_64"))]
    None
}

impl Rounded {
    /// Rounds `x [rows, depth]` for weights of `BITS` bits and a kernel for these; `depth` is a multiple of 32.
    pub(super) fn new<const BITS: usize>(kernel: Kernel, x: &[f32], depth: usize) -> Rounded {
        let (count, per_row, parts) = (x.len() / BLOCK, depth / BLOCK, parts(BITS));
        let (mut blocks, mut marks) = (vec![[0; QUADS]; count * parts], vec![Mark::default(); count]);
        let (x, most) = (x.as_chunks().0, kernel.most_rows);
        Arch::new().dispatch(Round::<BITS> { x, per_row, most, blocks: &mut blocks, marks: &mut marks });
        Rounded { blocks, marks, per_row, parts, kernel }
    }

    /// The tile that begins with row `first`.
    fn tile(&self, first: usize, rows: usize) -> Tile<'_> {
        let range = first * self.per_row..(first + rows) * self.per_row;
        let blocks = &self.blocks[range.start * self.parts..range.end * self.parts];
        Tile { blocks, marks: &self.marks[range], rows }
    }

    /// `job.x * weights`, finished and stored as by [`multiply`](super::tile::multiply); `job.x` and `job.panel` are not read.
    pub(super) fn multiply(&self, weights: &Slice<'_>, job: &Job<'_>, out: &mut [f32]) {
        let width = weights.scales.len() / self.per_row;
        let mut sums = [0.0; MOST_ROWS * MOST_COLUMNS];
        let mut first = 0;
        while first < job.rows {
            let tile = self.tile(first, even_height(job.rows - first, self.kernel.most_rows));
            let sums = &mut sums[..tile.rows * width];
            (self.kernel.run)(weights, &tile, sums);
            store(job, first, sums, out);
            first += tile.rows;
        }
    }
}

struct Round<'a, const BITS: usize> {
    x: &'a [[f32; BLOCK]],
    per_row: usize,
    /// Most rows of a tile.
    most: usize,
    blocks: &'a mut [[i32; QUADS]],
    marks: &'a mut [Mark],
}

impl<const BITS: usize> WithSimd for Round<'_, BITS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Round { mut x, per_row, most, mut blocks, mut marks } = self;
        let parts = parts(BITS);
        while !x.is_empty() {
            let rows = even_height(x.len() / per_row, most);
            let (tile, x_after) = x.split_at(rows * per_row);
            let (tile_blocks, blocks_after) = blocks.split_at_mut(rows * per_row * parts);
            let (tile_marks, marks_after) = marks.split_at_mut(rows * per_row);
            for (row, x) in tile.chunks_exact(per_row).enumerate() {
                let blocks = tile_blocks.chunks_exact_mut(rows * parts);
                let places = blocks.zip(tile_marks.chunks_exact_mut(rows));
                for (x, (blocks, marks)) in x.iter().zip(places) {
                    let (rounded, mark) = round::<BITS>(x);
                    marks[row] = mark;
                    for (part, rounded) in rounded.into_iter().enumerate().take(parts) {
                        blocks[part * rows + row] = rounded;
                    }
                }
            }
            (x, blocks, marks) = (x_after, blocks_after, marks_after);
        }
    }
}

/// Written so that a compiler turns it into vectors: the greatest magnitude is found among bits, and a number is rounded to the
/// nearest whole one, ties to even, by adding 1.5 * 2^23, in whose low bits it then stands.
#[inline(always)]
fn round<const BITS: usize>(x: &[f32; BLOCK]) -> ([[i32; QUADS]; 2], Mark) {
    const SHIFT: f32 = 12_582_912.0;
    let end = if parts(BITS) == 1 { 127.0 } else { 127.0 * 128.0 };
    let most = x.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7FFF_FFFF));
    let scale = f32::from_bits(most) / end;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let (mut first, mut second) = ([0i8; BLOCK], [0i8; BLOCK]);
    let mut sum = 0;
    for ((first, second), x) in first.iter_mut().zip(&mut second).zip(x) {
        // The low bits as a signed number of 16 bits.
        let number = i32::from((x * inverse + SHIFT).to_bits() as i16);
        sum += number;
        if parts(BITS) == 1 {
            *first = number as i8;
        } else {
            let high = (number + 64) >> 7;
            (*first, *second) = (high as i8, (number - (high << 7)) as i8);
        }
    }
    ([bytemuck::cast(first), bytemuck::cast(second)], Mark { scale, start: -(1 << (BITS - 1)) * sum })
}

/// What every kernel must give, number by number.
#[cfg(test)]
fn plain<const BITS: usize>(weights: &Slice<'_>, tile: &Tile<'_>, sums: &mut [f32]) {
    let in_word = 32 / BITS;
    let width = sums.len() / tile.rows;
    for (row, sums) in sums.chunks_exact_mut(width).enumerate() {
        for (column, sum) in sums.iter_mut().enumerate() {
            *sum = 0.0;
            let blocks =
                tile.blocks.chunks_exact(tile.rows * parts(BITS)).zip(tile.marks.chunks_exact(tile.rows));
            for (block, (quads, marks)) in blocks.enumerate() {
                let bytes = |part: usize| {
                    bytemuck::cast::<_, [i8; BLOCK]>(quads[part * tile.rows + row]).map(i32::from)
                };
                let activations = match parts(BITS) {
                    1 => bytes(0),
                    _ => std::array::from_fn(|k| 128 * bytes(0)[k] + bytes(1)[k]),
                };
                let mark = marks[row];
                let number = |k: usize| {
                    let word = weights.words[(block * BLOCK + k) / in_word * width + column];
                    (word >> super::packed::Packed::<BITS>::shift(k % in_word) & ((1 << BITS) - 1)) as i32
                };
                let dot: i32 = (0..BLOCK).map(|k| number(k) * activations[k]).sum();
                let scale = weights.scales[block * width + column] * mark.scale;
                *sum = ((mark.start + dot) as f32).mul_add(scale, *sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Kernel = Kernel { run: plain::<4>, most_rows: 12 };

    fn random(seed: &mut u64) -> u32 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 32) as u32
    }

    fn same_as_plain<const BITS: usize>(kernel: Kernel, width: usize) {
        let mut seed = 7;
        let most = kernel.most_rows;
        for (rows, blocks) in (1..=most).map(|rows| (rows, 1 + rows % 4)).chain([(most, 48)]) {
            let depth = blocks * BLOCK;
            let words: Vec<u32> = (0..depth * BITS / 32 * width).map(|_| random(&mut seed)).collect();
            let scales: Vec<f32> =
                (0..blocks * width).map(|_| random(&mut seed) as f32 / 1e9 - 2.0).collect();
            // The greatest products: every byte at an end.
            let x: Vec<f32> = (0..rows * depth)
                .map(|at| match at % 5 {
                    0 => 1.0,
                    1 => -1.0,
                    _ => random(&mut seed) as f32 / (1u32 << 31) as f32 - 1.0,
                })
                .collect();
            let rounded = Rounded::new::<BITS>(kernel, &x, depth);
            let tile = rounded.tile(0, rows);
            let weights = Slice { words: &words, scales: &scales };
            let (mut expected, mut received) = (vec![0.0; rows * width], vec![f32::NAN; rows * width]);
            plain::<BITS>(&weights, &tile, &mut expected);
            (kernel.run)(&weights, &tile, &mut received);
            assert_eq!(received, expected, "{BITS} bits, {rows} rows, {blocks} blocks, width {width}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn kernels_give_the_bits_of_the_plain_loop() {
        for (bits, width, kernel) in kernels::all() {
            match bits {
                4 => same_as_plain::<4>(kernel, width),
                _ => same_as_plain::<8>(kernel, width),
            }
        }
    }

    #[test]
    fn the_greatest_sums_do_not_overflow() {
        let (x, words, scales) = ([1.0; BLOCK], [u32::MAX; 4 * 32], [1.0; 32]);
        let rounded = Rounded::new::<4>(PLAIN, &x, BLOCK);
        let weights = Slice { words: &words, scales: &scales };
        let mut sums = [0.0; 32];
        plain::<4>(&weights, &rounded.tile(0, 1), &mut sums);
        assert!(sums.iter().all(|sum| (sum - 32.0 * 7.0).abs() < 1e-4), "{sums:?}");
        #[cfg(target_arch = "x86_64")]
        for (_, width, kernel) in kernels::all().into_iter().filter(|(bits, ..)| *bits == 4) {
            let mut received = vec![0.0; width];
            let weights = Slice { words: &words[..4 * width], scales: &scales[..width] };
            (kernel.run)(&weights, &rounded.tile(0, 1), &mut received);
            assert_eq!(received, sums[..width]);
        }
    }

    #[test]
    fn rounding_keeps_the_greatest_and_marks_what_is_no_number() {
        let mut x = [0.0; 2 * BLOCK];
        (x[3], x[4], x[5]) = (-2.54, 1.27, 0.011);
        let rounded = Rounded::new::<4>(PLAIN, &x, 2 * BLOCK);
        let bytes: [i8; BLOCK] = bytemuck::cast(rounded.blocks[0]);
        assert_eq!(bytes[2..7], [0, -127, 64, 1, 0]);
        assert!((rounded.marks[0].scale - 0.02).abs() < 1e-6);
        assert_eq!(rounded.marks[0].start, -8 * (64 + 1 - 127));
        assert_eq!((rounded.marks[1].scale, rounded.marks[1].start), (0.0, 0));
        x[40] = f32::NAN;
        assert!(Rounded::new::<4>(PLAIN, &x, 2 * BLOCK).marks[1].scale.is_nan());
    }

    #[test]
    fn beside_eight_bits_activations_have_fifteen() {
        let x: Vec<f32> = (0..BLOCK).map(|at| (at as f32 * 0.7).sin() * 3.0).collect();
        let rounded = Rounded::new::<8>(PLAIN, &x, BLOCK);
        let [first, second]: [[i8; BLOCK]; 2] = [0, 1].map(|part| bytemuck::cast(rounded.blocks[part]));
        for (at, x) in x.iter().enumerate() {
            let number = 128 * i32::from(first[at]) + i32::from(second[at]);
            let error = (number as f32 * rounded.marks[0].scale - x).abs();
            assert!(error <= 3.0 / 127.0 / 128.0 / 2.0 * 1.01, "{x}: {error}");
        }
    }
}
