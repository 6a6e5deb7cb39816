//! Filling the full text of a collection that was made without one, or by another analyzer.
//!
//! Invariant: each step is one small transaction that adds the terms of the next items and notes how far it came, so a crash
//! loses one step, writers wait for one step, and what is noted is what is there. Items added meanwhile have their terms
//! from their own commits. A step makes no commit number: nothing that a snapshot shows changes by it.

use crate::catalog;
use crate::collection::Collection;
use crate::error::{StoreError, catalog_error};
use std::thread;
use std::time::Duration;

/// Items of a step, and bytes of their texts; one item more than fits.
const STEP_ITEMS: usize = 256;
const STEP_TEXT_BYTES: usize = 1 << 20;
/// Terms take about as much as their text, in the log and in the catalog; and what every step may need.
const COPIES: u64 = 4;
const SPARE_BYTES: u64 = 4 << 20;
/// Between steps, so that a writer who waits gets the lock.
const BREATH: Duration = Duration::from_millis(1);

impl Collection {
    /// How many of how many slots have their terms, while that is not all of them; `None` when the full text is whole, or there is none.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn full_text_lag(&self) -> Result<Option<(usize, usize)>, StoreError> {
        let Some(analyzer) = self.analyzer() else { return Ok(None) };
        let state = self.pool.read("look at the full text", catalog::full_text_state)?;
        Ok((!state.is_whole(analyzer.id())).then(|| state.progress(analyzer.id())))
    }

    /// Fills the full text until it is whole or `go_on` (told how many of how many slots are done) says no; says whether it is
    /// whole. Readers and writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] and those of the disk; what was filled stays.
    pub fn fill_full_text(&self, go_on: &dyn Fn(usize, usize) -> bool) -> Result<bool, StoreError> {
        while let Some((done, all)) = self.full_text_lag()? {
            if !go_on(done, all) {
                return Ok(false);
            }
            self.fill_some()?;
            thread::sleep(BREATH);
        }
        Ok(true)
    }

    fn fill_some(&self) -> Result<(), StoreError> {
        let Some(analyzer) = self.analyzer() else { return Ok(()) };
        let (state, texts) = self.pool.read("read texts", |connection| {
            let state = catalog::full_text_state(connection)?;
            let texts = match state.analyzer == analyzer.id() {
                true => catalog::texts_to_fill(connection, &state, STEP_ITEMS, STEP_TEXT_BYTES)?,
                // The first step makes room only.
                false => Vec::new(),
            };
            Ok((state, texts))
        })?;
        let bytes: usize = texts.iter().map(|item| item.text.as_ref().map_or(0, String::len)).sum();
        self.room(SPARE_BYTES + COPIES * bytes as u64)?;
        // Cut before the writer's lock is taken.
        let terms = self.terms_of(texts.iter().map(|item| (item.text.as_deref(), item.metadata.as_str())));
        let writer = &mut *self.writer()?;
        let rows = writer.state.rows;
        let transaction = self.transaction(writer)?;
        let failed = |source| catalog_error("fill the full text", source);
        self.claim_full_text(&transaction, rows)?;
        let now = catalog::full_text_state(&transaction).map_err(failed)?;
        if now == state {
            let next = match texts.last() {
                // Nothing is left behind the last item, or a step is full.
                Some(item) if texts.len() >= STEP_ITEMS || bytes >= STEP_TEXT_BYTES => item.slot as usize + 1,
                _ => state.end,
            };
            for (item, terms) in texts.iter().zip(&terms) {
                catalog::fill_terms(&transaction, item.slot, terms).map_err(failed)?;
            }
            catalog::set_filled(&transaction, next).map_err(failed)?;
        }
        self.end(transaction)
    }
}
