//! Any bytes as an office document, an electronic book and an archive of documents.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilin_ingest::fuzz::package(bytes));
