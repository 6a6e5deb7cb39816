//! Statements of compaction: which slots have no item any more, which segments are gone, what can be given back.
//!
//! A slot whose item was purged is kept as one bit (`gone_slots`), and none at all once its segment was dropped. So the rows
//! that are live are all rows but deleted items, gone slots and dropped segments.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

/// Slots under one row of `gone_slots`: 512 bytes, so that a purge of few items writes little.
const SLOTS_PER_BLOB: usize = 4096;

/// An item that nobody can see any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadItem {
    pub slot: u32,
    /// Number of its document.
    pub document: i64,
}

/// A live document version with what a new version of it needs, vectors aside.
pub(crate) struct MovedDocument {
    pub id: String,
    pub file: Option<String>,
    pub items: Vec<MovedItem>,
}

pub(crate) struct MovedItem {
    pub slot: u32,
    pub text: Option<String>,
    /// JSON, as it is stored.
    pub metadata: String,
    pub thumbnail: Option<Vec<u8>>,
    pub sentences: Option<Vec<u8>>,
}

/// Segments that were given back.
pub(crate) fn dropped_segments(connection: &Connection) -> rusqlite::Result<BTreeSet<usize>> {
    connection
        .prepare("SELECT segment FROM dropped_segments")?
        .query_map([], |row| row.get::<_, u32>(0).map(|segment| segment as usize))?
        .collect()
}

/// Slots that have no item and belong to no dropped segment.
pub(crate) fn gone_slots(connection: &Connection) -> rusqlite::Result<Vec<u32>> {
    let mut slots = Vec::new();
    let mut statement = connection.prepare("SELECT part, bits FROM gone_slots ORDER BY part")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (part, bits): (u32, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let first = part as usize * SLOTS_PER_BLOB;
        for (at, byte) in bits.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            let set = (0..8).filter(|bit| byte >> bit & 1 == 1);
            slots.extend(set.map(|bit| (first + at * 8 + bit) as u32));
        }
    }
    Ok(slots)
}

/// Marks slots as having no item.
pub(crate) fn set_gone(
    connection: &Connection,
    slots: impl IntoIterator<Item = usize>,
) -> rusqlite::Result<()> {
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for slot in slots {
        parts.entry(slot / SLOTS_PER_BLOB).or_default().push(slot % SLOTS_PER_BLOB);
    }
    for (part, slots) in parts {
        let found: Option<Vec<u8>> = connection
            .prepare_cached("SELECT bits FROM gone_slots WHERE part = ?1")?
            .query_row([part as i64], |row| row.get(0))
            .optional()?;
        let mut bits = found.unwrap_or_default();
        bits.resize(SLOTS_PER_BLOB / 8, 0);
        for slot in slots {
            if let Some(byte) = bits.get_mut(slot / 8) {
                *byte |= 1 << (slot % 8);
            }
        }
        connection
            .prepare_cached(
                "INSERT INTO gone_slots VALUES (?1, ?2) ON CONFLICT (part) DO UPDATE SET bits = excluded.bits",
            )?
            .execute(params![part as i64, bits])?;
    }
    Ok(())
}

/// Items and empty documents that were deleted by commit `oldest` or before; documents with items go with their last one.
pub(crate) fn count_dead(connection: &Connection, oldest: u64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("SELECT count(*) FROM items WHERE deleted_seq IS NOT NULL AND deleted_seq <= ?1")?
        .query_row([oldest as i64], |row| row.get::<_, i64>(0))
        .map(|count| usize::try_from(count).unwrap_or(0))
}

/// Up to `most` items that were deleted by commit `oldest` or before.
pub(crate) fn dead_items(
    connection: &Connection,
    oldest: u64,
    most: usize,
) -> rusqlite::Result<Vec<DeadItem>> {
    connection
        .prepare_cached(
            "SELECT slot, document FROM items WHERE deleted_seq IS NOT NULL AND deleted_seq <= ?1
                 ORDER BY deleted_seq LIMIT ?2",
        )?
        .query_map(params![oldest as i64, most as i64], |row| {
            Ok(DeadItem { slot: row.get(0)?, document: row.get(1)? })
        })?
        .collect()
}

/// Removes dead items, their terms, thumbnails and sentences, and their documents where no item is left.
pub(crate) fn purge(connection: &Connection, items: &[DeadItem]) -> rusqlite::Result<()> {
    for item in items {
        connection.prepare_cached("DELETE FROM thumbnails WHERE slot = ?1")?.execute([item.slot])?;
        connection.prepare_cached("DELETE FROM sentences WHERE slot = ?1")?.execute([item.slot])?;
        connection.prepare_cached("DELETE FROM items WHERE slot = ?1")?.execute([item.slot])?;
        super::remove_terms(connection, item.slot)?;
    }
    let documents: BTreeSet<i64> = items.iter().map(|item| item.document).collect();
    purge_empty(connection, documents)?;
    set_gone(connection, items.iter().map(|item| item.slot as usize))
}

/// Numbers of deleted documents that never had an item, or have none any more.
pub(crate) fn empty_documents(connection: &Connection, oldest: u64) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(
            "SELECT number FROM documents d WHERE deleted_seq IS NOT NULL AND deleted_seq <= ?1
                 AND NOT EXISTS (SELECT 1 FROM items WHERE document = d.number)",
        )?
        .query_map([oldest as i64], |row| row.get(0))?
        .collect()
}

/// Removes those of the deleted documents that have no item.
pub(crate) fn purge_empty(
    connection: &Connection,
    documents: impl IntoIterator<Item = i64>,
) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM documents WHERE number = ?1 AND deleted_seq IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM items WHERE document = ?1)",
    )?;
    for number in documents {
        delete.execute([number])?;
    }
    Ok(())
}

/// Whether an item is left in `slots`, deleted or not.
pub(crate) fn has_items(connection: &Connection, slots: &Range<usize>) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM items WHERE slot >= ?1 AND slot < ?2)")?
        .query_row(params![slots.start as i64, slots.end as i64], |row| row.get(0))
}

/// Records a segment, the slots of which have no items, as given back.
pub(crate) fn drop_segment(
    connection: &Connection,
    segment: usize,
    slots: &Range<usize>,
    seq: u64,
) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM blocks WHERE segment = ?1", [segment as i64])?;
    // Parts that reach into a neighbour stay: bits of a dropped segment say nothing that is not true.
    let (first, end) = (slots.start.div_ceil(SLOTS_PER_BLOB), slots.end / SLOTS_PER_BLOB);
    connection.execute(
        "DELETE FROM gone_slots WHERE part >= ?1 AND part < ?2",
        params![first as i64, end as i64],
    )?;
    connection
        .execute("INSERT INTO dropped_segments VALUES (?1, ?2)", params![segment as i64, seq as i64])?;
    Ok(())
}

/// The documents of the next live items from `slots.start` on, in the order of their slots: as many as come to
/// `most_items` items, at least one. Also the slot from which to go on.
pub(crate) fn documents_to_move(
    connection: &Connection,
    slots: &Range<usize>,
    most_items: usize,
    most_bytes: usize,
) -> rusqlite::Result<(Vec<MovedDocument>, usize)> {
    let mut found = connection.prepare_cached(
        "SELECT slot, document FROM items WHERE slot >= ?1 AND slot < ?2 AND deleted_seq IS NULL ORDER BY slot",
    )?;
    let mut rows = found.query(params![slots.start as i64, slots.end as i64])?;
    let mut documents = Vec::new();
    let mut seen = BTreeSet::new();
    let (mut items, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        let (slot, number): (u32, i64) = (row.get(0)?, row.get(1)?);
        if seen.contains(&number) {
            continue;
        }
        if items >= most_items || bytes >= most_bytes {
            return Ok((documents, slot as usize));
        }
        seen.insert(number);
        let document = document_to_move(connection, number)?;
        items += document.items.len();
        bytes += document.items.iter().map(MovedItem::bytes).sum::<usize>();
        documents.push(document);
    }
    Ok((documents, slots.end))
}

/// A document version by its number.
pub(crate) fn document_to_move(connection: &Connection, number: i64) -> rusqlite::Result<MovedDocument> {
    let (id, file) = connection
        .prepare_cached("SELECT id, file FROM documents WHERE number = ?1")?
        .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let items = connection
        .prepare_cached(
            "SELECT i.slot, i.text, i.metadata, t.jpeg, s.vectors FROM items i
                 LEFT JOIN thumbnails t ON t.slot = i.slot LEFT JOIN sentences s ON s.slot = i.slot
                 WHERE i.document = ?1 ORDER BY i.ordinal",
        )?
        .query_map([number], |row| {
            Ok(MovedItem {
                slot: row.get(0)?,
                text: row.get(1)?,
                metadata: row.get(2)?,
                thumbnail: row.get(3)?,
                sentences: row.get(4)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(MovedDocument { id, file, items })
}

impl MovedItem {
    /// Bytes in the catalog, about.
    pub(crate) fn bytes(&self) -> usize {
        let text = self.text.as_ref().map_or(0, String::len);
        let blobs = [&self.thumbnail, &self.sentences].into_iter().flatten().map(Vec::len);
        text + self.metadata.len() + blobs.sum::<usize>()
    }
}

/// Pages of the catalog: all, and those that hold nothing; bytes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages {
    pub all: u64,
    pub free: u64,
    pub page_bytes: u64,
    /// Whether free pages can be given back step by step.
    pub incremental: bool,
}

pub(crate) fn pages(connection: &Connection) -> rusqlite::Result<Pages> {
    let figure = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map(|value| u64::try_from(value).unwrap_or(0))
    };
    Ok(Pages {
        all: figure("page_count")?,
        free: figure("freelist_count")?,
        page_bytes: figure("page_size")?,
        incremental: figure("auto_vacuum")? == 2,
    })
}

/// Gives up to `most` free pages back to the file system, inside the caller's transaction.
pub(crate) fn give_back_pages(connection: &Connection, most: usize) -> rusqlite::Result<()> {
    connection.pragma(None, "incremental_vacuum", most as i64, |_| Ok(()))
}

/// Folds the write-ahead log into the catalog and empties it, as far as that is possible without waiting for a reader; says
/// whether all of it was.
pub(crate) fn empty_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(Duration::ZERO)?;
    let mut done = Ok(false);
    let asked = connection.pragma(None, "wal_checkpoint", "TRUNCATE", |row| {
        done = row.get(0).map(|busy: i64| busy == 0);
        Ok(())
    });
    let done = asked.and(done);
    connection.busy_timeout(Duration::from_millis(super::BUSY_TIMEOUT_MS))?;
    done
}
