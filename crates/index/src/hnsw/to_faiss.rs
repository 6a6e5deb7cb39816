//! A graph of ours as FAISS's `IndexHNSWFlat`: the same links, levels and entry.
//!
//! FAISS knows no row without links, so rows that are not linked, or taken out, are left out and the others numbered anew.

use super::graph::NONE;
use super::search::DEFAULT_EF;
use super::{EF_CONSTRUCTION, Hnsw};
use crate::faiss::{Graph as GraphTree, Hnsw as HnswTree, Index, Kind, export};

/// Levels less likely than this have no place in FAISS's tables.
const LEAST_PROBABILITY: f64 = 1e-9;

impl Hnsw {
    pub(super) fn tree(&self) -> Index<'_> {
        let graph = &self.graph;
        let view = graph.view();
        let rows: Vec<u32> = (0..self.store.len() as u32).filter(|&row| view.is_live(row)).collect();
        let mut position = vec![-1; self.store.len()];
        rows.iter().zip(0..).for_each(|(&row, at)| position[row as usize] = at);

        let top = rows.iter().map(|&row| view.levels_of(row)).max().unwrap_or(0);
        let (level_probabilities, cumulative_widths) = level_tables(graph.m, usize::from(top));
        let levels: Vec<i32> = rows.iter().map(|&row| i32::from(view.levels_of(row))).collect();
        let mut offsets = vec![0_u64];
        let mut neighbours = Vec::new();
        for &row in &rows {
            for level in 0..view.levels_of(row) {
                let end = neighbours.len() + graph.capacity(level);
                let links = view.links(row, level).into_iter().map(|link| position[link as usize]);
                neighbours.extend(links.filter(|&link| link >= 0));
                neighbours.resize(end, -1);
            }
            offsets.push(neighbours.len() as u64);
        }
        let entry = match graph.entry {
            NONE => -1,
            entry if view.is_live(entry) => position[entry as usize],
            // Taken out, and the graph not mended since: any of the highest will do.
            _ => levels.iter().position(|&count| count == i32::from(top)).map_or(-1, |at| at as i32),
        };
        let graph = GraphTree {
            level_probabilities: level_probabilities.into(),
            cumulative_widths: cumulative_widths.into(),
            levels: levels.into(),
            offsets: offsets.into(),
            neighbours: neighbours.into(),
            entry,
            max_level: i32::from(top) - 1,
            ef_construction: EF_CONSTRUCTION as i32,
            ef_search: DEFAULT_EF as i32,
        };
        let storage = export::flat(self.metric, &self.store, self.linked.as_ref());
        let header = storage.header;
        let kind = Kind::Hnsw(Box::new(HnswTree { graph, storage: Some(storage) }));
        export::by_row_number(Index { header, kind }, &rows, self.store.len())
    }
}

/// Probability of each level and links up to it, as FAISS makes them for `m`: geometric with factor `1 / m`.
fn level_tables(m: usize, levels: usize) -> (Vec<f64>, Vec<i32>) {
    let (mut probabilities, mut widths) = (Vec::new(), vec![0]);
    loop {
        let level = probabilities.len();
        let probability = (m as f64).powi(-(level as i32)) * (1.0 - 1.0 / m as f64);
        if probability < LEAST_PROBABILITY && level >= levels {
            return (probabilities, widths);
        }
        probabilities.push(probability);
        widths.push(((level + 2) * m) as i32);
    }
}
