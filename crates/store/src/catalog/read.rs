//! Statements that read: what the writer knows at open, and what a snapshot asks for as of its commit.
//!
//! Invariant: everything a snapshot reads is bounded by its `seq` (`?1` in [`VISIBLE`]), so it never sees half of, or more
//! than, the commit it stands for, however far the catalog has gone on.
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::batch::FileStamp;
use crate::generation::{Generation, Record, effort_from_text};
use crate::rows::{BLOCK_BYTES, BlockSum, Layout};
use crate::settings::{Metadata, Settings};
use crate::snapshot::{Facets, StoredItem};

use super::Identity;

/// Counts of the newest commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub seq: u64,
    pub rows: usize,
    pub documents: usize,
    pub items: usize,
    /// Drawn at random for each commit, so that two commits of one number (one of them before a backup was restored) can be
    /// told apart; 0 before the first that has one.
    pub mark: u64,
}

/// The mark of a commit that is about to be made.
pub(crate) fn new_mark() -> u64 {
    // Seeded by the operating system, and never the same twice in a process.
    RandomState::new().hash_one(0u8)
}

const ITEM_COLUMNS: &str = "i.slot, d.id, i.ordinal, i.text, i.metadata";

/// `None` when a setting is missing or senseless.
pub(crate) fn identity(connection: &Connection) -> rusqlite::Result<Option<Identity>> {
    let setting = |name: &str| -> rusqlite::Result<Option<String>> {
        connection
            .query_row("SELECT value FROM settings WHERE name = ?1", [name], |row| row.get(0))
            .optional()
    };
    let (Some(settings), Some(rows_per_segment), Some(id)) =
        (setting("collection")?, setting("rows_per_segment")?, setting("id")?)
    else {
        return Ok(None);
    };
    let parse = || {
        let settings = Settings::from_json(&settings)?;
        let id = u128::from_str_radix(&id, 16).ok()?.to_be_bytes();
        let layout = Layout::new(settings.dim, rows_per_segment.parse().ok()?, id)?;
        Some(Identity { settings, layout })
    };
    Ok(parse())
}

pub(crate) fn state(connection: &Connection) -> rusqlite::Result<State> {
    let sql =
        "SELECT seq, rows, documents, items, (SELECT value FROM settings WHERE name = 'mark') FROM state";
    connection.query_row(sql, [], |row| {
        let mark: Option<String> = row.get(4)?;
        Ok(State {
            mark: mark.and_then(|mark| u64::from_str_radix(&mark, 16).ok()).unwrap_or(0),
            seq: unsigned(row, 0)?,
            rows: unsigned(row, 1)? as usize,
            documents: unsigned(row, 2)? as usize,
            items: unsigned(row, 3)? as usize,
        })
    })
}

/// When everything was last read back, as it was noted.
pub(crate) fn scrubbed(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT value FROM settings WHERE name = 'scrubbed_unix_s'", [], |row| row.get(0))
        .optional()
}

/// What happened to the collection that somebody should know.
pub(crate) fn incident(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT value FROM settings WHERE name = 'incident'", [], |row| row.get(0))
        .optional()
}

/// How often the settings were changed.
pub(crate) fn changes(connection: &Connection) -> rusqlite::Result<u32> {
    let changes: Option<String> = connection
        .query_row("SELECT value FROM settings WHERE name = 'changes'", [], |row| row.get(0))
        .optional()?;
    Ok(changes.and_then(|changes| changes.parse().ok()).unwrap_or(0))
}

/// Slots of deleted items that are still kept.
pub(crate) fn deleted_slots(connection: &Connection) -> rusqlite::Result<Vec<u32>> {
    connection
        .prepare("SELECT slot FROM items WHERE deleted_seq IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// One more than the largest slot of an item.
pub(crate) fn slots(connection: &Connection) -> rusqlite::Result<usize> {
    let last: Option<i64> = connection.query_row("SELECT max(slot) FROM items", [], |row| row.get(0))?;
    Ok(last.map_or(0, |slot| slot as usize + 1))
}

/// Live documents and items, counted one by one.
fn count_live(connection: &Connection) -> rusqlite::Result<(usize, usize)> {
    let count = |sql: &str| connection.query_row(sql, [], |row| unsigned(row, 0));
    Ok((
        count("SELECT count(*) FROM documents WHERE deleted_seq IS NULL")? as usize,
        count("SELECT count(*) FROM items WHERE deleted_seq IS NULL")? as usize,
    ))
}

/// What a catalog holds that does not fit together.
pub(crate) struct Misfit {
    /// The file that is damaged.
    pub file: &'static str,
    pub detail: String,
    /// Live rows without an item.
    pub missing_items: usize,
}

/// Looks at the whole catalog at its newest commit: SQLite's own check (`deep`: of every entry of every index, and items without a
/// document or pictures without an item), the counts of documents, items and full text, and that nothing is of a commit still to come.
pub(crate) fn find_misfit(
    connection: &Connection,
    state: &State,
    deep: bool,
) -> rusqlite::Result<Option<Misfit>> {
    let file = super::FILE_NAME;
    let found = |detail: String| Ok(Some(Misfit { file, detail, missing_items: 0 }));
    super::look_anew(connection)?;
    let check = if deep { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
    let said: String = connection.query_row(check, [], |row| row.get(0))?;
    if said != "ok" {
        return match super::take_mismatch() {
            Some(page) => Ok(Some(Misfit { file: page.file(), detail: page.to_string(), missing_items: 0 })),
            None => found(said),
        };
    }
    if deep {
        let orphans =
            connection.prepare("PRAGMA foreign_key_check")?.query_map([], |_| Ok(())).map(Iterator::count)?;
        if orphans > 0 {
            return found(format!("{orphans} items or pictures belong to no document or item"));
        }
    }
    let later: Option<i64> = connection.query_row(
        "SELECT max(max(coalesce((SELECT max(added_seq) FROM documents), 0),
                        coalesce((SELECT max(deleted_seq) FROM documents), 0),
                        coalesce((SELECT max(added_seq) FROM items), 0),
                        coalesce((SELECT max(deleted_seq) FROM items), 0)))",
        [],
        |row| row.get(0),
    )?;
    if later.unwrap_or(0) > state.seq as i64 {
        let seq = later.unwrap_or(0);
        return found(format!("the newest commit is {}, something in it is of commit {seq}", state.seq));
    }
    let (documents, items) = count_live(connection)?;
    if (documents, items) != (state.documents, state.items) {
        return Ok(Some(Misfit {
            file,
            detail: format!(
                "expected {} documents and {} items, found {documents} and {items}",
                state.documents, state.items
            ),
            missing_items: state.items.saturating_sub(items),
        }));
    }
    let kept: i64 = connection.query_row("SELECT count(*) FROM items", [], |row| row.get(0))?;
    let (found_texts, texts) = super::compare_full_text(connection, usize::try_from(kept).unwrap_or(0))?;
    if found_texts != texts {
        return found(format!("expected a full text of {texts} items, found {found_texts}"));
    }
    Ok(None)
}

/// Every block checksum, ordered.
pub(crate) fn blocks(connection: &Connection) -> rusqlite::Result<Vec<BlockSum>> {
    connection
        .prepare("SELECT segment, block, checksum FROM blocks ORDER BY segment, block")?
        .query_map([], |row| {
            Ok(BlockSum { segment: row.get(0)?, block: row.get(1)?, checksum: row.get(2)? })
        })?
        .collect()
}

/// The checksum that an append continues: of the last block, or 0 where a new block begins.
pub(crate) fn last_checksum(blocks: &[BlockSum], layout: &Layout, rows: usize) -> u32 {
    let bytes = layout.rows_in(rows / layout.rows_per_segment, rows) * layout.row_bytes();
    blocks.last().filter(|_| !bytes.is_multiple_of(BLOCK_BYTES)).map_or(0, |sum| sum.checksum)
}

/// The current generation, if one is named. The inner `None`: its record cannot be read.
pub(crate) fn generation(connection: &Connection) -> rusqlite::Result<Option<Option<Record>>> {
    connection
        .query_row(
            "SELECT number, spec, rows, indexed, effort, recall_at_10, built_unix_s, build_ms, bytes, blake3,
                     segments
                 FROM generations WHERE state = 'current'",
            [],
            |row| {
                let (spec, effort): (String, String) = (row.get(1)?, row.get(4)?);
                let (Ok(spec), Some((effort, refine))) = (spec.parse(), effort_from_text(&effort)) else {
                    return Ok(None);
                };
                let generation = Generation {
                    number: unsigned(row, 0)?,
                    spec,
                    rows: unsigned(row, 2)? as usize,
                    effort,
                    refine,
                    recall_at_10: row.get(5)?,
                    built_unix_s: row.get(6)?,
                    build_ms: unsigned(row, 7)?,
                    bytes: unsigned(row, 8)?,
                };
                let (indexed, segments) = (unsigned(row, 3)? as usize, row.get(10)?);
                Ok(Some(Record { generation, indexed, blake3: row.get(9)?, segments }))
            },
        )
        .optional()
}

/// Largest generation number ever named.
pub(crate) fn last_generation(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT coalesce(max(number), 0) FROM generations", [], |row| unsigned(row, 0))
}

/// The item of a slot, if it is visible at `seq`.
pub(crate) fn item(connection: &Connection, seq: u64, slot: u32) -> rusqlite::Result<Option<StoredItem>> {
    connection
        .prepare_cached(&format!(
            "SELECT {ITEM_COLUMNS} FROM items i JOIN documents d ON d.number = i.document
                 WHERE i.slot = ?2 AND i.added_seq <= ?1 AND (i.deleted_seq IS NULL OR i.deleted_seq > ?1)"
        ))?
        .query_row(params![seq as i64, slot], stored_item)
        .optional()
}

/// The items of a document in their order, as of `seq`.
pub(crate) fn document(connection: &Connection, seq: u64, id: &str) -> rusqlite::Result<Vec<StoredItem>> {
    connection
        .prepare_cached(&format!(
            "SELECT {ITEM_COLUMNS} FROM documents d JOIN items i ON i.document = d.number
                 WHERE d.id = ?2 AND d.added_seq <= ?1 AND (d.deleted_seq IS NULL OR d.deleted_seq > ?1)
                 ORDER BY i.ordinal"
        ))?
        .query_map(params![seq as i64, id], stored_item)?
        .collect()
}

/// The thumbnail of a document's first item, as of `seq`.
pub(crate) fn thumbnail(connection: &Connection, seq: u64, id: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached(
            "SELECT t.jpeg FROM documents d JOIN items i ON i.document = d.number JOIN thumbnails t ON t.slot = i.slot
                 WHERE d.id = ?2 AND d.added_seq <= ?1 AND (d.deleted_seq IS NULL OR d.deleted_seq > ?1) AND i.ordinal = 0",
        )?
        .query_row(params![seq as i64, id], |row| row.get(0))
        .optional()
}

/// Vectors of the sentences of an item; slots are never used twice, so no commit is asked for.
pub(crate) fn sentences(connection: &Connection, slot: u32) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT vectors FROM sentences WHERE slot = ?1")?
        .query_row([slot], |row| row.get(0))
        .optional()
}

/// Slots visible at `seq` whose metadata satisfies `condition`, a condition over `metadata` with `parameters` from `?2` on.
pub(crate) fn select(
    connection: &Connection,
    seq: u64,
    condition: &str,
    parameters: Vec<Value>,
) -> rusqlite::Result<Vec<u32>> {
    let bound = std::iter::once(Value::Integer(seq as i64)).chain(parameters);
    connection
        .prepare_cached(&format!(
            "SELECT slot FROM items
                 WHERE added_seq <= ?1 AND (deleted_seq IS NULL OR deleted_seq > ?1) AND ({condition})"
        ))?
        .query_map(params_from_iter(bound), |row| row.get(0))?
        .collect()
}

/// How many items visible at `seq` that satisfy `condition` (as for [`select`]) have each value of the field at a JSON `path`:
/// the `limit` most frequent ones, and how many items have another one. Lists and objects are no values.
pub(crate) fn facets(
    connection: &Connection,
    seq: u64,
    (condition, parameters): (&str, Vec<Value>),
    path: &str,
    limit: usize,
) -> rusqlite::Result<Facets> {
    let at = parameters.len() + 2;
    let bound =
        std::iter::once(Value::Integer(seq as i64)).chain(parameters).chain([Value::from(path.to_owned())]);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT json_type(metadata, ?{at}) AS kind, json_extract(metadata, ?{at}) AS value, count(*) AS items
             FROM items WHERE added_seq <= ?1 AND (deleted_seq IS NULL OR deleted_seq > ?1) AND ({condition})
                 AND kind IN ('text', 'integer', 'real', 'true', 'false')
             GROUP BY kind, value ORDER BY items DESC, value, kind"
    ))?;
    let mut rows = statement.query(params_from_iter(bound))?;
    let mut facets = Facets::default();
    while let Some(row) = rows.next()? {
        let kind: String = row.get(0)?;
        let value = match kind.as_str() {
            "text" => serde_json::Value::from(row.get::<_, String>(1)?),
            "integer" => serde_json::Value::from(row.get::<_, i64>(1)?),
            "real" => serde_json::Value::from(row.get::<_, f64>(1)?),
            told => serde_json::Value::from(told == "true"),
        };
        let items = unsigned(row, 2)? as usize;
        match facets.values.len() < limit {
            true => facets.values.push((value, items)),
            false => facets.others += items,
        }
    }
    Ok(facets)
}

pub(crate) fn file_stamp(connection: &Connection, path: &str) -> rusqlite::Result<Option<FileStamp>> {
    connection
        .prepare_cached("SELECT bytes, modified_ns, hash FROM files WHERE path = ?1")?
        .query_row([path], |row| {
            Ok(FileStamp {
                path: path.to_owned(),
                bytes: unsigned(row, 0)?,
                modified_ns: row.get(1)?,
                hash: row.get(2)?,
            })
        })
        .optional()
}

/// Paths of live documents and of stamps that are `path` itself or start with `prefix`; sorted.
pub(crate) fn files_below(
    connection: &Connection,
    path: &str,
    prefix: &str,
) -> rusqlite::Result<Vec<String>> {
    // Every text that starts with `prefix` sorts from it up to `prefix` with its last byte raised by one.
    let mut end = prefix.to_owned();
    let last = end.pop().unwrap_or('/');
    end.push(char::from_u32(last as u32 + 1).unwrap_or(char::MAX));
    connection
        .prepare_cached(
            "SELECT file FROM documents WHERE deleted_seq IS NULL AND file IS NOT NULL
                     AND (file = ?1 OR (file >= ?2 AND file < ?3))
             UNION SELECT path FROM files WHERE path = ?1 OR (path >= ?2 AND path < ?3)
             ORDER BY 1",
        )?
        .query_map([path, prefix, end.as_str()], |row| row.get(0))?
        .collect()
}

pub(crate) fn document_file(connection: &Connection, id: &str) -> rusqlite::Result<Option<Option<String>>> {
    connection
        .prepare_cached("SELECT file FROM documents WHERE id = ?1 AND deleted_seq IS NULL")?
        .query_row([id], |row| row.get(0))
        .optional()
}

fn stored_item(row: &Row<'_>) -> rusqlite::Result<StoredItem> {
    let metadata: String = row.get(4)?;
    let metadata: Metadata = serde_json::from_str(&metadata).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(StoredItem {
        slot: row.get(0)?,
        document: row.get(1)?,
        ordinal: row.get(2)?,
        text: row.get(3)?,
        metadata,
    })
}

/// Counts are never negative in a catalog of ours; one that is becomes 0 and fails the checks at open.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}
