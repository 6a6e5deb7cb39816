//! [`Packed`]: numbers as they lie in a file, little-endian and unaligned, or in a vector of our own.
//!
//! FAISS pads nothing (its header is 33 bytes), so arrays of a file cannot be used in place as slices of numbers. They are
//! borrowed as bytes and converted as they are read, which takes no memory however large they are.

use bytemuck::Pod;
use std::borrow::Cow;

/// An array of numbers, borrowed from a file where possible.
#[derive(Clone)]
pub enum Packed<'a, T> {
    /// Little-endian bytes; the length is a multiple of the size of `T`.
    Bytes(&'a [u8]),
    /// Numbers held here.
    Owned(Vec<T>),
}

impl<'a, T: Pod> Packed<'a, T> {
    /// Borrows numbers.
    pub fn borrowed(values: &'a [T]) -> Self {
        Packed::Bytes(bytemuck::cast_slice(values))
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.as_bytes().len() / size_of::<T>()
    }

    /// True when there is no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The little-endian bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Packed::Bytes(bytes) => bytes,
            Packed::Owned(values) => bytemuck::cast_slice(values),
        }
    }

    /// Number `i`.
    pub fn get(&self, i: usize) -> Option<T> {
        let start = i.checked_mul(size_of::<T>())?;
        let bytes = self.as_bytes().get(start..start.checked_add(size_of::<T>())?)?;
        Some(bytemuck::pod_read_unaligned(bytes))
    }

    /// Every number, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        self.as_bytes().chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned)
    }

    /// The `count` numbers from `start` on; `None` when there are fewer.
    pub fn range(&self, start: usize, count: usize) -> Option<impl ExactSizeIterator<Item = T> + '_> {
        let (first, bytes) = (start.checked_mul(size_of::<T>())?, count.checked_mul(size_of::<T>())?);
        let part = self.as_bytes().get(first..first.checked_add(bytes)?)?;
        Some(part.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned))
    }

    /// All of them as a vector.
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().collect()
    }

    /// All of them as a slice: borrowed where the memory happens to be aligned.
    pub fn to_slice(&self) -> Cow<'_, [T]> {
        match self {
            Packed::Owned(values) => Cow::Borrowed(values),
            Packed::Bytes(bytes) => {
                bytemuck::try_cast_slice(bytes).map_or_else(|_| Cow::Owned(self.to_vec()), Cow::Borrowed)
            }
        }
    }
}

impl<T> From<Vec<T>> for Packed<'_, T> {
    fn from(values: Vec<T>) -> Self {
        Packed::Owned(values)
    }
}

impl<T: Pod> PartialEq for Packed<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<T: Pod> std::fmt::Debug for Packed<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed([{}; {}])", std::any::type_name::<T>(), self.len())
    }
}
