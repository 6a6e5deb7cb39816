//! The short form of every fuzz target: valid files, then some thousands of mutations of them from a fixed seed.
//!
//! `fixtures/make_seeds.py` made the files with PyTorch, safetensors, tokenizers and sentencepiece; pictures are those in `odd`.

use std::path::{Path, PathBuf};

use super::mutate::{Random, mutated};

fn fixtures(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("a folder of seeds")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}", folder.display());
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a seed"))).collect()
}

/// Calls `target` with every seed and with `rounds` mutations of each; a panic is reported with what reproduces it.
fn throw(folder: &str, rounds: u64, target: impl Fn(&[u8])) {
    for (path, seed) in fixtures(folder) {
        target(&seed);
        for round in 0..rounds {
            let bytes = mutated(&seed, &mut Random::new(round + 1));
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&bytes)));
            assert!(
                attempt.is_ok(),
                "mutation {round} of {}: {:?}",
                path.display(),
                bytes.escape_ascii().to_string()
            );
        }
    }
}

#[test]
fn weights_are_read_or_refused() {
    throw("seeds/weights", 1_000, super::weights);
}

#[test]
fn tokenizers_are_read_or_refused() {
    throw("seeds/tokenizer", 150, super::tokenizer);
}

#[test]
fn texts_are_cut_within_bounds() {
    throw("seeds/text", 500, |bytes| super::text(&String::from_utf8_lossy(bytes)));
}

#[test]
fn pictures_are_decoded_or_refused() {
    throw("seeds/picture", 200, super::picture);
    throw("odd", 20, super::picture);
}

#[test]
fn folders_are_opened_or_refused() {
    let place = std::env::temp_dir().join(format!("bilin-fuzz-{}", std::process::id()));
    throw("seeds/folder", 500, |bytes| super::folder(&String::from_utf8_lossy(bytes), &place));
    std::fs::remove_dir_all(&place).expect("the folder is ours");
}
