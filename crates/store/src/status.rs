//! Figures of a collection, for people and metrics.
use std::fs::{self, Metadata};
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::collection::Collection;
use crate::error::{StoreError, io_error};
use crate::generation::Generation;
use crate::opening::QUARANTINE;

/// Figures of a collection, of its newest commit.
#[derive(Clone, Debug)]
pub struct Status {
    /// Number of the newest commit.
    pub seq: u64,
    /// Live documents.
    pub documents: usize,
    /// Live items.
    pub items: usize,
    /// Rows on disk, deleted ones included.
    pub rows_committed: usize,
    /// The index in use.
    pub generation: Option<Generation>,
    /// Rows behind the index, searched exactly.
    pub tail_rows: usize,
    /// Bytes that its folder takes on disk.
    pub disk_bytes: u64,
    /// How often, since the collection was opened, a live row was found to have no item (by a read or by
    /// [`Collection::verify`]). Cannot happen: more than 0 is an incident.
    pub missing_items: u64,
    /// Damaged files that were moved aside.
    pub quarantined_files: usize,
    /// What happened to the collection that nobody has acknowledged yet.
    pub incident: Option<String>,
    /// Empty when all is well.
    pub warnings: Vec<String>,
}

impl Collection {
    /// Its figures; does not wait for a writer.
    pub fn status(&self) -> Status {
        let snapshot = self.snapshot();
        let health = self.health();
        let mut warnings = Vec::new();
        if let Some(reason) = &health.writes_stopped {
            warnings.push(format!("no writes until the collection is opened anew: {reason}"));
        }
        let incident = health.incident.clone();
        warnings.extend(incident.clone());
        warnings.extend(health.index.clone());
        drop(health);
        let missing_items = snapshot.missing_items.load(Ordering::Relaxed);
        if missing_items > 0 {
            warnings.push(format!(
                "a row without its item was met {missing_items} times: verify, then restore a backup"
            ));
        }
        let disk_bytes = disk_bytes(&self.folder).unwrap_or_else(|error| {
            warnings.push(error.to_string());
            0
        });
        Status {
            seq: snapshot.seq,
            documents: snapshot.documents,
            items: snapshot.items,
            rows_committed: snapshot.rows.len(),
            generation: snapshot.generation().map(|generation| Generation {
                effort: snapshot.effort().unwrap_or(generation.effort),
                refine: snapshot.refine(),
                ..generation.clone()
            }),
            tail_rows: snapshot.tail_rows(),
            disk_bytes,
            missing_items,
            quarantined_files: entries_in(&self.folder.join(QUARANTINE)),
            incident,
            warnings,
        }
    }
}

/// How many entries a folder has; none when it is not there.
pub(crate) fn entries_in(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Of all files in a folder and the folders in it. A file that goes away meanwhile (a retired index) counts nothing.
pub(crate) fn disk_bytes(folder: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(|source| io_error("list", folder, source))?,
    };
    for entry in entries {
        let entry = entry.map_err(|source| io_error("list", folder, source))?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += disk_bytes(&entry.path())?,
            Ok(metadata) => bytes += allocated(&metadata),
            Err(_) => {}
        }
    }
    Ok(bytes)
}

/// A segment that has grown ahead of its rows is sparse, so its length would say too much.
#[cfg(unix)]
fn allocated(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &Metadata) -> u64 {
    metadata.len()
}
