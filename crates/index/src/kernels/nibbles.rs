//! Integer kernels: inner products of 4-bit and 8-bit codes with an i8 query, exact in i32.
//!
//! Two layouts. **Blocks** hold 16 rows, `[lines][16][4]` bytes: byte `j` of row `r` in line `l` holds value `8 l + j` in its
//! low four bits and value `8 l + 4 + j` in its high ones, so one 64-byte line is eight values of sixteen rows and sixteen
//! sums come out of vector lanes without a horizontal sum. **Packed rows** hold `m` bytes: byte `j` has value `j` below and
//! value `m + j` above, so both halves of a query are read in order. Codes are unsigned, 0 to 15.
//!
//! Integers make every instruction set agree to the bit; the float test behind a block's sums uses separate multiplications
//! and subtractions for the same reason. No sum can leave its register: a query value is at least -127 (see
//! [`NibbleScan::queries`]), so 16 products of 15 fit an i16 and 2^20 values of a vector an i32.

// One index runs over several arrays of registers at once; zipped iterators would hide which.
#![allow(clippy::needless_range_loop)]

/// Rows in a block.
pub const BLOCK_ROWS: usize = 16;
/// Values of each row in a line of a block.
pub const LINE_VALUES: usize = 8;
/// Bytes of a line of a block.
pub const LINE_BYTES: usize = 64;
/// Float terms of a block: `[3][BLOCK_ROWS]`.
pub const BLOCK_TERMS: usize = 3 * BLOCK_ROWS;
/// Most queries that one call of [`super::Kernels::nibble_scan`] takes.
pub const MAX_SCAN_QUERIES: usize = 12;

/// Input of [`super::Kernels::nibble_scan`]: a few queries against consecutive blocks of 4-bit codes.
///
/// Row `r` of a block with the terms `bias`, `scale`, `error` has the value
/// `bias[r] - slope * (scale[r] * dot) - error_weight * error[r]`, where `dot` is `start` plus the inner product of codes
/// and query.
#[derive(Clone, Copy, Debug)]
pub struct NibbleScan<'a> {
    /// `[blocks][lines][LINE_BYTES]`.
    pub codes: &'a [u8],
    /// `[blocks][3][BLOCK_ROWS]`: bias, scale, error.
    pub terms: &'a [f32],
    /// Per block, a size that its limit depends on.
    pub reach: &'a [f32],
    /// Lines per block: values per vector over [`LINE_VALUES`], rounded up.
    pub lines: usize,
    /// `[queries][lines * LINE_VALUES]`, each in -127..=127, zeros behind the last value.
    pub queries: &'a [i8],
    /// Per query.
    pub bounds: &'a [NibbleBound],
}

/// What one query asks of the rows in a [`NibbleScan`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NibbleBound {
    /// Added to every inner product.
    pub start: i32,
    /// Weight of `scale * dot`.
    pub slope: f32,
    /// Weight of `error`.
    pub error_weight: f32,
    /// A row is marked unless its value is above `limit[0] + reach * (limit[1] + reach * limit[2])`; NaN marks.
    pub limit: [f32; 3],
}

/// How far ahead of the scan memory is asked for: beyond the page that the hardware's own prefetching ends at.
const PREFETCH_BYTES: usize = 4096;

/// The limit of a block.
#[inline(always)]
pub(super) fn block_limit(bound: &NibbleBound, reach: f32) -> f32 {
    bound.limit[0] + reach * (bound.limit[1] + reach * bound.limit[2])
}

/// Registers that hold sixteen rows of one instruction set.
pub(super) trait Block {
    /// Codes of a line, unpacked.
    type Line: Copy;
    /// Sums over a run of lines, perhaps narrower than i32.
    type Partial: Copy;
    /// Sixteen i32.
    type Total: Copy;
    /// Lines whose products fit in a partial sum; `usize::MAX` when any number does.
    const LINES_PER_RUN: usize;
    /// Asks for a line of memory, which need not exist.
    unsafe fn prefetch(line: *const u8);
    unsafe fn partial() -> Self::Partial;
    unsafe fn total(start: i32) -> Self::Total;
    /// Reads [`LINE_BYTES`] bytes.
    unsafe fn unpack(line: *const u8) -> Self::Line;
    /// Adds the products with the [`LINE_VALUES`] query values at `query`.
    unsafe fn multiply(line: Self::Line, query: *const i8, sums: Self::Partial) -> Self::Partial;
    unsafe fn widen(sums: Self::Partial, total: Self::Total) -> Self::Total;
    /// Writes the sums to `dots` and returns a bit per row whose value is not above `limit`.
    unsafe fn finish(
        total: Self::Total,
        terms: *const f32,
        bound: &NibbleBound,
        limit: f32,
        dots: *mut i32,
    ) -> u32;
}

/// `Q` queries against every block.
///
/// # Safety
/// The shapes of `scan` agree and it holds `Q` queries; `masks` and `dots` have a place per query and block; the
/// instruction set of `B` is enabled.
#[inline(always)]
pub(super) unsafe fn scan<B: Block, const Q: usize>(
    scan: &NibbleScan<'_>,
    masks: &mut [u16],
    dots: &mut [[i32; BLOCK_ROWS]],
) {
    let (lines, blocks) = (scan.lines, scan.reach.len());
    let stride = lines * LINE_VALUES;
    let queries = scan.queries.as_ptr();
    for block in 0..blocks {
        // SAFETY: `block < blocks` and `line < lines`, so every read is inside its array by the shapes above.
        unsafe {
            let codes = scan.codes.as_ptr().add(block * lines * LINE_BYTES);
            let run = |from: usize, to: usize| {
                let mut sums = [B::partial(); Q];
                for line in from..to {
                    let unpacked = B::unpack(codes.add(line * LINE_BYTES));
                    B::prefetch(codes.wrapping_add(line * LINE_BYTES + PREFETCH_BYTES));
                    for q in 0..Q {
                        let query = queries.add(q * stride + line * LINE_VALUES);
                        sums[q] = B::multiply(unpacked, query, sums[q]);
                    }
                }
                sums
            };
            let mut totals = [B::total(0); Q];
            if B::LINES_PER_RUN == usize::MAX {
                let sums = run(0, lines);
                for q in 0..Q {
                    totals[q] = B::widen(sums[q], B::total(scan.bounds.get_unchecked(q).start));
                }
            } else {
                for q in 0..Q {
                    totals[q] = B::total(scan.bounds.get_unchecked(q).start);
                }
                let mut line = 0;
                while line < lines {
                    let end = lines.min(line + B::LINES_PER_RUN);
                    let sums = run(line, end);
                    for q in 0..Q {
                        totals[q] = B::widen(sums[q], totals[q]);
                    }
                    line = end;
                }
            }
            let terms = scan.terms.as_ptr().add(block * BLOCK_TERMS);
            let reach = *scan.reach.get_unchecked(block);
            for q in 0..Q {
                let bound = scan.bounds.get_unchecked(q);
                let limit = block_limit(bound, reach);
                let at = q * blocks + block;
                let dots = dots.get_unchecked_mut(at).as_mut_ptr();
                *masks.get_unchecked_mut(at) = B::finish(totals[q], terms, bound, limit, dots) as u16;
            }
        }
    }
}

/// Registers that run along one row of codes.
pub(super) trait Codes: Copy {
    /// Bytes in a register.
    const WIDTH: usize;
    /// i32 sums.
    type Sums: Copy;
    unsafe fn zero() -> Self::Sums;
    unsafe fn load(from: *const u8) -> Self;
    /// Reads `count < WIDTH` bytes, the others zero; touches no memory past them.
    unsafe fn load_part(from: *const u8, count: usize) -> Self;
    /// Low and high four bits of each byte times `low` and `high`, i8 of at least -127.
    unsafe fn multiply_nibbles(self, low: Self, high: Self, sums: Self::Sums) -> Self::Sums;
    /// Each byte, unsigned, times `query`, i8.
    unsafe fn multiply_bytes(self, query: Self, sums: Self::Sums) -> Self::Sums;
    unsafe fn sum(sums: Self::Sums) -> i32;
}

/// A packed row of 4-bit codes with a query of twice its length.
///
/// # Safety
/// `query.len() == 2 * codes.len()`; the instruction set of `C` enabled.
#[inline(always)]
pub(super) unsafe fn dot_u4<C: Codes>(codes: &[u8], query: &[i8]) -> i32 {
    let len = codes.len();
    let (codes, low) = (codes.as_ptr(), query.as_ptr().cast::<u8>());
    // SAFETY: every read is of at most `len - at` bytes at `at` of the codes and of each half of the query.
    unsafe {
        let high = low.add(len);
        let mut sums = C::zero();
        let mut at = 0;
        while at + C::WIDTH <= len {
            sums = C::load(codes.add(at)).multiply_nibbles(C::load(low.add(at)), C::load(high.add(at)), sums);
            at += C::WIDTH;
        }
        if at < len {
            let rest = len - at;
            let (low, high) = (C::load_part(low.add(at), rest), C::load_part(high.add(at), rest));
            sums = C::load_part(codes.add(at), rest).multiply_nibbles(low, high, sums);
        }
        C::sum(sums)
    }
}

/// A row of 8-bit codes with a query.
///
/// # Safety
/// Equal lengths; the instruction set of `C` enabled.
#[inline(always)]
pub(super) unsafe fn dot_u8<C: Codes>(codes: &[u8], query: &[i8]) -> i32 {
    let len = codes.len();
    let (codes, query) = (codes.as_ptr(), query.as_ptr().cast::<u8>());
    // SAFETY: every read is of at most `len - at` bytes at `at` of both slices.
    unsafe {
        let mut sums = C::zero();
        let mut at = 0;
        while at + C::WIDTH <= len {
            sums = C::load(codes.add(at)).multiply_bytes(C::load(query.add(at)), sums);
            at += C::WIDTH;
        }
        if at < len {
            let rest = len - at;
            sums = C::load_part(codes.add(at), rest).multiply_bytes(C::load_part(query.add(at), rest), sums);
        }
        C::sum(sums)
    }
}

/// The portable twins.
pub(super) mod scalar {
    use super::{BLOCK_ROWS, BLOCK_TERMS, LINE_BYTES, LINE_VALUES, NibbleScan, block_limit};

    pub(in crate::kernels) fn scan(scan: &NibbleScan<'_>, masks: &mut [u16], dots: &mut [[i32; BLOCK_ROWS]]) {
        let blocks = scan.reach.len();
        let stride = scan.lines * LINE_VALUES;
        for (q, bound) in scan.bounds.iter().enumerate() {
            let query = &scan.queries[q * stride..(q + 1) * stride];
            for block in 0..blocks {
                let codes =
                    &scan.codes[block * scan.lines * LINE_BYTES..(block + 1) * scan.lines * LINE_BYTES];
                let sums = &mut dots[q * blocks + block];
                *sums = [bound.start; BLOCK_ROWS];
                for (line, values) in codes.chunks_exact(LINE_BYTES).zip(query.chunks_exact(LINE_VALUES)) {
                    for (sum, bytes) in sums.iter_mut().zip(line.chunks_exact(4)) {
                        for (j, &byte) in bytes.iter().enumerate() {
                            *sum += i32::from(byte & 15) * i32::from(values[j]);
                            *sum += i32::from(byte >> 4) * i32::from(values[4 + j]);
                        }
                    }
                }
                let terms = &scan.terms[block * BLOCK_TERMS..(block + 1) * BLOCK_TERMS];
                let limit = block_limit(bound, scan.reach[block]);
                masks[q * blocks + block] = (0..BLOCK_ROWS).fold(0, |mask, row| {
                    let product = terms[BLOCK_ROWS + row] * sums[row] as f32;
                    let value = terms[row] - bound.slope * product;
                    let value = value - bound.error_weight * terms[2 * BLOCK_ROWS + row];
                    // NaN is not above.
                    let is_above = value > limit;
                    mask | u16::from(!is_above) << row
                });
            }
        }
    }

    pub(in crate::kernels) fn dot_u4(codes: &[u8], query: &[i8]) -> i32 {
        let (low, high) = query.split_at(codes.len());
        let products = |(&code, (&low, &high)): (&u8, (&i8, &i8))| {
            i32::from(code & 15) * i32::from(low) + i32::from(code >> 4) * i32::from(high)
        };
        codes.iter().zip(low.iter().zip(high)).map(products).sum()
    }

    pub(in crate::kernels) fn dot_u8(codes: &[u8], query: &[i8]) -> i32 {
        codes.iter().zip(query).map(|(&code, &value)| i32::from(code) * i32::from(value)).sum()
    }
}
