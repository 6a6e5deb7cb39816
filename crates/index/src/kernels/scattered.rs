//! Inner products of four-bit codes with an eight-bit query, for rows picked one by one (what a graph walk does).
//!
//! A code is `bytes` long: byte `j` holds value `j` in its low half and value `bytes + j` in its high half, each `0..16`. The
//! query is two arrays of i8, for the low and for the high halves, padded with zeros to whole [`QUERY_BLOCK`]s. Codes are a
//! multiple of [`CODE_BLOCK`] bytes and at most [`MAX_CODE_BYTES`] long, so a sum fits an i32; it is exact, and then rounded to
//! f32. Hence every instruction set gives the same numbers, and the tests ask for equality.

use super::Isa;
use std::sync::OnceLock;

/// Code lengths are multiples of this many bytes.
pub const CODE_BLOCK: usize = 32;
/// Each half of a query is padded with zeros to a multiple of this many values.
pub const QUERY_BLOCK: usize = 64;
/// Longest code, so that no sum overflows an i32.
pub const MAX_CODE_BYTES: usize = 512 << 10;

/// Codes of equal length, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct ScatteredCodes<'a> {
    bytes: &'a [u8],
    code_bytes: usize,
    len: usize,
}

impl<'a> ScatteredCodes<'a> {
    /// `bytes` is `[rows, code_bytes]`.
    ///
    /// # Panics
    /// When `code_bytes` is 0, above [`MAX_CODE_BYTES`] or no multiple of [`CODE_BLOCK`].
    pub fn new(bytes: &'a [u8], code_bytes: usize) -> Self {
        assert!((1..=MAX_CODE_BYTES).contains(&code_bytes) && code_bytes.is_multiple_of(CODE_BLOCK));
        ScatteredCodes { bytes, code_bytes, len: bytes.len() / code_bytes }
    }

    /// The code of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[inline]
    pub fn code(&self, row: u32) -> &'a [u8] {
        let at = row as usize * self.code_bytes;
        &self.bytes[at..at + self.code_bytes]
    }
}

/// A query, value by value where the codes have theirs.
#[derive(Clone, Debug, Default)]
pub struct ScatteredQuery {
    low: Vec<i8>,
    high: Vec<i8>,
}

impl ScatteredQuery {
    /// Splits `values`, at most `2 * code_bytes` of them, as a code of `code_bytes` is split.
    pub fn new(values: impl IntoIterator<Item = i8>, code_bytes: usize) -> Self {
        let mut values = values.into_iter();
        let padded = code_bytes.next_multiple_of(QUERY_BLOCK);
        let mut half = || {
            let mut half: Vec<i8> = Vec::with_capacity(padded);
            half.extend(values.by_ref().take(code_bytes));
            half.resize(padded, 0);
            half
        };
        ScatteredQuery { low: half(), high: half() }
    }
}

type DotsKernel = unsafe fn(&ScatteredCodes<'_>, &ScatteredQuery, &[u32], &mut [f32]);

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
pub struct ScatteredKernels {
    isa: Isa,
    dots: DotsKernel,
}

impl ScatteredKernels {
    /// The kernels of `isa`, when this machine can run them. [`Isa::Avx512`] needs VNNI and BW besides.
    pub fn for_isa(isa: Isa) -> Option<&'static ScatteredKernels> {
        match isa {
            Isa::Scalar => Some(&SCALAR),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if is_x86_feature_detected!("avx2") => Some(&x86::AVX2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni") =>
            {
                Some(&x86::AVX512)
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon if std::arch::is_aarch64_feature_detected!("neon") => Some(&arm::NEON),
            _ => None,
        }
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// `out[i]`: the sum of code times query over the values of row `rows[i]`.
    ///
    /// # Panics
    /// When a row does not exist, `out` is not as long as `rows`, or the query was made for shorter codes.
    #[inline]
    pub fn dots(&self, codes: &ScatteredCodes<'_>, query: &ScatteredQuery, rows: &[u32], out: &mut [f32]) {
        assert_eq!(rows.len(), out.len(), "one result per row");
        assert!(query.low.len() >= codes.code_bytes && query.high.len() == query.low.len());
        let last = rows.iter().copied().max().map_or(0, |row| row as usize + 1);
        assert!(last <= codes.len, "row {last} of {}", codes.len);
        // SAFETY: rows exist, the query covers the code in whole blocks, and `for_isa` gave these kernels out only where the
        // machine has the instructions.
        unsafe { (self.dots)(codes, query, rows, out) }
    }
}

/// The fastest kernels of this machine, chosen at the first call.
pub fn scattered_kernels() -> &'static ScatteredKernels {
    static CHOSEN: OnceLock<&'static ScatteredKernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let best = [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().find_map(ScatteredKernels::for_isa);
        best.unwrap_or(&SCALAR)
    })
}

static SCALAR: ScatteredKernels = ScatteredKernels { isa: Isa::Scalar, dots: scalar_dots };

fn scalar_dots(codes: &ScatteredCodes<'_>, query: &ScatteredQuery, rows: &[u32], out: &mut [f32]) {
    for (&row, out) in rows.iter().zip(out) {
        let code = codes.code(row);
        let products = code.iter().zip(query.low.iter().zip(&query.high)).map(|(&byte, (&low, &high))| {
            i32::from(byte & 15) * i32::from(low) + i32::from(byte >> 4) * i32::from(high)
        });
        *out = products.sum::<i32>() as f32;
    }
}

/// Runs `four` over four rows at a time; a short last group repeats its first row.
///
/// # Safety
/// Every row exists in `codes`; `four` may be called here.
#[inline(always)]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn by_fours(
    codes: &ScatteredCodes<'_>,
    rows: &[u32],
    out: &mut [f32],
    four: impl Fn([*const u8; 4]) -> [f32; 4],
) {
    // SAFETY: by the contract the row exists, so its record is inside `bytes`.
    let at = |row: u32| unsafe { codes.bytes.as_ptr().add(row as usize * codes.code_bytes) };
    let (groups, rest) = rows.as_chunks::<4>();
    let (full, last) = out.split_at_mut(groups.len() * 4);
    for (rows, out) in groups.iter().zip(full.as_chunks_mut::<4>().0) {
        *out = four(rows.map(at));
    }
    if let Some(&first) = rest.first() {
        let mut padded = [first; 4];
        padded[..rest.len()].copy_from_slice(rest);
        last.copy_from_slice(&four(padded.map(at))[..rest.len()]);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use std::arch::x86_64::*;

    pub(super) static AVX2: ScatteredKernels = ScatteredKernels { isa: Isa::Avx2, dots: dots_avx2 };
    pub(super) static AVX512: ScatteredKernels = ScatteredKernels { isa: Isa::Avx512, dots: dots_avx512 };

    /// Sums of the eight lanes of each of four registers, as f32.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums(lanes: [__m256i; 4]) -> [f32; 4] {
        let pairs =
            _mm256_hadd_epi32(_mm256_hadd_epi32(lanes[0], lanes[1]), _mm256_hadd_epi32(lanes[2], lanes[3]));
        let four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
        bytemuck::cast(_mm_cvtepi32_ps(four))
    }

    #[target_feature(enable = "avx2")]
    unsafe fn dots_avx2(codes: &ScatteredCodes<'_>, query: &ScatteredQuery, rows: &[u32], out: &mut [f32]) {
        let bytes = codes.code_bytes;
        let (low, high) = (query.low.as_ptr(), query.high.as_ptr());
        let four = |rows: [*const u8; 4]| {
            let (ones, mask) = (_mm256_set1_epi16(1), _mm256_set1_epi8(15));
            let mut lanes = [_mm256_setzero_si256(); 4];
            for at in (0..bytes).step_by(32) {
                // SAFETY: query and code are readable for 32 bytes at every multiple of 32 below the code's length.
                unsafe {
                    let low = _mm256_loadu_si256(low.add(at).cast());
                    let high = _mm256_loadu_si256(high.add(at).cast());
                    for (lanes, code) in lanes.iter_mut().zip(rows) {
                        let code = _mm256_loadu_si256(code.add(at).cast());
                        let first = _mm256_maddubs_epi16(_mm256_and_si256(code, mask), low);
                        let second = _mm256_and_si256(_mm256_srli_epi16::<4>(code), mask);
                        let second = _mm256_maddubs_epi16(second, high);
                        // At most 4 * 15 * 128: no saturation.
                        let both = _mm256_madd_epi16(_mm256_add_epi16(first, second), ones);
                        *lanes = _mm256_add_epi32(*lanes, both);
                    }
                }
            }
            sums(lanes)
        };
        // SAFETY: rows exist by this function's contract; AVX2 is enabled here.
        unsafe { by_fours(codes, rows, out, four) }
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    unsafe fn dots_avx512(codes: &ScatteredCodes<'_>, query: &ScatteredQuery, rows: &[u32], out: &mut [f32]) {
        let bytes = codes.code_bytes;
        let (low, high) = (query.low.as_ptr(), query.high.as_ptr());
        let four = |rows: [*const u8; 4]| {
            let mask = _mm512_set1_epi8(15);
            let mut lanes = [_mm512_setzero_si512(); 4];
            for at in (0..bytes).step_by(64) {
                let present = u64::MAX >> (64 - (bytes - at).min(64));
                // SAFETY: the query is readable in whole blocks of 64 from `at`; of a code only bytes below its length are
                // read, by the mask.
                unsafe {
                    let low = _mm512_loadu_si512(low.add(at).cast());
                    let high = _mm512_loadu_si512(high.add(at).cast());
                    for (lanes, code) in lanes.iter_mut().zip(rows) {
                        let code = _mm512_maskz_loadu_epi8(present, code.add(at).cast());
                        let second = _mm512_and_si512(_mm512_srli_epi16::<4>(code), mask);
                        *lanes = _mm512_dpbusd_epi32(*lanes, _mm512_and_si512(code, mask), low);
                        *lanes = _mm512_dpbusd_epi32(*lanes, second, high);
                    }
                }
            }
            sums(lanes.map(|lanes| {
                _mm256_add_epi32(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes))
            }))
        };
        // SAFETY: rows exist by this function's contract; the instructions are enabled here.
        unsafe { by_fours(codes, rows, out, four) }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::*;
    use std::arch::aarch64::*;

    pub(super) static NEON: ScatteredKernels = ScatteredKernels { isa: Isa::Neon, dots: dots_neon };

    #[target_feature(enable = "neon")]
    unsafe fn dots_neon(codes: &ScatteredCodes<'_>, query: &ScatteredQuery, rows: &[u32], out: &mut [f32]) {
        let bytes = codes.code_bytes;
        let (low, high) = (query.low.as_ptr(), query.high.as_ptr());
        let four = |rows: [*const u8; 4]| {
            let mut lanes = [vdupq_n_s32(0); 4];
            for at in (0..bytes).step_by(16) {
                // SAFETY: codes and query halves are readable for 16 bytes at every multiple of 16 below the code's length.
                unsafe {
                    let (low, high) = (vld1q_s8(low.add(at)), vld1q_s8(high.add(at)));
                    for (lanes, code) in lanes.iter_mut().zip(rows) {
                        let code = vld1q_u8(code.add(at));
                        let first = vreinterpretq_s8_u8(vandq_u8(code, vdupq_n_u8(15)));
                        let second = vreinterpretq_s8_u8(vshrq_n_u8::<4>(code));
                        // Four products of at most 15 * 128 per lane: no overflow.
                        let sum = vmull_s8(vget_low_s8(first), vget_low_s8(low));
                        let sum = vmlal_s8(sum, vget_high_s8(first), vget_high_s8(low));
                        let sum = vmlal_s8(sum, vget_low_s8(second), vget_low_s8(high));
                        let sum = vmlal_s8(sum, vget_high_s8(second), vget_high_s8(high));
                        *lanes = vpadalq_s16(*lanes, sum);
                    }
                }
            }
            lanes.map(|lanes| vaddvq_s32(lanes) as f32)
        };
        // SAFETY: rows exist by this function's contract; NEON is enabled here.
        unsafe { by_fours(codes, rows, out, four) }
    }
}
