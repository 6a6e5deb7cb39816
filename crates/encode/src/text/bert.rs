//! The BERT encoder (Devlin et al., 2018; post-norm, learnt positions, exact GELU), forward only; RoBERTa and XLM-RoBERTa are
//! the same network whose positions begin behind the padding token's.
//!
//! Shapes: the texts of a group lie one behind the other, `[tokens, dim]`; only attention knows where one ends. Weights
//! come by Hugging Face's names for `BertModel`. Word embeddings stay in the file they are in: of 43 783 (or 250 002) rows a
//! query reads a dozen.

use serde::Deserialize;

use super::split::{self, Part};
use crate::math::elementwise::LayerNorm;
use crate::math::linear::{Finish, Linear};
use crate::models::ModelError;
use crate::weights::{Table, Weights};

/// Before the names of tensors in checkpoints that hold more than the encoder.
const PREFIXES: [&str; 4] = ["", "bert.", "roberta.", "0.auto_model."];
const WORDS: &str = "embeddings.word_embeddings.weight";

/// What of `config.json` the forward pass needs.
#[derive(Deserialize)]
pub(crate) struct Config {
    /// Absent from the oldest files, which are BERT's.
    #[serde(default = "bert")]
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
    #[serde(default)]
    pad_token_id: Option<usize>,
    /// Other than `absolute`: positions relative to one another, which is another network.
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn bert() -> String {
    "bert".to_owned()
}

impl Config {
    /// From `config.json`; what is not this network is refused.
    pub(crate) fn read(json: &[u8]) -> Result<Config, String> {
        let config: Config =
            serde_json::from_slice(json).map_err(|error| format!("its config.json: {error}"))?;
        let (dim, heads) = (config.hidden_size, config.num_attention_heads);
        if config.hidden_act != "gelu" {
            return Err(format!("its hidden_act is \"{}\", expected \"gelu\"", config.hidden_act));
        }
        if heads == 0 || dim == 0 || !dim.is_multiple_of(heads) {
            return Err(format!("{dim} numbers cannot be shared among {heads} attention heads"));
        }
        match config.position_embedding_type.as_deref() {
            None | Some("absolute") => {}
            Some(other) => return Err(format!("its positions are \"{other}\", expected \"absolute\"")),
        }
        if config.max_tokens() == 0 {
            return Err(format!("it has {} positions", config.max_position_embeddings));
        }
        Ok(config)
    }

    /// Most tokens of a text that there are positions for.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// Whether tokens of a second text are told from those of a first.
    pub(crate) fn tells_second_texts(&self) -> bool {
        self.model_type == "bert" && self.type_vocab_size > 1
    }

    /// Numbers in a token's state.
    pub(crate) fn dim(&self) -> usize {
        self.hidden_size
    }

    /// The position of a text's first token.
    fn first_position(&self) -> usize {
        if self.model_type == "bert" { 0 } else { self.pad_token_id.unwrap_or(1).saturating_add(1) }
    }
}

/// A loaded model.
pub(crate) struct Bert {
    heads: usize,
    words: Table,
    /// `[positions, dim]` from that of a text's first token on, the embedding of token type 0 added.
    positions: Vec<f32>,
    /// `[dim]`: what the embedding of token type 1 has over that of type 0; empty where there is no type 1.
    second: Vec<f32>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

pub(super) struct Layer {
    /// Query, key and value stacked.
    pub(super) qkv: Linear,
    pub(super) attended: Linear,
    pub(super) attention_norm: LayerNorm,
    pub(super) wide: Linear,
    pub(super) narrow: Linear,
    pub(super) norm: LayerNorm,
}

impl Bert {
    pub(crate) fn read(config: &Config, weights: Weights) -> Result<Bert, ModelError> {
        let weights = weights.below(&PREFIXES, WORDS);
        let dim = config.hidden_size;
        let words = weights.table(WORDS, config.vocab_size, dim)?;
        let mut positions =
            weights.dense("embeddings.position_embeddings.weight", &[config.max_position_embeddings, dim])?;
        positions.drain(..config.first_position() * dim);
        let kinds =
            weights.dense("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, dim])?;
        for position in positions.chunks_exact_mut(dim) {
            position.iter_mut().zip(&kinds).for_each(|(position, kind)| *position += kind);
        }
        let second = kinds.iter().skip(dim).take(dim).zip(&kinds).map(|(second, first)| second - first);
        let second = second.collect();
        let norm = read_norm(&weights, "embeddings.LayerNorm", config)?;
        let layers = (0..config.num_hidden_layers)
            .map(|layer| Layer::read(&weights, &format!("encoder.layer.{layer}"), config))
            .collect::<Result<_, _>>()?;
        Ok(Bert { heads: config.num_attention_heads, words, positions, second, norm, layers })
    }

    /// Numbers in a token's state.
    pub(crate) fn dim(&self) -> usize {
        self.norm.weight.len()
    }

    /// How many tokens there are to know.
    pub(crate) fn vocabulary(&self) -> usize {
        self.words.rows()
    }

    /// Weights in memory, bytes; the word embeddings are part of their file and not counted.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.positions.as_slice()) + self.layers.iter().map(Layer::bytes).sum::<usize>()
    }

    /// Last states `[tokens, dim]` of token ids; `shared` lets the other threads help.
    pub(crate) fn encode(&self, texts: &[Vec<u32>], shared: bool) -> Vec<f32> {
        self.encode_pairs(texts, &[], shared)
    }

    /// As [`Bert::encode`], of pairs of texts: tokens of a pair from the position in `seconds` on are of type 1. Pairs behind the
    /// end of `seconds` have none such.
    pub(crate) fn encode_pairs(&self, texts: &[Vec<u32>], seconds: &[usize], shared: bool) -> Vec<f32> {
        let mut x = self.embed(texts, seconds);
        let threads = if shared { rayon::current_num_threads() } else { 1 };
        let mut parts =
            self.layers.first().map_or_else(Vec::new, |layer| Part::of(layer, self.heads, threads));
        for layer in &self.layers {
            split::forward(layer, &mut x, texts, self.heads, &mut parts, shared);
        }
        x
    }

    /// Word + position + type embeddings, normalised: `[tokens, dim]`.
    fn embed(&self, texts: &[Vec<u32>], seconds: &[usize]) -> Vec<f32> {
        let dim = self.dim();
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let mut x = vec![0.0; tokens * dim];
        let ids = texts.iter().flat_map(|text| text.iter().zip(self.positions.chunks_exact(dim)));
        for (row, (id, position)) in x.chunks_exact_mut(dim).zip(ids) {
            self.words.row(*id as usize, row);
            row.iter_mut().zip(position).for_each(|(number, position)| *number += position);
        }
        if !self.second.is_empty() {
            let mut rest = x.as_mut_slice();
            for (text, second) in texts.iter().zip(seconds) {
                let (states, after) = rest.split_at_mut(text.len() * dim);
                for row in states.chunks_exact_mut(dim).skip(*second) {
                    row.iter_mut().zip(&self.second).for_each(|(number, more)| *number += more);
                }
                rest = after;
            }
        }
        self.norm.apply(&mut x);
        x
    }
}

impl Layer {
    fn read(weights: &Weights, name: &str, config: &Config) -> Result<Layer, ModelError> {
        let (dim, wide) = (config.hidden_size, config.intermediate_size);
        let linear = |name: &str, inputs: usize, outputs: usize, finish| -> Result<Linear, ModelError> {
            let matrix = weights.matrix(&format!("{name}.weight"), outputs, inputs)?;
            let bias = weights.dense(&format!("{name}.bias"), &[outputs])?;
            Ok(Linear::stacked(vec![matrix], inputs, bias, finish))
        };
        let (mut parts, mut bias) = (Vec::new(), Vec::new());
        for part in ["query", "key", "value"] {
            let part = format!("{name}.attention.self.{part}");
            parts.push(weights.matrix(&format!("{part}.weight"), dim, dim)?);
            bias.extend(weights.dense(&format!("{part}.bias"), &[dim])?);
        }
        Ok(Layer {
            qkv: Linear::stacked(parts, dim, bias, Finish::Keep),
            attended: linear(&format!("{name}.attention.output.dense"), dim, dim, Finish::Keep)?,
            attention_norm: read_norm(weights, &format!("{name}.attention.output.LayerNorm"), config)?,
            wide: linear(&format!("{name}.intermediate.dense"), dim, wide, Finish::Gelu)?,
            narrow: linear(&format!("{name}.output.dense"), wide, dim, Finish::Keep)?,
            norm: read_norm(weights, &format!("{name}.output.LayerNorm"), config)?,
        })
    }

    fn bytes(&self) -> usize {
        [&self.qkv, &self.attended, &self.wide, &self.narrow].iter().map(|linear| linear.bytes()).sum()
    }

    /// Numbers in a token's state.
    pub(super) fn dim(&self) -> usize {
        self.norm.weight.len()
    }
}

/// The oldest checkpoints, converted from TensorFlow, call weight and bias gamma and beta.
fn read_norm(weights: &Weights, name: &str, config: &Config) -> Result<LayerNorm, ModelError> {
    let dim = config.hidden_size;
    let [weight, bias] = match weights.has(&format!("{name}.gamma")) {
        true => ["gamma", "beta"],
        false => ["weight", "bias"],
    };
    Ok(LayerNorm {
        weight: weights.dense(&format!("{name}.{weight}"), &[dim])?,
        bias: weights.dense(&format!("{name}.{bias}"), &[dim])?,
        epsilon: config.layer_norm_eps,
    })
}
