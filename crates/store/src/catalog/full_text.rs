//! Statements of the full text: an FTS5 table without content (<https://sqlite.org/fts5.html>), a row for each item under its slot.
//!
//! Terms come cut and folded, so the tokenizer only splits at blanks (`ascii`, with every printable mark of ASCII as part
//! of a token). `words` and `units` share one list of terms; a unit begins with `=`, so that no term is in both. What is
//! read are the postings themselves (`fts5vocab`): ranking is done with the statistics of a snapshot, which FTS5 does not know.
//!
//! Invariant: an item has a row here exactly when its slot is below `next` or not below `end` of `full_text_state`, and the
//! state names an analyzer.
use std::ops::Range;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use crate::error::StoreError;
use crate::full_text::Terms;

/// How far the full text has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FullTextState {
    /// Whose terms these are; empty when there are none.
    pub analyzer: String,
    /// Items of slots below have their terms,
    pub next: usize,
    /// and those from here on.
    pub end: usize,
}

impl FullTextState {
    /// Whether every item has its terms by this analyzer.
    pub(crate) fn is_whole(&self, analyzer: &str) -> bool {
        let has_nothing = self.analyzer.is_empty() && self.end == 0;
        has_nothing || (self.next >= self.end && self.analyzer == analyzer)
    }

    /// Slots done, and all that are to be done.
    pub(crate) fn progress(&self, analyzer: &str) -> (usize, usize) {
        if self.analyzer == analyzer { (self.next, self.end) } else { (0, self.end.max(self.next)) }
    }

    /// Why a search by words is not answered.
    pub(crate) fn refusal(&self, analyzer: &str) -> StoreError {
        let (done, all) = self.progress(analyzer);
        StoreError::FullText { done, all }
    }
}

pub(crate) fn full_text_state(connection: &Connection) -> rusqlite::Result<FullTextState> {
    connection.prepare_cached("SELECT analyzer, next, \"end\" FROM full_text_state")?.query_row([], |row| {
        let slot = |column| row.get::<_, i64>(column).map(|slot| usize::try_from(slot).unwrap_or(0));
        Ok(FullTextState { analyzer: row.get(0)?, next: slot(1)?, end: slot(2)? })
    })
}

/// Makes the full text that of `analyzer`, when it is another's: empty, to be filled up to `rows`.
pub(crate) fn claim_full_text(connection: &Connection, analyzer: &str, rows: usize) -> rusqlite::Result<()> {
    let state = full_text_state(connection)?;
    if state.analyzer == analyzer {
        return Ok(());
    }
    if !state.analyzer.is_empty() {
        connection.execute("INSERT INTO full_text (full_text) VALUES ('delete-all')", [])?;
    }
    connection.execute(
        "UPDATE full_text_state SET analyzer = ?1, next = 0, \"end\" = ?2",
        params![analyzer, rows as i64],
    )?;
    Ok(())
}

pub(crate) fn add_terms(connection: &Connection, slot: i64, terms: &Terms) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO full_text (rowid, words, units) VALUES (?1, ?2, ?3)")?
        .execute(params![slot, terms.words, terms.units])
        .map(drop)
}

pub(crate) fn remove_terms(connection: &Connection, slot: u32) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM full_text WHERE rowid = ?1")?.execute([slot]).map(drop)
}

/// Adds the terms of an item that was there when its text was read, unless it was purged since.
pub(crate) fn fill_terms(connection: &Connection, slot: u32, terms: &Terms) -> rusqlite::Result<()> {
    let is_there: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM items WHERE slot = ?1)")?
        .query_row([slot], |row| row.get(0))?;
    if is_there { add_terms(connection, i64::from(slot), terms) } else { Ok(()) }
}

/// An item without terms.
pub(crate) struct ToFill {
    pub slot: u32,
    pub text: Option<String>,
    /// Its fields, as JSON.
    pub metadata: String,
}

/// The next items without terms.
pub(crate) fn texts_to_fill(
    connection: &Connection,
    state: &FullTextState,
    most_items: usize,
    most_bytes: usize,
) -> rusqlite::Result<Vec<ToFill>> {
    let mut found = connection.prepare_cached(
        "SELECT slot, text, metadata FROM items WHERE slot >= ?1 AND slot < ?2 ORDER BY slot LIMIT ?3",
    )?;
    let mut rows = found.query(params![state.next as i64, state.end as i64, most_items as i64])?;
    let mut texts = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let item = ToFill { slot: row.get(0)?, text: row.get(1)?, metadata: row.get(2)? };
        bytes += item.text.as_ref().map_or(0, String::len);
        texts.push(item);
        if bytes >= most_bytes {
            break;
        }
    }
    Ok(texts)
}

pub(crate) fn set_filled(connection: &Connection, next: usize) -> rusqlite::Result<()> {
    connection.execute("UPDATE full_text_state SET next = ?1", [next as i64]).map(drop)
}

/// Occurrences of a term in all items that are kept.
pub(crate) fn count_postings(connection: &Connection, term: &str) -> rusqlite::Result<usize> {
    let mut counts = connection.prepare_cached("SELECT cnt FROM full_text_terms WHERE term = ?1")?;
    let mut rows = counts.query([term])?;
    match rows.next()? {
        Some(row) => row.get::<_, i64>(0).map(|count| usize::try_from(count).unwrap_or(0)),
        None => Ok(0),
    }
}

/// Calls `each` with the slot of every occurrence of a term, at most `most`, in the order of slots.
pub(crate) fn each_posting(
    connection: &Connection,
    term: &str,
    most: usize,
    mut each: impl FnMut(u32) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut found =
        connection.prepare_cached("SELECT doc FROM full_text_postings WHERE term = ?1 LIMIT ?2")?;
    let mut rows = found.query(params![term, most as i64])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?)?;
    }
    Ok(())
}

/// Calls `each` with the slots of items in which the units stand one behind the other.
pub(crate) fn each_phrase(
    connection: &Connection,
    units: &[String],
    mut each: impl FnMut(u32) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    // Within quotation marks a quotation mark is written twice, and nothing else means anything.
    let phrase = format!("units : \"{}\"", units.join(" ").replace('"', "\"\""));
    let mut found = connection.prepare_cached("SELECT rowid FROM full_text WHERE full_text MATCH ?1")?;
    let mut rows = found.query([phrase])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?)?;
    }
    Ok(())
}

/// Calls `each` with slot and count of words of the items of `slots`.
pub(crate) fn text_lengths(
    connection: &Connection,
    slots: Range<usize>,
    mut each: impl FnMut(usize, u32),
) -> rusqlite::Result<()> {
    // FTS5 keeps the lengths of each row's columns as one varint each (<https://sqlite.org/fts5.html#the_docsize_table>).
    let mut found =
        connection.prepare_cached("SELECT id, sz FROM full_text_docsize WHERE id >= ?1 AND id < ?2")?;
    let mut rows = found.query(params![slots.start as i64, slots.end as i64])?;
    while let Some(row) = rows.next()? {
        let slot: u32 = row.get(0)?;
        let ValueRef::Blob(sizes) = row.get_ref(1)? else { continue };
        each(slot as usize, first_varint(sizes));
    }
    Ok(())
}

/// The first number of a row of SQLite's varints: seven bits a byte, the highest first (of up to 32 bits).
fn first_varint(bytes: &[u8]) -> u32 {
    let mut value: u32 = 0;
    for byte in bytes.iter().take(5) {
        value = value << 7 | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Before SQLite checks the full text: FTS5 keeps in memory which parts a table has and looks whether that is still so when a
/// query begins, but not when a check does, which would then miss parts that another connection has merged away.
pub(crate) fn look_anew(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM full_text WHERE rowid = -1", [], |_| Ok(()))
}

/// How many items have terms, and how many should, given how many there are.
pub(crate) fn compare_full_text(connection: &Connection, items: usize) -> rusqlite::Result<(usize, usize)> {
    let count = |sql: &str, from: i64, to: i64| {
        connection
            .query_row(sql, [from, to], |row| row.get::<_, i64>(0))
            .map(|n| usize::try_from(n).unwrap_or(0))
    };
    let found =
        count("SELECT count(*) FROM full_text_docsize WHERE id >= ?1 AND id <= ?2", 0, i64::from(u32::MAX))?;
    let state = full_text_state(connection)?;
    let expected = match state {
        FullTextState { analyzer, .. } if analyzer.is_empty() => 0,
        FullTextState { next, end, .. } if next >= end => items,
        FullTextState { next, end, .. } => {
            let missing =
                count("SELECT count(*) FROM items WHERE slot >= ?1 AND slot < ?2", next as i64, end as i64)?;
            items.saturating_sub(missing)
        }
    };
    Ok((found, expected))
}

#[cfg(test)]
mod tests {
    use super::first_varint;

    #[test]
    fn lengths_are_read_as_sqlite_writes_them() {
        for (bytes, expected) in [
            (&[][..], 0),
            (&[5][..], 5),
            (&[0x7f, 3][..], 127),
            (&[0x81, 0x00][..], 128),
            (&[0x81, 0x80, 0x01, 9][..], 16_385),
        ] {
            assert_eq!(first_varint(bytes), expected, "{bytes:?}");
        }
    }
}
