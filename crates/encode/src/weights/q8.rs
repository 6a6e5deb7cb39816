//! Q8_0 (ggml's 8-bit format): a tensor `NAME` is stored as `NAME.q8` (i8, its own shape) and `NAME.d` (f16
//! `[rows, ceil(columns / 32)]`, a row being all numbers of one output).
//!
//! Blocks of 32 numbers along a row share one scale: number = q * d, q from -127 to 127; the last block of a row may be
//! shorter. Little-endian throughout.

use bytes::Bytes;
use half::f16;

use super::q4::Q4_BLOCK;

/// Numbers that share one scale.
pub(crate) const Q8_BLOCK: usize = Q4_BLOCK;

/// A Q8_0 matrix, still packed.
#[derive(Clone)]
pub(crate) struct Q8Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(super) numbers: Bytes,
    pub(super) scales: Bytes,
}

impl Q8Matrix {
    /// The bytes of a row (of an i8 each), and its scales. A row past the end is empty.
    pub(crate) fn packed_row(&self, row: usize) -> (&[u8], impl Iterator<Item = f32> + '_) {
        let blocks = self.columns.div_ceil(Q8_BLOCK);
        let numbers = self.numbers.get(row * self.columns..(row + 1) * self.columns).unwrap_or_default();
        let scales = self.scales.get(row * blocks * 2..(row + 1) * blocks * 2).unwrap_or_default();
        (numbers, scales.as_chunks::<2>().0.iter().map(|scale| f16::from_le_bytes(*scale).to_f32()))
    }

    /// Unpacks one row into `out`, `[columns]`. A row past the end leaves zeros.
    pub(crate) fn unpack_row(&self, row: usize, out: &mut [f32]) {
        let (numbers, scales) = self.packed_row(row);
        out.fill(0.0);
        for ((out, numbers), scale) in out.chunks_mut(Q8_BLOCK).zip(numbers.chunks(Q8_BLOCK)).zip(scales) {
            for (out, number) in out.iter_mut().zip(numbers) {
                *out = f32::from(*number as i8) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_unpack_and_the_last_may_be_short() {
        let numbers: Vec<u8> = (0..2 * 35).map(|i| (i as i8 - 35) as u8).collect();
        let scales: Vec<u8> =
            [0.5f32, 2.0, 0.25, 4.0].iter().flat_map(|d| f16::from_f32(*d).to_le_bytes()).collect();
        let matrix = Q8Matrix { rows: 2, columns: 35, numbers: numbers.into(), scales: scales.into() };
        let mut row = [9.0; 35];
        matrix.unpack_row(0, &mut row);
        assert_eq!((row[0], row[31], row[32], row[34]), (-17.5, -2.0, -6.0, -2.0));
        matrix.unpack_row(1, &mut row);
        assert_eq!((row[0], row[34]), (0.0, 136.0));
        matrix.unpack_row(2, &mut row);
        assert_eq!(row, [0.0; 35]);
    }
}
