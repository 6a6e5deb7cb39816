//! A text model in ONNX: the folder's tokenizer in front of the graph, its pooling behind it.
//!
//! Inputs are given by the names that exporters use; a graph that wants others is refused. Texts are not padded, unless the graph
//! reads a fixed number of tokens, where `attention_mask` tells which are the text's. The vector is `sentence_embedding` where
//! there is one, else the states of the tokens pooled as the folder says.

use std::path::Path;
use std::sync::Arc;

use ort::value::TensorElementType;
use serde::Deserialize;

use super::graph::{Graph, Numbers, Port};
use crate::encoder::{EncodeError, Encoded, Encoder, Input, Modality, ModelCard, Prompt};
use crate::math::elementwise::normalise;
use crate::models::ModelError;
use crate::text::folder::{Longest, Prompts, Reader, Reading, parse, read_tokenizer};
use crate::text::modules::Modules;
use crate::text::pooling::{Mode, Pooling};
use crate::text::tokens::Tokens;

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const KINDS: &str = "token_type_ids";
const POSITIONS: &str = "position_ids";
/// Already pooled, as sentence-transformers exports it.
const POOLED: &str = "sentence_embedding";
/// One state a token.
const STATES: [&str; 2] = ["last_hidden_state", "token_embeddings"];
/// Tokens of a text where neither the folder nor the graph says how many.
const MAX_TOKENS: usize = 512;
/// Their positions begin behind the padding token's.
const SHIFTED: [&str; 4] = ["roberta", "xlm-roberta", "camembert", "mpnet"];

/// What of `config.json` bounds a text.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    model_type: String,
    max_position_embeddings: Option<usize>,
    pad_token_id: Option<u32>,
}

impl Config {
    fn positions(&self) -> Option<usize> {
        let first = match SHIFTED.contains(&self.model_type.as_str()) {
            true => self.pad_token_id.map_or(2, |pad| pad as usize + 1),
            false => 0,
        };
        self.max_position_embeddings.map(|positions| positions.saturating_sub(first))
    }
}

/// A graph with its tokenizer.
struct TextGraph {
    card: ModelCard,
    tokens: Tokens,
    /// Texts are made small before they are cut into tokens.
    lower_case: bool,
    network: Network,
}

/// From token ids to a vector.
struct Network {
    graph: Graph,
    output: String,
    pooling: Pooling,
    /// Tokens that the graph reads, no more and no fewer.
    length: Option<usize>,
    padding: u32,
}

/// Opens the text model in `folder`. Its id is the folder's full path.
pub(super) fn open(folder: &Path) -> Result<Arc<dyn Encoder>, ModelError> {
    let id = folder.to_string_lossy().into_owned();
    let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
    let mut reader = Reader::new(folder);
    let modules = Modules::read(&mut reader).map_err(broken)?;
    let pooling = modules.pooling.clone().unwrap_or_else(|| Mode::Mean.into());
    if !modules.ends_with_pooling() || !pooling.include_prompt {
        let reason = "its modules.json has a module behind the pooling, or leaves prompts out of it, which is not supported for an ONNX graph";
        return Err(broken(reason.to_owned()));
    }
    let inner = modules.network;
    let inside = |name: &str| inner.join(name).to_string_lossy().into_owned();
    let config: Config = reader.json(&inside("config.json")).map_err(broken)?;
    let reading: Reading = reader.json(&inside("sentence_bert_config.json")).map_err(broken)?;
    let tokenizer_config = reader.bytes(&inside("tokenizer_config.json")).map_err(broken)?;
    let longest: Longest = parse("tokenizer_config.json", tokenizer_config.as_deref()).map_err(broken)?;
    let prompts: Prompts = reader.json("config_sentence_transformers.json").map_err(broken)?;
    let place = folder.join(&inner);
    let tokenizer = read_tokenizer(&mut reader, &place, tokenizer_config.as_deref()).map_err(broken)?;
    let path = super::graph_in(&place).ok_or_else(|| broken("its graph is gone".to_owned()))?;
    super::hash_graph(&mut reader, &path).map_err(broken)?;
    let graph = Graph::open(&id, &path)?;
    let length = check_inputs(&graph.inputs).map_err(broken)?;
    let output = choose_output(&graph.outputs).map_err(broken)?;
    let asked = reading.max_seq_length.or(longest.tokens()).or(config.positions()).unwrap_or(MAX_TOKENS);
    let max_tokens =
        [config.positions(), length].into_iter().flatten().fold(asked, |least, most| least.min(most));
    let tokens = Tokens::new(&id, tokenizer, Some(max_tokens))?;
    let padding = config.pad_token_id.unwrap_or(0);
    let pooled = output == POOLED;
    let network = Network { graph, output, pooling, length, padding };
    // One text, so that what does not fit is known now, and how many numbers a vector has.
    let dim = network.vector(&tokens.encode("", "a").0).map_err(broken)?.len();
    if dim == 0 {
        return Err(broken(format!("its output \"{}\" is empty", network.output)));
    }
    let revision = reader.revision();
    let (query_prompt, document_prompt) = prompts.sides();
    let card = ModelCard {
        space: super::space(
            folder,
            &revision,
            &if pooled { "pooled".to_owned() } else { network.pooling.name() },
        ),
        id,
        revision,
        dim,
        modality: Modality::Text,
        also_reads: None,
        max_tokens: Some(max_tokens),
        query_prompt,
        document_prompt,
        licence: String::new(),
        bytes: std::fs::metadata(&path).map_or(0, |file| file.len() as usize),
    };
    Ok(Arc::new(TextGraph { card, tokens, lower_case: reading.do_lower_case, network }))
}

/// Whether the graph can be given what there is of a text; how many tokens it must be, if that is fixed.
fn check_inputs(inputs: &[Port]) -> Result<Option<usize>, String> {
    let expected = format!("expected {IDS} and, if it wants them, {MASK}, {KINDS}, {POSITIONS}");
    for Port { name, element, shape } in inputs {
        if ![IDS, MASK, KINDS, POSITIONS].contains(&name.as_str()) {
            return Err(format!("its graph has the input \"{name}\" {shape:?} of {element:?}, {expected}"));
        }
        if !matches!(element, TensorElementType::Int64 | TensorElementType::Int32) || shape.len() != 2 {
            return Err(format!(
                "its input \"{name}\" is {shape:?} of {element:?}, expected [texts, tokens] of Int64 or Int32"
            ));
        }
    }
    let ids = inputs.iter().find(|port| port.name == IDS);
    let ids = ids.ok_or_else(|| format!("its graph has no input \"{IDS}\"; {expected}"))?;
    if let Some(batch) = ids.fixed(0)
        && batch != 1
    {
        return Err(format!("its graph reads {batch} texts at a time, expected 1 or any number"));
    }
    let length = ids.fixed(1);
    if let Some(length) = length
        && inputs.iter().all(|port| port.name != MASK)
    {
        return Err(format!(
            "its graph reads {length} tokens and has no input \"{MASK}\", so shorter texts cannot be told from what fills them up"
        ));
    }
    Ok(length)
}

fn choose_output(outputs: &[Port]) -> Result<String, String> {
    let named = |name: &str| outputs.iter().find(|port| port.name == name);
    let chosen = named(POOLED).or_else(|| STATES.iter().find_map(|name| named(name))).or(outputs.first());
    let port = chosen.ok_or("its graph has no output that is a tensor")?;
    match port.shape.len() {
        2 | 3 => Ok(port.name.clone()),
        _ => Err(format!(
            "its output \"{}\" is {:?}, expected [texts, numbers] or [texts, tokens, numbers]",
            port.name, port.shape
        )),
    }
}

impl Network {
    /// The vector of token ids, at least one and no more than the graph reads, not yet of unit length.
    fn vector(&self, ids: &[u32]) -> Result<Vec<f32>, String> {
        let length = self.length.unwrap_or(ids.len());
        let inputs = self.graph.inputs.iter().map(|port| {
            let number = |at: usize| match (port.name.as_str(), ids.get(at)) {
                (IDS, id) => i64::from(*id.unwrap_or(&self.padding)),
                (MASK, id) => i64::from(id.is_some()),
                (POSITIONS, Some(_)) => at as i64,
                _ => 0,
            };
            (port.name.as_str(), Numbers::Integers(vec![1, length], (0..length).map(number).collect()))
        });
        let (shape, numbers) = self.graph.run(inputs.collect(), &self.output)?;
        match shape[..] {
            [1, _] => Ok(numbers),
            [1, tokens, dim] if tokens == length && dim > 0 => {
                Ok(self.pooling.apply(&numbers[..ids.len() * dim], &[ids.to_vec()], &[0], dim))
            }
            _ => Err(format!(
                "its output \"{}\" is {shape:?} for {length} tokens, expected [1, numbers] or [1, {length}, numbers]",
                self.output
            )),
        }
    }
}

impl TextGraph {
    /// Token ids of a text with its prompt, and whether its end had to be cut off.
    fn cut(&self, text: &str, prompt: Prompt) -> (Vec<u32>, bool) {
        let prefix = match prompt {
            Prompt::Query => self.card.query_prompt.as_str(),
            Prompt::Document => self.card.document_prompt.as_str(),
            Prompt::None => "",
        };
        match self.lower_case {
            true => self.tokens.encode(&prefix.to_lowercase(), &text.to_lowercase()),
            false => self.tokens.encode(prefix, text),
        }
    }
}

impl Encoder for TextGraph {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError> {
        let (model, dim) = (&self.card.id, self.card.dim);
        let mut texts = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            let Input::Text { text, prompt } = *input else {
                let (expected, received) = (Modality::Text, input.modality());
                return Err(EncodeError::Modality { model: model.clone(), expected, received });
            };
            if text.trim().is_empty() {
                return Err(EncodeError::EmptyText { index });
            }
            texts.push((text, prompt));
        }
        let (mut vectors, mut truncated) = (Vec::with_capacity(texts.len() * dim), 0);
        for (index, (text, prompt)) in texts.into_iter().enumerate() {
            let (ids, is_cut) = self.cut(text, prompt);
            truncated += usize::from(is_cut);
            let vector = self.network.vector(&ids).and_then(|vector| match vector.len() == dim {
                true => Ok(vector),
                false => Err(format!("its vector has {} numbers, expected {dim}", vector.len())),
            });
            let failed = |reason| EncodeError::Failed { model: model.clone(), index, reason };
            vectors.extend(vector.map_err(failed)?);
        }
        vectors.chunks_exact_mut(dim).for_each(normalise);
        Ok(Encoded { vectors, dim, truncated })
    }

    fn token_ids(&self, text: &str, prompt: Prompt) -> Vec<u32> {
        self.cut(text, prompt).0
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokens.count(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, element: TensorElementType, shape: &[i64]) -> Port {
        Port { name: name.to_owned(), element, shape: shape.to_vec() }
    }

    #[test]
    fn inputs_of_texts_are_known_by_name_and_others_refused() {
        let wide = TensorElementType::Int64;
        let any = [port(IDS, wide, &[-1, -1]), port(MASK, TensorElementType::Int32, &[-1, -1])];
        assert_eq!(check_inputs(&any), Ok(None));
        let fixed = [port(IDS, wide, &[1, 128]), port(MASK, wide, &[1, 128])];
        assert_eq!(check_inputs(&fixed), Ok(Some(128)));
        for (inputs, told) in [
            (vec![port(IDS, wide, &[1, 128])], "no input \"attention_mask\""),
            (vec![port(MASK, wide, &[-1, -1])], "no input \"input_ids\""),
            (vec![port(IDS, wide, &[8, -1])], "8 texts at a time"),
            (vec![port(IDS, TensorElementType::Float32, &[-1, -1])], "of Float32"),
            (vec![port(IDS, wide, &[-1])], "[-1]"),
            (vec![port("past_key_values.0.key", wide, &[-1, 8, -1, 64])], "past_key_values.0.key"),
        ] {
            let reason = check_inputs(&inputs).expect_err("refused");
            assert!(reason.contains(told), "{reason}");
        }
    }

    #[test]
    fn the_pooled_output_counts_before_the_states() {
        let float = TensorElementType::Float32;
        let states = || port("last_hidden_state", float, &[-1, -1, 8]);
        let chosen = |outputs: &[Port]| choose_output(outputs);
        assert_eq!(chosen(&[port("x", float, &[-1, 8]), states()]), Ok("last_hidden_state".to_owned()));
        assert_eq!(chosen(&[states(), port(POOLED, float, &[-1, 8])]), Ok(POOLED.to_owned()));
        assert_eq!(chosen(&[port("x", float, &[-1, 8])]), Ok("x".to_owned()));
        assert!(chosen(&[port("x", float, &[-1])]).is_err_and(|reason| reason.contains("[-1]")));
        assert!(chosen(&[]).is_err());
    }

    #[test]
    fn positions_of_the_roberta_family_begin_behind_the_padding() {
        let positions = |json: &str| serde_json::from_str::<Config>(json).expect("a config").positions();
        assert_eq!(positions(r#"{"model_type": "bert", "max_position_embeddings": 512}"#), Some(512));
        assert_eq!(
            positions(r#"{"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}"#),
            Some(512)
        );
        assert_eq!(positions("{}"), None);
    }
}
