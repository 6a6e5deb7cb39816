//! The kernel of [`fixed`](super::fixed) in AMX; its `unsafe` are the question to Linux whether tiles may be used, and the
//! instructions themselves, which Rust has no functions for.
//!
//! Eight tiles: sums of the parts that count 2^32 (0), 2^24 (1), 2^16 (2 and 3, so that one need not wait for the other) and 2^8 (4), two of
//! activations (5, 6), one of weights (7). Invariant: tiles are set up and given back within one call, so a thread that is put aside
//! has none to keep.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use super::fixed::{BYTES, END, Kernel, Operands, Row, SIDE, STEP, Sums, Tile};

/// Bits of leaf 7's EDX.
const AMX_TILE: u32 = 1 << 24;
const AMX_INT8: u32 = 1 << 25;
/// `ARCH_REQ_XCOMP_PERM` of `arch_prctl` and the number of the tiles' state: a process asks once for room to keep it.
const ASK_FOR_STATE: libc::c_long = 0x1023;
const TILES: libc::c_long = 18;

/// The kernel of this machine.
pub(super) fn native() -> Option<Kernel> {
    static MAY: OnceLock<bool> = OnceLock::new();
    let may = *MAY.get_or_init(|| is_x86_feature_detected!("avx512bw") && has_tiles() && may_use_tiles());
    may.then_some(Kernel { cut, multiply })
}

fn has_tiles() -> bool {
    let wanted = AMX_INT8 | AMX_TILE;
    __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & wanted == wanted
}

/// Linux refuses where it does not know them, or a thread's signal stack is too small for them.
fn may_use_tiles() -> bool {
    // SAFETY: takes two numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ASK_FOR_STATE, TILES) == 0 }
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Shape([u8; 64]);

impl Shape {
    /// Tiles of 64 bytes a row: 16 rows of weights, `height` rows of all else.
    fn of(height: usize) -> Shape {
        let mut shape = [0; 64];
        shape[0] = 1;
        for tile in 0..8 {
            shape[16 + 2 * tile] = 64;
            shape[48 + tile] = if tile < 7 { height as u8 } else { 16 };
        }
        Shape(shape)
    }
}

/// Sums of the parts, as the tiles hold them: `[5, rows, columns]`, of which as many rows are written as there are.
#[repr(C, align(64))]
struct Parts(MaybeUninit<[[[i32; SIDE]; SIDE]; 5]>);

fn multiply(operands: &Operands<'_>, sums: &mut Sums, side: usize) {
    let mut parts = Parts(MaybeUninit::uninit());
    products(operands.activations, operands.weights, operands.row_scales.len(), &mut parts);
    // SAFETY: `native` has found the instructions, and so many rows of the parts were written.
    unsafe { add_up(&parts, operands, sums, side) };
}

/// As many rows as there are scales must have been written to `parts`.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn add_up(parts: &Parts, operands: &Operands<'_>, sums: &mut Sums, side: usize) {
    let (step, back) = (_mm512_set1_ps(256.0), _mm512_set1_ps(1.0 / 256.0));
    let column_scales = floats(operands.column_scales);
    let parts: *const [i32; SIDE] = parts.0.as_ptr().cast();
    for (row, (sums, scale)) in sums.iter_mut().zip(operands.row_scales).enumerate() {
        // SAFETY: within the parts, by the ranges of both numbers; a row that was written.
        let part = |part: usize| unsafe { _mm512_load_si512(parts.add(part * SIDE + row).cast()) };
        let low = _mm512_cvtepi32_ps(_mm512_add_epi32(part(2), part(3)));
        let [top, middle, rest] = [part(0), part(1), part(4)].map(|part| _mm512_cvtepi32_ps(part));
        let sum = _mm512_fmadd_ps(_mm512_fmadd_ps(top, step, middle), step, _mm512_fmadd_ps(rest, back, low));
        let sum = _mm512_mul_ps(sum, _mm512_mul_ps(_mm512_set1_ps(*scale), column_scales));
        // SAFETY: as many bytes as there are in a register.
        unsafe { _mm512_storeu_ps(sums[side].as_mut_ptr(), sum) };
    }
}

#[target_feature(enable = "avx512f")]
fn floats(from: &[f32; SIDE]) -> __m512 {
    // SAFETY: as many bytes as there are in a register.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

fn cut(x: &[f32], row: &mut Row) -> f32 {
    assert_eq!(row.len(), x.len().div_ceil(STEP));
    // SAFETY: `native` has found the instructions.
    unsafe { cut_by_registers(x, row) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn cut_by_registers(x: &[f32], row: &mut Row) -> f32 {
    let (steps, rest) = x.as_chunks::<STEP>();
    let mut last = [0.0; STEP];
    last[..rest.len()].copy_from_slice(rest);
    let steps = steps.iter().chain((!rest.is_empty()).then_some(&last));
    let mut most = _mm512_setzero_si512();
    for step in steps.clone() {
        for x in step.as_chunks().0 {
            let magnitude = _mm512_and_si512(_mm512_castps_si512(floats(x)), _mm512_set1_epi32(i32::MAX));
            most = _mm512_max_epu32(most, magnitude);
        }
    }
    let scale = f32::from_bits(_mm512_reduce_max_epu32(most)) / END;
    // Numbers whose greatest is under 1e-31 become zeros.
    let inverse = if (f32::MIN_POSITIVE..f32::INFINITY).contains(&scale) { 1.0 / scale } else { 0.0 };
    for (step, bytes) in steps.zip(row) {
        let numbers = step.as_chunks().0.iter().zip(0..);
        for (x, at) in numbers {
            cut_sixteen(floats(x), inverse, at, bytes);
        }
    }
    scale * 256.0
}

/// The bytes of numbers `16 * at` to `16 * at + 15` of a step.
#[target_feature(enable = "avx512f,avx512bw")]
fn cut_sixteen(x: __m512, inverse: f32, at: usize, bytes: &mut [[i8; STEP]; BYTES]) {
    let number = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)));
    // 2^15 + 2^7 more, so that a byte is the nearest one and not the one below; then these are taken off the two bytes.
    let offset = _mm512_set1_epi32(0x8080);
    let number = _mm512_xor_si512(_mm512_add_epi32(number, offset), offset);
    let parts = [_mm512_srai_epi32::<16>(number), _mm512_srli_epi32::<8>(number), number];
    for (bytes, part) in bytes.iter_mut().zip(parts) {
        let sixteen = &mut bytes.as_chunks_mut::<SIDE>().0[at];
        // SAFETY: sixteen bytes are written, as many as there are.
        unsafe { _mm_storeu_si128(sixteen.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(part)) };
    }
}

fn products(activations: &[Tile], weights: &[Tile], height: usize, parts: &mut Parts) {
    let steps = weights.len() / BYTES;
    assert!((1..=SIDE).contains(&height) && steps > 0);
    assert!(weights.len() == steps * BYTES && activations.len() == steps * BYTES);
    let shape = Shape::of(height);
    // SAFETY: `native` has found the instructions. A step reads three tiles of either, as many as there are (see above); five tiles of
    // sums are written, which is what there is. Tiles are no registers that the compiler uses; the end
    // leaves them as they were, without any.
    unsafe {
        asm!(
            "ldtilecfg [{shape}]",
            "2:",
            // Weights' top bytes.
            "tileloadd tmm7, [{w} + {line}]",
            "tileloadd tmm5, [{x} + {line}]",
            "tdpbssd tmm0, tmm5, tmm7",
            "tileloadd tmm6, [{x} + {line} + 1024]",
            "tdpbssd tmm1, tmm6, tmm7",
            "tileloadd tmm5, [{x} + {line} + 2048]",
            "tdpbssd tmm2, tmm5, tmm7",
            // Middle bytes.
            "tileloadd tmm7, [{w} + {line} + 1024]",
            "tdpbssd tmm4, tmm5, tmm7",
            "tdpbssd tmm3, tmm6, tmm7",
            "tileloadd tmm5, [{x} + {line}]",
            "tdpbssd tmm1, tmm5, tmm7",
            // Low bytes.
            "tileloadd tmm7, [{w} + {line} + 2048]",
            "tdpbssd tmm2, tmm5, tmm7",
            "tdpbssd tmm4, tmm6, tmm7",
            "add {x}, 3072",
            "add {w}, 3072",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            "tilestored [{sums} + {line} + 2048], tmm2",
            "tilestored [{sums} + {line} + 3072], tmm3",
            "tilestored [{sums} + {line} + 4096], tmm4",
            "tilerelease",
            shape = in(reg) &shape,
            x = inout(reg) activations.as_ptr() => _,
            w = inout(reg) weights.as_ptr() => _,
            steps = inout(reg) steps => _,
            line = in(reg) 64_usize,
            sums = in(reg) parts,
            options(nostack),
        );
    }
}
