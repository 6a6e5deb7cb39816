//! The least search effort that reaches a target recall, measured on rows of the collection itself.
//!
//! A seeded sample of rows serves as queries, held out of a graph, left out of their own answers elsewhere. Effort is doubled until the target is met and
//! then bisected; recall grows with effort, so the search is short. The target is met when it lies below the mean by the
//! mean's standard error.
//!
//! Real queries may lie farther from the rows than rows do from each other, and those find less; how much farther no row can
//! tell. So a fixed small share of a query's work is spent on a margin above what rows need.

use crate::error::IndexError;
use crate::exact::exact;
use crate::hits::Hits;
use crate::index::VectorIndex;
use crate::metric::Metric;
use crate::random::Random;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, Rows};
use crate::search::{Effort, SearchParams};
use crate::spec::Structure;
use rayon::prelude::*;
use std::time::Instant;

/// Queries measured: a standard error of about 0.3 % at recall 0.95 of 10.
const QUERIES: usize = 1000;
/// At least so many rows for each query.
const MIN_ROWS_PER_QUERY: usize = 4;
/// Neighbours that recall is taken over.
const K: usize = 10;
/// No graph search is asked for more candidates than this.
const MAX_EF: usize = 4096;
/// An effort twice as large that brings less than this finds what the codes can tell apart, and no more.
const PLATEAU: f64 = 5e-4;
/// Effort beyond what rows need: one part in so many of a query's work.
const MARGIN: usize = 10;
/// What a search of a graph costs beside its candidates, in candidates: this and one for so many dimensions. Measured: 14 at 128
/// dimensions (sift200k), 18 at 384 (text43k), 35 at 1 280. Not timed here, so that builds of the same rows are the same.
const DESCENT: usize = 12;
const DIM_PER_CANDIDATE: usize = 56;

/// The least effort that reaches `target_recall` at 10 on held-out queries, and what was measured with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// What to pass to [`SearchParams::with_effort`].
    pub effort: Effort,
    /// Recall at 10 with that effort; below the target only when no effort reaches it.
    pub recall_at_10: f32,
    /// Standard error of that figure.
    pub standard_error: f32,
    /// Queries it was measured on.
    pub queries: usize,
    /// Microseconds that one query took, one at a time on one thread; 0 when none was measured.
    pub query_us: f64,
    /// Seconds that measuring took.
    pub seconds: f64,
}

/// Finds the least effort of `index` that reaches the target in the exam.
pub(super) fn calibrate(
    index: &dyn VectorIndex,
    exam: &Exam<'_>,
    target_recall: f32,
) -> Result<Calibration, IndexError> {
    let started = Instant::now();
    let info = index.info();
    let (of, smallest, largest): (fn(usize) -> Effort, usize, usize) = match info.spec.structure {
        Structure::Ivf { nlist } => (Effort::Nprobe, 1, nlist),
        Structure::Hnsw { .. } => (Effort::Ef, K, MAX_EF.min(info.rows.max(K))),
        Structure::Auto | Structure::Scan => (|_| Effort::Exact, 1, 1),
    };
    if exam.sample.is_empty() {
        return Ok(Calibration {
            effort: of(smallest),
            recall_at_10: 1.0,
            standard_error: 0.0,
            queries: 0,
            query_us: 0.0,
            seconds: 0.0,
        });
    }
    let is_lossy = !info.spec.is_full_precision();
    let met = |score: &Score| score.mean - score.error >= f64::from(target_recall);
    let (mut failing, mut effort) = (smallest - 1, smallest.min(largest));
    let mut score = exam.score(index, of(effort))?;
    while !met(&score) && effort < largest {
        let next = (effort * 2).min(largest);
        let better = exam.score(index, of(next))?;
        if is_lossy && next >= 4 * smallest && better.mean - score.mean < PLATEAU {
            break;
        }
        (failing, effort, score) = (effort, next, better);
    }
    // A step of 1/16 of the effort is finer than the noise of the sample.
    while met(&score) && effort - failing > 1 + effort / 16 {
        let middle = failing + (effort - failing) / 2;
        let less = exam.score(index, of(middle))?;
        if met(&less) {
            (effort, score) = (middle, less);
        } else {
            failing = middle;
        }
    }
    let margin = match of(effort) {
        Effort::Ef(ef) => (ef + DESCENT + info.dim / DIM_PER_CANDIDATE).div_ceil(MARGIN),
        Effort::Nprobe(lists) => lists / MARGIN,
        Effort::Exact => 0,
    };
    if met(&score) && margin > 0 && effort < largest {
        effort = (effort + margin).min(largest);
        score = exam.score(index, of(effort))?;
    }
    Ok(Calibration {
        effort: of(effort),
        recall_at_10: score.mean as f32,
        standard_error: score.error as f32,
        queries: exam.sample.len(),
        query_us: exam.query_us(index, of(effort))?,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Rows that serve as queries, with their true neighbours.
pub(super) struct Exam<'a> {
    rows: &'a RowChunks,
    include: Option<&'a RowSet>,
    metric: Metric,
    sample: Vec<u32>,
    truth: Vec<Hits>,
    /// Neighbours to ask an index for: one more where it holds the query itself.
    k: usize,
}

/// Mean recall and its standard error.
struct Score {
    mean: f64,
    error: f64,
}

impl<'a> Exam<'a> {
    /// A seeded sample of the included rows; the truth is yet to be found.
    pub(super) fn new(rows: &'a RowChunks, include: Option<&'a RowSet>, metric: Metric, seed: u64) -> Self {
        let included = include.map_or(rows.len(), |include| include.count_range(0, rows.len() as u32));
        // Of few rows only a part, so that enough are left to be found.
        let sample = sample_rows(rows, include, QUERIES.min(included / MIN_ROWS_PER_QUERY), seed);
        Exam { rows, include, metric, sample, truth: Vec::new(), k: K }
    }

    /// The rows of the sample, to be held out of an index.
    pub(super) fn held_out(&self) -> RowSet {
        self.sample.iter().copied().collect()
    }

    /// For an index without the sample's rows.
    pub(super) fn without(self, held: &RowSet) -> Result<Self, IndexError> {
        let rest = self.include.map_or_else(|| RowSet::full(self.rows.len()), RowSet::clone).subtract(held);
        self.with_truth(Some(&rest), K)
    }

    /// For an index that holds the sample's rows, each of which is left out of its own answer.
    pub(super) fn with_own(self) -> Result<Self, IndexError> {
        let include = self.include;
        self.with_truth(include, K + 1)
    }

    fn with_truth(self, among: Option<&RowSet>, k: usize) -> Result<Self, IndexError> {
        let Exam { rows, metric, ref sample, .. } = self;
        let vectors: Vec<f32> = sample.iter().flat_map(|&row| rows.row(row)).copied().collect();
        let queries = Rows::new(&vectors, rows.dim())?;
        let found = exact(rows, 0..rows.len(), metric, queries, k, among)?;
        let truth = found.into_iter().zip(sample).map(|(hits, &row)| without(hits, row)).collect();
        Ok(Exam { truth, k, ..self })
    }

    /// What an index reaches with the effort of `calibration`, which was found for another index.
    pub(super) fn at(
        &self,
        index: &dyn VectorIndex,
        calibration: Calibration,
    ) -> Result<Calibration, IndexError> {
        if self.sample.is_empty() {
            return Ok(calibration);
        }
        let score = self.score(index, calibration.effort)?;
        Ok(Calibration {
            recall_at_10: score.mean as f32,
            standard_error: score.error as f32,
            query_us: self.query_us(index, calibration.effort)?,
            ..calibration
        })
    }

    fn answer(&self, index: &dyn VectorIndex, row: u32, effort: Effort) -> Result<Hits, IndexError> {
        let params = SearchParams::new(self.k).with_effort(effort);
        let query = Rows::new(self.rows.row(row), self.rows.dim())?;
        Ok(without(index.search(query, &params)?.into_iter().next().unwrap_or_default(), row))
    }

    /// Distances are measured again from the rows, so that ties count as right however an index rounds.
    fn score(&self, index: &dyn VectorIndex, effort: Effort) -> Result<Score, IndexError> {
        let recall_of = |(&row, truth): (&u32, &Hits)| -> Result<f64, IndexError> {
            let Some(last) = truth.last() else { return Ok(1.0) };
            let query = self.rows.row(row);
            let is_right = |found: u32| self.metric.distance(query, self.rows.row(found)) <= last.distance;
            let right = self.answer(index, row, effort)?.iter().filter(|hit| is_right(hit.row)).count();
            Ok(right.min(truth.len()) as f64 / truth.len() as f64)
        };
        let recalls: Result<Vec<f64>, IndexError> =
            self.sample.par_iter().zip(&self.truth).map(recall_of).collect();
        let recalls = recalls?;
        let count = recalls.len() as f64;
        let mean = recalls.iter().sum::<f64>() / count;
        let variance = recalls.iter().map(|recall| (recall - mean).powi(2)).sum::<f64>() / count;
        Ok(Score { mean, error: (variance / count).sqrt() })
    }

    /// The sample was just searched, so that caches are as warm as in service.
    fn query_us(&self, index: &dyn VectorIndex, effort: Effort) -> Result<f64, IndexError> {
        let queries = &self.sample[..self.sample.len().min(TIMED_QUERIES)];
        let started = Instant::now();
        for &row in queries {
            self.answer(index, row, effort)?;
        }
        Ok(started.elapsed().as_secs_f64() * 1e6 / queries.len() as f64)
    }
}

/// Queries that are timed one after the other.
const TIMED_QUERIES: usize = 300;

/// A seeded sample of the rows that count.
pub(super) fn sample_rows(rows: &RowChunks, include: Option<&RowSet>, count: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    match include {
        None => random.sample(rows.len(), count).into_iter().map(|row| row as u32).collect(),
        Some(include) => {
            let candidates: Vec<u32> = include.iter_range(0, rows.len()).collect();
            random.sample(candidates.len(), count).into_iter().map(|at| candidates[at]).collect()
        }
    }
}

fn without(mut hits: Hits, row: u32) -> Hits {
    hits.retain(|hit| hit.row != row);
    hits.truncate(K);
    hits
}
