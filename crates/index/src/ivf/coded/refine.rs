//! From codes to answers: codes alone, or candidates measured again against full rows (FAISS's `RFlat`).
//!
//! How many candidates are measured follows from the error of the codes. RaBitQ gives a lower bound for every entry; of other
//! codecs an error figure is learned when the index is built ([`Slack`]). An entry is measured when, less its error, it could
//! still be among the `k` nearest; rows are asked for (prefetched) some candidates before they are read.

use super::list::Sink;
use crate::hits::{Hits, TopK};
use crate::kernels::{Kernels, kernels, prefetch};
use crate::metric::Metric;
use crate::rows::RowView;

/// Candidates whose rows are under way at once.
const QUEUE: usize = 16;
/// Standard deviations of the error that a candidate is given.
const DEVIATIONS: f32 = 2.5;

/// How far above the true distance an estimate may lie: `factor * sqrt(distance)` under L2, `factor * |q|` under inner product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slack {
    pub(super) factor: f32,
    pub(super) is_l2: bool,
}

impl Slack {
    /// From pairs of true distances and estimates of near rows, with the queries' lengths.
    pub(super) fn learn(metric: Metric, pairs: &[(f32, f32, f32)]) -> Self {
        let is_l2 = metric == Metric::L2;
        let ratios: Vec<f32> = pairs
            .iter()
            .map(|&(distance, estimate, length)| {
                (estimate - distance) / if is_l2 { distance.max(0.0).sqrt() } else { length }
            })
            .filter(|ratio| ratio.is_finite())
            .collect();
        let count = ratios.len().max(1) as f32;
        let mean = ratios.iter().sum::<f32>() / count;
        let variance = ratios.iter().map(|ratio| (ratio - mean) * (ratio - mean)).sum::<f32>() / count;
        let factor = (mean + DEVIATIONS * variance.sqrt()).clamp(0.0, f32::MAX);
        Slack { factor: if factor.is_nan() { 0.0 } else { factor }, is_l2 }
    }

    /// The estimate above which no row of `distance` is to be expected.
    fn raise(self, distance: f32, length: f32) -> f32 {
        if self.factor == 0.0 {
            return distance;
        }
        distance + self.factor * if self.is_l2 { distance.max(0.0).sqrt() } else { length }
    }
}

/// Keeps the nearest by codes.
impl Sink for TopK {
    #[inline]
    fn limit(&self) -> f32 {
        self.threshold()
    }

    #[inline]
    fn offer(&mut self, row: u32, distance: f32) {
        TopK::offer(self, row, distance);
    }
}

/// Measures candidates against full rows.
pub(super) struct Refiner<'a> {
    nearest: TopK,
    rows: &'a RowView<'a>,
    query: &'a [f32],
    metric: Metric,
    slack: Slack,
    length: f32,
    limit: f32,
    queue: Vec<(u32, f32)>,
    kernels: &'static Kernels,
}

impl<'a> Refiner<'a> {
    pub(super) fn new(
        nearest: TopK,
        rows: &'a RowView<'a>,
        query: &'a [f32],
        metric: Metric,
        slack: Slack,
    ) -> Self {
        let kernels = kernels();
        let length = if metric.is_inner_product() { kernels.dot(query, query).sqrt() } else { 0.0 };
        let limit = slack.raise(nearest.threshold(), length);
        let queue = Vec::with_capacity(QUEUE);
        Refiner { nearest, rows, query, metric, slack, length, limit, queue, kernels }
    }

    fn measure_queue(&mut self) {
        let mut wanted = [0; QUEUE];
        let mut count = 0;
        for &(row, _) in self.queue.iter().filter(|(_, distance)| *distance <= self.limit) {
            wanted[count] = row;
            count += 1;
        }
        self.queue.clear();
        for rows in wanted[..count].chunks(4) {
            // A short last group repeats its first row; the repeats are not offered.
            let mut four = [rows[0]; 4];
            four[..rows.len()].copy_from_slice(rows);
            let vectors = four.map(|row| self.rows.row(row));
            let distances = match self.metric {
                Metric::L2 => self.kernels.l2_4(self.query, vectors),
                Metric::InnerProduct | Metric::Cosine => {
                    self.kernels.dot4(self.query, vectors).map(|dot| -dot)
                }
            };
            for (&row, distance) in rows.iter().zip(distances) {
                self.nearest.offer(row, distance);
            }
        }
        self.limit = self.slack.raise(self.nearest.threshold(), self.length);
    }

    /// What was found, all candidates measured.
    pub(super) fn finish(mut self) -> TopK {
        self.measure_queue();
        self.nearest
    }

    /// Measures rows found by codes.
    pub(super) fn measure_all(mut self, candidates: Hits) -> TopK {
        self.limit = f32::INFINITY;
        for candidate in candidates {
            self.push(candidate.row, f32::NEG_INFINITY);
        }
        self.finish()
    }

    #[inline]
    fn push(&mut self, row: u32, distance: f32) {
        prefetch(self.rows.row(row));
        self.queue.push((row, distance));
        if self.queue.len() == QUEUE {
            self.measure_queue();
        }
    }
}

impl Sink for Refiner<'_> {
    #[inline]
    fn limit(&self) -> f32 {
        self.limit
    }

    #[inline]
    fn offer(&mut self, row: u32, distance: f32) {
        self.push(row, distance);
    }
}
