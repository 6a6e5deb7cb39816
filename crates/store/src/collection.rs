//! One collection: the writer's side of it, and the place where readers get their snapshots.
//!
//! The commit point: rows are written, then documents, items, metadata, block checksums and the new row count go into one
//! SQLite transaction, then the new [`Snapshot`] is published. Many rows are fsynced before the transaction; few are part of
//! it (the row log) and are fsynced later, so that a small commit costs one fsync. Invariants: one writer at a time; the published
//! snapshot is always a commit that the catalog holds; after a failed fsync (of rows or of the catalog) what the disk holds
//! is uncertain, so no write is accepted until the collection is opened anew (Rebello et al., "Can Applications Recover
//! from fsync Failures?", USENIX ATC 2020).
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bilin_index::{Effort, IndexSpec, MAX_ROWS};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::batch::{Applied, Batch, Checked, FileStamp};
use crate::catalog::{self, Outcome, ReadPool, State};
use crate::dir::Disk;
use crate::error::{StoreError, catalog_error};
use crate::full_text::{Analyzer, PlainAnalyzer};
use crate::generation::{self, LiveGeneration};
use crate::reserve::Reserve;
use crate::rows::{Layout, LogChange, Pending, RowStore};
use crate::settings::{Reading, Settings};
use crate::snapshot::Snapshot;
use crate::views::Views;
use crate::witness::Witness;

/// Folder of the row segments inside a collection's folder.
pub(crate) const VECTORS: &str = "vectors";

/// One searchable set.
pub struct Collection {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) pool: Arc<ReadPool>,
    writer: Mutex<Writer>,
    pub(crate) views: Views,
    /// Held by those who read row segments as an older catalog tells of them; files go away only when nobody does.
    pub(crate) segment_files: RwLock<()>,
    /// Held only while an `Arc` is copied or replaced.
    newest: RwLock<Arc<Snapshot>>,
    /// One build at a time.
    pub(crate) maintenance: Mutex<()>,
    /// One backup at a time.
    pub(crate) backups: Mutex<()>,
    /// One copy for replicas at a time.
    pub(crate) replicas: Mutex<()>,
    pub(crate) health: Mutex<Health>,
    /// Held only while a commit is written down a second time.
    witness: Mutex<Witness>,
    /// Room for deletes on a full disk; shared by the collections of a data folder.
    pub(crate) reserve: Option<Arc<Reserve>>,
    /// Cuts texts into terms, where the collection holds texts.
    pub(crate) analyzer: Arc<dyn Analyzer>,
    /// The answer to the next commit, whatever it did. For tests.
    #[cfg(test)]
    forged: Mutex<Option<rusqlite::Error>>,
    /// The data folder stays locked as long as one of its collections is open. Last, so that it is unlocked last.
    _lock: Option<Arc<File>>,
}

impl Drop for Collection {
    /// Readers go first, so that the writer is the last connection and SQLite folds the write-ahead log into the catalog.
    fn drop(&mut self) {
        self.pool.close_idle();
        match self.settle() {
            // Nothing to do, or nothing that may be done: the next open takes the rows from the log.
            Ok(())
            | Err(
                StoreError::UnknownCollection { .. }
                | StoreError::Replaced { .. }
                | StoreError::WritesStopped { .. },
            ) => {}
            Err(error) => {
                tracing::warn!(collection = self.name, %error, "the row log stays for the next open");
            }
        }
    }
}

/// What is not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Why writes stopped.
    pub writes_stopped: Option<String>,
    /// Why search is exact although an index was built.
    pub index: Option<String>,
    /// What happened to the collection, until acknowledged.
    pub incident: Option<String>,
    /// Its files are gone, as the user asked.
    pub removed: bool,
    /// A backup, or its successor, has taken its place; readers that hold it go on.
    pub replaced: bool,
}

/// What only the holder of the writer's lock touches.
pub(crate) struct Writer {
    /// `None` once the collection was removed.
    pub connection: Option<Connection>,
    pub rows: RowStore,
    pub state: State,
}

/// What [`crate::opening`] found.
pub(crate) struct Parts {
    pub connection: Connection,
    pub rows: RowStore,
    pub state: State,
    pub snapshot: Snapshot,
    pub views: Views,
    pub layout: Layout,
    pub index_warning: Option<String>,
    pub incident: Option<String>,
    pub witness: Witness,
}

impl Collection {
    pub(crate) fn new(
        name: &str,
        folder: &Path,
        disk: Arc<dyn Disk>,
        lock: Option<Arc<File>>,
        parts: Parts,
    ) -> Collection {
        Collection {
            name: name.to_owned(),
            folder: folder.to_owned(),
            disk,
            layout: parts.layout,
            pool: Arc::clone(&parts.snapshot.pool),
            views: parts.views,
            segment_files: RwLock::new(()),
            writer: Mutex::new(Writer {
                connection: Some(parts.connection),
                rows: parts.rows,
                state: parts.state,
            }),
            newest: RwLock::new(Arc::new(parts.snapshot)),
            maintenance: Mutex::new(()),
            backups: Mutex::new(()),
            replicas: Mutex::new(()),
            health: Mutex::new(Health {
                index: parts.index_warning,
                incident: parts.incident,
                ..Health::default()
            }),
            witness: Mutex::new(parts.witness),
            reserve: None,
            analyzer: Arc::new(PlainAnalyzer),
            #[cfg(test)]
            forged: Mutex::default(),
            _lock: lock,
        }
    }

    /// Its random id, hexadecimal, as manifests of its backups have it.
    pub(crate) fn id(&self) -> String {
        self.layout.collection.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Its name, which is also the name of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its settings, as of the newest commit.
    pub fn settings(&self) -> Settings {
        (*self.snapshot().settings).clone()
    }

    /// The newest commit. Cheap; never waits for a writer.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Durable when it returns, and visible to the next [`Collection::snapshot`]. A batch that changes nothing makes no
    /// commit; one that changes only file stamps is durable but keeps the commit number.
    ///
    /// # Errors
    /// Wrong dimensions, values that are not finite, zero vectors under cosine (all name document and item), sizes out of
    /// bounds, a full disk: nothing changed. After [`StoreError::Io`] from an fsync: [`StoreError::WritesStopped`] until
    /// the collection is opened anew.
    pub fn apply(&self, batch: Batch) -> Result<Applied, StoreError> {
        let snapshot = self.snapshot();
        let mut checked = batch.check(&snapshot.settings)?;
        // Cut before the writer's lock is taken.
        checked.terms = self.terms_of(checked.texts());
        let writer = &mut *self.writer()?;
        self.within_max_rows(writer.state.rows + checked.metadata.len())?;
        let Some(reserve) = &self.reserve else { return self.commit_or_undo(writer, &checked) };
        // What only deletes may use the room that is kept for it when the disk is full.
        let applied = if checked.batch.upsert.is_empty() {
            let mut tries = 0;
            reserve.help(|| {
                tries += 1;
                let applied = self.commit_or_undo(writer, &checked)?;
                // While there is room: with none the log could not be folded into a catalog that grows, and would grow itself.
                if let (true, Some(connection)) = (tries > 1, &writer.connection)
                    && let Err(error) = catalog::empty_wal(connection)
                {
                    tracing::warn!(collection = self.name, %error, "the write-ahead log stays on a full disk");
                }
                Ok(applied)
            })
        } else {
            self.commit_or_undo(writer, &checked)
        }?;
        reserve.fill();
        Ok(applied)
    }

    /// Either a commit, or nothing changed and the writer knows it, or no writes any more.
    pub(crate) fn commit_or_undo(
        &self,
        writer: &mut Writer,
        checked: &Checked,
    ) -> Result<Applied, StoreError> {
        self.commit(writer, checked).map_err(|error| self.undo(writer, error))
    }

    /// After a commit that failed: gives back the room of its rows, or, when its fate is open, stops writes.
    pub(crate) fn undo(&self, writer: &mut Writer, error: StoreError) -> StoreError {
        // A commit whose fate is open may need its rows at the next open: nothing is cut then.
        if self.health().writes_stopped.is_some() {
            return error;
        }
        let Writer { connection: Some(connection), rows, state } = writer else { return error };
        // Not taken from memory: that the catalog is at the commit before is what makes cutting rows right.
        match catalog::state(connection) {
            Ok(found) if found == *state => {
                rows.cut();
                error
            }
            found => {
                let detail = format!("after a failure ({error}) expected {state:?}, found {found:?}");
                self.stop_writes(StoreError::Catalog { what: "tell what was committed".to_owned(), detail })
            }
        }
    }

    pub(crate) fn within_max_rows(&self, rows: usize) -> Result<(), StoreError> {
        if rows <= MAX_ROWS {
            return Ok(());
        }
        Err(StoreError::Limit {
            what: "rows of a collection, deleted ones included".to_owned(),
            expected: format!("at most {MAX_ROWS}"),
            received: rows.to_string(),
        })
    }

    fn commit(&self, writer: &mut Writer, checked: &Checked) -> Result<Applied, StoreError> {
        let Writer { connection, rows, state } = writer;
        let connection = connection.as_mut().ok_or_else(|| self.gone())?;
        let mut pending = rows.write(&checked.vectors)?;
        if rows.must_sync(&pending) {
            rows.sync(&mut pending).map_err(|error| self.stop_writes(error))?;
        }
        let chunks = rows.chunks(pending.rows)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| catalog_error("begin a commit", source))?;
        let seq = state.seq + 1;
        if !checked.metadata.is_empty() {
            self.claim_full_text(&transaction, state.rows)?;
        }
        let outcome = catalog::apply(&transaction, checked, seq, state.rows)
            .map_err(|source| catalog_error("write documents", source))?;
        let Applied { added, updated, deleted, .. } = outcome.applied;
        if added + updated + deleted == 0 {
            if outcome.stamps_changed {
                self.end(transaction)?;
            }
            return Ok(Applied { seq: state.seq, ..outcome.applied });
        }
        let next = State {
            seq,
            rows: pending.rows,
            documents: (state.documents + added).saturating_sub(deleted),
            items: (state.items + checked.metadata.len()).saturating_sub(outcome.deleted_slots.len()),
            mark: catalog::new_mark(),
        };
        keep_log(&transaction, rows.log_change(&pending), state.rows, &checked.vectors)
            .and_then(|()| catalog::set_blocks(&transaction, &pending.blocks))
            .and_then(|()| catalog::set_state(&transaction, &next))
            .map_err(|source| catalog_error("write the commit", source))?;
        self.end(transaction)?;
        let first_new = state.rows;
        rows.publish(&pending);
        *state = next;
        self.publish(|snapshot| advance(snapshot, &next, first_new, &pending, &outcome, chunks));
        Ok(Applied { seq, ..outcome.applied })
    }

    /// Makes every row durable in its segment and clears the row log: before something relies on the segments alone.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        let writer = &mut *self.writer()?;
        if !writer.rows.is_logged() {
            return Ok(());
        }
        writer.rows.sync_committed().map_err(|error| self.stop_writes(error))?;
        let transaction = self.transaction(writer)?;
        catalog::clear_row_log(&transaction).map_err(|source| catalog_error("clear the row log", source))?;
        self.end(transaction)?;
        writer.rows.log_cleared();
        Ok(())
    }

    #[cfg(test)]
    fn forged(&self, committed: rusqlite::Result<()>) -> rusqlite::Result<()> {
        let forged = self.forged.lock().unwrap_or_else(PoisonError::into_inner).take();
        forged.map_or(committed, Err)
    }

    /// For tests that cannot write megabytes to fill the row log.
    #[cfg(test)]
    pub(crate) fn limit_log(&self, limits: crate::rows::LogLimits) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).rows.limits = limits;
    }

    /// Commits. When the answer leaves open whether the commit is on the disk, writes stop.
    pub(crate) fn end(&self, transaction: Transaction<'_>) -> Result<(), StoreError> {
        let committed = transaction.commit();
        #[cfg(test)]
        let committed = self.forged(committed);
        committed.map_err(|source| {
            let certain =
                matches!(source.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy));
            let error = catalog_error("commit", source);
            if certain { error } else { self.stop_writes(error) }
        })
    }

    /// Replaces the newest snapshot by a changed copy. Only the holder of the writer's lock calls it.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut next = (*self.snapshot()).clone();
        change(&mut next);
        let (seq, rows, items) = (next.seq, next.rows.len(), next.items);
        next._view = self.views.hold(next.seq);
        next.edition = next.edition_of(&self.layout.collection);
        let before = std::mem::replace(
            &mut *self.newest.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(next),
        );
        // Dropped after the lock is free: it may be the last holder of maps and index files.
        drop(before);
        self.witness.lock().unwrap_or_else(PoisonError::into_inner).tell(seq, rows, items);
    }

    /// Changes how the model reads texts, and with that the vector space, while there is nothing inside.
    ///
    /// # Errors
    /// [`StoreError::Setting`] when there are items, or no model; those of the catalog.
    pub fn set_reading(&self, space: &str, reading: &Reading) -> Result<(), StoreError> {
        let writer = &mut *self.writer()?;
        let snapshot = self.snapshot();
        let mut settings = self.settings();
        let refused = |received: String| StoreError::Setting {
            name: "prompts",
            expected: "a collection with a model and without items".to_owned(),
            received,
        };
        let Some(model) = &mut settings.model else { return Err(refused("one without a model".to_owned())) };
        if snapshot.items > 0 {
            return Err(refused(format!("one of {} items", snapshot.items)));
        }
        (model.space, model.reading) = (space.to_owned(), reading.clone());
        settings.check()?;
        self.write_settings(writer, settings)
    }

    /// Writes settings that are checked; readers have them with the next snapshot.
    fn write_settings(&self, writer: &mut Writer, settings: Settings) -> Result<(), StoreError> {
        let transaction = self.transaction(writer)?;
        catalog::set_settings(&transaction, &settings)
            .map_err(|source| catalog_error("write the settings", source))?;
        self.end(transaction)?;
        self.publish(|snapshot| snapshot.settings = Arc::new(settings));
        self.witness.lock().unwrap_or_else(PoisonError::into_inner).tell_of_settings();
        Ok(())
    }

    /// Changes the index policy; takes effect with the next [`Collection::maintain`].
    ///
    /// # Errors
    /// A recall out of bounds, or those of the catalog.
    pub fn set_index(&self, index: IndexSpec, target_recall: f32) -> Result<(), StoreError> {
        let writer = &mut *self.writer()?;
        let mut settings = self.settings();
        settings.index = index;
        settings.target_recall = target_recall;
        settings.check()?;
        self.write_settings(writer, settings)
    }

    /// Searches of generation `number` are made with another effort and refine depth from now on, also after a restart. Nothing
    /// changes when it is not the one in use; returns whether it is.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn set_effort(&self, number: u64, effort: Effort, refine: Option<usize>) -> Result<bool, StoreError> {
        let writer = &mut *self.writer()?;
        let in_use = self.snapshot().generation().is_some_and(|generation| generation.number == number);
        if in_use {
            let transaction = self.transaction(writer)?;
            catalog::set_effort(&transaction, number, &generation::effort_text((effort, refine)))
                .map_err(|source| catalog_error("write a search effort", source))?;
            self.end(transaction)?;
            self.publish(|snapshot| snapshot.effort = Some((effort, refine)));
        }
        Ok(in_use)
    }

    /// Keeps (or forgets) what happened to the collection.
    pub(crate) fn set_incident(&self, told: Option<String>) -> Result<(), StoreError> {
        self.write_setting("write down what happened", |transaction| {
            catalog::set_incident(transaction, told.as_deref())
        })?;
        self.health().incident = told;
        Ok(())
    }

    /// Something that is no commit of its own.
    pub(crate) fn write_setting(
        &self,
        what: &str,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let writer = &mut *self.writer()?;
        let transaction = self.transaction(writer)?;
        write(&transaction).map_err(|source| catalog_error(what, source))?;
        self.end(transaction)
    }

    /// Names a generation (or none) in the catalog and swaps it in; the file of the one before goes with its last reader.
    pub(crate) fn swap_generation(&self, generation: Option<LiveGeneration>) -> Result<(), StoreError> {
        if let Some(old) = self.set_generation(generation, "retired")? {
            old.retire();
        }
        Ok(())
    }

    /// Goes on without the index in use, whose file is in quarantine already.
    pub(crate) fn lose_generation(&self) -> Result<(), StoreError> {
        self.set_generation(None, "quarantined").map(drop)
    }

    /// Returns the one before.
    fn set_generation(
        &self,
        generation: Option<LiveGeneration>,
        state_of_old: &str,
    ) -> Result<Option<Arc<LiveGeneration>>, StoreError> {
        let writer = &mut *self.writer()?;
        let transaction = self.transaction(writer)?;
        let record = generation.as_ref().map(|generation| &generation.record);
        catalog::set_generation(&transaction, record, state_of_old)
            .map_err(|source| catalog_error("name a generation", source))?;
        self.end(transaction)?;
        let old = self.snapshot().generation.clone();
        self.publish(|snapshot| {
            snapshot.deleted_in_generation = generation.as_ref().map_or(0, |generation| {
                let record = &generation.record;
                let live = snapshot.live.count_range(0, record.generation.rows as u32);
                record.indexed.saturating_sub(live)
            });
            snapshot.generation = generation.map(Arc::new);
            snapshot.effort = None;
        });
        self.health().index = None;
        Ok(old)
    }

    /// The stamp of a file as it was added, if it was.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn file_stamp(&self, path: &str) -> Result<Option<FileStamp>, StoreError> {
        self.pool.read("read a file stamp", |connection| catalog::file_stamp(connection, path))
    }

    /// Canonical paths of the files that were added (their documents, or at least their stamps, are here), equal to or
    /// below any of `roots`; sorted, each once.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn files_below(&self, roots: &[PathBuf]) -> Result<Vec<String>, StoreError> {
        let mut files = Vec::new();
        // A root that is not UTF-8 has no stored path below it, since those are text.
        for root in roots.iter().filter_map(|root| root.to_str()) {
            let separator = std::path::MAIN_SEPARATOR;
            let prefix =
                if root.ends_with(separator) { root.to_owned() } else { format!("{root}{separator}") };
            files.extend(self.pool.read("list files", |connection| {
                catalog::files_below(connection, root.trim_end_matches(separator), &prefix)
            })?);
        }
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// Which file a document id came from (`None`: no such document; `Some(None)`: added by API).
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn document_file(&self, id: &str) -> Result<Option<Option<String>>, StoreError> {
        self.pool.read("read a document", |connection| catalog::document_file(connection, id))
    }

    /// Takes no writes any more, since what is here is damaged. Returns the last commit.
    pub(crate) fn refuse_writes(&self, damage: &StoreError) -> u64 {
        // The lock is waited for, so that a commit under way is told of and counted.
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.health().writes_stopped.get_or_insert_with(|| damage.to_string());
        writer.state.seq
    }

    /// Whether it was removed, or replaced by a backup, so that this object is of no use any more.
    pub fn is_closed(&self) -> bool {
        let health = self.health();
        health.removed || health.replaced
    }

    /// Ends all use of the files, before the folder is removed.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let writer = &mut *self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.health().removed = true;
        self.pool.close();
        self.disk.leave();
        match writer.connection.take() {
            Some(connection) => connection.close().map_err(|(_, source)| catalog_error("close it", source)),
            None => Err(self.gone()),
        }
    }

    /// Takes no writes any more and opens no file, before the folder moves and another collection takes its place. Readers
    /// go on: their rows are mapped and their catalog is open, wherever the folder moves. Builds and backups under way fail.
    pub(crate) fn set_aside(&self) -> Result<(), StoreError> {
        self.set_aside_by(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`Collection::set_aside`], by whoever holds the writer's lock.
    pub(crate) fn set_aside_by(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let Some(connection) = writer.connection.take() else { return Err(self.gone()) };
        self.health().replaced = true;
        if let Err(error) = self.pool.detach() {
            // A catalog that cannot be read keeps nobody from replacing it.
            tracing::warn!(collection = self.name, %error, "readers of the replaced collection lose its catalog");
            self.pool.close();
        }
        self.disk.leave();
        if let Err((_, error)) = connection.close() {
            tracing::warn!(collection = self.name, %error, "cannot close the catalog of the replaced collection");
        }
        Ok(())
    }

    pub(crate) fn transaction<'a>(&self, writer: &'a mut Writer) -> Result<Transaction<'a>, StoreError> {
        let connection = writer.connection.as_mut().ok_or_else(|| self.gone())?;
        connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| catalog_error("begin a commit", source))
    }

    /// The writer's lock, unless writes stopped.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        let writer = self.writer.lock().unwrap_or_else(|poisoned| {
            // A writer that panicked may have left rows and catalog apart.
            self.health().writes_stopped.get_or_insert_with(|| "a writer panicked".to_owned());
            poisoned.into_inner()
        });
        let health = self.health();
        if health.removed {
            return Err(self.gone());
        }
        if health.replaced {
            return Err(StoreError::Replaced { name: self.name.clone() });
        }
        match &health.writes_stopped {
            Some(reason) => {
                Err(StoreError::WritesStopped { name: self.name.clone(), reason: reason.clone() })
            }
            None => Ok(writer),
        }
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop_writes(&self, error: StoreError) -> StoreError {
        tracing::error!(collection = self.name, %error, "writes stopped until the collection is opened anew");
        self.health().writes_stopped.get_or_insert_with(|| error.to_string());
        error
    }

    pub(crate) fn gone(&self) -> StoreError {
        StoreError::UnknownCollection { name: self.name.clone(), known: Vec::new() }
    }
}

/// Does to the row log what a commit of `vectors`, from row `first_new` on, asks for.
pub(crate) fn keep_log(
    transaction: &Transaction<'_>,
    change: LogChange,
    first_new: usize,
    vectors: &[f32],
) -> rusqlite::Result<()> {
    if change.clear {
        catalog::clear_row_log(transaction)?;
    }
    if change.append {
        catalog::log_rows(transaction, first_new, bytemuck::cast_slice(vectors))?;
    }
    Ok(())
}

/// From one commit to the next.
pub(crate) fn advance(
    snapshot: &mut Snapshot,
    state: &State,
    first_new: usize,
    pending: &Pending,
    outcome: &Outcome,
    chunks: bilin_index::RowChunks,
) {
    let indexed = snapshot.generation.as_ref().map_or(0, |generation| generation.record.generation.rows);
    for slot in &outcome.deleted_slots {
        snapshot.live.remove(*slot);
        snapshot.deleted_in_generation += usize::from((*slot as usize) < indexed);
    }
    for slot in first_new..pending.rows {
        snapshot.live.insert(slot as u32);
    }
    snapshot.rows = chunks;
    (snapshot.seq, snapshot.mark) = (state.seq, state.mark);
    snapshot.items = state.items;
    snapshot.documents = state.documents;
}

#[cfg(test)]
mod tests;
