//! What one commit changes, and the checks that come before anything is written.
//!
//! Invariant: a [`Checked`] batch can only fail for reasons of the disk. Its vectors are one flat `[items, dim]` f32
//! array, unit length under cosine, in the order of their items.
use std::collections::HashMap;

use bilin_index::Metric;

use crate::error::StoreError;
use crate::filter::Filter;
use crate::full_text::Terms;
use crate::settings::{Metadata, Settings};

/// Most items in one batch; a larger add is several commits.
pub const MAX_BATCH_ITEMS: usize = 1 << 20;
/// Longest document id or file path.
pub const MAX_ID_BYTES: usize = 8 << 10;
/// Longest text of one item.
pub const MAX_TEXT_BYTES: usize = 16 << 20;
/// Longest metadata of one item, as JSON.
pub const MAX_METADATA_BYTES: usize = 1 << 20;
/// Largest thumbnail.
pub const MAX_THUMBNAIL_BYTES: usize = 1 << 20;
/// Longest vectors of an item's sentences together.
pub const MAX_SENTENCES_BYTES: usize = 1 << 20;

/// Changes applied as one commit. Order: deletes, then upserts.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Document ids to delete; unknown ids are no errors.
    pub delete: Vec<String>,
    /// Documents of these files are deleted, and their stamps (a file that changed or went away).
    pub delete_files: Vec<String>,
    /// Documents of which an item satisfies one of these are deleted. Evaluated inside the commit, so that what others wrote
    /// meanwhile is judged as it is, not as it was.
    pub delete_where: Vec<Filter>,
    /// New documents; one whose id exists is replaced. Of two with the same id in one batch the later counts.
    pub upsert: Vec<NewDocument>,
    /// Files whose documents are in `upsert`: their stamps let the next add skip unchanged files.
    pub files: Vec<FileStamp>,
}

/// A document to add, or to put in the place of the one with the same id.
#[derive(Clone, Debug)]
pub struct NewDocument {
    /// The user's name for it, 1..=[`MAX_ID_BYTES`] bytes.
    pub id: String,
    /// Canonical path of the file it came from.
    pub file: Option<String>,
    /// Its passages, pictures or vectors, in order.
    pub items: Vec<NewItem>,
}

/// One searchable piece of a document.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// `dim` finite values.
    pub vector: Vec<f32>,
    /// The passage, when there is one.
    pub text: Option<String>,
    /// Its fields.
    pub metadata: Metadata,
    /// A small JPEG of a picture item, kept in the catalog in a table of its own.
    pub thumbnail: Option<Vec<u8>>,
    /// Vectors of the text's sentences as the caller writes them, kept in a table of their own; they go where the item goes.
    pub sentences: Option<Vec<u8>>,
}

/// What was read of a file: canonical path, length, modification time and content hash (blake3, hex).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Canonical path.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified_ns: i64,
    /// blake3 of the content, hexadecimal.
    pub hash: String,
}

/// What a commit did, in documents, comparing the state after it with the state before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Commit number; grows by one per commit that changed documents (stamps alone do not count).
    pub seq: u64,
    /// Documents that are new.
    pub added: usize,
    /// Documents that took the place of another.
    pub updated: usize,
    /// Documents that went away.
    pub deleted: usize,
}

/// A batch that passed every check.
pub(crate) struct Checked {
    pub batch: Batch,
    /// Metadata of each item as JSON, in item order.
    pub metadata: Vec<String>,
    /// `[items, dim]`.
    pub vectors: Vec<f32>,
    /// Terms of each item; empty where the collection has no full text.
    pub terms: Vec<Terms>,
}

impl Checked {
    /// Bytes of rows, texts and their terms, metadata, thumbnails and sentences.
    pub(crate) fn bytes(&self) -> u64 {
        let items = self.batch.upsert.iter().flat_map(|document| &document.items);
        let texts: usize = items
            .map(|item| {
                let blobs = [&item.thumbnail, &item.sentences].into_iter().flatten().map(Vec::len);
                item.text.as_ref().map_or(0, String::len) + blobs.sum::<usize>()
            })
            .sum();
        let metadata: usize = self.metadata.iter().map(String::len).sum();
        let terms: usize = self.terms.iter().map(|terms| terms.words.len() + terms.units.len()).sum();
        (size_of_val(self.vectors.as_slice()) + texts + metadata + terms) as u64
    }

    /// The text of each item, with its metadata as JSON, in order.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let items = self.batch.upsert.iter().flat_map(|document| &document.items);
        items.map(|item| item.text.as_deref()).zip(self.metadata.iter().map(String::as_str))
    }

    /// Metadata and terms of each item, in order.
    pub(crate) fn details(&self) -> impl Iterator<Item = (&String, Option<&Terms>)> {
        self.metadata.iter().zip(self.terms.iter().map(Some).chain(std::iter::repeat(None)))
    }
}

impl Batch {
    /// Checks everything that can be checked without the disk.
    pub(crate) fn check(mut self, settings: &Settings) -> Result<Checked, StoreError> {
        for id in self.delete.iter().chain(&self.delete_files) {
            check_size("id or path to delete", id.len(), 0, MAX_ID_BYTES)?;
        }
        for stamp in &self.files {
            check_size("path of a file stamp", stamp.path.len(), 1, MAX_ID_BYTES)?;
            check_size("hash of a file stamp", stamp.hash.len(), 0, MAX_ID_BYTES)?;
            let stored = i64::try_from(stamp.bytes).is_ok();
            if !stored {
                return Err(limit("bytes of a file stamp", "below 2^63", stamp.bytes));
            }
        }
        self.keep_last_of_each_id();
        let items: usize = self.upsert.iter().map(|document| document.items.len()).sum();
        if items > MAX_BATCH_ITEMS {
            return Err(limit("items in one batch", &format!("at most {MAX_BATCH_ITEMS}"), items));
        }
        let mut metadata = Vec::with_capacity(items);
        let mut vectors = Vec::with_capacity(items * settings.dim);
        for document in &self.upsert {
            check_size("document id", document.id.len(), 1, MAX_ID_BYTES)?;
            check_size("path of a document", document.file.as_ref().map_or(0, String::len), 0, MAX_ID_BYTES)?;
            for (position, item) in document.items.iter().enumerate() {
                let json = serde_json::Value::Object(item.metadata.clone()).to_string();
                let length = |blob: &Option<Vec<u8>>| blob.as_ref().map_or(0, Vec::len);
                check_size("text of an item", item.text.as_ref().map_or(0, String::len), 0, MAX_TEXT_BYTES)?;
                check_size("metadata of an item", json.len(), 0, MAX_METADATA_BYTES)?;
                check_size("thumbnail of an item", length(&item.thumbnail), 0, MAX_THUMBNAIL_BYTES)?;
                check_size("sentences of an item", length(&item.sentences), 0, MAX_SENTENCES_BYTES)?;
                metadata.push(json);
                push_vector(&mut vectors, &item.vector, settings).map_err(|fault| {
                    let document = document.id.clone();
                    match fault {
                        Fault::Dimension(received) => StoreError::Dimension {
                            document,
                            item: position,
                            expected: settings.dim,
                            received,
                        },
                        Fault::Value(reason) => StoreError::Vector { document, item: position, reason },
                    }
                })?;
            }
        }
        Ok(Checked { batch: self, metadata, vectors, terms: Vec::new() })
    }

    fn keep_last_of_each_id(&mut self) {
        let last: HashMap<String, usize> =
            self.upsert.iter().enumerate().map(|(at, document)| (document.id.clone(), at)).collect();
        if last.len() < self.upsert.len() {
            let mut at = 0;
            self.upsert.retain(|document| {
                at += 1;
                last.get(&document.id) == Some(&(at - 1))
            });
        }
    }
}

/// What is wrong with a vector.
pub(crate) enum Fault {
    /// It has this many dimensions.
    Dimension(usize),
    /// A value, or its length, cannot be used.
    Value(String),
}

/// Appends `vector` to `rows` in the form in which rows are stored and compared.
pub(crate) fn push_vector(rows: &mut Vec<f32>, vector: &[f32], settings: &Settings) -> Result<(), Fault> {
    if vector.len() != settings.dim {
        return Err(Fault::Dimension(vector.len()));
    }
    if let Some(column) = vector.iter().position(|value| !value.is_finite()) {
        return Err(Fault::Value(format!("value {} at position {column} is not finite", vector[column])));
    }
    if settings.metric != Metric::Cosine {
        rows.extend_from_slice(vector);
        return Ok(());
    }
    // In f64, where the squares of any finite f32 can neither overflow nor vanish.
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length == 0.0 {
        return Err(Fault::Value("the vector is all zeros, which has no direction for cosine".to_owned()));
    }
    rows.extend(vector.iter().map(|value| (f64::from(*value) / length) as f32));
    Ok(())
}

fn check_size(what: &str, received: usize, least: usize, most: usize) -> Result<(), StoreError> {
    if (least..=most).contains(&received) {
        return Ok(());
    }
    Err(limit(what, &format!("{least} to {most} bytes"), format!("{received} bytes")))
}

fn limit(what: &str, expected: &str, received: impl ToString) -> StoreError {
    StoreError::Limit { what: what.to_owned(), expected: expected.to_owned(), received: received.to_string() }
}
