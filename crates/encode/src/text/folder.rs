//! An unmodified model folder of sentence-transformers, Hugging Face or ModelScope, opened as a text model.
//!
//! ```text
//! config.json                             the network                     (text::network)
//! model.safetensors | pytorch_model.bin   its weights, or parts of them   (weights::files)
//! tokenizer.json | vocab.txt | sentencepiece.bpe.model   its tokenizer    (tokenizer_config.json for vocab.txt)
//! modules.json                            what follows the network        (absent: pooling as sentence-transformers chooses it)
//! 1_Pooling, 2_Dense, ...                 which states make the vector, and what is made of it
//! sentence_bert_config.json               how many tokens it reads, and whether texts are made small
//! config_sentence_transformers.json       prompts for queries and documents
//! ```
//!
//! Invariant: what a folder asks for is done or refused by name; nothing in it is passed over that would change a vector,
//! but normalisation: every vector leaves at unit length. A folder's revision is the hash of all files that were read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cross::is_classifier;
use super::modules::Modules;
use super::network::Config;
use super::pooling::Mode;
use super::tokens::{self, Tokens, WordPieceConfig};
use super::{TextEncoder, TextModel};
use crate::encoder::{Encoder, LongTexts, Modality, ModelCard};
use crate::models::ModelError;
use crate::weights::{Map, Weights, find, read_small};

/// A tokenizer says this many tokens, or more, when it knows of no limit.
const NO_LIMIT: f64 = 1e12;
/// What is told of a cross-encoder that is asked for vectors.
const IS_CLASSIFIER: &str = "it gives labels for texts and no vectors, as its architecture says (ForSequenceClassification): it may be a reranker, which is named by rerank.model or --rerank-model";
/// Of XLM-RoBERTa.
const SENTENCEPIECE: &str = "sentencepiece.bpe.model";
/// Names of the prompt for each side, the usual one first.
const QUERY: [&str; 2] = ["query", "search_query"];
const DOCUMENT: [&str; 3] = ["document", "passage", "search_document"];

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reading {
    pub(crate) max_seq_length: Option<usize>,
    pub(crate) do_lower_case: bool,
}

/// What of `tokenizer_config.json` bounds a text.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Longest {
    model_max_length: Option<f64>,
}

impl Longest {
    /// As many tokens as the file says, if it says a limit.
    pub(crate) fn tokens(&self) -> Option<usize> {
        let told = self.model_max_length.filter(|length| *length >= 1.0 && *length < NO_LIMIT);
        told.map(|length| length as usize)
    }
}

/// Whether a path that a file names lies inside the folder of that file.
pub(crate) fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// `config_sentence_transformers.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Prompts {
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

impl Prompts {
    /// For queries and for documents.
    pub(crate) fn sides(&self) -> (String, String) {
        let default = self.default_prompt_name.as_ref().and_then(|name| self.prompts.get(name));
        let side = |names: &[&str]| {
            let own = names.iter().find_map(|name| self.prompts.get(*name));
            own.or(default).cloned().unwrap_or_default()
        };
        (side(&QUERY), side(&DOCUMENT))
    }
}

/// What is read of a folder, and its hash.
pub(crate) struct Reader<'a> {
    folder: &'a Path,
    hash: blake3::Hasher,
    maps: Vec<Map>,
}

/// All bytes of a file were read for the hash, and most of what they hold was laid out anew: with the reader they leave memory.
impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.maps.iter().for_each(Map::let_go);
    }
}

impl Reader<'_> {
    pub(crate) fn new(folder: &Path) -> Reader<'_> {
        Reader { folder, hash: blake3::Hasher::new(), maps: Vec::new() }
    }

    /// Of all that was read.
    pub(crate) fn revision(&self) -> String {
        self.hash.finalize().to_hex().to_string()
    }

    fn seen(&mut self, name: &str, bytes: &[u8]) {
        // With lengths, so that no two lists of files hash alike.
        self.hash.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        self.hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    /// A small file, if it is there.
    pub(crate) fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let path = self.folder.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = read_small(&path)?;
        self.seen(name, &bytes);
        Ok(Some(bytes))
    }

    /// A small JSON file, or what stands for one that is not there.
    pub(crate) fn json<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T, String> {
        parse(name, self.bytes(name)?.as_deref())
    }

    /// The weights in the folder `inside` ours; `id` is the model's.
    pub(crate) fn weights(&mut self, id: &str, inside: &Path) -> Result<Weights, ModelError> {
        let broken = |reason: String| ModelError::Broken { id: id.to_owned(), reason };
        let files = find(&self.folder.join(inside)).map_err(broken)?;
        let mut mapped = Vec::new();
        for path in &files {
            mapped.push((path.as_path(), self.map(path).map_err(broken)?));
        }
        Weights::open(id, &mapped)
    }

    /// A file of any length, mapped.
    pub(crate) fn map(&mut self, path: &Path) -> Result<Bytes, String> {
        let map = Map::open(path)?;
        let bytes = map.bytes();
        self.maps.push(map);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.seen(&name, &bytes);
        Ok(bytes)
    }
}

/// A JSON file, or what stands for one that is not there.
pub(crate) fn parse<T: DeserializeOwned + Default>(name: &str, json: Option<&[u8]>) -> Result<T, String> {
    let Some(json) = json else { return Ok(T::default()) };
    serde_json::from_slice(json).map_err(|error| format!("its {name}: {error}"))
}

/// Opens the text model in `folder`. Its id is the folder's full path.
pub(crate) fn open_folder(folder: &Path) -> Result<Arc<dyn Encoder>, ModelError> {
    let id = folder.to_string_lossy().into_owned();
    let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
    let mut reader = Reader::new(folder);
    let modules = Modules::read(&mut reader).map_err(broken)?;
    let inside = |name: &str| modules.network.join(name).to_string_lossy().into_owned();
    let config = reader.bytes(&inside("config.json")).and_then(|json| {
        let json = json.ok_or("there is no config.json in it, so it is no folder of a model")?;
        // With a pooling behind it, a network is one for vectors, whatever it was trained as.
        match modules.pooling.is_none() && is_classifier(&json) {
            true => Err(IS_CLASSIFIER.to_owned()),
            false => Config::read(&json),
        }
    });
    let config = config.map_err(broken)?;
    let usual = if config.is_decoder() { Mode::Last } else { Mode::Mean };
    let pooling = modules.pooling.clone().unwrap_or_else(|| usual.into());
    let reading: Reading = reader.json(&inside("sentence_bert_config.json")).map_err(broken)?;
    let tokenizer_config = reader.bytes(&inside("tokenizer_config.json")).map_err(broken)?;
    let longest: Longest = parse("tokenizer_config.json", tokenizer_config.as_deref()).map_err(broken)?;
    let prompts: Prompts = reader.json("config_sentence_transformers.json").map_err(broken)?;
    let max_tokens = self::longest(config.max_tokens(), &reading, &longest);
    let tokenizer = read_tokenizer(&mut reader, &folder.join(&modules.network), tokenizer_config.as_deref());
    let tokens = Tokens::new(&id, tokenizer.map_err(broken)?, Some(max_tokens))?;
    let network = config.open(reader.weights(&id, &modules.network)?)?;
    let head = modules.head(&mut reader, &id, pooling.outputs(network.dim()))?;
    if tokens.vocabulary() > network.vocabulary() {
        let (has, knows) = (tokens.vocabulary(), network.vocabulary());
        return Err(broken(format!("its tokenizer has {has} tokens, and its network knows {knows}")));
    }
    let revision = reader.revision();
    let name = folder.file_name().map_or_else(|| id.clone(), |name| name.to_string_lossy().into_owned());
    let (query_prompt, document_prompt) = prompts.sides();
    let card = ModelCard {
        space: format!("{name}@{revision:.8}/{}", pooling.name()),
        id: id.clone(),
        revision,
        dim: head.outputs(pooling.outputs(network.dim())),
        modality: Modality::Text,
        also_reads: None,
        max_tokens: Some(max_tokens),
        query_prompt,
        document_prompt,
        licence: String::new(),
        bytes: network.bytes() + head.bytes(),
    };
    let model = TextModel { tokens, lower_case: reading.do_lower_case, network, pooling, head };
    Ok(Arc::new(TextEncoder::new(card, Arc::new(model), LongTexts::Truncate)))
}

/// Whether the network in `folder` is one of ours, and its weights are there.
pub(crate) fn is_ours(folder: &Path) -> bool {
    let config = read_small(&folder.join("config.json"));
    config.is_ok_and(|json| Config::read(&json).is_ok()) && find(folder).is_ok()
}

/// As sentence-transformers chooses it, and never more than there are positions.
pub(crate) fn longest(positions: usize, reading: &Reading, longest: &Longest) -> usize {
    let asked = reading.max_seq_length.or(longest.tokens());
    asked.map_or(positions, |asked| asked.min(positions))
}

pub(crate) fn read_tokenizer(
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
