//! The index file: what is written opens and answers the same; every damaged byte and every cut is refused or harmless.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::{
    BuildOptions, IndexSpec, Metric, RowChunks, RowSet, Rows, SearchParams, VectorIndex, build, exact, open,
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

fn specs() -> [&'static str; 13] {
    [
        "Flat",
        "IVF7,Flat",
        "HNSW4",
        "HNSW4,SQ8",
        "PCA4,HNSW4,PQ2x4fs,RFlat",
        "SQ6",
        "IVF7,SQfp16",
        "PQ5x3,RFlat",
        "IVF7,PQ5x4fsr",
        "RaBitQ",
        "IVF7,RaBitQ3,RFlat",
        "PCA4,IVF7,PQ2x4fs,RFlat",
        "IDMap,L2norm,OPQ2_4,Flat",
    ]
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

/// Rows enough that Flat keeps compressed ones with error bounds, and of a size that fits them.
fn written_with_shadow() -> (RowChunks, Vec<u8>) {
    let rows = RowChunks::from_vec(values(11, SHADOWED_ROWS * SHADOWED_DIM), SHADOWED_DIM).unwrap();
    let gone: RowSet = (0..40).collect();
    let mut index = build(&IndexSpec::FLAT, Metric::L2, &rows, &BuildOptions::default()).unwrap();
    index.remove(&gone).unwrap();
    index.add(Rows::new(&values(12, 19 * SHADOWED_DIM), SHADOWED_DIM).unwrap()).unwrap();
    let mut bytes = Vec::new();
    index.write_to(&mut bytes).unwrap();
    (rows, bytes)
}

const SHADOWED_ROWS: usize = 2100;
const SHADOWED_DIM: usize = 21;

fn shadow_answers(index: &dyn VectorIndex) -> Vec<(u32, u32)> {
    let queries = values(9, 9 * SHADOWED_DIM);
    let alone = Rows::new(&queries[..SHADOWED_DIM], SHADOWED_DIM).unwrap();
    let queries = Rows::new(&queries, SHADOWED_DIM).unwrap();
    let search = |queries| index.search(queries, &SearchParams::new(7)).unwrap();
    let hits = search(queries).into_iter().chain(search(alone)).flatten();
    hits.map(|hit| (hit.row, hit.distance.to_bits())).collect()
}

#[test]
fn compressed_rows_are_kept_in_the_file_of_flat() {
    let (rows, bytes) = written_with_shadow();
    assert!(bytes.len() > SHADOWED_ROWS * SHADOWED_DIM, "codes of eight bits per value are in it");
    let mut index = open(Arc::new(bytes.clone()), &rows).unwrap();
    let mut again = Vec::new();
    index.write_to(&mut again).unwrap();
    assert_eq!(again, bytes);
    let held = index.info().bytes;
    assert!(
        held > SHADOWED_ROWS * (SHADOWED_DIM + 12) && held < SHADOWED_ROWS * (SHADOWED_DIM + 40),
        "{held}"
    );
    // Beside the plain scan of the same rows.
    let live: RowSet = (40..SHADOWED_ROWS as u32).collect();
    let queries = values(9, 9 * SHADOWED_DIM);
    let queries = Rows::new(&queries, SHADOWED_DIM).unwrap();
    let params = SearchParams::new(7).with_filter(&live);
    let plain = exact(&rows, 0..SHADOWED_ROWS, Metric::L2, queries, 7, Some(&live)).unwrap();
    assert_eq!(index.search(queries, &params).unwrap(), plain);
    // Rows added to the opened index are found by their own distance.
    let extra = values(13, 3 * SHADOWED_DIM);
    let number = index.info().rows as u32;
    index.add(Rows::new(&extra, SHADOWED_DIM).unwrap()).unwrap();
    let hits = index.search(Rows::new(&extra, SHADOWED_DIM).unwrap(), &SearchParams::new(1)).unwrap();
    let found: Vec<(u32, f32)> = hits.iter().map(|hits| (hits[0].row, hits[0].distance)).collect();
    assert_eq!(found, [(number, 0.0), (number + 1, 0.0), (number + 2, 0.0)]);
}

#[test]
fn damaged_compressed_rows_are_refused_and_forged_ones_never_panic() {
    let (rows, bytes) = written_with_shadow();
    let expected = shadow_answers(&*open(Arc::new(bytes.clone()), &rows).unwrap());
    // A stride that falls on every kind of place: header, table, codes, floats, padding.
    for at in (0..bytes.len()).step_by(53).chain(0..600) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        if let Ok(index) = open(Arc::new(damaged), &rows) {
            assert_eq!(shadow_answers(&*index), expected, "byte {at}");
        }
        assert!(open(Arc::new(bytes[..at].to_vec()), &rows).is_err(), "cut to {at} bytes");
        for value in [0x7f, 0xff] {
            let mut forged = bytes.clone();
            // Four bytes: floats become NaN.
            let end = bytes.len().min(at + 4);
            forged[at..end].fill(value);
            mend_checksums(&mut forged);
            if at >= 64
                && let Ok(index) = open(Arc::new(forged), &rows)
            {
                let count = index.info().rows as u32;
                assert!(shadow_answers(&*index).iter().all(|&(row, _)| row < count), "byte {at} = {value}");
            }
        }
    }
}

/// A file of Flat as it was before there were compressed rows: the sections `rows` and `gone`, parameters 0 or 1, 0, 0, 0.
#[test]
fn a_flat_file_without_compressed_rows_still_opens() {
    let (rows, bytes) = written_with_shadow();
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let sections =
        [64, 96].map(|entry| bytes[number(entry + 8)..number(entry + 8) + number(entry + 16)].to_vec());
    let mut old = bytes[..128].to_vec();
    old[40..44].copy_from_slice(&2_u32.to_le_bytes());
    old[48..60].fill(0);
    for (entry, section) in [64, 96].into_iter().zip(&sections) {
        let start = old.len() as u64;
        old[entry + 8..entry + 16].copy_from_slice(&start.to_le_bytes());
        old.extend_from_slice(section);
        old.resize(old.len().next_multiple_of(64), 0);
    }
    let length = old.len() as u64;
    old[32..40].copy_from_slice(&length.to_le_bytes());
    mend_checksums(&mut old);
    let index = open(Arc::new(old.clone()), &rows).unwrap();
    assert_eq!(shadow_answers(&*index), shadow_answers(&*open(Arc::new(bytes), &rows).unwrap()));
    let mut again = Vec::new();
    index.write_to(&mut again).unwrap();
    assert_eq!(again, old);
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
