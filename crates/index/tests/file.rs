//! The index file: what is written opens and answers the same; every damaged byte and every cut is refused or harmless.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::{
    BuildOptions, IndexSpec, Metric, RowChunks, RowSet, Rows, SearchParams, VectorIndex, build, open,
};
use std::sync::Arc;

fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

const DIM: usize = 5;
const ROWS: usize = 90;

fn specs() -> [&'static str; 3] {
    ["Flat", "IVF7,Flat", "HNSW4"]
}

fn written(spec: &str, metric: Metric, include: Option<&RowSet>, added: usize) -> (RowChunks, Vec<u8>) {
    let mut data = values(3, ROWS * DIM);
    if metric == Metric::Cosine {
        data.chunks_mut(DIM).for_each(|row| assert!(bilin_index::normalise(row)));
    }
    let rows = RowChunks::from_vec(data, DIM).unwrap();
    let options = BuildOptions { include, seed: 5, ..BuildOptions::default() };
    let mut index = build(&spec.parse::<IndexSpec>().unwrap(), metric, &rows, &options).unwrap();
    let extra = values(4, added * DIM);
    index.add(Rows::new(&extra, DIM).unwrap()).unwrap();
    let mut bytes = Vec::new();
    index.write_to(&mut bytes).unwrap();
    (rows, bytes)
}

fn answers(index: &dyn VectorIndex) -> Vec<(u32, u32)> {
    let queries = values(9, 6 * DIM);
    let params = SearchParams { nprobe: Some(3), ef: Some(20), ..SearchParams::new(7) };
    let hits = index.search(Rows::new(&queries, DIM).unwrap(), &params).unwrap();
    hits.into_iter().flatten().map(|hit| (hit.row, hit.distance.to_bits())).collect()
}

#[test]
fn a_written_index_opens_and_answers_the_same() {
    let live: RowSet = (0..ROWS as u32).filter(|row| row % 4 != 0).collect();
    for spec in specs() {
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
            for include in [None, Some(&live)] {
                for added in [0, 7] {
                    let (rows, bytes) = written(spec, metric, include, added);
                    // One byte further on, so that nothing is aligned and the file must be copied, gives the same.
                    let shifted: Arc<[u8]> = [&[0], &bytes[..]].concat().into();
                    struct Shifted(Arc<[u8]>);
                    impl AsRef<[u8]> for Shifted {
                        fn as_ref(&self) -> &[u8] {
                            &self.0[1..]
                        }
                    }
                    let first = open(Arc::new(bytes.clone()), &rows).unwrap();
                    let mut second = open(Arc::new(Shifted(shifted)), &rows).unwrap();
                    assert_eq!(answers(&*first), answers(&*second), "{spec} {metric}");
                    assert_eq!((first.info().rows, first.info().metric), (ROWS + added, metric));
                    assert_eq!(first.info().spec.to_string(), spec);
                    if include.is_some() {
                        assert!(answers(&*first).iter().all(|(row, _)| row % 4 != 0 || *row >= ROWS as u32));
                    }
                    let mut again = Vec::new();
                    first.write_to(&mut again).unwrap();
                    assert_eq!(again, bytes, "{spec} {metric}: writing an opened index gives the same file");
                    let extra = values(8, 3 * DIM);
                    second.add(Rows::new(&extra, DIM).unwrap()).unwrap();
                    assert_eq!(second.info().rows, ROWS + added + 3);
                }
            }
        }
    }
}

#[test]
fn every_cut_and_every_flipped_byte_is_refused_or_harmless() {
    for spec in specs() {
        let (rows, bytes) = written(spec, Metric::L2, None, 3);
        let expected = answers(&*open(Arc::new(bytes.clone()), &rows).unwrap());
        for length in 0..bytes.len() {
            assert!(
                open(Arc::new(bytes[..length].to_vec()), &rows).is_err(),
                "{spec} cut to {length} bytes opened"
            );
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                if let Ok(index) = open(Arc::new(damaged), &rows) {
                    assert_eq!(answers(&*index), expected, "{spec}: byte {at} flipped by {flip:#x}");
                }
            }
        }
    }
}

/// Damage that a checksum cannot show: the checksums are made to fit, so every range check has to hold by itself.
#[test]
fn hostile_values_with_right_checksums_never_panic() {
    for spec in specs() {
        let (rows, bytes) = written(spec, Metric::L2, None, 3);
        for at in (8..bytes.len()).filter(|at| !(60..64).contains(at)) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                mend_checksums(&mut damaged);
                if let Ok(index) = open(Arc::new(damaged), &rows) {
                    let queries = values(9, 6 * DIM);
                    let params = SearchParams { nprobe: Some(3), ef: Some(20), ..SearchParams::new(7) };
                    let hits = index.search(Rows::new(&queries, DIM).unwrap(), &params).unwrap();
                    let rows = index.info().rows as u32;
                    assert!(hits.iter().flatten().all(|hit| hit.row < rows), "{spec}: byte {at} = {value}");
                }
            }
        }
    }
}

fn mend_checksums(bytes: &mut [u8]) {
    let count = u32::from_le_bytes(bytes[40..44].try_into().unwrap()) as usize;
    let end = 64 + count * 32;
    if count > 64 || end > bytes.len() {
        return;
    }
    for entry in (64..end).step_by(32) {
        let number = |at: usize| u64::from_le_bytes(bytes[entry + at..entry + at + 8].try_into().unwrap());
        let (offset, length) = (number(8), number(16));
        if let Some(stop) = offset.checked_add(length).filter(|&stop| stop <= bytes.len() as u64) {
            let sum = crc32c::crc32c(&bytes[offset as usize..stop as usize]);
            bytes[entry + 4..entry + 8].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..60]), &bytes[64..end]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_file_over_other_rows_is_refused_by_name() {
    let (_, bytes) = written("Flat", Metric::L2, None, 0);
    let fewer = RowChunks::from_vec(vec![0.0; (ROWS - 1) * DIM], DIM).unwrap();
    let error = open(Arc::new(bytes.clone()), &fewer).err().unwrap();
    assert_eq!((error.field, error.offset), ("shared_rows", 24));
    let wider = RowChunks::from_vec(vec![0.0; ROWS * (DIM + 1)], DIM + 1).unwrap();
    let error = open(Arc::new(bytes.clone()), &wider).err().unwrap();
    assert_eq!((error.field, error.offset), ("dim", 20));
    let mut damaged = bytes;
    damaged[9] = 1;
    let error = open(Arc::new(damaged), &wider).err().unwrap();
    assert_eq!(error.to_string(), "index file, offset 8, version: expected 1, received 257");
}
