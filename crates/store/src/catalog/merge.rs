//! Statements of a merge: which documents of another catalog clash with ours, and taking in the others.
//!
//! Invariant: whether a file is in the target is asked before the first document of that file is taken in.
use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use crate::batch::{FileStamp, NewDocument};
use crate::full_text::Terms;

use super::write::{self, Outcome};

/// What becomes of a document, or a file, that both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRule {
    Keep,
    Replace,
}

/// A merge at work: its rule, what it did, and what it knows of files.
pub(crate) struct MergePlan {
    rule: FileRule,
    seq: u64,
    slot: usize,
    outcome: Outcome,
    /// Ids that were deleted with their files and not added again.
    deleted: HashSet<String>,
    /// Whether all documents of a file were taken in.
    files: HashMap<String, bool>,
}

/// Numbers of the documents that are visible at `seq`, in the order in which they were added.
pub(crate) fn documents_at(connection: &Connection, seq: u64) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare(
            "SELECT number FROM documents WHERE added_seq <= ?1 AND (deleted_seq IS NULL OR deleted_seq > ?1)
                 ORDER BY number",
        )?
        .query_map([seq as i64], |row| row.get(0))?
        .collect()
}

/// How many documents of `from` (at `seq`) are in `target` by id or by file, and the first few ids.
pub(crate) fn clashes(
    from: &Connection,
    seq: u64,
    target: &Connection,
    named: usize,
) -> rusqlite::Result<(usize, Vec<String>)> {
    let mut documents = from.prepare(
        "SELECT id, file FROM documents WHERE added_seq <= ?1 AND (deleted_seq IS NULL OR deleted_seq > ?1)
             ORDER BY number",
    )?;
    let mut rows = documents.query([seq as i64])?;
    let (mut count, mut examples) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        let (id, file): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let clashes = has_document(target, &id)?
            || match &file {
                Some(file) => has_file(target, file)?,
                None => false,
            };
        if clashes {
            count += 1;
            if examples.len() < named {
                examples.push(id);
            }
        }
    }
    Ok((count, examples))
}

fn has_document(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM documents WHERE id = ?1 AND deleted_seq IS NULL)")?
        .query_row([id], |row| row.get(0))
}

fn has_file(connection: &Connection, path: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM files WHERE path = ?1)
                 OR EXISTS (SELECT 1 FROM documents WHERE file = ?1 AND deleted_seq IS NULL)",
        )?
        .query_row([path], |row| row.get(0))
}

impl MergePlan {
    pub(crate) fn new(rule: FileRule, seq: u64, first_slot: usize) -> MergePlan {
        let (outcome, deleted, files) = (Outcome::default(), HashSet::new(), HashMap::new());
        MergePlan { rule, seq, slot: first_slot, outcome, deleted, files }
    }

    /// The slot of the next item.
    pub(crate) fn next_slot(&self) -> usize {
        self.slot
    }

    /// Takes a document in, unless the target's is to be kept; says whether it did.
    pub(crate) fn take(
        &mut self,
        target: &Connection,
        document: &NewDocument,
        metadata: &[String],
        terms: &[Terms],
    ) -> rusqlite::Result<bool> {
        let takes_file = match &document.file {
            Some(file) => self.takes_file(target, file)?,
            None => true,
        };
        let has = has_document(target, &document.id)?;
        if !takes_file || (has && self.rule == FileRule::Keep) {
            if let Some(file) = &document.file {
                self.files.insert(file.clone(), false);
            }
            return Ok(false);
        }
        let slots = &mut self.outcome.deleted_slots;
        let existed = has && write::delete_document(target, &document.id, self.seq, slots)?;
        if self.deleted.remove(&document.id) || existed {
            self.outcome.applied.updated += 1;
        } else {
            self.outcome.applied.added += 1;
        }
        let terms = terms.iter().map(Some).chain(std::iter::repeat(None));
        write::insert_document(target, document, &mut metadata.iter().zip(terms), self.seq, self.slot)?;
        self.slot += document.items.len();
        Ok(true)
    }

    fn takes_file(&mut self, target: &Connection, file: &str) -> rusqlite::Result<bool> {
        if let Some(takes) = self.files.get(file) {
            // Of a file that is new, some documents may stay behind for their ids; the others are taken.
            return Ok(*takes || self.rule == FileRule::Keep && !has_file_before(target, file, self.seq)?);
        }
        let mut takes = true;
        if has_file(target, file)? {
            takes = self.rule == FileRule::Replace;
            if takes {
                write::delete_file(target, file, self.seq, &mut self.outcome, &mut self.deleted)?;
            }
        }
        self.files.insert(file.to_owned(), takes);
        Ok(takes)
    }

    /// Takes the stamps of files that came whole, and of those without documents that the target does not know.
    pub(crate) fn take_stamps(&mut self, from: &Connection, target: &Connection) -> rusqlite::Result<()> {
        let mut stamps = from.prepare("SELECT path, bytes, modified_ns, hash FROM files ORDER BY path")?;
        let mut rows = stamps.query([])?;
        while let Some(row) = rows.next()? {
            let stamp = FileStamp {
                path: row.get(0)?,
                bytes: row.get::<_, i64>(1)?.cast_unsigned(),
                modified_ns: row.get(2)?,
                hash: row.get(3)?,
            };
            let takes = match self.files.get(&stamp.path) {
                Some(takes) => *takes,
                None => !has_file(target, &stamp.path)?,
            };
            if takes {
                self.outcome.stamps_changed |= write::set_stamp(target, &stamp)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Outcome {
        self.outcome.applied.deleted = self.deleted.len();
        self.outcome
    }
}

/// Whether the target had the file before commit `seq`.
fn has_file_before(connection: &Connection, path: &str, seq: u64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM files WHERE path = ?1)
                 OR EXISTS (SELECT 1 FROM documents WHERE file = ?1 AND deleted_seq IS NULL AND added_seq < ?2)",
        )?
        .query_row(rusqlite::params![path, seq as i64], |row| row.get(0))
}
