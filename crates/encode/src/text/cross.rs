//! Cross-encoders: a query and a text read together by a BERT or XLM-RoBERTa network, which says how well they fit.
//!
//! Nogueira & Cho (2019), "Passage Re-ranking with BERT". The state of the first token goes through a layer of its own, `tanh`,
//! and a layer with one output, the logit; sentence-transformers' `CrossEncoder` puts an activation behind that. Pairs lie one
//! behind the other without padding, as texts of [`super::TextEncoder`] do.
//!
//! ```text
//! config.json                   BertForSequenceClassification, or XLMRoberta-, Roberta-, Camembert-; one label; the activation
//! model.safetensors | ...       the network below "bert." or "roberta.", and
//!   BERT      bert.pooler.dense.{weight [dim, dim], bias}   classifier.{weight [1, dim], bias}
//!   RoBERTa   classifier.dense.{weight [dim, dim], bias}    classifier.out_proj.{weight [1, dim], bias}
//! tokenizer.json | ...          as of text models; it joins the two texts
//! ```
//!
//! Invariant: a folder that is no cross-encoder of these, or asks for what is not done here, is refused by name.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;

use super::bert::{self, Bert};
use super::folder::{self, Longest, Reader, Reading, parse, read_tokenizer};
use super::head::Activation;
use super::modules::Named;
use super::tokens::{Joined, Tokens};
use super::{GROUP_TOKENS, groups};
use crate::math::elementwise::normalise;
use crate::math::linear::{Finish, Linear};
use crate::models::ModelError;
use crate::weights::Weights;

/// The end of the names of networks that give labels.
const CLASSIFIER: &str = "ForSequenceClassification";
/// Those that are read here, without that end.
const KNOWN: [&str; 4] = ["Bert", "XLMRoberta", "Roberta", "Camembert"];
/// Labels of a network whose config says nothing, as `transformers` takes it.
const USUAL_LABELS: usize = 2;
/// Tokenizers that tell no types, by the beginning of their class's name.
const WITHOUT_TYPES: [&str; 3] = ["XLMRoberta", "Roberta", "Camembert"];

/// What a cross-encoder is.
#[derive(Clone, Debug)]
pub struct CrossEncoderCard {
    /// The folder's full path.
    pub id: String,
    /// Hash of all files that were read, hex.
    pub revision: String,
    /// The network's name, such as `BertForSequenceClassification`.
    pub architecture: String,
    /// Longest pair in tokens, special tokens included.
    pub max_tokens: usize,
    /// What is made of a logit: `sigmoid`, `identity`, ...
    pub activation: &'static str,
    /// Weights in memory, bytes.
    pub bytes: usize,
}

/// How well a text fits a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relevance {
    /// What the network says; larger is better.
    pub logit: f32,
    /// The same through the model's activation, as its makers show it.
    pub score: f32,
}

/// A query with a text, ready to be scored.
#[derive(Clone, Debug)]
pub struct Pair(Joined);

impl Pair {
    /// Tokens that the model reads.
    pub fn tokens(&self) -> usize {
        self.0.ids.len()
    }

    /// Their ids.
    pub fn ids(&self) -> &[u32] {
        &self.0.ids
    }

    /// Whether an end had to be cut off.
    pub fn is_cut(&self) -> bool {
        self.0.is_cut
    }
}

/// A cross-encoder with its tokenizer; blocking and thread safe.
pub struct CrossEncoder {
    card: CrossEncoderCard,
    tokens: Tokens,
    with_types: bool,
    network: Bert,
    dense: Linear,
    label: Linear,
    activation: Activation,
}

/// What of `config.json` says which labels there are, and what is made of them.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    num_labels: Option<usize>,
    #[serde(default)]
    id2label: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    sentence_transformers: Option<Told>,
    /// Where sentence-transformers wrote it before its version 4.
    #[serde(default)]
    sbert_ce_default_activation_function: Option<String>,
}

/// What sentence-transformers says of a cross-encoder, in `config.json` or `config_sentence_transformers.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    activation_fn: Option<String>,
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

/// What of `tokenizer_config.json` says whether a pair's tokens have types.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Types {
    tokenizer_class: Option<String>,
    model_input_names: Option<Vec<String>>,
}

impl Types {
    fn are_told(&self) -> bool {
        match (&self.model_input_names, &self.tokenizer_class) {
            (Some(names), _) => names.iter().any(|name| name == "token_type_ids"),
            (None, Some(class)) => !WITHOUT_TYPES.iter().any(|without| class.starts_with(without)),
            (None, None) => true,
        }
    }
}

impl Config {
    fn labels(&self) -> usize {
        self.num_labels.or(self.id2label.as_ref().map(BTreeMap::len)).unwrap_or(USUAL_LABELS)
    }

    /// The network's name, if it gives labels.
    fn classifier(&self) -> Option<&str> {
        let first = self.architectures.as_ref()?.first()?;
        first.ends_with(CLASSIFIER).then_some(first)
    }

    /// The network's name; what is no cross-encoder that is read here is refused.
    fn check(&self) -> Result<String, String> {
        let Some(name) = self.classifier() else {
            let is = match self.architectures.as_ref().and_then(|names| names.first()) {
                Some(name) => format!("its architecture is \"{name}\""),
                None => "its config.json names no architecture".to_owned(),
            };
            return Err(format!(
                "it is no reranker: {is}, expected one that ends with {CLASSIFIER}; a model that makes vectors cannot rerank"
            ));
        };
        if !KNOWN.iter().any(|known| name.strip_suffix(CLASSIFIER) == Some(known)) {
            let known = KNOWN.map(|known| format!("{known}{CLASSIFIER}")).join(", ");
            return Err(format!("its architecture is \"{name}\", expected one of {known}"));
        }
        match self.labels() {
            1 => Ok(name.to_owned()),
            labels => {
                let names = self.id2label.iter().flat_map(BTreeMap::values).take(4);
                let names: Vec<String> = names.map(|name| name.as_str().unwrap_or("?").to_owned()).collect();
                let named = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
                Err(format!(
                    "it gives {labels} labels{named}, expected 1, a score: it sorts texts into classes and cannot rank them"
                ))
            }
        }
    }
}

/// Whether `config.json` says that the network in a folder gives labels and no vectors.
pub(crate) fn is_classifier(json: &[u8]) -> bool {
    serde_json::from_slice::<Config>(json).is_ok_and(|config| config.classifier().is_some())
}

/// Whether the folder at a path holds a network that gives labels, and no pooling that would make vectors of it.
pub(crate) fn is_in(folder: &Path) -> bool {
    let mut reader = Reader::new(folder);
    let says = |json: Result<Option<Vec<u8>>, String>| json.ok().flatten();
    says(reader.bytes("config.json")).is_some_and(|json| is_classifier(&json))
        && check_modules(&mut reader).is_ok()
}

/// `modules.json` may name the network alone, in the folder itself.
fn check_modules(reader: &mut Reader<'_>) -> Result<(), String> {
    let Some(json) = reader.bytes("modules.json")? else { return Ok(()) };
    let named: Vec<Named> =
        serde_json::from_slice(&json).map_err(|error| format!("its modules.json: {error}"))?;
    let name = |named: &Named| named.kind.rsplit('.').next().unwrap_or_default().to_owned();
    match &named[..] {
        [one] if name(one) == "Transformer" && one.path.is_empty() => Ok(()),
        several if several.iter().any(|one| name(one) == "Pooling") => {
            Err("it is no reranker: its modules.json names a Pooling, so it makes vectors".to_owned())
        }
        several => {
            let names: Vec<String> = several.iter().map(name).collect();
            Err(format!("its modules.json names {}, expected a Transformer alone", names.join(", ")))
        }
    }
}

/// What sentence-transformers puts behind the logit of one label.
fn activation(config: &Config, told: &Told) -> Result<(Activation, &'static str), String> {
    let in_config = config.sentence_transformers.as_ref().and_then(|told| told.activation_fn.as_ref());
    let named = told.activation_fn.as_ref().or(in_config);
    let named = named.or(config.sbert_ce_default_activation_function.as_ref());
    let activation = named.map_or(Ok(Activation::Sigmoid), |name| Activation::of(name))?;
    Ok((activation, activation.name()))
}

/// A prompt that `CrossEncoder` would put before the pairs is not put here.
fn check_prompts(told: &Told) -> Result<(), String> {
    let prompt = told.default_prompt_name.as_ref().and_then(|name| told.prompts.get(name));
    match prompt.filter(|prompt| !prompt.is_empty()) {
        None => Ok(()),
        Some(prompt) => {
            Err(format!("it wants the prompt {prompt:?} before its pairs, which is not supported"))
        }
    }
}

/// The two layers behind the network: `[dim]` to `[dim]`, and to the logit.
fn read_head(weights: &Weights, is_bert: bool, dim: usize) -> Result<(Linear, Linear), ModelError> {
    let linear = |name: &str, outputs: usize| -> Result<Linear, ModelError> {
        let bias = weights.dense(&format!("{name}.bias"), &[outputs])?;
        let matrix = weights.matrix(&format!("{name}.weight"), outputs, dim)?;
        Ok(Linear::stacked(vec![matrix], dim, bias, Finish::Keep))
    };
    match is_bert {
        true => Ok((linear("bert.pooler.dense", dim)?, linear("classifier", 1)?)),
        false => Ok((linear("classifier.dense", dim)?, linear("classifier.out_proj", 1)?)),
    }
}

impl CrossEncoder {
    /// Opens the cross-encoder in `folder`, whose id is the folder's full path.
    ///
    /// # Errors
    /// A folder that is none, by what it is instead.
    pub(crate) fn open(folder: &Path) -> Result<CrossEncoder, ModelError> {
        let id = folder.to_string_lossy().into_owned();
        let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
        let mut reader = Reader::new(folder);
        let json = reader.bytes("config.json").and_then(|json| {
            json.ok_or_else(|| "there is no config.json in it, so it is no folder of a model".to_owned())
        });
        let json = json.map_err(broken)?;
        let labels: Config =
            serde_json::from_slice(&json).map_err(|error| broken(format!("its config.json: {error}")))?;
        check_modules(&mut reader).map_err(broken)?;
        let architecture = labels.check().map_err(broken)?;
        let config = bert::Config::read(&json).map_err(broken)?;
        let told: Told = reader.json("config_sentence_transformers.json").map_err(broken)?;
        check_prompts(&told).map_err(broken)?;
        let (activation, name) = activation(&labels, &told).map_err(broken)?;
        let reading: Reading = reader.json("sentence_bert_config.json").map_err(broken)?;
        if reading.do_lower_case {
            return Err(broken(
                "it wants texts made small before they are read, which is not supported".into(),
            ));
        }
        let tokenizer_config = reader.bytes("tokenizer_config.json").map_err(broken)?;
        let longest: Longest = parse("tokenizer_config.json", tokenizer_config.as_deref()).map_err(broken)?;
        let types: Types = parse("tokenizer_config.json", tokenizer_config.as_deref()).map_err(broken)?;
        let max_tokens = folder::longest(config.max_tokens(), &reading, &longest);
        let tokenizer = read_tokenizer(&mut reader, folder, tokenizer_config.as_deref()).map_err(broken)?;
        let tokens = Tokens::new(&id, tokenizer, Some(max_tokens))?;
        tokens.check_pairs().map_err(broken)?;
        let (dim, is_bert) = (config.dim(), architecture.starts_with("Bert"));
        let weights = reader.weights(&id, Path::new(""))?;
        let (dense, label) = read_head(&weights, is_bert, dim)?;
        let network = Bert::read(&config, weights)?;
        if tokens.vocabulary() > network.vocabulary() {
            let (has, knows) = (tokens.vocabulary(), network.vocabulary());
            return Err(broken(format!("its tokenizer has {has} tokens, and its network knows {knows}")));
        }
        let bytes = network.bytes() + dense.bytes() + label.bytes();
        let revision = reader.revision();
        let with_types = config.tells_second_texts() && types.are_told();
        let card = CrossEncoderCard { id, revision, architecture, max_tokens, activation: name, bytes };
        Ok(CrossEncoder { card, tokens, with_types, network, dense, label, activation })
    }

    /// What this model is.
    pub fn card(&self) -> &CrossEncoderCard {
        &self.card
    }

    /// A query and a text as they are read together.
    pub fn pair(&self, query: &str, text: &str) -> Pair {
        Pair(self.tokens.join(query, text))
    }

    /// A query with each of `texts`, cut into tokens by the threads that help.
    pub fn pairs(&self, query: &str, texts: &[&str]) -> Vec<Pair> {
        texts.par_iter().map(|text| self.pair(query, text)).collect()
    }

    /// Token types of a pair: 0 for the query, 1 for the text where the model tells them apart.
    pub fn types(&self, pair: &Pair) -> Vec<u32> {
        let second = if self.with_types { pair.0.second } else { pair.tokens() };
        (0..pair.tokens()).map(|at| u32::from(at >= second)).collect()
    }

    /// How well each pair fits, in their order.
    pub fn score(&self, pairs: &[Pair]) -> Vec<Relevance> {
        let dim = self.network.dim();
        let features = self.features(pairs);
        let mut logits = vec![0.0; pairs.len()];
        for (logit, feature) in logits.iter_mut().zip(features.chunks_exact(dim)) {
            self.label.run(feature, std::slice::from_mut(logit), false);
        }
        let mut scores = logits.clone();
        self.activation.apply(&mut scores);
        logits.into_iter().zip(scores).map(|(logit, score)| Relevance { logit, score }).collect()
    }

    /// What the label is read off, `[pairs, dim]`.
    fn features(&self, pairs: &[Pair]) -> Vec<f32> {
        let ids: Vec<Vec<u32>> = pairs.iter().map(|pair| pair.0.ids.clone()).collect();
        let seconds: Vec<usize> = match self.with_types {
            true => pairs.iter().map(|pair| pair.0.second).collect(),
            false => Vec::new(),
        };
        let groups = groups(&ids);
        if let [group] = groups[..] {
            return rayon::scope(|_| self.group_features(group, &seconds, true));
        }
        let mut rest = seconds.as_slice();
        let with_seconds: Vec<(&[Vec<u32>], &[usize])> = groups
            .into_iter()
            .map(|group| {
                let (own, after) = rest.split_at(group.len().min(rest.len()));
                rest = after;
                (group, own)
            })
            .collect();
        let features =
            |(group, seconds): &(&[Vec<u32>], &[usize])| self.group_features(group, seconds, false);
        let parts: Vec<Vec<f32>> = with_seconds.par_iter().map(features).collect();
        parts.concat()
    }

    fn group_features(&self, group: &[Vec<u32>], seconds: &[usize], shared: bool) -> Vec<f32> {
        let dim = self.network.dim();
        let states = self.network.encode_pairs(group, seconds, shared);
        let mut first = Vec::with_capacity(group.len() * dim);
        let mut rest = states.as_slice();
        for pair in group {
            let (own, after) = rest.split_at(pair.len() * dim);
            first.extend_from_slice(&own[..dim]);
            rest = after;
        }
        let mut features = vec![0.0; first.len()];
        self.dense.run(&first, &mut features, shared);
        features.iter_mut().for_each(|number| *number = number.tanh());
        features
    }

    /// [`CrossEncoder::features`] at unit length: what two forms of one model are compared by.
    pub(crate) fn unit_features(&self, pairs: &[Pair]) -> (Vec<f32>, usize) {
        let dim = self.network.dim();
        let mut features = self.features(pairs);
        features.chunks_exact_mut(dim).for_each(normalise);
        (features, dim)
    }

    /// Tokens of a batch for `threads`: enough that each has a full group, few enough that one batch is soon done.
    pub fn batch_tokens(&self, threads: usize) -> usize {
        GROUP_TOKENS * threads.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> String {
        let config: Config = serde_json::from_str(json).expect("a config");
        config.check().err().unwrap_or_default()
    }

    #[test]
    fn what_is_no_cross_encoder_is_told_by_what_it_is() {
        assert!(told("{}").contains("names no architecture"));
        let embedding = told(r#"{"architectures": ["BertModel"], "id2label": {"0": "x"}}"#);
        assert!(
            embedding.contains("it is no reranker") && embedding.contains("\"BertModel\""),
            "{embedding}"
        );
        let other = told(r#"{"architectures": ["ModernBertForSequenceClassification"]}"#);
        assert!(other.contains("expected one of BertForSequenceClassification"), "{other}");
        let bert = r#""architectures": ["BertForSequenceClassification"]"#;
        assert!(told(&format!("{{{bert}}}")).contains("it gives 2 labels, expected 1"));
        let two = told(&format!(r#"{{{bert}, "id2label": {{"0": "no", "1": "yes"}}}}"#));
        assert!(two.contains("2 labels (no, yes)"), "{two}");
        assert_eq!(told(&format!(r#"{{{bert}, "id2label": {{"0": "LABEL_0"}}}}"#)), "");
        assert_eq!(told(&format!(r#"{{{bert}, "num_labels": 1}}"#)), "");
    }

    #[test]
    fn the_activation_is_that_of_the_newest_place() {
        let name = |config: &str, own: &str| {
            let config: Config = serde_json::from_str(config).expect("a config");
            let told: Told = serde_json::from_str(own).expect("a config");
            activation(&config, &told).map(|(_, name)| name)
        };
        assert_eq!(name("{}", "{}"), Ok("sigmoid"));
        let old = r#"{"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}"#;
        assert_eq!(name(old, "{}"), Ok("identity"));
        let new = r#"{"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}"#;
        assert_eq!(name(new, "{}"), Ok("tanh"));
        assert_eq!(name(new, r#"{"activation_fn": "torch.nn.modules.linear.Identity"}"#), Ok("identity"));
        assert!(
            name("{}", r#"{"activation_fn": "mine.Best"}"#).is_err_and(|told| told.contains("mine.Best"))
        );
    }

    #[test]
    fn types_are_told_by_the_tokenizer() {
        let told = |json: &str| serde_json::from_str::<Types>(json).expect("a config").are_told();
        assert!(told("{}") && told(r#"{"tokenizer_class": "BertTokenizer"}"#));
        assert!(!told(r#"{"tokenizer_class": "XLMRobertaTokenizerFast"}"#));
        assert!(!told(r#"{"model_input_names": ["input_ids", "attention_mask"]}"#));
    }
}
