//! [`Collection::verify`]: everything that is on disk, read back and compared, beside readers and writers.
//!
//! Rows block by block with the catalog's checksums, the index file with its checksum, the catalog by SQLite's own check
//! (`quick_check`; deep: `integrity_check` and `foreign_key_check`), and the counts of rows, items, documents and metadata
//! with each other. A damaged index is moved to quarantine at once, since it is derived; rows and catalog are only told of.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backup::hash_file;
use crate::catalog;
use crate::collection::{Collection, VECTORS};
use crate::dir::{Disk, Pace, Paced};
use crate::error::{StoreError, io_error};
use crate::generation;
use crate::opening::quarantine;
use crate::rows::{self, Depth};
use crate::time;

/// What was read and found to be as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The commit that was looked at.
    pub seq: u64,
    /// Live documents, counted one by one.
    pub documents: usize,
    /// Live items, each with its row and its metadata.
    pub items: usize,
    /// 64 KiB blocks of rows.
    pub row_blocks: usize,
    /// Bytes of the index file; 0 when there is none.
    pub index_bytes: u64,
}

impl Collection {
    /// Reads everything back; `deep` has SQLite check every entry of every index of the catalog too.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] naming file, block, expected and found checksum, or the counts that differ. When it is the
    /// index, that was moved to quarantine, and search is exact until it is built again.
    pub fn verify(&self, deep: bool) -> Result<Verified, StoreError> {
        self.verify_paced(deep, &Arc::new(Pace::new(None)))
    }

    /// As [`Collection::verify`], reading rows and index no faster than `pace` allows; the catalog is checked as fast as
    /// SQLite does it.
    ///
    /// # Errors
    /// As [`Collection::verify`]; [`StoreError::Cancelled`] once `pace` was stopped.
    pub fn verify_paced(&self, deep: bool, pace: &Arc<Pace>) -> Result<Verified, StoreError> {
        let verified = self.verify_everything(deep, pace);
        pace.watch(None);
        match verified {
            // What a stopped reader meets is the stop.
            Err(error) if pace.is_stopped() && !matches!(error, StoreError::Corrupt { .. }) => {
                Err(StoreError::Cancelled)
            }
            other => other,
        }
    }

    /// When all of it was last read back and found good, seconds since 1970, as [`Collection::note_scrubbed`] noted it.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn scrubbed_unix_s(&self) -> Result<Option<u64>, StoreError> {
        let noted = self.pool.read("read when it was checked", catalog::scrubbed)?;
        Ok(noted.and_then(|noted| noted.parse().ok()))
    }

    /// Notes that all of it was read back and found good just now; makes no commit number of its own.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn note_scrubbed(&self) -> Result<(), StoreError> {
        self.write_setting("note a check", |transaction| catalog::set_scrubbed(transaction, time::now()))
    }

    fn verify_everything(&self, deep: bool, pace: &Arc<Pace>) -> Result<Verified, StoreError> {
        let disk = Paced { disk: Arc::clone(&self.disk), pace: Arc::clone(pace) };
        // Until its rows were read, no segment that this catalog names goes away.
        let files = self.hold_segment_files();
        let (misfit, state, dropped, blocks) = self.pool.read("check it", |connection| {
            // One transaction, so that counts and checksums are of one commit.
            let transaction = connection.unchecked_transaction()?;
            pace.watch(Some(connection.get_interrupt_handle()));
            if pace.is_stopped() {
                return Err(rusqlite::Error::InvalidQuery);
            }
            let state = catalog::state(&transaction)?;
            let misfit = catalog::find_misfit(&transaction, &state, deep)?;
            let dropped = catalog::dropped_segments(&transaction)?;
            Ok((misfit, state, dropped, catalog::blocks(&transaction)?))
        })?;
        if let Some(misfit) = misfit {
            self.snapshot().missing_items.fetch_add(misfit.missing_items as u64, Ordering::Relaxed);
            return Err(StoreError::Corrupt { what: misfit.file.to_owned(), detail: misfit.detail });
        }
        let folder = self.folder.join(VECTORS);
        let (layout, depth) = (&self.layout, Depth::Full);
        let row_blocks = rows::verify(&disk, &folder, layout, state.rows, &dropped, &blocks, depth)?;
        drop(files);
        let index_bytes = self.verify_index(&disk)?;
        Ok(Verified {
            seq: state.seq,
            documents: state.documents,
            items: state.items,
            row_blocks,
            index_bytes,
        })
    }

    /// Compares the index file in use with its checksum.
    fn verify_index(&self, disk: &dyn Disk) -> Result<u64, StoreError> {
        // Held, so that the file is not removed meanwhile.
        let snapshot = self.snapshot();
        let Some(live) = &snapshot.generation else { return Ok(0) };
        let record = &live.record;
        let path = generation::path(&self.folder, record.generation.number);
        let detail = match disk.open(&path) {
            Ok(file) => {
                let (_, found) = hash_file(&*file, &path)?;
                if found == record.blake3 {
                    return Ok(record.generation.bytes);
                }
                format!("blake3 expected {}, found {found}", record.blake3)
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => "the file is gone".to_owned(),
            Err(source) => return Err(io_error("read", &path, source)),
        };
        let what = crate::dir::file_name(&path);
        let number = record.generation.number;
        drop(snapshot);
        self.drop_damaged_index(number, &detail)?;
        Err(StoreError::Corrupt { what, detail })
    }

    fn drop_damaged_index(&self, number: u64, detail: &str) -> Result<(), StoreError> {
        let _one = self.maintenance.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let in_use = self.snapshot().generation.as_ref().map(|live| live.record.generation.number);
        if in_use != Some(number) {
            // Another build has taken its place meanwhile.
            return Ok(());
        }
        quarantine(&*self.disk, &self.folder, &generation::path(&self.folder, number))?;
        self.lose_generation()?;
        self.health().index = Some(format!("search is exact until the index is rebuilt: {detail}"));
        tracing::error!(collection = self.name, number, detail, "damaged index moved to quarantine");
        Ok(())
    }
}
