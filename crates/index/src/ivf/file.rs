//! IVFFlat in our index file: centroids, list sizes, row numbers, panels.
//!
//! Checked at open besides the checksums: sizes add up to the row numbers held, panels are as long as the sizes say, every
//! row number is in range and comes once, centroids are finite.

use super::IvfFlat;
use super::lists::List;
use crate::error::OpenError;
use crate::file::{self, Header, KIND_IVF_FLAT, Reader, Section, mismatch};
use crate::kernels::PANEL_ROWS;
use crate::kmeans::Assigner;
use crate::row_set::RowSet;
use crate::rows::{MAX_ROWS, RowChunks, Rows};
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
        let sections = [
            Section::new(b"cent", &self.centroids),
            Section::owned::<u32>(b"size", sizes),
            Section::joined(b"ids ", self.lists.iter().map(|list| list.ids.as_slice())),
            Section::joined(b"vecs", self.lists.iter().map(|list| list.panels.as_slice())),
        ];
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
        let lists = read_lists(reader, sizes.as_slice(), sizes_at, rows)?;
        let coarse = Some(Assigner::new(metric, &centroids, dim));
        let seed = u64::from(seed_low) | u64::from(seed_high) << 32;
        let (shared_rows, warnings) = (shared.len(), Vec::new());
        Ok(IvfFlat { metric, dim, nlist, seed, rows, shared_rows, centroids, coarse, lists, warnings })
    }
}

fn read_lists(reader: &Reader, sizes: &[u32], sizes_at: usize, rows: usize) -> Result<Vec<List>, OpenError> {
    let panel_values = PANEL_ROWS * reader.header.dim;
    let total: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    if total > rows as u64 {
        return Err(mismatch(sizes_at, "list_sizes", format!("a sum of at most {rows}"), total));
    }
    let panels: usize = sizes.iter().map(|&size| (size as usize).div_ceil(PANEL_ROWS)).sum();
    let (all_ids, ids_at) = reader.array::<u32>(b"ids ", "row_numbers", total as usize)?;
    check_ids(all_ids.as_slice(), ids_at, rows)?;
    // Bounded before it is multiplied: panels are at most one per row, and the section's length must agree.
    let (_, vectors_at) = reader.array::<f32>(b"vecs", "vectors", panels.saturating_mul(panel_values))?;
    let (mut id_at, mut vector_at) = (ids_at, vectors_at);
    let lists = sizes.iter().map(|&size| {
        let id_bytes = size as usize * 4;
        let vector_bytes = (size as usize).div_ceil(PANEL_ROWS) * panel_values * 4;
        let ids = reader.slice::<u32>(id_at..id_at + id_bytes);
        let panels = reader.slice::<f32>(vector_at..vector_at + vector_bytes);
        id_at += id_bytes;
        vector_at += vector_bytes;
        List { ids, panels }
    });
    Ok(lists.collect())
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
