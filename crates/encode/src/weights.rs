//! Named tensors of a safetensors file, read with their shapes checked, widened to f32.
//!
//! Invariant: a tensor that leaves has exactly the shape that was asked for and holds finite numbers only.
//! Q4_0 (ggml's 4-bit format): a matrix `NAME` is stored as `NAME.q4` (u8 `[rows, columns / 2]`) and `NAME.d`
//! (f16 `[rows, columns / 32]`). Blocks of 32 numbers along a row share one scale: number = (nibble - 8) * d; the low
//! nibbles of a block's 16 bytes are its numbers 0..16, the high nibbles 16..32. Little-endian throughout.

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::models::ModelError;

/// Numbers that share one scale in Q4_0.
pub(crate) const Q4_BLOCK: usize = 32;

/// The tensors of one model.
pub(crate) struct Weights<'a> {
    model: String,
    tensors: SafeTensors<'a>,
}

/// A Q4_0 matrix, still packed.
#[derive(Clone, Copy)]
pub(crate) struct Q4Matrix<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    nibbles: &'a [u8],
    scales: &'a [u8],
}

impl<'a> Weights<'a> {
    /// Reads the header of a safetensors file; every offset is checked by the `safetensors` crate.
    pub(crate) fn read(model: &str, bytes: &'a [u8]) -> Result<Weights<'a>, ModelError> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| ModelError::Broken { id: model.to_owned(), reason: error.to_string() })?;
        Ok(Weights { model: model.to_owned(), tensors })
    }

    fn broken(&self, reason: String) -> ModelError {
        ModelError::Broken { id: self.model.clone(), reason }
    }

    fn tensor(&self, name: &str, dtypes: &[Dtype], shape: &[usize]) -> Result<TensorView<'a>, ModelError> {
        let tensor = self.tensors.tensor(name).map_err(|_| self.broken(format!("no tensor \"{name}\"")))?;
        if tensor.shape() != shape {
            let found = tensor.shape();
            return Err(self.broken(format!("tensor \"{name}\" has shape {found:?}, expected {shape:?}")));
        }
        if !dtypes.contains(&tensor.dtype()) {
            let found = tensor.dtype();
            return Err(self.broken(format!("tensor \"{name}\" holds {found:?}, expected one of {dtypes:?}")));
        }
        Ok(tensor)
    }

    /// A tensor of `shape` as f32, row-major.
    pub(crate) fn dense(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name, &[Dtype::F16, Dtype::F32], shape)?;
        let bytes = tensor.data();
        let numbers: Vec<f32> = match tensor.dtype() {
            Dtype::F16 => widen(bytes),
            _ => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        };
        self.finite(name, &numbers)?;
        Ok(numbers)
    }

    /// A Q4_0 matrix of `rows` x `columns`.
    pub(crate) fn q4(&self, name: &str, rows: usize, columns: usize) -> Result<Q4Matrix<'a>, ModelError> {
        if !columns.is_multiple_of(Q4_BLOCK) {
            return Err(
                self.broken(format!("rows of \"{name}\" have {columns} numbers, not a multiple of 32"))
            );
        }
        let nibbles = self.tensor(&format!("{name}.q4"), &[Dtype::U8], &[rows, columns / 2])?.data();
        let scales = self.tensor(&format!("{name}.d"), &[Dtype::F16], &[rows, columns / Q4_BLOCK])?.data();
        self.finite(name, &widen(scales))?;
        Ok(Q4Matrix { rows, columns, nibbles, scales })
    }

    fn finite(&self, name: &str, numbers: &[f32]) -> Result<(), ModelError> {
        match numbers.iter().position(|number| !number.is_finite()) {
            None => Ok(()),
            Some(at) => Err(self.broken(format!("tensor \"{name}\" holds {} at {at}", numbers[at]))),
        }
    }
}

impl Q4Matrix<'_> {
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

fn widen(bytes: &[u8]) -> Vec<f32> {
    let halves: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
    halves.to_f32_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, dtype: Dtype, shape: Vec<usize>, data: &[u8]) -> Vec<u8> {
        let view = TensorView::new(dtype, shape, data).expect("a tensor");
        safetensors::serialize([(name, view)], None).expect("a file")
    }

    fn reason<T>(result: Result<T, ModelError>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn q4_blocks_unpack_low_nibbles_first() {
        let nibbles: Vec<u8> = (0..16).map(|i| i | ((15 - i) << 4)).collect();
        let scale = f16::from_f32(0.5).to_le_bytes();
        let matrix = Q4Matrix { rows: 1, columns: 32, nibbles: &nibbles, scales: &scale };
        let mut row = [0.0; 32];
        matrix.unpack_row(0, &mut row);
        let expected: Vec<f32> =
            (0..16).map(|i| (i as f32 - 8.0) * 0.5).chain((0..16).map(|i| (7.0 - i as f32) * 0.5)).collect();
        assert_eq!(row.as_slice(), expected);
    }

    #[test]
    fn a_wrong_tensor_is_named() {
        let bytes = file("a", Dtype::F32, vec![2], &[0; 8]);
        let weights = Weights::read("m", &bytes).expect("readable");
        assert!(reason(weights.dense("b", &[2])).contains("no tensor \"b\""));
        assert!(reason(weights.dense("a", &[3])).contains("shape [2], expected [3]"));
        assert!(reason(weights.q4("a", 1, 31)).contains("not a multiple of 32"));
        let bytes = file("a", Dtype::I64, vec![1], &[0; 8]);
        let weights = Weights::read("m", &bytes).expect("readable");
        assert!(reason(weights.dense("a", &[1])).contains("holds I64"));
    }

    #[test]
    fn numbers_must_be_finite_and_the_file_whole() {
        let bytes = file("a", Dtype::F32, vec![1], &f32::NAN.to_le_bytes());
        assert!(reason(Weights::read("m", &bytes).expect("readable").dense("a", &[1])).contains("NaN at 0"));
        assert!(Weights::read("m", &bytes[..bytes.len() - 1]).is_err());
        assert!(Weights::read("m", &[]).is_err());
    }
}
