//! Vectors as the index sees them: borrowed [`Rows`] and shared, chunked [`RowChunks`].
//!
//! Shapes: `[n, dim]` f32, row-major. Invariant of [`Rows`]: the length is a multiple of `dim` and every value is finite,
//! checked once at construction so that no kernel has to. [`RowChunks`] trusts its owner (the store checks values before it
//! writes them and checksums afterwards) and checks shapes only.

use std::sync::Arc;

/// Largest dimension that any index takes, as in FAISS's own file reader.
pub const MAX_DIM: usize = 1 << 20;

/// Largest number of rows: row numbers are `u32` and the largest one means "none".
pub const MAX_ROWS: usize = u32::MAX as usize - 1;

/// Borrowed `[n, dim]` f32 rows, row-major, every value finite; checked once at construction.
///
/// ```
/// let rows = bilin_index::Rows::new(&[1.0, 0.0, 0.0, 1.0], 2)?;
/// assert_eq!((rows.len(), rows.row(1)), (2, &[0.0, 1.0][..]));
/// # Ok::<(), bilin_index::RowsError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    data: &'a [f32],
    dim: usize,
}

impl<'a> Rows<'a> {
    /// Wraps `data`; errors name expected and received lengths, or the first row and column that is NaN or infinite.
    pub fn new(data: &'a [f32], dim: usize) -> Result<Self, RowsError> {
        check_shape(data.len(), dim)?;
        // The largest exponent decides; an integer maximum vectorises where a chain of tests would not.
        let largest = data.iter().fold(0, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff));
        if largest >= f32::INFINITY.to_bits() {
            let (at, &value) =
                data.iter().enumerate().find(|(_, value)| !value.is_finite()).unwrap_or((0, &f32::NAN));
            return Err(RowsError::NotFinite { row: at / dim, column: at % dim, value });
        }
        Ok(Rows { data, dim })
    }

    /// Rows that are known to satisfy the invariant.
    pub(crate) fn trusted(data: &'a [f32], dim: usize) -> Self {
        debug_assert!(dim > 0 && data.len().is_multiple_of(dim));
        Rows { data, dim }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Values per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Row `i`, `[dim]`.
    ///
    /// # Panics
    /// When `i >= len()`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// All values, `[n * dim]`.
    pub fn as_slice(&self) -> &'a [f32] {
        self.data
    }
}

fn check_shape(len: usize, dim: usize) -> Result<(), RowsError> {
    if dim == 0 || dim > MAX_DIM || !len.is_multiple_of(dim) || len / dim > MAX_ROWS {
        return Err(RowsError::Shape { len, dim });
    }
    Ok(())
}

/// Why a slice cannot be used as rows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RowsError {
    /// The length does not fit the dimension.
    #[error(
        "{len} values are not rows of dimension {dim} (a multiple of it, dimension 1..={MAX_DIM}, at most {MAX_ROWS} rows)"
    )]
    Shape {
        /// Number of f32 values.
        len: usize,
        /// Values per row that were asked for.
        dim: usize,
    },
    /// A value is NaN or infinite.
    #[error("row {row}, column {column} is {value}, expected a finite number")]
    NotFinite {
        /// First row with such a value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value.
        value: f32,
    },
}

/// One chunk of shared f32 memory (an owned vector, or a memory map made by the store).
pub trait SharedF32: Send + Sync {
    /// The values; must be the same memory at every call.
    fn as_f32(&self) -> &[f32];
}

impl SharedF32 for Vec<f32> {
    fn as_f32(&self) -> &[f32] {
        self
    }
}

/// Read-only `[len, dim]` rows in chunks of `rows_per_chunk` (a power of two) rows; cheap to clone, never copied.
/// The last chunk may hold more memory than `len` needs. Row `i` is row `i % rows_per_chunk` of chunk `i / rows_per_chunk`.
#[derive(Clone)]
pub struct RowChunks {
    chunks: Arc<[Arc<dyn SharedF32>]>,
    rows_per_chunk: usize,
    dim: usize,
    len: usize,
}

impl std::fmt::Debug for RowChunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RowChunks { chunks, rows_per_chunk, dim, len } = self;
        write!(
            f,
            "RowChunks {{ len: {len}, dim: {dim}, chunks: {}, rows_per_chunk: {rows_per_chunk} }}",
            chunks.len()
        )
    }
}

impl RowChunks {
    /// Wraps chunks of `rows_per_chunk * dim` values each (the last one: at least what `len` needs).
    /// The values must be finite; whoever wrote them checked that.
    pub fn new(
        chunks: Vec<Arc<dyn SharedF32>>,
        rows_per_chunk: usize,
        dim: usize,
        len: usize,
    ) -> Result<Self, RowsError> {
        let values: usize = chunks.iter().map(|chunk| chunk.as_f32().len()).fold(0, usize::saturating_add);
        let shape = RowsError::Shape { len: values, dim };
        if dim == 0 || dim > MAX_DIM || !rows_per_chunk.is_power_of_two() || len > MAX_ROWS {
            return Err(shape);
        }
        if chunks.len() < len.div_ceil(rows_per_chunk) {
            return Err(shape);
        }
        for (i, chunk) in chunks.iter().enumerate() {
            let rows_needed = len.saturating_sub(i.saturating_mul(rows_per_chunk)).min(rows_per_chunk);
            if chunk.as_f32().len() / dim < rows_needed {
                return Err(shape);
            }
        }
        Ok(RowChunks { chunks: chunks.into(), rows_per_chunk, dim, len })
    }

    /// One owned chunk; for tests, benchmarks and imports. Every value must be finite.
    pub fn from_vec(data: Vec<f32>, dim: usize) -> Result<Self, RowsError> {
        let len = Rows::new(&data, dim)?.len();
        RowChunks::new(vec![Arc::new(data)], len.max(1).next_power_of_two(), dim, len)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Values per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Row `i`, `[dim]`.
    ///
    /// # Panics
    /// When `i >= len()`.
    pub fn row(&self, i: u32) -> &[f32] {
        let i = i as usize;
        assert!(i < self.len, "row {i} of {}", self.len);
        let at = (i & (self.rows_per_chunk - 1)) * self.dim;
        &self.chunks[i / self.rows_per_chunk].as_f32()[at..at + self.dim]
    }

    /// The longest contiguous run of rows starting at `start` and ending at or before `end`.
    /// Empty when `start >= end` or `start >= len()`.
    pub fn run(&self, start: usize, end: usize) -> Rows<'_> {
        let end = end.min(self.len);
        if start >= end {
            return Rows::trusted(&[], self.dim);
        }
        let chunk = start / self.rows_per_chunk;
        let base = chunk * self.rows_per_chunk;
        let stop = end.min(base.saturating_add(self.rows_per_chunk));
        let values = self.chunks[chunk].as_f32();
        Rows::trusted(&values[(start - base) * self.dim..(stop - base) * self.dim], self.dim)
    }
}

/// Shared rows followed by rows that an index owns because they were given to its `add`.
#[derive(Clone, Debug)]
pub(crate) struct RowStore {
    pub(crate) shared: RowChunks,
    pub(crate) owned: Vec<f32>,
}

impl RowStore {
    pub(crate) fn new(shared: RowChunks) -> Self {
        RowStore { shared, owned: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.shared.len() + self.owned.len() / self.shared.dim()
    }

    pub(crate) fn dim(&self) -> usize {
        self.shared.dim()
    }

    /// As [`RowChunks::run`], going on into the owned rows.
    pub(crate) fn run(&self, start: usize, end: usize) -> Rows<'_> {
        let shared = self.shared.len();
        if start < shared {
            return self.shared.run(start, end);
        }
        let dim = self.dim();
        let end = end.min(self.len());
        if start >= end {
            return Rows::trusted(&[], dim);
        }
        Rows::trusted(&self.owned[(start - shared) * dim..(end - shared) * dim], dim)
    }

    /// Slices resolved once, for loops that jump between rows.
    pub(crate) fn view(&self) -> RowView<'_> {
        let shared = &self.shared;
        RowView {
            chunks: shared.chunks.iter().map(|chunk| chunk.as_f32()).collect(),
            owned: &self.owned,
            shift: shared.rows_per_chunk.trailing_zeros(),
            mask: shared.rows_per_chunk - 1,
            shared_len: shared.len,
            dim: shared.dim,
        }
    }
}

/// Random access to the rows of a [`RowStore`] without a virtual call per row.
pub(crate) struct RowView<'a> {
    chunks: Vec<&'a [f32]>,
    owned: &'a [f32],
    shift: u32,
    mask: usize,
    shared_len: usize,
    dim: usize,
}

impl RowView<'_> {
    #[inline]
    pub(crate) fn row(&self, i: u32) -> &[f32] {
        let i = i as usize;
        if i < self.shared_len {
            let at = (i & self.mask) * self.dim;
            &self.chunks[i >> self.shift][at..at + self.dim]
        } else {
            let at = (i - self.shared_len) * self.dim;
            &self.owned[at..at + self.dim]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_the_first_bad_value() {
        assert_eq!(Rows::new(&[1.0; 7], 3).unwrap_err(), RowsError::Shape { len: 7, dim: 3 });
        assert!(Rows::new(&[], 0).is_err());
        let mut data = vec![0.5; 9000];
        data[8191] = f32::NEG_INFINITY;
        let error = Rows::new(&data, 3).unwrap_err();
        assert_eq!(error, RowsError::NotFinite { row: 2730, column: 1, value: f32::NEG_INFINITY });
    }

    #[test]
    fn chunks_are_walked_in_runs() {
        let chunk = |from: usize| -> Arc<dyn SharedF32> {
            Arc::new((from * 2..from * 2 + 8).map(|x| x as f32).collect::<Vec<_>>())
        };
        let rows = RowChunks::new(vec![chunk(0), chunk(4), chunk(8)], 4, 2, 9).unwrap();
        assert_eq!(rows.row(8), &[16.0, 17.0]);
        assert_eq!(rows.run(2, 9).as_slice(), &[4.0, 5.0, 6.0, 7.0]);
        assert_eq!(rows.run(4, 6).len(), 2);
        assert_eq!(rows.run(8, 100).len(), 1);
        assert!(rows.run(9, 100).is_empty());
        assert!(RowChunks::new(vec![chunk(0)], 4, 2, 5).is_err());
        assert!(RowChunks::new(vec![chunk(0)], 3, 2, 3).is_err());
    }

    #[test]
    fn a_store_goes_on_into_its_owned_rows() {
        let mut store = RowStore::new(RowChunks::from_vec(vec![0.0, 1.0, 2.0], 1).unwrap());
        store.owned.extend([3.0, 4.0]);
        assert_eq!(store.len(), 5);
        assert_eq!(store.run(1, 5).as_slice(), &[1.0, 2.0]);
        assert_eq!(store.run(3, 5).as_slice(), &[3.0, 4.0]);
        let view = store.view();
        assert_eq!((0..5).map(|i| view.row(i)[0]).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }
}
