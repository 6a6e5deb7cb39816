//! The transformer that both towers are: layer norms before attention and feed-forward (Xiong et al., 2020), whose results are
//! added to the states.
//!
//! Shapes: sequences of a group lie one behind the other, `[tokens, dim]`; only attention knows where one ends.

use super::config::Layers;
use crate::math::attention::{Attention, Scratch};
use crate::math::elementwise::LayerNorm;
use crate::math::linear::{Finish, Linear};
use crate::models::ModelError;
use crate::weights::Weights;

/// The layers of a tower.
pub(super) struct Transformer {
    heads: usize,
    /// Whether a token attends only to itself and to those before it.
    causal: bool,
    layers: Vec<Layer>,
}

struct Layer {
    attention_norm: LayerNorm,
    /// Query, key and value stacked.
    qkv: Linear,
    attended: Linear,
    norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
}

/// Activations reused from layer to layer.
#[derive(Default)]
struct Buffers {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    scratch: Scratch,
}

impl Transformer {
    /// The layers below `name`.
    pub(super) fn read(
        weights: &Weights,
        name: &str,
        layers: &Layers,
        causal: bool,
    ) -> Result<Transformer, ModelError> {
        let Layers { heads, count, .. } = *layers;
        let layers = (0..count)
            .map(|layer| Layer::read(weights, &format!("{name}.layers.{layer}"), layers))
            .collect::<Result<_, _>>()?;
        Ok(Transformer { heads, causal, layers })
    }

    /// Weights in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum()
    }

    /// `x [tokens, dim]` through all layers, in place; `lengths` are those of the sequences. `shared` lets the other threads
    /// help.
    pub(super) fn forward(&self, x: &mut [f32], lengths: &[usize], shared: bool) {
        let mut buffers = Buffers::default();
        for layer in &self.layers {
            layer.attend(x, lengths, (self.heads, self.causal), shared, &mut buffers);
            layer.feed_forward(x, shared, &mut buffers);
        }
    }
}

impl Layer {
    fn read(weights: &Weights, name: &str, layers: &Layers) -> Result<Layer, ModelError> {
        let Layers { dim, wide, epsilon, activation, .. } = *layers;
        let linear =
            |part: &str, inputs: usize, outputs: usize, finish: Finish| -> Result<Linear, ModelError> {
                let matrix = weights.matrix(&format!("{name}.{part}.weight"), outputs, inputs)?;
                let bias = weights.dense(&format!("{name}.{part}.bias"), &[outputs])?;
                Ok(Linear::stacked(vec![matrix], inputs, bias, finish))
            };
        let (mut parts, mut bias) = (Vec::new(), Vec::new());
        for part in ["q_proj", "k_proj", "v_proj"] {
            let part = format!("{name}.self_attn.{part}");
            parts.push(weights.matrix(&format!("{part}.weight"), dim, dim)?);
            bias.extend(weights.dense(&format!("{part}.bias"), &[dim])?);
        }
        Ok(Layer {
            attention_norm: read_norm(weights, &format!("{name}.layer_norm1"), dim, epsilon)?,
            qkv: Linear::stacked(parts, dim, bias, Finish::Keep),
            attended: linear("self_attn.out_proj", dim, dim, Finish::Keep)?,
            norm: read_norm(weights, &format!("{name}.layer_norm2"), dim, epsilon)?,
            wide: linear("mlp.fc1", dim, wide, activation)?,
            narrow: linear("mlp.fc2", wide, dim, Finish::Keep)?,
        })
    }

    fn bytes(&self) -> usize {
        [&self.qkv, &self.attended, &self.wide, &self.narrow].iter().map(|linear| linear.bytes()).sum()
    }

    /// `x += attention(norm(x))`.
    fn attend(
        &self,
        x: &mut [f32],
        lengths: &[usize],
        (heads, causal): (usize, bool),
        shared: bool,
        buffers: &mut Buffers,
    ) {
        let dim = self.norm.weight.len();
        let tokens = x.len() / dim;
        let Buffers { normed, qkv, attended, narrow, scratch, .. } = buffers;
        normalised(&self.attention_norm, x, normed);
        apply(&self.qkv, normed, tokens, qkv, shared);
        attended.resize(x.len(), 0.0);
        let (mut qkv_rest, mut out_rest) = (qkv.as_slice(), attended.as_mut_slice());
        for length in lengths {
            let (qkv, qkv_after) = qkv_rest.split_at(length * 3 * dim);
            let (out, out_after) = out_rest.split_at_mut(length * dim);
            Attention { qkv, heads, head: dim / heads, causal, out, scratch: &mut *scratch }.run();
            (qkv_rest, out_rest) = (qkv_after, out_after);
        }
        apply(&self.attended, attended, tokens, narrow, shared);
        x.iter_mut().zip(narrow).for_each(|(x, added)| *x += *added);
    }

    /// `x += narrow(activation(wide(norm(x))))`.
    fn feed_forward(&self, x: &mut [f32], shared: bool, buffers: &mut Buffers) {
        let tokens = x.len() / self.norm.weight.len();
        let Buffers { normed, wide, narrow, .. } = buffers;
        normalised(&self.norm, x, normed);
        apply(&self.wide, normed, tokens, wide, shared);
        apply(&self.narrow, wide, tokens, narrow, shared);
        x.iter_mut().zip(narrow).for_each(|(x, added)| *x += *added);
    }
}

/// `out = norm(x)`.
fn normalised(norm: &LayerNorm, x: &[f32], out: &mut Vec<f32>) {
    out.clear();
    out.extend_from_slice(x);
    norm.apply(out);
}

/// `out [tokens, outputs]` of `x [tokens, inputs]`.
fn apply(linear: &Linear, x: &[f32], tokens: usize, out: &mut Vec<f32>, shared: bool) {
    out.resize(tokens * linear.outputs(), 0.0);
    linear.run(x, out, shared);
}

/// Scale and shift of a layer normalisation.
pub(super) fn read_norm(
    weights: &Weights,
    name: &str,
    dim: usize,
    epsilon: f32,
) -> Result<LayerNorm, ModelError> {
    Ok(LayerNorm {
        weight: weights.dense(&format!("{name}.weight"), &[dim])?,
        bias: weights.dense(&format!("{name}.bias"), &[dim])?,
        epsilon,
    })
}

/// A projection into the common space, which has no bias.
pub(super) fn read_projection(
    weights: &Weights,
    name: &str,
    inputs: usize,
    outputs: usize,
) -> Result<Linear, ModelError> {
    let matrix = weights.dense(&format!("{name}.weight"), &[outputs, inputs])?;
    Ok(Linear::full(&matrix, inputs, vec![0.0; outputs], Finish::Keep))
}
