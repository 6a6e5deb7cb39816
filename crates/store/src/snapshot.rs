//! A reader's view: one commit, for as long as it is held.
//!
//! Invariant: nothing in a [`Snapshot`] changes. Its rows are maps of bytes that are never rewritten, its set of live
//! slots is its own, its generation's file stays until the last holder is gone, and its catalog reads are bounded by its
//! commit number. So a search can never see half of a commit, and never waits for a writer.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bilin_index::{Effort, RowChunks, RowSet};

use crate::catalog::{self, ReadPool};
use crate::error::StoreError;
use crate::filter::Filter;
use crate::full_text::{KeptPostings, Lengths};
use crate::generation::{Generation, LiveGeneration, effort_text};
use crate::settings::{Metadata, Settings};
use crate::views::View;

/// An immutable view of one commit: rows, generation, tail, deletions.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) seq: u64,
    /// That of the commit; see [`catalog::State`].
    pub(crate) mark: u64,
    /// See [`Snapshot::edition`].
    pub(crate) edition: [u8; 32],
    pub(crate) settings: Arc<Settings>,
    pub(crate) rows: RowChunks,
    pub(crate) live: RowSet,
    pub(crate) items: usize,
    pub(crate) documents: usize,
    pub(crate) generation: Option<Arc<LiveGeneration>>,
    /// Search effort and refine depth that took the place of the generation's own, if some did.
    pub(crate) effort: Option<(Effort, Option<usize>)>,
    /// Rows that the generation holds and that were deleted since it was built.
    pub(crate) deleted_in_generation: usize,
    pub(crate) pool: Arc<ReadPool>,
    /// How many words each item has.
    pub(crate) lengths: Arc<Lengths>,
    /// What was read of the index of words for the newest commit.
    pub(crate) postings: Arc<KeptPostings>,
    /// How often, since the collection was opened, a live row was found to have no item.
    pub(crate) missing_items: Arc<AtomicU64>,
    /// Keeps the items of this commit from being taken away.
    pub(crate) _view: Arc<View>,
}

/// An item as it was added.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredItem {
    /// Its row number.
    pub slot: u32,
    /// Id of its document.
    pub document: String,
    /// Position in its document, from 0.
    pub ordinal: u32,
    /// The passage, when there is one.
    pub text: Option<String>,
    /// Its fields.
    pub metadata: Metadata,
}

/// How many items have each value of a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facets {
    /// Values (texts, numbers, true and false) with the number of items that have them, most frequent first.
    pub values: Vec<(serde_json::Value, usize)>,
    /// Items that have a value of the field that is not among these.
    pub others: usize,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Snapshot")
            .field("seq", &self.seq)
            .field("rows", &self.rows.len())
            .field("items", &self.items)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Number of the commit.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Names what searches of this view answer from: the collection itself (not its name), the commit, the index with its effort,
    /// the model. Two views of one edition answer alike, also in another process; a collection that was made anew, a backup that
    /// was restored and written to, and an index that was built since are other editions.
    pub fn edition(&self) -> [u8; 32] {
        self.edition
    }

    pub(crate) fn edition_of(&self, collection: &[u8; 16]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(collection);
        for number in [self.seq, self.mark] {
            hasher.update(&number.to_le_bytes());
        }
        if let (Some(generation), Some(effort)) = (self.generation(), self.effort()) {
            hasher.update(&generation.number.to_le_bytes());
            hasher.update(&generation.built_unix_s.to_le_bytes());
            hasher.update(effort_text((effort, self.refine())).as_bytes());
        }
        if let Some(model) = &self.settings.model {
            for name in [&model.id, &model.revision, &model.space] {
                hasher.update(&[0]);
                hasher.update(name.as_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// Settings at this commit.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Live items.
    pub fn count(&self) -> usize {
        self.items
    }

    /// Live documents.
    pub fn documents(&self) -> usize {
        self.documents
    }

    /// Slots of live items.
    pub fn live(&self) -> &RowSet {
        &self.live
    }

    /// Every row, deleted ones included.
    pub fn rows(&self) -> &RowChunks {
        &self.rows
    }

    /// The generation that answers for the rows it covers, when one was built.
    pub fn generation(&self) -> Option<&Generation> {
        self.generation.as_ref().map(|live| &live.record.generation)
    }

    /// The effort that searches of the generation are made with when none is asked for.
    pub fn effort(&self) -> Option<Effort> {
        let generation = self.generation.as_ref()?;
        Some(self.effort.map_or(generation.record.generation.effort, |(effort, _)| effort))
    }

    /// The refine depth that searches of the generation are made with; see [`Generation::refine`].
    pub fn refine(&self) -> Option<usize> {
        let generation = self.generation.as_ref()?;
        self.effort.map_or(generation.record.generation.refine, |(_, refine)| refine)
    }

    /// Items of these slots, in the order asked, as they were at this commit.
    ///
    /// # Errors
    /// [`StoreError::Limit`] for a slot that is not live at this commit.
    pub fn items(&self, slots: &[u32]) -> Result<Vec<StoredItem>, StoreError> {
        if let Some(slot) = slots.iter().find(|slot| !self.live.contains(**slot)) {
            return Err(StoreError::Limit {
                what: "slot".to_owned(),
                expected: format!("one that is live at commit {}", self.seq),
                received: slot.to_string(),
            });
        }
        let found: Vec<Option<StoredItem>> = self.pool.read("read items", |connection| {
            slots.iter().map(|slot| catalog::item(connection, self.seq, *slot)).collect()
        })?;
        let mut items = Vec::with_capacity(slots.len());
        for (item, slot) in found.into_iter().zip(slots) {
            items.push(item.ok_or_else(|| {
                self.missing_items.fetch_add(1, Ordering::Relaxed);
                StoreError::Corrupt {
                    what: "catalog.sqlite".to_owned(),
                    detail: format!("expected an item for slot {slot} at commit {}, found none", self.seq),
                }
            })?);
        }
        Ok(items)
    }

    /// Slots whose metadata satisfies the filter at this commit.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn select(&self, filter: &Filter) -> Result<RowSet, StoreError> {
        let (condition, parameters) = filter.to_sql();
        let slots = self.pool.read("evaluate a filter", |connection| {
            catalog::select(connection, self.seq, &condition, parameters)
        })?;
        Ok(slots.into_iter().collect())
    }

    /// The `limit` most frequent values of a field among items that satisfy the filter, at this commit.
    ///
    /// # Errors
    /// [`StoreError::Limit`] for a name that no field of a filter can have; those of the catalog.
    pub fn facets(&self, field: &str, filter: Option<&Filter>, limit: usize) -> Result<Facets, StoreError> {
        if field.is_empty() || field.contains(['"', '\\']) {
            return Err(StoreError::Limit {
                what: "field".to_owned(),
                expected: "a name without quotation marks and backslashes".to_owned(),
                received: format!("{field:?}"),
            });
        }
        let (condition, parameters) = filter.map_or_else(|| ("1".to_owned(), Vec::new()), Filter::to_sql);
        let path = format!("$.\"{field}\"");
        self.pool.read("count the values of a field", |connection| {
            catalog::facets(connection, self.seq, (&condition, parameters), &path, limit)
        })
    }

    /// The items of a document at this commit, in their order; empty when there is none.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn document(&self, id: &str) -> Result<Vec<StoredItem>, StoreError> {
        self.pool.read("read a document", |connection| catalog::document(connection, self.seq, id))
    }

    /// The small JPEG of a document's first item.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn thumbnail(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.pool.read("read a thumbnail", |connection| catalog::thumbnail(connection, self.seq, id))
    }

    /// Vectors of the sentences of the items in these slots, in the order asked, as they were given; `None` for items without.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn sentences(&self, slots: &[u32]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.pool.read("read vectors of sentences", |connection| {
            slots.iter().map(|slot| catalog::sentences(connection, *slot)).collect()
        })
    }

    /// The vector of a slot (unit length under cosine); empty for a slot behind the last row.
    pub fn vector(&self, slot: u32) -> &[f32] {
        if (slot as usize) < self.rows.len() { self.rows.row(slot) } else { &[] }
    }

    /// Rows behind the generation, searched exactly.
    pub(crate) fn tail_rows(&self) -> usize {
        self.rows.len() - self.generation.as_ref().map_or(0, |generation| generation.record.generation.rows)
    }
}
