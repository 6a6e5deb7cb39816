//! Building a graph around rows that are held out until something has been measured without them.
//!
//! A row that is in a graph is no fair query: its own links are its neighbours (on real data, calibration with such queries
//! reached 0.86 for a target of 0.95, and hiding the row leaves a hole in the graph that asks for too much). So some rows are
//! linked last, as if they had been added later.

use super::Hnsw;
use crate::error::IndexError;
use crate::index::BuildOptions;
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::RowChunks;

impl Hnsw {
    /// As [`Hnsw::build`], with the rows in `held` linked last; `between` sees the index without them.
    pub(crate) fn build_around(
        metric: Metric,
        m: usize,
        rows: &RowChunks,
        options: &BuildOptions<'_>,
        held: &RowSet,
        between: &mut dyn FnMut(&Hnsw) -> Result<(), IndexError>,
    ) -> Result<Self, IndexError> {
        let mut index = Hnsw::empty(metric, m, rows, options);
        let linked = index.linked.clone();
        let (late, early): (Vec<u32>, Vec<u32>) =
            index.make_room(0)?.into_iter().partition(|&row| held.contains(row));
        let total = early.len() + late.len();
        let all = linked.clone().unwrap_or_else(|| RowSet::full(rows.len()));
        index.linked = Some(all.subtract(held));
        index.insert(&early, &|done| options.report(done, total))?;
        between(&index)?;
        index.linked = linked;
        index.insert(&late, &|done| options.report(early.len() + done, total))?;
        Ok(index)
    }
}
