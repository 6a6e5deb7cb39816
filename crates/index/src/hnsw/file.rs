//! HNSW in our index file: levels, links, the rows that the index owns.
//!
//! Checked at open besides the checksums: array lengths against the rows; every link in range, on a node that is on that
//! level, and no link after the end of a list; the entry on the top level.

use super::graph::{Graph, MAX_LEVELS, NONE};
use super::walk::ScratchPool;
use super::{Hnsw, MAX_GRAPH_ROWS};
use crate::error::OpenError;
use crate::file::{self, Header, KIND_HNSW, Reader, Section, mismatch};
use crate::flat::read_owned_rows;
use crate::row_set::RowSet;
use crate::rows::RowChunks;
use crate::spec::HNSW_M_RANGE;

impl Hnsw {
    pub(super) fn write_file(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let Graph { m, levels, base, upper, entry, .. } = &self.graph;
        let header = Header {
            kind: KIND_HNSW,
            metric: self.metric,
            dim: self.store.dim(),
            shared_rows: self.store.shared.len(),
            parameters: [*m as u32, *entry, self.seed as u32, (self.seed >> 32) as u32],
        };
        let sections = [
            Section::new(b"levl", levels.as_slice()),
            Section::new(b"base", base.as_slice()),
            Section::new(b"uppr", upper.as_slice()),
            Section::new(b"rows", &self.store.owned),
        ];
        file::write(out, &header, &sections)
    }

    /// Reads what `write_to` wrote; `reader`'s header agrees with `rows`.
    pub(crate) fn read(reader: &Reader, shared: &RowChunks) -> Result<Self, OpenError> {
        let Header { metric, parameters: [m, entry, seed_low, seed_high], .. } = reader.header;
        let m = m as usize;
        if !HNSW_M_RANGE.contains(&m) {
            return Err(mismatch(44, "m", format!("{HNSW_M_RANGE:?}"), m));
        }
        let store = read_owned_rows(reader, shared)?;
        let rows = store.len();
        if rows >= MAX_GRAPH_ROWS {
            return Err(mismatch(24, "shared_rows", format!("below {MAX_GRAPH_ROWS} in all"), rows));
        }
        let (levels, levels_at) = reader.array::<u8>(b"levl", "levels", rows)?;
        let counts = levels.as_slice();
        if let Some(at) = counts.iter().position(|&count| count > MAX_LEVELS) {
            return Err(mismatch(levels_at + at, "levels", format!("at most {MAX_LEVELS}"), counts[at]));
        }
        let highest = counts.iter().copied().max().unwrap_or(0);
        let is_entry_right = match counts.get(entry as usize) {
            Some(&count) => count == highest && highest > 0,
            None => entry == NONE && highest == 0,
        };
        if !is_entry_right {
            return Err(mismatch(48, "entry", format!("a row on {highest} levels"), entry));
        }
        let (upper_start, upper_lists) = Graph::upper_starts(counts);
        let (base, base_at) = reader.array::<u32>(b"base", "base_links", rows.saturating_mul(2 * m))?;
        let (upper, upper_at) = reader.array::<u32>(b"uppr", "upper_links", upper_lists.saturating_mul(m))?;
        check_lists(base.as_slice(), 2 * m, (0..rows).map(|row| (row, 0)), counts, base_at, "base_links")?;
        let upper_of = (0..rows).flat_map(|row| (1..counts[row]).map(move |level| (row, level)));
        check_lists(upper.as_slice(), m, upper_of, counts, upper_at, "upper_links")?;
        let is_all_linked = counts.iter().all(|&count| count > 0);
        let linked = (!is_all_linked)
            .then(|| (0..rows as u32).filter(|&row| counts[row as usize] > 0).collect::<RowSet>());
        let seed = u64::from(seed_low) | u64::from(seed_high) << 32;
        let graph = Graph { m, levels, base, upper, upper_start, entry };
        Ok(Hnsw { metric, seed, store, graph, linked, pool: ScratchPool::default() })
    }
}

/// Checks each list of `width` links; `owners` gives row and level of each, in order.
fn check_lists(
    links: &[u32],
    width: usize,
    owners: impl Iterator<Item = (usize, u8)>,
    counts: &[u8],
    offset: usize,
    field: &'static str,
) -> Result<(), OpenError> {
    for (l, (list, (row, level))) in links.chunks_exact(width).zip(owners).enumerate() {
        let used = list.iter().position(|&link| link == NONE).unwrap_or(width);
        // A row on no level has no links.
        let limit = if counts[row] > level { width } else { 0 };
        let bad = list.iter().enumerate().position(|(i, &link)| {
            let is_end = link == NONE;
            let is_on_level = counts.get(link as usize).is_some_and(|&count| count > level);
            if i < used { i >= limit || !is_on_level } else { !is_end }
        });
        if let Some(i) = bad {
            let expected = format!("a row on level {level}, or {NONE} to the end of the list");
            return Err(mismatch(offset + (l * width + i) * 4, field, expected, list[i]));
        }
    }
    Ok(())
}
