//! An unmodified model folder of sentence-transformers, Hugging Face or ModelScope, opened as a text model.
//!
//! ```text
//! config.json                             the network                     (BERT, RoBERTa, XLM-RoBERTa)
//! model.safetensors | pytorch_model.bin   its weights, or parts of them   (weights::files)
//! tokenizer.json | vocab.txt | sentencepiece.bpe.model   its tokenizer    (tokenizer_config.json for vocab.txt)
//! modules.json                            what follows the network        (absent: mean pooling, as sentence-transformers)
//! 1_Pooling/config.json                   which states make the vector
//! sentence_bert_config.json               how many tokens it reads, and whether texts are made small
//! config_sentence_transformers.json       prompts for queries and documents
//! ```
//!
//! Invariant: what a folder asks for is done or refused by name; nothing in it is passed over that would change a vector,
//! but normalisation: every vector leaves at unit length. A folder's revision is the hash of all files that were read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::TextEncoder;
use super::bert::{Bert, Config};
use super::pooling::Pooling;
use super::tokens::{self, Tokens, WordPieceConfig};
use crate::encoder::{Encoder, Modality, ModelCard};
use crate::models::ModelError;
use crate::weights::{Weights, find, map, read_small};

/// A tokenizer says this many tokens, or more, when it knows of no limit.
const NO_LIMIT: f64 = 1e12;
/// Of XLM-RoBERTa.
const SENTENCEPIECE: &str = "sentencepiece.bpe.model";
/// Names of the prompt for each side, the usual one first.
const QUERY: [&str; 2] = ["query", "search_query"];
const DOCUMENT: [&str; 3] = ["document", "passage", "search_document"];

/// One of `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Reading {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

/// What of `tokenizer_config.json` bounds a text.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Longest {
    model_max_length: Option<f64>,
}

/// `config_sentence_transformers.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Prompts {
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

impl Prompts {
    /// For queries and for documents.
    fn sides(&self) -> (String, String) {
        let default = self.default_prompt_name.as_ref().and_then(|name| self.prompts.get(name));
        let side = |names: &[&str]| {
            let own = names.iter().find_map(|name| self.prompts.get(*name));
            own.or(default).cloned().unwrap_or_default()
        };
        (side(&QUERY), side(&DOCUMENT))
    }
}

/// What is read of a folder, and its hash.
struct Reader<'a> {
    folder: &'a Path,
    hash: blake3::Hasher,
}

impl Reader<'_> {
    fn seen(&mut self, name: &str, bytes: &[u8]) {
        // With lengths, so that no two lists of files hash alike.
        self.hash.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        self.hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    /// A small file, if it is there.
    fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let path = self.folder.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = read_small(&path)?;
        self.seen(name, &bytes);
        Ok(Some(bytes))
    }

    /// A small JSON file, or what stands for one that is not there.
    fn json<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T, String> {
        parse(name, self.bytes(name)?.as_deref())
    }

    /// A file of any length, mapped.
    fn map(&mut self, path: &Path) -> Result<Bytes, String> {
        let bytes = map(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.seen(&name, &bytes);
        Ok(bytes)
    }

    /// The folder of the network itself, and the pooling, from `modules.json`.
    fn modules(&mut self) -> Result<(PathBuf, Pooling), String> {
        let Some(json) = self.bytes("modules.json")? else { return Ok((PathBuf::new(), Pooling::Mean)) };
        let modules: Vec<Module> =
            serde_json::from_slice(&json).map_err(|error| format!("its modules.json: {error}"))?;
        let (mut network, mut pooling) = (None, None);
        for Module { path, kind } in &modules {
            let name = kind.rsplit('.').next().unwrap_or_default();
            let is_inside =
                Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !is_inside {
                return Err(format!("its modules.json names the folder {path:?}, which is not inside it"));
            }
            match (name, network.is_some(), pooling.is_some()) {
                ("Transformer", false, false) => network = Some(PathBuf::from(path)),
                ("Pooling", true, false) => {
                    let name = format!("{path}/config.json");
                    let json = self.bytes(&name)?.ok_or_else(|| format!("its {name} is not there"))?;
                    pooling = Some(Pooling::read(&json)?);
                }
                ("Normalize", true, true) => {}
                _ => {
                    return Err(format!(
                        "its module \"{kind}\" is not supported in that place; supported are a Transformer, a Pooling, and Normalize after them"
                    ));
                }
            }
        }
        match (network, pooling) {
            (Some(network), Some(pooling)) => Ok((network, pooling)),
            _ => Err("its modules.json names no Transformer with a Pooling behind it".to_owned()),
        }
    }
}

/// A JSON file, or what stands for one that is not there.
fn parse<T: DeserializeOwned + Default>(name: &str, json: Option<&[u8]>) -> Result<T, String> {
    let Some(json) = json else { return Ok(T::default()) };
    serde_json::from_slice(json).map_err(|error| format!("its {name}: {error}"))
}

/// Opens the text model in `folder`. Its id is the folder's full path.
pub(crate) fn open_folder(folder: &Path) -> Result<Arc<dyn Encoder>, ModelError> {
    let id = folder.to_string_lossy().into_owned();
    let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
    let mut reader = Reader { folder, hash: blake3::Hasher::new() };
    let (network, pooling) = reader.modules().map_err(broken)?;
    let inside = |name: &str| network.join(name).to_string_lossy().into_owned();
    let config = reader.bytes(&inside("config.json")).and_then(|json| {
        Config::read(&json.ok_or("there is no config.json in it, so it is no folder of a model")?)
    });
    let config = config.map_err(broken)?;
    let reading: Reading = reader.json(&inside("sentence_bert_config.json")).map_err(broken)?;
    let tokenizer_config = reader.bytes(&inside("tokenizer_config.json")).map_err(broken)?;
    let longest: Longest = parse("tokenizer_config.json", tokenizer_config.as_deref()).map_err(broken)?;
    let prompts: Prompts = reader.json("config_sentence_transformers.json").map_err(broken)?;
    let max_tokens = max_tokens(&config, &reading, &longest);
    let place = folder.join(&network);
    let tokenizer = read_tokenizer(&mut reader, &place, tokenizer_config.as_deref()).map_err(broken)?;
    let tokens = Tokens::new(&id, tokenizer, Some(max_tokens))?;
    let files = find(&place).map_err(broken)?;
    let mut mapped = Vec::new();
    for path in &files {
        mapped.push((path.as_path(), reader.map(path).map_err(broken)?));
    }
    let bert = Bert::read(&config, Weights::open(&id, &mapped)?)?;
    if tokens.vocabulary() > bert.vocabulary() {
        let (has, knows) = (tokens.vocabulary(), bert.vocabulary());
        return Err(broken(format!("its tokenizer has {has} tokens, and its network knows {knows}")));
    }
    let revision = reader.hash.finalize().to_hex().to_string();
    let name = folder.file_name().map_or_else(|| id.clone(), |name| name.to_string_lossy().into_owned());
    let (query_prompt, document_prompt) = prompts.sides();
    let card = ModelCard {
        space: format!("{name}@{revision:.8}/{}", pooling.name()),
        id: id.clone(),
        revision,
        dim: bert.dim(),
        modality: Modality::Text,
        max_tokens: Some(max_tokens),
        query_prompt,
        document_prompt,
        licence: String::new(),
        bytes: bert.bytes(),
    };
    Ok(Arc::new(TextEncoder { card, tokens, lower_case: reading.do_lower_case, bert, pooling }))
}

/// As sentence-transformers chooses it, and never more than there are positions.
fn max_tokens(config: &Config, reading: &Reading, longest: &Longest) -> usize {
    let told = longest.model_max_length.filter(|length| *length >= 1.0 && *length < NO_LIMIT);
    let asked = reading.max_seq_length.or(told.map(|length| length as usize));
    asked.map_or(config.max_tokens(), |asked| asked.min(config.max_tokens()))
}

fn read_tokenizer(
    reader: &mut Reader<'_>,
    place: &Path,
    config: Option<&[u8]>,
) -> Result<tokenizers::Tokenizer, String> {
    let json = place.join("tokenizer.json");
    if json.is_file() {
        return tokens::from_json(&reader.map(&json)?);
    }
    let vocabulary = place.join("vocab.txt");
    if vocabulary.is_file() {
        let config: WordPieceConfig = parse("tokenizer_config.json", config)?;
        return tokens::from_vocabulary(&reader.map(&vocabulary)?, &config);
    }
    let pieces = place.join(SENTENCEPIECE);
    if pieces.is_file() {
        return tokens::from_sentencepiece(&reader.map(&pieces)?);
    }
    Err(format!("there is neither tokenizer.json nor vocab.txt nor {SENTENCEPIECE} in it"))
}
