//! The contract every model answers to: a card that says what it is, and `encode` over a batch.
//!
//! Shapes: a batch of `n` inputs gives `[n, dim]` f32, row-major, in the order of the inputs. Vectors are unit length.

use std::sync::Arc;

use crate::models::ModelError;
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

/// What becomes of a text that is longer than a model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LongTexts {
    /// Its beginning is read, and it is counted as truncated.
    #[default]
    Truncate,
    /// All of it is read, in windows that overlap a little, each with prompt and special tokens: its vector is the mean of
    /// theirs, weighted by their tokens of the text, at unit length.
    Window,
}

/// How texts are read, where that is not as the model's card says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Reading {
    /// Put before a query; `None`: the card's.
    pub query_prompt: Option<String>,
    /// Put before a document; `None`: the card's.
    pub document_prompt: Option<String>,
    /// What becomes of long ones.
    pub long_texts: LongTexts,
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
    /// What the model reads, and what its collections hold.
    pub modality: Modality,
    /// What it reads besides, into the same space, so that queries may be of it: texts, of a picture model with a text tower.
    pub also_reads: Option<Modality>,
    /// Longest text in tokens, special tokens and prompt included; `None` where no texts are read.
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

impl ModelCard {
    /// Whether inputs of `modality` become vectors of this model's space.
    pub fn reads(&self, modality: Modality) -> bool {
        self.modality == modality || self.also_reads == Some(modality)
    }

    /// The card of this model when it reads texts in another way. Other prompts make another vector space; windows do not, since a
    /// text that needs none has the same vector.
    pub fn reading(&self, reading: &Reading) -> ModelCard {
        let chosen = |given: &Option<String>, own: &String| given.as_ref().unwrap_or(own).clone();
        let query_prompt = chosen(&reading.query_prompt, &self.query_prompt);
        let document_prompt = chosen(&reading.document_prompt, &self.document_prompt);
        let mut space = self.space.clone();
        if query_prompt != self.query_prompt || document_prompt != self.document_prompt {
            // With its length, so that no two pairs of prompts hash alike.
            let hash = blake3::Hasher::new()
                .update(&(query_prompt.len() as u64).to_le_bytes())
                .update(query_prompt.as_bytes())
                .update(document_prompt.as_bytes())
                .finalize();
            space = format!("{space}/prompts-{:.8}", hash.to_hex());
        }
        ModelCard { query_prompt, document_prompt, space, ..self.clone() }
    }
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
    /// Encodes a batch; the order of rows is that of `inputs`. An input that the card does not read is `EncodeError::Modality`.
    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError>;
    /// What the model reads of a text: token ids with prompt and special tokens, cut to its longest or window after window (none where
    /// no texts are read).
    fn token_ids(&self, text: &str, prompt: Prompt) -> Vec<u32>;
    /// Tokens of a text without prompt and special tokens (0 where no texts are read); what passage splitting counts with.
    fn count_tokens(&self, text: &str) -> usize;
    /// The same weights, reading texts as `reading` says, with the card that belongs to that. [`ModelError::Reading`] for models
    /// that read no texts, and for prompts that leave too little room for a text.
    fn reading(&self, reading: &Reading) -> Result<Arc<dyn Encoder>, ModelError> {
        let _ = reading;
        let id = self.card().id.clone();
        Err(ModelError::Reading { id, reason: format!("it reads {}, not texts", self.card().modality) })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_prompts_are_another_space_and_windows_are_not() {
        let card =
            crate::builtin().into_iter().find(|card| card.modality == Modality::Text).expect("a text model");
        let read = |query: Option<&str>, document: Option<&str>, long_texts| {
            let reading = Reading {
                query_prompt: query.map(str::to_owned),
                document_prompt: document.map(str::to_owned),
                long_texts,
            };
            card.reading(&reading)
        };
        let own = (Some(card.query_prompt.as_str()), Some(card.document_prompt.as_str()));
        assert_eq!(read(None, None, LongTexts::Window).space, card.space);
        assert_eq!(read(own.0, own.1, LongTexts::Truncate).space, card.space);
        let spaces = [
            read(Some("a"), Some("bc"), LongTexts::Truncate),
            read(Some("ab"), Some("c"), LongTexts::Truncate),
            read(Some("a"), None, LongTexts::Truncate),
        ]
        .map(|card| card.space);
        let told: std::collections::BTreeSet<&String> = spaces.iter().chain([&card.space]).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(spaces.iter().all(|space| space.starts_with(&card.space)));
        assert_eq!(read(Some("a"), None, LongTexts::Truncate).document_prompt, card.document_prompt);
    }
}
