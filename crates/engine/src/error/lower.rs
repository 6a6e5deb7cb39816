//! How the errors of the lower crates become the one [`Error`]: the only place that knows their variants.
//!
//! The lower message is kept as it is, since it names what was expected and what came; added are the kind, the
//! collection or folder it happened in, and a hint. The lower error itself stays as the source.

use super::{Error, ErrorKind};
use bilin_encode::{EncodeError, ModelError, PictureError, QuantizeError};
use bilin_index::IndexError;
use bilin_index::faiss::FaissError;
use bilin_store::StoreError;
use std::path::Path;

/// Errors of a collection, with its name.
pub(crate) fn for_collection(error: StoreError, name: &str) -> Error {
    let error = match error.is_replaced() {
        true => StoreError::Replaced { name: name.to_owned() },
        false => error,
    };
    let (kind, hint) = judge(&error);
    // These name the collection themselves, or speak of the name that was given.
    let named = matches!(
        error,
        StoreError::UnknownCollection { .. }
            | StoreError::CollectionExists { .. }
            | StoreError::Name { .. }
            | StoreError::WritesStopped { .. }
            | StoreError::Replaced { .. }
            | StoreError::Succession { .. }
            | StoreError::Setting { .. }
            | StoreError::Locked { .. }
    );
    let message = if named { error.to_string() } else { format!("collection {name:?}: {error}") };
    finish(kind, message, hint, error)
}

/// Whether something else has taken the place of the collection that was written to.
pub(crate) fn is_replaced(error: &Error) -> bool {
    let lower = error.source.as_ref().and_then(|source| source.downcast_ref::<StoreError>());
    matches!(lower, Some(StoreError::Replaced { .. }))
}

/// Errors of the data folder.
pub(crate) fn for_data(error: StoreError, path: &Path) -> Error {
    let (kind, hint) = judge(&error);
    let message = match error {
        StoreError::Locked { .. } => error.to_string(),
        _ => format!("cannot open data folder {path:?}: {error}"),
    };
    finish(kind, message, hint, error)
}

fn finish(
    kind: ErrorKind,
    message: String,
    hint: Option<&str>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error { kind, message, hint: hint.map(str::to_owned), source: Some(Box::new(source)) }
}

fn judge(error: &StoreError) -> (ErrorKind, Option<&'static str>) {
    match error {
        StoreError::Locked { .. } => (
            ErrorKind::Locked,
            Some(
                "send the request to the process that serves this folder, stop it, or choose another folder with --data",
            ),
        ),
        StoreError::UnknownCollection { .. } => {
            (ErrorKind::NotFound, Some("bilin collections lists what there is"))
        }
        StoreError::CollectionExists { .. } => {
            (ErrorKind::Conflict, Some("add to it, or choose another name"))
        }
        StoreError::Spaces { .. } => (
            ErrorKind::Conflict,
            Some("merge collections of one kind, model, dimension and metric; nothing was changed"),
        ),
        StoreError::Clash { .. } => (
            ErrorKind::Conflict,
            Some("say with --on-conflict keep or replace whose documents count; nothing was changed"),
        ),
        StoreError::Name { .. } => (ErrorKind::InvalidInput, Some("choose another name")),
        StoreError::Setting { .. }
        | StoreError::Dimension { .. }
        | StoreError::Vector { .. }
        | StoreError::Query { .. } => (ErrorKind::InvalidInput, None),
        StoreError::Filter(_) => (
            ErrorKind::InvalidInput,
            Some("filters look like: category = \"birds\" AND price < 10 AND NOT page IN (1, 2)"),
        ),
        StoreError::Limit { .. } => (ErrorKind::TooLarge, Some("send it in smaller parts")),
        StoreError::Corrupt { .. } | StoreError::CommitsMissing { .. } => (
            ErrorKind::Damaged,
            Some("restore it from a backup, or delete the collection and add its files again"),
        ),
        StoreError::Version { .. } => (ErrorKind::Damaged, Some("open it with a newer bilin")),
        StoreError::NoSpace { .. } => (
            ErrorKind::NoSpace,
            Some("free some space and try again; nothing was changed, searches and deletes go on"),
        ),
        StoreError::WritesStopped { .. } => (ErrorKind::Io, Some("check the disk, then start bilin again")),
        StoreError::FullText { .. } => (
            ErrorKind::Busy,
            Some("it is filled in the background; search by meaning (mode dense) meanwhile"),
        ),
        StoreError::Replaced { .. } => (ErrorKind::Busy, Some("repeat the request; nothing was changed")),
        StoreError::Succession { .. } => {
            (ErrorKind::Busy, Some("repeat it when less is written; nothing was changed"))
        }
        StoreError::Io { .. } => {
            (ErrorKind::Io, Some("check the disk and the permissions of the data folder"))
        }
        StoreError::Catalog { .. } => {
            (ErrorKind::Io, Some("check the disk and the permissions of the data folder"))
        }
        StoreError::Index(error) => (judge_index(error), None),
        StoreError::Cancelled => (ErrorKind::Cancelled, None),
    }
}

fn judge_index(error: &IndexError) -> ErrorKind {
    match error {
        IndexError::Dimension { .. }
        | IndexError::Rows(_)
        | IndexError::Parameter { .. }
        | IndexError::ZeroVector { .. } => ErrorKind::InvalidInput,
        IndexError::TooFewRows { .. } => ErrorKind::Conflict,
        IndexError::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Internal,
    }
}

impl From<FaissError> for Error {
    fn from(error: FaissError) -> Error {
        let (kind, hint) = match &error {
            FaissError::Io(_) => (ErrorKind::Io, Some("check the permissions and the space on the disk")),
            FaissError::Index(error) => (judge_index(error), None),
            FaissError::Format { .. } => (
                ErrorKind::InvalidInput,
                Some("it is damaged, cut short, or no FAISS index; write it again with faiss.write_index"),
            ),
            FaissError::Decode { .. } => (
                ErrorKind::InvalidInput,
                Some(
                    "take the vectors as they are inside with --transformed, where a transform is in the way",
                ),
            ),
            _ => (ErrorKind::InvalidInput, None),
        };
        finish(kind, error.to_string(), hint, error)
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Error {
        finish(ErrorKind::InvalidInput, error.to_string(), None, error)
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Error {
        let (kind, hint) = match error {
            ModelError::Unknown { .. } => {
                (ErrorKind::NotFound, "leave the model out for the built-in default")
            }
            ModelError::Reading { .. } => {
                (ErrorKind::InvalidInput, "prompts and long texts are of text models; shorten the prompt")
            }
            ModelError::NoRuntime { .. } => (
                ErrorKind::NotFound,
                "ONNX Runtime is a library of its own: take onnxruntime/capi/libonnxruntime.so.* out of the Python package onnxruntime (1.17 or newer), or the release at github.com/microsoft/onnxruntime, and name it by models.onnxruntime or ORT_DYLIB_PATH",
            ),
            ModelError::Broken { .. } => (
                ErrorKind::Damaged,
                "a text model is an unchanged folder of a BERT, XLM-RoBERTa, ModernBERT or Qwen3 model, a picture model a file of a torchvision ResNet or MobileNet, or a CLIP folder; others are read as ONNX (model.onnx)",
            ),
        };
        finish(kind, error.to_string(), Some(hint), error)
    }
}

impl From<QuantizeError> for Error {
    fn from(error: QuantizeError) -> Error {
        let (kind, hint) = match error {
            QuantizeError::Source(error) => return error.into(),
            QuantizeError::Encode(error) => return error.into(),
            QuantizeError::BuiltIn { .. } => {
                (ErrorKind::InvalidInput, "name the folder of a text model, or the file of a picture model")
            }
            QuantizeError::Weights { .. } => (ErrorKind::InvalidInput, "nothing was written"),
            QuantizeError::Destination { .. } => {
                (ErrorKind::Conflict, "name a place where nothing is yet, in a folder that is there")
            }
            QuantizeError::NoSpace { .. } => {
                (ErrorKind::NoSpace, "make room, or name a place on another disk")
            }
            QuantizeError::TooFar { .. } => (
                ErrorKind::Conflict,
                "choose a higher precision for this model (int8, f16); nothing was left behind",
            ),
            QuantizeError::Io { .. } => {
                (ErrorKind::Io, "check the permissions and the disk; nothing was left behind")
            }
        };
        finish(kind, error.to_string(), Some(hint), error)
    }
}

impl From<PictureError> for Error {
    fn from(error: PictureError) -> Error {
        let (kind, hint) = match error {
            PictureError::TooManyBytes { .. } | PictureError::TooLarge { .. } => {
                (ErrorKind::TooLarge, "scale the picture down")
            }
            _ => (ErrorKind::InvalidInput, "send a jpeg, png, webp, gif or bmp file that a viewer can open"),
        };
        finish(kind, error.to_string(), Some(hint), error)
    }
}
