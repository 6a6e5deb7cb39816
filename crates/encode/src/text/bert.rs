//! The BERT encoder (Devlin et al., 2018; post-norm, learnt positions, exact GELU), forward only.
//!
//! Shapes: the texts of a group lie one behind the other, `[tokens, dim]`; only attention knows where one ends. Weights
//! come by Hugging Face's names for `BertModel`. Word embeddings stay in 4 bits in the file's own bytes: of 43 783 rows a
//! query reads a dozen. Pooling is the mean over a text's tokens, special tokens included, as sentence-transformers does.

use serde::Deserialize;

use crate::math::attention::{Attention, Scratch};
use crate::math::elementwise::{LayerNorm, gelu};
use crate::math::linear::Linear;
use crate::models::ModelError;
use crate::weights::{Q4Matrix, Weights};

/// What of `config.json` the forward pass needs.
#[derive(Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
}

/// A loaded model.
pub(crate) struct Bert {
    heads: usize,
    words: Q4Matrix<'static>,
    /// `[positions, dim]`, the embedding of token type 0 added.
    positions: Vec<f32>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Query, key and value stacked.
    qkv: Linear,
    attended: Linear,
    attention_norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
    norm: LayerNorm,
}

impl Bert {
    pub(crate) fn read(model: &str, config: &[u8], weights: &Weights<'static>) -> Result<Bert, ModelError> {
        let broken = |reason: String| ModelError::Broken { id: model.to_owned(), reason };
        let config: Config =
            serde_json::from_slice(config).map_err(|error| broken(format!("its config.json: {error}")))?;
        let (dim, heads) = (config.hidden_size, config.num_attention_heads);
        if config.hidden_act != "gelu" {
            let found = &config.hidden_act;
            return Err(broken(format!("its hidden_act is \"{found}\", expected \"gelu\"")));
        }
        if heads == 0 || !dim.is_multiple_of(heads) {
            return Err(broken(format!("{dim} numbers cannot be shared among {heads} attention heads")));
        }
        let words = weights.q4("embeddings.word_embeddings.weight", config.vocab_size, dim)?;
        let mut positions =
            weights.dense("embeddings.position_embeddings.weight", &[config.max_position_embeddings, dim])?;
        let kinds =
            weights.dense("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, dim])?;
        for position in positions.chunks_exact_mut(dim) {
            position.iter_mut().zip(&kinds).for_each(|(position, kind)| *position += kind);
        }
        let norm = read_norm(weights, "embeddings.LayerNorm", &config)?;
        let layers = (0..config.num_hidden_layers)
            .map(|layer| Layer::read(weights, &format!("encoder.layer.{layer}"), &config))
            .collect::<Result<_, _>>()?;
        Ok(Bert { heads, words, positions, norm, layers })
    }

    /// Numbers in a vector.
    pub(crate) fn dim(&self) -> usize {
        self.norm.weight.len()
    }

    /// Weights in memory, bytes; the word embeddings are part of the binary and not counted.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.positions.as_slice()) + self.layers.iter().map(Layer::bytes).sum::<usize>()
    }

    /// Mean-pooled vectors `[texts, dim]` of token ids; `shared` lets the other threads help.
    pub(crate) fn encode(&self, texts: &[Vec<u32>], shared: bool) -> Vec<f32> {
        let dim = self.dim();
        let mut x = self.embed(texts);
        let mut buffers = Buffers::default();
        for layer in &self.layers {
            layer.forward(&mut x, texts, self.heads, shared, &mut buffers);
        }
        let mut vectors = vec![0.0; texts.len() * dim];
        let mut rest = x.as_slice();
        for (vector, text) in vectors.chunks_exact_mut(dim).zip(texts) {
            let (tokens, after) = rest.split_at(text.len() * dim);
            for token in tokens.chunks_exact(dim) {
                vector.iter_mut().zip(token).for_each(|(sum, number)| *sum += number);
            }
            let count = text.len().max(1) as f32;
            vector.iter_mut().for_each(|sum| *sum /= count);
            rest = after;
        }
        vectors
    }

    /// Word + position + type embeddings, normalised: `[tokens, dim]`.
    fn embed(&self, texts: &[Vec<u32>]) -> Vec<f32> {
        let dim = self.dim();
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let mut x = vec![0.0; tokens * dim];
        let ids = texts.iter().flat_map(|text| text.iter().zip(self.positions.chunks_exact(dim)));
        for (row, (id, position)) in x.chunks_exact_mut(dim).zip(ids) {
            self.words.unpack_row(*id as usize, row);
            row.iter_mut().zip(position).for_each(|(number, position)| *number += position);
        }
        self.norm.apply(&mut x, &[]);
        x
    }
}

/// Activations reused from layer to layer.
#[derive(Default)]
struct Buffers {
    qkv: Vec<f32>,
    attended: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    scratch: Scratch,
}

impl Layer {
    fn read(weights: &Weights<'_>, name: &str, config: &Config) -> Result<Layer, ModelError> {
        let (dim, wide) = (config.hidden_size, config.intermediate_size);
        let linear = |name: &str, inputs: usize, outputs: usize| -> Result<Linear, ModelError> {
            let matrix = weights.q4(&format!("{name}.weight"), outputs, inputs)?;
            Ok(Linear::q4(&[matrix], weights.dense(&format!("{name}.bias"), &[outputs])?))
        };
        let (mut parts, mut bias) = (Vec::new(), Vec::new());
        for part in ["query", "key", "value"] {
            let part = format!("{name}.attention.self.{part}");
            parts.push(weights.q4(&format!("{part}.weight"), dim, dim)?);
            bias.extend(weights.dense(&format!("{part}.bias"), &[dim])?);
        }
        Ok(Layer {
            qkv: Linear::q4(&parts, bias),
            attended: linear(&format!("{name}.attention.output.dense"), dim, dim)?,
            attention_norm: read_norm(weights, &format!("{name}.attention.output.LayerNorm"), config)?,
            wide: linear(&format!("{name}.intermediate.dense"), dim, wide)?,
            narrow: linear(&format!("{name}.output.dense"), wide, dim)?,
            norm: read_norm(weights, &format!("{name}.output.LayerNorm"), config)?,
        })
    }

    fn bytes(&self) -> usize {
        [&self.qkv, &self.attended, &self.wide, &self.narrow].iter().map(|linear| linear.bytes()).sum()
    }

    /// `x [tokens, dim]` through attention and feed-forward, in place.
    fn forward(&self, x: &mut [f32], texts: &[Vec<u32>], heads: usize, shared: bool, buffers: &mut Buffers) {
        let dim = self.norm.weight.len();
        let tokens = x.len() / dim;
        let Buffers { qkv, attended, wide, narrow, scratch } = buffers;
        apply(&self.qkv, x, tokens, qkv, shared);
        attended.resize(tokens * dim, 0.0);
        let (mut qkv_rest, mut out_rest) = (qkv.as_slice(), attended.as_mut_slice());
        for text in texts {
            let (qkv, qkv_after) = qkv_rest.split_at(text.len() * 3 * dim);
            let (out, out_after) = out_rest.split_at_mut(text.len() * dim);
            Attention { qkv, heads, head: dim / heads, out, scratch: &mut *scratch }.run();
            (qkv_rest, out_rest) = (qkv_after, out_after);
        }
        apply(&self.attended, attended, tokens, narrow, shared);
        self.attention_norm.apply(x, narrow);
        apply(&self.wide, x, tokens, wide, shared);
        gelu(wide);
        apply(&self.narrow, wide, tokens, narrow, shared);
        self.norm.apply(x, narrow);
    }
}

fn apply(linear: &Linear, x: &[f32], tokens: usize, out: &mut Vec<f32>, shared: bool) {
    out.resize(tokens * linear.outputs(), 0.0);
    if shared { linear.apply_shared(x, out) } else { linear.apply(x, out) }
}

fn read_norm(weights: &Weights<'_>, name: &str, config: &Config) -> Result<LayerNorm, ModelError> {
    let dim = config.hidden_size;
    Ok(LayerNorm {
        weight: weights.dense(&format!("{name}.weight"), &[dim])?,
        bias: weights.dense(&format!("{name}.bias"), &[dim])?,
        epsilon: config.layer_norm_eps,
    })
}
