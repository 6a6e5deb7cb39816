//! Any bytes as a PDF: read within its limits, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilin_ingest::fuzz::pdf(bytes));
