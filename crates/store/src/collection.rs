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
use crate::generation::{self, LiveGeneration};
use crate::reserve::Reserve;
use crate::rows::{Layout, LogChange, Pending, RowStore};
use crate::settings::Settings;
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
    pub(crate) health: Mutex<Health>,
    /// Held only while a commit is written down a second time.
    witness: Mutex<Witness>,
    /// Room for deletes on a full disk; shared by the collections of a data folder.
    pub(crate) reserve: Option<Arc<Reserve>>,
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
    /// A backup has taken its place; readers that hold it go on.
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
            health: Mutex::new(Health {
                index: parts.index_warning,
                incident: parts.incident,
                ..Health::default()
            }),
            witness: Mutex::new(parts.witness),
            reserve: None,
            #[cfg(test)]
            forged: Mutex::default(),
            _lock: lock,
        }
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
        let checked = batch.check(&snapshot.settings)?;
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
        let before = std::mem::replace(
            &mut *self.newest.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(next),
        );
        // Dropped after the lock is free: it may be the last holder of maps and index files.
        drop(before);
        self.witness.lock().unwrap_or_else(PoisonError::into_inner).tell(seq, rows, items);
    }

    /// Changes the index policy; takes effect with the next [`Collection::maintain`].
    ///
    /// # Errors
    /// A recall out of bounds, or those of the catalog.
    pub fn set_index(&self, index: IndexSpec, target_recall: f32) -> Result<(), StoreError> {
        let mut settings = self.settings();
        settings.index = index;
        settings.target_recall = target_recall;
        settings.check()?;
        let writer = &mut *self.writer()?;
        let transaction = self.transaction(writer)?;
        catalog::set_settings(&transaction, &settings)
            .map_err(|source| catalog_error("write the settings", source))?;
        self.end(transaction)?;
        self.publish(|snapshot| snapshot.settings = Arc::new(settings));
        self.witness.lock().unwrap_or_else(PoisonError::into_inner).tell_of_settings();
        Ok(())
    }

    /// Searches of generation `number` are made with another effort from now on, also after a restart. Nothing changes when
    /// it is not the one in use; returns whether it is.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn set_effort(&self, number: u64, effort: Effort) -> Result<bool, StoreError> {
        let writer = &mut *self.writer()?;
        let in_use = self.snapshot().generation().is_some_and(|generation| generation.number == number);
        if in_use {
            let transaction = self.transaction(writer)?;
            catalog::set_effort(&transaction, number, &generation::effort_text(effort))
                .map_err(|source| catalog_error("write a search effort", source))?;
            self.end(transaction)?;
            self.publish(|snapshot| snapshot.effort = Some(effort));
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
        let writer = &mut *self.writer.lock().unwrap_or_else(PoisonError::into_inner);
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
fn advance(
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
    snapshot.seq = state.seq;
    snapshot.items = state.items;
    snapshot.documents = state.documents;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use bilin_index::Metric;

    use super::*;
    use crate::batch::{NewDocument, NewItem};
    use crate::dir::faulty::{Fault, FaultyDisk};
    use crate::opening;
    use crate::rows::LogLimits;
    use crate::settings::Kind;

    fn batch(id: &str, value: f32) -> Batch {
        let item =
            NewItem { vector: vec![value; 4], text: None, metadata: Default::default(), thumbnail: None };
        let document = NewDocument { id: id.to_owned(), file: None, items: vec![item] };
        Batch { upsert: vec![document], ..Batch::default() }
    }

    /// Every commit syncs its rows: the log holds nothing.
    const NO_LOG: LogLimits = LogLimits { commit_bytes: 0, bytes: 0, entries: 0 };

    /// What a machine that stops now would find when it starts again, had the disk kept everything.
    fn copied(collection: &Collection) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["", VECTORS, crate::generation::FOLDER] {
            let (from, to) = (collection.folder.join(name), folder.path().join("notes").join(name));
            std::fs::create_dir_all(&to).expect("a folder");
            for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
                if entry.path().is_file() && !entry.path().ends_with("catalog.sqlite-shm") {
                    std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
                }
            }
        }
        folder
    }

    fn reopened(folder: &Path, disk: Arc<dyn Disk>) -> Collection {
        opening::open("notes", &folder.join("notes"), disk, None).expect("reopened")
    }

    /// A collection with one document, "a", on a disk that can be told to fail.
    fn collection(folder: &Path) -> (Collection, Arc<FaultyDisk>) {
        let disk = Arc::new(FaultyDisk::default());
        let settings = Settings {
            kind: Kind::Vector,
            model: None,
            dim: 4,
            metric: Metric::L2,
            index: IndexSpec::FLAT,
            target_recall: 0.95,
        };
        let folder = folder.join("notes");
        opening::create(&*disk, &folder, &settings, 4).expect("a new collection");
        let collection = opening::open("notes", &folder, Arc::clone(&disk) as Arc<dyn Disk>, None)
            .expect("an open collection");
        collection.apply(batch("a", 1.0)).expect("a first commit");
        (collection, disk)
    }

    #[test]
    fn a_full_disk_changes_nothing_and_writes_return_by_themselves() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, disk) = collection(folder.path());
        for fault in [Fault::Write, Fault::Grow] {
            disk.fail(fault);
            // Five rows: a new segment, too, so that there is something to grow.
            let mut large = batch("b", 2.0);
            let item = large.upsert[0].items[0].clone();
            large.upsert[0].items = vec![item; 5];
            let error = collection.apply(large).expect_err("the disk is full");
            assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
            disk.heal();
            assert_eq!((collection.snapshot().seq(), collection.snapshot().count()), (1, 1));
        }
        assert_eq!(collection.apply(batch("b", 3.0)).expect("there is room again").seq, 2);
        assert_eq!(collection.snapshot().vector(1), [3.0; 4]);
        collection.verify(true).expect("checksums of what was committed");
    }

    #[test]
    fn after_a_failed_fsync_no_write_is_accepted_until_reopened() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, disk) = collection(folder.path());
        collection.limit_log(NO_LOG);
        disk.fail(Fault::Sync);
        assert!(matches!(collection.apply(batch("b", 2.0)), Err(StoreError::Io { .. })));
        disk.heal();
        for _ in 0..2 {
            let error = collection.apply(batch("c", 3.0)).expect_err("writes stopped");
            assert!(matches!(error, StoreError::WritesStopped { .. }), "{error}");
        }
        assert_eq!(collection.snapshot().count(), 1);
        assert_eq!(collection.status().warnings.len(), 1);
        drop(collection);
        let disk: Arc<dyn Disk> = disk;
        let collection = opening::open("notes", &folder.path().join("notes"), disk, None).expect("reopened");
        assert_eq!(collection.apply(batch("c", 3.0)).expect("writes go on").seq, 2);
        assert_eq!(collection.snapshot().vector(1), [3.0; 4]);
    }

    #[test]
    fn small_commits_need_no_fsync_of_rows_and_survive_one_that_fails_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, disk) = collection(folder.path());
        collection.limit_log(LogLimits { commit_bytes: 16, bytes: 1 << 20, entries: 6 });
        disk.fail(Fault::Sync);
        for number in 2..7 {
            collection.apply(batch(&number.to_string(), number as f32)).expect("durable by the log");
        }
        assert_eq!(disk.calls.load(Ordering::Relaxed), 0);
        let error =
            collection.apply(batch("late", 7.0)).expect_err("the log is full, the segment cannot be synced");
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        let error = collection.apply(batch("late", 7.0)).expect_err("writes stopped");
        assert!(matches!(error, StoreError::WritesStopped { .. }), "{error}");
        drop(collection);
        disk.heal();
        let collection = reopened(folder.path(), disk);
        for row in 0..6 {
            assert_eq!(collection.snapshot().vector(row), [row as f32 + 1.0; 4]);
        }
        assert_eq!(collection.apply(batch("late", 7.0)).expect("writes go on").seq, 7);
        collection.verify(true).expect("all as it was");
    }

    #[test]
    fn rows_that_never_reached_their_segments_come_back_from_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, disk) = collection(folder.path());
        for number in 2..11 {
            collection.apply(batch(&number.to_string(), number as f32)).expect("a commit");
        }
        type Damage = fn(&Path);
        let damages: [Damage; 4] = [
            |_| {},
            |vectors| std::fs::remove_dir_all(vectors).expect("removed"),
            |vectors| {
                for number in 0..3 {
                    std::fs::write(vectors.join(format!("00000{number}.rows")), [0; 5000]).expect("zeros");
                }
            },
            |vectors| std::fs::write(vectors.join("000002.rows"), []).expect("empty"),
        ];
        for damage in damages {
            let image = copied(&collection);
            damage(&image.path().join("notes").join(VECTORS));
            // The first close clears the log, so the second time the segments speak for themselves.
            for _ in 0..2 {
                let again = reopened(image.path(), Arc::new(crate::dir::OsDisk));
                again.verify(true).expect("all is there");
                for row in 0..10 {
                    assert_eq!(again.snapshot().vector(row), [row as f32 + 1.0; 4]);
                }
            }
            let again = reopened(image.path(), Arc::new(crate::dir::OsDisk));
            again.apply(batch("more", 11.0)).expect("a commit");
            drop(again);
            let again = reopened(image.path(), Arc::new(crate::dir::OsDisk));
            assert_eq!(again.snapshot().vector(10), [11.0; 4]);
        }
        drop(disk);
    }

    #[test]
    fn a_backup_holds_rows_in_its_segments_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, _) = collection(folder.path());
        for stopped in [None, Some("a test".to_owned())] {
            collection.apply(batch("b", 2.0)).expect("a commit");
            // Then the log cannot be emptied before it is copied.
            collection.health().writes_stopped = stopped;
            let backup = crate::backup::take(&collection, &*collection.disk, &folder.path().join("backups"))
                .expect("a backup");
            let copy = Connection::open(backup.path.join(catalog::FILE_NAME)).expect("a catalog");
            assert!(catalog::row_log(&copy).expect("read").is_empty());
        }
        assert_eq!(collection.snapshot().seq(), 3);
    }

    #[test]
    fn what_was_synced_is_checked_and_not_taken_from_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, _) = collection(folder.path());
        collection.apply(batch("b", 2.0)).expect("a commit");
        collection.settle().expect("synced");
        assert!(
            catalog::row_log(collection.writer().expect("a writer").connection.as_ref().expect("open"))
                .expect("read")
                .is_empty()
        );
        collection.apply(batch("c", 3.0)).expect("a commit");
        let image = copied(&collection);
        let segment = image.path().join("notes").join(VECTORS).join("000000.rows");
        std::fs::write(&segment, &std::fs::read(&segment).expect("read")[..4096 + 31]).expect("cut");
        let error = opening::open("notes", &image.path().join("notes"), Arc::new(crate::dir::OsDisk), None)
            .err()
            .expect("damage");
        assert!(error.to_string().contains("expected at least 4128 bytes, found 4127"), "{error}");
    }

    #[test]
    fn a_commit_whose_fate_is_open_is_there_or_not_but_never_half() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, disk) = collection(folder.path());
        collection.limit_log(NO_LOG);
        // The commit is on the disk, but SQLite's answer says that its fsync failed.
        let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        *collection.forged.lock().expect("free") = Some(rusqlite::Error::SqliteFailure(failed, None));
        let error = collection.apply(batch("b", 2.0)).expect_err("nobody knows");
        assert!(matches!(error, StoreError::Catalog { .. }), "{error}");
        assert!(matches!(collection.apply(batch("c", 3.0)), Err(StoreError::WritesStopped { .. })));
        assert_eq!(collection.snapshot().count(), 1);
        drop(collection);
        let collection = reopened(folder.path(), disk);
        assert_eq!(collection.snapshot().vector(1), [2.0; 4]);
        collection.verify(true).expect("rows and catalog agree");
        // That the disk was full is a certain answer; that the commit is there all the same is none.
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        *collection.forged.lock().expect("free") = Some(rusqlite::Error::SqliteFailure(full, None));
        collection.apply(batch("c", 3.0)).expect_err("contradicted by the catalog");
        assert!(matches!(collection.apply(batch("d", 4.0)), Err(StoreError::WritesStopped { .. })));
    }

    #[test]
    fn a_map_that_fails_leaves_the_commit_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, disk) = collection(folder.path());
        let mut many = batch("b", 2.0);
        let item = many.upsert[0].items[0].clone();
        many.upsert[0].items = vec![item; 9];
        disk.fail(Fault::Map);
        collection.apply(many.clone()).expect_err("no map to be had");
        disk.heal();
        assert_eq!(collection.snapshot().count(), 1);
        assert!(disk.calls.load(Ordering::Relaxed) > 0);
        assert_eq!(collection.apply(many).expect("maps are back").seq, 2);
        assert_eq!(collection.snapshot().vector(9), [2.0; 4]);
    }

    #[test]
    fn without_room_nothing_is_compacted_and_both_figures_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collection, disk) = collection(folder.path());
        for id in ["b", "c", "d", "e", "f"] {
            collection.apply(batch(id, 2.0)).expect("written");
        }
        let delete = vec!["a".to_owned(), "c".to_owned(), "d".to_owned()];
        collection.apply(Batch { delete, ..Batch::default() }).expect("deleted");
        let before = (collection.snapshot().seq(), collection.status().disk_bytes);
        *disk.free_bytes.lock().expect("a figure") = Some(1000);
        let options = crate::CompactOptions { force: true, progress: None };
        let error = collection.compact(&options).expect_err("no room").to_string();
        assert!(error.contains("4194304 bytes needed, 1000 bytes free"), "{error}");
        assert_eq!((collection.snapshot().seq(), collection.status().disk_bytes), before);
        *disk.free_bytes.lock().expect("a figure") = None;
        let compacted = collection.compact(&options).expect("there is room");
        assert_eq!((compacted.segments_dropped, compacted.rows_moved), (1, 1), "{}", compacted.reason);
        assert_eq!(collection.snapshot().count(), 3);
        collection.verify(true).expect("checksums of what was moved");
    }
}
