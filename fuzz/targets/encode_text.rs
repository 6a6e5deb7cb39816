//! Any text, cut by small tokenizers of every kind: ids are in the vocabulary and no more than the model reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| bilin_encode::fuzz::text(text));
