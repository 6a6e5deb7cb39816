//! Text models: prompt, tokens, transformer, pooling, unit length.
//!
//! A batch is cut into groups of texts of about equal token counts; a thread works through a group, whose texts lie
//! one behind the other without padding. One text alone is shared among the threads inside its layers instead.

mod bert;
pub(crate) mod folder;
pub(crate) mod pooling;
pub(crate) mod tokens;

use bytes::Bytes;
use rayon::prelude::*;

use crate::encoder::{EncodeError, Encoded, Encoder, Input, Modality, ModelCard, Prompt};
use crate::math::elementwise::normalise;
use crate::models::ModelError;
use crate::weights::Weights;
use bert::{Bert, Config};
pub(crate) use folder::open_folder;
use pooling::Pooling;
use tokens::Tokens;

/// Most tokens of a group: their activations stay in one core's second-level cache.
const GROUP_TOKENS: usize = 512;
/// Batches of fewer tokens are one group, shared inside the layers.
const SPLIT_ABOVE_TOKENS: usize = 128;

/// A text model with its tokenizer.
pub(crate) struct TextEncoder {
    card: ModelCard,
    tokens: Tokens,
    /// Texts are made small before they are cut into tokens.
    lower_case: bool,
    bert: Bert,
    pooling: Pooling,
}

impl TextEncoder {
    /// From a Hugging Face `config.json`, `tokenizer.json` and a safetensors file with Q4_0 matrices.
    pub(crate) fn open(
        mut card: ModelCard,
        config: &[u8],
        tokenizer: &[u8],
        weights: &'static [u8],
    ) -> Result<TextEncoder, ModelError> {
        let id = card.id.clone();
        let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
        let (tokens, bert) = rayon::join(
            || Tokens::new(&id, tokens::from_json(tokenizer).map_err(broken)?, card.max_tokens),
            || {
                let config = Config::read(config).map_err(broken)?;
                Bert::read(&config, Weights::read(&id, &Bytes::from_static(weights))?)
            },
        );
        let (tokens, bert) = (tokens?, bert?);
        if bert.dim() != card.dim {
            let (found, expected) = (bert.dim(), card.dim);
            return Err(broken(format!("its vectors have {found} numbers, its card says {expected}")));
        }
        card.bytes = bert.bytes();
        Ok(TextEncoder { card, tokens, lower_case: false, bert, pooling: Pooling::Mean })
    }

    /// Pooled vectors `[texts, dim]`.
    fn vectors(&self, texts: &[Vec<u32>], shared: bool) -> Vec<f32> {
        let states = self.bert.encode(texts, shared);
        self.pooling.apply(&states, texts, self.card.dim)
    }

    /// Token ids of a text with its prompt, and whether its end had to be cut off.
    fn cut(&self, text: &str, prompt: Prompt) -> (Vec<u32>, bool) {
        let prefix = match prompt {
            Prompt::Query => self.card.query_prompt.as_str(),
            Prompt::Document => self.card.document_prompt.as_str(),
            Prompt::None => "",
        };
        match self.lower_case {
            true => self.tokens.encode(&prefix.to_lowercase(), &text.to_lowercase()),
            false => self.tokens.encode(prefix, text),
        }
    }

    /// Token ids of every input, and how many inputs were cut.
    fn tokenize(&self, inputs: &[Input<'_>]) -> Result<(Vec<Vec<u32>>, usize), EncodeError> {
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
        let cut = |(prompt, text): &(Prompt, &str)| self.cut(text, *prompt);
        let tokenized: Vec<(Vec<u32>, bool)> = match &texts[..] {
            [one] => vec![cut(one)],
            several => several.par_iter().map(cut).collect(),
        };
        let truncated = tokenized.iter().filter(|(_, cut)| *cut).count();
        Ok((tokenized.into_iter().map(|(ids, _)| ids).collect(), truncated))
    }
}

impl Encoder for TextEncoder {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError> {
        let (texts, truncated) = self.tokenize(inputs)?;
        let dim = self.card.dim;
        let groups = groups(&texts);
        let mut vectors = Vec::with_capacity(inputs.len() * dim);
        if let [group] = groups[..] {
            vectors = self.vectors(group, true);
        } else {
            let parts: Vec<Vec<f32>> = groups.par_iter().map(|group| self.vectors(group, false)).collect();
            parts.iter().for_each(|part| vectors.extend_from_slice(part));
        }
        vectors.chunks_exact_mut(dim).for_each(normalise);
        Ok(Encoded { vectors, dim, truncated })
    }

    fn token_ids(&self, text: &str, prompt: Prompt) -> Vec<u32> {
        self.cut(text, prompt).0
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokens.count(text)
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
