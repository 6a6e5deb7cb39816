//! CLIP (Radford et al., 2021): a tower for texts and a tower for pictures whose vectors lie in one space, so that words find
//! pictures.
//!
//! A collection of such a model holds pictures; queries may be pictures or texts. Both towers are transformers ([`transformer`]);
//! their last states are projected to `[dim]` and leave at unit length. Models come from folders as Hugging Face and
//! sentence-transformers write them ([`folder`]).

mod config;
mod folder;
mod picture;
mod processor;
mod text;
mod transformer;

use rayon::prelude::*;

use crate::encoder::{EncodeError, Encoded, Encoder, Input, ModelCard, Prompt};
use crate::math::elementwise::normalise;
use crate::picture::Picture;
use crate::text::tokens::Tokens;
use crate::vision::preprocess::{self, Recipe};
pub(crate) use folder::{network_of, open_folder};
use picture::PictureTower;
use text::TextTower;

/// Texts that one thread encodes together.
const GROUP_TEXTS: usize = 16;

/// Both towers with what comes before them.
pub(crate) struct ClipEncoder {
    card: ModelCard,
    tokens: Tokens,
    text: TextTower,
    recipe: Recipe,
    picture: PictureTower,
}

/// One text as the tower reads it.
type Ids = Vec<u32>;

impl ClipEncoder {
    /// Token ids of a text, and whether its end had to be cut off.
    fn cut(&self, text: &str, prompt: Prompt) -> (Ids, bool) {
        let prefix = match prompt {
            Prompt::Query => self.card.query_prompt.as_str(),
            Prompt::Document => self.card.document_prompt.as_str(),
            Prompt::None => "",
        };
        self.tokens.encode(prefix, text)
    }

    /// Vectors of texts, in their order; one alone is shared among the threads inside its layers.
    fn texts(&self, texts: &[Ids]) -> Vec<f32> {
        if texts.is_empty() {
            return Vec::new();
        }
        if texts.len() <= GROUP_TEXTS {
            return self.text.encode(texts, true);
        }
        let parts: Vec<Vec<f32>> =
            texts.par_chunks(GROUP_TEXTS).map(|group| self.text.encode(group, false)).collect();
        parts.concat()
    }

    /// Vectors of pictures, in their order.
    fn pictures(&self, pictures: &[&Picture]) -> Vec<f32> {
        let one = |picture: &&Picture, shared: bool| {
            self.picture.encode(&preprocess::tensor(picture, &self.recipe), shared)
        };
        let parts: Vec<Vec<f32>> = if pictures.len() < rayon::current_num_threads() {
            // Into the pool once, and not anew for each layer.
            rayon::scope(|_| pictures.iter().map(|picture| one(picture, true)).collect())
        } else {
            pictures.par_iter().map(|picture| one(picture, false)).collect()
        };
        parts.concat()
    }
}

impl Encoder for ClipEncoder {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError> {
        let (mut texts, mut pictures, mut truncated) = (Vec::new(), Vec::new(), 0);
        for (index, input) in inputs.iter().enumerate() {
            match *input {
                Input::Text { text, .. } if text.trim().is_empty() => {
                    return Err(EncodeError::EmptyText { index });
                }
                Input::Text { text, prompt } => {
                    let (ids, is_cut) = self.cut(text, prompt);
                    truncated += usize::from(is_cut);
                    texts.push(ids);
                }
                Input::Picture(picture) if !picture.is_whole() => {
                    let (width, height, bytes) = (picture.width, picture.height, picture.rgb.len());
                    return Err(EncodeError::BadPicture { index, width, height, bytes });
                }
                Input::Picture(picture) => pictures.push(picture),
            }
        }
        let dim = self.card.dim;
        let (of_texts, of_pictures) = (self.texts(&texts), self.pictures(&pictures));
        let (mut of_texts, mut of_pictures) = (of_texts.chunks_exact(dim), of_pictures.chunks_exact(dim));
        let rows = inputs.iter().filter_map(|input| match input {
            Input::Text { .. } => of_texts.next(),
            Input::Picture(_) => of_pictures.next(),
        });
        let mut vectors: Vec<f32> = rows.flatten().copied().collect();
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

#[cfg(test)]
mod tests;
