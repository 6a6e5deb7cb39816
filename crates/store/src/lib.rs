//! The durable truth of a collection: catalog, vector rows, generations, snapshots.
//!
//! Invariant: **one commit point**. `apply` writes rows, fsyncs them, then commits documents, items, metadata and the new
//! row count in one SQLite transaction; rows past the committed count are cut off at open. A reader's view is one commit:
//! a [`Snapshot`] never changes and never waits for a writer. Slots (row numbers) are never reused, so a deleted item's
//! catalog row stays (with the commit that deleted it) until no snapshot can ask for it.

#![allow(missing_docs, dead_code, unused, clippy::todo)] // skeleton only
// CONTRACT SKELETON: the shapes below are agreed between the crates. Bodies move into modules.
use bilin_index::{Effort, Hit, IndexSpec, Metric, RowSet, Rows};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// What a collection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Image,
    Vector,
}

/// Fixed at creation (index, target_recall may change later).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub kind: Kind,
    /// Model id, revision and vector space; `None` for bare vectors.
    pub model: Option<ModelRef>,
    pub dim: usize,
    pub metric: Metric,
    pub index: IndexSpec,
    pub target_recall: f32,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    pub id: String,
    pub revision: String,
    pub space: String,
}

/// A data folder, locked by this process (`bilin.lock`, an OS file lock; the file names pid and start time of its holder).
pub struct DataDir {}
impl DataDir {
    /// Creates or opens; a second process gets `StoreError::Locked` naming folder and holder.
    pub fn open(_path: &Path) -> Result<DataDir, StoreError> {
        todo!()
    }
    pub fn path(&self) -> &Path {
        todo!()
    }
    /// Names on disk, sorted.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        todo!()
    }
    /// Names: 1..=64 of `[a-z0-9_-]`, CJK letters allowed? decided here; never a path. Atomic: built aside, then renamed.
    pub fn create(&self, _name: &str, _settings: &Settings) -> Result<Arc<Collection>, StoreError> {
        todo!()
    }
    pub fn open_collection(&self, _name: &str) -> Result<Arc<Collection>, StoreError> {
        todo!()
    }
    /// Removes a collection that the user asked to delete (renamed aside first, so that a crash leaves all or nothing).
    pub fn remove(&self, _collection: Arc<Collection>) -> Result<(), StoreError> {
        todo!()
    }
}

/// Changes applied as one commit. Order: deletes, then upserts.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Document ids to delete; unknown ids are counted, not errors.
    pub delete: Vec<String>,
    /// Documents of these files are deleted (a file that changed or went away).
    pub delete_files: Vec<String>,
    /// New documents; one whose id exists is replaced.
    pub upsert: Vec<NewDocument>,
    /// Files whose documents are in `upsert`: their stamps let the next add skip unchanged files.
    pub files: Vec<FileStamp>,
}
#[derive(Clone, Debug)]
pub struct NewDocument {
    pub id: String,
    /// canonical path of the file it came from
    pub file: Option<String>,
    pub items: Vec<NewItem>,
}
#[derive(Clone, Debug)]
pub struct NewItem {
    pub vector: Vec<f32>,
    pub text: Option<String>,
    pub metadata: Metadata,
    /// A small JPEG of a picture item, kept in the catalog in a table of its own.
    pub thumbnail: Option<Vec<u8>>,
}
/// What was read of a file: canonical path, length, modification time and content hash (blake3, hex).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp {
    pub path: String,
    pub bytes: u64,
    pub modified_ns: i64,
    pub hash: String,
}
/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// commit number; grows by one per commit that changed something
    pub seq: u64,
    pub added: usize,
    pub updated: usize,
    pub deleted: usize,
}

/// One searchable set.
pub struct Collection {}
impl Collection {
    pub fn name(&self) -> &str {
        todo!()
    }
    pub fn settings(&self) -> Settings {
        todo!()
    }
    /// Durable when it returns. Wrong dimensions, NaN, zero vectors under cosine: an error that names document and item; nothing changes.
    pub fn apply(&self, _batch: Batch) -> Result<Applied, StoreError> {
        todo!()
    }
    /// The newest commit. Cheap; never blocks.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        todo!()
    }
    /// The stamp of a file as it was added, if it was.
    pub fn file_stamp(&self, _path: &str) -> Result<Option<FileStamp>, StoreError> {
        todo!()
    }
    /// Canonical paths of the files that documents came from, below any of `roots`.
    pub fn files_below(&self, _roots: &[PathBuf]) -> Result<Vec<String>, StoreError> {
        todo!()
    }
    /// Which file a document id came from (`None`: no such document; `Some(None)`: added by API).
    pub fn document_file(&self, _id: &str) -> Result<Option<Option<String>>, StoreError> {
        todo!()
    }
    /// Builds a new generation when the policy says so (or `force`): aside, fsynced, renamed, then named in the catalog.
    /// Readers and writers go on meanwhile. Returns what was done and why.
    pub fn maintain(&self, _options: &MaintainOptions<'_>) -> Result<Maintained, StoreError> {
        todo!()
    }
    pub fn status(&self) -> Status {
        todo!()
    }
}
pub struct MaintainOptions<'a> {
    pub force: bool,
    pub threads: usize,
    pub progress: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}
#[derive(Clone, Debug)]
pub struct Maintained {
    pub built: Option<Generation>,
    pub reason: String,
}
/// One built index over the live rows of `0..rows` at the time.
#[derive(Clone, Debug)]
pub struct Generation {
    pub number: u64,
    pub spec: IndexSpec,
    pub rows: usize,
    pub effort: Effort,
    pub recall_at_10: Option<f32>,
    pub built_unix_s: i64,
    pub build_ms: u64,
    pub bytes: u64,
}
/// Figures of a collection, of its newest commit.
#[derive(Clone, Debug)]
pub struct Status {
    pub seq: u64,
    pub documents: usize,
    pub items: usize,
    pub rows_committed: usize,
    pub generation: Option<Generation>,
    pub tail_rows: usize,
    pub disk_bytes: u64,
    /// empty when all is well
    pub warnings: Vec<String>,
}

/// An immutable view of one commit: rows, generation, tail, deletions.
pub struct Snapshot {}
impl Snapshot {
    pub fn seq(&self) -> u64 {
        todo!()
    }
    pub fn settings(&self) -> &Settings {
        todo!()
    }
    /// Live items.
    pub fn count(&self) -> usize {
        todo!()
    }
    pub fn live(&self) -> &RowSet {
        todo!()
    }
    /// Generation + tail, deletions and filter honoured, reranked in f32; nearest first. `effort: None` = as calibrated.
    pub fn search(
        &self,
        _queries: Rows<'_>,
        _k: usize,
        _effort: Option<Effort>,
        _filter: Option<&RowSet>,
    ) -> Result<Vec<Vec<Hit>>, StoreError> {
        todo!()
    }
    /// Items of these slots, in the order asked, as they were at this commit.
    pub fn items(&self, _slots: &[u32]) -> Result<Vec<StoredItem>, StoreError> {
        todo!()
    }
    /// Slots whose metadata satisfies the filter at this commit.
    pub fn select(&self, _filter: &Filter) -> Result<RowSet, StoreError> {
        todo!()
    }
    /// The items of a document at this commit, in their order; empty when there is none.
    pub fn document(&self, _id: &str) -> Result<Vec<StoredItem>, StoreError> {
        todo!()
    }
    /// The small JPEG of a document's first item.
    pub fn thumbnail(&self, _id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        todo!()
    }
    /// The vector of a slot.
    pub fn vector(&self, _slot: u32) -> &[f32] {
        todo!()
    }
}
#[derive(Clone, Debug, PartialEq)]
pub struct StoredItem {
    pub slot: u32,
    pub document: String,
    /// position in its document, from 0
    pub ordinal: u32,
    pub text: Option<String>,
    pub metadata: Metadata,
}

/// A parsed filter expression over metadata fields: `category = "birds" AND price < 10 AND NOT page IN (1, 2)`.
/// `FromStr` with errors that show where; translated to SQL with bound parameters only.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {}

#[derive(Debug)]
pub enum StoreError {
    Locked { path: PathBuf, holder: String },
    UnknownCollection { name: String, known: Vec<String> },
    CollectionExists { name: String },
    Name { name: String, reason: String },
    Dimension { document: String, item: usize, expected: usize, received: usize },
    Vector { document: String, item: usize, reason: String },
    Corrupt { what: String, detail: String },
    Io { what: String, source: std::io::Error },
    Catalog { what: String, source: String },
    Index(bilin_index::IndexError),
    Cancelled,
}
