//! The kernels of [`integer`](super::integer) in AVX-512 VNNI and AVX2; their `unsafe` is the call of code made for a machine that
//! was found to be this one.
//!
//! Invariant: one register holds four weights of each of its columns in the order of their inputs, and is multiplied by four
//! activations that stand in every lane. A kernel keeps for each row one register of whole sums and one of f32 sums.
//! AVX2 adds products of two as i16: eight times 2 * 15 * 127 is 30 480, which fits; of 8-bit weights it would not.

use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;

use super::integer::{Kernel, QUADS, Slice, Tile, parts};

/// The kernel of this machine.
pub(super) fn native<const BITS: usize>() -> Option<Kernel> {
    match BITS {
        _ if has_vnni() => Some(Kernel { run: vnni::<BITS>, most_rows: 12 }),
        4 if has_avx2() => Some(Kernel { run: avx2, most_rows: 4 }),
        _ => None,
    }
}

/// Every kernel this machine can run: bits of its weights, width of its panels.
#[cfg(test)]
pub(super) fn all() -> Vec<(usize, usize, Kernel)> {
    let four = Kernel { run: vnni::<4>, most_rows: 12 };
    let eight = Kernel { run: vnni::<8>, most_rows: 12 };
    let wide = has_vnni().then_some([(4, 32, four), (8, 32, eight)]);
    let narrow = Kernel { run: avx2, most_rows: 4 };
    let narrow = has_avx2().then_some([(4, 16, narrow), (4, 32, narrow)]);
    wide.into_iter().chain(narrow).flatten().collect()
}

fn has_vnni() -> bool {
    has!("avx512f") && has!("avx512bw") && has!("avx512vnni") && has_avx2()
}

fn has_avx2() -> bool {
    has!("avx2") && has!("fma")
}

/// Calls the function made for as many rows as the tile has.
macro_rules! by_rows {
    ($tile:ident, $rows:ident in $($count:literal)* => $call:expr) => {
        match $tile.rows {
            $($count => {
                const $rows: usize = $count;
                // SAFETY: what the function is made for was found, see `native` and `all`.
                unsafe { $call }
            })*
            other => unreachable!("{other} rows in a tile"),
        }
    };
}

fn vnni<const BITS: usize>(weights: &Slice<'_>, tile: &Tile<'_>, sums: &mut [f32]) {
    by_rows!(tile, ROWS in 1 2 3 4 5 6 7 8 9 10 11 12 => vnni_rows::<BITS, ROWS>(weights, tile, sums));
}

fn avx2(weights: &Slice<'_>, tile: &Tile<'_>, sums: &mut [f32]) {
    by_rows!(tile, ROWS in 1 2 3 4 => avx2_rows::<ROWS>(weights, tile, sums));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
fn vnni_rows<const BITS: usize, const ROWS: usize>(weights: &Slice<'_>, tile: &Tile<'_>, sums: &mut [f32]) {
    const { assert!(BITS == 4 || BITS == 8) };
    let words: &[[[u32; 16]; 2]] = bytemuck::cast_slice(weights.words);
    let scales: &[[[f32; 16]; 2]] = bytemuck::cast_slice(weights.scales);
    let sums: &mut [[[f32; 16]; 2]] = bytemuck::cast_slice_mut(sums);
    let (blocks, marks) = (tile.blocks.as_chunks::<ROWS>().0, tile.marks.as_chunks::<ROWS>().0);
    let (low, parts) = (_mm512_set1_epi32(0x0F0F_0F0F), parts(BITS));
    for half in 0..2 {
        let mut totals = [_mm512_setzero_ps(); ROWS];
        let activations = blocks.chunks_exact(parts).zip(marks);
        for ((words, scale), (bytes, marks)) in words.chunks_exact(BITS).zip(scales).zip(activations) {
            let mut dots = [_mm512_setzero_si512(); ROWS];
            for (part, rows) in bytes.iter().enumerate().take(parts) {
                for r in 0..ROWS {
                    let start = _mm512_set1_epi32(if part + 1 == parts { marks[r].start } else { 0 });
                    dots[r] = _mm512_add_epi32(_mm512_slli_epi32::<7>(dots[r]), start);
                }
                for quad in 0..QUADS {
                    let word: __m512i = bytemuck::cast(words[quad * BITS / QUADS][half]);
                    let four = match (BITS, quad % 2) {
                        (4, 0) => _mm512_and_si512(word, low),
                        (4, _) => _mm512_and_si512(_mm512_srli_epi32::<4>(word), low),
                        _ => word,
                    };
                    for r in 0..ROWS {
                        dots[r] = _mm512_dpbusd_epi32(dots[r], four, _mm512_set1_epi32(rows[r][quad]));
                    }
                }
            }
            let scale: __m512 = bytemuck::cast(scale[half]);
            for r in 0..ROWS {
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(marks[r].scale));
                totals[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[r]), scale, totals[r]);
            }
        }
        for r in 0..ROWS {
            sums[r][half] = bytemuck::cast(totals[r]);
        }
    }
}

/// Eight columns at a time.
#[target_feature(enable = "avx2,fma")]
fn avx2_rows<const ROWS: usize>(weights: &Slice<'_>, tile: &Tile<'_>, sums: &mut [f32]) {
    let groups = sums.len() / ROWS / 8;
    let words: &[[u32; 8]] = bytemuck::cast_slice(weights.words);
    let scales: &[[f32; 8]] = bytemuck::cast_slice(weights.scales);
    let sums: &mut [[f32; 8]] = bytemuck::cast_slice_mut(sums);
    let (blocks, marks) = (tile.blocks.as_chunks::<ROWS>().0, tile.marks.as_chunks::<ROWS>().0);
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    for group in 0..groups {
        let mut totals = [_mm256_setzero_ps(); ROWS];
        for (block, (rows, marks)) in blocks.iter().zip(marks).enumerate() {
            let words = &words[block * QUADS / 2 * groups..][..QUADS / 2 * groups];
            let mut dots = [_mm256_setzero_si256(); ROWS];
            for word in 0..QUADS / 2 {
                let both: __m256i = bytemuck::cast(words[word * groups + group]);
                let first = _mm256_and_si256(both, low);
                let second = _mm256_and_si256(_mm256_srli_epi32::<4>(both), low);
                for r in 0..ROWS {
                    let first = _mm256_maddubs_epi16(first, _mm256_set1_epi32(rows[r][2 * word]));
                    let second = _mm256_maddubs_epi16(second, _mm256_set1_epi32(rows[r][2 * word + 1]));
                    dots[r] = _mm256_add_epi16(dots[r], _mm256_add_epi16(first, second));
                }
            }
            let scale: __m256 = bytemuck::cast(scales[block * groups + group]);
            for r in 0..ROWS {
                let dot = _mm256_madd_epi16(dots[r], ones);
                let dot = _mm256_add_epi32(dot, _mm256_set1_epi32(marks[r].start));
                let scale = _mm256_mul_ps(scale, _mm256_set1_ps(marks[r].scale));
                totals[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, totals[r]);
            }
        }
        for r in 0..ROWS {
            sums[r * groups + group] = bytemuck::cast(totals[r]);
        }
    }
}
