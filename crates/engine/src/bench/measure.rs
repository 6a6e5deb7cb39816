//! One index, one setting: every query is answered, some times over, and the fastest pass counts.

use super::dataset::Dataset;
use bilin_index::{Hits, IndexError, Metric, Rows, SearchParams, VectorIndex};
use cpu_time::ProcessTime;
use std::time::Instant;

/// Passes over the queries; the fastest is reported, since noise only ever slows one down.
const PASSES: usize = 3;
/// No further pass after this many seconds.
const MAX_SECONDS: f64 = 3.0;
/// Distances that differ by this share are taken as equal: the summation order is not the caller's business.
const TIE_SHARE: f32 = 1e-6;

/// What is measured.
pub(crate) struct Runner<'a> {
    pub(crate) index: &'a dyn VectorIndex,
    pub(crate) dataset: &'a Dataset,
    pub(crate) metric: Metric,
    pub(crate) batch: usize,
    /// A pass ends after this many seconds, also when queries are left; infinity = all are answered.
    pub(crate) max_pass_s: f64,
    /// Asked before each call; `false` = stop.
    pub(crate) keep_on: &'a (dyn Fn() -> bool + Sync),
}

/// What was measured.
pub(crate) struct Speed {
    pub(crate) recall: f64,
    /// Standard error of the recall.
    pub(crate) recall_error: f64,
    pub(crate) qps: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) cpu_qps: f64,
}

struct Pass {
    seconds: f64,
    cpu_seconds: f64,
    call_us: Vec<f64>,
    hits: Vec<Hits>,
}

impl Runner<'_> {
    pub(crate) fn measure(&self, params: &SearchParams<'_>) -> Result<Speed, IndexError> {
        let mut best = self.pass(params)?;
        let (recall, recall_error) = self.recall(&best.hits);
        let mut spent = best.seconds;
        for _ in 1..PASSES {
            if spent > MAX_SECONDS {
                break;
            }
            let pass = self.pass(params)?;
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
            recall_error,
            qps: queries / best.seconds,
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            // A clock too coarse to see any CPU time: at most what the wall clock says.
            cpu_qps: queries / if best.cpu_seconds > 0.0 { best.cpu_seconds } else { best.seconds },
        })
    }

    fn pass(&self, params: &SearchParams<'_>) -> Result<Pass, IndexError> {
        let dim = self.dataset.base.dim();
        let queries = &self.dataset.queries;
        let mut hits = Vec::with_capacity(queries.len() / dim);
        let mut call_us = Vec::with_capacity(queries.len() / dim);
        let (clock, cpu) = (Instant::now(), ProcessTime::now());
        for part in queries.chunks(self.batch.saturating_mul(dim)) {
            if !(self.keep_on)() {
                return Err(IndexError::Cancelled);
            }
            let call = Instant::now();
            hits.extend(self.index.search(Rows::new(part, dim)?, params)?);
            call_us.push(call.elapsed().as_secs_f64() * 1e6);
            if clock.elapsed().as_secs_f64() > self.max_pass_s {
                break;
            }
        }
        let (seconds, cpu_seconds) = (clock.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        Ok(Pass { seconds, cpu_seconds, call_us, hits })
    }

    /// Mean and standard error. Distances are computed again from the base, so that no index is believed.
    fn recall(&self, answers: &[Hits]) -> (f64, f64) {
        let dataset = self.dataset;
        let queries = dataset.queries.chunks_exact(dataset.base.dim());
        let mut recalls = Vec::with_capacity(answers.len());
        for ((hits, query), &farthest) in answers.iter().zip(queries).zip(&dataset.farthest) {
            let mut rows: Vec<u32> = hits.iter().take(dataset.neighbours).map(|hit| hit.row).collect();
            rows.sort_unstable();
            rows.dedup();
            let limit = farthest + farthest.abs() * TIE_SHARE;
            let distance = |&&row: &&u32| self.metric.distance(query, dataset.base.row(row)) <= limit;
            recalls.push(rows.iter().filter(distance).count() as f64 / dataset.neighbours.max(1) as f64);
        }
        let count = recalls.len().max(1) as f64;
        let mean = recalls.iter().sum::<f64>() / count;
        let variance = recalls.iter().map(|recall| (recall - mean).powi(2)).sum::<f64>() / count;
        (mean, (variance / count).sqrt())
    }
}
