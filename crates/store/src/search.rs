//! Searching a snapshot: the generation, the tail behind it, deletions and a filter, in one answer.
//!
//! The generation answers with the effort it was calibrated to; the tail, and a filter that leaves few rows,
//! are scanned exactly. Candidates of both are measured again in f32 with the one distance function, so that an answer does
//! not depend on which part it came from: nearest first, ties by slot.
use bilin_index::{Effort, Hit, Hits, IndexError, RowSet, Rows, SearchParams, exact};

use crate::batch::{Fault, push_vector};
use crate::error::StoreError;
use crate::generation::LiveGeneration;
use crate::snapshot::Snapshot;

/// A filter that leaves at most this many rows, or one in [`EXACT_FILTER_SHARE`], is answered by scanning them: an index
/// wanders through far more rows before it meets `k` that pass.
const EXACT_FILTER_ROWS: usize = 10_000;
const EXACT_FILTER_SHARE: usize = 50;
/// A query that found too few is repeated with this many times the effort, so often, before the exact scan.
const EFFORT_GROWTH: usize = 4;
const EFFORT_STEPS: usize = 3;

impl Snapshot {
    /// Generation and tail, deletions and filter honoured, reranked in f32; at most `k` per query, nearest first, ties by
    /// slot. `effort: None` = as calibrated or tuned; [`Effort::Exact`] compares with every row.
    ///
    /// # Errors
    /// A query of another dimension, a zero query under cosine, or a `k` out of bounds.
    pub fn search(
        &self,
        queries: Rows<'_>,
        k: usize,
        effort: Option<Effort>,
        filter: Option<&RowSet>,
    ) -> Result<Vec<Hits>, StoreError> {
        let queries = self.comparable(queries)?;
        let queries = Rows::new(&queries, self.settings.dim).map_err(IndexError::Rows)?;
        let narrowed = filter.map(|filter| self.live.intersect(filter));
        let indexed = self.rows.len() - self.tail_rows();
        let all_live = self.items == self.rows.len();
        let mut found = match &self.generation {
            Some(generation) => {
                let all_pass = narrowed.is_none() && self.deleted_in_generation == 0;
                let allowed = (!all_pass).then(|| narrowed.as_ref().unwrap_or(&self.live));
                self.search_generation(generation, queries, k, effort, allowed)?
            }
            None => vec![Hits::new(); queries.len()],
        };
        let allowed = match &narrowed {
            Some(narrowed) => Some(narrowed),
            None => (!all_live).then_some(&self.live),
        };
        let tail = self.scan(indexed..self.rows.len(), queries, k, allowed)?;
        for (query, (hits, tail)) in found.iter_mut().zip(tail).enumerate() {
            hits.extend(tail);
            self.rerank(queries.row(query), hits, k);
        }
        Ok(found)
    }

    /// Queries in the form in which rows are stored.
    fn comparable(&self, queries: Rows<'_>) -> Result<Vec<f32>, StoreError> {
        let mut values = Vec::with_capacity(queries.as_slice().len());
        for query in 0..queries.len() {
            push_vector(&mut values, queries.row(query), &self.settings).map_err(|fault| match fault {
                Fault::Dimension(received) => {
                    StoreError::Index(IndexError::Dimension { expected: self.settings.dim, received })
                }
                Fault::Value(reason) => StoreError::Query { query, reason },
            })?;
        }
        Ok(values)
    }

    fn search_generation(
        &self,
        generation: &LiveGeneration,
        queries: Rows<'_>,
        k: usize,
        effort: Option<Effort>,
        allowed: Option<&RowSet>,
    ) -> Result<Vec<Hits>, StoreError> {
        let record = &generation.record;
        let rows = record.generation.rows;
        let mut effort = effort.or(self.effort()).unwrap_or(record.generation.effort);
        let matching = match allowed {
            Some(allowed) => allowed.count_range(0, rows as u32),
            None => record.indexed,
        };
        let few = allowed.is_some() && matching <= EXACT_FILTER_ROWS.max(rows / EXACT_FILTER_SHARE);
        // Without a set of its own the scan would meet rows that were deleted before the build.
        let scanned = allowed.or((record.indexed < rows).then_some(&self.live));
        // An exact index scans faster than the rows can be scanned.
        if few || (effort == Effort::Exact && !record.generation.spec.is_exact()) {
            return self.scan(0..rows, queries, k, scanned);
        }
        let enough = k.min(matching);
        let mut params = SearchParams::new(k).with_effort(effort);
        params.filter = allowed;
        params.refine = self.refine();
        let mut found = generation.index.search(queries, &params)?;
        for step in 1..=EFFORT_STEPS {
            if found.iter().all(|hits| hits.len() >= enough) {
                break;
            }
            effort = match effort {
                _ if step == EFFORT_STEPS => Effort::Exact,
                Effort::Nprobe(lists) => Effort::Nprobe(lists.saturating_mul(EFFORT_GROWTH)),
                Effort::Ef(candidates) => Effort::Ef(candidates.saturating_mul(EFFORT_GROWTH)),
                Effort::Exact => Effort::Exact,
            };
            for (query, hits) in found.iter_mut().enumerate().filter(|(_, hits)| hits.len() < enough) {
                let one = Rows::new(queries.row(query), queries.dim()).map_err(IndexError::Rows)?;
                let again = if effort == Effort::Exact {
                    self.scan(0..rows, one, k, scanned)?
                } else {
                    generation.index.search(one, &params.with_effort(effort))?
                };
                *hits = again.into_iter().next().unwrap_or_default();
            }
        }
        Ok(found)
    }

    fn scan(
        &self,
        range: std::ops::Range<usize>,
        queries: Rows<'_>,
        k: usize,
        allowed: Option<&RowSet>,
    ) -> Result<Vec<Hits>, StoreError> {
        Ok(exact(&self.rows, range, self.settings.metric, queries, k, allowed)?)
    }

    fn rerank(&self, query: &[f32], hits: &mut Hits, k: usize) {
        let metric = self.settings.metric;
        for hit in hits.iter_mut() {
            *hit = Hit { row: hit.row, distance: metric.distance(query, self.rows.row(hit.row)) };
        }
        hits.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        hits.truncate(k);
    }
}
