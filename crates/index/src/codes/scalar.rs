//! [`Sq`], the scalar quantizer: each value by itself, as FAISS's `ScalarQuantizer` stores and decodes it.
//!
//! 8, 6 and 4 bits: `x ~ low[d] + step[d] * (c + 0.5)`, where a dimension's range (of a sample) is cut into `2^bits - 1` steps
//! and `c` is the step that `x` falls into, values outside the range the nearest. Codes are little-endian bit strings: 4 bits
//! have the even value in the low half of a byte, 6 bits four values in three bytes. fp16 and bf16 are the float formats.

use super::plain::{Measure, Quantizer};
use super::{BLOCK, Form};
use crate::kernels::code_kernels;
use crate::spec::ScalarBits;
use half::f16;

/// Largest finite half.
const MAX_HALF: f32 = 65_504.0;

/// A trained scalar quantizer.
#[derive(Clone, Debug)]
pub(crate) struct Sq {
    bits: ScalarBits,
    dim: usize,
    /// Smallest value of each dimension, then the extent of each; empty for the float formats.
    trained: Vec<f32>,
}

impl Sq {
    /// Learns the range of each dimension; `sample` is `[n, dim]`.
    pub(crate) fn train(bits: ScalarBits, dim: usize, sample: &[f32]) -> Self {
        if levels(bits).is_none() {
            return Sq { bits, dim, trained: Vec::new() };
        }
        let mut low = vec![f32::INFINITY; dim];
        let mut high = vec![f32::NEG_INFINITY; dim];
        for row in sample.chunks_exact(dim) {
            for (d, &value) in row.iter().enumerate() {
                low[d] = low[d].min(value);
                high[d] = high[d].max(value);
            }
        }
        if sample.is_empty() {
            (low, high) = (vec![0.0; dim], vec![0.0; dim]);
        }
        // Half of each, so that the extent of the largest numbers stays finite.
        let extent =
            low.iter().zip(&high).map(|(low, high)| (high - low).min(f32::MAX)).collect::<Vec<f32>>();
        low.extend(extent);
        Sq { bits, dim, trained: low }
    }

    /// `trained` as FAISS stores it: `[2 * dim]`, smallest values and extents, or empty for the float formats.
    pub(crate) fn from_parts(bits: ScalarBits, dim: usize, trained: Vec<f32>) -> Option<Self> {
        let wanted = if levels(bits).is_some() { 2 * dim } else { 0 };
        (trained.len() == wanted).then_some(Sq { bits, dim, trained })
    }

    /// Numbers that a trained quantizer of this kind holds.
    pub(crate) fn learned_len(bits: ScalarBits, dim: usize) -> usize {
        if levels(bits).is_some() { 2 * dim } else { 0 }
    }

    fn ranges(&self) -> (&[f32], &[f32]) {
        self.trained.split_at(self.trained.len() / 2)
    }

    /// Bytes of `dim` values.
    fn bytes_of(bits: ScalarBits, dim: usize) -> usize {
        match bits {
            ScalarBits::Eight => dim,
            ScalarBits::Six => (6 * dim).div_ceil(8),
            ScalarBits::Four => dim.div_ceil(2),
            ScalarBits::Fp16 | ScalarBits::Bf16 => 2 * dim,
        }
    }

    fn encode_one(&self, vector: &[f32], code: &mut [u8]) {
        let Some(levels) = levels(self.bits) else {
            for (code, &value) in code.as_chunks_mut::<2>().0.iter_mut().zip(vector) {
                *code = match self.bits {
                    ScalarBits::Fp16 => f16::from_f32(value.clamp(-MAX_HALF, MAX_HALF)).to_le_bytes(),
                    _ => to_bf16(value).to_le_bytes(),
                };
            }
            return;
        };
        let (low, extent) = self.ranges();
        code.fill(0);
        for (d, &value) in vector.iter().enumerate() {
            let share = if extent[d] > 0.0 { (value - low[d]) / extent[d] } else { 0.0 };
            let level = (share.clamp(0.0, 1.0) * levels) as u8;
            put(self.bits, code, d, level);
        }
    }
}

/// Steps that a range is cut into; `None` for the float formats.
fn levels(bits: ScalarBits) -> Option<f32> {
    match bits {
        ScalarBits::Eight => Some(255.0),
        ScalarBits::Six => Some(63.0),
        ScalarBits::Four => Some(15.0),
        ScalarBits::Fp16 | ScalarBits::Bf16 => None,
    }
}

/// The upper half, rounded; never infinite.
fn to_bf16(value: f32) -> u16 {
    let rounded = value.to_bits().wrapping_add(0x8000) >> 16;
    let is_infinite = rounded & 0x7f80 == 0x7f80;
    if is_infinite { (value.to_bits() >> 16) as u16 } else { rounded as u16 }
}

fn put(bits: ScalarBits, code: &mut [u8], d: usize, level: u8) {
    match bits {
        ScalarBits::Four => code[d / 2] |= level << (4 * (d % 2)),
        ScalarBits::Six => {
            let (byte, shift) = (d * 6 / 8, d * 6 % 8);
            let wide = u16::from(level) << shift;
            code[byte] |= wide as u8;
            if shift > 2 {
                code[byte + 1] |= (wide >> 8) as u8;
            }
        }
        _ => code[d] = level,
    }
}

/// The level of each value, one byte each.
fn unpack(bits: ScalarBits, code: &[u8], levels: &mut [u8]) {
    match bits {
        ScalarBits::Four => {
            for (pair, &byte) in levels.chunks_mut(2).zip(code) {
                pair[0] = byte & 15;
                if let Some(second) = pair.get_mut(1) {
                    *second = byte >> 4;
                }
            }
        }
        ScalarBits::Six => {
            for (four, bytes) in levels.chunks_mut(4).zip(code.chunks(3)) {
                let word = bytes.iter().rev().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
                for (i, level) in four.iter_mut().enumerate() {
                    *level = (word >> (6 * i)) as u8 & 63;
                }
            }
        }
        _ => levels.copy_from_slice(&code[..levels.len()]),
    }
}

impl Quantizer for Sq {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_bytes(&self) -> usize {
        Sq::bytes_of(self.bits, self.dim)
    }

    fn encode(&self, vectors: &[f32], codes: &mut [u8]) {
        let rows = vectors.chunks_exact(self.dim).zip(codes.chunks_exact_mut(self.code_bytes()));
        rows.for_each(|(vector, code)| self.encode_one(vector, code));
    }

    fn decode(&self, code: &[u8], vector: &mut [f32]) {
        let Some(levels) = levels(self.bits) else {
            for (value, &code) in vector.iter_mut().zip(code.as_chunks::<2>().0) {
                *value = match self.bits {
                    ScalarBits::Fp16 => f16::from_le_bytes(code).to_f32(),
                    _ => f32::from_bits(u32::from(u16::from_le_bytes(code)) << 16),
                };
            }
            return;
        };
        let (low, extent) = self.ranges();
        let mut level = vec![0; self.dim];
        unpack(self.bits, code, &mut level);
        for (d, value) in vector.iter_mut().enumerate() {
            *value = low[d] + extent[d] * ((f32::from(level[d]) + 0.5) / levels);
        }
    }

    fn bind<'a>(&'a self, query: &'a [f32], form: Form) -> Box<dyn Measure + 'a> {
        let Some(levels) = levels(self.bits) else {
            return Box::new(FloatMeasure { bits: self.bits, query, form, row: vec![0.0; self.dim] });
        };
        let (low, extent) = self.ranges();
        let step: Vec<f32> = extent.iter().map(|extent| extent / levels).collect();
        let first: Vec<f32> = low.iter().zip(&step).map(|(low, step)| low + 0.5 * step).collect();
        let scratch = if self.bits == ScalarBits::Eight { Vec::new() } else { vec![0; self.dim] };
        let (constant, weights, offsets) = match form {
            // <q, first + step * c>
            Form::Dot => {
                let constant = query.iter().zip(&first).map(|(q, first)| q * first).sum();
                (constant, query.iter().zip(&step).map(|(q, step)| q * step).collect(), Vec::new())
            }
            // |q - first - step * c|^2
            Form::L2 => (0.0, step, query.iter().zip(&first).map(|(q, first)| q - first).collect()),
        };
        Box::new(LevelMeasure { bits: self.bits, constant, weights, offsets, scratch })
    }

    fn learned(&self) -> Vec<f32> {
        self.trained.clone()
    }
}

/// Codes of whole levels: nothing is decoded, weights of the levels are.
struct LevelMeasure {
    bits: ScalarBits,
    constant: f32,
    weights: Vec<f32>,
    /// Under L2; empty else.
    offsets: Vec<f32>,
    /// Levels of one code, where a byte holds more or less than one.
    scratch: Vec<u8>,
}

impl Measure for LevelMeasure {
    fn measure(&mut self, codes: &[u8], stride: usize, out: &mut [f32; BLOCK]) {
        let kernels = code_kernels();
        let dim = self.weights.len();
        for (code, out) in codes.chunks_exact(stride).zip(out) {
            let levels = if self.scratch.is_empty() {
                &code[..dim]
            } else {
                unpack(self.bits, &code[..Sq::bytes_of(self.bits, dim)], &mut self.scratch);
                &self.scratch
            };
            *out = if self.offsets.is_empty() {
                self.constant + kernels.byte_dot(&self.weights, levels)
            } else {
                kernels.byte_l2(&self.offsets, &self.weights, levels)
            };
        }
    }
}

/// Codes of floats, widened one row at a time.
struct FloatMeasure<'a> {
    bits: ScalarBits,
    query: &'a [f32],
    form: Form,
    row: Vec<f32>,
}

impl Measure for FloatMeasure<'_> {
    fn measure(&mut self, codes: &[u8], stride: usize, out: &mut [f32; BLOCK]) {
        let kernels = crate::kernels::kernels();
        for (code, out) in codes.chunks_exact(stride).zip(out) {
            let halves = code[..2 * self.query.len()].as_chunks::<2>().0;
            match self.bits {
                ScalarBits::Fp16 => code_kernels().widen_halves(halves, &mut self.row),
                _ => {
                    for (value, &half) in self.row.iter_mut().zip(halves) {
                        *value = f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16);
                    }
                }
            }
            *out = match self.form {
                Form::L2 => kernels.l2(self.query, &self.row),
                Form::Dot => kernels.dot(self.query, &self.row),
            };
        }
    }
}
