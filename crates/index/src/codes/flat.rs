//! f32 values as they are: what `Flat` stands for behind a transform.

use super::plain::{Measure, Quantizer};
use super::{BLOCK, Form};
use crate::kernels::kernels;

/// No quantization at all.
#[derive(Clone, Debug)]
pub(crate) struct FlatCodes {
    dim: usize,
}

impl FlatCodes {
    pub(crate) fn new(dim: usize) -> Self {
        FlatCodes { dim }
    }
}

impl Quantizer for FlatCodes {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_bytes(&self) -> usize {
        4 * self.dim
    }

    fn encode(&self, vectors: &[f32], codes: &mut [u8]) {
        for (value, code) in vectors.iter().zip(codes.as_chunks_mut::<4>().0) {
            *code = value.to_le_bytes();
        }
    }

    fn decode(&self, code: &[u8], vector: &mut [f32]) {
        for (value, code) in vector.iter_mut().zip(code.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*code);
        }
    }

    fn bind<'a>(&'a self, query: &'a [f32], form: Form) -> Box<dyn Measure + 'a> {
        Box::new(Bound { query, form, row: vec![0.0; self.dim] })
    }

    fn learned(&self) -> Vec<f32> {
        Vec::new()
    }
}

struct Bound<'a> {
    query: &'a [f32],
    form: Form,
    /// Where the bytes are not aligned for f32.
    row: Vec<f32>,
}

impl Measure for Bound<'_> {
    fn measure(&mut self, codes: &[u8], stride: usize, out: &mut [f32; BLOCK]) {
        let kernels = kernels();
        for (code, out) in codes.chunks_exact(stride).zip(out) {
            let code = &code[..4 * self.query.len()];
            let row = match bytemuck::try_cast_slice::<u8, f32>(code) {
                Ok(row) => row,
                Err(_) => {
                    for (value, code) in self.row.iter_mut().zip(code.as_chunks::<4>().0) {
                        *value = f32::from_le_bytes(*code);
                    }
                    &self.row
                }
            };
            *out = match self.form {
                Form::L2 => kernels.l2(self.query, row),
                Form::Dot => kernels.dot(self.query, row),
            };
        }
    }
}
