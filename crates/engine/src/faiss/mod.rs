//! Moving in from FAISS and out again: an index file and the list of metadata that its users keep beside it.
//!
//! Shapes of the list, one entry per vector: `{"text", "source", ..}` (every other field is metadata),
//! `{"text", "metadata": {..}}`, and for pictures `{"image_path", "product_id", ..}`. An export writes the second shape for
//! texts and vectors and the third for pictures, with the document's id as one more field, so that an import of it gives
//! the same documents again.
//!
//! Invariant of an import: everything that the files can be wrong about is checked before the first commit, so a refused
//! import changes nothing.

mod arrange;
mod export;
mod import;
mod metadata;

pub(crate) use export::export;
pub(crate) use import::import;

use bilin_index::{IndexSpec, Metric};
use bilin_store::Clash;
use std::path::PathBuf;

/// Name of the index file that an export writes.
pub const INDEX_FILE: &str = "faiss_index.index";
/// Name of the list that an export writes beside it.
pub const METADATA_FILE: &str = "metadata.json";

/// How to take in a FAISS index.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The list of metadata, JSON; `None` = vectors alone.
    pub metadata: Option<PathBuf>,
    /// The model that made the vectors; a new collection then holds what that model reads. `None` = bare vectors.
    pub model: Option<String>,
    /// How vectors are compared; `None` = as the file says: L2, or for inner products the cosine where every vector is of
    /// length one.
    pub metric: Option<Metric>,
    /// Index of a collection that is made now; `None` = auto.
    pub index: Option<IndexSpec>,
    /// Take vectors as they came out of transforms that cannot be undone.
    pub transformed: bool,
    /// What happens to documents that the collection has already; `None` = they are replaced, so that an import that was
    /// stopped can be run again.
    pub on_conflict: Option<Clash>,
}

/// What an import did.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the file is, in FAISS's words, such as `IDMap,Flat`.
    pub source: String,
    /// Vectors taken in, one item each.
    pub items: usize,
    /// Documents that were new.
    pub added: usize,
    /// Documents that replaced one of the same id.
    pub updated: usize,
    /// Documents of the index that were left out, since the collection has them.
    pub kept: usize,
    /// The newest commit.
    pub seq: u64,
    /// False when the file held codes, so that the vectors are approximations of what FAISS was given.
    pub is_exact: bool,
    /// How the collection compares vectors.
    pub metric: Metric,
    /// Values per vector.
    pub dim: usize,
    /// The collection was made by this import.
    pub created: bool,
}

/// Which ids an exported index answers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportIds {
    /// Positions in the list of metadata, as programs that say `metadata[i]` expect.
    #[default]
    Positions,
    /// The documents' own ids, which must be whole numbers.
    Documents,
}

/// How to write a FAISS index.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Which index to write.
    pub index: IndexSpec,
    /// Which ids it answers with.
    pub ids: ExportIds,
    /// Replace files that are there already.
    pub overwrite: bool,
}

impl Default for ExportOptions {
    fn default() -> Self {
        ExportOptions { index: IndexSpec::FLAT, ids: ExportIds::Positions, overwrite: false }
    }
}

/// What an export wrote.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The index file.
    pub index_path: PathBuf,
    /// Its length in bytes.
    pub index_bytes: u64,
    /// The list of metadata.
    pub metadata_path: PathBuf,
    /// Vectors in the one and entries in the other.
    pub items: usize,
    /// The index that was built.
    pub index: IndexSpec,
}
