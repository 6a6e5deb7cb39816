//! Which entry of the list of metadata belongs to which vector, and which document it makes.
//!
//! Ids that are positions point into the list, as in `metadata[i]`. Ids of the user's own are looked for in the entries'
//! `id` fields; where those are not there, the order in which vectors were added counts, if the file still knows it.

use super::metadata::Entry;
use crate::error::{Error, ErrorKind};
use bilin_index::faiss::{Index, Kind};
use std::collections::{HashMap, HashSet};

/// One vector on its way: its row in the file, and what is known of it.
#[derive(Debug, PartialEq)]
pub(super) struct Arranged {
    pub(super) row: usize,
    pub(super) document: String,
    pub(super) entry: Entry,
}

/// True when rows are numbered in the order in which they were added, whatever their ids.
pub(super) fn keeps_order(index: &Index<'_>) -> bool {
    match &index.kind {
        Kind::Ivf(_) => false,
        Kind::IdMap { inner, .. } | Kind::PreTransform { inner, .. } => keeps_order(inner),
        Kind::Refine { refine, .. } => keeps_order(refine),
        _ => true,
    }
}

/// Brings vectors and entries together, in the order of the entries. Items of one document follow each other.
pub(super) fn arrange(
    ids: &[i64],
    keeps_order: bool,
    entries: Option<Vec<Entry>>,
) -> Result<Vec<Arranged>, Error> {
    let mut rows: HashMap<i64, usize> = HashMap::with_capacity(ids.len());
    for (row, &id) in ids.iter().enumerate() {
        if rows.insert(id, row).is_some() {
            return Err(Error::invalid(format!(
                "the index holds id {id} twice, so documents cannot be told apart"
            ))
            .with_hint("give each vector an id of its own in FAISS"));
        }
    }
    let Some(entries) = entries else {
        let mut sorted: Vec<(usize, i64)> = ids.iter().copied().enumerate().collect();
        if !keeps_order {
            sorted.sort_by_key(|&(_, id)| id);
        }
        let bare =
            |(row, id): (usize, i64)| Arranged { row, document: id.to_string(), entry: Entry::default() };
        return Ok(sorted.into_iter().map(bare).collect());
    };
    if entries.len() != ids.len() {
        let message =
            format!("the index holds {} vectors and the metadata {} entries", ids.len(), entries.len());
        return Err(Error::new(ErrorKind::Conflict, message)
            .with_hint("give the metadata file that was written with this index; nothing was changed"));
    }
    let are_positions = (0..ids.len() as i64).all(|id| rows.contains_key(&id));
    let named: HashMap<String, usize> =
        ids.iter().enumerate().map(|(row, id)| (id.to_string(), row)).collect();
    let are_named = entries.iter().all(|entry| entry.id.as_ref().is_some_and(|id| named.contains_key(id)));
    let row_of = |at: usize, entry: &Entry| match (are_positions, are_named, &entry.id) {
        (true, ..) => rows.get(&(at as i64)).copied(),
        (false, true, Some(id)) => named.get(id).copied(),
        _ => keeps_order.then_some(at),
    };
    let mut arranged = Vec::with_capacity(entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        let Some(row) = row_of(at, &entry) else {
            let message = "the index holds ids of its own, and nothing says which entry of the metadata belongs to which";
            return Err(Error::new(ErrorKind::Conflict, message).with_hint(
                "give each entry the field \"id\" with the id of its vector; nothing was changed",
            ));
        };
        let document = entry.id.clone().unwrap_or_else(|| ids[row].to_string());
        arranged.push(Arranged { row, document, entry });
    }
    check_documents(&arranged)?;
    Ok(arranged)
}

/// Neighbouring entries of the same id are items of one document; others would overwrite each other.
fn check_documents(arranged: &[Arranged]) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(arranged.len());
    let mut taken = vec![false; arranged.len()];
    for (at, Arranged { row, document, .. }) in arranged.iter().enumerate() {
        let follows = at > 0 && arranged[at - 1].document == *document;
        if !follows && !seen.insert(document.as_str()) {
            return Err(Error::invalid(format!(
                "entry {at} of the metadata has the id {document:?} of an earlier one"
            ))
            .with_hint("give each document an id of its own; nothing was changed"));
        }
        if std::mem::replace(&mut taken[*row], true) {
            return Err(Error::invalid(format!(
                "entry {at} of the metadata belongs to the vector of an earlier one"
            ))
            .with_hint("give each entry the id of its own vector; nothing was changed"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(ids: &[Option<&str>]) -> Option<Vec<Entry>> {
        Some(ids.iter().map(|id| Entry { id: id.map(str::to_owned), ..Entry::default() }).collect())
    }

    fn pairs(arranged: &[Arranged]) -> Vec<(usize, &str)> {
        arranged.iter().map(|one| (one.row, one.document.as_str())).collect()
    }

    #[test]
    fn positions_names_and_order() {
        let arranged = arrange(&[2, 0, 1], true, entries(&[None, Some("b"), None])).expect("positions");
        assert_eq!(pairs(&arranged), [(1, "0"), (2, "b"), (0, "2")]);
        let arranged = arrange(&[70, 5], false, entries(&[Some("5"), Some("70")])).expect("names");
        assert_eq!(pairs(&arranged), [(1, "5"), (0, "70")]);
        let arranged = arrange(&[70, 5], true, entries(&[None, None])).expect("order");
        assert_eq!(pairs(&arranged), [(0, "70"), (1, "5")]);
        assert_eq!(pairs(&arrange(&[70, 5], false, None).expect("bare")), [(1, "5"), (0, "70")]);
        let arranged = arrange(&[0, 1, 2], true, entries(&[Some("a"), Some("a"), Some("b")])).expect("items");
        assert_eq!(pairs(&arranged), [(0, "a"), (1, "a"), (2, "b")]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused =
            |ids: &[i64], order, given| arrange(ids, order, entries(given)).expect_err("refused").message;
        assert!(refused(&[0, 1], true, &[None]).contains("2 vectors and the metadata 1 entries"));
        assert!(refused(&[3, 3], true, &[None, None]).contains("id 3 twice"));
        assert!(refused(&[70, 5], false, &[None, None]).contains("ids of its own"));
        assert!(refused(&[0, 1, 2], true, &[Some("a"), Some("b"), Some("a")]).contains("entry 2"));
        assert!(refused(&[70, 5, 6], false, &[Some("5"), Some("5"), Some("6")]).contains("entry 1"));
    }
}
