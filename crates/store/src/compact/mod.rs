//! [`Collection::compact`]: the space of deleted rows, items, documents and thumbnails is given back.
//!
//! Segments that are mostly dead are emptied: their live documents get a new version each, a copy under new slots, by
//! commits like any other. Items that no view can ask for are purged from the catalog. A full segment without items, of
//! which the index in use holds nothing, is recorded as dropped and its file removed. Free catalog pages go back to the file
//! system. Every step is one small transaction, so a crash leaves the collection before or after it, writers wait for no
//! more than one step, and readers for none: views from before keep their maps of a removed file, and keep the items that
//! they can ask for from being purged. What a step needs is compared with the free space before it begins.
mod policy;
mod steps;

use std::sync::{PoisonError, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::catalog;
use crate::collection::Collection;
use crate::error::StoreError;
use crate::status::disk_bytes;

pub(crate) use policy::REBUILD_WAITING_PERCENT;
use policy::{Figures, Plan, Segment, decide, mebibytes};

/// How long a compaction waits for readers of older views to let go before it leaves their items to the next one.
const READERS_WAIT: Duration = Duration::from_millis(500);
const READERS_POLL: Duration = Duration::from_millis(10);

/// How [`Collection::compact`] may work.
#[derive(Clone, Copy, Default)]
pub struct CompactOptions<'a> {
    /// Give back whatever is dead, however little.
    pub force: bool,
    /// Called with rows moved and rows to move; returning `false` stops after the step at hand.
    pub progress: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

/// What [`Collection::compact`] did, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Row segments given back.
    pub segments_dropped: usize,
    /// Live rows that were written anew to empty their segments.
    pub rows_moved: usize,
    /// Empty segments that are given back once the index is built anew.
    pub segments_waiting: usize,
    /// Bytes on disk before less those after.
    pub bytes_freed: u64,
    /// Why something was done, or not, and what is left to do; for the log.
    pub reason: String,
}

/// One compaction at work.
struct Run<'a> {
    collection: &'a Collection,
    options: &'a CompactOptions<'a>,
    figures: Figures,
    rows_to_move: usize,
    rows_moved: usize,
    items_purged: usize,
    segments_dropped: usize,
}

impl Collection {
    /// Gives back the space of what was deleted, as far as that is worth it (or `force`), beside readers and writers.
    /// Documents that are moved change their slots and the commit number, nothing else.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] when there is less room than a step needs (nothing of that step was done),
    /// [`StoreError::Cancelled`] when `progress` said so; those of the disk and the catalog. What was done before stays.
    pub fn compact(&self, options: &CompactOptions<'_>) -> Result<Compacted, StoreError> {
        // One at a time with builds: an index that is being built holds rows, too.
        let _one = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        // On a full disk this is the way to get room, and needs a little itself. Begun again, it goes on where it was.
        match &self.reserve {
            Some(reserve) => reserve.help(|| self.compact_once(options)),
            None => self.compact_once(options),
        }
    }

    fn compact_once(&self, options: &CompactOptions<'_>) -> Result<Compacted, StoreError> {
        let bytes_before = disk_bytes(&self.folder)?;
        self.remove_dropped_files()?;
        let figures = self.figures()?;
        let plan = decide(&figures, options.force);
        tracing::info!(collection = self.name, ?plan, "compaction");
        let (work, reason) = match plan {
            Plan::Keep(reason) => {
                let full = figures.rows_per_segment;
                let waiting =
                    figures.segments.iter().filter(|segment| segment.held && segment.is_empty(full));
                return Ok(Compacted { segments_waiting: waiting.count(), reason, ..Compacted::default() });
            }
            Plan::Work(work, reason) => (work, reason),
        };
        let rows_to_move = work.iter().map(|segment| segment.live).sum();
        let mut run = Run {
            collection: self,
            options,
            figures,
            rows_to_move,
            rows_moved: 0,
            items_purged: 0,
            segments_dropped: 0,
        };
        run.all(&work)?;
        let (segments_waiting, left) = run.left()?;
        let bytes_after = disk_bytes(&self.folder)?;
        let bytes_freed = bytes_before.saturating_sub(bytes_after);
        let Run { rows_moved, items_purged, segments_dropped, .. } = run;
        let reason = format!(
            "{reason}; dropped {segments_dropped} segments, moved {rows_moved} rows, purged {items_purged} items: {} \
             freed, {} on disk{left}",
            mebibytes(bytes_freed),
            mebibytes(bytes_after)
        );
        tracing::info!(collection = self.name, reason, "compacted");
        Ok(Compacted { segments_dropped, rows_moved, segments_waiting, bytes_freed, reason })
    }

    /// While it is held, no row segment that the catalog names now loses its file.
    pub(crate) fn hold_segment_files(&self) -> RwLockReadGuard<'_, ()> {
        self.segment_files.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows of empty segments that only the index in use still holds.
    pub(crate) fn waiting_rows(&self) -> Result<usize, StoreError> {
        let full = self.layout.rows_per_segment;
        let segments = self.segment_figures()?;
        let waiting = segments.iter().filter(|segment| segment.is_empty(full) && segment.held);
        Ok(waiting.map(|segment| segment.rows).sum())
    }

    fn figures(&self) -> Result<Figures, StoreError> {
        let segments = self.segment_figures()?;
        let snapshot = self.snapshot();
        let oldest = self.views.oldest().unwrap_or(snapshot.seq);
        let (dead_items, all_dead, pages) = self.pool.read("count what was deleted", |connection| {
            let all_dead = catalog::count_dead(connection, i64::MAX as u64)?;
            Ok((catalog::count_dead(connection, oldest)?, all_dead, catalog::pages(connection)?))
        })?;
        let used = (pages.all - pages.free.min(pages.all)) * pages.page_bytes;
        let free = if pages.incremental { pages.free.saturating_sub(steps::FREE_PAGES_LEFT) } else { 0 };
        Ok(Figures {
            segments,
            rows_per_segment: self.layout.rows_per_segment,
            row_bytes: self.layout.row_bytes() as u64,
            dead_items,
            item_bytes: used / (snapshot.items + all_dead).max(1) as u64,
            free_page_bytes: free * pages.page_bytes,
            indexed_rows: snapshot.generation().map_or(0, |generation| generation.rows),
        })
    }
}

impl Run<'_> {
    fn all(&mut self, work: &[Segment]) -> Result<(), StoreError> {
        self.collection.room(steps::STEP_BYTES)?;
        self.purge()?;
        for segment in work {
            let bytes = segment.live as u64 * steps::moved_bytes(&self.figures);
            self.collection.room(steps::STEP_BYTES + bytes)?;
            // Only the last segment can be one that is not full.
            self.collection.fill_up(segment.number)?;
            self.empty(segment.number)?;
            self.purge()?;
            self.drop_segments()?;
        }
        let started = Instant::now();
        while !self.collection.is_seen_only_as_now() && started.elapsed() < READERS_WAIT {
            thread::sleep(READERS_POLL);
        }
        self.purge()?;
        self.drop_segments()?;
        self.collection.give_back_pages()
    }

    /// Asks whether to go on.
    fn go_on(&self) -> Result<(), StoreError> {
        match self.options.progress {
            Some(progress) if !progress(self.rows_moved, self.rows_to_move) => Err(StoreError::Cancelled),
            _ => Ok(()),
        }
    }

    /// What could not be given back yet, and what it waits for.
    fn left(&self) -> Result<(usize, String), StoreError> {
        let segments = self.collection.segment_figures()?;
        let full = self.figures.rows_per_segment;
        let empty = segments.iter().filter(|segment| segment.is_empty(full));
        let (held, seen): (Vec<&Segment>, Vec<&Segment>) = empty.partition(|segment| segment.held);
        let dead = self
            .collection
            .pool
            .read("count what is left", |connection| catalog::count_dead(connection, i64::MAX as u64))?;
        let mut left = String::new();
        if !held.is_empty() {
            left += &format!("; {} empty segments wait until the index is built anew", held.len());
        }
        if dead > 0 || !seen.is_empty() {
            left += &format!(
                "; {dead} deleted items and {} empty segments wait for readers of older views",
                seen.len()
            );
        }
        Ok((held.len(), left))
    }
}
