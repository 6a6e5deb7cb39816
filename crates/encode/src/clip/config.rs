//! What of a CLIP folder's `config.json` the two forward passes need.
//!
//! Files name only what differs from the defaults of `transformers`, which are those of `openai/clip-vit-base-patch32`; the oldest
//! ones hold `text_config_dict` and `vision_config_dict` besides, which win. Invariant: what leaves can be computed with: heads divide the
//! dimension, patches fit the picture, sizes are bounded.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::math::linear::Finish;

/// Most pixels of a picture's side.
const MAX_SIDE: usize = 4096;
/// Most numbers of a token's state, and tokens of a text.
const MAX_DIM: usize = 1 << 16;

/// `config.json`.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) text: TextConfig,
    pub(super) vision: VisionConfig,
    /// Numbers in a vector.
    pub(super) dim: usize,
}

/// What both towers have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layers {
    pub(super) dim: usize,
    pub(super) wide: usize,
    pub(super) count: usize,
    pub(super) heads: usize,
    pub(super) epsilon: f32,
    pub(super) activation: Finish,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct TextConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    eos_token_id: u32,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
            eos_token_id: 49_407,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct VisionConfig {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_channels: usize,
    image_size: usize,
    patch_size: usize,
    hidden_act: String,
    layer_norm_eps: f32,
}

impl Default for VisionConfig {
    fn default() -> Self {
        VisionConfig {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
        }
    }
}

impl TextConfig {
    pub(super) fn layers(&self) -> Result<Layers, String> {
        let sizes =
            [self.hidden_size, self.intermediate_size, self.num_hidden_layers, self.num_attention_heads];
        layers("text_config", sizes, self.layer_norm_eps, &self.hidden_act)
    }

    pub(super) fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    /// Most tokens of a text.
    pub(super) fn positions(&self) -> usize {
        self.max_position_embeddings
    }

    /// The token whose state makes the vector.
    pub(super) fn end(&self) -> u32 {
        self.eos_token_id
    }
}

impl VisionConfig {
    pub(super) fn layers(&self) -> Result<Layers, String> {
        let sizes =
            [self.hidden_size, self.intermediate_size, self.num_hidden_layers, self.num_attention_heads];
        layers("vision_config", sizes, self.layer_norm_eps, &self.hidden_act)
    }

    /// Pixels of a picture's side.
    pub(super) fn side(&self) -> usize {
        self.image_size
    }

    /// Pixels of a patch's side.
    pub(super) fn patch(&self) -> usize {
        self.patch_size
    }
}

impl Config {
    /// From `config.json`.
    pub(super) fn read(json: &[u8]) -> Result<Config, String> {
        let mut file: Value =
            serde_json::from_slice(json).map_err(|error| format!("its config.json: {error}"))?;
        let text: TextConfig = part(&mut file, "text_config")?;
        let vision: VisionConfig = part(&mut file, "vision_config")?;
        let dim = match file.get("projection_dim") {
            None | Some(Value::Null) => 512,
            Some(dim) => dim.as_u64().map_or(0, |dim| dim as usize),
        };
        let bounds = [
            ("projection_dim", dim, MAX_DIM),
            ("max_position_embeddings", text.max_position_embeddings, MAX_DIM),
            ("image_size", vision.image_size, MAX_SIDE),
            ("patch_size", vision.patch_size, vision.image_size),
        ];
        for (name, size, most) in bounds {
            if !(1..=most).contains(&size) {
                return Err(format!("its config.json has {size} as {name}, expected 1 to {most}"));
            }
        }
        if vision.num_channels != 3 {
            return Err(format!("its pictures have {} channels, expected 3", vision.num_channels));
        }
        text.layers()?;
        vision.layers()?;
        Ok(Config { text, vision, dim })
    }
}

/// One tower's part of the file, with what the older form says over it.
fn part<T: DeserializeOwned>(file: &mut Value, name: &str) -> Result<T, String> {
    let mut taken = |name: &str| match file.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(serde_json::Map::new()),
        Some(Value::Object(fields)) => Ok(fields),
        Some(other) => Err(format!("its config.json has {other} as {name}, expected an object")),
    };
    let mut fields = taken(name)?;
    fields.extend(taken(&format!("{name}_dict"))?);
    // A field of null is as good as none.
    fields.retain(|_, value| !value.is_null());
    serde_json::from_value(Value::Object(fields)).map_err(|error| format!("its config.json, {name}: {error}"))
}

fn layers(
    place: &str,
    [dim, wide, count, heads]: [usize; 4],
    epsilon: f32,
    activation: &str,
) -> Result<Layers, String> {
    let activation = match activation {
        "quick_gelu" => Finish::QuickGelu,
        "gelu" => Finish::Gelu,
        other => {
            return Err(format!(
                "its {place} has hidden_act \"{other}\", expected \"quick_gelu\" or \"gelu\""
            ));
        }
    };
    if !(1..=MAX_DIM).contains(&dim) || !(1..=MAX_DIM).contains(&wide) {
        return Err(format!("its {place} has states of {dim} and {wide} numbers, expected 1 to {MAX_DIM}"));
    }
    if heads == 0 || !dim.is_multiple_of(heads) {
        return Err(format!("its {place}: {dim} numbers cannot be shared among {heads} attention heads"));
    }
    Ok(Layers { dim, wide, count, heads, epsilon, activation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        Config::read(json.as_bytes()).err().unwrap_or_default()
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let config = Config::read(b"{}").expect("a config");
        assert_eq!((config.dim, config.text.end(), config.vision.patch()), (512, 49_407, 32));
        assert_eq!(config.text.layers().map(|layers| layers.heads), Ok(8));
    }

    #[test]
    fn the_older_form_wins() {
        let json = r#"{"projection_dim": 64, "text_config": {"hidden_size": 512, "hidden_act": null},
            "text_config_dict": {"hidden_size": 256}, "vision_config_dict": null}"#;
        let layers = Config::read(json.as_bytes()).and_then(|config| config.text.layers());
        assert_eq!(layers.map(|layers| (layers.dim, layers.activation)), Ok((256, Finish::QuickGelu)));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_name() {
        assert!(refused(r#"{"text_config": {"hidden_act": "relu"}}"#).contains("\"relu\""));
        assert!(refused(r#"{"vision_config": {"num_attention_heads": 7}}"#).contains("7 attention heads"));
        assert!(refused(r#"{"vision_config": {"patch_size": 225}}"#).contains("225 as patch_size"));
        assert!(refused(r#"{"vision_config": {"image_size": 4294967295}}"#).contains("image_size"));
        assert!(refused(r#"{"vision_config": {"image_size": [224, 200]}}"#).contains("vision_config"));
        assert!(refused(r#"{"projection_dim": -1}"#).contains("projection_dim"));
        assert!(refused(r#"{"text_config": 3}"#).contains("3 as text_config"));
    }
}
