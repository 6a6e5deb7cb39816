//! Text or picture in, vector out: tokenizers, models, pooling, preprocessing, model files.
//!
//! The only crate with ML dependencies. Encoders are blocking and thread safe; callers own queues and threads.
//! Every vector that leaves is unit length (L2 norm guarded at 1e-6) and finite.

#![allow(missing_docs, dead_code, unused, clippy::todo)] // skeleton only
// CONTRACT SKELETON: the shapes below are agreed between the crates. Bodies move into modules.
use std::sync::Arc;

/// What an encoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Modality {
    Text,
    Image,
}

/// Which side of a search a text is on; models such as E5 want a different prefix for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Prompt {
    Query,
    #[default]
    Document,
    None,
}

/// What a model is, and which vectors may be compared with its vectors.
#[derive(Clone, Debug)]
pub struct ModelCard {
    /// Short name, e.g. `e5-small-zh-en`.
    pub id: String,
    /// Hash of the weights, hex; collections remember it.
    pub revision: String,
    /// Vectors may be compared only within one space: id, revision and pooling, e.g. `e5-small-zh-en@1a2b3c4d/mean`.
    pub space: String,
    pub dim: usize,
    pub modality: Modality,
    /// Longest input in tokens, special tokens and prompt included; `None` for pictures.
    pub max_tokens: Option<usize>,
    pub query_prompt: String,
    pub document_prompt: String,
    pub licence: String,
    /// Weights in memory, bytes.
    pub bytes: usize,
}

/// One input of a batch.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    Text { text: &'a str, prompt: Prompt },
    Picture(&'a Picture),
}

/// `[n, dim]` unit vectors, row-major, and how many inputs were longer than the model reads.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub vectors: Vec<f32>,
    pub dim: usize,
    pub truncated: usize,
}

/// Text or picture in, vector out.
pub trait Encoder: Send + Sync {
    fn card(&self) -> &ModelCard;
    /// Encodes a batch; the order of rows is that of `inputs`. An input of the other modality is `EncodeError::Modality`.
    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError>;
    /// Tokens of a text without prompt and special tokens (0 for picture models); what passage splitting counts with.
    fn count_tokens(&self, text: &str) -> usize;
}

/// A decoded picture, 8-bit RGB, row-major, oriented as EXIF says; `rgb.len() == width * height * 3`.
#[derive(Clone)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
}
/// Bounds checked on the header, before memory is taken.
#[derive(Clone, Copy, Debug)]
pub struct PictureLimits {
    pub max_bytes: usize,
    pub max_side: u32,
    pub max_pixels: u64,
}
impl Default for PictureLimits {
    fn default() -> Self {
        PictureLimits { max_bytes: 32 << 20, max_side: 16_384, max_pixels: 64_000_000 }
    }
}
impl Picture {
    /// Decodes jpeg, png, webp, gif or bmp (known by content, not by name); alpha, palette, CMYK, 16 bit and animations
    /// become what PIL's `convert("RGB")` gives.
    pub fn decode(_bytes: &[u8], _limits: &PictureLimits) -> Result<Picture, PictureError> {
        todo!()
    }
}

/// Opens a built-in model by id (`e5-small-zh-en`, `efficientnet-lite0`), or a model folder (later).
/// Unknown ids give an error that lists what there is. Weights are unpacked once per process and shared.
pub fn open(_id: &str) -> Result<Arc<dyn Encoder>, ModelError> {
    todo!()
}
/// The models compiled into this binary (cards need no weights unpacked).
pub fn builtin() -> Vec<ModelCard> {
    todo!()
}
/// Default model ids.
pub const DEFAULT_TEXT_MODEL: &str = "e5-small-zh-en";
pub const DEFAULT_IMAGE_MODEL: &str = "efficientnet-lite0";

#[derive(Debug)]
pub enum EncodeError {
    Modality { model: String, expected: Modality, received: Modality },
    EmptyText { index: usize },
}
#[derive(Debug)]
pub enum ModelError {
    Unknown { id: String, known: Vec<String> },
}
#[derive(Debug)]
pub enum PictureError {
    TooManyBytes { bytes: usize, limit: usize },
    TooLarge { width: u32, height: u32, limits: PictureLimits },
    NotAPicture,
    Broken { reason: String },
}
