//! Any small files as the folder of a model, around weights and a vocabulary that are whole: opened and used, or refused.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

static PLACE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("bilin-fuzz-{}", std::process::id())));

libfuzzer_sys::fuzz_target!(|text: &str| bilin_encode::fuzz::folder(text, &PLACE));
