//! A CLIP folder of a few hundred weights, opened as users' folders are.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, tensor::TensorView};

use super::{network_of, open_folder};
use crate::encoder::{EncodeError, Encoder, Input, Modality, Prompt};
use crate::picture::Picture;

const CONFIG: &str = r#"{"model_type": "clip", "projection_dim": 4,
    "text_config": {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 6, "eos_token_id": 10},
    "vision_config": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 8, "patch_size": 4}}"#;
const VOCABULARY: &str = r#"{"a": 0, "c": 1, "r": 2, "a</w>": 3, "r</w>": 4, "1</w>": 5, "2</w>": 6, "ca": 7, "car</w>": 8,
    "<|startoftext|>": 9, "<|endoftext|>": 10}"#;

/// A folder that is gone at the end of its test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// A whole one; `projection` is the shape of the text tower's last tensor.
    fn new(name: &str, projection: [usize; 2]) -> Folder {
        let folder = std::env::temp_dir().join(format!("bilin-clip-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let folder = Folder(folder);
        for (file, text) in [
            ("config.json", CONFIG),
            ("preprocessor_config.json", r#"{"size": 8, "crop_size": 8}"#),
            ("vocab.json", VOCABULARY),
            ("merges.txt", "#version: 0.2\nc a\nca r</w>\n"),
        ] {
            folder.write(file, text);
        }
        std::fs::write(folder.0.join("model.safetensors"), weights(projection)).expect("written");
        folder
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).expect("written");
    }

    fn open(&self) -> Result<std::sync::Arc<dyn Encoder>, String> {
        open_folder(&self.0, Path::new("")).map_err(|error| error.to_string())
    }
}

fn weights(projection: [usize; 2]) -> Vec<u8> {
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut put = |name: &str, shape: &[usize]| shapes.push((name.to_owned(), shape.to_vec()));
    put("text_model.embeddings.token_embedding.weight", &[11, 8]);
    put("text_model.embeddings.position_embedding.weight", &[6, 8]);
    put("text_projection.weight", &projection);
    put("vision_model.embeddings.class_embedding", &[8]);
    put("vision_model.embeddings.patch_embedding.weight", &[8, 3, 4, 4]);
    put("vision_model.embeddings.position_embedding.weight", &[5, 8]);
    put("visual_projection.weight", &[4, 8]);
    let norms = ["text_model.final_layer_norm", "vision_model.pre_layrnorm", "vision_model.post_layernorm"];
    let mut norms: Vec<String> = norms.map(str::to_owned).to_vec();
    for tower in ["text_model", "vision_model"] {
        let layer = format!("{tower}.encoder.layers.0");
        norms.extend([format!("{layer}.layer_norm1"), format!("{layer}.layer_norm2")]);
        let linear = [("q_proj", 8, 8), ("k_proj", 8, 8), ("v_proj", 8, 8), ("out_proj", 8, 8)];
        let linear = linear.map(|(name, outputs, inputs)| (format!("self_attn.{name}"), outputs, inputs));
        let mlp = [("mlp.fc1".to_owned(), 16, 8), ("mlp.fc2".to_owned(), 8, 16)];
        for (name, outputs, inputs) in linear.into_iter().chain(mlp) {
            put(&format!("{layer}.{name}.weight"), &[outputs, inputs]);
            put(&format!("{layer}.{name}.bias"), &[outputs]);
        }
    }
    for norm in &norms {
        put(&format!("{norm}.weight"), &[8]);
        put(&format!("{norm}.bias"), &[8]);
    }
    let number = |i: usize| (((i * 7919) % 1009) as f32 / 504.5 - 1.0).to_le_bytes();
    let data: Vec<Vec<u8>> = shapes
        .iter()
        .enumerate()
        .map(|(at, (_, shape))| {
            (0..shape.iter().product()).flat_map(|i: usize| number(i + 31 * at)).collect()
        })
        .collect();
    let views = shapes.iter().zip(&data).map(|((name, shape), data)| {
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), data).expect("a tensor"))
    });
    safetensors::serialize(views, None).expect("a file")
}

fn text(text: &str) -> Input<'_> {
    Input::Text { text, prompt: Prompt::Query }
}

#[test]
fn texts_and_pictures_share_a_batch_and_a_space() {
    let folder = Folder::new("batch", [4, 8]);
    let encoder = folder.open().expect("a model");
    let card = encoder.card();
    assert_eq!((card.modality, card.dim, card.max_tokens), (Modality::Image, 4, Some(6)));
    assert!(card.reads(Modality::Image) && card.reads(Modality::Text));
    let rgb = (0..16 * 12 * 3).map(|i| (i * 37 % 256) as u8).collect();
    let picture = Picture { width: 16, height: 12, rgb };
    let inputs = [text("a car"), Input::Picture(&picture), text("car car car car car"), text("12")];
    let batch = encoder.encode(&inputs).expect("vectors");
    assert_eq!((batch.vectors.len(), batch.truncated), (16, 1));
    for (input, row) in inputs.iter().zip(batch.vectors.chunks_exact(4)) {
        let alone = encoder.encode(&[*input]).expect("a vector").vectors;
        assert!(row.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-6), "{row:?} {alone:?}");
        assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    assert_ne!(batch.vectors[..4], batch.vectors[12..]);
    assert_eq!(encoder.token_ids("A car", Prompt::None), [9, 3, 8, 10]);
    assert!(encoder.encode(&[]).expect("nothing").vectors.is_empty());
    let refused = encoder.encode(&[inputs[1], text(" \n")]);
    assert!(matches!(refused, Err(EncodeError::EmptyText { index: 1 })));
}

#[test]
fn what_a_folder_lacks_is_named() {
    let told = |folder: &Folder| folder.open().err().unwrap_or_default();
    let folder = Folder::new("shape", [4, 7]);
    assert!(told(&folder).contains("\"text_projection.weight\" has shape [4, 7], expected [4, 8]"));
    let folder = Folder::new("lacks", [4, 8]);
    folder.write("preprocessor_config.json", r#"{"crop_size": 16, "size": 16}"#);
    assert!(told(&folder).contains("16 pixels a side, the network reads 8"));
    folder.write("preprocessor_config.json", "{}}");
    assert!(told(&folder).contains("preprocessor_config.json"));
    folder.write("preprocessor_config.json", r#"{"crop_size": 8, "size": 8}"#);
    folder.write("config.json", &CONFIG.replace("\"vocab_size\": 11", "\"vocab_size\": 10"));
    assert!(told(&folder).contains("token_embedding"));
}

#[test]
fn only_a_clip_folder_is_one() {
    let folder = Folder::new("kind", [4, 8]);
    assert_eq!(network_of(&folder.0), Some(PathBuf::new()));
    folder
        .write("modules.json", r#"[{"path": "../kind", "type": "sentence_transformers.models.CLIPModel"}]"#);
    assert_eq!(network_of(&folder.0), None, "outside");
    folder.write("modules.json", r#"[{"path": "", "type": "sentence_transformers.models.CLIPModel"}]"#);
    assert_eq!(network_of(&folder.0), Some(PathBuf::new()));
    assert!(folder.open().is_ok());
    folder.write(
        "modules.json",
        r#"[{"path": "", "type": "a.CLIPModel"}, {"path": "1_Dense", "type": "a.Dense"}]"#,
    );
    assert!(folder.open().is_err_and(|error| error.contains("\"Dense\"")));
    folder.write("config.json", r#"{"model_type": "bert"}"#);
    assert_eq!(network_of(&folder.0), None);
}
