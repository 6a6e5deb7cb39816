//! HNSW in our index file: levels, links, codes, the rows that the index owns.
//!
//! Checked at open besides the checksums: array lengths against the rows; every link in range, on a node that is on that
//! level, and no link after the end of a list; the entry on the top level. Files without a layout are of the first kind: links
//! are u32, `2 * m` on level 0, and there are no codes; they are walked by their rows.

use super::codes::{Codes, Line};
use super::graph::{BURIED, Graph, MAX_LEVELS, NONE};
use super::links::{Lists, is_width, stride};
use super::walk::ScratchPool;
use super::{Hnsw, MAX_GRAPH_ROWS};
use crate::error::OpenError;
use crate::file::{self, Header, KIND_HNSW, Reader, Section, mismatch};
use crate::flat::read_owned_rows;
use crate::row_set::RowSet;
use crate::rows::RowChunks;
use crate::spec::HNSW_M_RANGE;

/// What the section `layo` holds.
#[derive(Clone, Copy)]
struct Layout {
    base_capacity: usize,
    base_width: u32,
    upper_width: u32,
    /// Rows that the mean of the codes was taken over.
    trained_rows: usize,
    has_codes: bool,
}

impl Layout {
    const VALUES: usize = 5;

    /// That of the first files, which do not say.
    fn first(m: usize) -> Self {
        Layout { base_capacity: 2 * m, base_width: 32, upper_width: 32, trained_rows: 0, has_codes: false }
    }

    fn write(self) -> Vec<u32> {
        let Layout { base_capacity, base_width, upper_width, trained_rows, has_codes } = self;
        vec![base_capacity as u32, base_width, upper_width, trained_rows as u32, u32::from(has_codes)]
    }

    fn read(reader: &Reader, m: usize) -> Result<Self, OpenError> {
        if reader.section(b"layo", "layout").is_err() {
            return Ok(Layout::first(m));
        }
        let (values, at) = reader.array::<u32>(b"layo", "layout", Layout::VALUES)?;
        let &[base_capacity, base_width, upper_width, trained_rows, has_codes] = values.as_slice() else {
            return Err(mismatch(at, "layout", Layout::VALUES, values.as_slice().len()));
        };
        if base_capacity as usize != 2 * m {
            return Err(mismatch(at, "base_capacity", 2 * m, base_capacity));
        }
        for (i, width) in [base_width, upper_width].into_iter().enumerate() {
            if !is_width(width) {
                return Err(mismatch(at + 4 * (i + 1), "link_bits", "12..=28, or 32", width));
            }
        }
        if has_codes > 1 {
            return Err(mismatch(at + 16, "has_codes", "0 or 1", has_codes));
        }
        Ok(Layout {
            base_capacity: base_capacity as usize,
            base_width,
            upper_width,
            trained_rows: trained_rows as usize,
            has_codes: has_codes == 1,
        })
    }
}

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
        let layout = Layout {
            base_capacity: base.capacity(),
            base_width: base.width(),
            upper_width: upper.width(),
            trained_rows: self.codes.as_ref().map_or(0, |codes| codes.trained_rows),
            has_codes: self.codes.is_some(),
        };
        let mut sections = vec![
            Section::owned(b"layo", layout.write()),
            Section::new(b"levl", levels.as_slice()),
            Section::new(b"base", base.as_bytes()),
            Section::new(b"uppr", upper.as_bytes()),
            Section::new(b"rows", &self.store.owned),
        ];
        if let Some(codes) = &self.codes {
            sections.push(Section::new(b"mean", codes.mean.as_slice()));
            sections.push(Section::new(b"code", codes.lines.as_slice()));
            sections.push(Section::new(b"fact", codes.factors.as_slice()));
        }
        file::write(out, &header, &sections)
    }

    /// Reads what `write_to` wrote; `reader`'s header agrees with `rows`.
    pub(crate) fn read(reader: &Reader, shared: &RowChunks) -> Result<Self, OpenError> {
        let Header { metric, parameters: [m, entry, seed_low, seed_high], .. } = reader.header;
        let m = m as usize;
        if !HNSW_M_RANGE.contains(&m) {
            return Err(mismatch(44, "m", format!("{HNSW_M_RANGE:?}"), m));
        }
        let layout = Layout::read(reader, m)?;
        let seed = u64::from(seed_low) | u64::from(seed_high) << 32;
        let store = read_owned_rows(reader, shared)?;
        let rows = store.len();
        if rows >= MAX_GRAPH_ROWS {
            return Err(mismatch(24, "shared_rows", format!("below {MAX_GRAPH_ROWS} in all"), rows));
        }
        let (levels, levels_at) = reader.array::<u8>(b"levl", "levels", rows)?;
        let counts = levels.as_slice();
        if let Some(at) = counts.iter().position(|&count| count & !BURIED > MAX_LEVELS) {
            return Err(mismatch(levels_at + at, "levels", format!("at most {MAX_LEVELS}"), counts[at]));
        }
        let is_live = |row: usize| counts[row] > 0 && counts[row] & BURIED == 0;
        let highest = (0..rows).filter(|&row| is_live(row)).map(|row| counts[row]).max().unwrap_or(0);
        let is_entry_right = match counts.get(entry as usize) {
            // A row that was taken out stays the entry until the graph is mended, and is at least as high.
            Some(&count) => count & !BURIED >= highest.max(1),
            None => entry == NONE && highest == 0,
        };
        if !is_entry_right {
            return Err(mismatch(48, "entry", format!("a row on {highest} levels"), entry));
        }
        let lists = |tag, field, count: usize, capacity, width| -> Result<(Lists, usize), OpenError> {
            let (bytes, at) = reader.array(tag, field, count.saturating_mul(stride(capacity, width)))?;
            Ok((Lists::from_parts(bytes, capacity, width), at))
        };
        let upper_lists = Graph::upper_lists(counts);
        let (base, base_at) = lists(b"base", "base_links", rows, layout.base_capacity, layout.base_width)?;
        let (upper, upper_at) = lists(b"uppr", "upper_links", upper_lists, m, layout.upper_width)?;
        let tombstones = check_lists(&base, (0..rows).map(|row| (row, 0)), counts, base_at, "base_links")?;
        let upper_of = (0..rows).flat_map(|row| (1..counts[row] & !BURIED).map(move |level| (row, level)));
        let tombstones = tombstones + check_lists(&upper, upper_of, counts, upper_at, "upper_links")?;
        let is_all_linked = (0..rows).all(is_live);
        let linked = (!is_all_linked)
            .then(|| (0..rows as u32).filter(|&row| is_live(row as usize)).collect::<RowSet>());
        let codes = match layout.has_codes {
            true => Some(read_codes(reader, rows, layout.trained_rows, seed)?),
            false => None,
        };
        let graph = Graph::from_parts(m, levels, (base, upper), entry);
        let pool = ScratchPool::default();
        Ok(Hnsw { metric, seed, store, graph, codes, linked, tombstones, pool })
    }
}

fn read_codes(reader: &Reader, rows: usize, trained_rows: usize, seed: u64) -> Result<Codes, OpenError> {
    let Header { metric, dim, .. } = reader.header;
    let (mean, mean_at) = reader.array::<f32>(b"mean", "mean", dim)?;
    if let Some(at) = mean.as_slice().iter().position(|value| !value.is_finite()) {
        return Err(mismatch(mean_at + 4 * at, "mean", "a finite number", mean.as_slice()[at]));
    }
    let (lines, _) = reader.array::<Line>(b"code", "codes", Codes::lines_of(rows, dim))?;
    let (factors, _) = reader.array::<u32>(b"fact", "factors", rows)?;
    Ok(Codes::from_parts(mean, lines, factors, trained_rows, metric, seed))
}

/// Checks each list; `owners` gives row and level of each, in order. Returns how many lists are those of rows taken out and
/// not empty, and at least one when a list leads to such a row.
fn check_lists(
    lists: &Lists,
    owners: impl Iterator<Item = (usize, u8)>,
    counts: &[u8],
    offset: usize,
    field: &'static str,
) -> Result<usize, OpenError> {
    let view = lists.view();
    let (mut tombstones, mut is_any_led_to) = (0, false);
    let bytes = stride(lists.capacity(), lists.width());
    for (list, (row, level)) in owners.enumerate() {
        // A row on no level has no links.
        let mut has_ended = counts[row] & !BURIED <= level;
        let mut is_empty = true;
        for (place, link) in view.places(list).enumerate() {
            let is_on_level = counts.get(link as usize).is_some_and(|&count| count & !BURIED > level);
            if link != NONE && (has_ended || !is_on_level) {
                let at = offset + list * bytes + place * lists.width() as usize / 8;
                let expected = format!("a row on level {level}, or all bits set to the end of the list");
                return Err(mismatch(at, field, expected, link));
            }
            has_ended |= link == NONE;
            is_empty &= link == NONE;
            is_any_led_to |= counts.get(link as usize).is_some_and(|&count| count & BURIED != 0);
        }
        tombstones += usize::from(!is_empty && counts[row] & BURIED != 0);
    }
    Ok(tombstones.max(usize::from(is_any_led_to)))
}
