//! Row segments on their own: any sequence of writes reads back, what is not published is overwritten, damage is named.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Depth, FIRST_GROWTH_BYTES, HEADER_BYTES, Layout, Logged, RowStore, verify};
use crate::dir::{Disk, OsDisk};
use crate::error::StoreError;
use crate::rows::BlockSum;

fn layout() -> Layout {
    // 3 values in a row and 16384 rows in a segment: blocks and rows do not line up, and a segment is three blocks.
    Layout::new(3, 16 << 10, [7; 16]).expect("a layout")
}

fn open(folder: &Path, rows: usize, last: u32) -> Result<RowStore, StoreError> {
    RowStore::open(Arc::new(OsDisk), folder, layout(), rows, last, Logged::default(), &BTreeSet::new())
}

/// Keeps checksums as the catalog does.
fn keep(sums: &mut Vec<BlockSum>, new: &[BlockSum]) {
    for sum in new {
        sums.retain(|old| (old.segment, old.block) != (sum.segment, sum.block));
        sums.push(*sum);
    }
    sums.sort_by_key(|sum| (sum.segment, sum.block));
}

fn values(from: usize, rows: usize) -> Vec<f32> {
    (from * 3..(from + rows) * 3).map(|value| value as f32).collect()
}

#[test]
fn segments_are_64_to_128_mib_or_one_row() {
    for dim in [1, 2, 3, 384, 768, 1280, 65_536] {
        let bytes = Layout::rows_per_segment_for(dim) * dim * 4;
        assert!((64 << 20..=128 << 20).contains(&bytes), "{dim}: {bytes}");
    }
}

#[test]
fn a_small_collection_takes_little_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path(), 0, 0).expect("an empty store");
    let mut pending = store.write(&values(0, 2)).expect("written");
    store.sync(&mut pending).expect("synced");
    let length = fs::metadata(folder.path().join("000000.rows")).expect("a segment").len();
    assert_eq!(length as usize, HEADER_BYTES + FIRST_GROWTH_BYTES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_published_reads_back(steps in prop::collection::vec((1_usize..9000, 0_u8..6), 1..12)) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = open(folder.path(), 0, 0).expect("an empty store");
        let mut sums = Vec::new();
        let mut kept = Vec::new();
        for (rows, action) in steps {
            let committed = store.committed();
            if action == 0 {
                // A write that is not published, of other values.
                store.write(&vec![-1.0; rows * 3]).expect("written");
                if rows % 2 == 0 { store.cut(); }
                continue;
            }
            if action == 1 {
                let last = crate::catalog::last_checksum(&sums, &layout(), committed);
                store = open(folder.path(), committed, last).expect("reopened");
            }
            let mut pending = store.write(&values(committed, rows)).expect("written");
            store.sync(&mut pending).expect("synced");
            store.publish(&pending);
            keep(&mut sums, &pending.blocks);
            kept.push(store.chunks(committed + rows).expect("maps"));
        }
        for chunks in &kept {
            for row in 0..chunks.len() {
                prop_assert_eq!(chunks.row(row as u32), &values(row, 1)[..]);
            }
        }
        verify(&OsDisk, folder.path(), &layout(), store.committed(), &BTreeSet::new(), &sums, Depth::Full).expect("good checksums");
    }
}

/// A store of 20 000 rows, in two segments, closed; with its checksums.
fn written(folder: &Path) -> Vec<BlockSum> {
    let mut store = open(folder, 0, 0).expect("an empty store");
    let mut pending = store.write(&values(0, 20_000)).expect("written");
    store.sync(&mut pending).expect("synced");
    store.publish(&pending);
    let last = pending.blocks.last().expect("blocks").checksum;
    drop(store);
    open(folder, 20_000, last).expect("reopened, cut to what is committed");
    pending.blocks
}

fn verified(folder: &Path, sums: &[BlockSum]) -> Result<usize, StoreError> {
    verify(&OsDisk, folder, &layout(), 20_000, &BTreeSet::new(), sums, Depth::Full)
}

#[test]
fn every_flipped_bit_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = written(folder.path());
    assert_eq!(verified(folder.path(), &sums).expect("nothing is damaged"), 4);
    for name in ["000000.rows", "000001.rows"] {
        let path = folder.path().join(name);
        let good = fs::read(&path).expect("a segment");
        let header = 0..HEADER_BYTES;
        let places = header.chain((HEADER_BYTES..good.len()).step_by(9973)).chain([good.len() - 1]);
        let file = OsDisk.open(&path).expect("a segment");
        for at in places {
            file.write_all_at(&[good[at] ^ (1 << (at % 8))], at as u64).expect("written");
            let error = verified(folder.path(), &sums).expect_err("a flipped bit");
            assert!(matches!(error, StoreError::Corrupt { .. }), "byte {at}: {error}");
            assert!(error.to_string().contains(name), "byte {at}: {error}");
            file.write_all_at(&good[at..=at], at as u64).expect("written");
        }
    }
    verified(folder.path(), &sums).expect("all is as it was");
}

#[test]
fn cut_swapped_foreign_and_missing_segments_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = written(folder.path());
    let [first, second] = ["000000.rows", "000001.rows"].map(|name| folder.path().join(name));
    let good = [fs::read(&first).expect("a segment"), fs::read(&second).expect("a segment")];
    let refused = |expected: &str| {
        let error = open(folder.path(), 20_000, 0).err().expect("damage").to_string();
        assert!(error.contains(expected), "{error}");
        let error = verified(folder.path(), &sums).expect_err("damage").to_string();
        assert!(error.contains(expected), "{error}");
    };
    fs::write(&second, &good[1][..good[1].len() - 1]).expect("written");
    refused("000001.rows is damaged: expected at least 47488 bytes, found 47487");
    fs::write(&second, &good[0]).expect("written");
    refused("000001.rows, header is damaged: segment number expected 1, found 0");
    fs::write(&second, layout().header(1)).expect("written");
    refused("found 4096");
    let other = Layout { collection: [8; 16], ..layout() };
    let mut foreign = other.header(1);
    foreign.extend_from_slice(&good[1][HEADER_BYTES..]);
    fs::write(&second, foreign).expect("written");
    refused("the segment belongs to another collection");
    OsDisk.remove_file(&second).expect("removed");
    refused("found none");
}

#[test]
fn checksums_that_are_missing_or_too_many_are_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sums = written(folder.path());
    let last = sums.pop().expect("blocks");
    let error = verified(folder.path(), &sums).expect_err("one is missing").to_string();
    assert!(error.contains("000001.rows, block 0"), "{error}");
    sums.extend([last, BlockSum { block: last.block + 1, ..last }]);
    let error = verified(folder.path(), &sums).expect_err("one is too many").to_string();
    assert!(error.contains("segment 1, block 1"), "{error}");
}
