//! Our own index file with edits under correct checksums: opened or refused, and what is opened is searched.
//!
//! The first byte chooses an index; then each three bytes are an edit: offset (16 bits) and value. Without the checksums put
//! right afterwards nearly every edit would end at them, and the checks behind them would never run.
#![no_main]

use bilin_index::{BuildOptions, Metric, RowChunks, Rows, SearchParams, build, open};
use std::sync::{Arc, LazyLock};

const DIM: usize = 4;
const ROWS: usize = 40;
const SPECS: [&str; 3] = ["Flat", "IVF5,Flat", "HNSW4"];
const HEADER: usize = 64;
const ENTRY: usize = 32;

static ROW_VALUES: LazyLock<RowChunks> = LazyLock::new(|| {
    let values = (0..ROWS * DIM).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect();
    RowChunks::from_vec(values, DIM).expect("rows")
});

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let file = |spec: &str| {
        let spec = spec.parse().expect("a spec");
        let index = build(&spec, Metric::L2, &ROW_VALUES, &BuildOptions::default()).expect("an index");
        let mut bytes = Vec::new();
        index.write_to(&mut bytes).expect("bytes");
        bytes
    };
    SPECS.iter().map(|spec| file(spec)).collect()
});

fn number(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 8]);
    u64::from_le_bytes(bytes) as usize
}

/// Makes every checksum right again, as far as the table makes sense.
fn sign(bytes: &mut [u8]) {
    let sections = (number(bytes, 40) as u32 as usize).min((bytes.len() - HEADER) / ENTRY);
    for entry in (0..sections).map(|section| HEADER + section * ENTRY) {
        let (offset, length) = (number(bytes, entry + 8), number(bytes, entry + 16));
        if let Some(section) = bytes.get(offset..offset.saturating_add(length)) {
            let sum = crc32c::crc32c(section);
            bytes[entry + 4..entry + 8].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let head = crc32c::crc32c(&bytes[..HEADER - 4]);
    let sum = crc32c::crc32c_append(head, &bytes[HEADER..HEADER + sections * ENTRY]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&sum.to_le_bytes());
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&choice, edits)) = input.split_first() else { return };
    let mut bytes = FILES[usize::from(choice) % FILES.len()].clone();
    for edit in edits.as_chunks::<3>().0 {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[at] = edit[2];
    }
    sign(&mut bytes);
    let Ok(index) = open(Arc::new(bytes), &ROW_VALUES) else { return };
    let query = [0.25; DIM];
    let hits = index.search(Rows::new(&query, DIM).expect("a query"), &SearchParams::new(5));
    assert!(hits.is_ok_and(|hits| hits[0].iter().all(|hit| (hit.row as usize) < index.info().rows)));
});
