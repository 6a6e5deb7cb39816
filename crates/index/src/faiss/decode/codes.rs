//! Codes back to vectors: scalar, product, and product codes in fast-scan blocks.
//!
//! Numbers in a code are a little-endian bit string: number `i` of `b` bits starts at bit `i * b`, lowest bit first.

use crate::faiss::tree::{Blocks, ProductQuantizer, ScalarKind, ScalarQuantizer};
use half::{bf16, f16};

/// Vectors whose codes lie interleaved.
const GROUP_ROWS: usize = 32;

/// Number `i` of `bits` bits (at most 24); 0 past the end.
fn number(code: &[u8], i: usize, bits: usize) -> usize {
    let start = i * bits;
    let mut window = [0; 8];
    for (to, from) in window.iter_mut().zip(code.iter().skip(start / 8)) {
        *to = *from;
    }
    (u64::from_le_bytes(window) >> (start % 8)) as usize & ((1 << bits) - 1)
}

/// Decodes one scalar code.
pub(super) fn scalar(quantizer: &ScalarQuantizer<'_>, code: &[u8], out: &mut [f32]) {
    let dim = quantizer.dim;
    let bits = quantizer.kind.bits();
    let steps = ((1_u32 << bits.min(8)) - 1) as f32;
    let trained = |at: usize| quantizer.trained.get(at).unwrap_or(0.0);
    let pair = |i: usize| u16::from_le_bytes([code[2 * i], code[2 * i + 1]]);
    for (i, value) in out.iter_mut().enumerate() {
        let (minimum, width) = match quantizer.kind {
            ScalarKind::Bits8 | ScalarKind::Bits4 | ScalarKind::Bits6 => (trained(i), trained(dim + i)),
            ScalarKind::Bits8Uniform | ScalarKind::Bits4Uniform => (trained(0), trained(1)),
            _ => (0.0, 0.0),
        };
        *value = match quantizer.kind {
            ScalarKind::Half => f16::from_bits(pair(i)).to_f32(),
            ScalarKind::Brain => bf16::from_bits(pair(i)).to_f32(),
            ScalarKind::Byte => f32::from(code[i]),
            ScalarKind::SignedByte => f32::from(code[i]) - 128.0,
            // The middle of the step that the value fell into.
            _ => minimum + width * ((number(code, i, bits) as f32 + 0.5) / steps),
        };
    }
}

/// Decodes one product code.
pub(super) fn product(quantizer: &ProductQuantizer<'_>, code: &[u8], out: &mut [f32]) {
    for part in 0..quantizer.parts {
        centroid(quantizer, part, number(code, part, quantizer.bits), out);
    }
}

/// Copies a centroid of one part to its place in `out`.
fn centroid(quantizer: &ProductQuantizer<'_>, part: usize, number: usize, out: &mut [f32]) {
    let width = quantizer.dim / quantizer.parts;
    let start = ((part << quantizer.bits) + number) * width;
    let Some(values) = quantizer.centroids.range(start, width) else { return };
    for (to, from) in out[part * width..].iter_mut().zip(values) {
        *to = from;
    }
}

/// Decodes row `row` of fast-scan blocks.
pub(super) fn fast_scan(
    quantizer: &ProductQuantizer<'_>,
    blocks: Blocks,
    codes: &[u8],
    row: usize,
    out: &mut [f32],
) {
    let block = codes.get(row / blocks.rows * blocks.bytes()..).unwrap_or(&[]);
    for part in 0..quantizer.parts {
        centroid(quantizer, part, interleaved(block, blocks.rows, row % blocks.rows, part), out);
    }
}

/// Codes of fast-scan blocks one after the other, as a plain quantizer keeps them.
pub(in crate::faiss) fn plain_codes(
    quantizer: &ProductQuantizer<'_>,
    blocks: Blocks,
    codes: &[u8],
    rows: usize,
) -> Vec<u8> {
    let bytes = quantizer.code_bytes();
    let mut plain = vec![0; rows * bytes];
    for (row, code) in plain.chunks_exact_mut(bytes).enumerate() {
        let block = codes.get(row / blocks.rows * blocks.bytes()..).unwrap_or(&[]);
        for part in 0..quantizer.parts {
            let number = interleaved(block, blocks.rows, row % blocks.rows, part);
            code[part / 2] |= (number as u8) << (part % 2 * 4);
        }
    }
    plain
}

/// The 4-bit number of `part` of the `row`-th vector of a block.
///
/// A block is `[parts / 2][rows / 32][2][16]` bytes: of each pair of parts and each 32 vectors, first 16 bytes for the even
/// part, then 16 for the odd one. Byte `j` holds vector `p(j)` in its low half and vector `p(j) + 16` in its high half, with
/// `p = 0, 8, 1, 9, ..`, the order in which 16-bit sums come out of two registers.
fn interleaved(block: &[u8], rows: usize, row: usize, part: usize) -> usize {
    let (group, lane) = (row / GROUP_ROWS, row % GROUP_ROWS);
    let byte = match lane % 16 {
        low @ 0..8 => 2 * low,
        high => 2 * (high - 8) + 1,
    };
    let at = (part / 2 * (rows / GROUP_ROWS) + group) * GROUP_ROWS + part % 2 * 16 + byte;
    let byte = block.get(at).copied().unwrap_or(0);
    usize::from(if lane < 16 { byte & 15 } else { byte >> 4 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_a_little_endian_bit_string() {
        let code = [0b1010_0110, 0b0111_0001, 0xff];
        assert_eq!((number(&code, 0, 4), number(&code, 1, 4), number(&code, 2, 4)), (6, 10, 1));
        assert_eq!((number(&code, 0, 6), number(&code, 1, 6)), (0b10_0110, 0b00_0110));
        assert_eq!(number(&code, 0, 10), 0b01_1010_0110);
        assert_eq!(number(&code, 9, 4), 0);
    }
}
