//! Any text as a filter expression: parsed or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = text.parse::<bilin_store::Filter>() {
        assert!(!error.to_string().is_empty());
    }
});
