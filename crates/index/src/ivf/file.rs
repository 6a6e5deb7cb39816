//! IVFFlat in our index file: centroids, list sizes, row numbers, panels, and codes (not in old files).
//!
//! Checked at open besides the checksums: sizes add up to the row numbers held, panels are as long as the sizes say, every
//! row number is in range and comes once, centroids are finite.

use super::IvfFlat;
use super::lists::List;
use crate::error::OpenError;
use crate::file::{self, Header, KIND_IVF_FLAT, Reader, Section, mismatch};
use crate::kernels::{BLOCK_TERMS, PANEL_ROWS};
use crate::kmeans::Assigner;
use crate::row_set::RowSet;
use crate::rows::{MAX_ROWS, RowChunks, Rows};
use crate::shadow::{ListCodes, ListFrame};
use crate::spec::MAX_NLIST;

impl IvfFlat {
    pub(super) fn write_file(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let header = Header {
            kind: KIND_IVF_FLAT,
            metric: self.metric,
            dim: self.dim,
            shared_rows: self.shared_rows,
            parameters: [
                self.nlist as u32,
                (self.rows - self.shared_rows) as u32,
                self.seed as u32,
                (self.seed >> 32) as u32,
            ],
        };
        let sizes = self.lists.iter().map(|list| list.ids.as_slice().len() as u32).collect();
        let mut sections = vec![
            Section::new(b"cent", &self.centroids),
            Section::owned::<u32>(b"size", sizes),
            Section::joined(b"ids ", self.lists.iter().map(|list| list.ids.as_slice())),
            Section::joined(
                vectors_tag(self.frame.is_some()),
                self.lists.iter().map(|list| list.vectors.as_slice()),
            ),
        ];
        if let Some(frame) = &self.frame {
            sections.push(Section::new(b"smea", frame.centre()));
            let codes = || self.lists.iter().flat_map(|list| &list.codes);
            sections.push(Section::joined(b"scod", codes().map(|codes| codes.codes.as_slice())));
            sections.push(Section::joined(b"ster", codes().map(|codes| codes.terms.as_slice())));
            sections.push(Section::joined(b"srea", codes().map(|codes| codes.reach.as_slice())));
        }
        file::write(out, &header, &sections)
    }

    /// Reads what `write_to` wrote; `reader`'s header agrees with `rows`.
    pub(crate) fn read(reader: &Reader, shared: &RowChunks) -> Result<Self, OpenError> {
        let Header { metric, dim, parameters: [nlist, added, seed_low, seed_high], .. } = reader.header;
        let (nlist, rows) = (nlist as usize, shared.len() + added as usize);
        if nlist == 0 || nlist > MAX_NLIST {
            return Err(mismatch(44, "nlist", format!("1..={MAX_NLIST}"), nlist));
        }
        if rows > MAX_ROWS {
            return Err(mismatch(48, "added_rows", format!("at most {MAX_ROWS} rows in all"), added));
        }
        let (centroids, at) = reader.array::<f32>(b"cent", "centroids", nlist * dim)?;
        let centroids = centroids.as_slice().to_vec();
        if let Err(error) = Rows::new(&centroids, dim) {
            return Err(mismatch(at, "centroids", "finite values", error));
        }
        let (sizes, sizes_at) = reader.array::<u32>(b"size", "list_sizes", nlist)?;
        let with_codes = reader.section(b"smea", "mean").is_ok();
        let mut lists = read_lists(reader, sizes.as_slice(), sizes_at, rows, with_codes)?;
        let frame = if with_codes { Some(read_codes(reader, &mut lists)?) } else { None };
        let coarse = Some(Assigner::new(metric, &centroids, dim));
        let seed = u64::from(seed_low) | u64::from(seed_high) << 32;
        let (shared_rows, warnings) = (shared.len(), Vec::new());
        Ok(IvfFlat { metric, dim, nlist, seed, rows, shared_rows, centroids, coarse, lists, frame, warnings })
    }
}

/// Tag of the vectors: rows one after the other, or interleaved (so that no reader takes one for the other).
fn vectors_tag(with_codes: bool) -> &'static [u8; 4] {
    if with_codes { b"rowv" } else { b"vecs" }
}

fn read_lists(
    reader: &Reader,
    sizes: &[u32],
    sizes_at: usize,
    rows: usize,
    with_codes: bool,
) -> Result<Vec<List>, OpenError> {
    let panel_values = PANEL_ROWS * reader.header.dim;
    let total: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    if total > rows as u64 {
        return Err(mismatch(sizes_at, "list_sizes", format!("a sum of at most {rows}"), total));
    }
    let panels: usize = sizes.iter().map(|&size| (size as usize).div_ceil(PANEL_ROWS)).sum();
    let (all_ids, ids_at) = reader.array::<u32>(b"ids ", "row_numbers", total as usize)?;
    check_ids(all_ids.as_slice(), ids_at, rows)?;
    // Bounded before it is multiplied: panels are at most one per row, and the section's length must agree.
    let (_, vectors_at) =
        reader.array::<f32>(vectors_tag(with_codes), "vectors", panels.saturating_mul(panel_values))?;
    let (mut id_at, mut vector_at) = (ids_at, vectors_at);
    let lists = sizes.iter().map(|&size| {
        let id_bytes = size as usize * 4;
        let vector_bytes = (size as usize).div_ceil(PANEL_ROWS) * panel_values * 4;
        let ids = reader.slice::<u32>(id_at..id_at + id_bytes);
        let vectors = reader.slice::<f32>(vector_at..vector_at + vector_bytes);
        id_at += id_bytes;
        vector_at += vector_bytes;
        List { ids, vectors, codes: None }
    });
    Ok(lists.collect())
}

/// The codes of every list. Any codes and any floats are safe to search with.
fn read_codes(reader: &Reader, lists: &mut [List]) -> Result<ListFrame, OpenError> {
    let Header { metric, dim, .. } = reader.header;
    let (centre, at) = reader.array::<f32>(b"smea", "mean", dim)?;
    let centre = centre.as_slice().to_vec();
    if let Err(error) = Rows::new(&centre, dim) {
        return Err(mismatch(at, "mean", "finite values", error));
    }
    let Some(frame) = ListFrame::new(metric, centre) else {
        return Err(mismatch(20, "dim", "one that has compressed rows", dim));
    };
    let panels: usize = lists.iter().map(|list| list.ids.as_slice().len().div_ceil(PANEL_ROWS)).sum();
    let codes = reader.array::<u8>(b"scod", "coarse_codes", panels.saturating_mul(frame.block_bytes()))?;
    let terms = reader.array::<f32>(b"ster", "coarse_terms", panels.saturating_mul(BLOCK_TERMS))?;
    let reach = reader.array::<f32>(b"srea", "reach", panels)?;
    let (mut code_at, mut term_at, mut reach_at) = (codes.1, terms.1, reach.1);
    for list in lists {
        let panels = list.ids.as_slice().len().div_ceil(PANEL_ROWS);
        let next = |at: &mut usize, bytes: usize| {
            *at += bytes;
            *at - bytes..*at
        };
        list.codes = Some(ListCodes {
            codes: reader.slice(next(&mut code_at, panels * frame.block_bytes())),
            terms: reader.slice(next(&mut term_at, panels * BLOCK_TERMS * 4)),
            reach: reader.slice(next(&mut reach_at, panels * 4)),
        });
    }
    Ok(frame)
}

fn check_ids(ids: &[u32], offset: usize, rows: usize) -> Result<(), OpenError> {
    let mut seen = RowSet::new();
    for (i, &id) in ids.iter().enumerate() {
        if id as usize >= rows {
            return Err(mismatch(offset + 4 * i, "row_numbers", format!("a row below {rows}"), id));
        }
        if !seen.insert(id) {
            return Err(mismatch(offset + 4 * i, "row_numbers", "each row once", format!("{id} again")));
        }
    }
    Ok(())
}
