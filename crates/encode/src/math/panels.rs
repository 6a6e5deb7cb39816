//! A weight matrix laid out for the kernel: panels of a few columns, in f32 or still in 4 or 8 bits.
//!
//! A layer computes `y = x * transpose(W) + b` with `W` stored `[outputs, inputs]`. Its outputs are cut into panels of
//! `width` (two vector registers of the machine at hand); within a panel the numbers lie in the order the kernel reads:
//! `[inputs, width]`, the last panel padded with zeros.
//!
//! Weights of f32 are laid out in fixed point where the machine multiplies that faster ([`fixed`](super::fixed)). A panel of
//! quantized weights ([`packed`](super::packed)) is multiplied as it is where the machine has instructions for that
//! ([`integer`](super::integer)), else unpacked into cache just before its use; so a query streams less from memory, and a
//! process keeps that much less.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::fixed::{self, Fixed};
use super::integer::{self, Rounded};
use super::packed::Packed;
use super::tile::{Job, multiply, width};
use crate::weights::{Q4_BLOCK, Q4Matrix, Q8Matrix};

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
    /// In fixed point, where the machine multiplies that faster.
    Fixed(fixed::Weights),
    Q4(Packed<4>),
    Q8(Packed<8>),
}

/// Activations as the weights want them.
pub(super) enum Activations {
    Full,
    Rounded(Rounded),
    Fixed(Fixed),
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
        if let Some(kernel) = fixed::kernel()
            && width == fixed::COLUMNS
            && (fixed::STEP..=fixed::MOST_INPUTS).contains(&inputs)
        {
            let numbers = Numbers::Fixed(fixed::Weights::new(kernel, weights, inputs, outputs));
            return Panels { inputs, outputs, width, numbers };
        }
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
        let rows = parts.iter().flat_map(|part| (0..part.rows).map(move |row| part.packed_row(row)));
        let rows =
            rows.map(|(nibbles, scales)| (nibbles.as_chunks::<16>().0.iter().flat_map(eights), scales));
        Panels { inputs, outputs, width, numbers: Numbers::Q4(Packed::new(rows, inputs, outputs, width)) }
    }

    /// Packs Q8_0 matrices of equal depth, a multiple of 32, stacked: the outputs of the first come first.
    pub(crate) fn q8(parts: &[Q8Matrix]) -> Panels {
        let width = native_width();
        let inputs = parts.first().map_or(0, |part| part.columns);
        let outputs: usize = parts.iter().map(|part| part.rows).sum();
        let rows = parts.iter().flat_map(|part| (0..part.rows).map(move |row| part.packed_row(row)));
        // A signed byte and 128 is the byte with its highest bit turned.
        let word = |four: &[u8; 4]| u32::from_le_bytes(four.map(|byte| byte ^ 0x80));
        let rows = rows.map(|(bytes, scales)| (bytes.as_chunks::<4>().0.iter().map(word), scales));
        Panels { inputs, outputs, width, numbers: Numbers::Q8(Packed::new(rows, inputs, outputs, width)) }
    }

    /// How many panels there are.
    pub(crate) fn count(&self) -> usize {
        self.outputs.div_ceil(self.width)
    }

    /// Where the inputs may be cut: at multiples of this.
    pub(super) fn depth_step(&self) -> usize {
        match self.numbers {
            Numbers::Fixed(_) => fixed::STEP,
            Numbers::Full(_) | Numbers::Q4(_) | Numbers::Q8(_) => Q4_BLOCK,
        }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.numbers {
            Numbers::Full(numbers) => size_of_val(numbers.as_slice()),
            Numbers::Fixed(weights) => weights.bytes(),
            Numbers::Q4(packed) => packed.bytes(),
            Numbers::Q8(packed) => packed.bytes(),
        }
    }

    /// Whether [`Panels::activations`] are rounded.
    pub(super) fn round(&self) -> bool {
        match &self.numbers {
            Numbers::Full(_) | Numbers::Fixed(_) => false,
            Numbers::Q4(_) => integer::kernel::<4>().is_some(),
            Numbers::Q8(_) => integer::kernel::<8>().is_some(),
        }
    }

    /// `x [rows, depth]` as these weights are multiplied on this machine.
    pub(super) fn activations(&self, x: &[f32], depth: usize) -> Activations {
        let rounded = match &self.numbers {
            Numbers::Full(_) => None,
            Numbers::Fixed(weights) => return Activations::Fixed(weights.activations(x, depth)),
            Numbers::Q4(_) => integer::kernel::<4>().map(|kernel| Rounded::new::<4>(kernel, x, depth)),
            Numbers::Q8(_) => integer::kernel::<8>().map(|kernel| Rounded::new::<8>(kernel, x, depth)),
        };
        rounded.map_or(Activations::Full, Activations::Rounded)
    }

    /// Activations, as [`Panels::activations`] made them of `job.x`, times inputs `depth` of panel `panel`, stored as `job` says; its
    /// panel is not read. The range is as for [`Panels::panel`].
    pub(super) fn multiply(
        &self,
        activations: &Activations,
        (panel, depth): (usize, Range<usize>),
        job: &Job<'_>,
        scratch: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let (start, size) = ((panel * self.inputs + depth.start) * self.width, depth.len() * self.width);
        match (&self.numbers, activations) {
            (Numbers::Fixed(weights), Activations::Fixed(fixed)) => {
                fixed.multiply(weights, (panel, depth.start), job, out);
            }
            (Numbers::Q4(packed), Activations::Rounded(rounded)) => {
                rounded.multiply(&packed.slice(start, size), job, out);
            }
            (Numbers::Q8(packed), Activations::Rounded(rounded)) => {
                rounded.multiply(&packed.slice(start, size), job, out);
            }
            _ => multiply(&Job { panel: self.panel(panel, depth, scratch), ..*job }, out),
        }
    }

    /// Inputs `depth` of panel `panel` as `[depth, width]` f32: borrowed, or unpacked into `scratch`. The range begins and ends
    /// at multiples of [`Panels::depth_step`], or with the inputs.
    pub(crate) fn panel<'a>(
        &'a self,
        panel: usize,
        depth: Range<usize>,
        scratch: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let (start, size) = ((panel * self.inputs + depth.start) * self.width, depth.len() * self.width);
        match &self.numbers {
            Numbers::Full(numbers) => &numbers[start..][..size],
            Numbers::Fixed(_) => unreachable!("multiplied as it is"),
            Numbers::Q4(packed) => {
                scratch.resize(size, 0.0);
                packed.unpack(start, scratch);
                scratch
            }
            Numbers::Q8(packed) => {
                scratch.resize(size, 0.0);
                packed.unpack(start, scratch);
                scratch
            }
        }
    }
}

/// A Q4_0 block's 16 bytes as four words of eight inputs each.
fn eights(block: &[u8; 16]) -> [u32; 4] {
    let fours: [u32; 4] = bytemuck::cast(*block);
    let fours = fours.map(u32::from_le);
    let low = |four: u32| four & 0x0F0F_0F0F;
    let [a, b, c, d] = fours;
    [[a, b], [c, d], [a >> 4, b >> 4], [c >> 4, d >> 4]].map(|[first, last]| low(first) | low(last) << 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;
    use safetensors::{Dtype, tensor::TensorView};

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

    /// Packs one matrix `[outputs, inputs]` of a file with these two tensors, and compares it with its rows.
    fn panels_hold_what_the_rows_unpack_to(
        kind: &str,
        dtype: Dtype,
        numbers: &[u8],
        inputs: usize,
        outputs: usize,
    ) {
        let scales: Vec<u8> = (0..outputs * inputs / 32)
            .flat_map(|i| half::f16::from_f32(i as f32 * 0.01 - 0.5).to_le_bytes())
            .collect();
        let view =
            |dtype, columns, bytes| TensorView::new(dtype, vec![outputs, columns], bytes).expect("a tensor");
        let (name, columns) = (format!("w.{kind}"), numbers.len() / outputs);
        let views =
            [(name.as_str(), view(dtype, columns, numbers)), ("w.d", view(Dtype::F16, inputs / 32, &scales))];
        let file = safetensors::serialize(views, None).expect("a file");
        let weights = Weights::read("m", &file.into()).expect("readable");
        let matrix = weights.matrix("w", outputs, inputs).expect("a matrix");
        let (panels, mut row) = match (matrix.as_q4(), matrix.as_q8()) {
            (Some(q4), _) => (Panels::q4(std::slice::from_ref(q4)), vec![0.0; inputs]),
            (_, Some(q8)) => (Panels::q8(std::slice::from_ref(q8)), vec![0.0; inputs]),
            _ => panic!("{kind} is not packed"),
        };
        let mut scratch = Vec::new();
        for output in 0..outputs {
            match (matrix.as_q4(), matrix.as_q8()) {
                (Some(q4), _) => q4.unpack_row(output, &mut row),
                (_, q8) => q8.expect("packed").unpack_row(output, &mut row),
            }
            let panel = panels.panel(output / panels.width, 0..inputs, &mut scratch).to_vec();
            let column: Vec<f32> =
                panel.iter().skip(output % panels.width).step_by(panels.width).copied().collect();
            assert_eq!(column, row);
        }
    }

    #[test]
    fn packed_panels_hold_what_the_rows_unpack_to() {
        let (inputs, outputs) = (96, native_width() + 3);
        let nibbles: Vec<u8> = (0..outputs * inputs / 2).map(|i| (i * 73 % 256) as u8).collect();
        panels_hold_what_the_rows_unpack_to("q4", Dtype::U8, &nibbles, inputs, outputs);
        let bytes: Vec<u8> = (0..outputs * inputs).map(|i| (i * 73 % 255) as u8).collect();
        panels_hold_what_the_rows_unpack_to("q8", Dtype::I8, &bytes, inputs, outputs);
    }
}
