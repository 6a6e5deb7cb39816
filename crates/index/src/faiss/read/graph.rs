//! Reads a graph and the index that holds its vectors.
//!
//! FAISS walks a graph without looking, so a file decides where its memory is read. Here every offset is compared with the
//! levels, and every link must lead to another node that is on the same level; so a walk with a mark per node ends.

use super::Reader;
use super::cursor::{FourCc, format};
use crate::faiss::tree::{Graph, Hnsw, Index, Kind};
use crate::faiss::{FaissError, Packed};

/// Most levels of a graph; FAISS's own table has about 10.
const MAX_LEVELS: usize = 64;

impl<'a> Reader<'a, '_> {
    pub(super) fn hnsw(&mut self, code: FourCc) -> Result<Index<'a>, FaissError> {
        let header = self.header()?;
        match &code {
            b"IHfP" => {
                self.cursor.one::<u64>("n_levels")?;
                self.cursor.vector::<f32>("cum_sums")?;
            }
            b"IHNc" | b"IHc2" => {
                self.cursor.bool("keep_max_size_level0")?;
                self.cursor.bool("base_level_only")?;
                self.cursor.one::<i32>("num_base_level_search_entrypoints")?;
                if code == *b"IHc2" {
                    self.cursor.one::<i32>("numeric_type")?;
                }
            }
            _ => {}
        }
        let graph = self.graph(header.rows)?;
        let at = self.cursor.at();
        let storage = self.index_or_null()?;
        if let Some(storage) = &storage
            && (storage.header.dim, storage.header.rows) != (header.dim, header.rows)
        {
            let expected = format_args!("{} rows of {} values", header.rows, header.dim).to_string();
            let received = format_args!("{} of {}", storage.header.rows, storage.header.dim).to_string();
            return Err(format(at, "storage", expected, received));
        }
        Ok(Index { header, kind: Kind::Hnsw(Box::new(Hnsw { graph, storage })) })
    }

    fn graph(&mut self, rows: usize) -> Result<Graph<'a>, FaissError> {
        let cursor = &mut self.cursor;
        let level_probabilities = cursor.vector::<f64>("assign_probas")?;
        let cumulative_at = cursor.at();
        let cumulative_widths = cursor.vector::<i32>("cum_nneighbor_per_level")?;
        let cumulative = cumulative(cumulative_at + 8, &cumulative_widths)?;
        let levels_at = cursor.at();
        let levels = cursor.vector_of::<i32>("levels", rows as u128)?;
        let offsets_at = cursor.at();
        let offsets = cursor.vector_of::<u64>("offsets", rows as u128 + 1)?;
        let links = check_offsets(&levels, levels_at + 8, &offsets, offsets_at + 8, &cumulative)?;
        let neighbours_at = cursor.at();
        let neighbours = cursor.vector_of::<i32>("neighbors", u128::from(links))?;
        check_links(&neighbours, neighbours_at + 8, &levels, &cumulative)?;
        let at = cursor.at();
        let entry: i32 = cursor.one("entry_point")?;
        let max_level: i32 = cursor.one("max_level")?;
        let highest = levels.iter().max().unwrap_or(0);
        let is_entry_right = match usize::try_from(entry) {
            Ok(entry) => levels.get(entry) == Some(highest),
            Err(_) => entry == -1 && rows == 0,
        };
        if !is_entry_right {
            return Err(format(at, "entry_point", format_args!("a node on {highest} levels"), entry));
        }
        if max_level != highest - 1 {
            return Err(format(at + 4, "max_level", highest - 1, max_level));
        }
        let ef_construction: i32 = cursor.one("efConstruction")?;
        let ef_search: i32 = cursor.one("efSearch")?;
        cursor.one::<i32>("upper_beam")?;
        Ok(Graph {
            level_probabilities,
            cumulative_widths,
            levels,
            offsets,
            neighbours,
            entry,
            max_level,
            ef_construction,
            ef_search,
        })
    }
}

/// Links per node up to each level: from 0, rising; `[levels + 1]`.
fn cumulative(at: usize, widths: &Packed<'_, i32>) -> Result<Vec<u64>, FaissError> {
    const FIELD: &str = "cum_nneighbor_per_level";
    if widths.len() > MAX_LEVELS + 1 {
        return Err(format(at - 8, FIELD, format_args!("at most {} numbers", MAX_LEVELS + 1), widths.len()));
    }
    let mut cumulative: Vec<u64> = Vec::with_capacity(widths.len());
    for (i, width) in widths.iter().enumerate() {
        let before = cumulative.last().copied();
        match u64::try_from(width) {
            Ok(width) if before.map_or(width == 0, |before| width > before) => cumulative.push(width),
            _ => {
                let expected =
                    before.map_or("0".to_owned(), |before| format_args!("above {before}").to_string());
                return Err(format(at + 4 * i, FIELD, expected, width));
            }
        }
    }
    Ok(cumulative)
}

/// Compares offsets with levels; returns how many links there are.
fn check_offsets(
    levels: &Packed<'_, i32>,
    levels_at: usize,
    offsets: &Packed<'_, u64>,
    offsets_at: usize,
    cumulative: &[u64],
) -> Result<u64, FaissError> {
    let mut expected = 0_u64;
    for (i, offset) in offsets.iter().enumerate() {
        if offset != expected {
            return Err(format(offsets_at + 8 * i, "offsets", expected, offset));
        }
        let Some(level) = levels.get(i) else { break };
        let links =
            usize::try_from(level).ok().filter(|&level| level > 0).and_then(|level| cumulative.get(level));
        match links {
            // Rows and widths are below 2^32, so this cannot overflow.
            Some(links) => expected += links,
            None => {
                let most = cumulative.len().saturating_sub(1);
                return Err(format(levels_at + 4 * i, "levels", format_args!("1..={most}"), level));
            }
        }
    }
    Ok(expected)
}

/// Every link leads to another node on its level, and none stands behind the end of a list.
fn check_links(
    links: &Packed<'_, i32>,
    at: usize,
    levels: &Packed<'_, i32>,
    cumulative: &[u64],
) -> Result<(), FaissError> {
    let mut links = links.iter().enumerate();
    for (node, count) in levels.iter().enumerate() {
        for level in 0..count {
            let width = cumulative[level as usize + 1] - cumulative[level as usize];
            let mut is_over = false;
            for (i, link) in links.by_ref().take(width as usize) {
                let is_good = match usize::try_from(link) {
                    Ok(to) => !is_over && to != node && levels.get(to).is_some_and(|levels| levels > level),
                    Err(_) => link == -1,
                };
                if !is_good {
                    let expected = match is_over {
                        true => "-1 to the end of the list".to_owned(),
                        false => format_args!("-1, or another node than {node} on level {level}").to_string(),
                    };
                    return Err(format(at + 4 * i, "neighbors", expected, link));
                }
                is_over = link == -1;
            }
        }
    }
    Ok(())
}
