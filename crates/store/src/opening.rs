//! Opening a collection: what a crash left is put in order, what is damaged is noticed, before anything is served.
//!
//! Order: catalog -> logged rows into their segments -> row segments (cut to the committed count, headers, lengths,
//! checksums) -> counts compared -> index. The catalog is not written to: the next commit clears the row log.
//! Damaged rows or a damaged catalog are an error; a damaged index is moved to `quarantine/` and search is exact meanwhile.
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bilin_index::RowSet;
use rusqlite::Connection;

use crate::catalog::{self, Identity, ReadPool, State};
use crate::collection::{Collection, Parts, VECTORS};
use crate::dir::{Disk, file_name, sync_names};
use crate::error::{StoreError, catalog_error, io_error};
use crate::generation::{self, LiveGeneration, Record};
use crate::rows::{self, Depth, Layout, RowStore};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::time;
use crate::views::Views;
use crate::witness::{self, Loss, Witness};

/// Where damaged files are moved to.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Makes the folder of a new collection complete, in a place that nobody looks at yet.
pub(crate) fn create(
    disk: &dyn Disk,
    folder: &Path,
    settings: &Settings,
    rows_per_segment: usize,
) -> Result<(), StoreError> {
    settings.check()?;
    let make = |path: &Path| disk.create_dir(path).map_err(|source| io_error("create", path, source));
    make(folder)?;
    for name in [VECTORS, generation::FOLDER, QUARANTINE] {
        make(&folder.join(name))?;
    }
    catalog::create(folder, settings, rows_per_segment)?;
    sync_names(disk, folder)
}

/// Opens the collection in `folder`, which stays locked by `lock` as long as it is open.
pub(crate) fn open(
    name: &str,
    folder: &Path,
    disk: Arc<dyn Disk>,
    lock: Option<Arc<File>>,
) -> Result<Collection, StoreError> {
    open_or_lose(name, folder, disk, lock, None)
}

/// As [`open`], but a collection whose newest commits are missing is opened as it is, after what there is of it was copied to
/// quarantine, and tells of it.
pub(crate) fn open_with_loss(
    name: &str,
    folder: &Path,
    disk: Arc<dyn Disk>,
    lock: Option<Arc<File>>,
) -> Result<Collection, StoreError> {
    let loss = Loss::keep(&*disk, folder)?;
    open_or_lose(name, folder, disk, lock, Some(&loss))
}

fn open_or_lose(
    name: &str,
    folder: &Path,
    disk: Arc<dyn Disk>,
    lock: Option<Arc<File>>,
    loss: Option<&Loss>,
) -> Result<Collection, StoreError> {
    let connection = catalog::open_writer(&*disk, folder)?;
    let Identity { settings, layout } = catalog::identity(&connection)
        .map_err(|source| catalog_error("read the settings", source))?
        .ok_or_else(|| StoreError::Corrupt {
            what: "catalog.sqlite".to_owned(),
            detail: "expected the settings of a collection, found none that can be read".to_owned(),
        })?;
    make_missing_folders(&*disk, folder)?;
    let Found { state, blocks, deleted, gone, dropped } = read_state(&connection, &layout)?;
    let vectors = folder.join(VECTORS);
    // Before anything is cut, written or removed for what may be an older state than the one that was acknowledged.
    match (witness::compare(&*disk, folder, layout.collection, &state), loss) {
        (Err(missing), None) => return Err(missing),
        (Err(missing), Some(loss)) => loss.accept(&*disk, &connection, &layout, &state, &missing)?,
        (Ok(()), _) => {}
    }
    let changes = witness::count_changes(&*disk, folder, layout.collection, &connection)?;
    let last = catalog::last_checksum(&blocks, &layout, state.rows);
    let log = catalog::row_log(&connection).map_err(|source| catalog_error("read the row log", source))?;
    let logged = rows::replay(&*disk, &vectors, &layout, state.rows, &log)?;
    drop(log);
    let mut rows =
        RowStore::open(Arc::clone(&disk), &vectors, layout.clone(), state.rows, last, logged, &dropped)?;
    rows::verify(&*disk, &vectors, &layout, state.rows, &dropped, &blocks, Depth::Open)?;
    let mut live = RowSet::full(state.rows);
    for slot in deleted.iter().chain(&gone) {
        live.remove(*slot);
    }
    for slots in dropped.iter().map(|segment| layout.slots(*segment)) {
        live.remove_range(slots.start, slots.end);
    }
    compare_counts(&state, live.count())?;
    let (generation, index_warning) = open_generation(&connection, &disk, folder, &settings, &mut rows)?;
    let incident =
        catalog::incident(&connection).map_err(|source| catalog_error("read what happened", source))?;
    let chunks = rows.chunks(state.rows)?;
    catalog::trust(&connection)?;
    let witness = Witness::keep(&*disk, folder, layout.collection, &state, changes)?;
    let deleted_in_generation = generation.as_ref().map_or(0, |generation| {
        let record = &generation.record;
        record.indexed.saturating_sub(live.count_range(0, record.generation.rows as u32))
    });
    let views = Views::default();
    let mut snapshot = Snapshot {
        seq: state.seq,
        mark: state.mark,
        edition: [0; 32],
        _view: views.hold(state.seq),
        settings: Arc::new(settings),
        rows: chunks,
        live,
        items: state.items,
        documents: state.documents,
        generation: generation.map(Arc::new),
        effort: None,
        deleted_in_generation,
        pool: Arc::new(ReadPool::new(folder.join(catalog::FILE_NAME))),
        lengths: Arc::default(),
        postings: Arc::default(),
        missing_items: Arc::default(),
    };
    snapshot.edition = snapshot.edition_of(&layout.collection);
    let parts = Parts { connection, rows, state, snapshot, views, layout, index_warning, incident, witness };
    Ok(Collection::new(name, folder, disk, lock, parts))
}

/// Empty folders get lost in copies and archives; an empty one holds nothing that could be missed. Makes durable the names
/// that are found.
fn make_missing_folders(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    for path in [VECTORS, generation::FOLDER, QUARANTINE].map(|name| folder.join(name)) {
        if !path.is_dir() {
            disk.create_dir(&path).map_err(|source| io_error("create", &path, source))?;
        }
    }
    // Also for what a killed process has made and not synced: it is relied upon from now on.
    sync_names(disk, folder)
}

/// The newest commit as the catalog tells it.
struct Found {
    state: State,
    blocks: Vec<rows::BlockSum>,
    /// Slots of deleted items.
    deleted: Vec<u32>,
    /// Slots without an item.
    gone: Vec<u32>,
    dropped: BTreeSet<usize>,
}

fn read_state(connection: &Connection, layout: &Layout) -> Result<Found, StoreError> {
    let read = || -> rusqlite::Result<(Found, usize)> {
        let found = Found {
            state: catalog::state(connection)?,
            blocks: catalog::blocks(connection)?,
            deleted: catalog::deleted_slots(connection)?,
            gone: catalog::gone_slots(connection)?,
            dropped: catalog::dropped_segments(connection)?,
        };
        Ok((found, catalog::slots(connection)?))
    };
    let (found, items_end) = read().map_err(|source| catalog_error("read the newest commit", source))?;
    let kept = found.state.items + found.deleted.len();
    let (texts, expected) = catalog::compare_full_text(connection, kept)
        .map_err(|source| catalog_error("count the full text", source))?;
    if texts != expected {
        return Err(StoreError::Corrupt {
            what: "catalog.sqlite".to_owned(),
            detail: format!("expected a full text of {expected} items, found {texts}"),
        });
    }
    let gone_end = found.gone.last().map_or(0, |slot| *slot as usize + 1);
    let dropped_end = found.dropped.last().map_or(0, |segment| layout.slots(*segment).end);
    let slots = items_end.max(gone_end).max(dropped_end);
    if slots != found.state.rows {
        return Err(StoreError::Corrupt {
            what: "catalog.sqlite".to_owned(),
            detail: format!("expected items up to row {}, found them up to row {slots}", found.state.rows),
        });
    }
    Ok(found)
}

fn compare_counts(state: &State, live: usize) -> Result<(), StoreError> {
    if live == state.items {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        what: "catalog.sqlite".to_owned(),
        detail: format!("expected {} live items, found {live} rows that are not deleted", state.items),
    })
}

type Opened = (Option<LiveGeneration>, Option<String>);

/// The current generation, or why there is none although one was built.
fn open_generation(
    connection: &Connection,
    disk: &Arc<dyn Disk>,
    folder: &Path,
    settings: &Settings,
    rows: &mut RowStore,
) -> Result<Opened, StoreError> {
    let named = catalog::generation(connection)
        .map_err(|source| catalog_error("read the current generation", source))?;
    let Some(record) = named else {
        generation::remove_leftovers(&**disk, folder, None)?;
        return Ok((None, None));
    };
    let number = record.as_ref().map(|record| record.generation.number);
    let opened = match record {
        Some(record) => open_covered(disk, folder, record, settings, rows),
        None => Err(StoreError::Corrupt {
            what: "catalog.sqlite".to_owned(),
            detail: "the record of the current generation cannot be read".to_owned(),
        }),
    };
    let error = match opened {
        Ok(generation) => {
            generation::remove_leftovers(&**disk, folder, number)?;
            return Ok((Some(generation), None));
        }
        Err(error) => error,
    };
    tracing::warn!(folder = %folder.display(), %error, "damaged index; search is exact until it is rebuilt");
    if let Some(number) = number {
        quarantine(&**disk, folder, &generation::path(folder, number))?;
    }
    catalog::set_generation(connection, None, "quarantined")
        .map_err(|source| catalog_error("mark a generation as damaged", source))?;
    Ok((None, Some(format!("search is exact until the index is rebuilt: {error}"))))
}

/// An index covers the rows that were there when it was built, the first ones of today's.
fn open_covered(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    record: Record,
    settings: &Settings,
    rows: &mut RowStore,
) -> Result<LiveGeneration, StoreError> {
    let count = record.generation.rows;
    if count > rows.committed() {
        return Err(StoreError::Corrupt {
            what: "catalog.sqlite".to_owned(),
            detail: format!(
                "the current generation covers {count} rows, found {} committed ones",
                rows.committed()
            ),
        });
    }
    let covered = rows.chunks(count)?;
    generation::open(disk, folder, record, &covered, settings.metric)
}

/// Moves a damaged file aside under a name that tells when; a missing one is left missing.
pub(crate) fn quarantine(disk: &dyn Disk, folder: &Path, path: &Path) -> Result<(), StoreError> {
    let now = time::now();
    let place = folder.join(QUARANTINE);
    let target = place.join(format!("{now}-{}", file_name(path)));
    match disk.rename(path, &target) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("move to quarantine", path, source))
        }
        _ => sync_names(disk, &place),
    }
}
