//! A text model of a moment: a BERT of one layer with seeded random weights, in a folder as Hugging Face has them.
//!
//! It reads letters and digits. Its vectors mean nothing; they differ from text to text and from model to model.

use std::path::{Path, PathBuf};

const HEADS: usize = 2;
const POSITIONS: usize = 64;

/// Writes a model of `dim` numbers (a multiple of 8); returns the folder as models are named by it.
pub fn small_model(folder: &Path, dim: usize, seed: u64) -> PathBuf {
    write(folder, dim, seed, "", "")
}

/// Writes a cross-encoder of `dim` numbers; returns its folder.
#[allow(dead_code)] // not every suite that takes this file in reranks
pub fn small_reranker(folder: &Path, dim: usize, seed: u64) -> PathBuf {
    let labels = r#", "architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}"#;
    write(folder, dim, seed, labels, "bert.")
}

fn write(folder: &Path, dim: usize, seed: u64, labels: &str, prefix: &str) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder for a model");
    let letters: Vec<char> = ('a'..='z').chain('0'..='9').collect();
    let mut vocabulary: Vec<String> =
        ["PAD", "UNK", "CLS", "SEP", "MASK"].map(|name| format!("[{name}]")).into();
    vocabulary.extend(letters.iter().map(char::to_string));
    vocabulary.extend(letters.iter().map(|letter| format!("##{letter}")));
    let config = format!(
        r#"{{"model_type": "bert", "vocab_size": {}, "hidden_size": {dim}, "num_hidden_layers": 1,
            "num_attention_heads": {HEADS}, "intermediate_size": {dim}, "hidden_act": "gelu",
            "max_position_embeddings": {POSITIONS}, "type_vocab_size": 2, "layer_norm_eps": 1e-12{labels}}}"#,
        vocabulary.len()
    );
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("a file of a model");
    write("config.json", config.as_bytes());
    write("model.safetensors", &weights(&tensors(vocabulary.len(), dim, prefix), seed));
    write("vocab.txt", vocabulary.join("\n").as_bytes());
    folder.canonicalize().expect("a folder that is there")
}

/// Names and shapes of `BertModel`, or behind a prefix of `BertForSequenceClassification`.
fn tensors(words: usize, dim: usize, prefix: &str) -> Vec<(String, Vec<usize>)> {
    let mut tensors: Vec<(String, Vec<usize>)> =
        [("word", words), ("position", POSITIONS), ("token_type", 2)]
            .map(|(name, rows)| (format!("embeddings.{name}_embeddings.weight"), vec![rows, dim]))
            .into();
    let layer = "encoder.layer.0";
    for part in [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ] {
        tensors.push((format!("{layer}.{part}.weight"), vec![dim, dim]));
        tensors.push((format!("{layer}.{part}.bias"), vec![dim]));
    }
    for norm in ["embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"] {
        tensors.push((format!("{norm}.LayerNorm.weight"), vec![dim]));
        tensors.push((format!("{norm}.LayerNorm.bias"), vec![dim]));
    }
    tensors.iter_mut().for_each(|(name, _)| name.insert_str(0, prefix));
    if !prefix.is_empty() {
        for (layer, outputs) in [(format!("{prefix}pooler.dense"), dim), ("classifier".to_owned(), 1)] {
            tensors.push((format!("{layer}.weight"), vec![outputs, dim]));
            tensors.push((format!("{layer}.bias"), vec![outputs]));
        }
    }
    tensors
}

/// A safetensors file: length of the header, header, little-endian numbers.
fn weights(tensors: &[(String, Vec<usize>)], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * 0.5
    };
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for (name, shape) in tensors {
        let begin = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            let value = if name.ends_with("LayerNorm.weight") { 1.0 } else { next() };
            data.extend(value.to_le_bytes());
        }
        header.push(format!(
            r#""{name}": {{"dtype": "F32", "shape": {shape:?}, "data_offsets": [{begin}, {}]}}"#,
            data.len()
        ));
    }
    let mut header = format!("{{{}}}", header.join(", "));
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}
