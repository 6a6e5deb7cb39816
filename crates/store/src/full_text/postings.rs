//! What was read of the index of words, kept in memory for the commit that is searched: the words of questions repeat, and the
//! common ones have the long lists.
//!
//! Invariant: what is kept is what the live rows of one commit say, so that it can be used for every search of that commit and for
//! no other. A newer commit takes the place of an older one; a search of an older one keeps nothing. Bounded by [`MAX_BYTES`]: once
//! full it begins anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most that is kept for one collection, bytes.
const MAX_BYTES: usize = 16 << 20;
/// What a term costs beside its name and its rows, bytes.
const TERM_BYTES: usize = 96;

/// Slots in which a term is, in their order, and how often.
pub(super) type Rows = Arc<[(u32, u32)]>;

/// Terms of the newest commit that was searched, shared by all snapshots of a collection.
#[derive(Debug, Default)]
pub(crate) struct KeptPostings {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    seq: u64,
    bytes: usize,
    /// How many items each term is in, of whatever commit the catalog was at.
    counts: HashMap<String, usize>,
    rows: HashMap<String, Rows>,
}

impl Kept {
    /// Whether it may be used and filled for commit `seq`.
    fn is_of(&mut self, seq: u64) -> bool {
        if seq > self.seq {
            *self = Kept { seq, ..Kept::default() };
        }
        seq == self.seq
    }

    /// Makes room; `false` for what is too large to be kept.
    fn takes(&mut self, bytes: usize) -> bool {
        if bytes > MAX_BYTES / 4 {
            return false;
        }
        if self.bytes + bytes > MAX_BYTES {
            *self = Kept { seq: self.seq, ..Kept::default() };
        }
        self.bytes += bytes;
        true
    }
}

impl KeptPostings {
    /// How many items `term` is in, kept or read.
    pub(super) fn count(
        &self,
        seq: u64,
        term: &str,
        read: impl FnOnce() -> rusqlite::Result<usize>,
    ) -> rusqlite::Result<usize> {
        if let Some(count) = self.look(seq, |kept| kept.counts.get(term).copied()) {
            return Ok(count);
        }
        let count = read()?;
        self.keep(seq, term.len() + TERM_BYTES, |kept| {
            kept.counts.insert(term.to_owned(), count);
        });
        Ok(count)
    }

    /// The live rows of commit `seq` that `term` is in, kept or read.
    pub(super) fn rows(
        &self,
        seq: u64,
        term: &str,
        read: impl FnOnce() -> rusqlite::Result<Vec<(u32, u32)>>,
    ) -> rusqlite::Result<Rows> {
        if let Some(rows) = self.look(seq, |kept| kept.rows.get(term).cloned()) {
            return Ok(rows);
        }
        let rows: Rows = read()?.into();
        self.keep(seq, term.len() + TERM_BYTES + size_of_val(&*rows), |kept| {
            kept.rows.insert(term.to_owned(), Arc::clone(&rows));
        });
        Ok(rows)
    }

    fn look<T>(&self, seq: u64, find: impl FnOnce(&Kept) -> Option<T>) -> Option<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_of(seq) { find(&kept) } else { None }
    }

    fn keep(&self, seq: u64, bytes: usize, put: impl FnOnce(&mut Kept)) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_of(seq) && kept.takes(bytes) {
            put(&mut kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_of_the_newest_commit_alone() {
        let kept = KeptPostings::default();
        let ask = |seq, rows: Vec<(u32, u32)>| kept.rows(seq, "word", || Ok(rows)).unwrap().to_vec();
        assert_eq!(ask(3, vec![(1, 1)]), [(1, 1)]);
        assert_eq!(ask(3, vec![(9, 9)]), [(1, 1)], "not read again");
        assert_eq!(ask(4, vec![(1, 1), (2, 1)]), [(1, 1), (2, 1)], "a newer commit is read anew");
        assert_eq!(ask(3, vec![(1, 1)]), [(1, 1)], "an older one is read, and keeps nothing");
        assert_eq!(ask(4, vec![]), [(1, 1), (2, 1)]);
        let count = |read: rusqlite::Result<usize>| kept.count(4, "word", || read);
        assert!(count(Err(rusqlite::Error::InvalidQuery)).is_err(), "what fails is not kept");
        assert_eq!((count(Ok(7)).unwrap(), count(Ok(8)).unwrap()), (7, 7));
    }

    #[test]
    fn it_stays_within_its_bytes() {
        let kept = KeptPostings::default();
        let long = vec![(0, 1); MAX_BYTES / 8 / 8];
        for term in 0..40 {
            kept.rows(1, &term.to_string(), || Ok(long.clone())).unwrap();
            let inner = kept.kept.lock().unwrap();
            assert!(inner.bytes <= MAX_BYTES && inner.rows.len() <= 8);
        }
        kept.rows(1, "longest", || Ok(vec![(0, 1); MAX_BYTES / 8])).unwrap();
        assert!(!kept.kept.lock().unwrap().rows.contains_key("longest"));
    }
}
