//! Statements of a succession: what came and went between two commits of one catalog, and file stamps carried to another.
//!
//! Invariant: whoever asks for what went after a commit holds the view of that commit, so that compaction keeps it.
use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use crate::batch::FileStamp;

use super::write::set_stamp;

/// Documents that are visible at `to` and were added after `seen`, in the order in which they were added: numbers, and how many
/// items each has.
pub(crate) fn added_between(
    connection: &Connection,
    seen: u64,
    to: u64,
) -> rusqlite::Result<Vec<(i64, usize)>> {
    connection
        .prepare_cached(
            "SELECT number, (SELECT count(*) FROM items WHERE document = number) FROM documents
                 WHERE added_seq > ?1 AND added_seq <= ?2 AND (deleted_seq IS NULL OR deleted_seq > ?2)
                 ORDER BY number",
        )?
        .query_map(params![seen as i64, to as i64], |row| {
            Ok((row.get(0)?, usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0)))
        })?
        .collect()
}

/// Ids that were visible at `seen` and are not at `to`.
pub(crate) fn deleted_between(connection: &Connection, seen: u64, to: u64) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT id FROM documents gone WHERE deleted_seq > ?1 AND deleted_seq <= ?2
                 AND NOT EXISTS (SELECT 1 FROM documents WHERE id = gone.id AND added_seq <= ?2
                     AND (deleted_seq IS NULL OR deleted_seq > ?2))",
        )?
        .query_map(params![seen as i64, to as i64], |row| row.get(0))?
        .collect()
}

/// Whether a document version is that of the newest commit.
pub(crate) fn is_newest(connection: &Connection, number: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM documents WHERE number = ?1 AND deleted_seq IS NULL)")?
        .query_row([number], |row| row.get(0))
}

/// Id and file of a document version.
pub(crate) fn origin(connection: &Connection, number: i64) -> rusqlite::Result<(String, Option<String>)> {
    connection
        .prepare_cached("SELECT id, file FROM documents WHERE number = ?1")?
        .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Makes the file stamps of `to` those of `from`, but for the files `left_out`.
pub(crate) fn carry_stamps(
    from: &Connection,
    to: &Connection,
    left_out: &BTreeSet<String>,
) -> rusqlite::Result<()> {
    let mut stamps = from.prepare("SELECT path, bytes, modified_ns, hash FROM files ORDER BY path")?;
    let mut rows = stamps.query([])?;
    while let Some(row) = rows.next()? {
        let path: String = row.get(0)?;
        if left_out.contains(&path) {
            continue;
        }
        let (bytes, modified_ns, hash) = (row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?, row.get(3)?);
        set_stamp(to, &FileStamp { path, bytes, modified_ns, hash })?;
    }
    let mut has = from.prepare("SELECT EXISTS (SELECT 1 FROM files WHERE path = ?1)")?;
    let mut gone = Vec::new();
    let mut paths = to.prepare("SELECT path FROM files")?;
    let mut rows = paths.query([])?;
    while let Some(row) = rows.next()? {
        let path: String = row.get(0)?;
        if left_out.contains(&path) || !has.query_row([&path], |row| row.get::<_, bool>(0))? {
            gone.push(path);
        }
    }
    for path in gone {
        to.execute("DELETE FROM files WHERE path = ?1", [path])?;
    }
    Ok(())
}
