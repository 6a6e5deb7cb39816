//! [`Cursor`]: takes fields off a byte slice; every length is compared with the bytes left before it is believed.

use crate::faiss::{FaissError, Packed};
use bytemuck::Pod;

/// A four-letter code in reading order.
pub(super) type FourCc = [u8; 4];

/// Where the reader is.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Offset of the next field.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes not taken yet.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// `count` items of `size` bytes each.
    fn take(&mut self, field: &'static str, count: u64, size: usize) -> Result<&'a [u8], FaissError> {
        let left = self.left();
        let wanted = u128::from(count) * size as u128;
        if wanted > left as u128 {
            let expected = format!("{count} x {size} bytes");
            return Err(format(self.at, field, expected, format_args!("the last {left} bytes of the file")));
        }
        let part = &self.bytes[self.at..self.at + wanted as usize];
        self.at += part.len();
        Ok(part)
    }

    /// One number.
    pub(super) fn one<T: Pod>(&mut self, field: &'static str) -> Result<T, FaissError> {
        Ok(bytemuck::pod_read_unaligned(self.take(field, 1, size_of::<T>())?))
    }

    pub(super) fn four_cc(&mut self, field: &'static str) -> Result<FourCc, FaissError> {
        self.one(field)
    }

    /// A byte that must be 0 or 1.
    pub(super) fn bool(&mut self, field: &'static str) -> Result<bool, FaissError> {
        let at = self.at;
        match self.one::<u8>(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format(at, field, "0 or 1", other)),
        }
    }

    /// A finite f32.
    pub(super) fn finite(&mut self, field: &'static str) -> Result<f32, FaissError> {
        let at = self.at;
        let value: f32 = self.one(field)?;
        if value.is_finite() { Ok(value) } else { Err(format(at, field, "a finite number", value)) }
    }

    /// A `u64` between limits, as `usize`.
    pub(super) fn size(
        &mut self,
        field: &'static str,
        limits: std::ops::RangeInclusive<u64>,
    ) -> Result<usize, FaissError> {
        let at = self.at;
        let value: u64 = self.one(field)?;
        if !limits.contains(&value) {
            return Err(format(at, field, format_args!("{limits:?}"), value));
        }
        usize::try_from(value).map_err(|_| format(at, field, "a size of this machine", value))
    }

    /// `count` numbers without a length before them.
    pub(super) fn values<T: Pod>(
        &mut self,
        field: &'static str,
        count: u64,
    ) -> Result<Packed<'a, T>, FaissError> {
        Ok(Packed::Bytes(self.take(field, count, size_of::<T>())?))
    }

    /// A length, then so many numbers.
    pub(super) fn vector<T: Pod>(&mut self, field: &'static str) -> Result<Packed<'a, T>, FaissError> {
        let at = self.at;
        let count = self.one::<u64>(field)?;
        self.values(field, count).map_err(|_| {
            let left = self.bytes.len() - at - 8;
            let expected = format!("at most {} numbers of {} bytes", left / size_of::<T>(), size_of::<T>());
            format(at, field, expected, count)
        })
    }

    /// As [`Cursor::vector`], of a length that is known.
    pub(super) fn vector_of<T: Pod>(
        &mut self,
        field: &'static str,
        expected: u128,
    ) -> Result<Packed<'a, T>, FaissError> {
        let at = self.at;
        let values = self.vector::<T>(field)?;
        if values.len() as u128 != expected {
            return Err(format(at, field, format_args!("{expected} numbers"), values.len()));
        }
        Ok(values)
    }

    /// As [`Cursor::vector_of`], every number finite.
    pub(super) fn finite_vector_of(
        &mut self,
        field: &'static str,
        expected: u128,
    ) -> Result<Packed<'a, f32>, FaissError> {
        let at = self.at;
        let values = self.vector_of::<f32>(field, expected)?;
        check_finite(at + 8, field, &values)?;
        Ok(values)
    }
}

/// A [`FaissError::Format`].
pub(super) fn format(
    offset: usize,
    field: &'static str,
    expected: impl std::fmt::Display,
    received: impl std::fmt::Display,
) -> FaissError {
    FaissError::Format {
        offset: offset as u64,
        field,
        expected: expected.to_string(),
        received: received.to_string(),
    }
}

/// Refuses NaN and infinity; `offset` is that of the first number.
pub(super) fn check_finite(
    offset: usize,
    field: &'static str,
    values: &Packed<'_, f32>,
) -> Result<(), FaissError> {
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((at, value)) => Err(format(offset + 4 * at, field, "a finite number", value)),
        None => Ok(()),
    }
}
