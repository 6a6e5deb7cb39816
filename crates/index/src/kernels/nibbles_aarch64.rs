//! NEON registers for the integer kernels. Only what every AArch64 machine has: widening multiply-adds into i16.

use super::nibbles::{self, BLOCK_ROWS, Block, Codes, NibbleBound, NibbleScan};
use std::arch::aarch64::*;

/// Sixteen rows in four registers.
struct QuadBlock;

// SAFETY (all blocks of this impl): called only inside functions that enable NEON; pointers are the caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Block for QuadBlock {
    /// Low four bits of rows 0..4, 4..8, 8..12, 12..16, then the high ones.
    type Line = [int8x16_t; 8];
    /// i16, four per row.
    type Partial = [int16x8_t; 8];
    type Total = [int32x4_t; 4];
    /// Each line adds two products to an i16: 8 * 2 * 15 * 127 = 30 480.
    const LINES_PER_RUN: usize = 8;
    /// There is no stable intrinsic; the hardware's own prefetching does.
    #[inline(always)]
    unsafe fn prefetch(_line: *const u8) {}
    #[inline(always)]
    unsafe fn partial() -> Self::Partial {
        unsafe { [vdupq_n_s16(0); 8] }
    }
    #[inline(always)]
    unsafe fn total(start: i32) -> Self::Total {
        unsafe { [vdupq_n_s32(start); 4] }
    }
    #[inline(always)]
    unsafe fn unpack(line: *const u8) -> Self::Line {
        unsafe {
            let mask = vdupq_n_u8(15);
            let mut unpacked = [vdupq_n_s8(0); 8];
            for i in 0..4 {
                let codes = vld1q_u8(line.add(16 * i));
                unpacked[i] = vreinterpretq_s8_u8(vandq_u8(codes, mask));
                unpacked[4 + i] = vreinterpretq_s8_u8(vshrq_n_u8::<4>(codes));
            }
            unpacked
        }
    }
    #[inline(always)]
    unsafe fn multiply(line: Self::Line, query: *const i8, mut sums: Self::Partial) -> Self::Partial {
        unsafe {
            let low = vreinterpretq_s8_s32(vdupq_n_s32(query.cast::<i32>().read_unaligned()));
            let high = vreinterpretq_s8_s32(vdupq_n_s32(query.add(4).cast::<i32>().read_unaligned()));
            for i in 0..4 {
                sums[2 * i] = vmlal_s8(sums[2 * i], vget_low_s8(line[i]), vget_low_s8(low));
                sums[2 * i] = vmlal_s8(sums[2 * i], vget_low_s8(line[4 + i]), vget_low_s8(high));
                sums[2 * i + 1] = vmlal_high_s8(sums[2 * i + 1], line[i], low);
                sums[2 * i + 1] = vmlal_high_s8(sums[2 * i + 1], line[4 + i], high);
            }
            sums
        }
    }
    #[inline(always)]
    unsafe fn widen(sums: Self::Partial, mut total: Self::Total) -> Self::Total {
        unsafe {
            for i in 0..4 {
                let rows = vpaddq_s32(vpaddlq_s16(sums[2 * i]), vpaddlq_s16(sums[2 * i + 1]));
                total[i] = vaddq_s32(total[i], rows);
            }
            total
        }
    }
    #[inline(always)]
    unsafe fn finish(
        total: Self::Total,
        terms: *const f32,
        bound: &NibbleBound,
        limit: f32,
        dots: *mut i32,
    ) -> u32 {
        unsafe {
            let bits = vld1q_u32([1_u32, 2, 4, 8].as_ptr());
            let mut above = 0;
            for (i, &sums) in total.iter().enumerate() {
                let at = 4 * i;
                vst1q_s32(dots.add(at), sums);
                let scale = vld1q_f32(terms.add(BLOCK_ROWS + at));
                let product = vmulq_f32(scale, vcvtq_f32_s32(sums));
                let value = vsubq_f32(vld1q_f32(terms.add(at)), vmulq_f32(vdupq_n_f32(bound.slope), product));
                let error = vld1q_f32(terms.add(2 * BLOCK_ROWS + at));
                let value = vsubq_f32(value, vmulq_f32(vdupq_n_f32(bound.error_weight), error));
                above |= vaddvq_u32(vandq_u32(vcgtq_f32(value, vdupq_n_f32(limit)), bits)) << at;
            }
            !above & 0xffff
        }
    }
}

/// Sixteen codes.
#[derive(Clone, Copy)]
struct QuadCodes(uint8x16_t);

// SAFETY (all blocks of this impl): called only inside functions that enable NEON; pointers are the caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Codes for QuadCodes {
    const WIDTH: usize = 16;
    type Sums = int32x4_t;
    #[inline(always)]
    unsafe fn zero() -> int32x4_t {
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        unsafe { QuadCodes(vld1q_u8(from)) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const u8, count: usize) -> Self {
        unsafe {
            let mut part = [0_u8; 16];
            std::ptr::copy_nonoverlapping(from, part.as_mut_ptr(), count);
            QuadCodes(vld1q_u8(part.as_ptr()))
        }
    }
    #[inline(always)]
    unsafe fn multiply_nibbles(self, low: Self, high: Self, sums: int32x4_t) -> int32x4_t {
        unsafe {
            let low_codes = vreinterpretq_s8_u8(vandq_u8(self.0, vdupq_n_u8(15)));
            let high_codes = vreinterpretq_s8_u8(vshrq_n_u8::<4>(self.0));
            let (low, high) = (vreinterpretq_s8_u8(low.0), vreinterpretq_s8_u8(high.0));
            let first = vmull_s8(vget_low_s8(low_codes), vget_low_s8(low));
            let first = vmlal_s8(first, vget_low_s8(high_codes), vget_low_s8(high));
            let second = vmlal_high_s8(vmull_high_s8(low_codes, low), high_codes, high);
            vpadalq_s16(vpadalq_s16(sums, first), second)
        }
    }
    #[inline(always)]
    unsafe fn multiply_bytes(self, query: Self, sums: int32x4_t) -> int32x4_t {
        unsafe {
            let query = vreinterpretq_s8_u8(query.0);
            let (low, high) = (vmovl_u8(vget_low_u8(self.0)), vmovl_high_u8(self.0));
            let (low, high) = (vreinterpretq_s16_u16(low), vreinterpretq_s16_u16(high));
            let (low_query, high_query) = (vmovl_s8(vget_low_s8(query)), vmovl_high_s8(query));
            let sums = vmlal_s16(sums, vget_low_s16(low), vget_low_s16(low_query));
            let sums = vmlal_high_s16(sums, low, low_query);
            let sums = vmlal_s16(sums, vget_low_s16(high), vget_low_s16(high_query));
            vmlal_high_s16(sums, high, high_query)
        }
    }
    #[inline(always)]
    unsafe fn sum(sums: int32x4_t) -> i32 {
        unsafe { vaddvq_s32(sums) }
    }
}

pub(super) const QUERIES: usize = 2;

// 2 queries x 8 registers of sums + 8 of codes, of 32.
#[target_feature(enable = "neon")]
pub(super) unsafe fn scan(scan: &NibbleScan<'_>, masks: &mut [u16], dots: &mut [[i32; BLOCK_ROWS]]) {
    // SAFETY: instructions enabled here; shapes by this function's contract; `Q` is the number of queries.
    unsafe {
        match scan.bounds.len() {
            1 => nibbles::scan::<QuadBlock, 1>(scan, masks, dots),
            2 => nibbles::scan::<QuadBlock, 2>(scan, masks, dots),
            _ => {}
        }
    }
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn dot_u4(codes: &[u8], query: &[i8]) -> i32 {
    // SAFETY: instructions enabled here; lengths by this function's contract.
    unsafe { nibbles::dot_u4::<QuadCodes>(codes, query) }
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn dot_u8(codes: &[u8], query: &[i8]) -> i32 {
    // SAFETY: as in `dot_u4`.
    unsafe { nibbles::dot_u8::<QuadCodes>(codes, query) }
}
