//! The kernels' algorithms, written once over vector registers of any width.
//!
//! Every function here is `#[inline(always)]` so that it is compiled inside the `#[target_feature]` function of an
//! instruction set that calls it; there the register operations become single instructions.

// One index runs over several arrays of registers at once; zipped iterators would hide which.
#![allow(clippy::needless_range_loop)]

use super::{PANEL_ROWS, Tile, TileOut};

/// Registers of one instruction set.
pub(super) trait Lanes: Copy {
    /// f32 values in a register; divides [`PANEL_ROWS`].
    const WIDTH: usize;
    /// All lanes zero.
    unsafe fn zero() -> Self;
    /// All lanes `value`.
    unsafe fn splat(value: f32) -> Self;
    /// Reads `WIDTH` values, any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads `count < WIDTH` values, the other lanes zero; touches no memory past them.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;
    /// Writes `WIDTH` values, any alignment.
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * by + plus`.
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self;
    /// Sum of the lanes.
    unsafe fn sum(self) -> f32;
    /// A bit per lane: `self <= limit`.
    unsafe fn at_most(self, limit: Self) -> u32;
}

/// One step of a sum: a product, or a squared difference.
#[inline(always)]
unsafe fn step<L: Lanes, const L2: bool>(a: L, b: L, sum: L) -> L {
    // SAFETY: the caller runs inside a function that enables the instruction set of `L`.
    unsafe {
        if L2 {
            let difference = a.sub(b);
            difference.mul_add(difference, sum)
        } else {
            a.mul_add(b, sum)
        }
    }
}

/// One pair. Two sums, of even and odd registers, as in [`four`], so that both give the same bits.
///
/// # Safety
/// Equal lengths; the instruction set of `L` enabled.
#[inline(always)]
pub(super) unsafe fn pair<L: Lanes, const L2: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (len, a, b) = (a.len(), a.as_ptr(), b.as_ptr());
    // SAFETY: every read is at `at + lanes <= len` of both slices, which are equally long.
    unsafe {
        let mut sums = [L::zero(); 2];
        let mut at = 0;
        while at + 2 * L::WIDTH <= len {
            sums[0] = step::<L, L2>(L::load(a.add(at)), L::load(b.add(at)), sums[0]);
            let next = at + L::WIDTH;
            sums[1] = step::<L, L2>(L::load(a.add(next)), L::load(b.add(next)), sums[1]);
            at += 2 * L::WIDTH;
        }
        if at + L::WIDTH <= len {
            sums[0] = step::<L, L2>(L::load(a.add(at)), L::load(b.add(at)), sums[0]);
            at += L::WIDTH;
        }
        if at < len {
            let (a, b) = (L::load_part(a.add(at), len - at), L::load_part(b.add(at), len - at));
            sums[1] = step::<L, L2>(a, b, sums[1]);
        }
        sums[0].add(sums[1]).sum()
    }
}

/// One query against four rows: the query is read once and four reads of rows are in flight. Same bits as [`pair`].
///
/// # Safety
/// Equal lengths; the instruction set of `L` enabled.
#[inline(always)]
pub(super) unsafe fn four<L: Lanes, const L2: bool>(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    let (len, query) = (query.len(), query.as_ptr());
    let rows = rows.map(<[f32]>::as_ptr);
    // SAFETY: as in `pair`, for each of the four rows.
    unsafe {
        let mut even = [L::zero(); 4];
        let mut odd = [L::zero(); 4];
        let mut at = 0;
        while at + 2 * L::WIDTH <= len {
            let next = at + L::WIDTH;
            let (first, second) = (L::load(query.add(at)), L::load(query.add(next)));
            for i in 0..4 {
                even[i] = step::<L, L2>(first, L::load(rows[i].add(at)), even[i]);
                odd[i] = step::<L, L2>(second, L::load(rows[i].add(next)), odd[i]);
            }
            at += 2 * L::WIDTH;
        }
        if at + L::WIDTH <= len {
            let first = L::load(query.add(at));
            for i in 0..4 {
                even[i] = step::<L, L2>(first, L::load(rows[i].add(at)), even[i]);
            }
            at += L::WIDTH;
        }
        if at < len {
            let last = L::load_part(query.add(at), len - at);
            for i in 0..4 {
                odd[i] = step::<L, L2>(last, L::load_part(rows[i].add(at), len - at), odd[i]);
            }
        }
        [
            even[0].add(odd[0]).sum(),
            even[1].add(odd[1]).sum(),
            even[2].add(odd[2]).sum(),
            even[3].add(odd[3]).sum(),
        ]
    }
}

/// Columns between two looks at the limit in [`panel`].
const COLUMNS_PER_CHECK: usize = 32;

/// One query against a panel, `[dim][PANEL_ROWS]`: inner products or squared distances, and a bit per lane whose distance
/// (`-dot`, or the squared distance) is at or below `limit`. `N` registers make up the panel's rows. Under L2 the sums only
/// grow, so once every lane is above `limit` the rest of the panel is not read at all.
///
/// # Safety
/// `panel.len() == query.len() * PANEL_ROWS`; `N * L::WIDTH == PANEL_ROWS`; the instruction set of `L` enabled.
#[inline(always)]
pub(super) unsafe fn panel<L: Lanes, const N: usize, const L2: bool>(
    query: &[f32],
    panel: &[f32],
    limit: f32,
    out: &mut [f32; PANEL_ROWS],
) -> u32 {
    let dim = query.len();
    let panel = panel.as_ptr();
    // SAFETY: column `d < dim` is `PANEL_ROWS = N * WIDTH` values at `d * PANEL_ROWS`, inside the panel.
    unsafe {
        let mut even = [L::zero(); N];
        let mut odd = [L::zero(); N];
        let mut at = 0;
        while at < dim {
            let end = (at + COLUMNS_PER_CHECK).min(dim);
            while at + 2 <= end {
                let (first, second) =
                    (L::splat(*query.get_unchecked(at)), L::splat(*query.get_unchecked(at + 1)));
                let column = panel.add(at * PANEL_ROWS);
                for i in 0..N {
                    even[i] = step::<L, L2>(first, L::load(column.add(i * L::WIDTH)), even[i]);
                    odd[i] = step::<L, L2>(second, L::load(column.add(PANEL_ROWS + i * L::WIDTH)), odd[i]);
                }
                at += 2;
            }
            if at < end {
                let last = L::splat(*query.get_unchecked(at));
                for i in 0..N {
                    even[i] =
                        step::<L, L2>(last, L::load(panel.add(at * PANEL_ROWS + i * L::WIDTH)), even[i]);
                }
                at += 1;
            }
            if L2 {
                let limit = L::splat(limit);
                let mut is_any = 0;
                for i in 0..N {
                    is_any |= even[i].add(odd[i]).at_most(limit);
                }
                if is_any == 0 {
                    return 0;
                }
            }
        }
        let limit = L::splat(limit);
        let mut mask = 0;
        for i in 0..N {
            let sum = even[i].add(odd[i]);
            sum.store(out.as_mut_ptr().add(i * L::WIDTH));
            let distance = if L2 { sum } else { L::zero().sub(sum) };
            mask |= distance.at_most(limit) << (i * L::WIDTH);
        }
        mask
    }
}

/// `Q` queries against a panel: `Q * N` sums stay in registers while the dimension runs by.
///
/// # Safety
/// The shapes of `tile` agree and it holds `Q` queries; `N * L::WIDTH == PANEL_ROWS`; the instruction set of `L` enabled.
#[inline(always)]
pub(super) unsafe fn tile<L: Lanes, const N: usize, const Q: usize>(tile: &Tile<'_>, out: &mut TileOut) {
    let dim = tile.dim;
    let queries = tile.queries.as_ptr();
    let mut column = tile.panel.as_ptr();
    // SAFETY: queries are `[Q, dim]`, the panel is `[dim][N * WIDTH]`, `limits` is `[Q]`, and `out` has room for
    // `MAX_TILE_QUERIES >= Q` queries of `PANEL_ROWS` values.
    unsafe {
        let mut sums = [[L::zero(); N]; Q];
        for d in 0..dim {
            let mut lanes = [L::zero(); N];
            for i in 0..N {
                lanes[i] = L::load(column.add(i * L::WIDTH));
            }
            for q in 0..Q {
                let value = L::splat(*queries.add(q * dim + d));
                for i in 0..N {
                    sums[q][i] = value.mul_add(lanes[i], sums[q][i]);
                }
            }
            column = column.add(PANEL_ROWS);
        }
        let scale = L::splat(tile.scale);
        for q in 0..Q {
            let limit = L::splat(*tile.limits.get_unchecked(q));
            let mut mask = 0;
            for i in 0..N {
                let bias = L::load(tile.bias.as_ptr().add(i * L::WIDTH));
                let value = sums[q][i].mul_add(scale, bias);
                value.store(out.values.get_unchecked_mut(q).as_mut_ptr().add(i * L::WIDTH));
                mask |= value.at_most(limit) << (i * L::WIDTH);
            }
            *out.masks.get_unchecked_mut(q) = mask;
        }
    }
}
