//! An unmodified CLIP folder of Hugging Face, or of sentence-transformers, which keeps the same files one level down.
//!
//! ```text
//! config.json                             both towers                     (model_type "clip")
//! model.safetensors | pytorch_model.bin   their weights, or parts of them (weights::files)
//! tokenizer.json | vocab.json + merges.txt   the tokenizer                (tokenizer_config.json)
//! preprocessor_config.json | processor_config.json   what is done to pictures
//! modules.json                            where those are                 (sentence-transformers; absent: here)
//! ```
//!
//! Invariant: what a folder asks for is done or refused by name. Its revision is the hash of all files that were read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::ClipEncoder;
use super::config::Config;
use super::picture::PictureTower;
use super::processor;
use super::text::TextTower;
use crate::encoder::{Encoder, Modality, ModelCard};
use crate::models::ModelError;
use crate::text::folder::{Longest, Reader, is_inside};
use crate::text::modules::Named;
use crate::text::tokens::{self, PairsConfig, Tokens};
use crate::weights::read_small;

/// Where in `folder` the network is, if it is a CLIP folder: what is no such folder, or cannot be read, is for others to
/// open or to refuse.
pub(crate) fn network_of(folder: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Kind {
        model_type: String,
    }
    let modules = folder.join("modules.json");
    let network = match modules.is_file() {
        false => PathBuf::new(),
        true => {
            let modules: Vec<Named> = serde_json::from_slice(&read_small(&modules).ok()?).ok()?;
            PathBuf::from(&modules.first()?.path)
        }
    };
    if !is_inside(&network) {
        return None;
    }
    let Kind { model_type } =
        serde_json::from_slice(&read_small(&folder.join(&network).join("config.json")).ok()?).ok()?;
    (model_type == "clip").then_some(network)
}

/// Opens the CLIP model in `folder`, whose network is at `network` in it. Its id is the folder's full path.
pub(crate) fn open_folder(folder: &Path, network: &Path) -> Result<Arc<dyn Encoder>, ModelError> {
    let id = folder.to_string_lossy().into_owned();
    let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
    let mut reader = Reader::new(folder);
    check_modules(&mut reader).map_err(broken)?;
    let inside = |name: &str| network.join(name).to_string_lossy().into_owned();
    let config = reader
        .bytes(&inside("config.json"))
        .and_then(|json| Config::read(&json.ok_or("there is no config.json in it")?))
        .map_err(broken)?;
    let recipe = read_processor(&mut reader, network)
        .and_then(|(name, json)| {
            processor::recipe(&json, config.vision.side()).map_err(|reason| format!("its {name}: {reason}"))
        })
        .map_err(broken)?;
    let longest: Longest = reader.json(&inside("tokenizer_config.json")).map_err(broken)?;
    let max_tokens =
        longest.tokens().map_or(config.text.positions(), |asked| asked.min(config.text.positions()));
    let place = folder.join(network);
    let tokenizer = read_tokenizer(&mut reader, &place, network).map_err(broken)?;
    let tokens = Tokens::new(&id, tokenizer, Some(max_tokens))?;
    let weights = reader.weights(&id, network)?;
    let (text, picture) =
        rayon::join(|| TextTower::read(&weights, &config), || PictureTower::read(&weights, &config));
    let (text, picture) = (text?, picture?);
    if tokens.vocabulary() > text.vocabulary() {
        let (has, knows) = (tokens.vocabulary(), text.vocabulary());
        return Err(broken(format!("its tokenizer has {has} tokens, and its network knows {knows}")));
    }
    let revision = reader.revision();
    let name = folder.file_name().map_or_else(|| id.clone(), |name| name.to_string_lossy().into_owned());
    let card = ModelCard {
        space: format!("{name}@{revision:.8}/clip"),
        id: id.clone(),
        revision,
        dim: config.dim,
        modality: Modality::Image,
        also_reads: Some(Modality::Text),
        max_tokens: Some(max_tokens),
        query_prompt: String::new(),
        document_prompt: String::new(),
        licence: String::new(),
        bytes: text.bytes() + picture.bytes(),
    };
    Ok(Arc::new(ClipEncoder { card, tokens, text, recipe, picture }))
}

/// Behind the network there may be nothing but what brings vectors to unit length, at which they leave anyway.
fn check_modules(reader: &mut Reader<'_>) -> Result<(), String> {
    let Some(json) = reader.bytes("modules.json")? else { return Ok(()) };
    let modules: Vec<Named> =
        serde_json::from_slice(&json).map_err(|error| format!("its modules.json: {error}"))?;
    let kinds = modules.iter().map(|module| module.kind.rsplit('.').next().unwrap_or_default());
    for (at, kind) in kinds.enumerate() {
        if !matches!((at, kind), (0, "CLIPModel" | "Transformer") | (1, "Normalize")) {
            return Err(format!(
                "its module \"{kind}\" is not supported in that place; supported are a CLIPModel or Transformer, and Normalize after it"
            ));
        }
    }
    Ok(())
}

/// What is done to pictures, and the name of the file that says it.
fn read_processor(reader: &mut Reader<'_>, network: &Path) -> Result<(String, Value), String> {
    for (name, key) in
        [("preprocessor_config.json", None), ("processor_config.json", Some("image_processor"))]
    {
        let name = network.join(name).to_string_lossy().into_owned();
        let Some(bytes) = reader.bytes(&name)? else { continue };
        let mut json: Value =
            serde_json::from_slice(&bytes).map_err(|error| format!("its {name}: {error}"))?;
        return match key {
            None => Ok((name, json)),
            Some(key) => match json.get_mut(key).map(Value::take) {
                Some(part) => Ok((name, part)),
                None => Err(format!("its {name} has no {key}")),
            },
        };
    }
    Err("there is neither preprocessor_config.json nor processor_config.json in it".to_owned())
}

fn read_tokenizer(
    reader: &mut Reader<'_>,
    place: &Path,
    network: &Path,
) -> Result<tokenizers::Tokenizer, String> {
    let json = place.join("tokenizer.json");
    if json.is_file() {
        return tokens::from_json(&reader.map(&json)?);
    }
    let (vocabulary, merges) = (place.join("vocab.json"), place.join("merges.txt"));
    if vocabulary.is_file() && merges.is_file() {
        let name = network.join("tokenizer_config.json").to_string_lossy().into_owned();
        let config: PairsConfig = reader.json(&name)?;
        return tokens::from_pairs(&reader.map(&vocabulary)?, &reader.map(&merges)?, &config);
    }
    Err("there is neither tokenizer.json nor vocab.json with merges.txt in it".to_owned())
}
