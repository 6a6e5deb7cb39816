//! Any bytes as a FAISS file: read, and what is accepted decoded. The file serves as its own side file.
#![no_main]

use bilin_index::faiss::{self, Decoder, Vectors};

/// Rows decoded per file; they are decoded one by one, so more of them find nothing new.
const MAX_ROWS: usize = 64;
/// Values of the rows decoded together, which bounds the time of one run.
const MAX_VALUES: usize = 1 << 16;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = faiss::read_beside(bytes, &|_| Some(bytes)) else { return };
    for vectors in [Vectors::Original, Vectors::Transformed] {
        let Ok(decoder) = Decoder::new(&index, vectors) else { continue };
        let mut vector = vec![0.0; decoder.dim()];
        for row in (0..decoder.len()).take(MAX_ROWS.min(MAX_VALUES / decoder.dim())) {
            if decoder.decode(row, &mut vector).is_ok() {
                assert!(vector.iter().all(|value| value.is_finite()));
            }
        }
    }
});
