//! What can go wrong in the store, with what was expected, what came, and (where there is one) the way out.
//!
//! One enum for the crate: the engine matches on it once to choose its own kind, status and exit code.
use std::io;
use std::path::{Path, PathBuf};

use bilin_index::IndexError;

use crate::collection::Collection;
use crate::filter::FilterError;

/// Why an operation of the store failed. Nothing was changed unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the data folder.
    #[error(
        "data folder \"{}\" is in use by {holder}; stop that process, send your request to it, or choose another folder",
        path.display()
    )]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// Process id and start time as its lock file names them.
        holder: String,
    },
    /// No collection of this name.
    #[error("no collection {name:?}; known: {}", list(known))]
    UnknownCollection {
        /// The name asked for.
        name: String,
        /// Names that exist, sorted.
        known: Vec<String>,
    },
    /// A collection of this name exists already.
    #[error("collection {name:?} exists already")]
    CollectionExists {
        /// The name asked for.
        name: String,
    },
    /// The text cannot name a collection.
    #[error("{name:?} cannot name a collection: {reason}")]
    Name {
        /// The name asked for.
        name: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// Settings that no collection can have.
    #[error("setting {name:?}: expected {expected}, received {received}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its bounds.
        expected: String,
        /// What came.
        received: String,
    },
    /// A vector of another length than the collection's.
    #[error("document {document:?}, item {item}: expected {expected} dimensions, received {received}")]
    Dimension {
        /// Id of the document.
        document: String,
        /// Position of the item in its document, from 0.
        item: usize,
        /// Dimensions of the collection.
        expected: usize,
        /// Dimensions received.
        received: usize,
    },
    /// A vector that cannot be compared: not finite, or of length zero under cosine.
    #[error("document {document:?}, item {item}: {reason}")]
    Vector {
        /// Id of the document.
        document: String,
        /// Position of the item in its document, from 0.
        item: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A query vector that cannot be compared.
    #[error("query {query}: {reason}")]
    Query {
        /// Position of the query in its batch, from 0.
        query: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Something larger (or emptier) than the store takes.
    #[error("{what}: expected {expected}, received {received}")]
    Limit {
        /// What is out of bounds.
        what: String,
        /// The bounds, with units.
        expected: String,
        /// What came, with units.
        received: String,
    },
    /// Two collections whose vectors cannot be compared.
    #[error("collections of different vector spaces cannot be merged: {differ}")]
    Spaces {
        /// Each setting that differs, with both values.
        differ: String,
    },
    /// Documents that both collections of a merge have.
    #[error("{count} documents are in both collections by id or file, {} among them", quoted(examples))]
    Clash {
        /// How many.
        count: usize,
        /// Some of their ids.
        examples: Vec<String>,
    },
    /// The full text is still being filled.
    #[error("the full text has {done} of {all} items so far")]
    FullText {
        /// Slots that are done.
        done: usize,
        /// Slots to be done.
        all: usize,
    },
    /// Stored bytes are not what was written.
    #[error("{what} is damaged: {detail}")]
    Corrupt {
        /// The file, and the block where there is one.
        what: String,
        /// Expected and found.
        detail: String,
    },
    /// Commits that were acknowledged are not in the catalog, which is whole otherwise: a part of its log was damaged, or an
    /// older copy lies in its place.
    #[error("catalog.sqlite ends with commit {found}, but commit {known} was made; {} missing", commits(*found, *known))]
    CommitsMissing {
        /// The newest commit that is there.
        found: u64,
        /// The newest commit that was made, as its second witness (the file `head`) says.
        known: u64,
    },
    /// Written by a newer bilin.
    #[error("{what} has format version {found}, this bilin reads up to {newest}; use a newer bilin")]
    Version {
        /// The file.
        what: String,
        /// Version found in it.
        found: u32,
        /// Newest version that this build reads.
        newest: u32,
    },
    /// The disk has no room. Nothing changed; writes work again as soon as there is room.
    #[error("no space left for {what}; free some disk space and repeat")]
    NoSpace {
        /// What was being written.
        what: String,
    },
    /// An earlier write or fsync failed, so what the disk holds is no longer certain: no further writes until reopened.
    #[error(
        "collection {name:?} takes no writes since an earlier failure ({reason}); reads go on; reopen it to continue"
    )]
    WritesStopped {
        /// The collection.
        name: String,
        /// The first failure.
        reason: String,
    },
    /// A backup or a successor has taken the place of the collection since the caller took hold of it. Nothing changed.
    #[error("collection {name:?} was replaced meanwhile; repeat")]
    Replaced {
        /// The collection.
        name: String,
    },
    /// A successor could not take the place of its collection, which serves on.
    #[error("collection {name:?} cannot give way to its successor: {reason}")]
    Succession {
        /// The collection.
        name: String,
        /// What was in the way.
        reason: String,
    },
    /// An operation of the file system failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted, with the path.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("catalog: cannot {what}: {detail}")]
    Catalog {
        /// What was attempted.
        what: String,
        /// SQLite's answer.
        detail: String,
    },
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A filter expression that cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The caller's progress function asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Those after `found` up to `known`, with the verb.
pub(crate) fn commits(found: u64, known: u64) -> String {
    if known == found + 1 {
        format!("commit {known} is")
    } else {
        format!("commits {} to {known} are", found + 1)
    }
}

fn quoted(ids: &[String]) -> String {
    ids.iter().map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", ")
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl StoreError {
    /// What it means of a collection that something else may have replaced meanwhile: then its folder, and what was being made
    /// beside it, is gone, whatever the file system said of that.
    pub fn of(self, collection: &Collection) -> StoreError {
        match collection.is_closed() {
            true => StoreError::Replaced { name: collection.name().to_owned() },
            false => self,
        }
    }

    /// Whether the collection was replaced or removed since the caller took hold of it.
    pub fn is_replaced(&self) -> bool {
        match self {
            StoreError::Replaced { .. } => true,
            StoreError::Io { source, .. } => crate::dir::has_left(source),
            _ => false,
        }
    }
}

/// Names an attempt on a path when a file operation fails.
pub(crate) fn io_error(verb: &str, path: &Path, source: io::Error) -> StoreError {
    if is_full(&source) {
        return StoreError::NoSpace { what: path.display().to_string() };
    }
    StoreError::Io { what: format!("{verb} \"{}\"", path.display()), source }
}

/// Whether the disk, or the user's part of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Sorts SQLite's answers: damage, a full disk, and the rest.
pub(crate) fn catalog_error(what: &str, source: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    let is_damaged_page =
        source.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_DATA);
    if is_damaged_page && let Some(mismatch) = crate::catalog::take_mismatch() {
        return StoreError::Corrupt { what: mismatch.file().to_owned(), detail: mismatch.to_string() };
    }
    // The memory that connections share is a file, made at open; that it cannot be made long enough has one usual reason.
    let has_no_memory =
        source.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
    match source.sqlite_error_code() {
        _ if has_no_memory => StoreError::NoSpace { what: "catalog.sqlite-shm".to_owned() },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt { what: "catalog.sqlite".to_owned(), detail: source.to_string() }
        }
        Some(ErrorCode::DiskFull) => StoreError::NoSpace { what: "catalog.sqlite".to_owned() },
        _ => StoreError::Catalog { what: what.to_owned(), detail: source.to_string() },
    }
}
