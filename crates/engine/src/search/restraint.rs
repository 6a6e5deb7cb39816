//! Doing less for a query than it asks for, because many ask at once.
//!
//! Each step that had an effect is told in [`super::Answer::degraded`] by a word of its own, and such an answer is never kept as if it
//! were whole. Which steps are taken is the caller's to decide; how far the effort may go down is not: only to one whose recall was measured
//! on live queries and is not under the floor.

use super::Query;
use crate::Engine;
use crate::storage::View;

/// In [`super::Answer::degraded`]: it was not reranked, though that was wished for.
pub const NOT_RERANKED: &str = "load: not reranked";
/// In [`super::Answer::degraded`]: the index was searched with less effort than it is calibrated to.
pub const LESS_EFFORT: &str = "load: less effort";
/// In [`super::Answer::degraded`]: fewer results than were asked for.
pub const FEWER_RESULTS: &str = "load: fewer results";

/// What is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Restraint {
    /// Nothing is reranked.
    pub no_rerank: bool,
    /// An approximate index is searched with half its effort, where live queries have shown that its recall at 10 is at least this.
    pub floor_recall: Option<f32>,
    /// Results at most.
    pub top_k_max: Option<usize>,
}

impl Restraint {
    /// The query as it is to be done. Words for what is left out of it go to `degraded`.
    pub(super) fn apply(&self, query: &Query, degraded: &mut Vec<String>) -> Query {
        let mut query = query.clone();
        if let Some(most) = self.top_k_max.filter(|most| *most < query.top_k) {
            query.top_k = most.max(1);
            degraded.push(FEWER_RESULTS.to_owned());
        }
        query
    }

    /// The effort that a view is searched with, if not the one that it is calibrated to.
    pub(super) fn effort(
        &self,
        engine: &Engine,
        collection: &str,
        view: &dyn View,
        asked: Option<usize>,
    ) -> Option<usize> {
        match (asked, self.floor_recall, view.approximate()) {
            (None, Some(floor), Some(now)) => engine.recall.lower_effort(collection, now, floor),
            _ => None,
        }
    }
}

/// How a search is done, beside what is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// The vector of the query is looked for among those that were asked before, and kept. Not where searches are timed.
    pub(crate) remembers: bool,
    pub(crate) restraint: Restraint,
}
