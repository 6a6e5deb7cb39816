//! [`Collection::merge_from`]: everything another collection of the same vector space holds, as one commit.
//!
//! The source is read at one commit of its own, through a read transaction and a held view, so that texts, rows and file
//! stamps are of that commit; its readers and writers go on. Rows are streamed behind the committed ones and are bits of the
//! source's; items go into one transaction. So after a crash the target holds all of the source or nothing of it. Readers
//! of the target wait for nothing, its writers for the merge.
use bilin_index::RowChunks;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::batch::{Applied, NewDocument, NewItem};
use crate::catalog::{self, FileRule, MergePlan, MovedDocument, State};
use crate::collection::{Collection, Writer, advance, keep_log};
use crate::error::{StoreError, catalog_error};
use crate::rows::{Pending, RowStore};
use crate::settings::Settings;
use crate::snapshot::Snapshot;

/// Values of rows that are gathered before they are written (4 MiB).
const BUFFER_VALUES: usize = 1 << 20;
/// Ids that an error names.
const NAMED_CLASHES: usize = 5;
/// Items are in the write-ahead log and in the catalog; and what every step may need.
const CATALOG_COPIES: u64 = 2;
const SPARE_BYTES: u64 = 16 << 20;
/// How often the source's newest commit is asked for again when it moves on just then.
const TRIES: usize = 1000;

/// What happens to a document whose id, or whose file, is in both collections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clash {
    /// Nothing is merged.
    #[default]
    Fail,
    /// The target's stays.
    Keep,
    /// The source's takes its place.
    Replace,
}

/// What a merge did, in documents of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// What the commit changed, and its number.
    pub applied: Applied,
    /// Documents of the source that were left out because the target has them.
    pub kept: usize,
    /// Items that came with the documents.
    pub items: usize,
}

impl Collection {
    /// Takes in all documents of `source` with their texts, metadata, thumbnails, rows and file stamps, as one commit. The
    /// source stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Spaces`] naming what differs, [`StoreError::Clash`] naming some of the ids under [`Clash::Fail`],
    /// [`StoreError::NoSpace`] before anything is written, [`StoreError::Limit`]; those of the disk. Nothing changed then.
    pub fn merge_from(&self, source: &Collection, clash: Clash) -> Result<Merged, StoreError> {
        if std::ptr::eq(self, source) || self.folder == source.folder {
            return Err(StoreError::Limit {
                what: format!("source of a merge into collection {:?}", self.name),
                expected: "another collection".to_owned(),
                received: "the same one".to_owned(),
            });
        }
        self.same_space(&source.name, &source.settings())?;
        source.pool.read_checked("read it for a merge", |from| {
            let from = from.unchecked_transaction().map_err(|error| catalog_error("begin to read", error))?;
            let snapshot = source.snapshot_of(&from)?;
            self.room(needed(&from, &snapshot)?)?;
            let writer = &mut *self.writer()?;
            self.merge(writer, &from, &snapshot, clash).map_err(|error| self.undo(writer, error))
        })
    }

    /// Refuses a collection whose vectors cannot be compared with ours.
    ///
    /// # Errors
    /// [`StoreError::Spaces`] naming each setting that differs, with both values.
    pub fn same_space(&self, name: &str, theirs: &Settings) -> Result<(), StoreError> {
        let ours = self.settings();
        let model = |settings: &Settings| match &settings.model {
            None => "none".to_owned(),
            Some(model) => format!("{} (revision {}, space {})", model.id, model.revision, model.space),
        };
        let headings = |settings: &Settings| match &settings.model {
            Some(model) if model.reading.headings => "encoded with their texts",
            _ => "not encoded",
        };
        let figures = |settings: &Settings| {
            [
                ("kind", format!("{:?}", settings.kind).to_lowercase()),
                ("model", model(settings)),
                ("dimension", settings.dim.to_string()),
                ("metric", settings.metric.to_string()),
                ("headings", headings(settings).to_owned()),
            ]
        };
        let pairs = figures(&ours).into_iter().zip(figures(theirs));
        let differ: Vec<String> = pairs
            .filter(|(ours, theirs)| ours != theirs)
            .map(|((what, ours), (_, theirs))| {
                format!("{what} {ours} in {:?}, {theirs} in {name:?}", self.name)
            })
            .collect();
        if differ.is_empty() { Ok(()) } else { Err(StoreError::Spaces { differ: differ.join("; ") }) }
    }

    /// The view of the commit that a read transaction sees.
    fn snapshot_of(&self, from: &Transaction<'_>) -> Result<std::sync::Arc<Snapshot>, StoreError> {
        let failed = |source| catalog_error("read the newest commit", source);
        for _ in 0..TRIES {
            let seq = catalog::state(from).map_err(failed)?.seq;
            let snapshot = self.snapshot();
            if snapshot.seq == seq {
                return Ok(snapshot);
            }
            // A commit came between, or is not published yet: look anew.
            from.execute_batch("ROLLBACK; BEGIN").map_err(failed)?;
            std::thread::yield_now();
        }
        Err(StoreError::Catalog {
            what: "read it for a merge".to_owned(),
            detail: format!("the newest commit changed {TRIES} times meanwhile"),
        })
    }

    fn merge(
        &self,
        writer: &mut Writer,
        from: &Connection,
        source: &Snapshot,
        clash: Clash,
    ) -> Result<Merged, StoreError> {
        let Writer { connection, rows, state } = writer;
        let connection = connection.as_mut().ok_or_else(|| self.gone())?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| catalog_error("begin a merge", error))?;
        if clash == Clash::Fail {
            let (count, examples) = catalog::clashes(from, source.seq, &transaction, NAMED_CLASHES)
                .map_err(|error| catalog_error("compare ids", error))?;
            if count > 0 {
                return Err(StoreError::Clash { count, examples });
            }
        }
        self.claim_full_text(&transaction, state.rows)?;
        let rule = if clash == Clash::Replace { FileRule::Replace } else { FileRule::Keep };
        let seq = state.seq + 1;
        let mut plan = MergePlan::new(rule, seq, state.rows);
        let mut stream = Stream { pending: rows.write(&[])?, rows, values: Vec::new() };
        let mut kept = 0;
        let numbers = catalog::documents_at(from, source.seq)
            .map_err(|error| catalog_error("list documents", error))?;
        for number in numbers {
            let failed = |error| catalog_error("merge a document", error);
            let document = catalog::document_to_move(from, number).map_err(failed)?;
            let (document, slots, metadata) = as_new(document);
            let texts = document.items.iter().map(|item| item.text.as_deref());
            let terms = self.terms_of(texts.zip(metadata.iter().map(String::as_str)));
            if !plan.take(&transaction, &document, &metadata, &terms).map_err(failed)? {
                kept += 1;
                continue;
            }
            stream.push(&source.rows, &slots)?;
            self.within_max_rows(plan.next_slot())?;
        }
        plan.take_stamps(from, &transaction).map_err(|error| catalog_error("merge file stamps", error))?;
        let (items, outcome) = (plan.next_slot() - state.rows, plan.finish());
        let Stream { mut pending, .. } = stream.end()?;
        let Applied { added, updated, deleted, .. } = outcome.applied;
        if added + updated + deleted == 0 {
            if outcome.stamps_changed {
                self.end(transaction)?;
            }
            return Ok(Merged { applied: Applied { seq: state.seq, ..outcome.applied }, kept, items: 0 });
        }
        rows.sync(&mut pending).map_err(|error| self.stop_writes(error))?;
        let chunks = rows.chunks(pending.rows)?;
        let next = State {
            seq,
            rows: pending.rows,
            documents: (state.documents + added).saturating_sub(deleted),
            items: (state.items + items).saturating_sub(outcome.deleted_slots.len()),
            mark: catalog::new_mark(),
        };
        keep_log(&transaction, rows.log_change(&pending), state.rows, &[])
            .and_then(|()| catalog::set_blocks(&transaction, &pending.blocks))
            .and_then(|()| catalog::set_state(&transaction, &next))
            .map_err(|error| catalog_error("write the merge", error))?;
        self.end(transaction)?;
        let first_new = state.rows;
        rows.publish(&pending);
        *state = next;
        self.publish(|snapshot| advance(snapshot, &next, first_new, &pending, &outcome, chunks));
        Ok(Merged { applied: Applied { seq, ..outcome.applied }, kept, items })
    }
}

/// Bytes that taking in a collection needs.
fn needed(from: &Connection, source: &Snapshot) -> Result<u64, StoreError> {
    let pages = catalog::pages(from).map_err(|error| catalog_error("ask for its size", error))?;
    let rows = source.items as u64 * (source.settings.dim * size_of::<f32>()) as u64;
    Ok(rows + CATALOG_COPIES * pages.all * pages.page_bytes + SPARE_BYTES)
}

/// Rows on their way behind the committed ones.
struct Stream<'a> {
    rows: &'a mut RowStore,
    pending: Pending,
    values: Vec<f32>,
}

impl Stream<'_> {
    fn push(&mut self, source: &RowChunks, slots: &[u32]) -> Result<(), StoreError> {
        for slot in slots {
            self.values.extend_from_slice(source.row(*slot));
            if self.values.len() >= BUFFER_VALUES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.rows.append(&mut self.pending, &self.values)?;
        self.values.clear();
        Ok(())
    }

    fn end(mut self) -> Result<Self, StoreError> {
        self.flush()?;
        Ok(self)
    }
}

/// A document as one to add, the slots of its rows, and its metadata as it is stored.
fn as_new(document: MovedDocument) -> (NewDocument, Vec<u32>, Vec<String>) {
    let (mut slots, mut metadata) = (Vec::new(), Vec::new());
    let mut items = Vec::with_capacity(document.items.len());
    for item in document.items {
        slots.push(item.slot);
        metadata.push(item.metadata);
        let (text, thumbnail, sentences) = (item.text, item.thumbnail, item.sentences);
        items.push(NewItem { vector: Vec::new(), text, metadata: Default::default(), thumbnail, sentences });
    }
    (NewDocument { id: document.id, file: document.file, items }, slots, metadata)
}
