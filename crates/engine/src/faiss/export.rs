//! `export`: a collection as a FAISS index file and a list of metadata.
//!
//! Both files are written under other names first and then take their own, the index last: a reader of the folder sees a
//! whole index or none.

use super::{ExportIds, ExportOptions, Exported, INDEX_FILE, METADATA_FILE, metadata};
use crate::Engine;
use crate::add::{self, AddEvent, AddProgress};
use crate::error::{Error, ErrorKind};
use crate::storage::View;
use bilin_index::{BuildOptions, RowChunks, faiss};
use bilin_store::{Kind, Settings};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Items looked up at a time.
const ITEMS_PER_LOOKUP: usize = 1_000;
/// Ending of a file that is not finished.
const UNFINISHED: &str = "part";

/// See [`Engine::export_faiss`].
pub(crate) fn export(
    engine: &Engine,
    collection: &str,
    folder: &Path,
    options: &ExportOptions,
    progress: &dyn AddProgress,
) -> Result<Exported, Error> {
    let store = engine.stores.get(collection)?;
    let (settings, view) = (store.settings(), store.view());
    let index_path = folder.join(INDEX_FILE);
    let metadata_path = folder.join(METADATA_FILE);
    for path in [&index_path, &metadata_path] {
        if path.exists() && !options.overwrite {
            let message = format!("there is a file {:?} already", path.display().to_string());
            return Err(Error::new(ErrorKind::Conflict, message)
                .with_hint("name another folder, or replace it with --force; nothing was changed"));
        }
    }
    std::fs::create_dir_all(folder).map_err(|error| cannot("make folder", folder, error))?;
    let metadata = Unfinished::new(&metadata_path);
    let gathered = gather(&*view, &settings, &metadata.path, progress)?;
    let ids = match options.ids {
        ExportIds::Positions => None,
        ExportIds::Documents => Some(numbers(&gathered.documents)?),
    };
    let rows = RowChunks::from_vec(gathered.vectors, settings.dim)
        .map_err(|error| Error::new(ErrorKind::TooLarge, error.to_string()))?;
    let built = add::watch(progress, |report| {
        let options_of_build = BuildOptions { progress: Some(report), ..BuildOptions::default() };
        engine
            .background
            .install(|| bilin_index::build(&options.index, settings.metric, &rows, &options_of_build))
    })?;
    let built =
        built.map_err(|error| Error::invalid(format!("{}: {error}", options.index)).with_source(error))?;
    let mut tree = built.to_faiss()?;
    if let Some(ids) = ids {
        tree = faiss::rename(tree, &ids)?;
    }
    let index = Unfinished::new(&index_path);
    let file = File::create(&index.path).map_err(|error| cannot("create", &index.path, error))?;
    let mut out = BufWriter::new(file);
    faiss::write(&tree, &mut out)?;
    out.get_ref().sync_all().map_err(|error| cannot("write", &index.path, error))?;
    let index_bytes = index.path.metadata().map_or(0, |metadata| metadata.len());
    metadata.finish(&metadata_path)?;
    index.finish(&index_path)?;
    let items = gathered.documents.len();
    Ok(Exported { index_path, index_bytes, metadata_path, items, index: built.info().spec })
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {what} {:?}: {error}", path.display().to_string()))
        .with_hint("check the permissions and the space on the disk")
        .with_source(error)
}

/// A file that goes away unless it is finished.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn new(path: &Path) -> Unfinished {
        Unfinished { path: path.with_extension(UNFINISHED) }
    }

    fn finish(self, path: &Path) -> Result<(), Error> {
        std::fs::rename(&self.path, path).map_err(|error| cannot("rename to", path, error))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What goes into the index.
struct Gathered {
    /// `[items, dim]`.
    vectors: Vec<f32>,
    /// Document id of each item.
    documents: Vec<String>,
}

/// Reads every item, in the order in which they were added, and writes the list of metadata on the way.
fn gather(
    view: &dyn View,
    settings: &Settings,
    path: &Path,
    progress: &dyn AddProgress,
) -> Result<Gathered, Error> {
    let keys = view.keys();
    let mut gathered = Gathered {
        vectors: Vec::with_capacity(keys.len() * settings.dim),
        documents: Vec::with_capacity(keys.len()),
    };
    let failed = |error: std::io::Error| cannot("write", path, error);
    let mut out = BufWriter::new(File::create(path).map_err(|error| cannot("create", path, error))?);
    out.write_all(b"[").map_err(failed)?;
    for group in keys.chunks(ITEMS_PER_LOOKUP) {
        if progress.cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the export was stopped; nothing was written"));
        }
        for mut item in view.items(group)? {
            gathered.vectors.append(&mut item.vector);
            let is_first = gathered.documents.is_empty();
            gathered.documents.push(item.document.clone());
            write_entry(&mut out, is_first, settings.kind, item).map_err(failed)?;
        }
        progress.event(&AddEvent::Exported { items: gathered.documents.len(), total: keys.len() });
    }
    out.write_all(b"\n]\n").map_err(failed)?;
    out.flush().map_err(failed)?;
    out.get_ref().sync_all().map_err(failed)?;
    Ok(gathered)
}

/// One entry, indented as `json.dump(.., indent=2)` does it.
fn write_entry(
    out: &mut impl Write,
    is_first: bool,
    kind: Kind,
    item: crate::storage::ViewItem,
) -> std::io::Result<()> {
    let json = serde_json::to_string_pretty(&metadata::written(kind, item))?;
    out.write_all(if is_first { b"\n" } else { b",\n" })?;
    for (at, line) in json.lines().enumerate() {
        if at > 0 {
            out.write_all(b"\n")?;
        }
        write!(out, "  {line}")?;
    }
    Ok(())
}

/// Document ids as numbers.
fn numbers(documents: &[String]) -> Result<Vec<i64>, Error> {
    let mut seen = std::collections::HashSet::with_capacity(documents.len());
    documents
        .iter()
        .map(|id| {
            let number = id.parse::<i64>().ok().filter(|number| number.to_string() == *id && *number != -1);
            match number {
                Some(number) if seen.insert(number) => Ok(number),
                Some(number) => Err(Error::new(
                    ErrorKind::Conflict,
                    format!("document {number} has several items, and a FAISS id stands for one"),
                )),
                None => Err(Error::new(
                    ErrorKind::Conflict,
                    format!("document id {id:?} is no whole number, and FAISS has no other ids"),
                )),
            }
            .map_err(|error| {
                error.with_hint("export with --ids positions; the ids then stand in the metadata")
            })
        })
        .collect()
}
