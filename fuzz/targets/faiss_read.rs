//! Any bytes as a FAISS file: read, and what is accepted decoded, written, read again and searched. The file serves as its
//! own side file.
#![no_main]

use bilin_index::faiss::{self, Decoder, Vectors};
use bilin_index::{Rows, SearchParams};

/// Rows decoded per file; they are decoded one by one, so more of them find nothing new.
const MAX_ROWS: usize = 64;
/// Values of the rows decoded together, which bounds the time of one run.
const MAX_VALUES: usize = 1 << 16;
/// Memory of the vectors of an opened index.
const MAX_BYTES: u64 = 1 << 20;
/// Levels and lists are only searched in small files' worth of them.
const K: usize = 3;

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
    let mut written = Vec::new();
    if faiss::write(&index, &mut written).is_ok() {
        assert_eq!(faiss::read(&written).expect("what was written is read"), index);
    }
    let Ok(opened) = faiss::open(&index, MAX_BYTES) else { return };
    let dim = opened.index.index().info().dim;
    let query = vec![0.5; dim];
    if let Ok(query) = Rows::new(&query, dim) {
        let hits = opened.index.search(query, &SearchParams::new(K).with_effort(opened.effort));
        assert!(hits.is_ok_and(|hits| hits[0].len() <= K));
    }
});
