//! AVX2 and AVX-512 VNNI registers for the integer kernels.
//!
//! AVX2 has no exact u8 x i8 product sum: `vpmaddubsw` saturates at 16 bits, which products of a 4-bit code never reach;
//! 8-bit codes are widened first. VNNI's `vpdpbusd` sums four products into 32 bits at once.

use super::nibbles::{self, BLOCK_ROWS, Block, Codes, NibbleBound, NibbleScan};
use std::arch::x86_64::*;

/// Sixteen rows in two AVX2 registers.
struct YmmBlock;

// SAFETY (all blocks of this impl): called only inside functions that enable AVX2; pointers are the caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Block for YmmBlock {
    /// Low four bits of rows 0..8 and 8..16, then the high ones.
    type Line = [__m256i; 4];
    /// i16, two per row.
    type Partial = [__m256i; 2];
    type Total = [__m256i; 2];
    /// Each line adds two pairs of products to an i16: 4 * 2 * 2 * 15 * 127 = 30 480.
    const LINES_PER_RUN: usize = 4;
    #[inline(always)]
    unsafe fn prefetch(line: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
    }
    #[inline(always)]
    unsafe fn partial() -> Self::Partial {
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn total(start: i32) -> Self::Total {
        unsafe { [_mm256_set1_epi32(start); 2] }
    }
    #[inline(always)]
    unsafe fn unpack(line: *const u8) -> Self::Line {
        unsafe {
            let mask = _mm256_set1_epi8(15);
            let (first, second) = (_mm256_loadu_si256(line.cast()), _mm256_loadu_si256(line.add(32).cast()));
            [
                _mm256_and_si256(first, mask),
                _mm256_and_si256(second, mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(first), mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(second), mask),
            ]
        }
    }
    #[inline(always)]
    unsafe fn multiply(line: Self::Line, query: *const i8, sums: Self::Partial) -> Self::Partial {
        unsafe {
            let low = _mm256_set1_epi32(query.cast::<i32>().read_unaligned());
            let high = _mm256_set1_epi32(query.add(4).cast::<i32>().read_unaligned());
            let products = |low_codes, high_codes| {
                _mm256_add_epi16(_mm256_maddubs_epi16(low_codes, low), _mm256_maddubs_epi16(high_codes, high))
            };
            [
                _mm256_add_epi16(sums[0], products(line[0], line[2])),
                _mm256_add_epi16(sums[1], products(line[1], line[3])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn widen(sums: Self::Partial, total: Self::Total) -> Self::Total {
        unsafe {
            let ones = _mm256_set1_epi16(1);
            [
                _mm256_add_epi32(total[0], _mm256_madd_epi16(sums[0], ones)),
                _mm256_add_epi32(total[1], _mm256_madd_epi16(sums[1], ones)),
            ]
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
            let (slope, weight) = (_mm256_set1_ps(bound.slope), _mm256_set1_ps(bound.error_weight));
            let limit = _mm256_set1_ps(limit);
            let mut above = 0;
            for (half, &sums) in total.iter().enumerate() {
                let at = 8 * half;
                _mm256_storeu_si256(dots.add(at).cast(), sums);
                let bias = _mm256_loadu_ps(terms.add(at));
                let scale = _mm256_loadu_ps(terms.add(BLOCK_ROWS + at));
                let error = _mm256_loadu_ps(terms.add(2 * BLOCK_ROWS + at));
                let product = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sums));
                let value = _mm256_sub_ps(bias, _mm256_mul_ps(slope, product));
                let value = _mm256_sub_ps(value, _mm256_mul_ps(weight, error));
                above |= (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(value, limit)) as u32) << (8 * half);
            }
            !above & 0xffff
        }
    }
}

/// Sixteen rows in one AVX-512 register.
struct ZmmBlock;

// SAFETY (all blocks of this impl): called only inside functions that enable AVX-512F and VNNI; pointers are the caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Block for ZmmBlock {
    /// Low four bits, high four bits.
    type Line = [__m512i; 2];
    /// Two chains, since one instruction waits five cycles for the one before it.
    type Partial = [__m512i; 2];
    type Total = __m512i;
    const LINES_PER_RUN: usize = usize::MAX;
    #[inline(always)]
    unsafe fn prefetch(line: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
    }
    #[inline(always)]
    unsafe fn partial() -> Self::Partial {
        unsafe { [_mm512_setzero_si512(); 2] }
    }
    #[inline(always)]
    unsafe fn total(start: i32) -> Self::Total {
        unsafe { _mm512_set1_epi32(start) }
    }
    #[inline(always)]
    unsafe fn unpack(line: *const u8) -> Self::Line {
        unsafe {
            let mask = _mm512_set1_epi32(0x0f0f_0f0f);
            let codes = _mm512_loadu_si512(line.cast());
            [_mm512_and_si512(codes, mask), _mm512_and_si512(_mm512_srli_epi32::<4>(codes), mask)]
        }
    }
    #[inline(always)]
    unsafe fn multiply(line: Self::Line, query: *const i8, sums: Self::Partial) -> Self::Partial {
        unsafe {
            let low = _mm512_set1_epi32(query.cast::<i32>().read_unaligned());
            let high = _mm512_set1_epi32(query.add(4).cast::<i32>().read_unaligned());
            [_mm512_dpbusd_epi32(sums[0], line[0], low), _mm512_dpbusd_epi32(sums[1], line[1], high)]
        }
    }
    #[inline(always)]
    unsafe fn widen(sums: Self::Partial, total: Self::Total) -> Self::Total {
        unsafe { _mm512_add_epi32(total, _mm512_add_epi32(sums[0], sums[1])) }
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
            _mm512_storeu_si512(dots.cast(), total);
            let product = _mm512_mul_ps(_mm512_loadu_ps(terms.add(BLOCK_ROWS)), _mm512_cvtepi32_ps(total));
            let value =
                _mm512_sub_ps(_mm512_loadu_ps(terms), _mm512_mul_ps(_mm512_set1_ps(bound.slope), product));
            let error = _mm512_loadu_ps(terms.add(2 * BLOCK_ROWS));
            let value = _mm512_sub_ps(value, _mm512_mul_ps(_mm512_set1_ps(bound.error_weight), error));
            u32::from(!_mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, _mm512_set1_ps(limit)))
        }
    }
}

/// Thirty-two codes.
#[derive(Clone, Copy)]
struct YmmCodes(__m256i);

// SAFETY (all blocks of this impl): called only inside functions that enable AVX2; pointers are the caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Codes for YmmCodes {
    const WIDTH: usize = 32;
    type Sums = __m256i;
    #[inline(always)]
    unsafe fn zero() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        unsafe { YmmCodes(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const u8, count: usize) -> Self {
        unsafe {
            let mut part = [0_u8; 32];
            std::ptr::copy_nonoverlapping(from, part.as_mut_ptr(), count);
            YmmCodes(_mm256_loadu_si256(part.as_ptr().cast()))
        }
    }
    #[inline(always)]
    unsafe fn multiply_nibbles(self, low: Self, high: Self, sums: __m256i) -> __m256i {
        unsafe {
            let mask = _mm256_set1_epi8(15);
            let low_codes = _mm256_and_si256(self.0, mask);
            let high_codes = _mm256_and_si256(_mm256_srli_epi16::<4>(self.0), mask);
            let products = _mm256_add_epi16(
                _mm256_maddubs_epi16(low_codes, low.0),
                _mm256_maddubs_epi16(high_codes, high.0),
            );
            _mm256_add_epi32(sums, _mm256_madd_epi16(products, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn multiply_bytes(self, query: Self, sums: __m256i) -> __m256i {
        unsafe {
            let low = _mm256_madd_epi16(
                _mm256_cvtepu8_epi16(_mm256_castsi256_si128(self.0)),
                _mm256_cvtepi8_epi16(_mm256_castsi256_si128(query.0)),
            );
            let high = _mm256_madd_epi16(
                _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(self.0)),
                _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(query.0)),
            );
            _mm256_add_epi32(sums, _mm256_add_epi32(low, high))
        }
    }
    #[inline(always)]
    unsafe fn sum(sums: __m256i) -> i32 {
        unsafe {
            let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
        }
    }
}

/// Sixty-four codes.
#[derive(Clone, Copy)]
struct ZmmCodes(__m512i);

// SAFETY (all blocks of this impl): called only inside functions that enable AVX-512 F, BW and VNNI; pointers are the
// caller's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Codes for ZmmCodes {
    const WIDTH: usize = 64;
    type Sums = __m512i;
    #[inline(always)]
    unsafe fn zero() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        unsafe { ZmmCodes(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const u8, count: usize) -> Self {
        unsafe { ZmmCodes(_mm512_maskz_loadu_epi8((1_u64 << count) - 1, from.cast())) }
    }
    #[inline(always)]
    unsafe fn multiply_nibbles(self, low: Self, high: Self, sums: __m512i) -> __m512i {
        unsafe {
            let mask = _mm512_set1_epi32(0x0f0f_0f0f);
            let high_codes = _mm512_and_si512(_mm512_srli_epi32::<4>(self.0), mask);
            let sums = _mm512_dpbusd_epi32(sums, _mm512_and_si512(self.0, mask), low.0);
            _mm512_dpbusd_epi32(sums, high_codes, high.0)
        }
    }
    #[inline(always)]
    unsafe fn multiply_bytes(self, query: Self, sums: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sums, self.0, query.0) }
    }
    #[inline(always)]
    unsafe fn sum(sums: __m512i) -> i32 {
        unsafe { _mm512_reduce_add_epi32(sums) }
    }
}

/// The exported functions of one instruction set.
macro_rules! integer_kernels {
    ($module:ident, $features:literal, $block:ty, $codes:ty, $queries:literal, [$($count:literal)*]) => {
        pub(super) mod $module {
            use super::*;
            pub(in crate::kernels) const QUERIES: usize = $queries;

            #[target_feature(enable = $features)]
            pub(in crate::kernels) unsafe fn scan(
                scan: &NibbleScan<'_>,
                masks: &mut [u16],
                dots: &mut [[i32; BLOCK_ROWS]],
            ) {
                // SAFETY: instructions enabled here; shapes by this function's contract; `Q` is the number of queries.
                unsafe {
                    match scan.bounds.len() {
                        $($count => nibbles::scan::<$block, $count>(scan, masks, dots),)*
                        _ => {}
                    }
                }
            }
            #[target_feature(enable = $features)]
            pub(in crate::kernels) unsafe fn dot_u4(codes: &[u8], query: &[i8]) -> i32 {
                // SAFETY: instructions enabled here; lengths by this function's contract.
                unsafe { nibbles::dot_u4::<$codes>(codes, query) }
            }
            #[target_feature(enable = $features)]
            pub(in crate::kernels) unsafe fn dot_u8(codes: &[u8], query: &[i8]) -> i32 {
                // SAFETY: as in `dot_u4`.
                unsafe { nibbles::dot_u8::<$codes>(codes, query) }
            }
        }
    };
}

// 4 queries x 2 registers of sums + 4 of codes + 2 query values fill the 16 registers of AVX2.
integer_kernels!(avx2, "avx2", YmmBlock, YmmCodes, 4, [1 2 3 4]);
// 12 queries x 2 registers of sums + 2 of codes + a mask, of 32.
integer_kernels!(vnni, "avx512f,avx512bw,avx512vnni,avx2", ZmmBlock, ZmmCodes, 12, [1 2 3 4 5 6 7 8 9 10 11 12]);
