//! [`FastScan`]: product codes of four bits in blocks of 32 entries, measured through tables that stay in registers
//! (André, Kermarrec and Le Scouarnec 2015; FAISS's `PQmx4fs`).
//!
//! A block holds 16 bytes per part, parts in order (an odd number of them is filled up by one): byte `i` has the number of
//! entry `i` in its low half and that of entry `16 + i` in its high half. A query's table of f32 becomes bytes: each part's
//! smallest value is taken off, one step serves all parts, and sums fit in sixteen bits. Behind the numbers, where differences
//! are stored under L2, stand 32 f32 terms (see the module above).

use super::plain::{Quantizer, differences};
use super::product::Pq;
use super::{BLOCK, Codes, Form, Layout, Output, Scorer, first_bits};
use crate::kernels::{Affine, code_kernels};
use crate::metric::Metric;

/// Bytes of one part in a block.
pub(super) const PART_BYTES: usize = 16;

/// A product quantizer of four bits over blocks.
#[derive(Debug)]
pub(crate) struct FastScan {
    pq: Pq,
    form: Form,
    by_residual: bool,
}

impl FastScan {
    /// `pq` has four bits. `by_residual`: differences to the lists' centroids are stored.
    pub(crate) fn new(pq: Pq, metric: Metric, by_residual: bool) -> Self {
        FastScan { pq, form: metric.into(), by_residual }
    }

    fn has_terms(&self) -> bool {
        self.by_residual && self.form == Form::L2
    }

    fn numbers_bytes(&self) -> usize {
        padded(self.pq.parts()) * PART_BYTES
    }

    /// Appends entries whose numbers exist already, `[n][m]`.
    fn append_numbers(&self, codes: &mut Vec<u8>, len: usize, centroid: &[f32], numbers: &[u16]) {
        let (m, layout) = (self.pq.parts(), self.layout());
        codes.resize(layout.bytes_of(len + numbers.len() / m), 0);
        let mut decoded = vec![0.0; self.pq.dim()];
        for (i, numbers) in numbers.chunks_exact(m).enumerate() {
            let block = &mut codes[(len + i) / BLOCK * layout.bytes..][..layout.bytes];
            let lane = (len + i) % BLOCK;
            for (j, &number) in numbers.iter().enumerate() {
                put_nibble(block, j, lane, number as u8);
            }
            if self.has_terms() {
                self.pq.vector_of(numbers.iter().map(|&number| usize::from(number)), &mut decoded);
                let term: f32 = decoded.iter().zip(centroid).map(|(y, c)| y * (y + 2.0 * c)).sum();
                put_f32(&mut block[self.numbers_bytes()..], lane, term);
            }
        }
    }
}

/// Parts of a block: an even number, as a kernel takes two at a time.
fn padded(parts: usize) -> usize {
    parts.next_multiple_of(2)
}

/// Number of `lane` for part `j`.
#[inline]
pub(super) fn nibble(block: &[u8], j: usize, lane: usize) -> u8 {
    block[j * PART_BYTES + lane % PART_BYTES] >> (lane / PART_BYTES * 4) & 15
}

#[inline]
pub(super) fn put_nibble(block: &mut [u8], j: usize, lane: usize, number: u8) {
    let shift = lane / PART_BYTES * 4;
    let byte = &mut block[j * PART_BYTES + lane % PART_BYTES];
    *byte = *byte & !(15 << shift) | number << shift;
}

/// Value `lane` of an array of little-endian f32.
#[inline]
pub(super) fn f32_of(values: &[u8], lane: usize) -> f32 {
    super::plain::f32_at(values, 4 * lane)
}

#[inline]
pub(super) fn put_f32(values: &mut [u8], lane: usize, value: f32) {
    values[4 * lane..4 * lane + 4].copy_from_slice(&value.to_le_bytes());
}

impl Codes for FastScan {
    fn layout(&self) -> Layout {
        let terms = if self.has_terms() { 4 * BLOCK } else { 0 };
        Layout { entries: BLOCK, bytes: self.numbers_bytes() + terms }
    }

    fn append(&self, codes: &mut Vec<u8>, len: usize, centroid: &[f32], vectors: &[f32]) {
        let numbers = if self.by_residual {
            self.pq.assign(&differences(vectors, centroid))
        } else {
            self.pq.assign(vectors)
        };
        self.append_numbers(codes, len, centroid, &numbers);
    }

    fn append_encoded(&self, codes: &mut Vec<u8>, len: usize, centroid: &[f32], encoded: &[u8]) -> bool {
        let m = self.pq.parts();
        let is_whole = encoded.len().is_multiple_of(m.div_ceil(2));
        if is_whole {
            let number = |code: &[u8], j: usize| u16::from(code[j / 2] >> (j % 2 * 4) & 15);
            let rows = encoded.chunks_exact(m.div_ceil(2));
            let numbers: Vec<u16> = rows.flat_map(|code| (0..m).map(move |j| number(code, j))).collect();
            self.append_numbers(codes, len, centroid, &numbers);
        }
        is_whole
    }

    fn encoded(&self, codes: &[u8], len: usize) -> Option<Vec<u8>> {
        let (m, bytes) = (self.pq.parts(), self.layout().bytes);
        let mut encoded = vec![0; len * m.div_ceil(2)];
        for (at, code) in encoded.chunks_exact_mut(m.div_ceil(2)).enumerate() {
            let block = &codes[at / BLOCK * bytes..];
            (0..m).for_each(|j| code[j / 2] |= nibble(block, j, at % BLOCK) << (j % 2 * 4));
        }
        Some(encoded)
    }

    fn move_entry(&self, codes: &mut [u8], from: usize, to: usize) {
        let layout = self.layout();
        let (from_block, to_block) = (from / BLOCK * layout.bytes, to / BLOCK * layout.bytes);
        for j in 0..self.pq.parts() {
            let number = nibble(&codes[from_block..], j, from % BLOCK);
            put_nibble(&mut codes[to_block..], j, to % BLOCK, number);
        }
        if self.has_terms() {
            let term = f32_of(&codes[from_block + self.numbers_bytes()..], from % BLOCK);
            put_f32(&mut codes[to_block + self.numbers_bytes()..], to % BLOCK, term);
        }
    }

    fn decode(&self, codes: &[u8], at: usize, centroid: &[f32], vector: &mut [f32]) {
        let block = &codes[at / BLOCK * self.layout().bytes..];
        let numbers = (0..self.pq.parts()).map(|j| usize::from(nibble(block, j, at % BLOCK)));
        self.pq.vector_of(numbers, vector);
        if self.by_residual {
            vector.iter_mut().zip(centroid).for_each(|(value, centre)| *value += centre);
        }
    }

    fn bind<'a>(&'a self, query: &'a [f32], _output: Output) -> Box<dyn Scorer + 'a> {
        let form = if self.has_terms() { Form::Dot } else { self.form };
        let table = self.pq.table(query, form);
        // Products are distances negated, and twice that beside a term.
        let sign = match (self.form, self.has_terms()) {
            (Form::L2, false) => 1.0,
            (Form::L2, true) => -2.0,
            (Form::Dot, _) => -1.0,
        };
        let scaled: Vec<f32> = table.iter().map(|value| value * sign).collect();
        let table = ByteTable::new(&scaled, padded(self.pq.parts()));
        Box::new(FastScorer { codes: self, table, base: 0.0 })
    }

    fn learned(&self) -> Vec<f32> {
        self.pq.learned()
    }

    fn by_residual(&self) -> bool {
        self.by_residual
    }
}

/// A table of 16 values per part as bytes: `sum of values ~ offset + step * sum of bytes`.
pub(super) struct ByteTable {
    pub(super) bytes: Vec<u8>,
    pub(super) offset: f32,
    pub(super) step: f32,
}

impl ByteTable {
    /// `values` is `[parts][16]`; further parts up to `padded` count nothing.
    pub(super) fn new(values: &[f32], padded: usize) -> Self {
        let (rows, _) = values.as_chunks::<16>();
        let (mut offset, mut widest) = (0.0, 0.0_f32);
        let lows: Vec<f32> = rows
            .iter()
            .map(|row| {
                let low = row.iter().copied().fold(f32::INFINITY, f32::min);
                let high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                widest = widest.max(high - low);
                low
            })
            .collect();
        lows.iter().for_each(|low| offset += low);
        // Sums stay below 2^16 for any number of parts.
        let levels = (usize::from(u16::MAX) / rows.len().max(1)).min(255) as f32;
        let step = if widest > 0.0 && widest.is_finite() { widest / levels } else { 1.0 };
        let inverse = 1.0 / step;
        let mut bytes = vec![0; padded * 16];
        for ((row, low), bytes) in rows.iter().zip(&lows).zip(bytes.chunks_exact_mut(16)) {
            for (byte, value) in bytes.iter_mut().zip(row) {
                *byte = ((value - low) * inverse + 0.5).min(levels) as u8;
            }
        }
        ByteTable { bytes, offset, step }
    }
}

struct FastScorer<'a> {
    codes: &'a FastScan,
    table: ByteTable,
    base: f32,
}

impl Scorer for FastScorer<'_> {
    fn enter(&mut self, _centroid: &[f32], distance: f32) {
        self.base = if self.codes.by_residual { distance } else { 0.0 };
    }

    fn score(&mut self, codes: &[u8], count: usize, limit: f32, out: &mut [f32; BLOCK]) -> u32 {
        let kernels = code_kernels();
        let (numbers, terms) = codes.split_at(self.codes.numbers_bytes());
        let mut sums = [0; BLOCK];
        kernels.fast_scan(&self.table.bytes, numbers, &mut sums);
        let affine = Affine { offset: self.base + self.table.offset, step: self.table.step };
        let terms = terms.first_chunk::<{ 4 * BLOCK }>().filter(|_| self.codes.has_terms());
        kernels.affine(&sums, affine, terms, limit, out) & first_bits(count)
    }
}
