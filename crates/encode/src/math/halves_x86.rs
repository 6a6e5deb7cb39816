//! The kernel of [`halves`](super::halves) in AMX; its `unsafe` are the question to Linux whether tiles may be used, and the
//! instructions themselves, which Rust has no functions for.
//!
//! Eight tiles: sums of two tiles of rows with the left and the right columns (0 to 3), two of activations (4, 5), two of weights
//! (6, 7). Invariant: tiles are set up and given back within one call, so a thread that is put aside has none to keep.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use super::halves::{Kernel, Sums, Tiles};

/// Bits of leaf 7's EDX.
const AMX_BF16: u32 = 1 << 22;
const AMX_TILE: u32 = 1 << 24;
/// `ARCH_REQ_XCOMP_PERM` of `arch_prctl` and the number of the tiles' state: a process asks once for room to keep it.
const ASK_FOR_STATE: libc::c_long = 0x1023;
const TILES: libc::c_long = 18;

/// The kernel of this machine.
pub(super) fn native() -> Option<Kernel> {
    static MAY: OnceLock<bool> = OnceLock::new();
    let may = *MAY.get_or_init(|| has_tiles() && may_use_tiles());
    may.then_some(multiply as Kernel)
}

fn has_tiles() -> bool {
    let wanted = AMX_BF16 | AMX_TILE;
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
            shape[48 + tile] = if tile < 6 { height as u8 } else { 16 };
        }
        Shape(shape)
    }
}

fn multiply(tiles: &Tiles<'_>, sums: &mut Sums) {
    let Tiles { activations, weights, height } = *tiles;
    let steps = weights.len() / 64;
    assert!((1..=16).contains(&height) && steps > 0);
    assert!(weights.len() == steps * 64 && activations.len() == steps * 4 * height);
    let shape = Shape::of(height);
    let (first, second) = sums.split_at_mut(height);
    // SAFETY: `native` has found the instructions. A step reads `4 * height` lines of activations and 64 of weights, as many as
    // there are (see above); `2 * height` rows of sums of 128 bytes are written, which is what the two parts hold at least. Tiles
    // are no registers that the compiler uses; the end leaves them as they were, without any.
    unsafe {
        asm!(
            "ldtilecfg [{shape}]",
            "2:",
            "tileloadd tmm6, [{w} + {line}]",
            "tileloadd tmm4, [{x} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w} + {line} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {x}, {tile}",
            "tileloadd tmm5, [{x} + {line}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {x}, {tile}",
            "tileloadd tmm4, [{x} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {x}, {tile}",
            "tileloadd tmm5, [{x} + {line}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm6, [{w} + {line} + 2048]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{w} + {line} + 3072]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {x}, {tile}",
            "add {w}, 4096",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{first} + {row}], tmm0",
            "tilestored [{first} + {row} + 64], tmm1",
            "tilestored [{second} + {row}], tmm2",
            "tilestored [{second} + {row} + 64], tmm3",
            "tilerelease",
            shape = in(reg) &shape,
            x = inout(reg) activations.as_ptr() => _,
            w = inout(reg) weights.as_ptr() => _,
            steps = inout(reg) steps => _,
            tile = in(reg) height * 64,
            line = in(reg) 64_usize,
            row = in(reg) 128_usize,
            first = in(reg) first.as_mut_ptr(),
            second = in(reg) second.as_mut_ptr(),
            options(nostack),
        );
    }
}
