//! [`RaBitQ`]: randomised binary codes with an error bound (Gao and Long 2024, arXiv 2405.12497), extended to more bits (Gao
//! et al. 2024, arXiv 2409.09913).
//!
//! The difference to the list's centroid is rotated at random; call it `r`. Its code is a vector `y` of whole numbers plus a
//! half, `2^bits` levels around zero, at a small angle to `r`. With `f = |r|^2 / <y, r>`, the product of `r` with any `x`
//! is about `f <y, x>`: right on average over rotations, and off by `|x| f |y| sqrt(1 - a^2) / sqrt(dim - 1)` in standard deviation,
//! `a` the cosine of `y` and `r`. Products with the centroid are known when a row is encoded, so a query is rotated once,
//! not once a list: `|q - o|^2 ~ |q - c|^2 + (|r|^2 + 2 f <y, Pc>) - 2 f <y, Pq>`, and alike for inner products.
//!
//! The upper bits of all levels are the signs of `r`. They are scanned first, four dimensions as one number of a fast-scan
//! block; only entries whose distance less its error may be near enough are measured by all bits.
//!
//! Block of 32 entries: signs, `[dim / 4][16]` bytes as in `fast_scan`; add, scale and error of the signs alone, `[3][32]` f32; and with
//! more than one bit: lower bits as planes, `[32][bits - 1][dim / 8]` bytes, and their `[3][32]` f32. `dim` is rounded up to 16.

use super::fast_scan::{ByteTable, PART_BYTES, f32_of, nibble, put_f32, put_nibble};
use super::plain::differences;
use super::{BLOCK, Codes, Form, Layout, Output, Scorer, first_bits};
use crate::kernels::codes::BLOCK_FLOATS;
use crate::kernels::{Factored, code_kernels, kernels};
use crate::metric::Metric;
use crate::rotation::Rotation;

/// Dimensions are filled up to a multiple of this: parts in pairs, planes in 16-bit words.
const DIM_STEP: usize = 16;
/// Bytes of the three factors of 32 entries.
const FACTOR_BYTES: usize = 3 * BLOCK_FLOATS;
/// Standard deviations that a bound on the signs' estimate allows for: 1.9 in the paper; docs/decisions/0003-codes.md.
const SIGN_DEVIATIONS: f32 = 1.7;
/// Standard deviations that a bound on all bits' estimate allows for.
const LEVEL_DEVIATIONS: f32 = 2.4;
/// Best distance of levels for a normal distribution of standard deviation 1, by bits from 1 (Max 1960).
const STEPS: [f32; 8] = [1.596, 0.9957, 0.586, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];
/// Multiples of it that are tried for every row.
const STEP_CHOICES: [f32; 7] = [0.75, 0.83, 0.91, 1.0, 1.1, 1.21, 1.34];

/// Codes of a number of bits per dimension; nothing is trained.
#[derive(Debug)]
pub(crate) struct RaBitQ {
    dim: usize,
    padded: usize,
    bits: usize,
    form: Form,
    rotation: Rotation,
}

/// One row's code: levels, and add, scale and error of the signs and of the levels.
struct Encoded {
    levels: Vec<u8>,
    signs: [f32; 3],
    all: [f32; 3],
}

impl RaBitQ {
    /// `bits` in `1..=8`.
    pub(crate) fn new(dim: usize, bits: usize, metric: Metric, seed: u64) -> Self {
        let padded = dim.next_multiple_of(DIM_STEP);
        RaBitQ { dim, padded, bits, form: metric.into(), rotation: Rotation::new(padded, seed) }
    }

    fn sign_bytes(&self) -> usize {
        self.padded / 4 * PART_BYTES
    }

    /// Bytes of one entry's lower bits.
    fn plane_bytes(&self) -> usize {
        (self.bits - 1) * self.padded / 8
    }

    /// Where the lower bits of a block begin.
    fn planes_at(&self) -> usize {
        self.sign_bytes() + FACTOR_BYTES
    }

    fn rotated(&self, vector: &[f32]) -> Vec<f32> {
        let mut rotated = Vec::with_capacity(self.padded);
        rotated.extend_from_slice(vector);
        rotated.resize(self.padded, 0.0);
        self.rotation.apply(&mut rotated);
        rotated
    }

    /// `residual` is rotated, `centre` the rotated centroid, `along` the product of both before.
    fn encode(&self, residual: &[f32], centre: &[f32], along: f32) -> Encoded {
        let highest = ((1_u32 << self.bits) - 1) as f32;
        let half = highest / 2.0;
        let norm: f32 = residual.iter().map(|value| value * value).sum();
        let root = (norm / residual.len() as f32).sqrt();
        let is_usable = root > 0.0 && norm.is_finite();
        let levels: Vec<u8> = if is_usable {
            let inverse = self.best_inverse_step(residual, root, highest);
            residual.iter().map(|&value| level(value * inverse + half, highest) as u8).collect()
        } else {
            vec![0; residual.len()]
        };
        let factors = |y: &dyn Fn(u8) -> f32| {
            let (mut product, mut length, mut with_centre) = (0.0_f32, 0.0_f32, 0.0_f32);
            for ((&level, value), centre) in levels.iter().zip(residual).zip(centre) {
                let y = y(level);
                product += y * value;
                length += y * y;
                with_centre += y * centre;
            }
            if !is_usable || product <= 0.0 {
                // The centroid itself: nothing to add to it. Overflow: never near.
                let add = if norm.is_finite() { norm } else { f32::MAX };
                return [if self.form == Form::L2 { add } else { -along }, 0.0, 0.0];
            }
            let f = norm / product;
            let sine = (1.0 - (product * product / (norm * length)).min(1.0)).sqrt();
            let error = f * (length / (self.padded - 1) as f32).sqrt() * sine;
            match self.form {
                Form::L2 => [norm + 2.0 * f * with_centre, -2.0 * f, 2.0 * error],
                Form::Dot => [f * with_centre - along, -f, error],
            }
        };
        let middle = 1_u8 << (self.bits - 1);
        let signs = factors(&|level| if level >= middle { 1.0 } else { -1.0 });
        let all = if self.bits > 1 { factors(&|level| f32::from(level) - half) } else { signs };
        Encoded { levels, signs, all }
    }

    /// The step, of a few, whose levels lie at the smallest angle to the row.
    fn best_inverse_step(&self, residual: &[f32], root: f32, highest: f32) -> f32 {
        let half = highest / 2.0;
        let base = 1.0 / (STEPS[self.bits - 1] * root);
        if self.bits == 1 {
            return base;
        }
        let (mut best, mut chosen) = (f32::NEG_INFINITY, base);
        for choice in STEP_CHOICES {
            let inverse = base / choice;
            let (mut along, mut length) = (0.0_f32, 0.0_f32);
            // Eight sums at once, so that the loop is a vector's.
            let (eights, _) = residual.as_chunks::<8>();
            let (mut alongs, mut lengths) = ([0.0_f32; 8], [0.0_f32; 8]);
            for eight in eights {
                for i in 0..8 {
                    let y = level(eight[i] * inverse + half, highest) - half;
                    alongs[i] += y * eight[i];
                    lengths[i] += y * y;
                }
            }
            for i in 0..8 {
                along += alongs[i];
                length += lengths[i];
            }
            let cosine = along / length.sqrt();
            if cosine > best {
                (best, chosen) = (cosine, inverse);
            }
        }
        chosen
    }

    fn put(&self, block: &mut [u8], lane: usize, encoded: &Encoded) {
        let middle_bit = self.bits - 1;
        for (part, four) in encoded.levels.chunks_exact(4).enumerate() {
            let signs =
                four.iter().enumerate().fold(0, |signs, (i, level)| signs | (level >> middle_bit & 1) << i);
            put_nibble(block, part, lane, signs);
        }
        let mut put_factors = |at: usize, factors: &[f32; 3]| {
            for (which, &value) in factors.iter().enumerate() {
                put_f32(&mut block[at + which * BLOCK_FLOATS..], lane, value);
            }
        };
        put_factors(self.sign_bytes(), &encoded.signs);
        if self.bits > 1 {
            put_factors(self.planes_at() + BLOCK * self.plane_bytes(), &encoded.all);
            let (from, bytes) = (self.planes_at() + lane * self.plane_bytes(), self.plane_bytes());
            let planes = block[from..from + bytes].chunks_exact_mut(self.padded / 8);
            for (p, plane) in planes.enumerate() {
                for (byte, eight) in plane.iter_mut().zip(encoded.levels.chunks_exact(8)) {
                    *byte = eight.iter().enumerate().fold(0, |byte, (i, level)| byte | (level >> p & 1) << i);
                }
            }
        }
    }

    /// The level of dimension `d` of an entry.
    fn level_of(&self, block: &[u8], lane: usize, d: usize) -> u32 {
        let sign = u32::from(nibble(block, d / 4, lane) >> (d % 4) & 1) << (self.bits - 1);
        let planes = &block[(self.planes_at() + lane * self.plane_bytes()).min(block.len())..];
        let plane_bytes = self.padded / 8;
        let lower = (0..self.bits - 1)
            .map(|p| u32::from(planes[p * plane_bytes + d / 8] >> (d % 8) & 1) << p)
            .sum::<u32>();
        sign + lower
    }
}

/// The nearest whole number of `0..=highest`.
#[inline(always)]
fn level(value: f32, highest: f32) -> f32 {
    /// Adding and taking away 2^23 rounds to a whole number, in registers.
    const ROUND: f32 = 8_388_608.0;
    (value.clamp(0.0, highest) + ROUND) - ROUND
}

impl Codes for RaBitQ {
    fn layout(&self) -> Layout {
        let more = if self.bits > 1 { BLOCK * self.plane_bytes() + FACTOR_BYTES } else { 0 };
        Layout { entries: BLOCK, bytes: self.planes_at() + more }
    }

    fn append(&self, codes: &mut Vec<u8>, len: usize, centroid: &[f32], vectors: &[f32]) {
        let layout = self.layout();
        codes.resize(layout.bytes_of(len + vectors.len() / self.dim), 0);
        let centre = self.rotated(centroid);
        for (i, residual) in differences(vectors, centroid).chunks_exact(self.dim).enumerate() {
            let along = residual.iter().zip(centroid).map(|(r, c)| r * c).sum();
            let encoded = self.encode(&self.rotated(residual), &centre, along);
            let block = &mut codes[(len + i) / BLOCK * layout.bytes..][..layout.bytes];
            self.put(block, (len + i) % BLOCK, &encoded);
        }
    }

    fn append_encoded(&self, _codes: &mut Vec<u8>, _len: usize, _centroid: &[f32], _encoded: &[u8]) -> bool {
        false
    }

    fn encoded(&self, _codes: &[u8], _len: usize) -> Option<Vec<u8>> {
        None
    }

    fn move_entry(&self, codes: &mut [u8], from: usize, to: usize) {
        let bytes = self.layout().bytes;
        let (from_at, to_at) = (from / BLOCK * bytes, to / BLOCK * bytes);
        let (from, to) = (from % BLOCK, to % BLOCK);
        for part in 0..self.padded / 4 {
            let signs = nibble(&codes[from_at..], part, from);
            put_nibble(&mut codes[to_at..], part, to, signs);
        }
        let mut move_factors = |at: usize| {
            for which in 0..3 {
                let at = at + which * BLOCK_FLOATS;
                let value = f32_of(&codes[from_at + at..], from);
                put_f32(&mut codes[to_at + at..], to, value);
            }
        };
        move_factors(self.sign_bytes());
        if self.bits > 1 {
            move_factors(self.planes_at() + BLOCK * self.plane_bytes());
            let (at, bytes) = (self.planes_at(), self.plane_bytes());
            let source = from_at + at + from * bytes;
            codes.copy_within(source..source + bytes, to_at + at + to * bytes);
        }
    }

    fn decode(&self, codes: &[u8], at: usize, centroid: &[f32], vector: &mut [f32]) {
        let layout = self.layout();
        let (block, lane) = (&codes[at / BLOCK * layout.bytes..][..layout.bytes], at % BLOCK);
        let factors_at =
            if self.bits > 1 { self.planes_at() + BLOCK * self.plane_bytes() } else { self.sign_bytes() };
        let doubled = if self.form == Form::L2 { 2.0 } else { 1.0 };
        let f = f32_of(&block[factors_at + BLOCK_FLOATS..], lane) / -doubled;
        let error = f32_of(&block[factors_at + 2 * BLOCK_FLOATS..], lane) / doubled;
        let half = ((1_u32 << self.bits) - 1) as f32 / 2.0;
        let mut y: Vec<f32> = (0..self.padded).map(|d| self.level_of(block, lane, d) as f32 - half).collect();
        let length: f32 = y.iter().map(|y| y * y).sum();
        // `f` keeps products right; the nearest vector along `y` is shorter, by the square of the cosine.
        let sine = error / (f * (length / (self.padded - 1) as f32).sqrt());
        let scale = if f > 0.0 { f * (1.0 - sine * sine).clamp(0.0, 1.0) } else { 0.0 };
        y.iter_mut().for_each(|y| *y *= scale);
        self.rotation.invert(&mut y);
        for ((value, y), centre) in vector.iter_mut().zip(&y).zip(centroid) {
            *value = y + centre;
        }
    }

    fn bind<'a>(&'a self, query: &'a [f32], output: Output) -> Box<dyn Scorer + 'a> {
        let rotated = self.rotated(query);
        // Per four dimensions the sums of the query's values with each choice of signs.
        let mut table = Vec::with_capacity(self.padded * 4);
        for &[a, b, c, d] in rotated.as_chunks::<4>().0 {
            let low = [-a - b, a - b, b - a, a + b];
            let high = [-c - d, c - d, d - c, c + d];
            table.extend(high.iter().flat_map(|high| low.iter().map(move |low| low + high)));
        }
        let bytes = ByteTable::new(&table, self.padded / 4);
        // Rounding to bytes adds its own error; 0.36 is 1 - a^2 of signs of a normal distribution.
        let rounding = bytes.step * bytes.step * (self.padded / 4) as f32 / 12.0 / 0.36;
        let sum = rotated.iter().sum();
        if self.bits == 1 {
            table.clear();
        }
        Box::new(RaBitScorer {
            codes: self,
            query,
            rotated,
            table,
            bytes,
            rounding,
            sum,
            with_bounds: output == Output::LowerBound,
            base: 0.0,
            error: 0.0,
            level_error: 0.0,
        })
    }

    fn learned(&self) -> Vec<f32> {
        Vec::new()
    }

    fn has_bounds(&self) -> bool {
        true
    }

    fn by_residual(&self) -> bool {
        true
    }
}

struct RaBitScorer<'a> {
    codes: &'a RaBitQ,
    query: &'a [f32],
    rotated: Vec<f32>,
    /// `[dim / 4][16]`, for more than one bit.
    table: Vec<f32>,
    bytes: ByteTable,
    rounding: f32,
    sum: f32,
    with_bounds: bool,
    base: f32,
    /// What the error factors of signs, and of all bits, are multiplied by.
    error: f32,
    level_error: f32,
}

impl RaBitScorer<'_> {
    /// The product of the query with the levels of an entry.
    fn product(&self, block: &[u8], lane: usize) -> f32 {
        let codes = self.codes;
        let shift = lane / PART_BYTES * 4;
        let column = block[lane % PART_BYTES..].iter().step_by(PART_BYTES);
        let signs: f32 = column
            .zip(self.table.as_chunks::<16>().0)
            .map(|(byte, sums)| sums[usize::from(byte >> shift & 15)])
            .sum();
        let planes = &block[codes.planes_at() + lane * codes.plane_bytes()..][..codes.plane_bytes()];
        let lower = code_kernels().plane_dot(planes, &self.rotated);
        let (middle, half) = ((1_u32 << (codes.bits - 1)) as f32, ((1_u32 << codes.bits) - 1) as f32 / 2.0);
        middle * 0.5 * (signs + self.sum) + lower - half * self.sum
    }
}

impl Scorer for RaBitScorer<'_> {
    fn enter(&mut self, centroid: &[f32], distance: f32) {
        let squared = match self.codes.form {
            Form::L2 => distance,
            Form::Dot => kernels().l2(self.query, centroid),
        };
        self.base = distance;
        let is_needed = self.with_bounds || self.codes.bits > 1;
        self.error = if is_needed { SIGN_DEVIATIONS * (squared + self.rounding).sqrt() } else { 0.0 };
        self.level_error = if self.with_bounds { LEVEL_DEVIATIONS * squared.sqrt() } else { 0.0 };
    }

    fn score(&mut self, codes: &[u8], count: usize, limit: f32, out: &mut [f32; BLOCK]) -> u32 {
        let kernels = code_kernels();
        let layout = self.codes.layout();
        let block = &codes[..layout.bytes];
        let (signs, rest) = block.split_at(self.codes.sign_bytes());
        let mut sums = [0; BLOCK];
        kernels.fast_scan(&self.bytes.bytes, signs, &mut sums);
        let Some(factors) = rest.first_chunk::<FACTOR_BYTES>() else { return 0 };
        let product = crate::kernels::Affine { offset: self.bytes.offset, step: self.bytes.step };
        let by = Factored { product, base: self.base, error_scale: self.error };
        let mut mask = kernels.factored(&sums, by, factors, limit, out) & first_bits(count);
        if self.codes.bits == 1 {
            return mask;
        }
        let factors = &block[self.codes.planes_at() + BLOCK * self.codes.plane_bytes()..];
        let mut kept = 0;
        while mask != 0 {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let [add, scale, error] = [0, 1, 2].map(|which| f32_of(&factors[which * BLOCK_FLOATS..], lane));
            let value = self.base + add + scale * self.product(block, lane) - error * self.level_error;
            out[lane] = value;
            kept |= u32::from(value <= limit) << lane;
        }
        kept
    }
}
