//! The row log: rows of small commits, kept in the catalog until their segment has been fsynced.
//!
//! Invariant: from the transaction that commits rows without an fsync of their segment until the first transaction after
//! that fsync, `row_log` holds them; so one fsync, that of SQLite's write-ahead log, makes a small commit durable. An entry
//! is never wrong, only superfluous: committed rows do not change, so writing them again changes nothing.
use rusqlite::{Connection, params};

/// Keeps rows (`[n, dim]` f32, little-endian) that begin at `slot`.
pub(crate) fn log_rows(connection: &Connection, slot: usize, rows: &[u8]) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT INTO row_log VALUES (?1, ?2)")?.execute(params![slot as i64, rows])?;
    Ok(())
}

/// Forgets all of them. Without a condition, so that SQLite frees whole pages instead of visiting every entry.
pub(crate) fn clear_row_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM row_log")?.execute([])?;
    Ok(())
}

/// Every entry, by slot.
pub(crate) fn row_log(connection: &Connection) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    connection
        .prepare("SELECT slot, rows FROM row_log ORDER BY slot")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
