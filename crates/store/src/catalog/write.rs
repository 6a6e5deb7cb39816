//! Statements of the writer. All of them run inside the caller's transaction.
use std::collections::HashSet;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use crate::batch::{Applied, Checked, FileStamp, NewDocument};
use crate::filter::Filter;
use crate::full_text::Terms;
use crate::generation::Record;
use crate::rows::BlockSum;
use crate::settings::Settings;

use super::full_text::add_terms;
use super::read::State;

/// What the statements of a batch did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub applied: Applied,
    /// Slots whose items were deleted, in any order.
    pub deleted_slots: Vec<u32>,
    /// Whether a file's stamp was written or removed.
    pub stamps_changed: bool,
}

pub(super) fn initialise(
    connection: &Connection,
    settings: &Settings,
    rows_per_segment: usize,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO settings VALUES ('collection', ?1), ('rows_per_segment', ?2),
             ('id', lower(hex(randomblob(16)))), ('created_unix_s', unixepoch())",
        params![settings.to_json(), rows_per_segment.to_string()],
    )?;
    Ok(())
}

pub(crate) fn set_settings(connection: &Connection, settings: &Settings) -> rusqlite::Result<()> {
    connection.execute("UPDATE settings SET value = ?1 WHERE name = 'collection'", [settings.to_json()])?;
    set_changes(connection, super::read::changes(connection)?.saturating_add(1))
}

/// How often the settings were changed; compared with what the second witness has seen.
pub(crate) fn set_changes(connection: &Connection, changes: u32) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO settings VALUES ('changes', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [changes.to_string()],
    )?;
    Ok(())
}

/// Keeps (or forgets) what happened to the collection.
pub(crate) fn set_incident(connection: &Connection, told: Option<&str>) -> rusqlite::Result<()> {
    match told {
        Some(told) => connection.execute(
            "INSERT INTO settings VALUES ('incident', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [told],
        )?,
        None => connection.execute("DELETE FROM settings WHERE name = 'incident'", [])?,
    };
    Ok(())
}

/// Deletes, then upserts, then stamps. New items get the slots from `first_slot` on, in the order of the batch. A document
/// that is deleted and added again by the same batch counts as updated: what counts is the state before and after.
pub(crate) fn apply(
    connection: &Connection,
    checked: &Checked,
    seq: u64,
    first_slot: usize,
) -> rusqlite::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut deleted = HashSet::new();
    for id in &checked.batch.delete {
        if delete_document(connection, id, seq, &mut outcome.deleted_slots)? {
            deleted.insert(id.clone());
        }
    }
    for path in &checked.batch.delete_files {
        delete_file(connection, path, seq, &mut outcome, &mut deleted)?;
    }
    for filter in &checked.batch.delete_where {
        delete_where(connection, filter, seq, &mut outcome, &mut deleted)?;
    }
    let mut slot = first_slot;
    let mut details = checked.details();
    for document in &checked.batch.upsert {
        let existed = delete_document(connection, &document.id, seq, &mut outcome.deleted_slots)?;
        if deleted.remove(&document.id) || existed {
            outcome.applied.updated += 1;
        } else {
            outcome.applied.added += 1;
        }
        insert_document(connection, document, &mut details, seq, slot)?;
        slot += document.items.len();
    }
    outcome.applied.deleted = deleted.len();
    for stamp in &checked.batch.files {
        outcome.stamps_changed |= set_stamp(connection, stamp)?;
    }
    Ok(outcome)
}

/// Whether it differs from the one before.
pub(super) fn set_stamp(connection: &Connection, stamp: &FileStamp) -> rusqlite::Result<bool> {
    let changed = connection
        .prepare_cached(
            "INSERT INTO files VALUES (?1, ?2, ?3, ?4) ON CONFLICT (path) DO UPDATE
                 SET bytes = excluded.bytes, modified_ns = excluded.modified_ns, hash = excluded.hash
                 WHERE (bytes, modified_ns, hash) IS NOT (excluded.bytes, excluded.modified_ns, excluded.hash)",
        )?
        .execute(params![stamp.path, stamp.bytes as i64, stamp.modified_ns, stamp.hash])?;
    Ok(changed > 0)
}

/// `details`: metadata as JSON, and the terms of its text, of each item.
pub(super) fn insert_document<'a>(
    connection: &Connection,
    document: &NewDocument,
    details: &mut impl Iterator<Item = (&'a String, Option<&'a Terms>)>,
    seq: u64,
    first_slot: usize,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO documents (id, file, added_seq) VALUES (?1, ?2, ?3)")?
        .execute(params![document.id, document.file, seq as i64])?;
    let number = connection.last_insert_rowid();
    let mut insert = connection.prepare_cached(
        "INSERT INTO items (slot, document, ordinal, added_seq, metadata, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for ((ordinal, item), (metadata, terms)) in document.items.iter().enumerate().zip(details) {
        let slot = (first_slot + ordinal) as i64;
        insert.execute(params![slot, number, ordinal as i64, seq as i64, metadata, item.text])?;
        if let Some(terms) = terms {
            add_terms(connection, slot, terms)?;
        }
        if let Some(jpeg) = &item.thumbnail {
            connection
                .prepare_cached("INSERT INTO thumbnails VALUES (?1, ?2)")?
                .execute(params![slot, jpeg])?;
        }
        if let Some(vectors) = &item.sentences {
            connection
                .prepare_cached("INSERT INTO sentences VALUES (?1, ?2)")?
                .execute(params![slot, vectors])?;
        }
    }
    Ok(())
}

/// Whether there was such a document.
pub(super) fn delete_document(
    connection: &Connection,
    id: &str,
    seq: u64,
    deleted_slots: &mut Vec<u32>,
) -> rusqlite::Result<bool> {
    let number: Option<i64> = connection
        .prepare_cached("SELECT number FROM documents WHERE id = ?1 AND deleted_seq IS NULL")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(number) = number else { return Ok(false) };
    delete_number(connection, number, seq, deleted_slots)?;
    Ok(true)
}

/// Deletes the documents of a file, whose ids are added to `deleted`, and its stamp.
pub(super) fn delete_file(
    connection: &Connection,
    path: &str,
    seq: u64,
    outcome: &mut Outcome,
    deleted: &mut HashSet<String>,
) -> rusqlite::Result<()> {
    let documents: Vec<(i64, String)> = connection
        .prepare_cached("SELECT number, id FROM documents WHERE file = ?1 AND deleted_seq IS NULL")?
        .query_map([path], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (number, id) in documents {
        delete_number(connection, number, seq, &mut outcome.deleted_slots)?;
        deleted.insert(id);
    }
    let removed = connection.prepare_cached("DELETE FROM files WHERE path = ?1")?.execute([path])?;
    outcome.stamps_changed |= removed > 0;
    Ok(())
}

/// Deletes the documents of which a live item satisfies the filter; their ids are added to `deleted`.
fn delete_where(
    connection: &Connection,
    filter: &Filter,
    seq: u64,
    outcome: &mut Outcome,
    deleted: &mut HashSet<String>,
) -> rusqlite::Result<()> {
    let (condition, parameters) = filter.to_sql();
    let bound = std::iter::once(Value::Integer(seq as i64)).chain(parameters);
    let documents: Vec<(i64, String)> = connection
        .prepare(&format!(
            "SELECT number, id FROM documents WHERE number IN
                 (SELECT document FROM items WHERE added_seq < ?1 AND deleted_seq IS NULL AND ({condition}))"
        ))?
        .query_map(params_from_iter(bound), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (number, id) in documents {
        delete_number(connection, number, seq, &mut outcome.deleted_slots)?;
        deleted.insert(id);
    }
    Ok(())
}

fn delete_number(
    connection: &Connection,
    number: i64,
    seq: u64,
    deleted_slots: &mut Vec<u32>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE documents SET deleted_seq = ?2 WHERE number = ?1")?
        .execute(params![number, seq as i64])?;
    let mut update =
        connection.prepare_cached("UPDATE items SET deleted_seq = ?2 WHERE document = ?1 RETURNING slot")?;
    for slot in update.query_map(params![number, seq as i64], |row| row.get::<_, u32>(0))? {
        deleted_slots.push(slot?);
    }
    Ok(())
}

pub(crate) fn set_blocks(connection: &Connection, blocks: &[BlockSum]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO blocks VALUES (?1, ?2, ?3) ON CONFLICT (segment, block) DO UPDATE SET checksum = excluded.checksum",
    )?;
    for sum in blocks {
        insert.execute(params![sum.segment, sum.block, sum.checksum])?;
    }
    Ok(())
}

pub(crate) fn set_state(connection: &Connection, state: &State) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE state SET seq = ?1, rows = ?2, documents = ?3, items = ?4")?
        .execute(params![state.seq as i64, state.rows as i64, state.documents as i64, state.items as i64])?;
    connection
        .prepare_cached(
            "INSERT INTO settings VALUES ('mark', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([format!("{:016x}", state.mark)])?;
    Ok(())
}

/// Makes `record` the current generation, or leaves none; the one before is retired (or `quarantined`).
pub(crate) fn set_generation(
    connection: &Connection,
    record: Option<&Record>,
    state_of_old: &str,
) -> rusqlite::Result<()> {
    connection.execute("UPDATE generations SET state = ?1 WHERE state = 'current'", [state_of_old])?;
    let Some(Record { generation, indexed, blake3, segments }) = record else { return Ok(()) };
    connection.execute(
        "INSERT INTO generations VALUES (?1, 'current', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            generation.number as i64,
            generation.spec.to_string(),
            generation.rows as i64,
            *indexed as i64,
            crate::generation::effort_text((generation.effort, generation.refine)),
            generation.recall_at_10,
            generation.built_unix_s,
            generation.build_ms as i64,
            generation.bytes as i64,
            blake3,
            segments,
        ],
    )?;
    Ok(())
}

/// Another search effort for a generation; changes nothing when it is not the current one.
pub(crate) fn set_effort(connection: &Connection, number: u64, effort: &str) -> rusqlite::Result<()> {
    let changed = "UPDATE generations SET effort = ?2 WHERE number = ?1 AND state = 'current'";
    connection.execute(changed, params![number as i64, effort]).map(drop)
}

/// When everything was last read back and found good, seconds since 1970.
pub(crate) fn set_scrubbed(connection: &Connection, unix_s: u64) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO settings VALUES ('scrubbed_unix_s', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [unix_s.to_string()],
        )
        .map(drop)
}
