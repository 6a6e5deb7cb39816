//! Panels of block-quantized weights, Q4_0 and Q8_0: a u32 holds the numbers of several inputs of one column, which are multiplied
//! as whole numbers or unpacked to f32 just before their use.
//!
//! Shapes, with `P = 32 / BITS` numbers to a word: words `[panels, inputs / P, width]`, where input `j` of a word lies from bit
//! `shift(j)` on with `2^(BITS - 1)` added so that it is not negative, and scales `[panels, inputs / 32, width]`. A query streams
//! 0.6 (Q4_0) or 1.1 (Q8_0) bytes per weight from memory, not 4.

use pulp::{Arch, Simd, WithSimd};

use super::integer::Slice;
use crate::weights::Q4_BLOCK as BLOCK;

/// Packed panels of numbers with `BITS` bits, 4 or 8.
pub(super) struct Packed<const BITS: usize> {
    words: Vec<u32>,
    scales: Vec<f32>,
}

impl<const BITS: usize> Packed<BITS> {
    /// Numbers in one word.
    const IN_WORD: usize = 32 / BITS;

    /// Where input `input` of a word begins. Of 4 bits, the first four inputs are the low halves of the bytes and the last four the
    /// high ones: both fours are unpacked by one mask.
    pub(super) const fn shift(input: usize) -> u32 {
        (if BITS == 4 { input % 4 * 8 + input / 4 * 4 } else { input * BITS }) as u32
    }

    /// Lays out `outputs` rows, each given as its words and its scales, `inputs` deep (a multiple of 32).
    pub(super) fn new<W, D>(
        rows: impl Iterator<Item = (W, D)>,
        inputs: usize,
        outputs: usize,
        width: usize,
    ) -> Self
    where
        W: Iterator<Item = u32>,
        D: Iterator<Item = f32>,
    {
        let (panels, words_deep, blocks) = (outputs.div_ceil(width), inputs / Self::IN_WORD, inputs / BLOCK);
        let mut words = vec![0; panels * words_deep * width];
        let mut scales = vec![0.0; panels * blocks * width];
        for (output, (row_words, row_scales)) in rows.enumerate() {
            let (panel, lane) = (output / width, output % width);
            let slots = words[panel * words_deep * width..][lane..].iter_mut().step_by(width);
            slots.zip(row_words).for_each(|(slot, word)| *slot = word);
            let slots = scales[panel * blocks * width..][lane..].iter_mut().step_by(width);
            slots.zip(row_scales).for_each(|(slot, scale)| *slot = scale);
        }
        Packed { words, scales }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice()) + size_of_val(self.scales.as_slice())
    }

    /// Words and scales of those numbers, `start` and `size` at whole blocks of all columns.
    pub(super) fn slice(&self, start: usize, size: usize) -> Slice<'_> {
        let words = &self.words[start / Self::IN_WORD..][..size / Self::IN_WORD];
        Slice { words, scales: &self.scales[start / BLOCK..][..size / BLOCK] }
    }

    /// The numbers that lie from number `start` of the whole layout on, as f32; both ends are at whole blocks of all columns.
    pub(super) fn unpack(&self, start: usize, out: &mut [f32]) {
        let Slice { words, scales } = self.slice(start, out.len());
        Arch::new().dispatch(Unpack::<BITS> { words, scales, out });
    }
}

struct Unpack<'a, const BITS: usize> {
    words: &'a [u32],
    scales: &'a [f32],
    out: &'a mut [f32],
}

impl<const BITS: usize> WithSimd for Unpack<'_, BITS> {
    type Output = ();

    /// A number put into the low bits of the float 2^23 is the float 2^23 + number.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let in_word = Packed::<BITS>::IN_WORD;
        let words: &[[S::u32s; 2]] = bytemuck::cast_slice(self.words);
        let scales: &[[S::f32s; 2]] = bytemuck::cast_slice(self.scales);
        let out: &mut [[S::f32s; 2]] = bytemuck::cast_slice_mut(self.out);
        let (low, base) = (simd.splat_u32s((1 << BITS) - 1), simd.splat_u32s(0x4B00_0000));
        let offset = simd.splat_f32s(8_388_608.0 + (1 << (BITS - 1)) as f32);
        for (index, (out, words)) in out.chunks_exact_mut(in_word).zip(words).enumerate() {
            let scale = &scales[index / (BLOCK / in_word)];
            for half in 0..2 {
                for (input, out) in out.iter_mut().enumerate() {
                    let shift = simd.splat_u32s(Packed::<BITS>::shift(input));
                    let word = simd.wrapping_dyn_shr_u32s(words[half], shift);
                    let number = simd.or_u32s(simd.and_u32s(word, low), base);
                    out[half] = simd.mul_f32s(simd.sub_f32s(bytemuck::cast(number), offset), scale[half]);
                }
            }
        }
    }
}
