//! Any bytes as text, Markdown, JSON lines, a table and a notebook.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilin_ingest::fuzz::text(bytes));
