//! The kernels over codes for AVX2 (with FMA and F16C) and AVX-512 (F and BW).

use super::Isa;
use super::codes::{Affine, BLOCK_ENTRIES, BLOCK_FLOATS, CodeKernels, Factored, scalar};
use std::arch::x86_64::*;

pub(super) static AVX2: CodeKernels = CodeKernels {
    isa: Isa::Avx2,
    byte_dot: byte_dot_avx2,
    byte_l2: byte_l2_avx2,
    widen_halves,
    plane_dot: plane_dot_avx2,
    fast_scan: fast_scan_avx2,
    affine: affine_avx2,
    factored: factored_avx2,
};
pub(super) static AVX512: CodeKernels = CodeKernels {
    isa: Isa::Avx512,
    byte_dot: byte_dot_avx512,
    byte_l2: byte_l2_avx512,
    widen_halves,
    plane_dot: plane_dot_avx512,
    fast_scan: fast_scan_avx512,
    affine: affine_avx512,
    factored: factored_avx512,
};

#[inline]
#[target_feature(enable = "avx2,fma")]
fn sum_avx2(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// Eight bytes as f32.
///
/// # Safety
/// `from` is readable for eight bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn eight(from: *const u8) -> __m256 {
    // SAFETY: by the contract above.
    unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn byte_dot_avx2(weights: &[f32], levels: &[u8]) -> f32 {
    let whole = weights.len() / 16 * 16;
    let mut sums = [_mm256_setzero_ps(); 2];
    for at in (0..whole).step_by(16) {
        // SAFETY: 16 values of both are left from `at`.
        unsafe {
            let (first, second) = (eight(levels.as_ptr().add(at)), eight(levels.as_ptr().add(at + 8)));
            sums[0] = _mm256_fmadd_ps(_mm256_loadu_ps(weights.as_ptr().add(at)), first, sums[0]);
            sums[1] = _mm256_fmadd_ps(_mm256_loadu_ps(weights.as_ptr().add(at + 8)), second, sums[1]);
        }
    }
    sum_avx2(_mm256_add_ps(sums[0], sums[1])) + scalar::byte_dot(&weights[whole..], &levels[whole..])
}

#[target_feature(enable = "avx2,fma")]
unsafe fn byte_l2_avx2(offsets: &[f32], weights: &[f32], levels: &[u8]) -> f32 {
    let whole = weights.len() / 16 * 16;
    let mut sums = [_mm256_setzero_ps(); 2];
    for at in (0..whole).step_by(16) {
        for (half, sum) in sums.iter_mut().enumerate() {
            let at = at + 8 * half;
            // SAFETY: 16 values of all three are left from the even `at`.
            unsafe {
                let level = eight(levels.as_ptr().add(at));
                let weight = _mm256_loadu_ps(weights.as_ptr().add(at));
                let offset = _mm256_loadu_ps(offsets.as_ptr().add(at));
                let difference = _mm256_fnmadd_ps(weight, level, offset);
                *sum = _mm256_fmadd_ps(difference, difference, *sum);
            }
        }
    }
    let rest = scalar::byte_l2(&offsets[whole..], &weights[whole..], &levels[whole..]);
    sum_avx2(_mm256_add_ps(sums[0], sums[1])) + rest
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn widen_halves(halves: &[[u8; 2]], values: &mut [f32]) {
    let whole = values.len() / 8 * 8;
    for at in (0..whole).step_by(8) {
        // SAFETY: eight halves and eight values are left from `at`.
        unsafe {
            let half = _mm_loadu_si128(halves.as_ptr().add(at).cast());
            _mm256_storeu_ps(values.as_mut_ptr().add(at), _mm256_cvtph_ps(half));
        }
    }
    scalar::widen_halves(&halves[whole..], &mut values[whole..]);
}

#[target_feature(enable = "avx2,fma")]
unsafe fn plane_dot_avx2(planes: &[u8], query: &[f32]) -> f32 {
    let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    let mut total = _mm256_setzero_ps();
    for (p, plane) in planes.chunks_exact((query.len() / 8).max(1)).enumerate() {
        let mut sums = [_mm256_setzero_ps(); 2];
        for (i, (&byte, values)) in plane.iter().zip(query.as_chunks::<8>().0).enumerate() {
            let chosen = _mm256_and_si256(_mm256_set1_epi32(i32::from(byte)), bits);
            let mask = _mm256_castsi256_ps(_mm256_cmpeq_epi32(chosen, bits));
            // SAFETY: eight f32.
            let values = unsafe { _mm256_loadu_ps(values.as_ptr()) };
            sums[i % 2] = _mm256_add_ps(sums[i % 2], _mm256_and_ps(mask, values));
        }
        let weight = _mm256_set1_ps((1_u32 << p) as f32);
        total = _mm256_fmadd_ps(_mm256_add_ps(sums[0], sums[1]), weight, total);
    }
    sum_avx2(total)
}

/// Sixteen-bit sums of even and of odd bytes, put in the order of the bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn in_order(even: __m128i, odd: __m128i) -> [__m128i; 2] {
    [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn both_lanes(sums: __m256i) -> __m128i {
    _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
}

/// Writes the sums of 32 entries: `all` holds, for low and high halves, sums of whole 16-bit words and of their upper bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_sums(all: [__m256i; 4], sums: &mut [u16; BLOCK_ENTRIES]) {
    let [low_words, low_odd, high_words, high_odd] = all;
    for (half, (words, odd)) in [(low_words, low_odd), (high_words, high_odd)].into_iter().enumerate() {
        // The upper bytes' share wraps away: the words were summed modulo 2^16.
        let even = _mm256_sub_epi16(words, _mm256_slli_epi16::<8>(odd));
        let ordered = in_order(both_lanes(even), both_lanes(odd));
        for (part, eight) in ordered.into_iter().enumerate() {
            // SAFETY: `half` and `part` are below 2: eight u16 of the 32.
            unsafe { _mm_storeu_si128(sums.as_mut_ptr().add(16 * half + 8 * part).cast(), eight) };
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn fast_scan_avx2(tables: &[u8], numbers: &[u8], sums: &mut [u16; BLOCK_ENTRIES]) {
    let mask = _mm256_set1_epi8(15);
    let mut all = [_mm256_setzero_si256(); 4];
    for at in (0..tables.len()).step_by(32) {
        // SAFETY: both are equally long multiples of 32 bytes.
        let (table, numbers) = unsafe {
            (
                _mm256_loadu_si256(tables.as_ptr().add(at).cast()),
                _mm256_loadu_si256(numbers.as_ptr().add(at).cast()),
            )
        };
        let low = _mm256_shuffle_epi8(table, _mm256_and_si256(numbers, mask));
        let high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(numbers), mask));
        all[0] = _mm256_add_epi16(all[0], low);
        all[1] = _mm256_add_epi16(all[1], _mm256_srli_epi16::<8>(low));
        all[2] = _mm256_add_epi16(all[2], high);
        all[3] = _mm256_add_epi16(all[3], _mm256_srli_epi16::<8>(high));
    }
    store_sums(all, sums);
}

#[target_feature(enable = "avx2,fma,avx512f,avx512bw")]
unsafe fn fast_scan_avx512(tables: &[u8], numbers: &[u8], sums: &mut [u16; BLOCK_ENTRIES]) {
    let mask = _mm512_set1_epi8(15);
    let mut all = [_mm512_setzero_si512(); 4];
    for at in (0..tables.len()).step_by(64) {
        let present = if at + 64 <= tables.len() { u64::MAX } else { u64::MAX >> 32 };
        // SAFETY: both are equally long multiples of 32 bytes; past them nothing is read, by the mask.
        let (table, numbers) = unsafe {
            (
                _mm512_maskz_loadu_epi8(present, tables.as_ptr().add(at).cast()),
                _mm512_maskz_loadu_epi8(present, numbers.as_ptr().add(at).cast()),
            )
        };
        let low = _mm512_shuffle_epi8(table, _mm512_and_si512(numbers, mask));
        let high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16::<4>(numbers), mask));
        all[0] = _mm512_add_epi16(all[0], low);
        all[1] = _mm512_add_epi16(all[1], _mm512_srli_epi16::<8>(low));
        all[2] = _mm512_add_epi16(all[2], high);
        all[3] = _mm512_add_epi16(all[3], _mm512_srli_epi16::<8>(high));
    }
    let halves =
        all.map(|sums| _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums)));
    store_sums(halves, sums);
}

#[target_feature(enable = "avx2,fma")]
unsafe fn affine_avx2(
    sums: &[u16; BLOCK_ENTRIES],
    affine: Affine,
    terms: Option<&[u8; BLOCK_FLOATS]>,
    limit: f32,
    out: &mut [f32; BLOCK_ENTRIES],
) -> u32 {
    let (step, offset) = (_mm256_set1_ps(affine.step), _mm256_set1_ps(affine.offset));
    let limit = _mm256_set1_ps(limit);
    let mut mask = 0;
    for at in (0..BLOCK_ENTRIES).step_by(8) {
        // SAFETY: eight of the 32 values are left from `at` in every array.
        unsafe {
            let sum = _mm256_cvtepu16_epi32(_mm_loadu_si128(sums.as_ptr().add(at).cast()));
            let mut value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), step, offset);
            if let Some(terms) = terms {
                value = _mm256_add_ps(value, _mm256_loadu_ps(terms.as_ptr().add(4 * at).cast()));
            }
            _mm256_storeu_ps(out.as_mut_ptr().add(at), value);
            mask |= (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(value, limit)) as u32) << at;
        }
    }
    mask
}

#[target_feature(enable = "avx2,fma")]
unsafe fn factored_avx2(
    sums: &[u16; BLOCK_ENTRIES],
    by: Factored,
    factors: &[u8; 3 * BLOCK_FLOATS],
    limit: f32,
    out: &mut [f32; BLOCK_ENTRIES],
) -> u32 {
    let (step, offset) = (_mm256_set1_ps(by.product.step), _mm256_set1_ps(by.product.offset));
    let (base, error_scale) = (_mm256_set1_ps(by.base), _mm256_set1_ps(by.error_scale));
    let limit = _mm256_set1_ps(limit);
    let mut mask = 0;
    for at in (0..BLOCK_ENTRIES).step_by(8) {
        // SAFETY: eight of the 32 values are left from `at` in every array, and in each third of `factors`.
        unsafe {
            let factor =
                |which: usize| _mm256_loadu_ps(factors.as_ptr().add(which * BLOCK_FLOATS + 4 * at).cast());
            let sum = _mm256_cvtepu16_epi32(_mm_loadu_si128(sums.as_ptr().add(at).cast()));
            let product = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), step, offset);
            let value = _mm256_fmadd_ps(product, factor(1), _mm256_add_ps(base, factor(0)));
            let value = _mm256_fnmadd_ps(factor(2), error_scale, value);
            _mm256_storeu_ps(out.as_mut_ptr().add(at), value);
            mask |= (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(value, limit)) as u32) << at;
        }
    }
    mask
}

#[target_feature(enable = "avx2,fma,avx512f,avx512bw")]
unsafe fn byte_dot_avx512(weights: &[f32], levels: &[u8]) -> f32 {
    let whole = weights.len() / 32 * 32;
    let mut sums = [_mm512_setzero_ps(); 2];
    for at in (0..whole).step_by(32) {
        for (half, sum) in sums.iter_mut().enumerate() {
            let at = at + 16 * half;
            // SAFETY: 32 values of both are left from the first `at`.
            unsafe {
                let level = _mm512_cvtepu8_epi32(_mm_loadu_si128(levels.as_ptr().add(at).cast()));
                let weight = _mm512_loadu_ps(weights.as_ptr().add(at));
                *sum = _mm512_fmadd_ps(weight, _mm512_cvtepi32_ps(level), *sum);
            }
        }
    }
    let total = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
    // SAFETY: equal lengths; AVX2 is enabled here.
    total + unsafe { byte_dot_avx2(&weights[whole..], &levels[whole..]) }
}

#[target_feature(enable = "avx2,fma,avx512f,avx512bw")]
unsafe fn byte_l2_avx512(offsets: &[f32], weights: &[f32], levels: &[u8]) -> f32 {
    let whole = weights.len() / 32 * 32;
    let mut sums = [_mm512_setzero_ps(); 2];
    for at in (0..whole).step_by(32) {
        for (half, sum) in sums.iter_mut().enumerate() {
            let at = at + 16 * half;
            // SAFETY: 32 values of all three are left from the first `at`.
            unsafe {
                let level = _mm512_cvtepu8_epi32(_mm_loadu_si128(levels.as_ptr().add(at).cast()));
                let weight = _mm512_loadu_ps(weights.as_ptr().add(at));
                let offset = _mm512_loadu_ps(offsets.as_ptr().add(at));
                let difference = _mm512_fnmadd_ps(weight, _mm512_cvtepi32_ps(level), offset);
                *sum = _mm512_fmadd_ps(difference, difference, *sum);
            }
        }
    }
    let total = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
    // SAFETY: equal lengths; AVX2 is enabled here.
    total + unsafe { byte_l2_avx2(&offsets[whole..], &weights[whole..], &levels[whole..]) }
}

#[target_feature(enable = "avx2,fma,avx512f,avx512bw")]
unsafe fn plane_dot_avx512(planes: &[u8], query: &[f32]) -> f32 {
    let mut total = _mm512_setzero_ps();
    for (p, plane) in planes.chunks_exact((query.len() / 8).max(1)).enumerate() {
        let mut sums = [_mm512_setzero_ps(); 2];
        for (i, (mask, values)) in plane.as_chunks::<2>().0.iter().zip(query.as_chunks::<16>().0).enumerate()
        {
            // SAFETY: sixteen f32.
            let values = unsafe { _mm512_loadu_ps(values.as_ptr()) };
            sums[i % 2] = _mm512_mask_add_ps(sums[i % 2], u16::from_le_bytes(*mask), sums[i % 2], values);
        }
        let weight = _mm512_set1_ps((1_u32 << p) as f32);
        total = _mm512_fmadd_ps(_mm512_add_ps(sums[0], sums[1]), weight, total);
    }
    _mm512_reduce_add_ps(total)
}

#[target_feature(enable = "avx2,fma,avx512f,avx512bw")]
unsafe fn affine_avx512(
    sums: &[u16; BLOCK_ENTRIES],
    affine: Affine,
    terms: Option<&[u8; BLOCK_FLOATS]>,
    limit: f32,
    out: &mut [f32; BLOCK_ENTRIES],
) -> u32 {
    let (step, offset) = (_mm512_set1_ps(affine.step), _mm512_set1_ps(affine.offset));
    let limit = _mm512_set1_ps(limit);
    let mut mask = 0;
    for at in (0..BLOCK_ENTRIES).step_by(16) {
        // SAFETY: sixteen of the 32 values are left from `at` in every array.
        unsafe {
            let sum = _mm512_cvtepu16_epi32(_mm256_loadu_si256(sums.as_ptr().add(at).cast()));
            let mut value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), step, offset);
            if let Some(terms) = terms {
                value = _mm512_add_ps(value, _mm512_loadu_ps(terms.as_ptr().add(4 * at).cast()));
            }
            _mm512_storeu_ps(out.as_mut_ptr().add(at), value);
            mask |= u32::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(value, limit)) << at;
        }
    }
    mask
}

#[target_feature(enable = "avx2,fma,avx512f,avx512bw")]
unsafe fn factored_avx512(
    sums: &[u16; BLOCK_ENTRIES],
    by: Factored,
    factors: &[u8; 3 * BLOCK_FLOATS],
    limit: f32,
    out: &mut [f32; BLOCK_ENTRIES],
) -> u32 {
    let (step, offset) = (_mm512_set1_ps(by.product.step), _mm512_set1_ps(by.product.offset));
    let (base, error_scale) = (_mm512_set1_ps(by.base), _mm512_set1_ps(by.error_scale));
    let limit = _mm512_set1_ps(limit);
    let mut mask = 0;
    for at in (0..BLOCK_ENTRIES).step_by(16) {
        // SAFETY: sixteen of the 32 values are left from `at` in every array, and in each third of `factors`.
        unsafe {
            let factor =
                |which: usize| _mm512_loadu_ps(factors.as_ptr().add(which * BLOCK_FLOATS + 4 * at).cast());
            let sum = _mm512_cvtepu16_epi32(_mm256_loadu_si256(sums.as_ptr().add(at).cast()));
            let product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), step, offset);
            let value = _mm512_fmadd_ps(product, factor(1), _mm512_add_ps(base, factor(0)));
            let value = _mm512_fnmadd_ps(factor(2), error_scale, value);
            _mm512_storeu_ps(out.as_mut_ptr().add(at), value);
            mask |= u32::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(value, limit)) << at;
        }
    }
    mask
}
