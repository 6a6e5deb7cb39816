//! Panels of Q8_0 weights: four inputs of a column in one u32, unpacked to f32 just before their use.
//!
//! Shapes: `[panels, inputs / 4, width]` words (input `j` in bits `8j..8j + 8`, 128 added so that it is not negative) and
//! scales `[panels, inputs / 32, width]`, as 4-bit panels have them. A query streams 1.1 bytes per weight from memory, not 4.

use pulp::{Arch, Simd, WithSimd};

use crate::weights::{Q8_BLOCK, Q8Matrix};

/// Inputs in one word.
const IN_WORD: usize = 4;

/// Words and scales of matrices `inputs` deep, a multiple of 32, stacked to `outputs`.
pub(super) fn pack(parts: &[Q8Matrix], inputs: usize, outputs: usize, width: usize) -> (Vec<u32>, Vec<f32>) {
    let (panels, blocks) = (outputs.div_ceil(width), inputs / Q8_BLOCK);
    let mut words = vec![0u32; panels * inputs / IN_WORD * width];
    let mut scales = vec![0.0f32; panels * blocks * width];
    let rows = parts.iter().flat_map(|part| (0..part.rows).map(move |row| part.packed_row(row)));
    for (output, (numbers, row_scales)) in rows.enumerate() {
        let (panel, lane) = (output / width, output % width);
        let slots = &mut words[panel * inputs / IN_WORD * width..][lane..];
        for (slot, four) in slots.iter_mut().step_by(width).zip(numbers.as_chunks::<IN_WORD>().0) {
            *slot = u32::from_le_bytes(four.map(|byte| byte ^ 0x80));
        }
        let slots = &mut scales[panel * blocks * width..][lane..];
        for (slot, scale) in slots.iter_mut().step_by(width).zip(row_scales) {
            *slot = scale;
        }
    }
    (words, scales)
}

/// One panel to f32 `[inputs, width]`; `scales` may go on behind its own.
pub(super) fn unpack(words: &[u32], scales: &[f32], out: &mut [f32]) {
    Arch::new().dispatch(Unpack { words, scales: &scales[..out.len() / Q8_BLOCK], out });
}

struct Unpack<'a> {
    words: &'a [u32],
    scales: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Unpack<'_> {
    type Output = ();

    /// A byte put into the low bits of the float 2^23 is the float 2^23 + byte.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let words: &[[S::u32s; 2]] = bytemuck::cast_slice(self.words);
        let scales: &[[S::f32s; 2]] = bytemuck::cast_slice(self.scales);
        let out: &mut [[S::f32s; 2]] = bytemuck::cast_slice_mut(self.out);
        let (low, base) = (simd.splat_u32s(255), simd.splat_u32s(0x4B00_0000));
        let offset = simd.splat_f32s(8_388_608.0 + 128.0);
        for (index, (out, words)) in out.chunks_exact_mut(IN_WORD).zip(words).enumerate() {
            let scale = &scales[index / (Q8_BLOCK / IN_WORD)];
            for half in 0..2 {
                let mut word = words[half];
                for out in out.iter_mut() {
                    let number = simd.or_u32s(simd.and_u32s(word, low), base);
                    out[half] = simd.mul_f32s(simd.sub_f32s(bytemuck::cast(number), offset), scale[half]);
                    word = simd.wrapping_dyn_shr_u32s(word, simd.splat_u32s(8));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::math::panels::{Panels, native_width};
    use crate::weights::Weights;
    use safetensors::{Dtype, tensor::TensorView};

    #[test]
    fn panels_hold_what_the_rows_unpack_to() {
        let (inputs, outputs) = (96, native_width() + 3);
        let numbers: Vec<u8> = (0..outputs * inputs).map(|i| (i * 73 % 255) as u8).collect();
        let scales: Vec<u8> = (0..outputs * inputs / 32)
            .flat_map(|i| half::f16::from_f32(i as f32 * 0.01 - 0.5).to_le_bytes())
            .collect();
        let view =
            |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).expect("a tensor");
        let views = [
            ("w.q8", view(Dtype::I8, &[outputs, inputs], numbers.as_slice())),
            ("w.d", view(Dtype::F16, &[outputs, inputs / 32], scales.as_slice())),
        ];
        let file = safetensors::serialize(views, None).expect("a file");
        let weights = Weights::read("m", &file.into()).expect("readable");
        let matrix = weights.matrix("w", outputs, inputs).expect("a matrix");
        let matrix = matrix.as_q8().expect("in 8 bits").clone();
        let (panels, mut row) = (Panels::q8(std::slice::from_ref(&matrix)), vec![0.0; inputs]);
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
