//! Generations: one built index each, in an immutable file of its own under `index/`.
//!
//! Invariant: a file is written aside (`<n>.idx.tmp`), fsynced and renamed to `<n>.idx` before the catalog names it, and is
//! never written again. It is derived from the rows, so a damaged one is moved to `quarantine/` and rebuilt. A retired one
//! is removed when the last snapshot that uses it is dropped.
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bilin_index::{Effort, IndexSpec, Metric, RowChunks, RowSet, VectorIndex};

use crate::dir::{Disk, DiskFile, file_name};
use crate::error::{StoreError, io_error};
use crate::map::MappedFile;
use crate::rows::Layout;

/// Folder of the index files inside a collection's folder.
pub(crate) const FOLDER: &str = "index";
/// Written in pieces of this size.
const WRITE_BYTES: usize = 1 << 20;

/// One built index over the live rows of `0..rows` at the time.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Grows by one per build; also the name of its file.
    pub number: u64,
    /// What was built.
    pub spec: IndexSpec,
    /// Rows it covers; later ones are the tail.
    pub rows: usize,
    /// Search effort that reached the target recall when it was built.
    pub effort: Effort,
    /// Candidates measured again behind codes, in multiples of those asked for; `None` = as many as the codes' error asks for,
    /// which is how indexes are built and calibrated.
    pub refine: Option<usize>,
    /// The recall measured with that effort.
    pub recall_at_10: Option<f32>,
    /// Seconds since 1970.
    pub built_unix_s: i64,
    /// Wall-clock time of the build, calibration included.
    pub build_ms: u64,
    /// Length of its file.
    pub bytes: u64,
}

/// A generation as the catalog keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub generation: Generation,
    /// Live rows when it was built: what "50 % more" is measured against.
    pub indexed: usize,
    /// Of the whole file, hexadecimal.
    pub blake3: String,
    /// A bit for each segment of which the index holds rows, lowest first; `None` = of all that it covers.
    pub segments: Option<Vec<u8>>,
}

impl Record {
    /// Whether the index holds rows of a segment, which must stay there as long as the index is in use.
    pub(crate) fn holds(&self, segment: usize, layout: &Layout) -> bool {
        match &self.segments {
            Some(bits) => bits.get(segment / 8).is_some_and(|byte| byte >> (segment % 8) & 1 == 1),
            None => segment < layout.segments(self.generation.rows),
        }
    }
}

/// The segments in which `rows` rows have live ones, as [`Record::segments`] keeps them.
pub(crate) fn segments_with(live: &RowSet, rows: usize, layout: &Layout) -> Vec<u8> {
    let mut bits = vec![0; layout.segments(rows).div_ceil(8)];
    for segment in 0..layout.segments(rows) {
        let slots = layout.slots(segment);
        if live.count_range(slots.start as u32, slots.end.min(rows) as u32) > 0
            && let Some(byte) = bits.get_mut(segment / 8)
        {
            *byte |= 1 << (segment % 8);
        }
    }
    bits
}

/// A generation that snapshots search.
pub(crate) struct LiveGeneration {
    pub record: Record,
    pub index: Box<dyn VectorIndex>,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    retired: AtomicBool,
}

impl LiveGeneration {
    /// The file goes away with the last user.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Drop for LiveGeneration {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = self.disk.remove_file(&self.path)
        {
            // Harmless: files that the catalog does not name are removed when the collection is opened.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a retired index file");
        }
    }
}

pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(FOLDER).join(format!("{number}.idx"))
}

/// Writes an index aside, makes it durable and gives it its name; returns its length and checksum. What fails leaves nothing,
/// or a disk that was too small for it would stay full.
pub(crate) fn write(
    disk: &dyn Disk,
    folder: &Path,
    number: u64,
    index: &dyn VectorIndex,
) -> Result<(u64, String), StoreError> {
    write_aside(disk, folder, number, index).inspect_err(|_| {
        if let Err(error) = remove_aside(disk, folder, number) {
            tracing::warn!(number, %error, "cannot remove an unfinished index file");
        }
    })
}

fn write_aside(
    disk: &dyn Disk,
    folder: &Path,
    number: u64,
    index: &dyn VectorIndex,
) -> Result<(u64, String), StoreError> {
    let path = path(folder, number);
    let aside = path.with_extension("idx.tmp");
    let failed = |verb: &'static str| {
        let aside = aside.clone();
        move |source| io_error(verb, &aside, source)
    };
    let file = disk.create(&aside).map_err(failed("create"))?;
    let mut sink = Sink { file: &*file, written: 0, hasher: blake3::Hasher::new() };
    let mut buffer = BufWriter::with_capacity(WRITE_BYTES, &mut sink);
    index.write_to(&mut buffer).map_err(failed("write"))?;
    buffer.flush().map_err(failed("write"))?;
    drop(buffer);
    file.sync().map_err(failed("make durable"))?;
    disk.rename(&aside, &path).map_err(failed("rename"))?;
    disk.sync_dir(&folder.join(FOLDER)).map_err(failed("make durable the name of"))?;
    Ok((sink.written, sink.hasher.finalize().to_hex().to_string()))
}

/// Opens the file of a generation and compares it with its record. `rows` are the collection's; `metric` is its metric.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    record: Record,
    rows: &RowChunks,
    metric: Metric,
) -> Result<LiveGeneration, StoreError> {
    let path = path(folder, record.generation.number);
    let damaged = |detail: String| StoreError::Corrupt { what: file_name(&path), detail };
    let file = disk.open(&path).map_err(|error| damaged(format!("cannot open it: {error}")))?;
    let length = file.len().map_err(|error| damaged(format!("cannot read its length: {error}")))?;
    if length != record.generation.bytes || length == 0 {
        return Err(damaged(format!("expected {} bytes, found {length}", record.generation.bytes)));
    }
    let map = file.map(length as usize).map_err(|source| io_error("map", &path, source))?;
    let bytes = MappedFile::new(map);
    let found = blake3::hash(bytes.as_ref()).to_hex().to_string();
    if found != record.blake3 {
        return Err(damaged(format!("blake3 expected {}, found {found}", record.blake3)));
    }
    let index = bilin_index::open(Arc::new(bytes), rows).map_err(|error| damaged(error.to_string()))?;
    let info = index.info();
    if (info.dim, info.metric) != (rows.dim(), metric) {
        return Err(damaged(format!(
            "expected dim {} and metric {metric}, found dim {} and metric {}",
            rows.dim(),
            info.dim,
            info.metric
        )));
    }
    let disk = Arc::clone(disk);
    Ok(LiveGeneration { record, index, path: path.clone(), disk, retired: AtomicBool::new(false) })
}

/// Removes files of a build with this number that failed before the catalog named it.
pub(crate) fn remove_aside(disk: &dyn Disk, folder: &Path, number: u64) -> Result<(), StoreError> {
    let path = path(folder, number);
    for path in [path.with_extension("idx.tmp"), path] {
        match disk.remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path, source));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes what builds and swaps that did not end left behind: files of ours that the catalog does not name.
pub(crate) fn remove_leftovers(
    disk: &dyn Disk,
    folder: &Path,
    current: Option<u64>,
) -> Result<(), StoreError> {
    let folder = folder.join(FOLDER);
    for (name, path) in disk.list(&folder).map_err(|source| io_error("list", &folder, source))? {
        let stem = name.strip_suffix(".idx.tmp").or_else(|| name.strip_suffix(".idx"));
        let number = stem.and_then(|stem| stem.parse::<u64>().ok());
        if number.is_some() && (name.ends_with(".tmp") || number != current) {
            disk.remove_file(&path).map_err(|source| io_error("remove", &path, source))?;
        }
    }
    Ok(())
}

/// As kept in the catalog: `exact`, `nprobe=8`, `ef=64`, `nprobe=8 refine=4`.
pub(crate) fn effort_text((effort, refine): (Effort, Option<usize>)) -> String {
    let effort = match effort {
        Effort::Exact => "exact".to_owned(),
        Effort::Nprobe(lists) => format!("nprobe={lists}"),
        Effort::Ef(candidates) => format!("ef={candidates}"),
    };
    refine.map_or_else(|| effort.clone(), |refine| format!("{effort} refine={refine}"))
}

pub(crate) fn effort_from_text(text: &str) -> Option<(Effort, Option<usize>)> {
    let (effort, refine) = match text.split_once(" refine=") {
        Some((effort, refine)) => (effort, Some(refine.parse().ok().filter(|depth| *depth > 0)?)),
        None => (text, None),
    };
    let effort = match effort.split_once('=') {
        None => (effort == "exact").then_some(Effort::Exact),
        Some(("nprobe", lists)) => lists.parse().ok().map(Effort::Nprobe),
        Some(("ef", candidates)) => candidates.parse().ok().map(Effort::Ef),
        Some(_) => None,
    };
    effort.map(|effort| (effort, refine))
}

/// Appends to a file and hashes what it appends.
struct Sink<'a> {
    file: &'a dyn DiskFile,
    written: u64,
    hasher: blake3::Hasher,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.written)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efforts_are_read_as_they_were_written_also_without_a_depth() {
        for effort in [Effort::Exact, Effort::Nprobe(8), Effort::Ef(64)] {
            for refine in [None, Some(4)] {
                assert_eq!(effort_from_text(&effort_text((effort, refine))), Some((effort, refine)));
            }
        }
        assert_eq!(
            effort_from_text("nprobe=8"),
            Some((Effort::Nprobe(8), None)),
            "as folders of before have it"
        );
        for wrong in ["", "ef", "ef=", "ef=x", "ef=8 refine=", "ef=8 refine=0", "ef=8 depth=2", "8"] {
            assert_eq!(effort_from_text(wrong), None, "{wrong}");
        }
    }
}
