//! What a use case needs of a collection, whoever keeps it.
//!
//! [`VectorStore`] is the line above which nothing may assume files, row numbers or bitmaps: items are named by an
//! [`ItemKey`] that means something only to the [`View`] that gave it. The embedded store ([`embedded`]) is one
//! implementation; a client of a distributed engine can be another.
//!
//! A [`View`] is one commit and never changes; taking one is cheap and waits for no writer.

pub(crate) mod embedded;

use crate::cancel::CancelToken;
use crate::error::Error;
use bilin_index::{Choice, IndexSpec};
use bilin_ingest::terms::Wanted;
use bilin_store::{
    Applied, Batch, BuildPolicy, Facets, FileStamp, Filter, Metadata, ModelRef, Settings, Status,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Names one item within one [`View`].
pub type ItemKey = u64;

/// One neighbour: an item and its internal distance (smaller is closer, as in `bilin_index`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// The item.
    pub key: ItemKey,
    /// Internal distance by the collection's metric.
    pub distance: f32,
}

/// An item with everything that is kept of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewItem {
    /// Its name in the view that gave it.
    pub key: ItemKey,
    /// The document that it belongs to.
    pub document: String,
    /// Position in its document, from 0.
    pub ordinal: u32,
    /// Displayed text; `None` for pictures and bare vectors.
    pub text: Option<String>,
    /// Fields of the item.
    pub metadata: Metadata,
    /// Its vector, as it is kept (unit length under the cosine metric).
    pub vector: Vec<f32>,
}

/// One nearest-neighbour request.
pub struct Nearest<'a> {
    /// The query, of the collection's dimension.
    pub vector: &'a [f32],
    /// How many items at most.
    pub k: usize,
    /// IVF: lists to visit; HNSW: candidates kept. `None` = as calibrated. An exact index ignores it.
    pub effort: Option<usize>,
    /// Only items whose metadata satisfies this.
    pub filter: Option<&'a Filter>,
    /// Items that may not be returned.
    pub exclude: &'a [ItemKey],
    /// Only these items; `None` = any.
    pub only: Option<&'a [ItemKey]>,
}

/// One request by words.
pub struct ByWords<'a> {
    /// Terms and phrases.
    pub wanted: &'a Wanted,
    /// How many items at most.
    pub limit: usize,
    /// Only items whose metadata satisfies this.
    pub filter: Option<&'a Filter>,
    /// Whether the answer is still wanted.
    pub token: &'a CancelToken,
}

/// What was found by words.
#[derive(Clone, Debug, Default)]
pub struct FoundWords {
    /// Items with BM25 (higher is better), best first.
    pub hits: Vec<(ItemKey, f32)>,
    /// How much each term that is there at all counts; units with their mark.
    pub weights: BTreeMap<String, f32>,
    /// The most that an item could score, terms that are nowhere included.
    pub most: f32,
    /// Terms that were too common to be counted.
    pub left_out: Vec<String>,
}

/// How indexes are built.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    /// Build even when nothing is due.
    pub force: bool,
    /// Threads of a build.
    pub threads: usize,
    /// Most bytes that an index which `auto` chooses may need to be served; `None` = as many as it takes.
    pub memory_bytes: Option<u64>,
    /// When one is due.
    pub policy: BuildPolicy,
}

/// What answers searches approximately: a generation, searched with an effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approximate {
    /// Number of the generation.
    pub generation: u64,
    /// When it was built, seconds since 1970; tells apart what a restored collection numbers alike.
    pub built_unix_s: i64,
    /// IVF: lists visited; HNSW: candidates kept.
    pub effort: usize,
}

/// A searchable set that can be changed by one commit at a time.
pub trait VectorStore: Send + Sync {
    /// The collection's name.
    fn name(&self) -> &str;
    /// Kind, model, dimension, metric, index.
    fn settings(&self) -> Settings;
    /// Applies a batch as one commit, durable when it returns.
    fn apply(&self, batch: Batch) -> Result<Applied, Error>;
    /// The newest commit.
    fn view(&self) -> Arc<dyn View>;
    /// The stamp of a file as it was added, if it was.
    fn file_stamp(&self, path: &str) -> Result<Option<FileStamp>, Error>;
    /// Canonical paths of the files that documents came from, below any of `roots`.
    fn files_below(&self, roots: &[PathBuf]) -> Result<Vec<String>, Error>;
    /// Which file a document came from (`None`: no such document; `Some(None)`: it came by API).
    fn document_file(&self, id: &str) -> Result<Option<Option<String>>, Error>;
    /// Brings the index up to date when that is due (or forced); returns what was done and why.
    /// `progress` gets rows done and rows in all, from any thread; `false` cancels.
    fn maintain(
        &self,
        upkeep: &Upkeep,
        progress: &(dyn Fn(usize, usize) -> bool + Sync),
    ) -> Result<String, Error>;
    /// What `auto` would build now, and why; `None` = the target recall of the settings. Changes nothing.
    fn choose_index(
        &self,
        target_recall: Option<f32>,
        upkeep: &Upkeep,
        progress: &(dyn Fn(usize, usize) -> bool + Sync),
    ) -> Result<Choice, Error>;
    /// Changes index and target recall; the next `maintain` acts on it.
    fn set_index(&self, index: IndexSpec, target_recall: f32) -> Result<(), Error>;
    /// Changes how the model reads texts, and with that the vector space, while there is nothing inside; else refused.
    fn set_model(&self, model: &ModelRef) -> Result<(), Error>;
    /// Counts, index, health.
    fn status(&self) -> Status;
}

/// One commit of a collection.
pub trait View: Send + Sync {
    /// The commit's number.
    fn seq(&self) -> u64;
    /// Names everything that searches of this view answer from, so that two views of one edition answer alike, in whatever
    /// process; `None` where that cannot be told, and nothing is kept then.
    fn edition(&self) -> Option<[u8; 32]>;
    /// Items in it.
    fn count(&self) -> usize;
    /// Every item, in the order in which they were added.
    fn keys(&self) -> Vec<ItemKey>;
    /// The nearest items, nearest first.
    fn nearest(&self, request: &Nearest<'_>) -> Result<Vec<Near>, Error>;
    /// As [`View::nearest`], comparing with every item; the effort does not matter.
    fn nearest_exactly(&self, request: &Nearest<'_>) -> Result<Vec<Near>, Error>;
    /// What answers [`View::nearest`]; `None` where that is exact.
    fn approximate(&self) -> Option<Approximate>;
    /// The items that fit best by the words of their texts.
    fn by_words(&self, request: &ByWords<'_>) -> Result<FoundWords, Error>;
    /// Items by key, in the order asked.
    fn items(&self, keys: &[ItemKey]) -> Result<Vec<ViewItem>, Error>;
    /// What the module `sentences` made of the items, in the order asked; `None` where there is nothing.
    fn sentences(&self, keys: &[ItemKey]) -> Result<Vec<Option<Vec<u8>>>, Error>;
    /// The vector of an item, as it is kept.
    fn vector(&self, key: ItemKey) -> Vec<f32>;
    /// The items of a document, in their order; empty when there is none.
    fn document(&self, id: &str) -> Result<Vec<ViewItem>, Error>;
    /// The `limit` most frequent values of a field among items that satisfy the filter.
    fn facets(&self, field: &str, filter: Option<&Filter>, limit: usize) -> Result<Facets, Error>;
    /// The small JPEG of a document's first item.
    fn thumbnail(&self, id: &str) -> Result<Option<Vec<u8>>, Error>;
}
