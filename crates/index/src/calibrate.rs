//! [`calibrate`]: the least search effort that reaches a target recall, measured on rows of the collection itself.
//!
//! A seeded sample of rows serves as queries; each row is left out of its own answer. The truth comes from [`exact`]. Effort
//! is doubled until the target is met and then bisected; recall grows with effort, so the search is short.

use crate::error::IndexError;
use crate::exact::exact;
use crate::hits::Hits;
use crate::index::VectorIndex;
use crate::random::Random;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, Rows};
use crate::search::{Effort, SearchParams};
use crate::spec::Structure;

/// Queries measured: enough for a standard error of about 0.4 % at recall 0.95 of 10.
const QUERIES: usize = 400;
/// Neighbours that recall is taken over.
const K: usize = 10;
/// No graph search is asked for more candidates than this.
const MAX_EF: usize = 4096;

/// The least effort that reaches `target_recall` at 10 on held-out queries, and the recall that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// What to pass to [`SearchParams::with_effort`].
    pub effort: Effort,
    /// Recall at 10 with that effort; below the target only when no effort reaches it.
    pub recall_at_10: f32,
    /// Queries it was measured on.
    pub queries: usize,
}

/// Measures on a seeded sample of the rows themselves (each row excluded from its own answer).
pub fn calibrate(
    index: &dyn VectorIndex,
    rows: &RowChunks,
    include: Option<&RowSet>,
    target_recall: f32,
    seed: u64,
) -> Result<Calibration, IndexError> {
    let info = index.info();
    let (of, smallest, largest): (fn(usize) -> Effort, usize, usize) = match info.spec.structure {
        Structure::Ivf { nlist } => (Effort::Nprobe, 1, nlist),
        Structure::Hnsw { .. } => (Effort::Ef, K + 1, MAX_EF.min(info.rows.max(K + 1))),
        Structure::Auto | Structure::Scan => {
            return Ok(Calibration { effort: Effort::Exact, recall_at_10: 1.0, queries: 0 });
        }
    };
    let sample = sample_rows(rows, include, seed);
    if sample.is_empty() {
        return Ok(Calibration { effort: of(smallest), recall_at_10: 1.0, queries: 0 });
    }
    let dim = rows.dim();
    let vectors: Vec<f32> = sample.iter().flat_map(|&row| rows.row(row).iter().copied()).collect();
    let queries = Rows::new(&vectors, dim)?;
    let truth = exact(rows, 0..rows.len(), info.metric, queries, K + 1, include)?;
    let truth: Vec<Hits> = truth.into_iter().zip(&sample).map(|(hits, &row)| without(hits, row)).collect();
    let recall_of = |effort: usize| -> Result<f32, IndexError> {
        let mut params = SearchParams::new(K + 1).with_effort(of(effort));
        params.filter = include;
        let found = index.search(queries, &params)?;
        let found: Vec<Hits> =
            found.into_iter().zip(&sample).map(|(hits, &row)| without(hits, row)).collect();
        Ok(recall(&truth, &found))
    };
    let (mut failing, mut effort) = (smallest - 1, smallest.min(largest));
    let mut measured = recall_of(effort)?;
    while measured < target_recall && effort < largest {
        failing = effort;
        effort = (effort * 2).min(largest);
        measured = recall_of(effort)?;
    }
    // A step of 1/16 of the effort is finer than the noise of the sample.
    while measured >= target_recall && effort - failing > 1 + effort / 16 {
        let middle = failing + (effort - failing) / 2;
        let recall = recall_of(middle)?;
        if recall >= target_recall {
            (effort, measured) = (middle, recall);
        } else {
            failing = middle;
        }
    }
    Ok(Calibration { effort: of(effort), recall_at_10: measured, queries: sample.len() })
}

fn sample_rows(rows: &RowChunks, include: Option<&RowSet>, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    match include {
        None => random.sample(rows.len(), QUERIES).into_iter().map(|row| row as u32).collect(),
        Some(include) => {
            let candidates: Vec<u32> = include.iter_range(0, rows.len()).collect();
            random.sample(candidates.len(), QUERIES).into_iter().map(|at| candidates[at]).collect()
        }
    }
}

fn without(mut hits: Hits, row: u32) -> Hits {
    hits.retain(|hit| hit.row != row);
    hits.truncate(K);
    hits
}

/// Share of the true neighbours found; one at the distance of the last true one counts, since ties have no order.
fn recall(truth: &[Hits], found: &[Hits]) -> f32 {
    let (mut right, mut wanted) = (0, 0);
    for (truth, found) in truth.iter().zip(found) {
        let Some(last) = truth.last() else { continue };
        wanted += truth.len();
        right += found.iter().filter(|hit| hit.distance <= last.distance).count().min(truth.len());
    }
    if wanted == 0 { 1.0 } else { right as f32 / wanted as f32 }
}
