//! The models compiled into the binary, those at a path, and `open`, which unpacks a built-in one once per process.
//!
//! A built-in model is a row of constants. Its revision is the blake3 of its weights file (and, for text, of its
//! tokenizer after it): written down here so that starting up hashes nothing, and compared with the files by a test.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::clip;
use crate::encoder::{Encoder, Modality, ModelCard};
use crate::onnx;
use crate::text::cross::CrossEncoder;
use crate::text::{TextEncoder, open_folder};
use crate::vision::{PictureEncoder, open_file};

/// The text model used when none is named.
pub const DEFAULT_TEXT_MODEL: &str = "e5-small-zh-en";
/// The picture model used when none is named.
pub const DEFAULT_IMAGE_MODEL: &str = "efficientnet-lite0";

/// Why a model could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ModelError {
    /// No such model.
    #[error("unknown model \"{id}\", expected one of {}, or the path of a model", known.join(", "))]
    Unknown {
        /// What was asked for.
        id: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It cannot read texts in the way that is asked for.
    #[error("model \"{id}\" cannot read texts so: {reason}")]
    Reading {
        /// The model.
        id: String,
        /// Why.
        reason: String,
    },
    /// The model's files do not hold what its architecture needs.
    #[error("model \"{id}\" cannot be read: {reason}")]
    Broken {
        /// The model.
        id: String,
        /// Which part, what was expected and what came.
        reason: String,
    },
    /// An ONNX model, and no library to run it with.
    #[error("model \"{id}\" is an ONNX model, and {reason}")]
    NoRuntime {
        /// The model.
        id: String,
        /// What was looked for, and why it could not be loaded.
        reason: String,
    },
}

/// One model of the binary: its files, and what its card says.
struct Builtin {
    id: &'static str,
    revision: &'static str,
    pooling: &'static str,
    dim: usize,
    modality: Modality,
    max_tokens: Option<usize>,
    prompts: (&'static str, &'static str),
    licence: &'static str,
    bytes: usize,
    open: fn(ModelCard) -> Result<Arc<dyn Encoder>, ModelError>,
    cell: &'static OnceLock<Result<Arc<dyn Encoder>, ModelError>>,
}

const E5_CONFIG: &[u8] = include_bytes!("../../../models/e5-small-zh-en/config.json");
const E5_TOKENIZER: &[u8] = include_bytes!("../../../models/e5-small-zh-en/tokenizer.json");
const E5_WEIGHTS: &[u8] = include_bytes!("../../../models/e5-small-zh-en/model.q4.safetensors");
const LITE0_WEIGHTS: &[u8] = include_bytes!("../../../models/efficientnet-lite0/model.f16.safetensors");

static E5: OnceLock<Result<Arc<dyn Encoder>, ModelError>> = OnceLock::new();
static LITE0: OnceLock<Result<Arc<dyn Encoder>, ModelError>> = OnceLock::new();

static BUILTIN: [Builtin; 2] = [
    Builtin {
        id: DEFAULT_TEXT_MODEL,
        revision: "9e1023bcf60b73c38bc4e5e433ff44686d4645faf2b3a01b316fdad4674bd9f5",
        pooling: "mean",
        dim: 384,
        modality: Modality::Text,
        max_tokens: Some(512),
        prompts: ("query: ", "passage: "),
        licence: "MIT",
        bytes: 0,
        open: |card| Ok(Arc::new(TextEncoder::open(card, E5_CONFIG, E5_TOKENIZER, E5_WEIGHTS)?)),
        cell: &E5,
    },
    Builtin {
        id: DEFAULT_IMAGE_MODEL,
        revision: "232dc3721c385d5db826deee8134779ba51dbfc7d3cca666cc084971301ab26b",
        pooling: "average",
        dim: 1280,
        modality: Modality::Image,
        max_tokens: None,
        prompts: ("", ""),
        licence: "Apache-2.0",
        bytes: 0,
        open: |card| Ok(Arc::new(PictureEncoder::open(card, LITE0_WEIGHTS)?)),
        cell: &LITE0,
    },
];

impl Builtin {
    fn card(&self) -> ModelCard {
        ModelCard {
            id: self.id.to_owned(),
            revision: self.revision.to_owned(),
            space: format!("{}@{:.8}/{}", self.id, self.revision, self.pooling),
            dim: self.dim,
            modality: self.modality,
            also_reads: None,
            max_tokens: self.max_tokens,
            query_prompt: self.prompts.0.to_owned(),
            document_prompt: self.prompts.1.to_owned(),
            licence: self.licence.to_owned(),
            bytes: self.bytes,
        }
    }
}

/// Opens a built-in model by id: its weights are unpacked once per process and shared, so the second call is free. Any other
/// id is the path of a folder of a text or CLIP model, or of a picture model's file of weights, which is read each time; the card's id
/// is its full path. A folder whose network is none of ours and that has an ONNX graph, or a file of one, is run by ONNX Runtime.
/// Unknown ids give an error that lists what there is.
pub fn open(id: &str) -> Result<Arc<dyn Encoder>, ModelError> {
    if let Some(model) = BUILTIN.iter().find(|model| model.id == id) {
        return model.cell.get_or_init(|| (model.open)(model.card())).clone();
    }
    match Path::new(id).canonicalize() {
        Ok(path) if path.is_dir() => match clip::network_of(&path) {
            Some(network) => clip::open_folder(&path, &network),
            None if onnx::has(&path) => onnx::open(&path),
            None => open_folder(&path),
        },
        Ok(path) if onnx::has(&path) => onnx::open(&path),
        Ok(path) if path.is_file() => open_file(&path),
        _ => {
            let known = BUILTIN.iter().map(|model| model.id.to_owned()).collect();
            Err(ModelError::Unknown { id: id.to_owned(), known })
        }
    }
}

/// Opens the cross-encoder in the folder at `path`.
///
/// # Errors
/// No folder, or one that is no cross-encoder, by what it is instead.
pub fn open_cross_encoder(path: &str) -> Result<CrossEncoder, ModelError> {
    let broken = |reason: &str| ModelError::Broken { id: path.to_owned(), reason: reason.to_owned() };
    if BUILTIN.iter().any(|model| model.id == path) {
        return Err(broken("it is a built-in model that makes vectors, and cannot rerank"));
    }
    match Path::new(path).canonicalize() {
        Ok(folder) if folder.is_dir() => CrossEncoder::open(&folder),
        Ok(_) => Err(broken("it is a file, and a reranker is the folder of a model")),
        Err(_) => Err(broken(
            "there is no folder of that name; a reranker is the folder of a model, or the name of a pulled one",
        )),
    }
}

/// Whether `id` is a path at which there may be a model, rather than the name of a built-in one.
pub fn is_path(id: &str) -> bool {
    BUILTIN.iter().all(|model| model.id != id) && Path::new(id).exists()
}

/// The id that the card of a model has which is asked for by `id`: the full path of one at a path.
pub fn full_id(id: &str) -> String {
    // A built-in one costs no look at the disk: services ask this for every request that names a model.
    match is_path(id).then(|| Path::new(id).canonicalize()) {
        Some(Ok(path)) => path.to_string_lossy().into_owned(),
        _ => id.to_owned(),
    }
}

/// The models compiled into this binary (cards need no weights unpacked).
pub fn builtin() -> Vec<ModelCard> {
    BUILTIN.iter().map(Builtin::card).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_the_hashes_of_the_files() {
        let text = blake3::Hasher::new().update(E5_WEIGHTS).update(E5_TOKENIZER).finalize().to_hex();
        let picture = blake3::hash(LITE0_WEIGHTS).to_hex();
        let written: Vec<_> = BUILTIN.iter().map(|model| model.revision).collect();
        assert_eq!(written, [text.as_str(), picture.as_str()]);
    }

    #[test]
    fn an_unknown_model_names_the_known_ones() {
        let error = open("gpt-9").err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some(
                "unknown model \"gpt-9\", expected one of e5-small-zh-en, efficientnet-lite0, or the path of a model"
            )
        );
    }

    #[test]
    fn a_model_is_unpacked_once_and_shared() {
        let first = open(DEFAULT_IMAGE_MODEL).expect("the built-in model opens");
        let second = open(DEFAULT_IMAGE_MODEL).expect("the built-in model opens");
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn cards_tell_the_space_and_the_size() {
        for card in builtin() {
            assert!(card.space.starts_with(&format!("{}@{:.8}/", card.id, card.revision)));
            assert_eq!(open(&card.id).expect("built-in").card().space, card.space);
        }
    }
}
