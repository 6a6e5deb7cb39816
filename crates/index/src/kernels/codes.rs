//! Kernels over codes: bytes against weights, four-bit numbers through tables, bit planes against a query.
//!
//! Each has a portable twin, which the property tests compare it with: sums of integers are equal, sums of f32 agree within
//! [`super::tolerance`]. Shapes: a *block* is 32 entries; its numbers are 16 bytes per part, entry `i` in the low half of byte
//! `i`, entry `16 + i` in the high half (see `codes/fast_scan.rs`).

use super::Isa;
use std::sync::OnceLock;

/// Entries of a block.
pub const BLOCK_ENTRIES: usize = 32;
/// Bytes of 32 f32 in a block.
pub const BLOCK_FLOATS: usize = 4 * BLOCK_ENTRIES;

/// `offset + step * sum`: what a sum of table bytes stands for.
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    /// Value of a sum of 0.
    pub offset: f32,
    /// Value of one more.
    pub step: f32,
}

/// How sums become distances where every entry has factors of its own.
#[derive(Clone, Copy, Debug)]
pub struct Factored {
    /// What a sum of table bytes stands for.
    pub product: Affine,
    /// Added to every distance.
    pub base: f32,
    /// Multiplies the entries' error factors, which are then taken off.
    pub error_scale: f32,
}

type ByteDot = unsafe fn(&[f32], &[u8]) -> f32;
type ByteL2 = unsafe fn(&[f32], &[f32], &[u8]) -> f32;
type Widen = unsafe fn(&[[u8; 2]], &mut [f32]);
type Planes = unsafe fn(&[u8], &[f32]) -> f32;
type Scan = unsafe fn(&[u8], &[u8], &mut [u16; BLOCK_ENTRIES]);
type Sums = unsafe fn(
    &[u16; BLOCK_ENTRIES],
    Affine,
    Option<&[u8; BLOCK_FLOATS]>,
    f32,
    &mut [f32; BLOCK_ENTRIES],
) -> u32;
type Bounds = unsafe fn(
    &[u16; BLOCK_ENTRIES],
    Factored,
    &[u8; 3 * BLOCK_FLOATS],
    f32,
    &mut [f32; BLOCK_ENTRIES],
) -> u32;

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
pub struct CodeKernels {
    pub(super) isa: Isa,
    pub(super) byte_dot: ByteDot,
    pub(super) byte_l2: ByteL2,
    pub(super) widen_halves: Widen,
    pub(super) plane_dot: Planes,
    pub(super) fast_scan: Scan,
    pub(super) affine: Sums,
    pub(super) factored: Bounds,
}

impl CodeKernels {
    /// The kernels of `isa`, when this machine can run them. [`Isa::Avx2`] needs F16C besides, [`Isa::Avx512`] BW too.
    pub fn for_isa(isa: Isa) -> Option<&'static CodeKernels> {
        match isa {
            Isa::Scalar => Some(&SCALAR),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if has_avx2() => Some(&super::codes_x86::AVX2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512
                if has_avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw") =>
            {
                Some(&super::codes_x86::AVX512)
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon if std::arch::is_aarch64_feature_detected!("neon") => Some(&neon::NEON),
            _ => None,
        }
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Sum of `weights[i] * levels[i]`.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline]
    pub fn byte_dot(&self, weights: &[f32], levels: &[u8]) -> f32 {
        assert_eq!(weights.len(), levels.len(), "codes of another length");
        // SAFETY: equal lengths; `for_isa` gave these kernels out only where the machine has the instructions.
        unsafe { (self.byte_dot)(weights, levels) }
    }

    /// Sum of `(offsets[i] - weights[i] * levels[i])^2`.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline]
    pub fn byte_l2(&self, offsets: &[f32], weights: &[f32], levels: &[u8]) -> f32 {
        assert!(offsets.len() == levels.len() && weights.len() == levels.len(), "codes of another length");
        // SAFETY: as in `byte_dot`.
        unsafe { (self.byte_l2)(offsets, weights, levels) }
    }

    /// IEEE half precision, little-endian, to f32.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline]
    pub fn widen_halves(&self, halves: &[[u8; 2]], values: &mut [f32]) {
        assert_eq!(halves.len(), values.len(), "values of another length");
        // SAFETY: as in `byte_dot`.
        unsafe { (self.widen_halves)(halves, values) }
    }

    /// Sum over planes `p` of `2^p * sum(query[i] where bit i of plane p)`; `planes` is `[planes][query.len() / 8]`, bit `i % 8`
    /// of byte `i / 8`.
    ///
    /// # Panics
    /// When the query is no multiple of 16 long or the planes have another length.
    #[inline]
    pub fn plane_dot(&self, planes: &[u8], query: &[f32]) -> f32 {
        assert!(query.len().is_multiple_of(16), "a query of {} values", query.len());
        assert!((planes.len() * 8).is_multiple_of(query.len().max(1)), "planes of another length");
        // SAFETY: shapes just checked; instructions as in `byte_dot`.
        unsafe { (self.plane_dot)(planes, query) }
    }

    /// Per entry of a block the sum over parts of `table[part][number]`; `tables` is `[parts][16]`, `parts` even. Sums that
    /// could pass 2^16 wrap.
    ///
    /// # Panics
    /// When the shapes do not agree.
    #[inline]
    pub fn fast_scan(&self, tables: &[u8], numbers: &[u8], sums: &mut [u16; BLOCK_ENTRIES]) {
        assert!(tables.len() == numbers.len() && tables.len().is_multiple_of(32), "a block of another shape");
        // SAFETY: shapes just checked; instructions as in `byte_dot`.
        unsafe { (self.fast_scan)(tables, numbers, sums) }
    }

    /// Sums to distances, `terms` (little-endian f32) added; returns a bit per entry at or below `limit`.
    #[inline]
    pub fn affine(
        &self,
        sums: &[u16; BLOCK_ENTRIES],
        affine: Affine,
        terms: Option<&[u8; BLOCK_FLOATS]>,
        limit: f32,
        out: &mut [f32; BLOCK_ENTRIES],
    ) -> u32 {
        // SAFETY: every shape is in the types; instructions as in `byte_dot`.
        unsafe { (self.affine)(sums, affine, terms, limit, out) }
    }

    /// `base + add + scale * product - error_scale * error` of each entry; `factors` are three times 32 little-endian f32: add,
    /// scale, error. Returns a bit per entry at or below `limit`.
    #[inline]
    pub fn factored(
        &self,
        sums: &[u16; BLOCK_ENTRIES],
        by: Factored,
        factors: &[u8; 3 * BLOCK_FLOATS],
        limit: f32,
        out: &mut [f32; BLOCK_ENTRIES],
    ) -> u32 {
        // SAFETY: every shape is in the types; instructions as in `byte_dot`.
        unsafe { (self.factored)(sums, by, factors, limit, out) }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// The fastest kernels of this machine, chosen at the first call.
#[inline]
pub fn code_kernels() -> &'static CodeKernels {
    static CHOSEN: OnceLock<&'static CodeKernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let best = [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().find_map(CodeKernels::for_isa);
        best.unwrap_or(&SCALAR)
    })
}

static SCALAR: CodeKernels = CodeKernels {
    isa: Isa::Scalar,
    byte_dot: scalar::byte_dot,
    byte_l2: scalar::byte_l2,
    widen_halves: scalar::widen_halves,
    plane_dot: scalar::plane_dot,
    fast_scan: scalar::fast_scan,
    affine: scalar::affine,
    factored: scalar::factored,
};

/// The plain definitions.
pub(super) mod scalar {
    use super::{Affine, BLOCK_ENTRIES, BLOCK_FLOATS, Factored};

    pub(in crate::kernels) fn byte_dot(weights: &[f32], levels: &[u8]) -> f32 {
        weights.iter().zip(levels).map(|(weight, &level)| weight * f32::from(level)).sum()
    }

    pub(in crate::kernels) fn byte_l2(offsets: &[f32], weights: &[f32], levels: &[u8]) -> f32 {
        let terms = offsets.iter().zip(weights).zip(levels).map(|((offset, weight), &level)| {
            let difference = offset - weight * f32::from(level);
            difference * difference
        });
        terms.sum()
    }

    pub(in crate::kernels) fn widen_halves(halves: &[[u8; 2]], values: &mut [f32]) {
        for (value, half) in values.iter_mut().zip(halves) {
            *value = half::f16::from_le_bytes(*half).to_f32();
        }
    }

    pub(in crate::kernels) fn plane_dot(planes: &[u8], query: &[f32]) -> f32 {
        let mut total = 0.0;
        for (p, plane) in planes.chunks_exact((query.len() / 8).max(1)).enumerate() {
            let mut sum = 0.0;
            for (i, value) in query.iter().enumerate() {
                sum += if plane[i / 8] >> (i % 8) & 1 == 1 { *value } else { 0.0 };
            }
            total += sum * (1_u32 << p) as f32;
        }
        total
    }

    pub(in crate::kernels) fn fast_scan(tables: &[u8], numbers: &[u8], sums: &mut [u16; BLOCK_ENTRIES]) {
        *sums = [0; BLOCK_ENTRIES];
        for (table, numbers) in tables.chunks_exact(16).zip(numbers.chunks_exact(16)) {
            for (i, &byte) in numbers.iter().enumerate() {
                sums[i] = sums[i].wrapping_add(u16::from(table[usize::from(byte & 15)]));
                sums[16 + i] = sums[16 + i].wrapping_add(u16::from(table[usize::from(byte >> 4)]));
            }
        }
    }

    fn f32_of(values: &[u8], i: usize) -> f32 {
        f32::from_le_bytes([values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3]])
    }

    pub(in crate::kernels) fn affine(
        sums: &[u16; BLOCK_ENTRIES],
        affine: Affine,
        terms: Option<&[u8; BLOCK_FLOATS]>,
        limit: f32,
        out: &mut [f32; BLOCK_ENTRIES],
    ) -> u32 {
        let mut mask = 0;
        for (i, (out, &sum)) in out.iter_mut().zip(sums).enumerate() {
            let term = terms.map_or(0.0, |terms| f32_of(terms, i));
            *out = affine.offset + affine.step * f32::from(sum) + term;
            mask |= u32::from(*out <= limit) << i;
        }
        mask
    }

    pub(in crate::kernels) fn factored(
        sums: &[u16; BLOCK_ENTRIES],
        by: Factored,
        factors: &[u8; 3 * BLOCK_FLOATS],
        limit: f32,
        out: &mut [f32; BLOCK_ENTRIES],
    ) -> u32 {
        let mut mask = 0;
        for (i, (out, &sum)) in out.iter_mut().zip(sums).enumerate() {
            let product = by.product.offset + by.product.step * f32::from(sum);
            let add = f32_of(factors, i);
            let scale = f32_of(factors, BLOCK_ENTRIES + i);
            let error = f32_of(factors, 2 * BLOCK_ENTRIES + i);
            *out = by.base + add + scale * product - by.error_scale * error;
            mask |= u32::from(*out <= limit) << i;
        }
        mask
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::*;
    use std::arch::aarch64::*;

    /// Tables in registers are what matters here; the rest the compiler vectorises well enough.
    pub(super) static NEON: CodeKernels = CodeKernels {
        isa: Isa::Neon,
        byte_dot: scalar::byte_dot,
        byte_l2: scalar::byte_l2,
        widen_halves: scalar::widen_halves,
        plane_dot: scalar::plane_dot,
        fast_scan,
        affine: scalar::affine,
        factored: scalar::factored,
    };

    #[target_feature(enable = "neon")]
    unsafe fn fast_scan(tables: &[u8], numbers: &[u8], sums: &mut [u16; BLOCK_ENTRIES]) {
        let mut totals = [vdupq_n_u16(0); 4];
        for (table, numbers) in tables.chunks_exact(16).zip(numbers.chunks_exact(16)) {
            // SAFETY: both chunks are 16 bytes.
            let (table, numbers) = unsafe { (vld1q_u8(table.as_ptr()), vld1q_u8(numbers.as_ptr())) };
            let low = vqtbl1q_u8(table, vandq_u8(numbers, vdupq_n_u8(15)));
            let high = vqtbl1q_u8(table, vshrq_n_u8::<4>(numbers));
            totals[0] = vaddw_u8(totals[0], vget_low_u8(low));
            totals[1] = vaddw_high_u8(totals[1], low);
            totals[2] = vaddw_u8(totals[2], vget_low_u8(high));
            totals[3] = vaddw_high_u8(totals[3], high);
        }
        for (sums, total) in sums.as_chunks_mut::<8>().0.iter_mut().zip(totals) {
            // SAFETY: eight u16.
            unsafe { vst1q_u16(sums.as_mut_ptr(), total) };
        }
    }
}
