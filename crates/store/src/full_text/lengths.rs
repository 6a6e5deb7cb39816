//! How many words each item has, kept in memory once somebody searches by words.
//!
//! Invariant: a slot is never used twice and its text never changes, so a length that was read stays right for every
//! snapshot of the collection; only new slots are read when rows were added. Four bytes a slot.

use crate::catalog;
use bilin_index::RowSet;
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};

/// Lengths by slot, shared by all snapshots of a collection.
#[derive(Debug, Default)]
pub(crate) struct Lengths {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    words: Arc<Vec<u32>>,
    /// Words of all live items of one commit.
    total: Option<(u64, u64)>,
}

impl Lengths {
    /// Lengths of the slots below `rows` (and maybe more), and the words of all live items of commit `seq`. `connection` sees
    /// a commit in which all these slots have their terms.
    pub(super) fn read(
        &self,
        connection: &Connection,
        rows: usize,
        seq: u64,
        live: &RowSet,
    ) -> rusqlite::Result<(Arc<Vec<u32>>, u64)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.words.len() < rows {
            let mut words = known.words.to_vec();
            let first = words.len();
            words.resize(rows, 0);
            catalog::text_lengths(connection, first..rows, |slot, count| {
                if let Some(length) = words.get_mut(slot) {
                    *length = count;
                }
            })?;
            known.words = Arc::new(words);
        }
        let words = Arc::clone(&known.words);
        let total = match known.total {
            Some((of, total)) if of == seq => total,
            _ => {
                let lengths = live.iter().filter_map(|slot| words.get(slot as usize));
                let total = lengths.map(|length| u64::from(*length)).sum();
                known.total = Some((seq, total));
                total
            }
        };
        Ok((words, total))
    }
}
