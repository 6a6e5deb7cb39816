//! Any text as an index spec: an error points into the text, and what is accepted is read again as the same.
#![no_main]

use bilin_index::IndexSpec;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match text.parse::<IndexSpec>() {
        Ok(spec) => assert_eq!(spec.to_string().parse::<IndexSpec>().expect("its own words"), spec),
        Err(error) => assert!(text[error.position..].starts_with(&error.received)),
    }
});
