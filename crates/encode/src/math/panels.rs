//! A weight matrix laid out for the kernel: panels of a few columns, in f32 or still in 4 bits.
//!
//! A layer computes `y = x * transpose(W) + b` with `W` stored `[outputs, inputs]`. Its outputs are cut into panels of
//! `width` (two vector registers of the machine at hand); within a panel the numbers lie in the order the kernel reads:
//! `[inputs, width]`, the last panel padded with zeros.
//!
//! 4-bit panels hold eight inputs of a column in one u32 (input `j` in bits `4j..4j + 4`), `[inputs / 8, width]`, and the
//! scales of Q4_0 as f32, `[inputs / 32, width]`. A panel is unpacked into cache just before its use, so a query streams
//! 0.6 bytes per weight from memory and not 4, and a process keeps that much less.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::int8;
use super::tile::width;
use crate::weights::{Q4_BLOCK, Q4Matrix, Q8Matrix};

/// Where the inputs of a panel may be cut: at whole blocks of the packed forms.
pub(crate) const DEPTH_STEP: usize = Q4_BLOCK;

/// Packed weights, `inputs` deep and `outputs` wide.
pub(crate) struct Panels {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) width: usize,
    numbers: Numbers,
}

enum Numbers {
    /// `[panels, inputs, width]`.
    Full(Vec<f32>),
    /// `[panels, inputs / 8, width]` and `[panels, inputs / 32, width]`.
    Q4 { nibbles: Vec<u32>, scales: Vec<f32> },
    /// `[panels, inputs / 4, width]` and `[panels, inputs / 32, width]`, see [`int8`].
    Q8 { bytes: Vec<u32>, scales: Vec<f32> },
}

/// The panel width of this machine's instruction set.
pub(crate) fn native_width() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            width::<S>()
        }
    }
    Arch::new().dispatch(Width)
}

impl Panels {
    /// Packs `[outputs, inputs]` f32 weights.
    pub(crate) fn full(weights: &[f32], inputs: usize, outputs: usize) -> Panels {
        let width = native_width();
        let mut numbers = vec![0.0; outputs.div_ceil(width) * inputs * width];
        for (panel, rows) in numbers.chunks_exact_mut(inputs * width).zip(weights.chunks(inputs * width)) {
            for (lane, row) in rows.chunks_exact(inputs).enumerate() {
                for (slot, number) in panel.iter_mut().skip(lane).step_by(width).zip(row) {
                    *slot = *number;
                }
            }
        }
        Panels { inputs, outputs, width, numbers: Numbers::Full(numbers) }
    }

    /// Packs Q4_0 matrices of equal depth, stacked: the outputs of the first come first.
    pub(crate) fn q4(parts: &[Q4Matrix]) -> Panels {
        let width = native_width();
        let inputs = parts.first().map_or(0, |part| part.columns);
        let outputs: usize = parts.iter().map(|part| part.rows).sum();
        let (panels, blocks) = (outputs.div_ceil(width), inputs / Q4_BLOCK);
        let mut nibbles = vec![0u32; panels * blocks * (Q4_BLOCK / 8) * width];
        let mut scales = vec![0.0f32; panels * blocks * width];
        let rows = parts.iter().flat_map(|part| (0..part.rows).map(move |row| part.packed_row(row)));
        for (output, (row_nibbles, row_scales)) in rows.enumerate() {
            let (panel, lane) = (output / width, output % width);
            let words = &mut nibbles[panel * blocks * (Q4_BLOCK / 8) * width..][lane..];
            let packed = row_nibbles.as_chunks::<16>().0.iter().flat_map(eights);
            for (slot, word) in words.iter_mut().step_by(width).zip(packed) {
                *slot = word;
            }
            let slots = &mut scales[panel * blocks * width..][lane..];
            for (slot, scale) in slots.iter_mut().step_by(width).zip(row_scales) {
                *slot = scale;
            }
        }
        Panels { inputs, outputs, width, numbers: Numbers::Q4 { nibbles, scales } }
    }

    /// Packs Q8_0 matrices of equal depth, a multiple of 32, stacked: the outputs of the first come first.
    pub(crate) fn q8(parts: &[Q8Matrix]) -> Panels {
        let width = native_width();
        let inputs = parts.first().map_or(0, |part| part.columns);
        let outputs: usize = parts.iter().map(|part| part.rows).sum();
        let (bytes, scales) = int8::pack(parts, inputs, outputs, width);
        Panels { inputs, outputs, width, numbers: Numbers::Q8 { bytes, scales } }
    }

    /// How many panels there are.
    pub(crate) fn count(&self) -> usize {
        self.outputs.div_ceil(self.width)
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.numbers {
            Numbers::Full(numbers) => size_of_val(numbers.as_slice()),
            Numbers::Q4 { nibbles, scales } => {
                size_of_val(nibbles.as_slice()) + size_of_val(scales.as_slice())
            }
            Numbers::Q8 { bytes, scales } => size_of_val(bytes.as_slice()) + size_of_val(scales.as_slice()),
        }
    }

    /// Inputs `depth` of panel `panel` as `[depth, width]` f32: borrowed, or unpacked into `scratch`. The range begins and ends
    /// at multiples of [`DEPTH_STEP`], or with the inputs.
    pub(crate) fn panel<'a>(
        &'a self,
        panel: usize,
        depth: Range<usize>,
        scratch: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let (start, size) = ((panel * self.inputs + depth.start) * self.width, depth.len() * self.width);
        match &self.numbers {
            Numbers::Full(numbers) => &numbers[start..][..size],
            Numbers::Q4 { nibbles, scales } => {
                scratch.resize(size, 0.0);
                let words = &nibbles[start / 8..][..size / 8];
                let scales = &scales[start / Q4_BLOCK..][..size / Q4_BLOCK];
                Arch::new().dispatch(Unpack { words, scales, out: scratch.as_mut_slice() });
                scratch
            }
            Numbers::Q8 { bytes, scales } => {
                scratch.resize(size, 0.0);
                int8::unpack(&bytes[start / 4..][..size / 4], &scales[start / Q4_BLOCK..], scratch);
                scratch
            }
        }
    }
}

/// A Q4_0 block's 16 bytes as four words of eight inputs each.
fn eights(block: &[u8; 16]) -> [u32; 4] {
    let (first, last) = block.split_at(8);
    let bytes = |half: &[u8]| half.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let squeeze = |bytes: u64| {
        let x = bytes & 0x0F0F_0F0F_0F0F_0F0F;
        let x = (x | x >> 4) & 0x00FF_00FF_00FF_00FF;
        let x = (x | x >> 8) & 0x0000_FFFF_0000_FFFF;
        (x | x >> 16) as u32
    };
    let (first, last) = (bytes(first), bytes(last));
    [squeeze(first), squeeze(last), squeeze(first >> 4), squeeze(last >> 4)]
}

/// One 4-bit panel to f32.
struct Unpack<'a> {
    words: &'a [u32],
    scales: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Unpack<'_> {
    type Output = ();

    /// A nibble put into the low bits of the float 2^23 is the float 2^23 + nibble.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let words: &[[S::u32s; 2]] = bytemuck::cast_slice(self.words);
        let scales: &[[S::f32s; 2]] = bytemuck::cast_slice(self.scales);
        let out: &mut [[S::f32s; 2]] = bytemuck::cast_slice_mut(self.out);
        let (low, base) = (simd.splat_u32s(15), simd.splat_u32s(0x4B00_0000));
        let offset = simd.splat_f32s(8_388_608.0 + 8.0);
        let eights = out.chunks_exact_mut(8).zip(words);
        for (index, (out, words)) in eights.enumerate() {
            let scale = &scales[index / (Q4_BLOCK / 8)];
            for half in 0..2 {
                let mut word = words[half];
                for out in out.iter_mut() {
                    let number = simd.or_u32s(simd.and_u32s(word, low), base);
                    out[half] = simd.mul_f32s(simd.sub_f32s(bytemuck::cast(number), offset), scale[half]);
                    word = simd.wrapping_dyn_shr_u32s(word, simd.splat_u32s(4));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_panels_hold_the_transposed_matrix() {
        let (inputs, outputs) = (3, native_width() + 1);
        let weights: Vec<f32> = (0..inputs * outputs).map(|i| i as f32).collect();
        let panels = Panels::full(&weights, inputs, outputs);
        let mut scratch = Vec::new();
        assert_eq!(panels.count(), 2);
        for output in 0..outputs {
            let panel = panels.panel(output / panels.width, 0..inputs, &mut scratch).to_vec();
            for input in 0..inputs {
                assert_eq!(
                    panel[input * panels.width + output % panels.width],
                    weights[output * inputs + input]
                );
            }
        }
    }

    #[test]
    fn four_bit_panels_hold_what_the_rows_unpack_to() {
        let (inputs, outputs) = (96, native_width() + 3);
        let nibbles: Vec<u8> = (0..outputs * inputs / 2).map(|i| (i * 73 % 256) as u8).collect();
        let scales: Vec<u8> = (0..outputs * inputs / 32)
            .flat_map(|i| half::f16::from_f32(i as f32 * 0.01 - 0.5).to_le_bytes())
            .collect();
        let file = safetensors::serialize(
            [
                (
                    "w.q4",
                    safetensors::tensor::TensorView::new(
                        safetensors::Dtype::U8,
                        vec![outputs, inputs / 2],
                        &nibbles,
                    ),
                ),
                (
                    "w.d",
                    safetensors::tensor::TensorView::new(
                        safetensors::Dtype::F16,
                        vec![outputs, inputs / 32],
                        &scales,
                    ),
                ),
            ]
            .map(|(name, view)| (name, view.expect("a tensor"))),
            None,
        )
        .expect("a file");
        let weights = crate::weights::Weights::read("m", &file.into()).expect("readable");
        let matrix = weights.matrix("w", outputs, inputs).expect("a matrix");
        let matrix = matrix.as_q4().expect("in 4 bits").clone();
        let (panels, mut row) = (Panels::q4(std::slice::from_ref(&matrix)), vec![0.0; inputs]);
        let mut scratch = Vec::new();
        for output in 0..outputs {
            matrix.unpack_row(output, &mut row);
            let panel = panels.panel(output / panels.width, 0..inputs, &mut scratch).to_vec();
            let column: Vec<f32> =
                panel.iter().skip(output % panels.width).step_by(panels.width).copied().collect();
            assert_eq!(column, row);
        }
    }
}
