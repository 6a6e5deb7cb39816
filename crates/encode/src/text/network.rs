//! Which network a folder holds: `config.json`'s `model_type` decides, and an unknown one is refused by name.
//!
//! Every network reads the texts of a group, one behind the other, and gives its last states `[tokens, dim]`.

use serde::Deserialize;

use super::bert::{self, Bert};
use super::rotary::Rotary;
use super::{modernbert, qwen3};
use crate::models::ModelError;
use crate::weights::Weights;

/// What of `config.json` the forward pass needs.
pub(crate) struct Config {
    sizes: Sizes,
    /// Says nothing of pooling, but was a decoder: the last token has seen all others.
    is_decoder: bool,
}

enum Sizes {
    Bert(bert::Config),
    Qwen3(qwen3::Config),
    ModernBert(modernbert::Config),
}

/// A loaded network.
pub(crate) enum Network {
    Bert(Bert),
    Rotary(Rotary),
}

/// Read first, so that another architecture is named and not a field that it lacks.
#[derive(Deserialize)]
struct Kind {
    /// Absent from the oldest files, which are BERT's.
    #[serde(default = "bert")]
    model_type: String,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    is_causal: Option<bool>,
}

fn bert() -> String {
    "bert".to_owned()
}

impl Config {
    /// From `config.json`; what is no network of ours is refused.
    pub(crate) fn read(json: &[u8]) -> Result<Config, String> {
        let kind: Kind = serde_json::from_slice(json).map_err(|error| format!("its config.json: {error}"))?;
        let sizes = match kind.model_type.as_str() {
            "bert" | "roberta" | "xlm-roberta" | "camembert" => Sizes::Bert(bert::Config::read(json)?),
            "qwen3" => Sizes::Qwen3(qwen3::Config::read(json)?),
            "modernbert" => Sizes::ModernBert(modernbert::Config::read(json)?),
            other => {
                return Err(format!(
                    "its architecture is \"{other}\", expected one of bert, roberta, xlm-roberta, camembert, modernbert, qwen3"
                ));
            }
        };
        let first = kind.architectures.as_ref().and_then(|names| names.first());
        let is_decoder =
            first.is_some_and(|name| name.ends_with("ForCausalLM")) && kind.is_causal != Some(false);
        Ok(Config { sizes, is_decoder })
    }

    /// Most tokens of a text that there are positions for.
    pub(crate) fn max_tokens(&self) -> usize {
        match &self.sizes {
            Sizes::Bert(config) => config.max_tokens(),
            Sizes::Qwen3(config) => config.max_tokens(),
            Sizes::ModernBert(config) => config.max_tokens(),
        }
    }

    /// Whether sentence-transformers would take the last token's state where a folder names no pooling.
    pub(crate) fn is_decoder(&self) -> bool {
        self.is_decoder
    }

    /// The network with its weights.
    pub(crate) fn open(&self, weights: Weights) -> Result<Network, ModelError> {
        Ok(match &self.sizes {
            Sizes::Bert(config) => Network::Bert(Bert::read(config, weights)?),
            Sizes::Qwen3(config) => Network::Rotary(qwen3::read(config, weights)?),
            Sizes::ModernBert(config) => Network::Rotary(modernbert::read(config, weights)?),
        })
    }
}

impl Network {
    /// Numbers in a token's state.
    pub(crate) fn dim(&self) -> usize {
        match self {
            Network::Bert(network) => network.dim(),
            Network::Rotary(network) => network.dim,
        }
    }

    /// How many tokens there are to know.
    pub(crate) fn vocabulary(&self) -> usize {
        match self {
            Network::Bert(network) => network.vocabulary(),
            Network::Rotary(network) => network.words.rows(),
        }
    }

    /// Weights in memory, bytes; the word embeddings are part of their file and not counted.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Network::Bert(network) => network.bytes(),
            Network::Rotary(network) => network.bytes(),
        }
    }

    /// Last states `[tokens, dim]` of token ids; `shared` lets the other threads help.
    pub(crate) fn encode(&self, texts: &[Vec<u32>], shared: bool) -> Vec<f32> {
        match self {
            Network::Bert(network) => network.encode(texts, shared),
            Network::Rotary(network) => network.encode(texts, shared),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_architecture_is_named_with_the_known_ones() {
        let refused = Config::read(br#"{"model_type": "t5"}"#).err().unwrap_or_default();
        assert!(refused.contains("\"t5\"") && refused.contains("qwen3"), "{refused}");
    }
}
