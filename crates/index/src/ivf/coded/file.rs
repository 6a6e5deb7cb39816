//! [`Coded`] in our index file: its spec in words, what was learned, list sizes, row numbers, blocks of codes, own rows.
//!
//! Checked at open besides the checksums: the spec is one that this kind can be, every section is as long as the spec makes it,
//! list sizes add up, every row number is in range and comes once, learned numbers and rows are finite. Codes may be
//! any bytes: each is a vector.

use super::list::CodeList;
use super::{Coded, Slack, Trained, nlist_of, settings_of};
use crate::codes;
use crate::error::OpenError;
use crate::file::{self, Header, KIND_CODED, Reader, Section, mismatch};
use crate::flat::read_owned_rows;
use crate::kmeans::Assigner;
use crate::row_set::RowSet;
use crate::rows::{MAX_ROWS, RowChunks, Rows};
use crate::spec::{IndexSpec, Structure};
use crate::transform::Chain;

impl Coded {
    pub(super) fn write_file(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let header = Header {
            kind: KIND_CODED,
            metric: self.metric,
            dim: self.dim,
            shared_rows: self.shared_rows,
            parameters: [
                self.lists.len() as u32,
                (self.rows - self.shared_rows) as u32,
                self.seed as u32,
                (self.seed >> 32) as u32,
            ],
        };
        let Trained { chain, centroids, codes, slack, .. } = &self.trained;
        let sizes = self.lists.iter().map(|list| list.len() as u32).collect();
        let owned: &[f32] = self.store.as_ref().map_or(&[], |store| &store.owned);
        let flags = vec![u32::from(codes.by_residual()), slack.factor.to_bits()];
        let sections = [
            Section::owned(b"spec", self.spec.to_string().into_bytes()),
            Section::owned(b"flag", flags),
            Section::owned(b"tran", chain.learned()),
            Section::new(b"cent", centroids),
            Section::owned(b"quan", codes.learned()),
            Section::owned::<u32>(b"size", sizes),
            Section::joined(b"ids ", self.lists.iter().map(|list| list.ids.as_slice())),
            Section::joined(b"code", self.lists.iter().map(|list| list.codes.as_slice())),
            Section::new(b"rows", owned),
        ];
        file::write(out, &header, &sections)
    }

    /// Reads what `write_to` wrote; `reader`'s header agrees with `shared`.
    pub(crate) fn read(reader: &Reader, shared: &RowChunks) -> Result<Self, OpenError> {
        let Header { metric, dim, parameters: [nlist, added, seed_low, seed_high], .. } = reader.header;
        let (spec, spec_at) = read_spec(reader)?;
        if nlist as usize != nlist_of(&spec) {
            return Err(mismatch(44, "nlist", nlist_of(&spec), nlist));
        }
        let nlist = nlist as usize;
        let rows = shared.len() + added as usize;
        if rows > MAX_ROWS {
            return Err(mismatch(48, "added_rows", format!("at most {MAX_ROWS} rows in all"), added));
        }
        let seed = u64::from(seed_low) | u64::from(seed_high) << 32;
        let trained = read_trained(reader, &spec, spec_at, nlist, seed)?;
        let (sizes, sizes_at) = reader.array::<u32>(b"size", "list_sizes", nlist)?;
        let (lists, members) = read_lists(reader, &trained, sizes.as_slice(), sizes_at, rows)?;
        let owned = read_owned_rows(reader, shared)?;
        let expected = if spec.refine { added as usize * dim } else { 0 };
        if owned.owned.len() != expected {
            let at = reader.section(b"rows", "rows")?.start;
            return Err(mismatch(at, "rows", format!("{expected} values"), owned.owned.len()));
        }
        let store = spec.refine.then_some(owned);
        let shared_rows = shared.len();
        let warnings = Vec::new();
        Ok(Coded { spec, metric, dim, seed, rows, shared_rows, store, members, lists, trained, warnings })
    }
}

fn read_spec(reader: &Reader) -> Result<(IndexSpec, usize), OpenError> {
    let (spec, at) = reader.spec()?;
    match spec.structure {
        Structure::Scan | Structure::Ivf { .. } => Ok((spec, at)),
        _ => Err(mismatch(at, "spec", "codes in a scan or in lists", spec)),
    }
}

fn read_trained(
    reader: &Reader,
    spec: &IndexSpec,
    spec_at: usize,
    nlist: usize,
    seed: u64,
) -> Result<Trained, OpenError> {
    let Header { metric, dim, .. } = reader.header;
    let misfit = |error| mismatch(spec_at, "spec", format!("one for dimension {dim}"), error);
    let dim_out = Chain::dim_out_of(&spec.transforms, dim).map_err(|error| misfit(error.to_string()))?;
    let too_large = || misfit("transforms beyond any file".to_owned());
    let count = Chain::learned_len(&spec.transforms, dim).ok_or_else(too_large)?;
    let transforms = finite(reader, b"tran", "transforms", count)?;
    let chain = Chain::open(&spec.transforms, dim, &transforms).ok_or_else(too_large)?;
    let count = nlist.checked_mul(dim_out).ok_or_else(too_large)?;
    let centroids = finite(reader, b"cent", "centroids", count)?;
    let (flags, flags_at) = reader.array::<u32>(b"flag", "flags", 2)?;
    let (by_residual, factor) = match *flags.as_slice() {
        [residual @ (0 | 1), bits] => (residual == 1, f32::from_bits(bits)),
        [other, ..] => return Err(mismatch(flags_at, "by_residual", "0 or 1", other)),
        [] => return Err(mismatch(flags_at, "flags", "2 values", 0)),
    };
    if !(factor >= 0.0 && factor.is_finite()) {
        return Err(mismatch(flags_at + 4, "slack", "a finite number of at least 0", factor));
    }
    let mut settings = settings_of(spec, metric, dim_out, seed);
    settings.by_residual = by_residual;
    settings.check().map_err(|error| misfit(error.to_string()))?;
    let learned = finite(reader, b"quan", "quantizer", settings.learned_len())?;
    let codes =
        codes::open(&settings, learned).ok_or_else(|| misfit("a quantizer of another shape".to_owned()))?;
    let coarse = Assigner::new(metric, &centroids, dim_out);
    let slack = Slack { factor, is_l2: metric == crate::Metric::L2 };
    Ok(Trained { chain, centroids, coarse, codes, slack })
}

/// A section of `count` finite f32.
fn finite(reader: &Reader, tag: &[u8; 4], field: &'static str, count: usize) -> Result<Vec<f32>, OpenError> {
    let (values, at) = reader.array::<f32>(tag, field, count)?;
    let values = values.as_slice().to_vec();
    match Rows::new(&values, 1) {
        Ok(_) => Ok(values),
        Err(error) => Err(mismatch(at, field, "finite values", error)),
    }
}

fn read_lists(
    reader: &Reader,
    trained: &Trained,
    sizes: &[u32],
    sizes_at: usize,
    rows: usize,
) -> Result<(Vec<CodeList>, RowSet), OpenError> {
    let layout = trained.codes.layout();
    let total: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    if total > rows as u64 {
        return Err(mismatch(sizes_at, "list_sizes", format!("a sum of at most {rows}"), total));
    }
    let (all, ids_at) = reader.array::<u32>(b"ids ", "row_numbers", total as usize)?;
    let mut members = RowSet::new();
    for (i, &id) in all.as_slice().iter().enumerate() {
        if id as usize >= rows {
            return Err(mismatch(ids_at + 4 * i, "row_numbers", format!("a row below {rows}"), id));
        }
        if !members.insert(id) {
            return Err(mismatch(ids_at + 4 * i, "row_numbers", "each row once", format!("{id} again")));
        }
    }
    let bytes = sizes.iter().map(|&size| layout.bytes_of(size as usize)).fold(0, usize::saturating_add);
    let (_, codes_at) = reader.array::<u8>(b"code", "codes", bytes)?;
    let (mut id_at, mut code_at) = (ids_at, codes_at);
    let lists = sizes.iter().map(|&size| {
        let (id_bytes, code_bytes) = (size as usize * 4, layout.bytes_of(size as usize));
        let ids = reader.slice::<u32>(id_at..id_at + id_bytes);
        let codes = reader.slice::<u8>(code_at..code_at + code_bytes);
        id_at += id_bytes;
        code_at += code_bytes;
        CodeList { ids, codes }
    });
    Ok((lists.collect(), members))
}
