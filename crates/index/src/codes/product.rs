//! [`Pq`], the product quantizer (Jégou et al. 2011): a vector is cut into `m` parts, each replaced by the nearest of
//! `2^bits` centroids of that part.
//!
//! Centroids are `[m][2^bits][dim / m]` and a code is the `m` numbers as a little-endian bit string, both as in FAISS. A query
//! is bound by a table `[m][2^bits]` of its distances (or products) to every centroid; a code is measured by `m` look-ups.

use super::plain::{Measure, Quantizer};
use super::{BLOCK, Form};
use crate::error::IndexError;
use crate::kernels::{PANEL_ROWS, kernels};
use crate::kmeans::{self, Assigner};
use crate::metric::Metric;
use crate::rows::Rows;
use rayon::prelude::*;

/// Training vectors per centroid: more bring nothing (FAISS's bound).
pub(super) const POINTS_PER_CENTROID: usize = 256;

/// A trained product quantizer.
#[derive(Clone, Debug)]
pub(crate) struct Pq {
    dim: usize,
    m: usize,
    bits: usize,
    centroids: Vec<f32>,
    /// Per part.
    assigners: Vec<Assigner>,
}

impl Pq {
    /// Trains on `sample`, `[n, dim]`; the same for any number of threads.
    ///
    /// # Errors
    /// `m` that does not divide `dim`, fewer rows than centroids.
    pub(crate) fn train(
        dim: usize,
        m: usize,
        bits: usize,
        sample: &[f32],
        seed: u64,
    ) -> Result<Self, IndexError> {
        check_parts(dim, m)?;
        let (count, part) = (1 << bits, dim / m);
        let rows = sample.len() / dim;
        if rows < count {
            return Err(IndexError::TooFewRows { needed: count, received: rows });
        }
        let used = rows.min(count * POINTS_PER_CENTROID);
        let trained: Result<Vec<Vec<f32>>, IndexError> = (0..m)
            .into_par_iter()
            .map(|j| {
                let rows = (0..used).map(|i| i * rows / used);
                let points: Vec<f32> =
                    rows.flat_map(|row| &sample[row * dim + j * part..][..part]).copied().collect();
                let seed = seed.wrapping_add(j as u64);
                kmeans::train(Metric::L2, Rows::trusted(&points, part), count, seed, &|_, _| Ok(()))
            })
            .collect();
        let centroids = trained?.concat();
        Ok(Pq::new(dim, m, bits, centroids))
    }

    fn new(dim: usize, m: usize, bits: usize, centroids: Vec<f32>) -> Self {
        let part = dim / m;
        let parts = centroids.chunks_exact(part << bits);
        let assigners = parts.map(|centroids| Assigner::new(Metric::L2, centroids, part)).collect();
        Pq { dim, m, bits, centroids, assigners }
    }

    /// `centroids`: `[m][2^bits][dim / m]`. `None` when the shapes do not agree or `bits` is not in `1..=12`.
    pub(crate) fn from_parts(dim: usize, m: usize, bits: usize, centroids: Vec<f32>) -> Option<Self> {
        let is_valid = crate::spec::PQ_BITS_RANGE.contains(&bits)
            && check_parts(dim, m).is_ok()
            && centroids.len() == Pq::learned_len(dim, bits);
        is_valid.then(|| Pq::new(dim, m, bits, centroids))
    }

    /// Numbers that a trained quantizer holds.
    pub(crate) fn learned_len(dim: usize, bits: usize) -> usize {
        dim << bits
    }

    /// The vectors that the codes of `vectors`, `[n, dim]`, stand for.
    pub(crate) fn nearest(&self, vectors: &[f32]) -> Vec<f32> {
        let mut nearest = vec![0.0; vectors.len()];
        let numbers = self.assign(vectors);
        for (numbers, vector) in numbers.chunks_exact(self.m).zip(nearest.chunks_exact_mut(self.dim)) {
            self.vector_of(numbers.iter().map(|&number| usize::from(number)), vector);
        }
        nearest
    }

    pub(super) fn parts(&self) -> usize {
        self.m
    }

    /// Number of the nearest centroid of every part of every vector, `[n][m]`.
    pub(super) fn assign(&self, vectors: &[f32]) -> Vec<u16> {
        let (dim, m, part) = (self.dim, self.m, self.dim / self.m);
        let rows = vectors.len() / dim;
        let mut numbers = vec![0; rows * m];
        let mut points = Vec::with_capacity(rows * part);
        for (j, assigner) in self.assigners.iter().enumerate() {
            points.clear();
            vectors
                .chunks_exact(dim)
                .for_each(|row| points.extend_from_slice(&row[j * part..(j + 1) * part]));
            for (i, number) in assigner.assign(&points).into_iter().enumerate() {
                numbers[i * m + j] = number as u16;
            }
        }
        numbers
    }

    /// The vector of one number per part.
    pub(super) fn vector_of(&self, numbers: impl Iterator<Item = usize>, vector: &mut [f32]) {
        let part = self.dim / self.m;
        for (j, (number, values)) in numbers.zip(vector.chunks_exact_mut(part)).enumerate() {
            let at = ((j << self.bits) + (number & ((1 << self.bits) - 1))) * part;
            values.copy_from_slice(&self.centroids[at..at + part]);
        }
    }

    /// `[m][2^bits]`: squared distances or inner products of the query's parts with the parts' centroids.
    pub(super) fn table(&self, query: &[f32], form: Form) -> Vec<f32> {
        let kernels = kernels();
        let (part, count) = (self.dim / self.m, 1 << self.bits);
        let mut table = vec![0.0; self.m * count];
        let mut out = [0.0; PANEL_ROWS];
        for (j, row) in table.chunks_exact_mut(count).enumerate() {
            let query = &query[j * part..(j + 1) * part];
            let panels = self.assigners[j].panels().chunks_exact(PANEL_ROWS * part);
            for (panel, values) in panels.zip(row.chunks_mut(PANEL_ROWS)) {
                match form {
                    Form::L2 => kernels.panel_l2(query, panel, f32::INFINITY, &mut out),
                    Form::Dot => kernels.panel_dot(query, panel, f32::INFINITY, &mut out),
                };
                values.copy_from_slice(&out[..values.len()]);
            }
        }
        table
    }

    /// The `m` numbers of a code.
    fn numbers<'a>(&self, code: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let (bits, mut word, mut held) = (self.bits, 0_u32, 0);
        let mut bytes = code.iter();
        (0..self.m).map(move |_| {
            while held < bits {
                word |= u32::from(bytes.next().copied().unwrap_or(0)) << held;
                held += 8;
            }
            let number = word & ((1 << bits) - 1);
            word >>= bits;
            held -= bits;
            number as usize
        })
    }
}

/// `m` must divide the dimension; the error names the nearest `m` that does.
pub(super) fn check_parts(dim: usize, m: usize) -> Result<(), IndexError> {
    if m > 0 && dim.is_multiple_of(m) {
        return Ok(());
    }
    let expected = format!("a divisor of the dimension {dim}; the nearest is {}", nearest_divisor(dim, m));
    Err(IndexError::Parameter { name: "PQ parts", expected, received: m.to_string() })
}

/// The divisor of `dim` nearest to `m`, the larger of two equally near.
pub(crate) fn nearest_divisor(dim: usize, m: usize) -> usize {
    let small = (1..=dim.isqrt()).filter(|&small| dim.is_multiple_of(small));
    let all = small.flat_map(|small| [small, dim / small]);
    all.min_by_key(|&divisor| (divisor.abs_diff(m), usize::MAX - divisor)).unwrap_or(1)
}

impl Quantizer for Pq {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_bytes(&self) -> usize {
        (self.m * self.bits).div_ceil(8)
    }

    fn encode(&self, vectors: &[f32], codes: &mut [u8]) {
        let numbers = self.assign(vectors);
        let rows = numbers.chunks_exact(self.m).zip(codes.chunks_exact_mut(self.code_bytes()));
        for (numbers, code) in rows {
            code.fill(0);
            for (j, &number) in numbers.iter().enumerate() {
                let (byte, shift) = (j * self.bits / 8, j * self.bits % 8);
                // At most 7 + 12 bits: three bytes.
                let wide = u32::from(number) << shift;
                for (i, code) in code[byte..].iter_mut().take(3).enumerate() {
                    *code |= (wide >> (8 * i)) as u8;
                }
            }
        }
    }

    fn decode(&self, code: &[u8], vector: &mut [f32]) {
        self.vector_of(self.numbers(code), vector);
    }

    fn bind<'a>(&'a self, query: &'a [f32], form: Form) -> Box<dyn Measure + 'a> {
        Box::new(TableMeasure { pq: self, table: self.table(query, form) })
    }

    fn learned(&self) -> Vec<f32> {
        self.centroids.clone()
    }
}

struct TableMeasure<'a> {
    pq: &'a Pq,
    table: Vec<f32>,
}

impl Measure for TableMeasure<'_> {
    fn measure(&mut self, codes: &[u8], stride: usize, out: &mut [f32; BLOCK]) {
        let code_bytes = self.pq.code_bytes();
        if self.pq.bits == 8 {
            let (rows, _) = self.table.as_chunks::<256>();
            let mut fours = codes.chunks_exact(4 * stride);
            let mut at = 0;
            for four in &mut fours {
                // Four sums at once, since each waits for its look-ups.
                let mut sums = [0.0_f32; 4];
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| &four[i * stride..][..rows.len()]);
                for (j, row) in rows.iter().enumerate() {
                    sums[0] += row[usize::from(a[j])];
                    sums[1] += row[usize::from(b[j])];
                    sums[2] += row[usize::from(c[j])];
                    sums[3] += row[usize::from(d[j])];
                }
                out[at..at + 4].copy_from_slice(&sums);
                at += 4;
            }
            for (code, out) in fours.remainder().chunks_exact(stride).zip(&mut out[at..]) {
                *out = code.iter().zip(rows).map(|(&number, row)| row[usize::from(number)]).sum();
            }
            return;
        }
        let count = 1 << self.pq.bits;
        for (code, out) in codes.chunks_exact(stride).zip(out) {
            let numbers = self.pq.numbers(&code[..code_bytes]);
            *out = numbers.zip(self.table.chunks_exact(count)).map(|(number, row)| row[number]).sum();
        }
    }
}
