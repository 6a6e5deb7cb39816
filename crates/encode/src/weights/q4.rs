//! Q4_0 (ggml's 4-bit format): a matrix `NAME` is stored as `NAME.q4` (u8 `[rows, columns / 2]`) and `NAME.d`
//! (f16 `[rows, columns / 32]`).
//!
//! Blocks of 32 numbers along a row share one scale: number = (nibble - 8) * d; the low nibbles of a block's 16 bytes are
//! its numbers 0..16, the high nibbles 16..32. Little-endian throughout.

use bytes::Bytes;
use half::f16;

/// Numbers that share one scale.
pub(crate) const Q4_BLOCK: usize = 32;

/// A Q4_0 matrix, still packed.
#[derive(Clone)]
pub(crate) struct Q4Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(super) nibbles: Bytes,
    pub(super) scales: Bytes,
}

impl Q4Matrix {
    /// The bytes of a row as they are stored, and its scales. A row past the end is empty.
    pub(crate) fn packed_row(&self, row: usize) -> (&[u8], impl Iterator<Item = f32> + '_) {
        let (bytes, blocks) = (self.columns / 2, self.columns / Q4_BLOCK);
        let nibbles = self.nibbles.get(row * bytes..(row + 1) * bytes).unwrap_or_default();
        let scales = self.scales.get(row * blocks * 2..(row + 1) * blocks * 2).unwrap_or_default();
        (nibbles, scales.as_chunks::<2>().0.iter().map(|scale| f16::from_le_bytes(*scale).to_f32()))
    }

    /// Unpacks one row into `out`, `[columns]`. A row past the end leaves zeros.
    pub(crate) fn unpack_row(&self, row: usize, out: &mut [f32]) {
        let (nibbles, scales) = self.packed_row(row);
        out.fill(0.0);
        let nibbles = nibbles.chunks_exact(Q4_BLOCK / 2);
        for ((out, nibbles), scale) in out.chunks_exact_mut(Q4_BLOCK).zip(nibbles).zip(scales) {
            let (low, high) = out.split_at_mut(Q4_BLOCK / 2);
            for ((low, high), nibble) in low.iter_mut().zip(high).zip(nibbles) {
                *low = (f32::from(nibble & 15) - 8.0) * scale;
                *high = (f32::from(nibble >> 4) - 8.0) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_unpack_low_nibbles_first() {
        let nibbles: Vec<u8> = (0..16).map(|i| i | ((15 - i) << 4)).collect();
        let scales = Bytes::copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        let matrix = Q4Matrix { rows: 1, columns: 32, nibbles: nibbles.into(), scales };
        let mut row = [0.0; 32];
        matrix.unpack_row(0, &mut row);
        let expected: Vec<f32> =
            (0..16).map(|i| (i as f32 - 8.0) * 0.5).chain((0..16).map(|i| (7.0 - i as f32) * 0.5)).collect();
        assert_eq!(row.as_slice(), expected);
    }
}
