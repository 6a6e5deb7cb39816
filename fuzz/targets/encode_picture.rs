//! Any bytes as a picture: decoded whole within the limits, or refused before its pixels take memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilin_encode::fuzz::picture(bytes));
