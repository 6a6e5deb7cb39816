//! Indexes of ours as FAISS trees: what the `to_faiss` of each has in common.
//!
//! Row numbers become FAISS's ids: positions where no row was taken out, else an `IDMap` (inverted files hold ids anyway), so
//! that FAISS answers with our row numbers. [`rename`] puts a user's ids in their place.
//!
//! FAISS has no cosine: rows are written at unit length under the inner product, and whoever searches there normalises the
//! query, as users of `IndexFlatIP` do.

use super::tree::{Header, Index, Kind, List, MetricType};
use super::{FaissError, Packed};
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::RowStore;

/// The header of an index of ours.
pub(crate) fn header(metric: Metric, dim: usize, rows: usize) -> Header {
    let metric = match metric {
        Metric::L2 => MetricType::L2,
        Metric::InnerProduct | Metric::Cosine => MetricType::InnerProduct,
    };
    Header { dim, rows, is_trained: true, metric }
}

/// A flat index of the rows of a store that are in.
pub(crate) fn flat(metric: Metric, store: &RowStore, include: Option<&RowSet>) -> Index<'static> {
    let view = store.view();
    let is_in = |row: &u32| include.is_none_or(|include| include.contains(*row));
    let rows: Vec<u32> = (0..store.len() as u32).filter(is_in).collect();
    let mut values = Vec::with_capacity(rows.len() * store.dim());
    rows.iter().for_each(|&row| values.extend_from_slice(view.row(row)));
    Index { header: header(metric, store.dim(), rows.len()), kind: Kind::Flat(values.into()) }
}

/// Names the positions of `inner` by row number, unless they are the same.
pub(crate) fn by_row_number<'a>(inner: Index<'a>, rows: &[u32], of: usize) -> Index<'a> {
    if rows.len() == of {
        return inner;
    }
    let ids: Vec<i64> = rows.iter().map(|&row| i64::from(row)).collect();
    Index {
        header: inner.header,
        kind: Kind::IdMap { ids: ids.into(), is_two_way: true, inner: inner.into() },
    }
}

/// Gives the vectors of an index ids of the user's own: vector with id `i` gets `ids[i]`.
///
/// Inverted files hold the new ids in their lists; around other indexes goes an `IndexIDMap2`.
///
/// # Errors
/// An id that has no counterpart in `ids`.
pub fn rename<'a>(mut index: Index<'a>, ids: &[i64]) -> Result<Index<'a>, FaissError> {
    let renamed = |old: &Packed<'_, i64>| -> Result<Packed<'static, i64>, FaissError> {
        let new: Option<Vec<i64>> =
            old.iter().map(|id| ids.get(usize::try_from(id).ok()?).copied()).collect();
        new.map(Packed::from).ok_or_else(|| FaissError::Write {
            what: format!("an index with ids outside 0..{}", ids.len()),
            hint: "give an id for each of its vectors",
        })
    };
    match &mut index.kind {
        Kind::Ivf(ivf) => {
            ivf.direct_map = super::DirectMap::None;
            for List { ids, .. } in ivf.lists.iter_mut().flat_map(|lists| &mut lists.filled) {
                *ids = renamed(ids)?;
            }
            Ok(index)
        }
        Kind::PreTransform { inner, .. } => {
            let renamed = rename((**inner).clone(), ids)?;
            **inner = renamed;
            Ok(index)
        }
        Kind::IdMap { ids, .. } => {
            *ids = renamed(ids)?;
            Ok(index)
        }
        _ => {
            let positions: Vec<i64> = (0..index.header.rows as i64).collect();
            let ids = renamed(&positions.into())?;
            let header = index.header;
            Ok(Index { header, kind: Kind::IdMap { ids, is_two_way: true, inner: Box::new(index) } })
        }
    }
}
