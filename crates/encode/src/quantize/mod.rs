//! A model at a path with its weights in fewer bits, written beside it as a model that opens like any other.
//!
//! The new folder holds `model.safetensors` (f16, Q8_0 or Q4_0, see [`tensors`]) and copies of the files that belong to the
//! model; a picture model is one file. It is written under a temporary name next to its place, opened, compared with the
//! model it was made from, and only then given its name: what fails leaves nothing behind.

mod either;
mod file;
mod rounding;
mod tensors;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::encoder::EncodeError;
use crate::inspect::{MADE_BY, MADE_FROM, MADE_FROM_REVISION, local_files};
use crate::model_files::is_support;
use crate::models::{ModelError, is_path};
use crate::parity::Parity;
use crate::weights::{Map, tensors as read_tensors};
use either::Either;
use file::WriteError;

/// The least cosine to the model it was made from at which an f16 or int8 model is kept.
pub const MIN_COSINE: f32 = 0.999;
/// Left free on the disk beside what is written.
const SPARE_BYTES: u64 = 64 << 20;

/// How weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// 4 bytes a number.
    F32,
    /// 2 bytes a number.
    F16,
    /// 2 bytes a number, of less precision and more range.
    Bf16,
    /// 8.5 bits a number: Q8_0.
    Int8,
    /// 4.5 bits a number.
    Q4_0,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
            Precision::Q4_0 => "q4_0",
        })
    }
}

/// Why a model was not quantized; nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The source is no model.
    #[error(transparent)]
    Source(#[from] ModelError),
    /// The source is a built-in model.
    #[error("model \"{id}\" is built in and has no files to read")]
    BuiltIn {
        /// Its id.
        id: String,
    },
    /// Its weights cannot be kept that way.
    #[error("model {path:?} cannot be quantized: {reason}")]
    Weights {
        /// The model.
        path: PathBuf,
        /// Which tensor, and what it holds.
        reason: String,
    },
    /// There is something where the new model is to be, or that is inside the old one.
    #[error("cannot write a model to {path:?}: {reason}")]
    Destination {
        /// The new model.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// The disk is too full.
    #[error("the new model needs {needed} bytes beside it, and {free} are free at {path:?}")]
    NoSpace {
        /// The new model.
        path: PathBuf,
        /// With some to spare.
        needed: u64,
        /// On that disk.
        free: u64,
    },
    /// The new model's vectors are too far from the old one's.
    #[error(
        "in {precision} its vectors are too far from what they were: the smallest cosine is {cosine:.6}, expected {MIN_COSINE}"
    )]
    TooFar {
        /// What was asked for.
        precision: Precision,
        /// The smallest.
        cosine: f32,
    },
    /// The operating system refused.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The samples could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// Of the new model: its full path.
    pub id: String,
    /// Hash of its files, hex.
    pub revision: String,
    /// How its weights are kept.
    pub precision: Precision,
    /// Bytes of the files of weights it was made from.
    pub bytes_before: u64,
    /// Bytes of its own.
    pub bytes_after: u64,
    /// Its vectors compared with those of the model it was made from.
    pub parity: Parity,
}

/// A path that is removed unless it is kept.
struct Unfinished(PathBuf);

impl Unfinished {
    /// Moved to its place, which must be free.
    fn keep(self, place: &Path) -> Result<(), QuantizeError> {
        // The last look before the name is taken: renaming would replace a file, or an empty folder.
        free_place(place)?;
        fs::rename(&self.0, place).map_err(failed("move into place", place))?;
        if let Some(parent) = place.parent() {
            // Where a folder cannot be synced the name is as durable as that file system makes it.
            let _ = fs::File::open(parent).and_then(|parent| parent.sync_all());
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What is not there any more, since it was moved, cannot be removed; nor can anything be done about other failures.
        let _ = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> QuantizeError {
    let path = path.to_owned();
    move |source| QuantizeError::Io { action, path, source }
}

fn free_place(place: &Path) -> Result<(), QuantizeError> {
    match place.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("look at", place)(error)),
        Ok(_) => {
            Err(QuantizeError::Destination { path: place.to_owned(), reason: "it exists already".to_owned() })
        }
    }
}

/// Files to write and to copy.
struct Plan {
    /// Weights by the folder that they lie in, relative; the whole source file (an empty path) of a picture model.
    weights: Vec<(PathBuf, Vec<PathBuf>)>,
    copied: Vec<PathBuf>,
}

impl Plan {
    fn of(source: &Path) -> Result<Plan, QuantizeError> {
        if source.is_file() {
            return Ok(Plan { weights: vec![(PathBuf::new(), vec![PathBuf::new()])], copied: Vec::new() });
        }
        let files = local_files(source).map_err(failed("list", source))?;
        let mut plan = Plan { weights: Vec::new(), copied: Vec::new() };
        for file in files {
            let path = PathBuf::from(&file);
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            if is_support(&file) {
                plan.copied.push(path);
            } else if !file.ends_with(".json") {
                match plan.weights.iter_mut().find(|(known, _)| *known == folder) {
                    Some((_, files)) => files.push(path),
                    None => plan.weights.push((folder, vec![path])),
                }
            }
        }
        Ok(plan)
    }
}

/// `folder` joined with a path that may be empty, without a `/` at its end then.
fn at(folder: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { folder.to_owned() } else { folder.join(path) }
}

/// Writes the model at `source` (a folder or a file) to `destination` in another precision. `done` is told bytes as they
/// are written.
///
/// # Errors
/// See [`QuantizeError`]; nothing is left at `destination` then.
pub fn quantize(
    source: &str,
    destination: &Path,
    precision: Precision,
    done: &dyn Fn(u64),
) -> Result<Quantized, QuantizeError> {
    let original = Either::open(source)?;
    if !is_path(source) {
        return Err(QuantizeError::BuiltIn { id: source.to_owned() });
    }
    let source = PathBuf::from(original.id());
    let destination = place(&source, destination)?;
    let plan = Plan::of(&source)?;
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = destination.with_file_name(format!(".{name}.unfinished-{}", std::process::id()));
    free_place(&unfinished)?;
    let unfinished = Unfinished(unfinished);
    let (bytes_before, bytes_after) =
        write(&source, &plan, &unfinished.0, precision, original.revision(), done)?;
    let parity = Either::open(&unfinished.0.to_string_lossy())?.compare(&original)?;
    // Four bits are chosen for their size, and the figure is told; the others promise to change nothing that matters.
    if precision != Precision::Q4_0 && parity.smallest_cosine < MIN_COSINE {
        return Err(QuantizeError::TooFar { precision, cosine: parity.smallest_cosine });
    }
    unfinished.keep(&destination)?;
    let made = Either::open(&destination.to_string_lossy())?;
    let (id, revision) = (made.id().to_owned(), made.revision().to_owned());
    Ok(Quantized { id, revision, precision, bytes_before, bytes_after, parity })
}

/// The full path of a new model: free, in a folder that is there, and not inside the model it is made from.
fn place(source: &Path, destination: &Path) -> Result<PathBuf, QuantizeError> {
    let refuse = |reason: String| QuantizeError::Destination { path: destination.to_owned(), reason };
    if destination.canonicalize().is_ok_and(|path| path == source) {
        return Err(refuse("it is the model that is read".to_owned()));
    }
    free_place(destination)?;
    let name = destination.file_name().ok_or_else(|| refuse("it ends with no name".to_owned()))?;
    let parent =
        destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent =
        parent.canonicalize().map_err(|error| refuse(format!("the folder it is to be in: {error}")))?;
    if parent.starts_with(source) {
        return Err(refuse("it is inside the model that is read".to_owned()));
    }
    Ok(parent.join(name))
}

/// Writes everything to `to`; bytes of the weights before and after.
fn write(
    source: &Path,
    plan: &Plan,
    to: &Path,
    precision: Precision,
    revision: &str,
    done: &dyn Fn(u64),
) -> Result<(u64, u64), QuantizeError> {
    let refuse = |reason: String| QuantizeError::Weights { path: source.to_owned(), reason };
    let made_from = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let metadata = [
        ("format", "pt".to_owned()),
        (MADE_FROM, made_from),
        (MADE_FROM_REVISION, revision.to_owned()),
        (MADE_BY, format!("bilin {} model quantize --to {precision}", env!("CARGO_PKG_VERSION"))),
    ];
    let (mut before, mut tensors) = (0, Vec::new());
    for (folder, files) in &plan.weights {
        let mut found = std::collections::BTreeMap::new();
        for file in files {
            let bytes = Map::open(&at(source, file)).map_err(refuse)?.bytes();
            before += bytes.len() as u64;
            found.extend(read_tensors(&bytes).map_err(refuse)?);
        }
        tensors.push((folder, found));
    }
    let mut weights = Vec::new();
    for (folder, found) in &tensors {
        weights.push((*folder, tensors::entries(found, precision).map_err(refuse)?));
    }
    let after: u64 = weights.iter().flat_map(|(_, entries)| entries).map(file::Entry::length).sum();
    let copied: u64 =
        plan.copied.iter().filter_map(|path| source.join(path).metadata().ok()).map(|file| file.len()).sum();
    let parent = to.parent().unwrap_or(Path::new("."));
    let free = fs4::available_space(parent).map_err(failed("ask for the free space of", parent))?;
    let needed = after + copied + SPARE_BYTES;
    if free < needed {
        return Err(QuantizeError::NoSpace { path: parent.to_owned(), needed, free });
    }
    for path in &plan.copied {
        let copy = to.join(path);
        fs::create_dir_all(copy.parent().unwrap_or(to)).map_err(failed("create the folder of", &copy))?;
        // Content alone: the copy is the user's to change, whatever the original was.
        let bytes = fs::read(source.join(path)).map_err(failed("read", &source.join(path)))?;
        fs::write(&copy, bytes).map_err(failed("write", &copy))?;
    }
    for (folder, entries) in weights {
        let path = if source.is_file() { to.to_owned() } else { at(to, folder).join("model.safetensors") };
        file::write(&path, entries, &metadata, done).map_err(|error| match error {
            WriteError::Io(error) => failed("write", &path)(error),
            WriteError::Tensor(reason) => refuse(reason),
        })?;
    }
    Ok((before, after))
}
