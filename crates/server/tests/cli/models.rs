//! `bilin model`: quantize, check, show, list and pull, on a network of random weights that is made here.

use crate::workspace::{Run, Workspace};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const DIM: usize = 64;
const WIDE: usize = 96;
const POSITIONS: usize = 600;
const CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789向量检索的库快省内存";

/// A safetensors file of f32 tensors, written by its own rules: length of the header, header, numbers.
fn safetensors(tensors: &[(String, Vec<usize>)], number: impl Fn(&str, usize) -> f32) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let first = data.len();
        data.extend((0..shape.iter().product()).flat_map(|at| number(name, at).to_le_bytes()));
        let told = json!({"dtype": "F32", "shape": shape, "data_offsets": [first, data.len()]});
        header.insert(name.clone(), told);
    }
    let header = Value::Object(header).to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

fn tensors(vocabulary: usize) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![vocabulary, DIM]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, DIM]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, DIM]),
    ];
    let mut linear = |name: &str, outputs: usize, inputs: usize| {
        let name = format!("encoder.layer.0.{name}");
        tensors.push((format!("{name}.weight"), vec![outputs, inputs]));
        tensors.push((format!("{name}.bias"), vec![outputs]));
    };
    for part in ["query", "key", "value"] {
        linear(&format!("attention.self.{part}"), DIM, DIM);
    }
    linear("attention.output.dense", DIM, DIM);
    linear("intermediate.dense", WIDE, DIM);
    linear("output.dense", DIM, WIDE);
    for norm in [
        "embeddings.LayerNorm",
        "encoder.layer.0.attention.output.LayerNorm",
        "encoder.layer.0.output.LayerNorm",
    ] {
        tensors.push((format!("{norm}.weight"), vec![DIM]));
        tensors.push((format!("{norm}.bias"), vec![DIM]));
    }
    tensors
}

/// A BERT of one layer in `name`.
fn model(workspace: &Workspace, name: &str) {
    let tokens: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .map(str::to_owned)
        .into_iter()
        .chain(CHARACTERS.chars().flat_map(|character| [character.to_string(), format!("##{character}")]))
        .collect();
    let config = json!({"model_type": "bert", "vocab_size": tokens.len(), "hidden_size": DIM, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": WIDE, "hidden_act": "gelu", "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12});
    workspace.write(&format!("{name}/config.json"), config.to_string());
    workspace.write(&format!("{name}/vocab.txt"), tokens.join("\n"));
    workspace.write(&format!("{name}/README.md"), "---\nlicense: cc0-1.0\n---\n# A test\n");
    workspace.write(&format!("{name}/onnx/model.onnx"), "another form of it");
    let weights = safetensors(&tensors(tokens.len()), |name, at| {
        let seed =
            name.bytes().fold(at as u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let noise = (seed.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
        match name.contains("LayerNorm.weight") {
            true => 1.0 + noise / 8.0,
            false => noise / 4.0,
        }
    });
    workspace.write(&format!("{name}/model.safetensors"), weights);
}

fn one(run: Run) -> Value {
    let mut lines = run.exits(0).json();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[test]
fn every_precision_opens_and_tells_what_it_is() {
    let workspace = Workspace::new();
    model(&workspace, "small");
    let original = one(workspace.run(&["model", "show", "small", "--json"]));
    assert_eq!(
        (original["precision"].as_str(), original["licence"].as_str()),
        (Some("f32"), Some("cc0-1.0"))
    );
    assert_eq!(original["made_from"], Value::Null);
    for (to, bar) in [("f16", 0.999_99), ("int8", 0.999), ("q4_0", 0.9)] {
        let made = one(workspace.run(&["model", "quantize", "small", to, "--to", to, "--json"]));
        let cosine = made["smallest_cosine"].as_f64().unwrap();
        println!("{to}: {cosine}, {} bytes of {}", made["weights_bytes"], made["weights_bytes_before"]);
        assert!(cosine >= bar && cosine <= 1.0, "{to}: {cosine}");
        assert!(made["weights_bytes"].as_u64() < made["weights_bytes_before"].as_u64());
        let shown = one(workspace.run(&["model", "show", to, "--json"]));
        assert_eq!((shown["precision"].as_str(), shown["dim"].as_u64()), (Some(to), Some(DIM as u64)));
        assert_eq!(shown["licence"], "cc0-1.0");
        let from = shown["made_from"].as_str().unwrap();
        assert!(
            from.contains(original["revision"].as_str().unwrap()) && from.contains(&format!("--to {to}")),
            "{from}"
        );
        assert_ne!(shown["revision"], original["revision"], "a collection must not mix them");
        let left: Vec<_> =
            fs::read_dir(workspace.path(to)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "{left:?}");
        workspace.run_on(b"abc\n", &["encode", "--model", to]).exits(0);
        // Quantized twice it would be worse.
        if to != "f16" {
            workspace
                .run(&["model", "quantize", to, "again", "--to", "f16"])
                .exits(1)
                .complains(&["quantized already"]);
        }
    }
    // The same once more gives the same bytes, so the same revision.
    workspace.run(&["model", "quantize", "small", "int8-b", "--to", "int8"]).exits(0);
    let file = |folder: &str| fs::read(workspace.path(folder).join("model.safetensors")).unwrap();
    assert!(file("int8") == file("int8-b"));
}

#[test]
fn what_cannot_be_quantized_leaves_nothing() {
    let workspace = Workspace::new();
    model(&workspace, "small");
    workspace.write("there/x", "mine");
    let before = workspace.on_disk();
    let quantize = |source: &str, to: &str| workspace.run(&["model", "quantize", source, to, "--to", "int8"]);
    quantize("small", "small").exits(1).complains(&["it is the model that is read"]);
    quantize("small", "there").exits(1).complains(&["exists already"]);
    quantize("small", "small/inside").exits(1).complains(&["inside the model"]);
    quantize("small", "none/new").exits(1).complains(&["the folder it is to be in"]);
    quantize("nowhere", "new").exits(1).complains(&["unknown model \"nowhere\""]);
    quantize("e5-small-zh-en", "new").exits(1).complains(&["built in"]);
    workspace.run(&["model", "quantize", "small", "new", "--to", "int4"]).exits(2);
    workspace.is_as_before(&before);
}

#[test]
fn built_in_models_are_what_pytorch_says() {
    let workspace = Workspace::new();
    // Beside the text model's 4-bit weights activations are rounded.
    for (id, most, least) in [("e5-small-zh-en", 1.0, 0.999), ("efficientnet-lite0", 1e-4, 0.999_99)] {
        let checked = one(workspace.run(&["model", "check", id, "--json"]));
        println!("{id}: {} {}", checked["largest_difference"], checked["smallest_cosine"]);
        assert!(checked["largest_difference"].as_f64().unwrap() <= most, "{checked}");
        assert!(checked["smallest_cosine"].as_f64().unwrap() >= least, "{checked}");
        assert!(checked["compared"].as_u64() >= Some(2));
    }
    // The bound is the one that was given.
    let run = workspace.run(&["model", "check", "e5-small-zh-en", "--max-difference", "0"]).exits(1);
    run.complains(&["is not what its references say"]);
}

#[test]
fn a_folder_is_checked_against_a_file() {
    let workspace = Workspace::new();
    model(&workspace, "small");
    workspace.run(&["model", "check", "small"]).exits(2).complains(&["no references for \"small\""]);
    workspace.run(&["model", "check", "small", "--write", "references.jsonl"]).exits(0);
    workspace
        .run(&["model", "check", "small", "--write", "references.jsonl"])
        .exits(1)
        .complains(&["exists"]);
    let checked =
        one(workspace.run(&["model", "check", "small", "--reference", "references.jsonl", "--json"]));
    assert_eq!((checked["is_within"].as_bool(), checked["compared"].as_u64()), (Some(true), Some(23)));
    // Vectors of any length mean their direction.
    let text = fs::read_to_string(workspace.path("references.jsonl")).unwrap();
    let longer: Vec<String> = text
        .lines()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            let vector = value["vector"].as_array_mut().unwrap();
            vector.iter_mut().for_each(|number| *number = json!(number.as_f64().unwrap() * 7.0));
            value.to_string()
        })
        .collect();
    workspace.write("longer.jsonl", longer.join("\n"));
    workspace.run(&["model", "check", "small", "--reference", "longer.jsonl"]).exits(0);
    // Another model's are not its own; one in fewer bits answers to a cosine.
    let mut swapped: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let vector = swapped[0]["vector"].clone();
    swapped[5]["vector"] = vector;
    let swapped: Vec<String> = swapped.iter().map(Value::to_string).collect();
    workspace.write("swapped.jsonl", swapped.join("\n"));
    let run = workspace.run(&["model", "check", "small", "--reference", "swapped.jsonl"]).exits(1);
    run.complains(&["the worst is number 6"]);
    workspace.run(&["model", "quantize", "small", "int8", "--to", "int8"]).exits(0);
    workspace.run(&["model", "check", "int8", "--reference", "references.jsonl"]).exits(0);
    workspace
        .run(&["model", "check", "int8", "--reference", "references.jsonl", "--max-difference", "1e-5"])
        .exits(1);
}

#[test]
fn broken_references_are_named_by_line() {
    let workspace = Workspace::new();
    model(&workspace, "small");
    let vector = vec![0.5; DIM];
    let good = json!({"text": "abc", "vector": vector}).to_string();
    for (line, told) in [
        ("{".to_owned(), "line 2 of"),
        (
            json!({"text": "abc", "vector": [1.0]}).to_string(),
            "line 2: its vector has 1 numbers, expected 64",
        ),
        (json!({"text": "abc", "vector": vec![0.0; DIM]}).to_string(), "line 2: its vector is zero"),
        (json!({"text": "abc", "prompt": "question", "vector": vector}).to_string(), "question"),
        (json!({"vector": vector}).to_string(), "a text or a picture"),
        (json!({"text": "abc", "vectors": vector}).to_string(), "unknown field"),
        (json!({"picture": "x.png", "vector": vector}).to_string(), "x.png"),
        (json!({"text": " ", "vector": vector}).to_string(), "empty or only white space"),
    ] {
        workspace.write("references.jsonl", format!("{good}\n{line}\n"));
        workspace
            .run(&["model", "check", "small", "--reference", "references.jsonl"])
            .exits(1)
            .complains(&[told]);
    }
    workspace.write("references.jsonl", "\n\n");
    let run = workspace.run(&["model", "check", "small", "--reference", "references.jsonl"]).exits(1);
    run.complains(&["holds no references"]);
}

#[test]
fn a_pulled_model_is_listed_and_goes_by_its_name() {
    let workspace = Workspace::new();
    model(&workspace, "bilin-data/models/some/small");
    workspace.write("bilin-data/models/some/.other.pull/config.json", "{}");
    let listed = workspace.run(&["model", "list", "--json"]).exits(0).json();
    let pulled: Vec<&Value> = listed.iter().filter(|line| line["type"] == "pulled_model").collect();
    assert_eq!(pulled.len(), 1, "{listed:?}");
    assert_eq!(
        (pulled[0]["id"].as_str(), pulled[0]["licence"].as_str()),
        (Some("some/small"), Some("cc0-1.0"))
    );
    assert!(workspace.run(&["model", "list"]).exits(0).text().contains("some/small  pulled, f32"));
    workspace.run_on(b"abc\n", &["encode", "--model", "some/small"]).exits(0);
    workspace.run_with(("BILIN_TEXT_MODEL", "some/small"), &["config"]).exits(0);
    workspace.write("notes.txt", "abc");
    workspace.run(&["add", "notes", "notes.txt", "--model", "some/small"]).exits(0);
    let collections = workspace.run(&["collections", "--json"]).exits(0).json();
    let model = collections[0]["model"].as_str().unwrap();
    assert!(Path::new(model).is_absolute() && model.ends_with("bilin-data/models/some/small"), "{model}");
    workspace.run(&["model", "show", "some/other"]).exits(1).complains(&["unknown model \"some/other\""]);
}

#[test]
fn broken_models_are_named_by_what_is_wrong() {
    let workspace = Workspace::new();
    let told = |told: &[&str]| workspace.run(&["model", "show", "small"]).exits(1).complains(told);
    model(&workspace, "small");
    let config: Value =
        serde_json::from_slice(&fs::read(workspace.path("small/config.json")).unwrap()).unwrap();
    let with = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        workspace.write("small/config.json", config.to_string());
    };
    // With a graph beside it, a network that is none of ours is a matter for ONNX Runtime.
    with("model_type", json!("t5"));
    told(&["ONNX Runtime"]);
    fs::remove_dir_all(workspace.path("small/onnx")).unwrap();
    told(&["architecture is \"t5\""]);
    with("intermediate_size", json!(128));
    told(&["tensor \"encoder.layer.0.intermediate.dense.weight\" has shape [96, 64], expected [128, 64]"]);
    with("num_hidden_layers", json!(2));
    told(&["no tensor \"encoder.layer.1."]);
    workspace.write("small/config.json", "{\"model_type\": ");
    told(&["config.json"]);
    workspace.write("small/config.json", config.to_string());
    workspace.run(&["model", "quantize", "small", "int8", "--to", "int8"]).exits(0);
    let whole = fs::read(workspace.path("int8/model.safetensors")).unwrap();
    workspace.write("int8/model.safetensors", &whole[..whole.len() - 5]);
    workspace.run(&["model", "show", "int8"]).exits(1).complains(&["int8"]);
    // Scales of another matrix do not fit, and are named.
    let text = String::from_utf8_lossy(&whole).into_owned();
    assert!(text.contains("intermediate.dense.weight.q8"));
    let bytes = whole.windows(13).position(|bytes| bytes == b"dense.weight.").unwrap();
    let mut renamed = whole.clone();
    renamed[bytes..bytes + 5].copy_from_slice(b"dance");
    workspace.write("int8/model.safetensors", renamed);
    workspace.run(&["model", "show", "int8"]).exits(1).complains(&["no tensor"]);
    fs::remove_file(workspace.path("small/vocab.txt")).unwrap();
    told(&["neither tokenizer.json nor vocab.txt nor sentencepiece.bpe.model"]);
    fs::remove_file(workspace.path("small/model.safetensors")).unwrap();
    fs::remove_file(workspace.path("small/config.json")).unwrap();
    told(&["there is no config.json in it"]);
}

#[test]
fn a_revision_is_every_file_once() {
    let workspace = Workspace::new();
    model(&workspace, "small");
    workspace.write("small/tokenizer_config.json", "{\"do_lower_case\": true}");
    let mut hash = blake3::Hasher::new();
    for name in ["config.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"] {
        let bytes = fs::read(workspace.path("small").join(name)).unwrap();
        hash.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        hash.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    }
    let shown = one(workspace.run(&["model", "show", "small", "--json"]));
    assert_eq!(shown["revision"].as_str(), Some(hash.finalize().to_hex().as_str()));
}

#[test]
fn a_pull_that_cannot_begin_makes_nothing() {
    let workspace = Workspace::new();
    let before = workspace.on_disk();
    workspace.run(&["model", "pull", "../x"]).exits(2).complains(&["OWNER/NAME"]);
    workspace.run(&["model", "pull", "a/b", "--from", "elsewhere"]).exits(2);
    workspace
        .run(&["model", "pull", "a/b", "--endpoint", "ftp://x"])
        .exits(1)
        .complains(&["--endpoint \"ftp://x\""]);
    let run = workspace.run_with(("BILIN_MODELS_ENDPOINT", "nowhere"), &["model", "pull", "a/b"]).exits(1);
    run.complains(&["models.endpoint \"nowhere\""]);
    let run = workspace.run_with(("HF_ENDPOINT", "nowhere"), &["model", "pull", "a/b"]).exits(1);
    run.complains(&["HF_ENDPOINT \"nowhere\""]);
    workspace.is_as_before(&before);
}
