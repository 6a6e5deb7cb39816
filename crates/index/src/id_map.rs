//! [`IdMap`]: ids of the user's own over an index whose rows are numbered by position, as FAISS's `IndexIDMap2`.
//!
//! Invariant: row `i` of the index has the id `ids[i]`, no id stands for two live rows, and an id that was removed may be
//! given again.

use crate::error::IndexError;
use crate::index::VectorIndex;
use crate::row_set::RowSet;
use crate::rows::Rows;
use crate::search::SearchParams;
use std::collections::HashMap;

/// An index whose rows are known by ids of the user's own (i64, as in FAISS).
///
/// ```
/// use bilin_index::{BuildOptions, IdMap, IndexSpec, Metric, RowChunks, Rows, SearchParams, build};
/// let empty = RowChunks::from_vec(Vec::new(), 2)?;
/// let mut index = IdMap::new(build(&IndexSpec::FLAT, Metric::L2, &empty, &BuildOptions::default())?);
/// index.add(Rows::new(&[0.0, 0.0, 3.0, 4.0], 2)?, &[70, -5])?;
/// assert_eq!(index.search(Rows::new(&[3.0, 3.0], 2)?, &SearchParams::new(1))?, [[(-5, 1.0)]]);
/// assert_eq!(index.remove(&[-5])?, 1);
/// # Ok::<(), bilin_index::IndexError>(())
/// ```
pub struct IdMap {
    index: Box<dyn VectorIndex>,
    ids: Vec<i64>,
    /// Live ids only.
    rows: HashMap<i64, u32>,
}

impl IdMap {
    /// Ids over an empty index.
    ///
    /// # Panics
    /// When the index holds rows already, which have no ids.
    pub fn new(index: Box<dyn VectorIndex>) -> Self {
        assert_eq!(index.info().rows, 0, "an index whose rows have no ids");
        IdMap { index, ids: Vec::new(), rows: HashMap::new() }
    }

    /// Gives ids to the rows of an index, in their order.
    ///
    /// # Errors
    /// Another number of ids than of rows, or an id that comes twice.
    pub fn with_ids(index: Box<dyn VectorIndex>, ids: Vec<i64>) -> Result<Self, IndexError> {
        let rows = index.info().rows;
        if ids.len() != rows {
            let received = ids.len().to_string();
            return Err(IndexError::Parameter {
                name: "ids",
                expected: format!("{rows}, one a row"),
                received,
            });
        }
        let mut map = HashMap::with_capacity(ids.len());
        for (row, &id) in ids.iter().enumerate() {
            if map.insert(id, row as u32).is_some() {
                return Err(IndexError::DuplicateId { id });
            }
        }
        Ok(IdMap { index, ids, rows: map })
    }

    /// The index below.
    pub fn index(&self) -> &dyn VectorIndex {
        &*self.index
    }

    /// Number of live ids.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when there is no live id.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The ids by row number, those of removed rows included.
    pub fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// Adds rows under new ids. On error nothing was added.
    ///
    /// # Errors
    /// Another number of ids than of rows, an id that is there already or comes twice, and those of [`VectorIndex::add`].
    pub fn add(&mut self, rows: Rows<'_>, ids: &[i64]) -> Result<(), IndexError> {
        if ids.len() != rows.len() {
            let (expected, received) = (format!("{}, one a row", rows.len()), ids.len().to_string());
            return Err(IndexError::Parameter { name: "ids", expected, received });
        }
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(id) = twice.or_else(|| ids.iter().copied().find(|id| self.rows.contains_key(id))) {
            return Err(IndexError::DuplicateId { id });
        }
        let first = self.ids.len() as u32;
        self.index.add(rows)?;
        self.ids.extend_from_slice(ids);
        self.rows.extend(ids.iter().zip(first..).map(|(&id, row)| (id, row)));
        Ok(())
    }

    /// Removes ids; unknown ones count for nothing. Returns how many were removed.
    ///
    /// # Errors
    /// Those of [`VectorIndex::remove`].
    pub fn remove(&mut self, ids: &[i64]) -> Result<usize, IndexError> {
        let gone: RowSet = ids.iter().filter_map(|id| self.rows.get(id).copied()).collect();
        let removed = self.index.remove(&gone)?;
        ids.iter().for_each(|id| {
            self.rows.remove(id);
        });
        Ok(removed)
    }

    /// The vector of an id; `None` when it is not there.
    ///
    /// # Errors
    /// Those of [`VectorIndex::reconstruct`].
    pub fn reconstruct(&self, id: i64) -> Result<Option<Vec<f32>>, IndexError> {
        self.rows.get(&id).map(|&row| self.index.reconstruct(row)).transpose()
    }

    /// Ids and distances of the nearest rows, nearest first, one list per query. A filter in `params` is over row numbers.
    ///
    /// # Errors
    /// Those of [`VectorIndex::search`].
    pub fn search(
        &self,
        queries: Rows<'_>,
        params: &SearchParams<'_>,
    ) -> Result<Vec<Vec<(i64, f32)>>, IndexError> {
        let found = self.index.search(queries, params)?;
        let named = |hits: crate::Hits| {
            hits.into_iter().map(|hit| (self.ids[hit.row as usize], hit.distance)).collect()
        };
        Ok(found.into_iter().map(named).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BuildOptions, IndexSpec, Metric, RowChunks, build};

    #[test]
    fn ids_are_unique_and_come_back_after_removal() {
        let empty = RowChunks::from_vec(Vec::new(), 1).unwrap();
        let mut index =
            IdMap::new(build(&IndexSpec::FLAT, Metric::L2, &empty, &BuildOptions::default()).unwrap());
        let rows = |values: &'static [f32]| Rows::new(values, 1).unwrap();
        index.add(rows(&[1.0, 2.0, 3.0]), &[10, 20, 30]).unwrap();
        assert_eq!(index.add(rows(&[4.0]), &[20]), Err(IndexError::DuplicateId { id: 20 }));
        assert_eq!(index.add(rows(&[4.0, 5.0]), &[40, 40]), Err(IndexError::DuplicateId { id: 40 }));
        assert_eq!(index.len(), 3);
        assert_eq!(index.remove(&[20, 99]).unwrap(), 1);
        assert_eq!(index.reconstruct(20).unwrap(), None);
        index.add(rows(&[2.5]), &[20]).unwrap();
        assert_eq!(index.reconstruct(20).unwrap(), Some(vec![2.5]));
        let found = index.search(rows(&[2.4]), &SearchParams::new(5)).unwrap();
        assert_eq!(found[0].iter().map(|hit| hit.0).collect::<Vec<_>>(), [20, 30, 10]);
        let near = index.search(rows(&[2.5]), &SearchParams::range(0.25)).unwrap();
        assert_eq!(near, [[(20, 0.0)]], "the radius itself is outside");
        assert!(IdMap::with_ids(index.index, vec![1]).is_err());
    }
}
