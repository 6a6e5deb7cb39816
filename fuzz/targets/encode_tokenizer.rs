//! Any bytes as tokenizer.json, vocab.txt and a sentencepiece file: what is read cuts texts within its vocabulary.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilin_encode::fuzz::tokenizer(bytes));
