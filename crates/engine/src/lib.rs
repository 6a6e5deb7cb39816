//! The use cases of bilin: add, search, look up, maintain. The embeddable API; blocking, thread safe.
//!
//! The one place where encoders, ingest and store meet. One [`Error`] with kind, context and hint leaves this crate.
//! Nothing above [`VectorStore`] may assume files: the embedded store is one implementation of it.

#![allow(missing_docs, dead_code, unused, clippy::todo)] // skeleton only
// CONTRACT SKELETON: the shapes below are agreed between the crates. Bodies move into modules.
pub mod bench;
pub mod npy;
pub use bilin_encode::{Modality, ModelCard, Picture, PictureLimits, Prompt};
pub use bilin_index::{Effort, IndexSpec, Metric};
pub use bilin_ingest::{Problem, Split};
pub use bilin_store::{Applied, Filter, Generation, Kind, Metadata, Settings, Status};
use std::path::PathBuf;

/// How an engine runs. All limits have defaults.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub data: PathBuf,
    pub threads: usize,
    pub picture_limits: PictureLimits,
    pub max_file_bytes: u64,
    pub max_query_chars: usize, // 8 000
    pub max_top_k: usize,       // 1 000
    pub default_text_model: String,
    pub default_image_model: String,
    pub target_recall: f32, // 0.95
}
/// The whole of bilin over one data folder.
pub struct Engine {}
impl Engine {
    /// Locks and opens the data folder and every collection in it. A collection that cannot be opened is reported by
    /// `health()` and does not stop the others.
    pub fn open(_config: EngineConfig) -> Result<Engine, Error> {
        todo!()
    }
    pub fn config(&self) -> &EngineConfig {
        todo!()
    }
    pub fn collections(&self) -> Vec<CollectionInfo> {
        todo!()
    }
    pub fn collection(&self, _name: &str) -> Result<CollectionInfo, Error> {
        todo!()
    }
    pub fn create(&self, _name: &str, _new: &NewCollection) -> Result<CollectionInfo, Error> {
        todo!()
    }
    pub fn remove(&self, _name: &str) -> Result<(), Error> {
        todo!()
    }
    /// Walks, reads, encodes and commits in batches; creates the collection when missing (kind from the files found).
    pub fn add_paths(
        &self,
        _collection: &str,
        _paths: &[PathBuf],
        _options: &AddOptions,
        _progress: &dyn AddProgress,
    ) -> Result<AddReport, Error> {
        todo!()
    }
    /// Adds or replaces documents by id; durable when it returns.
    pub fn add_documents(&self, _collection: &str, _documents: Vec<NewDocument>) -> Result<Added, Error> {
        todo!()
    }
    pub fn delete_documents(&self, _collection: &str, _ids: &[String]) -> Result<Applied, Error> {
        todo!()
    }
    pub fn delete_where(&self, _collection: &str, _filter: &Filter) -> Result<Applied, Error> {
        todo!()
    }
    pub fn document(&self, _collection: &str, _id: &str) -> Result<Option<FoundDocument>, Error> {
        todo!()
    }
    pub fn thumbnail(&self, _collection: &str, _id: &str) -> Result<Option<Vec<u8>>, Error> {
        todo!()
    }
    pub fn search(&self, _collection: &str, _query: &Query) -> Result<Answer, Error> {
        todo!()
    }
    /// Vectors of texts, `[n, dim]`.
    pub fn encode_texts(
        &self,
        _model: Option<&str>,
        _texts: &[String],
        _prompt: Prompt,
    ) -> Result<(Vec<f32>, usize), Error> {
        todo!()
    }
    pub fn maintain(&self, _collection: &str, _force: bool) -> Result<String, Error> {
        todo!()
    }
    pub fn health(&self) -> Health {
        todo!()
    }
    pub fn models(&self) -> Vec<ModelCard> {
        todo!()
    }
    /// The collection that `/text-search` / `/image-search` mean: the configured one, else the only one of that kind,
    /// else (several) the one named `default`, else an error that names them.
    pub fn default_collection(&self, _kind: Kind, _configured: Option<&str>) -> Result<String, Error> {
        todo!()
    }
}
#[derive(Clone, Debug, Default)]
pub struct NewCollection {
    pub kind: Option<Kind>,
    pub model: Option<String>,
    pub dim: Option<usize>,
    pub metric: Option<Metric>,
    pub index: Option<IndexSpec>,
    pub target_recall: Option<f32>,
}
#[derive(Clone, Debug)]
pub struct CollectionInfo {
    pub name: String,
    pub settings: Settings,
    pub status: Status,
    /// "ok" or "degraded"
    pub health: String,
}

#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    pub model: Option<String>,
    pub index: Option<IndexSpec>,
    pub metadata: Metadata,
    pub sync: bool,
    pub split: Split,
    pub kind: Option<Kind>,
}
/// Told of progress; the CLI draws it. Called from one thread.
pub trait AddProgress {
    fn event(&self, event: &AddEvent);
    /// true = stop after the current commit
    fn cancelled(&self) -> bool {
        false
    }
}
#[derive(Clone, Debug)]
pub enum AddEvent {
    Found { files: usize, bytes: u64 },
    File { source: String, items: usize },
    Committed { items: usize },
    Problem(Problem),
    Indexing { done: usize, total: usize },
}
#[derive(Clone, Debug, Default)]
pub struct AddReport {
    pub files_added: usize,
    pub files_changed: usize,
    pub files_unchanged: usize,
    pub files_removed: usize,
    pub passed_over: usize,
    pub items_added: usize,
    pub items_truncated: usize,
    pub problems: Vec<Problem>,
    pub seq: u64,
}

/// A document that came by API.
#[derive(Clone, Debug, Default)]
pub struct NewDocument {
    pub id: Option<String>,
    pub content: Option<DocumentContent>,
    pub metadata: Metadata,
}
#[derive(Clone, Debug)]
pub enum DocumentContent {
    Text(String),
    Picture(Vec<u8>),
    Vector(Vec<f32>),
}
#[derive(Clone, Debug)]
pub struct Added {
    pub seq: u64,
    pub added: usize,
    pub updated: usize,
    pub ids: Vec<String>,
    pub truncated: usize,
}
#[derive(Clone, Debug)]
pub struct FoundDocument {
    pub id: String,
    pub items: Vec<FoundItem>,
}
#[derive(Clone, Debug)]
pub struct FoundItem {
    pub ordinal: u32,
    pub text: Option<String>,
    pub metadata: Metadata,
    pub vector: Option<Vec<f32>>,
}

/// What to look for.
#[derive(Clone, Debug)]
pub enum Target {
    Text(String),
    Picture(Vec<u8>),
    Vector(Vec<f32>),
    /// an item already inside, by document id
    Like(String),
}
#[derive(Clone, Debug)]
pub struct Query {
    pub target: Target,
    pub top_k: usize,
    pub filter: Option<Filter>,
    pub effort: Option<usize>,
}
#[derive(Clone, Debug)]
pub struct Answer {
    pub results: Vec<Found>,
    pub timings: Timings,
    pub seq: u64,
}
#[derive(Clone, Debug)]
pub struct Found {
    pub rank: usize,
    pub id: String,
    pub ordinal: u32,
    /// cosine, inner product or squared L2, by the collection's metric
    pub score: f32,
    /// cosine similarity of query and item
    pub similarity: f32,
    /// squared L2 distance, as FAISS's IndexFlatL2 gives it
    pub l2_distance: f32,
    pub text: Option<String>,
    pub metadata: Metadata,
}
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    pub encode_ms: f64,
    pub search_ms: f64,
    pub fetch_ms: f64,
    pub total_ms: f64,
}
#[derive(Clone, Debug)]
pub struct Health {
    /// "healthy" or "degraded"
    pub status: String,
    pub collections: Vec<CollectionInfo>,
    pub broken: Vec<(String, String)>,
}

/// The one error that leaves the engine: what failed, why, what to do.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    /// lower case, no final stop
    pub message: String,
    pub hint: Option<String>,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
/// Decides HTTP status and exit code in one `match` in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    InvalidInput,
    TooLarge,
    NotFound,
    Conflict,
    Locked,
    Busy,
    Cancelled,
    Damaged,
    Io,
    Internal,
}
