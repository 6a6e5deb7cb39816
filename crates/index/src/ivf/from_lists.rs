//! An inverted file made of centroids and lists that exist already, such as those of a FAISS file.

use super::lists::List;
use super::{BUILD_BLOCK_ROWS, IvfFlat, mean};
use crate::kmeans::Assigner;
use crate::metric::Metric;
use crate::rows::{RowChunks, RowStore};
use crate::shadow::ListFrame;

/// Rows that the centre of the lists' codes is the mean of.
const CENTRE_ROWS: usize = 1 << 14;

impl IvfFlat {
    /// Row `i` of `rows` goes to list `numbers[i]`, which is below the number of `centroids`, `[nlist, dim]`.
    pub(crate) fn from_lists(metric: Metric, centroids: Vec<f32>, numbers: &[u32], rows: &RowChunks) -> Self {
        let dim = rows.dim();
        let nlist = centroids.len() / dim;
        let frame = ListFrame::new(metric, mean(rows.run(0, CENTRE_ROWS).as_slice(), dim));
        let mut index = IvfFlat {
            metric,
            dim,
            nlist,
            seed: 0,
            rows: rows.len(),
            shared_rows: rows.len(),
            coarse: Some(Assigner::new(metric, &centroids, dim)),
            lists: vec![List::empty(frame.is_some()); nlist],
            centroids,
            frame,
            warnings: Vec::new(),
        };
        let store = RowStore::new(rows.clone());
        let view = store.view();
        for (block, numbers) in numbers.chunks(BUILD_BLOCK_ROWS).enumerate() {
            let first = (block * BUILD_BLOCK_ROWS) as u32;
            let ids: Vec<u32> = (first..first + numbers.len() as u32).collect();
            let vectors: Vec<f32> = ids.iter().flat_map(|&id| view.row(id)).copied().collect();
            index.fill_lists(&ids, &vectors, numbers);
        }
        index
    }
}
