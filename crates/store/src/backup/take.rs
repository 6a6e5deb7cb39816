//! Taking a backup: one commit, copied beside readers and writers, read back before it counts.
//!
//! SQLite copies the catalog in one read transaction (`VACUUM INTO`); the rows of that commit are then copied from the
//! segments, whose committed bytes never change, each block compared with the copied catalog's checksum on the way. The
//! copies are fsynced, so the copied catalog's row log is emptied: a backup needs none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::manifest::{FileSum, Manifest};
use super::{Backup, MAKING, list, remove_unfinished};
use crate::catalog::{self, State};
use crate::collection::{Collection, VECTORS};
use crate::dir::{Disk, DiskFile, make_dirs, sync_names};
use crate::error::{StoreError, catalog_error, io_error};
use crate::generation;
use crate::rows::{self, BLOCK_BYTES, BlockSum, Depth, HEADER_BYTES, Layout};
use crate::time;

/// Copied and hashed in pieces of this size.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// Makes a backup of the newest commit in a folder of its own under `backups`, and reads it back. `disk` is the
/// collection's, read at a pace.
pub(crate) fn take(collection: &Collection, disk: &dyn Disk, backups: &Path) -> Result<Backup, StoreError> {
    take_at(collection, disk, backups, |free| time::now().max(free))
}

/// As [`take`], named by the time that `at` gives, which is told the earliest that is free.
pub(crate) fn take_at(
    collection: &Collection,
    disk: &dyn Disk,
    backups: &Path,
    at: impl FnOnce(u64) -> u64,
) -> Result<Backup, StoreError> {
    make_dirs(disk, backups)?;
    remove_unfinished(disk, backups)?;
    let before = list(disk, backups)?.good;
    // Two backups within a second would have one name.
    let free = before.first().map_or(0, |backup| backup.taken_unix_s + 1);
    let before = before.first().and_then(|backup| Before::read(disk, backup));
    let taken_unix_s = at(free);
    let name = time::compact(taken_unix_s);
    let aside = backups.join(format!("{MAKING}{name}"));
    let has_links = before.is_some();
    let made = match make(collection, disk, &aside, taken_unix_s, before) {
        Err(error @ StoreError::Corrupt { .. }) if has_links => {
            // The files may be damaged that it shares with the backup before; that must not keep new backups from being made.
            tracing::warn!(collection = collection.name, %error, "making the backup anew without links to the one before");
            remove_unfinished(disk, backups)?;
            make(collection, disk, &aside, taken_unix_s, None)
        }
        made => made,
    };
    // What is left of one that failed goes now and not with the next backup: a disk that was too small would stay full.
    let manifest = made.inspect_err(|_| {
        if let Err(error) = disk.remove_dir_all(&aside)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %aside.display(), %error, "cannot remove an unfinished backup");
        }
    })?;
    let path = backups.join(&name);
    disk.rename(&aside, &path).map_err(|source| io_error("rename", &aside, source))?;
    sync_names(disk, backups)?;
    Ok(Backup::of(&manifest, path))
}

/// Makes a backup in the new folder `aside` and reads it back.
fn make(
    collection: &Collection,
    disk: &dyn Disk,
    aside: &Path,
    taken_unix_s: u64,
    before: Option<Before>,
) -> Result<Manifest, StoreError> {
    let folders = [aside.to_owned(), aside.join(VECTORS), aside.join(generation::FOLDER)];
    for folder in &folders {
        disk.create_dir(folder).map_err(|source| io_error("create", folder, source))?;
    }
    let copy = Copy { disk, from: &collection.folder, to: aside, before };
    // Held so that the index file which the catalog names is not removed meanwhile.
    let snapshot = collection.snapshot();
    let manifest = copy.all(collection, taken_unix_s)?;
    drop(snapshot);
    manifest.write(disk, aside)?;
    for folder in folders.iter().rev() {
        sync_names(disk, folder)?;
    }
    verify(disk, aside, &manifest, &collection.layout)?;
    Ok(manifest)
}

/// Reads a backup back: every file against the manifest, the catalog by SQLite's own check, rows against the catalog.
pub(super) fn verify(
    disk: &dyn Disk,
    folder: &Path,
    manifest: &Manifest,
    layout: &Layout,
) -> Result<(), StoreError> {
    for file in &manifest.files {
        let path = file.in_folder(folder);
        let found = hash(disk, &path)?;
        if found != (file.bytes, file.blake3.clone()) {
            return Err(StoreError::Corrupt {
                what: format!("backup file \"{}\"", path.display()),
                detail: format!(
                    "expected {} bytes with blake3 {}, found {} with {}",
                    file.bytes, file.blake3, found.0, found.1
                ),
            });
        }
    }
    let Copied { state, blocks, dropped } = read_copied(&folder.join(catalog::FILE_NAME))?;
    if (state.seq, state.rows, state.items) != (manifest.seq, manifest.rows, manifest.items) {
        return Err(StoreError::Corrupt {
            what: format!("backup \"{}\"", folder.display()),
            detail: format!(
                "the manifest tells of commit {} with {} rows, the catalog of commit {} with {}",
                manifest.seq, manifest.rows, state.seq, state.rows
            ),
        });
    }
    rows::verify(disk, &folder.join(VECTORS), layout, state.rows, &dropped, &blocks, Depth::Full).map(drop)
}

/// As [`verify`], of a backup that was made before.
pub(crate) fn verify_made(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    let manifest = Manifest::read(disk, folder)?;
    let path = folder.join(catalog::FILE_NAME);
    let identity = catalog::open_to_read(&path)
        .and_then(|connection| catalog::identity(&connection))
        .map_err(|source| catalog_error("read the settings in its copy", source))?
        .ok_or_else(|| StoreError::Corrupt {
            what: format!("\"{}\"", path.display()),
            detail: "expected the settings of a collection, found none that can be read".to_owned(),
        })?;
    verify(disk, folder, &manifest, &identity.layout)
}

/// What a copied catalog says of its rows.
struct Copied {
    state: State,
    blocks: Vec<BlockSum>,
    /// Segments that were given back: there is no file of them.
    dropped: BTreeSet<usize>,
}

/// Reads a copied catalog, after SQLite found nothing wrong with it.
fn read_copied(path: &Path) -> Result<Copied, StoreError> {
    let read = || -> rusqlite::Result<(String, Copied)> {
        let connection = catalog::open_to_read(path)?;
        let check = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        let (state, blocks) = (catalog::state(&connection)?, catalog::blocks(&connection)?);
        // A backup of format version 1 has no such table.
        let has_dropped = connection.table_exists(None, "dropped_segments")?;
        let dropped = if has_dropped { catalog::dropped_segments(&connection)? } else { BTreeSet::new() };
        Ok((check, Copied { state, blocks, dropped }))
    };
    let (check, copied) = read().map_err(|source| catalog_error("read its copy", source))?;
    if check != "ok" {
        return Err(StoreError::Corrupt { what: format!("\"{}\"", path.display()), detail: check });
    }
    Ok(copied)
}

/// Empties the row log of a copied catalog.
fn clear_copied_log(path: &Path) -> Result<(), StoreError> {
    let clear = || -> rusqlite::Result<()> {
        let connection = catalog::open_alone(path)?;
        if catalog::row_log(&connection)?.is_empty() { Ok(()) } else { catalog::clear_row_log(&connection) }
    };
    clear().map_err(|source| catalog_error("empty the row log of its copy", source))
}

/// The backup before, whose files may be linked to.
struct Before {
    path: PathBuf,
    manifest: Manifest,
    blocks: Vec<BlockSum>,
}

impl Before {
    /// `None` when it cannot be read: then nothing is linked.
    fn read(disk: &dyn Disk, backup: &Backup) -> Option<Before> {
        let path = backup.path.clone();
        let manifest = Manifest::read(disk, &path).ok()?;
        let blocks = read_copied(&path.join(catalog::FILE_NAME)).ok()?.blocks;
        Some(Before { path, manifest, blocks })
    }

    /// Whether it holds the same rows of a segment. Lengths alone do not tell: a collection that was set back to an older
    /// backup may have grown to the same length with other rows.
    fn has(&self, segment: usize, own: &[BlockSum]) -> bool {
        self.blocks.iter().filter(|sum| sum.segment as usize == segment).eq(own)
    }
}

struct Copy<'a> {
    disk: &'a dyn Disk,
    from: &'a Path,
    to: &'a Path,
    before: Option<Before>,
}

impl Copy<'_> {
    fn all(&self, collection: &Collection, taken_unix_s: u64) -> Result<Manifest, StoreError> {
        let layout = &collection.layout;
        let catalog_path = self.to.join(catalog::FILE_NAME);
        let target = catalog_path.to_str().ok_or_else(|| StoreError::Limit {
            what: "path of the backup".to_owned(),
            expected: "text in UTF-8".to_owned(),
            received: catalog_path.display().to_string(),
        })?;
        // Before, so that the copy is not larger for a log that it does not need. What stopped writes does not stop backups.
        if let Err(error) = collection.settle() {
            tracing::warn!(collection = collection.name, %error, "the row log is left out of the copy only");
        }
        // Until its rows were copied, no segment that this catalog names goes away.
        let files = collection.hold_segment_files();
        collection.pool.read("copy it", |connection| connection.execute("VACUUM INTO ?1", [target]))?;
        clear_copied_log(&catalog_path)?;
        let Copied { state, blocks, dropped } = read_copied(&catalog_path)?;
        let mut sums = Vec::new();
        let id = collection.id();
        let mut blocks = blocks.as_slice();
        for segment in (0..layout.segments(state.rows)).filter(|segment| !dropped.contains(segment)) {
            sums.push(self.segment(layout, segment, state.rows, &mut blocks)?);
        }
        drop(files);
        if let Some(index) = self.index(&catalog_path)? {
            sums.push(index);
        }
        // Last, since naming no index changes the catalog.
        let file = self.disk.open(&catalog_path).map_err(|source| io_error("open", &catalog_path, source))?;
        file.sync().map_err(|source| io_error("make durable", &catalog_path, source))?;
        let (bytes, blake3) = hash(self.disk, &catalog_path)?;
        sums.push(FileSum { path: catalog::FILE_NAME.to_owned(), bytes, blake3 });
        Ok(Manifest {
            collection: collection.name.clone(),
            id,
            taken_unix_s,
            seq: state.seq,
            documents: state.documents,
            items: state.items,
            rows: state.rows,
            files: sums,
        })
    }

    /// A full segment never changes: the backup before has it already.
    fn segment(
        &self,
        layout: &Layout,
        segment: usize,
        rows: usize,
        blocks: &mut &[BlockSum],
    ) -> Result<FileSum, StoreError> {
        let source = Layout::path(&self.from.join(VECTORS), segment);
        let path = format!("{VECTORS}/{}", crate::dir::file_name(&source));
        let row_bytes = layout.rows_in(segment, rows) * layout.row_bytes();
        let (own, rest) = blocks.split_at(row_bytes.div_ceil(BLOCK_BYTES).min(blocks.len()));
        *blocks = rest;
        let bytes = (HEADER_BYTES + row_bytes) as u64;
        if let Some(before) = self.before.as_ref().filter(|before| before.has(segment, own))
            && let Some(linked) = self.linked(before, &path, |file| file.bytes == bytes)
        {
            return Ok(linked);
        }
        let file = rows::open_checked(self.disk, &source, layout, segment, HEADER_BYTES + row_bytes)?;
        let (to, target) = self.create(&path)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; HEADER_BYTES.max(BLOCK_BYTES)];
        let mut copy = |start: usize, length: usize, sum: Option<&BlockSum>| -> Result<(), StoreError> {
            let part = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact_at(part, start as u64).map_err(|error| io_error("read", &source, error))?;
            if let Some(sum) = sum
                && crc32c::crc32c(part) != sum.checksum
            {
                return Err(StoreError::Corrupt {
                    what: format!("{path}, block {}", sum.block),
                    detail: "its checksum does not fit; the backup was not made".to_owned(),
                });
            }
            hasher.update(part);
            to.write_all_at(part, start as u64).map_err(|error| io_error("write", &target, error))
        };
        copy(0, HEADER_BYTES, None)?;
        for (block, sum) in own.iter().enumerate() {
            let start = block * BLOCK_BYTES;
            copy(HEADER_BYTES + start, BLOCK_BYTES.min(row_bytes - start), Some(sum))?;
        }
        to.sync().map_err(|error| io_error("make durable", &target, error))?;
        Ok(FileSum { path, bytes, blake3: hasher.finalize().to_hex().to_string() })
    }

    /// The index that the copied catalog names. One that went away meanwhile is left out, also of the catalog: it is
    /// derived, and is built again.
    fn index(&self, catalog_path: &Path) -> Result<Option<FileSum>, StoreError> {
        let connection =
            catalog::open_alone(catalog_path).map_err(|source| catalog_error("open its copy", source))?;
        let named = catalog::generation(&connection)
            .map_err(|source| catalog_error("read the current generation", source))?;
        let Some(record) = named.flatten() else { return Ok(None) };
        let source = generation::path(self.from, record.generation.number);
        let path = format!("{}/{}", generation::FOLDER, crate::dir::file_name(&source));
        if let Some(before) = &self.before
            && let Some(linked) = self.linked(before, &path, |file| file.blake3 == record.blake3)
        {
            return Ok(Some(linked));
        }
        let copied = self.plain(&source, &path)?;
        if copied.as_ref().is_some_and(|file| file.blake3 == record.blake3) {
            return Ok(copied);
        }
        if copied.is_some() {
            let target = self.to.join(&path);
            self.disk.remove_file(&target).map_err(|source| io_error("remove", &target, source))?;
        }
        catalog::set_generation(&connection, None, "retired")
            .map_err(|source| catalog_error("leave out the index", source))?;
        Ok(None)
    }

    fn plain(&self, source: &Path, path: &str) -> Result<Option<FileSum>, StoreError> {
        let from = match self.disk.open(source) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| io_error("open", source, error))?,
        };
        let (to, target) = self.create(path)?;
        let (bytes, blake3) = copy_hashed(&*from, source, &*to, &target)?;
        Ok(Some(FileSum { path: path.to_owned(), bytes, blake3 }))
    }

    fn create(&self, path: &str) -> Result<(Box<dyn DiskFile>, PathBuf), StoreError> {
        let target = self.to.join(path);
        let file = self.disk.create(&target).map_err(|source| io_error("create", &target, source))?;
        Ok((file, target))
    }

    /// A hard link to the same file of the backup before, where that has it.
    fn linked(&self, before: &Before, path: &str, is_same: impl Fn(&FileSum) -> bool) -> Option<FileSum> {
        let file = before.manifest.file(path).filter(|file| is_same(file))?;
        // A file system without links, or one that ran out of them: a copy will do.
        self.disk.link(&file.in_folder(&before.path), &self.to.join(path)).ok().map(|()| file.clone())
    }
}

/// Copies a whole file and makes the copy durable; returns length and blake3.
pub(super) fn copy_hashed(
    from: &dyn DiskFile,
    source: &Path,
    to: &dyn DiskFile,
    target: &Path,
) -> Result<(u64, String), StoreError> {
    let sum = each_piece(from, source, |piece, at| {
        to.write_all_at(piece, at).map_err(|error| io_error("write", target, error))
    })?;
    to.sync().map_err(|error| io_error("make durable", target, error))?;
    Ok(sum)
}

fn hash(disk: &dyn Disk, path: &Path) -> Result<(u64, String), StoreError> {
    let file = disk.open(path).map_err(|source| io_error("open", path, source))?;
    hash_file(&*file, path)
}

/// Length and blake3 of a whole file.
pub(crate) fn hash_file(file: &dyn DiskFile, path: &Path) -> Result<(u64, String), StoreError> {
    each_piece(file, path, |_, _| Ok(()))
}

fn each_piece(
    file: &dyn DiskFile,
    path: &Path,
    mut each: impl FnMut(&[u8], u64) -> Result<(), StoreError>,
) -> Result<(u64, String), StoreError> {
    let bytes = file.len().map_err(|source| io_error("read the length of", path, source))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let piece = buffer.get_mut(..PIECE_BYTES.min((bytes - at) as usize)).unwrap_or_default();
        file.read_exact_at(piece, at).map_err(|source| io_error("read", path, source))?;
        hasher.update(piece);
        each(piece, at)?;
        at += piece.len() as u64;
    }
    Ok((bytes, hasher.finalize().to_hex().to_string()))
}
