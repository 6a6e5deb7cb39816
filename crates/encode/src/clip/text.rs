//! The text tower: token and position embeddings, a causal transformer, the state of the end token normalised and projected.
//!
//! Which token is the end follows `transformers`: the first whose id the config names; where it names 2, as configs did before the
//! right id was written into them, the one of the largest id, which is the end token of CLIP's vocabulary. Behind the end only
//! padding would come, which a causal network cannot see from there, so none is made.

use super::config::Config;
use super::transformer::{Transformer, read_norm, read_projection};
use crate::math::elementwise::LayerNorm;
use crate::math::linear::Linear;
use crate::models::ModelError;
use crate::weights::{Table, Weights};

/// The `eos_token_id` of configs that were written with a wrong one.
const LEGACY_END: u32 = 2;

/// A loaded tower.
pub(super) struct TextTower {
    words: Table,
    /// `[positions, dim]`.
    positions: Vec<f32>,
    transformer: Transformer,
    norm: LayerNorm,
    projection: Linear,
    end: u32,
}

impl TextTower {
    pub(super) fn read(weights: &Weights, config: &Config) -> Result<TextTower, ModelError> {
        let text = &config.text;
        let layers = text.layers().map_err(|reason| weights.broken(reason))?;
        let (dim, name) = (layers.dim, "text_model");
        Ok(TextTower {
            words: weights.table(
                &format!("{name}.embeddings.token_embedding.weight"),
                text.vocabulary(),
                dim,
            )?,
            positions: weights
                .dense(&format!("{name}.embeddings.position_embedding.weight"), &[text.positions(), dim])?,
            transformer: Transformer::read(weights, &format!("{name}.encoder"), &layers, true)?,
            norm: read_norm(weights, &format!("{name}.final_layer_norm"), dim, layers.epsilon)?,
            projection: read_projection(weights, "text_projection", dim, config.dim)?,
            end: text.end(),
        })
    }

    /// How many tokens there are to know.
    pub(super) fn vocabulary(&self) -> usize {
        self.words.rows()
    }

    /// Weights in memory, bytes; the token embeddings are part of their file and not counted.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.positions.as_slice()) + self.transformer.bytes() + self.projection.bytes()
    }

    /// Vectors `[texts, dim]` of token ids, not yet of unit length; `shared` lets the other threads help.
    pub(super) fn encode(&self, texts: &[Vec<u32>], shared: bool) -> Vec<f32> {
        let dim = self.norm.weight.len();
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let mut x = vec![0.0; lengths.iter().sum::<usize>() * dim];
        let ids = texts.iter().flat_map(|text| text.iter().zip(self.positions.chunks_exact(dim)));
        for (row, (id, position)) in x.chunks_exact_mut(dim).zip(ids) {
            self.words.row(*id as usize, row);
            row.iter_mut().zip(position).for_each(|(number, position)| *number += position);
        }
        self.transformer.forward(&mut x, &lengths, shared);
        let mut pooled = Vec::with_capacity(texts.len() * dim);
        let mut first = 0;
        for text in texts {
            pooled.extend_from_slice(&x[(first + end_of(text, self.end)) * dim..][..dim]);
            first += text.len();
        }
        self.norm.apply(&mut pooled);
        let mut vectors = vec![0.0; texts.len() * self.projection.outputs()];
        self.projection.run(&pooled, &mut vectors, shared);
        vectors
    }
}

/// Position of the token whose state makes the vector; the first one where none fits, as in `transformers`.
fn end_of(text: &[u32], end: u32) -> usize {
    let end = if end == LEGACY_END { text.iter().max().copied() } else { Some(end) };
    text.iter().position(|id| Some(*id) == end).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{LEGACY_END, end_of};

    #[test]
    fn the_end_is_named_or_the_largest() {
        assert_eq!(end_of(&[8, 3, 5, 9, 9], 9), 3);
        assert_eq!(end_of(&[8, 3, 9, 5, 9], LEGACY_END), 2);
        assert_eq!(end_of(&[8, 2, 9], LEGACY_END), 2, "2 itself is not looked for");
        assert_eq!(end_of(&[8, 3], 9), 0);
    }
}
