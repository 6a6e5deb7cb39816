//! Tables of the catalog, as a list of migrations.
//!
//! Invariant: `user_version` is the number of migrations applied, each in a transaction of its own; a catalog of a newer
//! bilin is refused, one of an older bilin is brought up when it is opened. `application_id` spells "BILN".
use rusqlite::{Connection, TransactionBehavior};

use crate::error::{StoreError, catalog_error};

/// Marks the file as ours (`file(1)` and SQLite tools show it).
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"BILN");

/// One entry per format version. An entry that was released is never changed.
const MIGRATIONS: [&str; 4] = [VERSION_1, VERSION_2, VERSION_3, VERSION_4];

/// * `items.slot` is the row number of the vector; slots are never used twice. An item (and a document) is visible at
///   commit `s` when `added_seq <= s` and not `deleted_seq <= s`; it stays until compaction.
/// * `blocks.checksum` is the crc32c of the committed bytes of a 64 KiB block of a row segment.
/// * `generations.state`: `current` (at most one), `retired`, `quarantined`.
const VERSION_1: &str = "
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    documents INTEGER NOT NULL,
    items INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, 0, 0, 0, 0);

CREATE TABLE documents (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    file TEXT,
    added_seq INTEGER NOT NULL,
    deleted_seq INTEGER
) STRICT;
CREATE INDEX documents_id ON documents (id, added_seq);
CREATE UNIQUE INDEX documents_live_id ON documents (id) WHERE deleted_seq IS NULL;
CREATE INDEX documents_live_file ON documents (file) WHERE deleted_seq IS NULL AND file IS NOT NULL;

CREATE TABLE items (
    slot INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (number),
    ordinal INTEGER NOT NULL,
    added_seq INTEGER NOT NULL,
    deleted_seq INTEGER,
    metadata TEXT NOT NULL,
    text TEXT
) STRICT;
CREATE UNIQUE INDEX items_document ON items (document, ordinal);
CREATE INDEX items_deleted ON items (deleted_seq) WHERE deleted_seq IS NOT NULL;

CREATE TABLE thumbnails (
    slot INTEGER PRIMARY KEY REFERENCES items (slot),
    jpeg BLOB NOT NULL
) STRICT;

CREATE TABLE files (
    path TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    hash TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    segment INTEGER NOT NULL,
    block INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (segment, block)
) STRICT, WITHOUT ROWID;

CREATE TABLE generations (
    number INTEGER PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('current', 'retired', 'quarantined')),
    spec TEXT NOT NULL,
    rows INTEGER NOT NULL,
    indexed INTEGER NOT NULL,
    effort TEXT NOT NULL,
    recall_at_10 REAL,
    built_unix_s INTEGER NOT NULL,
    build_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    blake3 TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX generations_current ON generations (state) WHERE state = 'current';
";

/// * `row_log`: rows (`[n, dim]` f32, little-endian) from `slot` on that were committed without an fsync of their segment;
///   they are written into it again when the collection is opened.
/// * `dropped_segments`: segments whose rows, items and thumbnails are gone for good since commit `seq`.
/// * `gone_slots`: a bit for each slot that has no item (any more) though its segment is there; 4096 slots a part.
/// * `generations.segments`: a bit for each segment of which the index holds rows; NULL = of all that it covers.
const VERSION_2: &str = "
CREATE TABLE row_log (
    slot INTEGER PRIMARY KEY,
    rows BLOB NOT NULL
) STRICT;

CREATE TABLE dropped_segments (
    segment INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;

CREATE TABLE gone_slots (
    part INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;

ALTER TABLE generations ADD COLUMN segments BLOB;
";

/// * `full_text`: terms of items under their slots (see [`super::full_text`]); `full_text_postings` and `full_text_terms` show what is in it
///   and hold nothing.
/// * `full_text_state`: the full text has the items with slots below `next` and those from `end` on, cut by `analyzer`. What is there
///   when a catalog is brought up has none.
const VERSION_3: &str = "
CREATE VIRTUAL TABLE full_text USING fts5(
    words, units, content = '', contentless_delete = 1,
    tokenize = \"ascii tokenchars '!\"\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~'\"
);
CREATE VIRTUAL TABLE full_text_postings USING fts5vocab(full_text, instance);
CREATE VIRTUAL TABLE full_text_terms USING fts5vocab(full_text, row);

CREATE TABLE full_text_state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    analyzer TEXT NOT NULL,
    next INTEGER NOT NULL,
    \"end\" INTEGER NOT NULL
) STRICT;
INSERT INTO full_text_state SELECT 1, '', 0, rows FROM state;
";

/// * `sentences`: vectors of the sentences of an item's text, in the form of whoever adds them.
const VERSION_4: &str = "
CREATE TABLE sentences (
    slot INTEGER PRIMARY KEY REFERENCES items (slot),
    vectors BLOB NOT NULL
) STRICT;
";

/// Brings the catalog to the newest version; creates the tables in an empty file when `is_new`.
pub(crate) fn migrate(connection: &mut Connection, is_new: bool) -> Result<(), StoreError> {
    let failed = |source| catalog_error("read its version", source);
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    let version: u32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let newest = MIGRATIONS.len() as u32;
    if is_new {
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(|source| catalog_error("mark the new file", source))?;
    } else if application != APPLICATION_ID || version == 0 {
        return Err(StoreError::Corrupt {
            what: "catalog.sqlite".to_owned(),
            detail: format!(
                "expected application id {APPLICATION_ID:#x} and a version, found {application:#x} and version {version}"
            ),
        });
    }
    if version > newest {
        return Err(StoreError::Version { what: "catalog.sqlite".to_owned(), found: version, newest });
    }
    for (at, migration) in MIGRATIONS.iter().enumerate().skip(version as usize) {
        apply(connection, migration, at + 1)
            .map_err(|source| catalog_error(&format!("migrate to version {}", at + 1), source))?;
    }
    Ok(())
}

fn apply(connection: &mut Connection, migration: &str, version: usize) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "user_version", version as u32)?;
    transaction.commit()
}
