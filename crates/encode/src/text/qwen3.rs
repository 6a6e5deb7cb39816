//! Qwen3 as an encoder (Qwen team, 2025, "Qwen3 Embedding"): causal attention in grouped heads whose queries and keys are
//! normalised, root mean square norms, SwiGLU. Configs and tensors by the names of `transformers`' `Qwen3Model`.
//!
//! Invariant: a rotation, activation or kind of layer that `transformers` would do otherwise is refused by name.

use serde::Deserialize;

use super::rotary::{Layer, Norm, Rotary, check_heads, check_sizes, read_linear};
use crate::math::gate::Gate;
use crate::math::grouped::{Heads, Reach};
use crate::math::rms::RmsNorm;
use crate::math::rotation::Frequencies;
use crate::models::ModelError;
use crate::weights::Weights;

/// Before the names of tensors in checkpoints that hold more than the encoder.
const PREFIXES: [&str; 3] = ["", "model.", "0.auto_model."];
const WORDS: &str = "embed_tokens.weight";
/// `transformers`' when a config says nothing.
const DEFAULT_THETA: f64 = 10_000.0;

/// What of `config.json` the forward pass needs, with `transformers`' defaults.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default)]
    num_key_value_heads: Option<usize>,
    #[serde(default = "default_head")]
    head_dim: usize,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    #[serde(default = "default_epsilon")]
    rms_norm_eps: f32,
    #[serde(default)]
    attention_bias: bool,
    /// As `transformers` 5 writes it.
    #[serde(default)]
    rope_parameters: Option<Turning>,
    /// Before: the base by itself, and what changes it.
    #[serde(default)]
    rope_theta: Option<f64>,
    #[serde(default)]
    rope_scaling: Option<Turning>,
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default)]
    sliding_window: Option<usize>,
    #[serde(default = "default_full_layers")]
    max_window_layers: usize,
    #[serde(default)]
    layer_types: Option<Vec<String>>,
    /// `false`: a decoder that was taught to look both ways.
    #[serde(default = "yes")]
    is_causal: bool,
}

/// Rotary positions in a config.
#[derive(Clone, Deserialize)]
pub(super) struct Turning {
    /// Older files say `type`.
    #[serde(alias = "type", default)]
    rope_type: Option<String>,
    #[serde(default)]
    rope_theta: Option<f64>,
}

impl Turning {
    /// Of a file that names the base by itself.
    pub(super) fn plain(rope_theta: Option<f64>) -> Turning {
        Turning { rope_type: None, rope_theta }
    }

    /// The base it names, if it names one; any rotation but the plain one is refused.
    pub(super) fn theta(&self) -> Result<Option<f64>, String> {
        match (self.rope_type.as_deref(), self.rope_theta) {
            (None | Some("default"), Some(theta)) if !(theta.is_finite() && theta > 0.0) => {
                Err(format!("its rope_theta is {theta}, expected a number above 0"))
            }
            (None | Some("default"), theta) => Ok(theta),
            (Some(other), _) => Err(format!("its positions are turned by \"{other}\", expected \"default\"")),
        }
    }
}

fn default_head() -> usize {
    128
}

fn silu() -> String {
    "silu".to_owned()
}

fn default_positions() -> usize {
    32_768
}

fn default_epsilon() -> f32 {
    1e-6
}

fn default_full_layers() -> usize {
    28
}

fn yes() -> bool {
    true
}

impl Config {
    /// From `config.json`; what is not this network is refused.
    pub(super) fn read(json: &[u8]) -> Result<Config, String> {
        let config: Config =
            serde_json::from_slice(json).map_err(|error| format!("its config.json: {error}"))?;
        check_sizes(&[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("num_key_value_heads", config.heads().groups),
            ("head_dim", config.head_dim),
            ("max_position_embeddings", config.max_position_embeddings),
        ])?;
        check_heads(config.heads())?;
        if config.hidden_act != "silu" {
            return Err(format!("its hidden_act is \"{}\", expected \"silu\"", config.hidden_act));
        }
        config.theta()?;
        if let Some(kinds) =
            config.layer_types.as_ref().filter(|kinds| kinds.len() < config.num_hidden_layers)
        {
            return Err(format!(
                "its layer_types name {} of its {} layers",
                kinds.len(),
                config.num_hidden_layers
            ));
        }
        (0..config.num_hidden_layers).try_for_each(|layer| config.reach(layer).map(drop))?;
        Ok(config)
    }

    /// Most tokens of a text that there are positions for.
    pub(super) fn max_tokens(&self) -> usize {
        self.max_position_embeddings
    }

    fn heads(&self) -> Heads {
        let queries = self.num_attention_heads;
        Heads { queries, groups: self.num_key_value_heads.unwrap_or(queries), head: self.head_dim }
    }

    fn theta(&self) -> Result<f64, String> {
        let mut theta = Turning::plain(self.rope_theta).theta()?;
        for turning in [&self.rope_scaling, &self.rope_parameters].into_iter().flatten() {
            theta = turning.theta()?.or(theta);
        }
        Ok(theta.unwrap_or(DEFAULT_THETA))
    }

    /// Which keys the queries of a layer see.
    fn reach(&self, layer: usize) -> Result<Reach, String> {
        let window = self.sliding_window.filter(|_| self.use_sliding_window);
        let kind = self.layer_types.as_ref().map(|kinds| kinds[layer].as_str());
        let is_local = match kind {
            None => window.is_some() && layer >= self.max_window_layers,
            Some("full_attention") => false,
            Some("sliding_attention") => true,
            Some(other) => {
                return Err(format!("its layer {layer} is of the kind \"{other}\", which is unknown"));
            }
        };
        match (is_local, window, self.is_causal) {
            (false, _, true) => Ok(Reach::CAUSAL),
            (false, _, false) => Ok(Reach::ALL),
            // A causal window counts the query itself; one that looks both ways reaches that far on either side.
            (true, Some(window), true) if window > 0 => Ok(Reach { behind: window - 1, ahead: 0 }),
            (true, Some(window), false) => Ok(Reach { behind: window, ahead: window }),
            (true, _, _) => Err(format!("its layer {layer} has a sliding window of no size")),
        }
    }
}

/// The network of a config and its weights.
pub(super) fn read(config: &Config, weights: Weights) -> Result<Rotary, ModelError> {
    let weights = weights.below(&PREFIXES, WORDS);
    let theta = config.theta().map_err(|reason| weights.broken(reason))?;
    let layers = (0..config.num_hidden_layers).map(|layer| read_layer(config, &weights, layer));
    let layers = layers.collect::<Result<_, _>>()?;
    Ok(Rotary {
        words: weights.table(WORDS, config.vocab_size, config.hidden_size)?,
        dim: config.hidden_size,
        embedded: None,
        frequencies: vec![Frequencies::new(theta, config.head_dim)],
        heads: config.heads(),
        gate: Gate::Silu,
        layers,
        norm: Norm::Rms(read_norm(config, &weights, "norm", config.hidden_size)?),
    })
}

fn read_norm(config: &Config, weights: &Weights, name: &str, dim: usize) -> Result<RmsNorm, ModelError> {
    let weight = weights.dense(&format!("{name}.weight"), &[dim])?;
    Ok(RmsNorm { weight, epsilon: config.rms_norm_eps })
}

fn read_layer(config: &Config, weights: &Weights, layer: usize) -> Result<Layer, ModelError> {
    let Heads { queries, groups, head } = config.heads();
    let (dim, wide, has_bias) = (config.hidden_size, config.intermediate_size, config.attention_bias);
    let name = |part: &str| format!("layers.{layer}.{part}");
    let norm = |part: &str, dim: usize| read_norm(config, weights, &name(part), dim);
    let qkv = [
        (name("self_attn.q_proj"), queries * head),
        (name("self_attn.k_proj"), groups * head),
        (name("self_attn.v_proj"), groups * head),
    ];
    let gated = [(name("mlp.gate_proj"), wide), (name("mlp.up_proj"), wide)];
    Ok(Layer {
        attention_norm: Some(Norm::Rms(norm("input_layernorm", dim)?)),
        qkv: read_linear(weights, &qkv, dim, has_bias)?,
        head_norms: Some([norm("self_attn.q_norm", head)?, norm("self_attn.k_norm", head)?]),
        frequencies: 0,
        reach: config.reach(layer).map_err(|reason| weights.broken(reason))?,
        attended: read_linear(weights, &[(name("self_attn.o_proj"), dim)], queries * head, has_bias)?,
        norm: Norm::Rms(norm("post_attention_layernorm", dim)?),
        gated: read_linear(weights, &gated, dim, false)?,
        narrow: read_linear(weights, &[(name("mlp.down_proj"), dim)], wide, false)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(changes: Value) -> Result<Config, String> {
        let mut config = json!({
            "model_type": "qwen3", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
        });
        for (name, value) in changes.as_object().expect("changes") {
            config[name] = value.clone();
        }
        Config::read(config.to_string().as_bytes())
    }

    fn refused(changes: Value) -> String {
        read(changes).err().unwrap_or_default()
    }

    #[test]
    fn thetas_are_found_where_old_and_new_files_have_them() {
        let theta = |changes: Value| read(changes).and_then(|config| config.theta());
        assert_eq!(theta(json!({})), Ok(10_000.0));
        assert_eq!(theta(json!({"rope_theta": 1_000_000, "rope_scaling": null})), Ok(1e6));
        assert_eq!(theta(json!({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})), Ok(5e5));
        assert!(refused(json!({"rope_scaling": {"type": "yarn", "factor": 4}})).contains("\"yarn\""));
        assert!(refused(json!({"rope_parameters": {"rope_type": "llama3"}})).contains("\"llama3\""));
        assert!(refused(json!({"rope_theta": -1})).contains("-1"));
    }

    #[test]
    fn windows_are_those_of_the_layers_that_have_one() {
        let reach = |changes: Value, layer| read(changes).and_then(|config| config.reach(layer));
        let window = json!({"use_sliding_window": true, "sliding_window": 4, "max_window_layers": 2});
        assert_eq!(reach(window.clone(), 1), Ok(Reach::CAUSAL));
        assert_eq!(reach(window, 2), Ok(Reach { behind: 3, ahead: 0 }));
        assert_eq!(reach(json!({"sliding_window": 4, "max_window_layers": 0}), 0), Ok(Reach::CAUSAL));
        assert_eq!(reach(json!({"is_causal": false}), 0), Ok(Reach::ALL));
        let kinds = json!(["full_attention", "full_attention", "chunked_attention"]);
        assert!(refused(json!({"layer_types": kinds})).contains("chunked_attention"));
        assert!(refused(json!({"layer_types": ["full_attention"]})).contains("1 of its 3"));
        let kinds = json!(["sliding_attention", "full_attention", "full_attention"]);
        assert!(refused(json!({"layer_types": kinds})).contains("no size"));
    }

    #[test]
    fn sizes_that_no_network_has_are_named() {
        assert!(refused(json!({"num_key_value_heads": 3})).contains("share 3 heads"));
        assert!(refused(json!({"head_dim": 7})).contains("7 numbers"));
        assert!(refused(json!({"num_attention_heads": 0})).contains("num_attention_heads is 0"));
        assert!(refused(json!({"hidden_size": 1u64 << 40})).contains("hidden_size"));
        assert!(refused(json!({"hidden_act": "relu"})).contains("relu"));
    }
}
