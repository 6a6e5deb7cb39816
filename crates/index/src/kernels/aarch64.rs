//! NEON registers (AArch64 Advanced SIMD) and the kernels compiled for them.

use super::lanes::{self, Lanes};
use super::{IntegerKernels, Isa, Kernels, PANEL_ROWS, Tile, TileOut, nibbles_aarch64, scalar};
use std::arch::aarch64::*;

/// Four f32.
#[derive(Clone, Copy)]
struct Quad(float32x4_t);

// SAFETY (all blocks of this impl): called only inside functions that enable NEON; pointers are the caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Quad {
    const WIDTH: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { Quad(vdupq_n_f32(0.0)) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Quad(vdupq_n_f32(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Quad(vld1q_f32(from)) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        unsafe {
            let mut part = [0.0_f32; 4];
            std::ptr::copy_nonoverlapping(from, part.as_mut_ptr(), count);
            Quad(vld1q_f32(part.as_ptr()))
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Quad(vaddq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Quad(vsubq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
        unsafe { Quad(vfmaq_f32(plus.0, self.0, by.0)) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { vaddvq_f32(self.0) }
    }
    #[inline(always)]
    unsafe fn at_most(self, limit: Self) -> u32 {
        unsafe {
            let bits = vld1q_u32([1_u32, 2, 4, 8].as_ptr());
            vaddvq_u32(vandq_u32(vcleq_f32(self.0, limit.0), bits))
        }
    }
}

/// Registers that make up a panel's rows.
const N: usize = 4;

pub(super) static NEON: Kernels = Kernels {
    isa: Isa::Neon,
    tile_queries: 4,
    dot,
    l2,
    dot4,
    l2_4,
    panel_dot,
    panel_l2,
    tile,
    // Packing is bound by memory on the machines at hand; the portable one does.
    pack: |rows, dim, panel| scalar::pack_columns(rows, dim, 0..dim, panel),
    integer: IntegerKernels {
        scan_queries: nibbles_aarch64::QUERIES,
        scan: nibbles_aarch64::scan,
        dot_u4: nibbles_aarch64::dot_u4,
        dot_u8: nibbles_aarch64::dot_u8,
    },
};

#[target_feature(enable = "neon")]
unsafe fn dot(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: instructions enabled here; equal lengths by this function's contract.
    unsafe { lanes::pair::<Quad, false>(a, b) }
}

#[target_feature(enable = "neon")]
unsafe fn l2(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: as in `dot`.
    unsafe { lanes::pair::<Quad, true>(a, b) }
}

#[target_feature(enable = "neon")]
unsafe fn dot4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    // SAFETY: as in `dot`.
    unsafe { lanes::four::<Quad, false>(query, rows) }
}

#[target_feature(enable = "neon")]
unsafe fn l2_4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    // SAFETY: as in `dot`.
    unsafe { lanes::four::<Quad, true>(query, rows) }
}

#[target_feature(enable = "neon")]
unsafe fn panel_dot(query: &[f32], panel: &[f32], limit: f32, out: &mut [f32; PANEL_ROWS]) -> u32 {
    // SAFETY: instructions enabled here; the panel's shape by this function's contract.
    unsafe { lanes::panel::<Quad, N, false>(query, panel, limit, out) }
}

#[target_feature(enable = "neon")]
unsafe fn panel_l2(query: &[f32], panel: &[f32], limit: f32, out: &mut [f32; PANEL_ROWS]) -> u32 {
    // SAFETY: as in `panel_dot`.
    unsafe { lanes::panel::<Quad, N, true>(query, panel, limit, out) }
}

// 4 queries x 4 registers of sums + 4 of rows + 1 query value, of 32 registers.
#[target_feature(enable = "neon")]
unsafe fn tile(tile: &Tile<'_>, out: &mut TileOut) {
    // SAFETY: instructions enabled here; shapes by this function's contract; `Q` is the number of queries.
    unsafe {
        match tile.limits.len() {
            1 => lanes::tile::<Quad, N, 1>(tile, out),
            2 => lanes::tile::<Quad, N, 2>(tile, out),
            3 => lanes::tile::<Quad, N, 3>(tile, out),
            4 => lanes::tile::<Quad, N, 4>(tile, out),
            _ => {}
        }
    }
}
