//! Text models: prompt, tokens, windows, transformer, pooling, what follows it, unit length.
//!
//! A batch is cut into groups of texts of about equal token counts; a thread works through a group, whose texts lie
//! one behind the other without padding. One text alone is shared among the threads inside its layers instead.

mod bert;
pub(crate) mod cross;
pub(crate) mod folder;
mod head;
mod modernbert;
pub(crate) mod modules;
mod network;
pub(crate) mod pooling;
mod qwen3;
mod rotary;
mod split;
pub(crate) mod tokens;
mod windows;

use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;

use crate::encoder::{EncodeError, Encoded, Encoder, Input, LongTexts, Modality, ModelCard, Prompt, Reading};
use crate::math::elementwise::normalise;
use crate::models::ModelError;
use crate::weights::Weights;
pub(crate) use folder::open_folder;
use head::Head;
use network::{Config, Network};
use pooling::{Mode, Pooling};
use tokens::{Piece, Tokens};

/// Most tokens of a group: their activations stay in one core's second-level cache.
const GROUP_TOKENS: usize = 512;
/// Batches of fewer tokens are one group, shared inside the layers.
const SPLIT_ABOVE_TOKENS: usize = 128;

/// A text model with its tokenizer; shared by all who read texts with it, each in their own way.
pub(crate) struct TextModel {
    tokens: Tokens,
    /// Texts are made small before they are cut into tokens.
    lower_case: bool,
    network: Network,
    pooling: Pooling,
    head: Head,
}

/// A text model, and how it reads.
pub(crate) struct TextEncoder {
    card: ModelCard,
    model: Arc<TextModel>,
    long_texts: LongTexts,
}

impl TextEncoder {
    pub(crate) fn new(card: ModelCard, model: Arc<TextModel>, long_texts: LongTexts) -> TextEncoder {
        TextEncoder { card, model, long_texts }
    }

    /// From a Hugging Face `config.json`, `tokenizer.json` and a safetensors file with Q4_0 matrices.
    pub(crate) fn open(
        mut card: ModelCard,
        config: &[u8],
        tokenizer: &[u8],
        weights: &'static [u8],
    ) -> Result<TextEncoder, ModelError> {
        let id = card.id.clone();
        let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
        let (tokens, network) = rayon::join(
            || Tokens::new(&id, tokens::from_json(tokenizer).map_err(broken)?, card.max_tokens),
            || {
                let config = Config::read(config).map_err(broken)?;
                config.open(Weights::read(&id, &Bytes::from_static(weights))?)
            },
        );
        let (tokens, network) = (tokens?, network?);
        if network.dim() != card.dim {
            let (found, expected) = (network.dim(), card.dim);
            return Err(broken(format!("its vectors have {found} numbers, its card says {expected}")));
        }
        card.bytes = network.bytes();
        let pooling = Mode::Mean.into();
        let model = TextModel { tokens, lower_case: false, network, pooling, head: Head::default() };
        Ok(TextEncoder::new(card, Arc::new(model), LongTexts::Truncate))
    }

    /// Vectors `[pieces, dim]`; `skips` says of each how many first states a pooling leaves out that leaves out prompts.
    fn vectors(&self, pieces: &[Vec<u32>], skips: &[usize], shared: bool) -> Vec<f32> {
        let TextModel { network, pooling, head, .. } = &*self.model;
        let states = network.encode(pieces, shared);
        let pooled = pooling.apply(&states, pieces, skips, network.dim());
        let mut vectors = head.apply(pooled, pieces.len(), shared);
        vectors.chunks_exact_mut(self.card.dim).for_each(normalise);
        vectors
    }

    /// Vectors of pieces, `[pieces, dim]`, by the threads that help.
    fn encode_pieces(&self, pieces: &[Vec<u32>], skips: &[usize]) -> Vec<f32> {
        let groups = groups(pieces);
        if let [group] = groups[..] {
            // Into the pool once, and not anew for each layer.
            return rayon::scope(|_| self.vectors(group, skips, true));
        }
        let mut rest = skips;
        let with_skips: Vec<(&[Vec<u32>], &[usize])> = groups
            .into_iter()
            .map(|group| {
                let (skips, after) = rest.split_at(group.len());
                rest = after;
                (group, skips)
            })
            .collect();
        let parts: Vec<Vec<f32>> =
            with_skips.par_iter().map(|(group, skips)| self.vectors(group, skips, false)).collect();
        parts.concat()
    }

    /// What stands in front of a text.
    fn prompt(&self, prompt: Prompt) -> &str {
        match prompt {
            Prompt::Query => self.card.query_prompt.as_str(),
            Prompt::Document => self.card.document_prompt.as_str(),
            Prompt::None => "",
        }
    }

    /// What the model reads of a text with its prompt: one piece, or windows.
    fn cut(&self, text: &str, prompt: Prompt) -> Cut {
        let tokens = &self.model.tokens;
        let prefix = self.prompt(prompt);
        let small = self.model.lower_case.then(|| (prefix.to_lowercase(), text.to_lowercase()));
        let (prefix, text) =
            small.as_ref().map_or((prefix, text), |(prefix, text)| (prefix.as_str(), text.as_str()));
        match self.long_texts {
            LongTexts::Truncate => {
                let (ids, is_cut) = tokens.encode(prefix, text);
                Cut { pieces: vec![Piece { ids, tokens: 1 }], is_cut }
            }
            LongTexts::Window => Cut { pieces: tokens.windows(prefix, text), is_cut: false },
        }
    }

    /// How many first states of a text a pooling leaves out for its prompt.
    fn skip(&self, prompt: Prompt) -> usize {
        match self.prompt(prompt) {
            prefix if self.model.pooling.include_prompt || prefix.is_empty() => 0,
            prefix if self.model.lower_case => self.model.tokens.before_text(&prefix.to_lowercase()),
            prefix => self.model.tokens.before_text(prefix),
        }
    }

    /// The texts of a batch, if all of it are texts that say something.
    fn texts<'a>(&self, inputs: &[Input<'a>]) -> Result<Vec<(Prompt, &'a str)>, EncodeError> {
        let mut texts = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            let Input::Text { text, prompt } = *input else {
                return Err(EncodeError::Modality {
                    model: self.card.id.clone(),
                    expected: Modality::Text,
                    received: input.modality(),
                });
            };
            if text.trim().is_empty() {
                return Err(EncodeError::EmptyText { index });
            }
            texts.push((prompt, text));
        }
        Ok(texts)
    }
}

/// A text as the model reads it.
struct Cut {
    /// At least one; several are windows over it.
    pieces: Vec<Piece>,
    /// Only its beginning is in.
    is_cut: bool,
}

impl Encoder for TextEncoder {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError> {
        let texts = self.texts(inputs)?;
        let cut = |(prompt, text): &(Prompt, &str)| self.cut(text, *prompt);
        let cut: Vec<Cut> = match &texts[..] {
            [one] => vec![cut(one)],
            several => several.par_iter().map(cut).collect(),
        };
        let dim = self.card.dim;
        let truncated = cut.iter().filter(|cut| cut.is_cut).count();
        let counts: Vec<usize> = cut.iter().map(|cut| cut.pieces.len()).collect();
        let skips: Vec<usize> = texts
            .iter()
            .zip(&counts)
            .flat_map(|((prompt, _), count)| std::iter::repeat_n(self.skip(*prompt), *count))
            .collect();
        let (pieces, weights): (Vec<Vec<u32>>, Vec<usize>) =
            cut.into_iter().flat_map(|cut| cut.pieces).map(|piece| (piece.ids, piece.tokens)).unzip();
        let vectors = self.encode_pieces(&pieces, &skips);
        let vectors = match pieces.len() == inputs.len() {
            true => vectors,
            false => windows::average(&vectors, &weights, &counts, dim),
        };
        Ok(Encoded { vectors, dim, truncated })
    }

    fn token_ids(&self, text: &str, prompt: Prompt) -> Vec<u32> {
        self.cut(text, prompt).pieces.into_iter().flat_map(|piece| piece.ids).collect()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.model.tokens.count(text)
    }

    fn reading(&self, reading: &Reading) -> Result<Arc<dyn Encoder>, ModelError> {
        let card = self.card.reading(reading);
        let room = self.model.tokens.room();
        for (side, prompt) in [("queries", &card.query_prompt), ("documents", &card.document_prompt)] {
            let taken = self.model.tokens.count(prompt);
            // A window is to hold more of the text than of the prompt.
            if taken > room / 2 {
                return Err(ModelError::Reading {
                    id: card.id,
                    reason: format!(
                        "the prompt for {side} takes {taken} tokens, and of {room} it may take half"
                    ),
                });
            }
        }
        Ok(Arc::new(TextEncoder::new(card, Arc::clone(&self.model), reading.long_texts)))
    }
}

/// Consecutive texts that one thread encodes together.
fn groups(texts: &[Vec<u32>]) -> Vec<&[Vec<u32>]> {
    let total: usize = texts.iter().map(Vec::len).sum();
    let threads = if total > SPLIT_ABOVE_TOKENS { rayon::current_num_threads() } else { 1 };
    let target = total.div_ceil(total.div_ceil(GROUP_TOKENS).next_multiple_of(threads).max(1));
    let mut groups = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (index, text) in texts.iter().enumerate() {
        tokens += text.len();
        if tokens >= target {
            groups.push(&texts[start..=index]);
            (start, tokens) = (index + 1, 0);
        }
    }
    if start < texts.len() {
        groups.push(&texts[start..]);
    }
    groups
}

#[cfg(test)]
mod tests;
