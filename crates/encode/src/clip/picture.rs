//! The picture tower (the Vision Transformer of Dosovitskiy et al., 2020, as CLIP has it): patches and a class token, a transformer,
//! the class token's state normalised and projected.
//!
//! Shapes: `[side, side, 3]` pixels are cut into a grid of `patch` x `patch` squares, each a row of a matrix product; what is left over
//! at the right and at the bottom is not read. The states are `[1 + grid * grid, dim]`, the class token first.

use super::config::Config;
use super::transformer::{Transformer, read_norm, read_projection};
use crate::math::elementwise::LayerNorm;
use crate::math::linear::{Finish, Linear};
use crate::models::ModelError;
use crate::weights::Weights;

/// A loaded tower.
pub(super) struct PictureTower {
    side: usize,
    patch: usize,
    patches: Linear,
    /// Of the class token, its position added: `[dim]`.
    class: Vec<f32>,
    /// Of the patches: `[grid * grid, dim]`.
    positions: Vec<f32>,
    first_norm: LayerNorm,
    transformer: Transformer,
    norm: LayerNorm,
    projection: Linear,
}

impl PictureTower {
    pub(super) fn read(weights: &Weights, config: &Config) -> Result<PictureTower, ModelError> {
        let layers = config.vision.layers().map_err(|reason| weights.broken(reason))?;
        let (side, patch) = (config.vision.side(), config.vision.patch());
        let (dim, name) = (layers.dim, "vision_model");
        let grid = side / patch;
        let filters =
            weights.dense(&format!("{name}.embeddings.patch_embedding.weight"), &[dim, 3, patch, patch])?;
        let mut class = weights.dense(&format!("{name}.embeddings.class_embedding"), &[dim])?;
        let mut positions = weights
            .dense(&format!("{name}.embeddings.position_embedding.weight"), &[1 + grid * grid, dim])?;
        class.iter_mut().zip(positions.drain(..dim)).for_each(|(class, position)| *class += position);
        // The misspelt name is that of the published files.
        let first_norm = read_norm(weights, &format!("{name}.pre_layrnorm"), dim, layers.epsilon)?;
        Ok(PictureTower {
            side,
            patch,
            patches: patch_layer(&filters, dim, patch),
            class,
            positions,
            first_norm,
            transformer: Transformer::read(weights, &format!("{name}.encoder"), &layers, false)?,
            norm: read_norm(weights, &format!("{name}.post_layernorm"), dim, layers.epsilon)?,
            projection: read_projection(weights, "visual_projection", dim, config.dim)?,
        })
    }

    /// Weights in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        let tables = size_of_val(self.positions.as_slice()) + size_of_val(self.class.as_slice());
        tables + self.patches.bytes() + self.transformer.bytes() + self.projection.bytes()
    }

    /// The vector `[dim]` of `[side, side, 3]` pixels, not yet of unit length; `shared` lets the other threads help.
    pub(super) fn encode(&self, pixels: &[f32], shared: bool) -> Vec<f32> {
        let dim = self.norm.weight.len();
        let mut x = self.class.clone();
        x.resize(dim + self.positions.len(), 0.0);
        let rest = &mut x[dim..];
        self.patches.run(&cut(pixels, self.side, self.patch), rest, shared);
        rest.iter_mut().zip(&self.positions).for_each(|(number, position)| *number += position);
        self.first_norm.apply(&mut x);
        let tokens = x.len() / dim;
        self.transformer.forward(&mut x, &[tokens], shared);
        x.truncate(dim);
        self.norm.apply(&mut x);
        let mut vector = vec![0.0; self.projection.outputs()];
        self.projection.run(&x, &mut vector, shared);
        vector
    }
}

/// PyTorch's filters `[dim, 3, patch, patch]` as a layer over patches of `[patch, patch, 3]` pixels.
fn patch_layer(filters: &[f32], dim: usize, patch: usize) -> Linear {
    let (pixels, depth) = (patch * patch, 3 * patch * patch);
    let mut turned = vec![0.0; filters.len()];
    for (filter, out) in filters.chunks_exact(depth).zip(turned.chunks_exact_mut(depth)) {
        for (at, weight) in filter.iter().enumerate() {
            out[at % pixels * 3 + at / pixels] = *weight;
        }
    }
    Linear::full(&turned, depth, vec![0.0; dim], Finish::Keep)
}

/// The patches of `[side, side, 3]` pixels, row by row: `[grid * grid, patch * patch * 3]`.
fn cut(pixels: &[f32], side: usize, patch: usize) -> Vec<f32> {
    let grid = side / patch;
    let mut rows = Vec::with_capacity(grid * grid * patch * patch * 3);
    for (down, across) in (0..grid).flat_map(|down| (0..grid).map(move |across| (down, across))) {
        for y in down * patch..(down + 1) * patch {
            rows.extend_from_slice(&pixels[(y * side + across * patch) * 3..][..patch * 3]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_squares_and_the_rest_is_left() {
        let pixels: Vec<f32> = (0..75).map(|i| i as f32).collect();
        let rows = cut(&pixels, 5, 2);
        assert_eq!(rows.len(), 4 * 12);
        assert_eq!(rows[..6], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(rows[6..9], [15.0, 16.0, 17.0]);
        assert_eq!(rows[12..15], [6.0, 7.0, 8.0]);
    }

    #[test]
    fn filters_are_turned_to_the_order_of_pixels() {
        // Takes 100 x red + 10 x green + blue of the last of 2 x 2 pixels.
        let mut filter = vec![0.0; 12];
        (filter[3], filter[7], filter[11]) = (100.0, 10.0, 1.0);
        let layer = patch_layer(&filter, 1, 2);
        let mut out = [0.0];
        layer.apply(&[0.0, 0.0, 0.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0], &mut out);
        assert_eq!(out, [123.0]);
    }
}
