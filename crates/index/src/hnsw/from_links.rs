//! A graph made of links that exist already, such as those of a FAISS file.

use super::graph::{Graph, MAX_LEVELS, NONE};
use super::walk::ScratchPool;
use super::{Hnsw, MAX_GRAPH_ROWS};
use crate::error::IndexError;
use crate::metric::Metric;
use crate::rows::{RowChunks, RowStore};

impl Hnsw {
    /// Most levels of a node.
    pub(crate) const MAX_LEVELS: u8 = MAX_LEVELS;

    /// Node `i` is row `i`, on `levels[i]` levels, with the links that `links_of` gives for it and a level: at most `2m` on
    /// level 0 and `m` above, to nodes that are on that level. The `entry` is on the top level, `None` when there is no row.
    pub(crate) fn from_links(
        metric: Metric,
        m: usize,
        rows: &RowChunks,
        levels: &[u8],
        entry: Option<u32>,
        links_of: &dyn Fn(u32, u8) -> Vec<u32>,
    ) -> Result<Self, IndexError> {
        if rows.len() >= MAX_GRAPH_ROWS {
            return Err(IndexError::TooManyRows { limit: MAX_GRAPH_ROWS - 1, received: rows.len() });
        }
        let mut graph = Graph::new(m);
        graph.extend(levels);
        for (node, &count) in levels.iter().enumerate() {
            for level in 0..count {
                graph.set_links(node as u32, level, &links_of(node as u32, level));
            }
        }
        graph.entry = entry.unwrap_or(NONE);
        let store = RowStore::new(rows.clone());
        // No codes: answers stay those of a walk by the rows, as in the program that made the links.
        let pool = ScratchPool::default();
        Ok(Hnsw { metric, seed: 0, store, graph, codes: None, linked: None, tombstones: 0, pool })
    }
}
