//! Models in ONNX, run by ONNX Runtime: whatever network somebody has exported, where its library is on the machine.
//!
//! A folder with `model.onnx` (or `onnx/model.onnx`) beside a tokenizer is a text model, if its network is none of ours or its
//! weights are not there in another form; a lone file is a picture model. The library is loaded when the first of them is opened
//! and never before, so nothing else needs it ([`library`]). What it says of a graph (an operator or opset it lacks, a file
//! cut short) is passed on as it says it. Inputs go through one at a time: a graph in 8 bits scales by the largest number of a
//! batch, and a text's vector must not depend on its neighbours.
//!
//! Invariant: a graph with other inputs or outputs than a text or picture model has is refused when it is opened, with what was
//! expected: one input is run through it then. A model's revision is the hash of its files, graph and outside data included.

mod graph;
mod library;
mod picture;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::encoder::Encoder;
use crate::models::ModelError;
use crate::text::folder::{Reader, is_ours};
use crate::text::modules::Modules;
pub use library::use_onnxruntime;

/// Where a folder has its graph.
const GRAPHS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];
/// What a lone graph's name ends in.
const ENDING: &str = "onnx";

/// Whether the model at `path` is to be run by ONNX Runtime.
pub(crate) fn has(path: &Path) -> bool {
    if path.is_file() {
        return path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING));
    }
    let network =
        Modules::read(&mut Reader::new(path)).map_or_else(|_| PathBuf::new(), |modules| modules.network);
    let place = path.join(network);
    graph_in(&place).is_some() && !is_ours(&place)
}

/// Opens the model at `path`, of which [`has`] is true. Its id is its full path.
pub(crate) fn open(path: &Path) -> Result<Arc<dyn Encoder>, ModelError> {
    if path.is_dir() { text::open(path) } else { picture::open(path) }
}

fn graph_in(folder: &Path) -> Option<PathBuf> {
    GRAPHS.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Hashes a graph and the files beside it whose names begin with its name, where its weights are when they are not inside.
fn hash_graph(reader: &mut Reader<'_>, path: &Path) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new("."));
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        if entry.file_name().to_string_lossy().starts_with(&name) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    files.iter().try_for_each(|file| reader.map(file).map(drop))
}

/// What a card says of the place in which vectors may be compared.
fn space(path: &Path, revision: &str, pooling: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}@{revision:.8}/{pooling}/onnx")
}
