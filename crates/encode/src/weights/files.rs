//! Which files of a model's folder hold its weights, and reading them into named tensors.
//!
//! In this order: `model.safetensors`, the parts that `model.safetensors.index.json` names, `pytorch_model.bin`, the parts
//! that `pytorch_model.bin.index.json` names: what `transformers` looks for, and the form that cannot hold code first.
//! Files are mapped, not read; a part may lie nowhere but beside its index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::tensor::{Element, Tensor};
use super::torch;

/// Most bytes of an index of parts, and of any other JSON file of a model but its tokenizer.
pub(crate) const MAX_JSON_BYTES: u64 = 16 << 20;

const SAFETENSORS: &str = "model.safetensors";
const TORCH: &str = "pytorch_model.bin";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that hold the weights of the model in `folder`; why there are none.
pub(crate) fn find(folder: &Path) -> Result<Vec<PathBuf>, String> {
    for name in [SAFETENSORS, TORCH] {
        if folder.join(name).is_file() {
            return Ok(vec![folder.join(name)]);
        }
        let index = folder.join(format!("{name}.index.json"));
        if index.is_file() {
            return parts(folder, &index);
        }
    }
    Err(format!("there is neither {SAFETENSORS} nor {TORCH} (nor an index of parts) in it"))
}

fn parts(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, String> {
    let Index { weight_map } = serde_json::from_slice(&read_small(index)?)
        .map_err(|error| format!("{}: {error}", index.display()))?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    let is_plain = |name: &String| {
        Path::new(name).file_name().is_some_and(|file| file.to_str() == Some(name)) && !name.starts_with('.')
    };
    if let Some(name) = names.iter().find(|name| !is_plain(name)) {
        return Err(format!("{} names the part {name:?}, which is no file beside it", index.display()));
    }
    match names.iter().find(|name| !folder.join(name).is_file()) {
        Some(name) => Err(format!("{} names the part {name:?}, which is not there", index.display())),
        None => Ok(names.iter().map(|name| folder.join(name)).collect()),
    }
}

/// A small file as bytes.
pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let bytes = std::fs::metadata(path).map_err(told)?.len();
    if bytes > MAX_JSON_BYTES {
        return Err(format!("{} has {bytes} bytes, the limit is {MAX_JSON_BYTES}", path.display()));
    }
    std::fs::read(path).map_err(told)
}

/// The tensors of a file, whichever of the formats it has.
pub(crate) fn tensors(bytes: &Bytes) -> Result<BTreeMap<String, Tensor>, String> {
    if torch::is_torch(bytes) { torch::tensors(bytes) } else { safetensors(bytes) }
}

/// Reads the header of a safetensors file; every offset is checked by the `safetensors` crate.
fn safetensors(bytes: &Bytes) -> Result<BTreeMap<String, Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = file.iter().map(|(name, view)| {
        let element = match view.dtype() {
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            Dtype::U8 => Element::U8,
            Dtype::I8 => Element::I8,
            other => Element::Other(other.bitsize().div_ceil(8)),
        };
        let tensor = Tensor { element, shape: view.shape().to_vec(), bytes: bytes.slice_ref(view.data()) };
        (name.to_owned(), tensor)
    });
    Ok(tensors.collect())
}
