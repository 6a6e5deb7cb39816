//! The steps of a compaction: each takes the writer's lock, does one bounded transaction, and lets go.
use std::sync::TryLockError;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::policy::{Figures, Segment};
use super::{Collection, Run};
use crate::batch::{Batch, Checked, NewDocument, NewItem};
use crate::catalog::{self, MovedDocument};
use crate::collection::{VECTORS, Writer, keep_log};
use crate::error::{StoreError, catalog_error, io_error};
use crate::rows::{self, Layout};
use crate::snapshot::Snapshot;

/// Room that any step may need for its pages in the write-ahead log, estimates included. No more than the reserve of a data
/// folder can give on a full disk, where compaction is the way to get room.
pub(super) const STEP_BYTES: u64 = 4 << 20;
/// With less room than this, a log of so many bytes is folded into the catalog before the next step.
const TIGHT_BYTES: u64 = 3 * STEP_BYTES;
const FOLDED_BYTES: u64 = 256 << 10;
/// A moved item is in the write-ahead log and in the catalog, and its old version is marked; with room for the indexes.
const CATALOG_COPIES: u64 = 4;
/// Items moved by one commit, and bytes of their texts and pictures; one document more than fits.
const MOVE_ITEMS: usize = 1024;
const MOVE_BYTES: usize = 4 << 20;
/// Items purged by one transaction.
const PURGE_ITEMS: usize = 256;
/// Catalog pages given back by one transaction.
const GIVE_BACK_PAGES: usize = 256;
/// Free pages that are left, since the next writes use them.
pub(super) const FREE_PAGES_LEFT: u64 = 64;
/// Between steps, so that a writer who waits gets the lock.
const BREATH: Duration = Duration::from_millis(1);

/// Bytes that moving one item takes, about.
pub(super) fn moved_bytes(figures: &Figures) -> u64 {
    figures.row_bytes + CATALOG_COPIES * figures.item_bytes
}

impl Run<'_> {
    /// Purges the items that no view can ask for.
    pub(super) fn purge(&mut self) -> Result<(), StoreError> {
        loop {
            self.go_on()?;
            self.collection.fold_when_tight()?;
            let purged = self.collection.purge_some()?;
            self.items_purged += purged;
            if purged < PURGE_ITEMS {
                break;
            }
            thread::sleep(BREATH);
        }
        self.collection.purge_empty_documents()
    }

    /// Moves the documents that have live items in a segment, whole.
    pub(super) fn empty(&mut self, segment: usize) -> Result<(), StoreError> {
        let mut slots = self.collection.layout.slots(segment);
        while !slots.is_empty() {
            self.go_on()?;
            self.collection.fold_when_tight()?;
            let (moved, next) = self.collection.move_some(&slots)?;
            self.rows_moved += moved;
            slots.start = next;
            thread::sleep(BREATH);
        }
        Ok(())
    }

    /// Drops every full segment that holds nothing any more.
    pub(super) fn drop_segments(&mut self) -> Result<(), StoreError> {
        let full = self.figures.rows_per_segment;
        let before = self.segments_dropped;
        for segment in self.collection.segment_figures()? {
            if segment.is_empty(full) && !segment.held && self.collection.drop_segment(segment.number)? {
                self.segments_dropped += 1;
            }
        }
        if self.segments_dropped > before { self.collection.remove_dropped_files() } else { Ok(()) }
    }
}

impl Collection {
    /// The segments that are there.
    pub(super) fn segment_figures(&self) -> Result<Vec<Segment>, StoreError> {
        let dropped = self.pool.read("list dropped segments", catalog::dropped_segments)?;
        let snapshot = self.snapshot();
        let rows = snapshot.rows.len();
        let segments = (0..self.layout.segments(rows)).filter(|number| !dropped.contains(number));
        Ok(segments.map(|number| self.segment(&snapshot, number)).collect())
    }

    fn segment(&self, snapshot: &Snapshot, number: usize) -> Segment {
        let slots = self.layout.slots(number);
        let end = slots.end.min(snapshot.rows.len());
        let record = snapshot.generation.as_ref().map(|generation| &generation.record);
        Segment {
            number,
            rows: end - slots.start,
            live: snapshot.live.count_range(slots.start as u32, end as u32),
            held: record.is_some_and(|record| record.holds(number, &self.layout)),
        }
    }

    /// Whether every view that is held is of the newest commit.
    pub(super) fn is_seen_only_as_now(&self) -> bool {
        self.views.oldest().is_none_or(|oldest| oldest == self.snapshot().seq)
    }

    /// Refuses when less than `bytes` can be written.
    pub(crate) fn room(&self, bytes: u64) -> Result<(), StoreError> {
        let free = self
            .disk
            .free_bytes(&self.folder)
            .map_err(|source| io_error("ask for the free space of", &self.folder, source))?;
        if free >= bytes {
            return Ok(());
        }
        Err(StoreError::NoSpace {
            what: format!("collection {:?}: {bytes} bytes needed, {free} bytes free", self.name),
        })
    }

    /// Removes the files of dropped segments, unless somebody reads them as an older catalog tells of them; the next compaction
    /// or open does it then. Before that the write-ahead log is folded into the catalog: were the log damaged later, the
    /// commits that moved rows out of these files would be missing, and the rows with them.
    pub(super) fn remove_dropped_files(&self) -> Result<(), StoreError> {
        let vectors = self.folder.join(VECTORS);
        let dropped = self.pool.read("list dropped segments", catalog::dropped_segments)?;
        let is_left = |number: &usize| Layout::path(&vectors, *number).exists();
        if !dropped.iter().any(is_left) || !self.fold_wal()? {
            return Ok(());
        }
        let _alone = match self.segment_files.try_write() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        rows::remove_leftovers(&*self.disk, &vectors, usize::MAX, &dropped)
    }

    /// Purges up to [`PURGE_ITEMS`] items; returns how many.
    fn purge_some(&self) -> Result<usize, StoreError> {
        self.room(STEP_BYTES)?;
        let writer = &mut *self.writer()?;
        let oldest = self.views.oldest().unwrap_or(writer.state.seq);
        let transaction = self.transaction(writer)?;
        let items = catalog::dead_items(&transaction, oldest, PURGE_ITEMS)
            .map_err(|source| catalog_error("list deleted items", source))?;
        if items.is_empty() {
            return Ok(0);
        }
        catalog::purge(&transaction, &items).map_err(|source| catalog_error("purge items", source))?;
        self.end(transaction)?;
        Ok(items.len())
    }

    fn purge_empty_documents(&self) -> Result<(), StoreError> {
        let oldest = self.views.oldest().unwrap_or_else(|| self.snapshot().seq);
        let empty = self
            .pool
            .read("list deleted documents", |connection| catalog::empty_documents(connection, oldest))?;
        for numbers in empty.chunks(PURGE_ITEMS) {
            self.room(STEP_BYTES)?;
            let writer = &mut *self.writer()?;
            let transaction = self.transaction(writer)?;
            catalog::purge_empty(&transaction, numbers.iter().copied())
                .map_err(|source| catalog_error("purge documents", source))?;
            self.end(transaction)?;
        }
        Ok(())
    }

    /// Gives the next documents of `slots` new versions at the end; returns the rows moved and where to go on.
    fn move_some(&self, slots: &std::ops::Range<usize>) -> Result<(usize, usize), StoreError> {
        let writer = &mut *self.writer()?;
        let connection = writer.connection.as_ref().ok_or_else(|| self.gone())?;
        let (documents, next) = catalog::documents_to_move(connection, slots, MOVE_ITEMS, MOVE_BYTES)
            .map_err(|source| catalog_error("read documents", source))?;
        let mut checked = {
            // Not held any longer: it would keep the old versions from being purged.
            let snapshot = self.snapshot();
            again(documents, &snapshot)
        };
        let items = checked.metadata.len();
        checked.terms = self.terms_of(checked.texts());
        if items == 0 {
            return Ok((0, next));
        }
        self.room(STEP_BYTES + CATALOG_COPIES * checked.bytes())?;
        self.within_max_rows(writer.state.rows + items)?;
        self.commit_or_undo(writer, &checked)?;
        Ok((items, next))
    }

    /// Closes a segment that is not full, so that it can be given back: the slots behind its last row stay without items.
    pub(super) fn fill_up(&self, segment: usize) -> Result<(), StoreError> {
        let writer = &mut *self.writer()?;
        if writer.rows.is_full(segment) {
            return Ok(());
        }
        self.commit_filled(writer).map_err(|error| self.undo(writer, error))
    }

    fn commit_filled(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let mut pending = writer.rows.fill_up()?;
        self.within_max_rows(pending.rows)?;
        writer.rows.sync(&mut pending).map_err(|error| self.stop_writes(error))?;
        let chunks = writer.rows.chunks(pending.rows)?;
        let mut next = writer.state;
        let gone = next.rows..pending.rows;
        next.rows = pending.rows;
        // A number of its own: a commit of one number has one count of rows.
        next.seq += 1;
        next.mark = catalog::new_mark();
        let log = writer.rows.log_change(&pending);
        let transaction = self.transaction(writer)?;
        keep_log(&transaction, log, gone.start, &[])
            .and_then(|()| catalog::set_blocks(&transaction, &pending.blocks))
            .and_then(|()| catalog::set_gone(&transaction, gone))
            .and_then(|()| catalog::set_state(&transaction, &next))
            .map_err(|source| catalog_error("close a segment", source))?;
        self.end(transaction)?;
        writer.rows.publish(&pending);
        writer.state = next;
        self.publish(|snapshot| {
            snapshot.rows = chunks;
            (snapshot.seq, snapshot.mark) = (next.seq, next.mark);
        });
        Ok(())
    }

    /// Gives a segment back, unless it has items still; says whether it did.
    fn drop_segment(&self, segment: usize) -> Result<bool, StoreError> {
        // Rows that are added from now on are of later segments, so the row log stays free of this one's.
        self.settle()?;
        let writer = &mut *self.writer()?;
        // Looked at again under the lock; rows that live can only become fewer, but an index may have been named.
        let now = self.segment(&self.snapshot(), segment);
        let slots = self.layout.slots(segment);
        let seq = writer.state.seq;
        let transaction = self.transaction(writer)?;
        let has_items = catalog::has_items(&transaction, &slots)
            .map_err(|source| catalog_error("look for items", source))?;
        if has_items || now.live > 0 || now.held {
            return Ok(false);
        }
        catalog::drop_segment(&transaction, segment, &slots, seq)
            .map_err(|source| catalog_error("drop a segment", source))?;
        self.end(transaction)?;
        let rows = writer.state.rows;
        // Without memory for zeros the old map goes on showing the old rows, until the collection is opened anew.
        match writer.rows.drop_segment(segment).and_then(|()| writer.rows.chunks(rows)) {
            Ok(chunks) => self.publish(|snapshot| snapshot.rows = chunks),
            Err(error) => return Err(self.stop_writes(error)),
        }
        Ok(true)
    }

    /// Gives free catalog pages back to the file system and empties the write-ahead log.
    pub(super) fn give_back_pages(&self) -> Result<(), StoreError> {
        loop {
            self.fold_when_tight()?;
            self.room(STEP_BYTES)?;
            let writer = &mut *self.writer()?;
            let transaction = self.transaction(writer)?;
            let failed = |source| catalog_error("give back free pages", source);
            let pages = catalog::pages(&transaction).map_err(failed)?;
            if !pages.incremental || pages.free <= FREE_PAGES_LEFT {
                break;
            }
            let most = (pages.free - FREE_PAGES_LEFT).min(GIVE_BACK_PAGES as u64) as usize;
            catalog::give_back_pages(&transaction, most).map_err(failed)?;
            self.end(transaction)?;
            thread::sleep(BREATH);
        }
        self.fold_wal()?;
        self.remove_dropped_files()
    }

    /// Where there is hardly room for a step, the log of the steps before gives its own back first.
    fn fold_when_tight(&self) -> Result<(), StoreError> {
        let free = self
            .disk
            .free_bytes(&self.folder)
            .map_err(|source| io_error("ask for the free space of", &self.folder, source))?;
        let log = self.folder.join(format!("{}-wal", catalog::FILE_NAME));
        let log_bytes = log.metadata().map_or(0, |log| log.len());
        if free < TIGHT_BYTES && log_bytes >= FOLDED_BYTES {
            self.fold_wal()?;
        }
        Ok(())
    }

    /// Folds the write-ahead log into the catalog and empties it; `false` when readers of older pages keep it.
    pub(crate) fn fold_wal(&self) -> Result<bool, StoreError> {
        let writer = &mut *self.writer()?;
        let connection: &Connection = writer.connection.as_ref().ok_or_else(|| self.gone())?;
        catalog::empty_wal(connection).map_err(|source| catalog_error("empty its log", source))
    }
}

/// Documents as a batch that replaces them by themselves. Vectors are taken as they are stored, bit for bit.
fn again(documents: Vec<MovedDocument>, snapshot: &Snapshot) -> Checked {
    let mut checked =
        Checked { batch: Batch::default(), metadata: Vec::new(), vectors: Vec::new(), terms: Vec::new() };
    for document in documents {
        let mut items = Vec::with_capacity(document.items.len());
        for item in document.items {
            checked.vectors.extend_from_slice(snapshot.vector(item.slot));
            checked.metadata.push(item.metadata);
            let (text, thumbnail, sentences) = (item.text, item.thumbnail, item.sentences);
            items.push(NewItem {
                vector: Vec::new(),
                text,
                metadata: Default::default(),
                thumbnail,
                sentences,
            });
        }
        checked.batch.upsert.push(NewDocument { id: document.id, file: document.file, items });
    }
    checked
}
