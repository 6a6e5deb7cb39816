//! Which files of a model's folder, or of its repository on a hub, belong to the model that is read here.
//!
//! Repositories hold the same weights several times (ONNX, TensorFlow, Flax, OpenVINO) and pictures of their training. Taken
//! are, by name: configs, tokenizers, licence and README at the top or in a folder of a module (`1_Pooling`), and one set of
//! weights, safetensors before those of `torch.save`. Invariant: no chosen path leaves the folder.

use std::collections::BTreeSet;
use std::path::{Component, Path};

/// Read, or needed to know what it is.
const NAMES: [&str; 17] = [
    "README.md",
    "added_tokens.json",
    "config.json",
    "config_sentence_transformers.json",
    "merges.txt",
    "modules.json",
    "preprocessor_config.json",
    "processor_config.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];
/// Beginnings of the names of what says under which terms a model may be used.
const LICENCES: [&str; 3] = ["LICENSE", "LICENCE", "NOTICE"];
/// Whole files, and what the names of their parts look like: in the order in which they are preferred.
const WEIGHTS: [(&str, &str, &str); 2] =
    [("model.safetensors", "model-", ".safetensors"), ("pytorch_model.bin", "pytorch_model-", ".bin")];

/// Why no files could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// A path that leaves the folder, or is none.
    #[error("the file {path:?} lies outside of the model's folder")]
    Outside {
        /// As it was told.
        path: String,
    },
    /// Nothing that is read here.
    #[error("there is neither model.safetensors nor pytorch_model.bin among its {files} files")]
    NoWeights {
        /// How many there are.
        files: usize,
    },
}

/// Whether `path` (with `/`) stays inside a folder and has no names that only some systems understand.
pub(crate) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0', ':'])
        && !path.contains("//")
        && !path.ends_with('/')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The folder in front of a file's name, without the `/`.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Whether a folder is that of one of sentence-transformers' modules, such as `1_Pooling`.
fn is_module(folder: &str) -> bool {
    folder.split_once('_').is_some_and(|(number, name)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains('/')
    })
}

/// Whether a file that holds no weights belongs to the model.
pub(crate) fn is_support(path: &str) -> bool {
    let (folder, name) = split(path);
    let is_licence = LICENCES.iter().any(|licence| name.to_ascii_uppercase().starts_with(licence));
    let is_config = name.starts_with("sentence_") && name.ends_with("_config.json");
    (folder.is_empty() || is_module(folder)) && (NAMES.contains(&name) || is_licence || is_config)
}

/// The files of a model among `paths` (relative, with `/`), in their order.
///
/// # Errors
/// A path that leaves the folder, whether it would be chosen or not; no weights.
pub fn choose<'a>(paths: &[&'a str]) -> Result<Vec<&'a str>, ChoiceError> {
    if let Some(path) = paths.iter().find(|path| !is_inside(path)) {
        return Err(ChoiceError::Outside { path: (*path).to_owned() });
    }
    let all: BTreeSet<&str> = paths.iter().copied().collect();
    let folders: BTreeSet<&str> = paths.iter().map(|path| split(path).0).collect();
    let mut weights: BTreeSet<&str> = BTreeSet::new();
    for folder in folders.into_iter().filter(|folder| folder.is_empty() || is_module(folder)) {
        weights.extend(weights_of(folder, &all));
    }
    if weights.is_empty() {
        return Err(ChoiceError::NoWeights { files: paths.len() });
    }
    Ok(paths.iter().copied().filter(|path| is_support(path) || weights.contains(path)).collect())
}

/// One set of weights in a folder: a whole file, or an index and its parts.
fn weights_of<'a>(folder: &str, all: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let here = |name: &str| match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    };
    for (whole, first, last) in WEIGHTS {
        if let Some(path) = all.get(here(whole).as_str()) {
            return vec![path];
        }
        if let Some(index) = all.get(here(&format!("{whole}.index.json")).as_str()) {
            let is_part = |path: &&&str| {
                let (place, name) = split(path);
                place == folder && name.starts_with(first) && name.ends_with(last)
            };
            return std::iter::once(index).chain(all.iter().filter(is_part)).copied().collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_set_of_weights_and_what_belongs_to_it() {
        let all = [
            ".gitattributes",
            "1_Pooling/config.json",
            "README.md",
            "LICENSE.txt",
            "config.json",
            "flax_model.msgpack",
            "model.safetensors",
            "modules.json",
            "onnx/model.onnx",
            "onnx/config.json",
            "openvino/openvino_model.bin",
            "pytorch_model.bin",
            "tf_model.h5",
            "tokenizer.json",
            "vocab.txt",
            "train_script.py",
            "sentence_xlnet_config.json",
            "images/cat.png",
        ];
        let chosen = [
            "1_Pooling/config.json",
            "README.md",
            "LICENSE.txt",
            "config.json",
            "model.safetensors",
            "modules.json",
            "tokenizer.json",
            "vocab.txt",
            "sentence_xlnet_config.json",
        ];
        assert_eq!(choose(&all).expect("a model"), chosen);
    }

    #[test]
    fn parts_come_with_their_index() {
        let all = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "0_Transformer/pytorch_model.bin",
            "model.onnx",
        ];
        let chosen = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "0_Transformer/pytorch_model.bin",
        ];
        assert_eq!(choose(&all).expect("a model"), chosen);
    }

    #[test]
    fn paths_that_leave_are_refused_even_if_they_would_not_be_taken() {
        for path in
            ["../config.json", "/etc/passwd", "a/../../b", "..", "", "a\\..\\b", "c:x", "./x", "a//b", "a/"]
        {
            let told = choose(&["config.json", "model.safetensors", path]);
            assert_eq!(told, Err(ChoiceError::Outside { path: path.to_owned() }), "{path:?}");
        }
        assert_eq!(choose(&["config.json", "model.onnx"]), Err(ChoiceError::NoWeights { files: 2 }));
    }
}
