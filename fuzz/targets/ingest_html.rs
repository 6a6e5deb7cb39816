//! Any bytes as a web page: read within its limits, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilin_ingest::fuzz::html(bytes));
