//! The inner kernel of a matrix product: a few rows times one panel of columns, sums kept in registers.
//!
//! Shapes: `x` is `rows` rows of `depth` numbers, a panel is `[depth, WIDTH]` with `WIDTH` = two vector registers, and
//! `ROWS` x two registers of sums stay live over the whole depth (12 rows with AVX-512's 32 registers, 6 otherwise).
//! This is the register blocking of BLIS (Van Zee and van de Geijn, 2015) with the packing of B done at load time.

use pulp::{Arch, Simd, WithSimd};

/// What happens to a sum before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Stored as it is.
    Keep,
    /// At least 0.
    Relu,
    /// Clamped to 0..=6.
    Relu6,
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

/// The next tile's first row and height, when rows before `row` are done. A tile may reach back over rows that
/// are done already: writing them again costs less than a tile of one or two rows.
#[inline(always)]
fn next_tile(row: usize, rows: usize, most: usize) -> (usize, usize) {
    let left = rows - row;
    let wanted = left.div_ceil(left.div_ceil(most));
    let above = HEIGHTS.into_iter().find(|height| *height >= wanted && *height <= rows);
    let height = above.or(HEIGHTS.into_iter().rfind(|height| *height <= rows)).unwrap_or(1);
    (row.min(rows - height), height)
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
    let mut done = 0;
    while done < job.rows {
        let (row, height) = next_tile(done, job.rows, most_rows::<S>());
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
        done = row + height;
    }
}

/// `ROWS` rows from `row` on, `V` registers wide.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const V: usize>(simd: S, job: &Job<'_>, row: usize, out: &mut [f32]) {
    let depth = job.depth;
    let panel: &[[S::f32s; 2]] = bytemuck::cast_slice(&job.panel[..depth * width::<S>()]);
    let x: [&[f32]; ROWS] = std::array::from_fn(|r| &job.x[(row + r) * job.x_stride..][..depth]);
    let bias: [S::f32s; 2] = if job.bias.is_empty() {
        [simd.splat_f32s(0.0); 2]
    } else {
        let bias: &[[S::f32s; 2]] = bytemuck::cast_slice(&job.bias[..width::<S>()]);
        bias[0]
    };
    let mut sums = [[bias[0]; V]; ROWS];
    for sums in &mut sums {
        sums.copy_from_slice(&bias[..V]);
    }
    for (k, weights) in panel.iter().enumerate() {
        for r in 0..ROWS {
            let factor = simd.splat_f32s(x[r][k]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(factor, weights[v], sums[r][v]);
            }
        }
    }
    if job.finish != Finish::Keep {
        let most = if job.finish == Finish::Relu6 { 6.0 } else { f32::INFINITY };
        let (zero, most) = (simd.splat_f32s(0.0), simd.splat_f32s(most));
        for sum in sums.iter_mut().flatten() {
            *sum = simd.min_f32s(simd.max_f32s(*sum, zero), most);
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let out = &mut out[(row + r) * job.out_stride + job.out_column..][..job.columns];
        let sums: &[f32] = bytemuck::cast_slice(sums.as_slice());
        out.copy_from_slice(&sums[..job.columns]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_row_and_stay_inside() {
        for most in [6, 12] {
            for rows in 1..200 {
                let mut done = 0;
                while done < rows {
                    let (row, height) = next_tile(done, rows, most);
                    assert!(row <= done && row + height > done && row + height <= rows && height <= most);
                    done = row + height;
                }
            }
        }
    }
}
