//! ModernBERT (Warner et al., 2024): every third layer attends to all tokens, the others to a band around each; two bases of
//! rotary positions, GeGLU, and no norm before the first layer, whose input is normalised. Configs and tensors by the names of
//! `transformers`' `ModernBertModel`.
//!
//! Invariant: a rotation, activation or kind of layer that `transformers` would do otherwise is refused by name.

use serde::Deserialize;

use super::qwen3::Turning;
use super::rotary::{Layer, Norm, Rotary, check_heads, check_sizes, read_linear};
use crate::math::elementwise::LayerNorm;
use crate::math::gate::Gate;
use crate::math::grouped::{Heads, Reach};
use crate::math::rotation::Frequencies;
use crate::models::ModelError;
use crate::weights::Weights;

/// Before the names of tensors in checkpoints that hold more than the encoder.
const PREFIXES: [&str; 3] = ["", "model.", "0.auto_model."];
const WORDS: &str = "embeddings.tok_embeddings.weight";
/// `transformers`' bases, of layers that see all and of those that see a band.
const DEFAULT_THETAS: [f64; 2] = [160_000.0, 10_000.0];

/// What of `config.json` the forward pass needs, with `transformers`' defaults.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default = "gelu")]
    hidden_activation: String,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    #[serde(default = "default_epsilon")]
    norm_eps: f32,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// Width of the band, both sides together.
    #[serde(default = "default_band")]
    local_attention: usize,
    /// As `transformers` 5 writes it.
    #[serde(default)]
    layer_types: Option<Vec<String>>,
    #[serde(default)]
    rope_parameters: Option<Turnings>,
    /// Before.
    #[serde(default = "default_every")]
    global_attn_every_n_layers: usize,
    #[serde(default)]
    global_rope_theta: Option<f64>,
    #[serde(default)]
    local_rope_theta: Option<f64>,
    #[serde(default)]
    rope_scaling: Option<Turning>,
}

#[derive(Deserialize)]
struct Turnings {
    #[serde(default)]
    full_attention: Option<Turning>,
    #[serde(default)]
    sliding_attention: Option<Turning>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn default_positions() -> usize {
    8192
}

fn default_epsilon() -> f32 {
    1e-5
}

fn default_band() -> usize {
    128
}

fn default_every() -> usize {
    3
}

impl Config {
    /// From `config.json`; what is not this network is refused.
    pub(super) fn read(json: &[u8]) -> Result<Config, String> {
        let config: Config =
            serde_json::from_slice(json).map_err(|error| format!("its config.json: {error}"))?;
        let (dim, heads) = (config.hidden_size, config.num_attention_heads);
        check_sizes(&[
            ("vocab_size", config.vocab_size),
            ("hidden_size", dim),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", heads),
            ("max_position_embeddings", config.max_position_embeddings),
            ("global_attn_every_n_layers", config.global_attn_every_n_layers),
        ])?;
        if !dim.is_multiple_of(heads) {
            return Err(format!("{dim} numbers cannot be shared among {heads} attention heads"));
        }
        check_heads(config.heads())?;
        if config.hidden_activation != "gelu" {
            return Err(format!(
                "its hidden_activation is \"{}\", expected \"gelu\"",
                config.hidden_activation
            ));
        }
        config.thetas()?;
        if let Some(kinds) =
            config.layer_types.as_ref().filter(|kinds| kinds.len() < config.num_hidden_layers)
        {
            return Err(format!(
                "its layer_types name {} of its {} layers",
                kinds.len(),
                config.num_hidden_layers
            ));
        }
        (0..config.num_hidden_layers).try_for_each(|layer| config.is_local(layer).map(drop))?;
        Ok(config)
    }

    /// Most tokens of a text that there are positions for.
    pub(super) fn max_tokens(&self) -> usize {
        self.max_position_embeddings
    }

    fn heads(&self) -> Heads {
        let queries = self.num_attention_heads;
        Heads { queries, groups: queries, head: self.hidden_size / queries }
    }

    /// Bases of layers that see all and of those that see a band.
    fn thetas(&self) -> Result<[f64; 2], String> {
        if let Some(scaling) = &self.rope_scaling {
            scaling.theta()?;
        }
        let turnings = self.rope_parameters.as_ref();
        let kinds = [
            (turnings.and_then(|kinds| kinds.full_attention.as_ref()), self.global_rope_theta),
            (turnings.and_then(|kinds| kinds.sliding_attention.as_ref()), self.local_rope_theta),
        ];
        let mut thetas = DEFAULT_THETAS;
        for (theta, (turning, older)) in thetas.iter_mut().zip(kinds) {
            let older = Turning::plain(older).theta()?;
            *theta = turning.map_or(Ok(None), Turning::theta)?.or(older).unwrap_or(*theta);
        }
        Ok(thetas)
    }

    /// Whether a layer sees a band only.
    fn is_local(&self, layer: usize) -> Result<bool, String> {
        match self.layer_types.as_ref().map(|kinds| kinds[layer].as_str()) {
            None => Ok(!layer.is_multiple_of(self.global_attn_every_n_layers)),
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            Some(other) => Err(format!("its layer {layer} is of the kind \"{other}\", which is unknown")),
        }
    }
}

/// The network of a config and its weights.
pub(super) fn read(config: &Config, weights: Weights) -> Result<Rotary, ModelError> {
    let weights = weights.below(&PREFIXES, WORDS);
    let heads = config.heads();
    let thetas = config.thetas().map_err(|reason| weights.broken(reason))?;
    let layers = (0..config.num_hidden_layers).map(|layer| read_layer(config, &weights, layer));
    let layers = layers.collect::<Result<_, _>>()?;
    Ok(Rotary {
        words: weights.table(WORDS, config.vocab_size, config.hidden_size)?,
        dim: config.hidden_size,
        embedded: Some(read_norm(config, &weights, "embeddings.norm")?),
        frequencies: thetas.map(|theta| Frequencies::new(theta, heads.head)).into(),
        heads,
        gate: Gate::Gelu,
        layers,
        norm: read_norm(config, &weights, "final_norm")?,
    })
}

fn read_norm(config: &Config, weights: &Weights, name: &str) -> Result<Norm, ModelError> {
    let dim = config.hidden_size;
    let weight = weights.dense(&format!("{name}.weight"), &[dim])?;
    let bias = match config.norm_bias {
        true => weights.dense(&format!("{name}.bias"), &[dim])?,
        false => vec![0.0; dim],
    };
    Ok(Norm::Layer(LayerNorm { weight, bias, epsilon: config.norm_eps }))
}

fn read_layer(config: &Config, weights: &Weights, layer: usize) -> Result<Layer, ModelError> {
    let (dim, wide) = (config.hidden_size, config.intermediate_size);
    let name = |part: &str| format!("layers.{layer}.{part}");
    let norm = |part: &str| read_norm(config, weights, &name(part));
    let linear = |part: &str, inputs: usize, outputs: usize, has_bias: bool| {
        read_linear(weights, &[(name(part), outputs)], inputs, has_bias)
    };
    let is_local = config.is_local(layer).map_err(|reason| weights.broken(reason))?;
    let side = config.local_attention / 2;
    Ok(Layer {
        attention_norm: if layer == 0 { None } else { Some(norm("attn_norm")?) },
        qkv: linear("attn.Wqkv", dim, 3 * dim, config.attention_bias)?,
        head_norms: None,
        frequencies: usize::from(is_local),
        reach: if is_local { Reach { behind: side, ahead: side } } else { Reach::ALL },
        attended: linear("attn.Wo", dim, dim, config.attention_bias)?,
        norm: norm("mlp_norm")?,
        gated: linear("mlp.Wi", dim, 2 * wide, config.mlp_bias)?,
        narrow: linear("mlp.Wo", wide, dim, config.mlp_bias)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(changes: Value) -> Result<Config, String> {
        let mut config = json!({
            "model_type": "modernbert", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 16,
            "num_hidden_layers": 4, "num_attention_heads": 2,
        });
        for (name, value) in changes.as_object().expect("changes") {
            config[name] = value.clone();
        }
        Config::read(config.to_string().as_bytes())
    }

    #[test]
    fn configs_of_old_and_new_say_the_same() {
        let told = |changes: Value| {
            let config = read(changes).expect("a config");
            let local: Vec<bool> = (0..4).map(|layer| config.is_local(layer).expect("a kind")).collect();
            (config.thetas().expect("bases"), local)
        };
        let usual = ([160_000.0, 10_000.0], vec![false, true, true, false]);
        assert_eq!(told(json!({})), usual);
        assert_eq!(
            told(json!({"global_attn_every_n_layers": 2, "global_rope_theta": 5e4, "local_rope_theta": 1e3})),
            ([5e4, 1e3], vec![false, true, false, true])
        );
        let kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"];
        let turnings = json!({
            "full_attention": {"rope_type": "default", "rope_theta": 160_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        });
        assert_eq!(told(json!({"layer_types": kinds, "rope_parameters": turnings})), usual);
    }

    #[test]
    fn what_is_another_network_is_named() {
        let refused = |changes: Value| read(changes).err().unwrap_or_default();
        let yarn = json!({"full_attention": {"rope_type": "yarn"}});
        assert!(refused(json!({"rope_parameters": yarn})).contains("\"yarn\""));
        assert!(refused(json!({"hidden_activation": "silu"})).contains("silu"));
        assert!(refused(json!({"num_attention_heads": 3})).contains("3 attention heads"));
        assert!(refused(json!({"num_attention_heads": 8})).contains("1 numbers"));
        assert!(refused(json!({"layer_types": ["full_attention"]})).contains("1 of its 4"));
        assert!(refused(json!({"global_attn_every_n_layers": 0})).contains("global_attn_every_n_layers"));
    }
}
