//! The contract every model answers to: a card that says what it is, and `encode` over a batch.
//!
//! Shapes: a batch of `n` inputs gives `[n, dim]` f32, row-major, in the order of the inputs. Vectors are unit length.

use crate::picture::Picture;

/// What an encoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Modality {
    /// Sentences, passages, queries.
    Text,
    /// Decoded pictures.
    Image,
}

impl std::fmt::Display for Modality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Modality::Text => "text",
            Modality::Image => "image",
        })
    }
}

/// Which side of a search a text is on; models such as E5 want a different prefix for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Prompt {
    /// What a person searches for.
    Query,
    /// What is searched.
    #[default]
    Document,
    /// The text as it is.
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
    /// Numbers in a vector.
    pub dim: usize,
    /// What the model reads.
    pub modality: Modality,
    /// Longest input in tokens, special tokens and prompt included; `None` for pictures.
    pub max_tokens: Option<usize>,
    /// Put before a query.
    pub query_prompt: String,
    /// Put before a document.
    pub document_prompt: String,
    /// SPDX name of the weights' licence.
    pub licence: String,
    /// Weights in memory, bytes.
    pub bytes: usize,
}

/// One input of a batch.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// A text and the side it is on.
    Text {
        /// UTF-8, not blank.
        text: &'a str,
        /// Which prefix it gets.
        prompt: Prompt,
    },
    /// A decoded picture.
    Picture(&'a Picture),
}

impl Input<'_> {
    /// What this input is.
    pub fn modality(&self) -> Modality {
        match self {
            Input::Text { .. } => Modality::Text,
            Input::Picture(_) => Modality::Image,
        }
    }
}

/// `[n, dim]` unit vectors, row-major, and how many inputs were longer than the model reads.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// `[n, dim]`, row-major.
    pub vectors: Vec<f32>,
    /// Numbers in a vector.
    pub dim: usize,
    /// Inputs of which only the beginning was read.
    pub truncated: usize,
}

/// Text or picture in, vector out.
pub trait Encoder: Send + Sync {
    /// What this model is.
    fn card(&self) -> &ModelCard;
    /// Encodes a batch; the order of rows is that of `inputs`. An input of the other modality is `EncodeError::Modality`.
    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError>;
    /// What the model reads of a text: token ids with prompt and special tokens, cut to its longest (none for picture models).
    fn token_ids(&self, text: &str, prompt: Prompt) -> Vec<u32>;
    /// Tokens of a text without prompt and special tokens (0 for picture models); what passage splitting counts with.
    fn count_tokens(&self, text: &str) -> usize;
}

/// Why a batch could not be encoded; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A picture for a text model, or the other way round.
    #[error("model \"{model}\" reads {expected}, received {received}")]
    Modality {
        /// The model's id.
        model: String,
        /// What it reads.
        expected: Modality,
        /// What came.
        received: Modality,
    },
    /// Nothing to encode.
    #[error("text {index} of the batch is empty or only white space")]
    EmptyText {
        /// Position in the batch, from 0.
        index: usize,
    },
    /// The library that runs an ONNX model refused an input, or gave back what is no vector.
    #[error("model \"{model}\" failed on input {index} of the batch: {reason}")]
    Failed {
        /// The model's id.
        model: String,
        /// Position in the batch, from 0.
        index: usize,
        /// What the library said, or what was expected and what came.
        reason: String,
    },
    /// A picture whose pixels do not fit its width and height.
    #[error(
        "picture {index} of the batch is {width} x {height} and has {bytes} bytes of RGB, not width x height x 3"
    )]
    BadPicture {
        /// Position in the batch, from 0.
        index: usize,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Length of `rgb`.
        bytes: usize,
    },
}
