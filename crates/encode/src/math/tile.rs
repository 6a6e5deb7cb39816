//! The inner kernel of a matrix product: a few rows times one panel of columns, sums kept in registers.
//!
//! Shapes: `x` is `rows` rows of `depth` numbers, a panel is `[depth, WIDTH]` with `WIDTH` = two vector registers, and
//! `ROWS` x two registers of sums stay live over the whole depth (12 rows with AVX-512's 32 registers, 6 otherwise).
//! This is the register blocking of BLIS (Van Zee and van de Geijn, 2015) with the packing of B done at load time.

use pulp::{Arch, Simd, WithSimd};

use super::elementwise::{gelu_of, quick_gelu_of};

/// What happens to a sum before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Stored as it is.
    Keep,
    /// At least 0.
    Relu,
    /// Clamped to 0..=6.
    Relu6,
    /// BERT's GELU, the exact one.
    Gelu,
    /// CLIP's approximation of it.
    QuickGelu,
    /// `x * hard_sigmoid(x)` (Howard et al., 2019), the straight line from (-3, 0) to (3, 1).
    HardSwish,
}

impl Finish {
    /// The least and the most that is stored, where clamping is all that happens.
    pub(super) fn range(self) -> Option<(f32, f32)> {
        match self {
            Finish::Keep => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Finish::Relu => Some((0.0, f32::INFINITY)),
            Finish::Relu6 => Some((0.0, 6.0)),
            Finish::Gelu | Finish::QuickGelu | Finish::HardSwish => None,
        }
    }
}

/// Columns of a panel for an instruction set: two registers.
pub(crate) const fn width<S: Simd>() -> usize {
    2 * S::F32_LANES
}

/// Heights of tiles there is code for. Each is compiled for every instruction set, so there are few.
const HEIGHTS: [usize; 7] = [1, 2, 3, 4, 6, 8, 12];

/// Most rows a tile holds in registers.
const fn most_rows<S: Simd>() -> usize {
    if S::F32_LANES >= 16 { 12 } else { 6 }
}

/// Rows of the next tile when `left` are not done yet: as few tiles as there can be, alike in height.
#[inline(always)]
pub(super) fn even_height(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

/// The height of the next tile when `left` rows are not done yet. It may be more than are left: the last row is then worked out
/// again and again, which costs less than a second tile, that would read the whole panel again.
#[inline(always)]
fn next_height(left: usize, most: usize) -> usize {
    let wanted = even_height(left, most);
    HEIGHTS.into_iter().find(|height| *height >= wanted).unwrap_or(most)
}

/// One panel's share of a product: rows of `x`, where they go, and how wide the panel is used.
pub(crate) struct Job<'a> {
    /// `[rows, depth]` with `x_stride` numbers from row to row.
    pub(crate) x: &'a [f32],
    pub(crate) x_stride: usize,
    /// `[depth, width]`.
    pub(crate) panel: &'a [f32],
    /// Added to every row: `[width]`, or empty.
    pub(crate) bias: &'a [f32],
    pub(crate) finish: Finish,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// Columns of the panel that are stored.
    pub(crate) columns: usize,
    /// Distance of two rows in `out`, and the first column written.
    pub(crate) out_stride: usize,
    pub(crate) out_column: usize,
}

/// `out[row, out_column..][..columns] = finish(bias + x[row] * panel)` for every row.
pub(crate) fn multiply(job: &Job<'_>, out: &mut [f32]) {
    Arch::new().dispatch(Multiply { job, out });
}

/// Compiled once per instruction set, whoever calls it: the tiles are much code.
struct Multiply<'a> {
    job: &'a Job<'a>,
    out: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { job, out } = self;
        if job.columns > S::F32_LANES { rows::<S, 2>(simd, job, out) } else { rows::<S, 1>(simd, job, out) }
    }
}

#[inline(always)]
fn rows<S: Simd, const V: usize>(simd: S, job: &Job<'_>, out: &mut [f32]) {
    let mut row = 0;
    while row < job.rows {
        let height = next_height(job.rows - row, most_rows::<S>());
        match height {
            1 => tile::<S, 1, V>(simd, job, row, out),
            2 => tile::<S, 2, V>(simd, job, row, out),
            3 => tile::<S, 3, V>(simd, job, row, out),
            4 => tile::<S, 4, V>(simd, job, row, out),
            6 => tile::<S, 6, V>(simd, job, row, out),
            _ if S::F32_LANES < 16 => unreachable!("tiles above six rows are for wide registers"),
            8 => tile::<S, 8, V>(simd, job, row, out),
            _ => tile::<S, 12, V>(simd, job, row, out),
        }
        row += height;
    }
}

/// `ROWS` rows from `row` on, or the last one in place of those past it; `V` registers wide.
///
/// Sums are only ever moved by value: once their address is taken, the compiler keeps a copy in memory and writes it at
/// every step, which halves the speed.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const V: usize>(simd: S, job: &Job<'_>, row: usize, out: &mut [f32]) {
    let depth = job.depth;
    let at = |r: usize| (row + r).min(job.rows - 1);
    let panel: &[[S::f32s; 2]] = bytemuck::cast_slice(&job.panel[..depth * width::<S>()]);
    // Not by `from_fn`, which is called and not inlined.
    let mut x: [&[f32]; ROWS] = [&[]; ROWS];
    for (r, x) in x.iter_mut().enumerate() {
        *x = &job.x[at(r) * job.x_stride..][..depth];
    }
    let mut sums = [[simd.splat_f32s(0.0); V]; ROWS];
    for (k, weights) in panel.iter().enumerate() {
        let weights: [S::f32s; V] = std::array::from_fn(|v| weights[v]);
        for r in 0..ROWS {
            let factor = simd.splat_f32s(x[r][k]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(factor, weights[v], sums[r][v]);
            }
        }
    }
    // A copy: the sums themselves must never be indexed by a variable, or they live in memory.
    let sums = std::hint::black_box(sums);
    for (v, first) in (0..V).map(|v| (v, v * S::F32_LANES)) {
        let bias = bias_of(simd, job, first);
        // An iterator over the sums would put them into memory: 14 % of EfficientNet-lite0's time.
        #[allow(clippy::needless_range_loop)]
        for r in 0..ROWS {
            store_register(simd, job, (at(r), first), simd.add_f32s(sums[r][v], bias), out);
        }
    }
}

/// The bias of columns `first..` of the panel.
#[inline(always)]
fn bias_of<S: Simd>(simd: S, job: &Job<'_>, first: usize) -> S::f32s {
    match job.bias.get(first..first + S::F32_LANES) {
        Some(bias) => simd.partial_load_f32s(bias),
        None => simd.splat_f32s(0.0),
    }
}

/// A register of sums, which belong to columns `first..` of the panel, to row `row` of the result.
#[inline(always)]
fn store_register<S: Simd>(
    simd: S,
    job: &Job<'_>,
    (row, first): (usize, usize),
    sum: S::f32s,
    out: &mut [f32],
) {
    let lanes = S::F32_LANES.min(job.columns.saturating_sub(first));
    let out = &mut out[row * job.out_stride + job.out_column + first..][..lanes];
    let sum = finished(simd, job.finish, sum);
    // A partial store is a call.
    match S::as_mut_simd_f32s(out) {
        ([whole], []) => *whole = sum,
        (_, part) => simd.partial_store_f32s(part, sum),
    }
}

/// `out[first + row, out_column..][..columns] = finish(bias + sums[row])` for every row of `sums`, as wide as the panel.
pub(super) fn store(job: &Job<'_>, first: usize, sums: &[f32], out: &mut [f32]) {
    Arch::new().dispatch(Store { job, first, sums, out });
}

struct Store<'a> {
    job: &'a Job<'a>,
    first: usize,
    sums: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Store<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Store { job, first, sums, out } = self;
        let sums: &[[S::f32s; 2]] = bytemuck::cast_slice(sums);
        let (left_bias, right_bias) = (bias_of(simd, job, 0), bias_of(simd, job, S::F32_LANES));
        for (row, [left, right]) in sums.iter().enumerate() {
            store_register(simd, job, (first + row, 0), simd.add_f32s(*left, left_bias), out);
            if job.columns > S::F32_LANES {
                let right = simd.add_f32s(*right, right_bias);
                store_register(simd, job, (first + row, S::F32_LANES), right, out);
            }
        }
    }
}

/// What is stored of a sum.
#[inline(always)]
pub(crate) fn finished<S: Simd>(simd: S, finish: Finish, sum: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    match finish {
        Finish::Keep => sum,
        Finish::Relu => simd.max_f32s(sum, zero),
        Finish::Relu6 => simd.min_f32s(simd.max_f32s(sum, zero), simd.splat_f32s(6.0)),
        Finish::Gelu => gelu_of(simd, sum),
        Finish::QuickGelu => quick_gelu_of(simd, sum),
        Finish::HardSwish => {
            let line = simd.add_f32s(sum, simd.splat_f32s(3.0));
            let line = simd.min_f32s(simd.max_f32s(line, zero), simd.splat_f32s(6.0));
            simd.mul_f32s(sum, simd.mul_f32s(line, simd.splat_f32s(1.0 / 6.0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_row_in_as_few_as_there_can_be() {
        for most in [6, 12] {
            for rows in 1..200usize {
                let (mut done, mut tiles) = (0, 0);
                while done < rows {
                    let height = next_height(rows - done, most);
                    assert!(HEIGHTS.contains(&height) && height <= most, "{rows} rows, {height}");
                    done += height;
                    tiles += 1;
                }
                assert_eq!(tiles, rows.div_ceil(most), "{rows} rows");
            }
        }
    }
}
