//! One index, one setting: every query is answered, some times over, and the fastest pass counts.

use super::dataset::Dataset;
use bilin_index::{Effort, Hits, IndexError, Metric, Rows, SearchParams, VectorIndex};
use cpu_time::ProcessTime;
use std::time::Instant;

/// Passes over the queries; the fastest is reported, since noise only ever slows one down.
const PASSES: usize = 3;
/// No further pass after this many seconds.
const MAX_SECONDS: f64 = 3.0;
/// Distances that differ by this share are taken as equal: the summation order is not the caller's business.
const TIE_SHARE: f32 = 1e-6;

/// What is measured.
pub(super) struct Runner<'a> {
    pub(super) index: &'a dyn VectorIndex,
    pub(super) dataset: &'a Dataset,
    pub(super) metric: Metric,
    pub(super) k: usize,
    pub(super) batch: usize,
}

/// What was measured.
pub(super) struct Speed {
    pub(super) recall: f64,
    pub(super) qps: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) cpu_qps: f64,
}

struct Pass {
    seconds: f64,
    cpu_seconds: f64,
    call_us: Vec<f64>,
    hits: Vec<Hits>,
}

impl Runner<'_> {
    pub(super) fn measure(&self, effort: Effort) -> Result<Speed, IndexError> {
        let mut best = self.pass(effort)?;
        let recall = self.recall(&best.hits);
        let mut spent = best.seconds;
        for _ in 1..PASSES {
            if spent > MAX_SECONDS {
                break;
            }
            let pass = self.pass(effort)?;
            spent += pass.seconds;
            if pass.seconds < best.seconds {
                best = pass;
            }
        }
        let queries = best.hits.len() as f64;
        best.call_us.sort_unstable_by(f64::total_cmp);
        let percentile = |share: f64| {
            let last = best.call_us.len().saturating_sub(1);
            best.call_us.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
        };
        Ok(Speed {
            recall,
            qps: queries / best.seconds,
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            // A clock too coarse to see any CPU time: at most what the wall clock says.
            cpu_qps: queries / if best.cpu_seconds > 0.0 { best.cpu_seconds } else { best.seconds },
        })
    }

    fn pass(&self, effort: Effort) -> Result<Pass, IndexError> {
        let dim = self.dataset.base.dim();
        let params = SearchParams::new(self.k).with_effort(effort);
        let queries = &self.dataset.queries;
        let mut hits = Vec::with_capacity(queries.len() / dim);
        let mut call_us = Vec::with_capacity(queries.len() / dim);
        let (clock, cpu) = (Instant::now(), ProcessTime::now());
        for part in queries.chunks(self.batch.saturating_mul(dim)) {
            let call = Instant::now();
            hits.extend(self.index.search(Rows::new(part, dim)?, &params)?);
            call_us.push(call.elapsed().as_secs_f64() * 1e6);
        }
        let (seconds, cpu_seconds) = (clock.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        Ok(Pass { seconds, cpu_seconds, call_us, hits })
    }

    /// Distances are computed again from the base, so that no index is believed.
    fn recall(&self, answers: &[Hits]) -> f64 {
        let dataset = self.dataset;
        let (mut right, mut wanted) = (0, 0);
        let queries = dataset.queries.chunks_exact(dataset.base.dim());
        for ((hits, query), &farthest) in answers.iter().zip(queries).zip(&dataset.farthest) {
            let mut rows: Vec<u32> = hits.iter().take(dataset.neighbours).map(|hit| hit.row).collect();
            rows.sort_unstable();
            rows.dedup();
            let limit = farthest + farthest.abs() * TIE_SHARE;
            let distance = |&&row: &&u32| self.metric.distance(query, dataset.base.row(row)) <= limit;
            right += rows.iter().filter(distance).count();
            wanted += dataset.neighbours;
        }
        right as f64 / wanted.max(1) as f64
    }
}
