//! AVX2 + FMA and AVX-512F registers, and the kernels compiled for them.

use super::lanes::{self, Lanes};
use super::{IntegerKernels, Isa, Kernels, PANEL_ROWS, Tile, TileOut, nibbles_x86_64, scalar};
use std::arch::x86_64::*;

/// Eight f32.
#[derive(Clone, Copy)]
struct Ymm(__m256);

/// Lane masks for [`Ymm::load_part`]: eight set, then eight clear.
static PART_MASK: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

// SAFETY (all blocks of this impl): called only inside functions that enable AVX2 and FMA; pointers are the caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Ymm {
    const WIDTH: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { Ymm(_mm256_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Ymm(_mm256_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Ymm(_mm256_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        unsafe {
            let mask = _mm256_loadu_si256(PART_MASK.as_ptr().add(8 - count).cast());
            Ymm(_mm256_maskload_ps(from, mask))
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Ymm(_mm256_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Ymm(_mm256_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
        unsafe { Ymm(_mm256_fmadd_ps(self.0, by.0, plus.0)) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    unsafe fn at_most(self, limit: Self) -> u32 {
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(self.0, limit.0)) as u32 }
    }
}

/// Sixteen f32.
#[derive(Clone, Copy)]
struct Zmm(__m512);

// SAFETY (all blocks of this impl): called only inside functions that enable AVX-512F; pointers are the caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Zmm {
    const WIDTH: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { Zmm(_mm512_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Zmm(_mm512_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Zmm(_mm512_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        unsafe { Zmm(_mm512_maskz_loadu_ps((1_u16 << count) - 1, from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Zmm(_mm512_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Zmm(_mm512_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
        unsafe { Zmm(_mm512_fmadd_ps(self.0, by.0, plus.0)) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn at_most(self, limit: Self) -> u32 {
        unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.0, limit.0)) }
    }
}

const AVX2_INTEGERS: IntegerKernels = IntegerKernels {
    scan_queries: nibbles_x86_64::avx2::QUERIES,
    scan: nibbles_x86_64::avx2::scan,
    dot_u4: nibbles_x86_64::avx2::dot_u4,
    dot_u8: nibbles_x86_64::avx2::dot_u8,
};
const VNNI_INTEGERS: IntegerKernels = IntegerKernels {
    scan_queries: nibbles_x86_64::vnni::QUERIES,
    scan: nibbles_x86_64::vnni::scan,
    dot_u4: nibbles_x86_64::vnni::dot_u4,
    dot_u8: nibbles_x86_64::vnni::dot_u8,
};

/// The exported functions of one instruction set; only the registers and the tile's height differ.
macro_rules! kernels {
    ($module:ident, $isa:expr, $integer:expr, $features:literal, $register:ty, $registers:literal, $queries:literal, [$($count:literal)*]) => {
        mod $module {
            use super::*;
            const N: usize = $registers;

            #[target_feature(enable = $features)]
            unsafe fn dot(a: &[f32], b: &[f32]) -> f32 {
                // SAFETY: instructions enabled here; equal lengths by this function's contract.
                unsafe { lanes::pair::<$register, false>(a, b) }
            }
            #[target_feature(enable = $features)]
            unsafe fn l2(a: &[f32], b: &[f32]) -> f32 {
                // SAFETY: as in `dot`.
                unsafe { lanes::pair::<$register, true>(a, b) }
            }
            #[target_feature(enable = $features)]
            unsafe fn dot4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
                // SAFETY: as in `dot`.
                unsafe { lanes::four::<$register, false>(query, rows) }
            }
            #[target_feature(enable = $features)]
            unsafe fn l2_4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
                // SAFETY: as in `dot`.
                unsafe { lanes::four::<$register, true>(query, rows) }
            }
            #[target_feature(enable = $features)]
            unsafe fn panel_dot(query: &[f32], panel: &[f32], limit: f32, out: &mut [f32; PANEL_ROWS]) -> u32 {
                // SAFETY: instructions enabled here; the panel's shape by this function's contract.
                unsafe { lanes::panel::<$register, N, false>(query, panel, limit, out) }
            }
            #[target_feature(enable = $features)]
            unsafe fn panel_l2(query: &[f32], panel: &[f32], limit: f32, out: &mut [f32; PANEL_ROWS]) -> u32 {
                // SAFETY: as in `panel_dot`.
                unsafe { lanes::panel::<$register, N, true>(query, panel, limit, out) }
            }
            #[target_feature(enable = $features)]
            unsafe fn tile(tile: &Tile<'_>, out: &mut TileOut) {
                // SAFETY: instructions enabled here; shapes by this function's contract; `Q` is the number of queries.
                unsafe {
                    match tile.limits.len() {
                        $($count => lanes::tile::<$register, N, $count>(tile, out),)*
                        _ => {}
                    }
                }
            }
            pub(in crate::kernels) static KERNELS: Kernels = KERNELS_VALUE;
            pub(super) const KERNELS_VALUE: Kernels = Kernels {
                isa: $isa, tile_queries: $queries, dot, l2, dot4, l2_4, panel_dot, panel_l2, tile, pack,
                integer: $integer,
            };
        }
    };
}

// 6 queries x 2 registers of sums + 2 of rows + 1 query value fill the 16 registers of AVX2.
kernels!(avx2, Isa::Avx2, AVX2_INTEGERS, "avx2,fma", Ymm, 2, 6, [1 2 3 4 5 6]);
// 12 queries x 1 register of sums: more than the 8 in flight that two multiply-add ports need.
kernels!(avx512, Isa::Avx512, VNNI_INTEGERS, "avx512f,avx2,fma", Zmm, 1, 12, [1 2 3 4 5 6 7 8 9 10 11 12]);
pub(super) use avx2::KERNELS as AVX2;
pub(super) use avx512::KERNELS as AVX512;

/// For AVX-512 machines older than VNNI: floats as in [`AVX512`], integers as in [`AVX2`].
pub(super) static AVX512_WITHOUT_VNNI: Kernels = Kernels { integer: AVX2_INTEGERS, ..avx512::KERNELS_VALUE };

/// Packs full panels by 8 x 8 transposes in registers; the last columns and short panels one value at a time.
///
/// # Safety
/// `panel.len() == dim * PANEL_ROWS >= rows.len()`; AVX2 enabled.
#[target_feature(enable = "avx2,fma")]
unsafe fn pack(rows: &[f32], dim: usize, panel: &mut [f32]) {
    let blocked = if rows.len() == panel.len() { dim / 8 * 8 } else { 0 };
    for lane in (0..PANEL_ROWS).step_by(8) {
        for column in (0..blocked).step_by(8) {
            // SAFETY: rows `lane..lane + 8` exist and `column + 8 <= dim`, so 8 x 8 values are read inside `rows` and
            // written inside `panel`.
            unsafe {
                let from = rows.as_ptr().add(lane * dim + column);
                transpose_8x8(from, dim, panel.as_mut_ptr().add(column * PANEL_ROWS + lane));
            }
        }
    }
    scalar::pack_columns(rows, dim, blocked..dim, panel);
}

/// Writes the transpose of 8 rows x 8 columns (row stride `stride`) with row stride [`PANEL_ROWS`].
///
/// # Safety
/// `from` is readable for 8 values at each of 8 strides and `to` writable likewise; AVX2 enabled.
#[target_feature(enable = "avx2,fma")]
unsafe fn transpose_8x8(from: *const f32, stride: usize, to: *mut f32) {
    // SAFETY: by the contract above; halves of four values are read at columns 0 and 4.
    unsafe {
        // Row r's columns 0..4 beside row r+4's, so that only in-lane shuffles are left.
        let pair = |row: usize, column: usize| {
            let low = _mm_loadu_ps(from.add(row * stride + column));
            let high = _mm_loadu_ps(from.add((row + 4) * stride + column));
            _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
        };
        for column in [0, 4] {
            let (a, b, c, d) = (pair(0, column), pair(1, column), pair(2, column), pair(3, column));
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let to = to.add(column * PANEL_ROWS);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(ab_low, cd_low));
            _mm256_storeu_ps(to.add(PANEL_ROWS), _mm256_shuffle_ps::<0xEE>(ab_low, cd_low));
            _mm256_storeu_ps(to.add(2 * PANEL_ROWS), _mm256_shuffle_ps::<0x44>(ab_high, cd_high));
            _mm256_storeu_ps(to.add(3 * PANEL_ROWS), _mm256_shuffle_ps::<0xEE>(ab_high, cd_high));
        }
    }
}
