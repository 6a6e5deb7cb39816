//! [`Flat`]: exact search over shared rows, and over rows added later, which the index owns.

use crate::error::{IndexError, OpenError};
use crate::exact::Scan;
use crate::faiss::export;
use crate::file::{self, Header, Reader, Section};
use crate::hits::Hits;
use crate::index::{IndexInfo, VectorIndex};
use crate::kernels::kernels;
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::{MAX_ROWS, RowChunks, RowStore, Rows};
use crate::search::{SearchParams, prepared};
use crate::shadow::{Shadow, ShadowScan};
use crate::spec::IndexSpec;
use std::borrow::Cow;

/// Layout of the sections that hold a shadow, in the header's second parameter.
const SHADOW_LAYOUT: u32 = 1;

/// Exact search; FAISS's `IndexFlatL2` and `IndexFlatIP`.
#[derive(Debug)]
pub(crate) struct Flat {
    metric: Metric,
    store: RowStore,
    /// Rows that may be found; `None` = all. Rows added later are in it.
    include: Option<RowSet>,
    /// Of all rows of the store, when there are enough.
    shadow: Option<Shadow>,
}

impl Flat {
    pub(crate) fn new(metric: Metric, rows: &RowChunks, include: Option<RowSet>) -> Self {
        let store = RowStore::new(rows.clone());
        let shadow = Shadow::of(&store, metric, kernels());
        Flat { metric, store, include, shadow }
    }
}

impl VectorIndex for Flat {
    fn info(&self) -> IndexInfo {
        IndexInfo {
            spec: IndexSpec::FLAT,
            metric: self.metric,
            dim: self.store.dim(),
            rows: self.store.len(),
            is_trained: true,
            bytes: self.store.owned.len() * 4 + self.shadow.as_ref().map_or(0, Shadow::bytes),
            reads_rows: true,
            warnings: Vec::new(),
        }
    }

    fn train(&mut self, _sample: Rows<'_>) -> Result<(), IndexError> {
        Ok(())
    }

    fn add(&mut self, rows: Rows<'_>) -> Result<(), IndexError> {
        append(&mut self.store, self.metric, rows)?;
        self.shadow = Shadow::follow(self.shadow.take(), &self.store, self.metric, kernels());
        if let Some(include) = &mut self.include {
            let end = self.store.len();
            (end - rows.len()..end).for_each(|row| {
                include.insert(row as u32);
            });
        }
        Ok(())
    }

    fn remove(&mut self, rows: &RowSet) -> Result<usize, IndexError> {
        let before = self.include.clone().unwrap_or_else(|| RowSet::full(self.store.len()));
        let after = before.subtract(rows);
        let removed = before.count() - after.count();
        if removed > 0 {
            self.include = Some(after);
        }
        Ok(removed)
    }

    fn reconstruct(&self, row: u32) -> Result<Vec<f32>, IndexError> {
        let is_in = (row as usize) < self.store.len()
            && self.include.as_ref().is_none_or(|include| include.contains(row));
        if !is_in {
            return Err(IndexError::UnknownRow { row, rows: self.store.len() });
        }
        Ok(self.store.view().row(row).to_vec())
    }

    fn search(&self, queries: Rows<'_>, params: &SearchParams<'_>) -> Result<Vec<Hits>, IndexError> {
        params.check(queries, self.store.dim())?;
        let queries = prepared(self.metric, queries)?;
        let filter = both(self.include.as_ref(), params.filter);
        let scan =
            Scan { store: &self.store, metric: self.metric, filter: filter.as_deref(), kernels: kernels() };
        Ok(match &self.shadow {
            Some(shadow) => ShadowScan { plain: scan, shadow }.search(&queries, params.k, params.radius),
            None => scan.search(&queries, 0..self.store.len(), params.k, params.radius),
        })
    }

    fn to_faiss(&self) -> Result<crate::faiss::Index<'_>, crate::faiss::FaissError> {
        let include = self.include.as_ref();
        let rows: Vec<u32> = include.map_or_else(Vec::new, |include| include.iter().collect());
        let of = if include.is_some() { self.store.len() } else { 0 };
        Ok(export::by_row_number(export::flat(self.metric, &self.store, include), &rows, of))
    }

    fn write_to(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let header = Header {
            kind: file::KIND_FLAT,
            metric: self.metric,
            dim: self.store.dim(),
            shared_rows: self.store.shared.len(),
            parameters: [
                u32::from(self.include.is_some()),
                u32::from(self.shadow.is_some()) * SHADOW_LAYOUT,
                self.shadow.as_ref().map_or(0, |shadow| shadow.mean_rows() as u32),
                self.shadow.as_ref().map_or(0, |shadow| u32::from(shadow.is_turned())),
            ],
        };
        let left_out = left_out(self.include.as_ref(), self.store.len());
        let mut sections = vec![Section::new(b"rows", &self.store.owned), Section::owned(b"gone", left_out)];
        sections.extend(self.shadow.iter().flat_map(Shadow::sections));
        file::write(out, &header, &sections)
    }
}

/// Numbers of the rows in `0..rows` that are not included.
fn left_out(include: Option<&RowSet>, rows: usize) -> Vec<u32> {
    match include {
        Some(include) => RowSet::full(rows).subtract(include).iter().collect(),
        None => Vec::new(),
    }
}

/// Reads the rows that an index owns: section `rows`, `[n, dim]` finite f32.
pub(crate) fn read_owned_rows(reader: &Reader, shared: &RowChunks) -> Result<RowStore, OpenError> {
    let dim = shared.dim();
    let range = reader.section(b"rows", "rows")?;
    if !range.len().is_multiple_of(4 * dim) {
        return Err(file::mismatch(range.start, "rows", format!("rows of {dim} values"), range.len()));
    }
    let offset = range.start;
    let owned: Vec<f32> = reader.slice::<f32>(range).as_slice().to_vec();
    match Rows::new(&owned, dim) {
        Ok(rows) if rows.len() + shared.len() <= MAX_ROWS => {}
        Ok(rows) => {
            return Err(file::mismatch(offset, "rows", format!("at most {MAX_ROWS} in all"), rows.len()));
        }
        Err(error) => return Err(file::mismatch(offset, "rows", "finite values", error)),
    }
    Ok(RowStore { shared: shared.clone(), owned })
}

impl Flat {
    /// Reads what `write_to` wrote; `reader`'s header agrees with `rows`.
    pub(crate) fn read(reader: &Reader, rows: &RowChunks) -> Result<Self, OpenError> {
        let metric = reader.header.metric;
        let store = read_owned_rows(reader, rows)?;
        let range = reader.section(b"gone", "gone")?;
        let offset = range.start;
        if !range.len().is_multiple_of(4) {
            return Err(file::mismatch(offset, "gone", "u32 row numbers", range.len()));
        }
        let gone = reader.slice::<u32>(range);
        let gone = gone.as_slice();
        if let Some(&row) = gone.iter().find(|&&row| row as usize >= store.len()) {
            return Err(file::mismatch(offset, "gone", format!("rows below {}", store.len()), row));
        }
        let [has_gone, layout, mean_rows, turned] = reader.header.parameters;
        let include = match has_gone {
            0 if gone.is_empty() => None,
            1 => Some(RowSet::full(store.len()).subtract(&gone.iter().copied().collect())),
            other => return Err(file::mismatch(44, "parameters", "0 or 1, as rows are left out", other)),
        };
        let shadow = match layout {
            0 if mean_rows == 0 && turned == 0 => None,
            SHADOW_LAYOUT if mean_rows > 0 && mean_rows as usize <= store.len() && turned <= 1 => {
                Some(Shadow::read(reader, store.len(), mean_rows as usize, turned == 1)?)
            }
            _ => {
                let expected = format!("0 or {SHADOW_LAYOUT}, rows of the mean, 0 or 1");
                return Err(file::mismatch(
                    48,
                    "parameters",
                    expected,
                    format!("{layout}, {mean_rows}, {turned}"),
                ));
            }
        };
        Ok(Flat { metric, store, include, shadow })
    }
}

/// Checks `rows` and appends them, prepared for `metric`, to the rows that a store owns.
pub(crate) fn append(store: &mut RowStore, metric: Metric, rows: Rows<'_>) -> Result<(), IndexError> {
    if rows.dim() != store.dim() {
        return Err(IndexError::Dimension { expected: store.dim(), received: rows.dim() });
    }
    let received = store.len() + rows.len();
    if received > MAX_ROWS {
        return Err(IndexError::TooManyRows { limit: MAX_ROWS, received });
    }
    let rows = prepared(metric, rows)?;
    store.owned.extend_from_slice(&rows);
    Ok(())
}

/// Rows that two optional sets both allow.
pub(crate) fn both<'a>(a: Option<&'a RowSet>, b: Option<&'a RowSet>) -> Option<Cow<'a, RowSet>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Cow::Owned(a.intersect(b))),
        (Some(one), None) | (None, Some(one)) => Some(Cow::Borrowed(one)),
        (None, None) => None,
    }
}
