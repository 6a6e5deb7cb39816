//! Searching by a [`Shadow`]: coarse codes of every row, fine codes of what is left, f32 of what is left then.
//!
//! The k-th distance found so far shrinks while the scan goes on, and with it what has to be measured; tasks that share a query
//! tell each other theirs. Any of these distances is at least the final one, so none can hide a row of the answer.

use super::bound::{Query, may_be_near};
use super::{BLOCK_ROWS, BLOCK_TERMS, FINE_TERMS, LINE_VALUES, Shadow};
use crate::exact::{Scan, TILE_FROM_QUERIES, Work};
use crate::hits::{Hits, TopK};
use crate::kernels::{NibbleBound, NibbleScan, prefetch};
use crate::rows::RowView;
use std::ops::Range;
use std::sync::atomic::{AtomicI32, Ordering};

/// Blocks per call of the kernel with one query; with more, their codes stay in the first-level cache beside the sums.
const BLOCKS_ALONE: usize = 64;
const BLOCKS_SHARED: usize = 16;
/// Fewer than one row in this many allowed by a filter: they are measured one by one.
const SCATTERED_BELOW: usize = 24;
/// Rows after which, again and again, it is asked whether the codes hold enough back. Not before `k` times
/// [`SETTLED_PER_K`] rows: at first most rows are among the nearest so far.
const JUDGED_ROWS: usize = 4096;
const SETTLED_PER_K: usize = 32;
/// Nanoseconds at 128 values, for that question: a fine code, a row measured alone, a row scanned in f32 by one query
/// and by a tile of them.
const FINE_COST: usize = 20;
const MEASURE_COST: usize = 80;
const SCAN_COST: usize = 45;
const TILE_COST: usize = 12;
/// Work with codes beside that with f32, as the thresholds for threads count it.
const CHEAPER: usize = 2;

/// One exact search over the rows of a store by their shadow.
pub(crate) struct ShadowScan<'a> {
    /// The same search without; measures what is left.
    pub(crate) plain: Scan<'a>,
    /// Of the rows in `plain.store`.
    pub(crate) shadow: &'a Shadow,
}

impl ShadowScan<'_> {
    /// Answers of prepared queries, `[n, dim]`, over all rows: the bits of `plain.search`.
    pub(crate) fn search(&self, queries: &[f32], k: usize, radius: Option<f32>) -> Vec<Hits> {
        let Shadow { dim, rows, .. } = *self.shadow;
        debug_assert_eq!((dim, rows), (self.plain.store.dim(), self.plain.store.len()));
        let allowed = self.plain.rows_in(&(0..rows));
        if allowed < rows / SCATTERED_BELOW {
            return self.plain.search(queries, 0..rows, k, radius);
        }
        let work = Work {
            dim,
            range: 0..rows,
            operations: queries.len().saturating_mul(rows) / CHEAPER,
            tile_queries: self.plain.kernels.scan_queries(),
            tasks_per_thread: 2,
        };
        let nearest: Vec<Nearest> = (0..queries.len() / dim).map(|_| Nearest::new()).collect();
        work.spread(
            queries,
            || TopK::within(k, radius),
            |first, queries, range| {
                let nearest = &nearest[first..first + queries.len() / dim];
                self.collect(queries, range, nearest, (k, radius))
            },
        )
    }

    fn collect(
        &self,
        queries: &[f32],
        range: Range<usize>,
        nearest: &[Nearest],
        (k, radius): (usize, Option<f32>),
    ) -> Vec<TopK> {
        let mut pass = Pass::new(self, queries, nearest, || TopK::within(k, radius));
        let blocks = range.start / BLOCK_ROWS..range.end.div_ceil(BLOCK_ROWS);
        let most = if pass.asked.len() > 1 { BLOCKS_SHARED } else { BLOCKS_ALONE };
        // Few at first: everything is measured until k rows are known.
        let (mut at, mut step) = (blocks.start, 1);
        while at < blocks.end {
            let end = blocks.end.min(at + step);
            pass.blocks(at..end);
            at = end;
            step = (step * 2).min(most);
            if pass.is_hopeless((at - blocks.start) * BLOCK_ROWS, k) {
                break;
            }
        }
        pass.finish(queries, range, at * BLOCK_ROWS, (k, radius))
    }
}

/// The smallest k-th distance that any task has found for a query.
struct Nearest(AtomicI32);

impl Nearest {
    fn new() -> Self {
        Nearest(AtomicI32::new(ordered(f32::INFINITY)))
    }

    fn get(&self) -> f32 {
        f32::from_bits(ordered_bits(self.0.load(Ordering::Relaxed)) as u32)
    }

    fn tell(&self, distance: f32) {
        self.0.fetch_min(ordered(distance), Ordering::Relaxed);
    }
}

/// Integers in the order of floats.
fn ordered(value: f32) -> i32 {
    ordered_bits(value.to_bits() as i32)
}

/// Its own inverse: negative floats count down.
fn ordered_bits(bits: i32) -> i32 {
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// A query that the codes can bound.
struct Asked<'a> {
    /// Its place among the queries of this task.
    place: usize,
    vector: &'a [f32],
    query: Query,
    nearest: &'a Nearest,
    /// The threshold that `bound` was made for.
    threshold: f32,
}

/// One task: its queries over a range of blocks.
struct Pass<'a> {
    scan: &'a ShadowScan<'a>,
    view: RowView<'a>,
    coarse: &'a [u8],
    terms: &'a [f32],
    reach: &'a [f32],
    fine: &'a [u8],
    fine_terms: &'a [f32],
    asked: Vec<Asked<'a>>,
    /// `[asked][lines * LINE_VALUES]`.
    codes: Vec<i8>,
    /// Per query in `asked`.
    bounds: Vec<NibbleBound>,
    collectors: Vec<TopK>,
    masks: Vec<u16>,
    dots: Vec<[i32; BLOCK_ROWS]>,
    /// Rows that the coarse codes left, and then the fine ones.
    left: Vec<Left>,
    lately: Lately,
}

/// Counts since they were last judged.
#[derive(Default)]
struct Lately {
    /// Pairs of query and row.
    pairs: usize,
    /// Those left by coarse codes.
    left: usize,
    /// Those left by fine codes too.
    measured: usize,
}

/// A row that may be near.
#[derive(Clone, Copy)]
struct Left {
    row: u32,
    dot: i32,
}

impl<'a> Pass<'a> {
    fn new(
        scan: &'a ShadowScan<'a>,
        queries: &'a [f32],
        nearest: &'a [Nearest],
        collector: impl Fn() -> TopK,
    ) -> Self {
        let shadow = scan.shadow;
        let width = shadow.shape().lines() * LINE_VALUES;
        let mut codes = Vec::with_capacity(nearest.len() * width);
        let mut asked = Vec::with_capacity(nearest.len());
        for (place, (vector, nearest)) in queries.chunks_exact(shadow.dim).zip(nearest).enumerate() {
            let at = codes.len();
            codes.resize(at + width, 0);
            match Query::new(shadow, vector, &mut codes[at..]) {
                // No bound was made yet: NaN differs from every threshold.
                Some(query) => asked.push(Asked { place, vector, query, nearest, threshold: f32::NAN }),
                None => codes.truncate(at),
            }
        }
        let places = scan.plain.kernels.scan_queries() * BLOCKS_SHARED.max(BLOCKS_ALONE);
        Pass {
            scan,
            view: scan.plain.store.view(),
            coarse: shadow.coarse.as_slice(),
            terms: shadow.coarse_terms.as_slice(),
            reach: shadow.reach.as_slice(),
            fine: shadow.fine.as_slice(),
            fine_terms: shadow.fine_terms.as_slice(),
            bounds: vec![NibbleBound::default(); asked.len()],
            asked,
            codes,
            collectors: nearest.iter().map(|_| collector()).collect(),
            masks: vec![0; places],
            dots: vec![[0; BLOCK_ROWS]; places],
            left: Vec::new(),
            lately: Lately::default(),
        }
    }

    /// Every query against the rows of some blocks.
    fn blocks(&mut self, blocks: Range<usize>) {
        let allowed = self.allowed(&blocks);
        if allowed.iter().all(|&mask| mask == 0) {
            return;
        }
        let rows: u32 = allowed.iter().map(|mask| mask.count_ones()).sum();
        self.lately.pairs += rows as usize * self.asked.len();
        let shape = self.scan.shadow.shape();
        let width = shape.lines() * LINE_VALUES;
        let per_call = self.scan.plain.kernels.scan_queries();
        for first in (0..self.asked.len()).step_by(per_call) {
            let group = first..self.asked.len().min(first + per_call);
            group.clone().for_each(|i| self.refresh(i));
            let scan = NibbleScan {
                codes: &self.coarse[blocks.start * shape.block_bytes()..blocks.end * shape.block_bytes()],
                terms: &self.terms[blocks.start * BLOCK_TERMS..blocks.end * BLOCK_TERMS],
                reach: &self.reach[blocks.clone()],
                lines: shape.lines(),
                queries: &self.codes[group.start * width..group.end * width],
                bounds: &self.bounds[group.clone()],
            };
            self.scan.plain.kernels.nibble_scan(&scan, &mut self.masks, &mut self.dots);
            for i in group {
                let place = (i - first) * blocks.len();
                self.left.clear();
                for (block, (mask, allowed)) in
                    self.masks[place..place + blocks.len()].iter().zip(&allowed).enumerate()
                {
                    let mut mask = mask & allowed;
                    while mask != 0 {
                        let lane = mask.trailing_zeros() as usize;
                        mask &= mask - 1;
                        let row = (blocks.start + block) * BLOCK_ROWS + lane;
                        self.left.push(Left { row: row as u32, dot: self.dots[place + block][lane] });
                    }
                }
                self.look_closer(i);
            }
        }
    }

    /// Rows of each block that exist and may be found.
    fn allowed(&self, blocks: &Range<usize>) -> Vec<u16> {
        let rows = self.scan.shadow.rows;
        let allowed = |block: usize| {
            let start = block * BLOCK_ROWS;
            let exist = if rows - start >= BLOCK_ROWS { u16::MAX } else { (1 << (rows - start)) - 1 };
            self.scan.plain.filter.map_or(exist, |filter| filter.sixteen(start) & exist)
        };
        blocks.clone().map(allowed).collect()
    }

    /// Makes the bound of a query that of its threshold now.
    fn refresh(&mut self, i: usize) {
        let asked = &mut self.asked[i];
        let threshold = self.collectors[asked.place].threshold().min(asked.nearest.get());
        if threshold != asked.threshold {
            asked.threshold = threshold;
            self.bounds[i] = asked.query.bound(threshold);
        }
    }

    /// What is left of a query's rows, by fine codes, then by f32.
    fn look_closer(&mut self, i: usize) {
        let fine_bytes = self.scan.shadow.shape().fine_bytes();
        let fine_of = |row: u32| &self.fine[row as usize * fine_bytes..(row as usize + 1) * fine_bytes];
        let mut left = std::mem::take(&mut self.left);
        self.lately.left += left.len();
        if self.asked[i].threshold < f32::INFINITY {
            left.iter().for_each(|left| prefetch(fine_of(left.row)));
            let width = self.codes.len() / self.asked.len();
            let codes = &self.codes[i * width..i * width + 2 * fine_bytes];
            let bound = self.bounds[i];
            let kernels = self.scan.plain.kernels;
            left.retain(|&Left { row, dot }| {
                let (block, lane) = (row as usize / BLOCK_ROWS, row as usize % BLOCK_ROWS);
                let coarse_scale = self.terms[block * BLOCK_TERMS + BLOCK_ROWS + lane];
                let terms = &self.fine_terms[row as usize * FINE_TERMS..][..FINE_TERMS];
                let fine_dot = kernels.dot_u4(fine_of(row), codes).wrapping_add(bound.start);
                let terms = [terms[0], terms[1], terms[2]];
                let is_left = may_be_near(&bound, self.reach[block], (coarse_scale, dot), terms, fine_dot);
                if is_left {
                    prefetch(self.view.row(row));
                }
                is_left
            });
        }
        self.lately.measured += left.len();
        let Asked { place, vector, nearest, .. } = self.asked[i];
        let collector = &mut self.collectors[place];
        let before = collector.threshold();
        for &Left { row, .. } in &left {
            collector.offer(row, self.scan.plain.distance(vector, self.view.row(row)));
        }
        if collector.threshold() < before {
            nearest.tell(collector.threshold());
        }
        self.left = left;
    }

    /// True when so much was left by the codes of late that they only cost.
    fn is_hopeless(&mut self, rows: usize, k: usize) -> bool {
        if self.lately.pairs < JUDGED_ROWS * self.asked.len() {
            return false;
        }
        let Lately { pairs, left, measured } = std::mem::take(&mut self.lately);
        let plain = if self.asked.len() < TILE_FROM_QUERIES { SCAN_COST } else { TILE_COST };
        rows >= k * SETTLED_PER_K && left * FINE_COST + measured * MEASURE_COST > pairs * plain
    }

    /// The collectors, after what codes could not do: queries without a bound over the rows of `range`, and the others over
    /// those from `rest` on.
    fn finish(
        mut self,
        queries: &[f32],
        range: Range<usize>,
        rest: usize,
        (k, radius): (usize, Option<f32>),
    ) -> Vec<TopK> {
        let dim = self.scan.shadow.dim;
        let bounded: Vec<usize> = self.asked.iter().map(|asked| asked.place).collect();
        let unbounded: Vec<usize> =
            (0..self.collectors.len()).filter(|place| bounded.binary_search(place).is_err()).collect();
        for (places, start) in [(unbounded, range.start), (bounded, rest)] {
            let vectors: Vec<f32> =
                places.iter().flat_map(|&place| &queries[place * dim..(place + 1) * dim]).copied().collect();
            if start < range.end && !places.is_empty() {
                let found = self.scan.plain.collect(&vectors, start..range.end, k, radius);
                for (place, found) in places.into_iter().zip(found) {
                    self.collectors[place].merge(found);
                }
            }
        }
        self.collectors
    }
}
