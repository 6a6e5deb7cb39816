//! One tensor as a file holds it: element type, shape, and its bytes where they lie.
//!
//! Invariant: `bytes` is exactly `shape` elements long, little-endian, row-major (but for what is in blocks, which has none). Bytes are shared with the file they are
//! part of (mapped, or compiled in), so a table of a million rows of which a query reads a dozen costs no memory.

use bytes::Bytes;
use half::{bf16, f16};

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F16,
    Bf16,
    U8,
    I8,
    /// In blocks with a scale each, which lie in tensors of their own (`super::q4`, `super::q8`): this one has no bytes.
    Q4,
    Q8,
    /// Known to the file format and of no use to a model's forward pass; its bytes per element.
    Other(usize),
}

impl Element {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::U8 | Element::I8 => 1,
            Element::Q4 | Element::Q8 => 0,
            Element::Other(bytes) => bytes,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Bytes,
}

impl Tensor {
    /// Elements of `shape`, if that many fit the address space.
    pub(crate) fn count(shape: &[usize]) -> Option<usize> {
        shape.iter().try_fold(1usize, |count, side| count.checked_mul(*side))
    }

    /// Widens elements `first..first + out.len()` into `out`; those past the end stay as they are.
    pub(crate) fn widen(&self, first: usize, out: &mut [f32]) {
        let size = self.element.bytes();
        let bytes = self.bytes.get(first * size..).unwrap_or_default();
        match self.element {
            Element::F32 => fill(out, bytes, f32::from_le_bytes),
            Element::F16 => fill(out, bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Element::Bf16 => fill(out, bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Element::U8 | Element::I8 | Element::Q4 | Element::Q8 | Element::Other(_) => {}
        }
    }
}

fn fill<const N: usize>(out: &mut [f32], bytes: &[u8], number: impl Fn([u8; N]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = number(*bytes);
    }
}
