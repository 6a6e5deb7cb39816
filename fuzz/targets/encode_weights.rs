//! Any bytes as a file of weights, safetensors or torch.save: what is read has its shapes, and nothing in it runs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bilin_encode::fuzz::weights(bytes));
