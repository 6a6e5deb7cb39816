//! Graphs that change: rows taken out and put back, rows added to a small start, range searches, files of every age.
//!
//! Recall is always measured against a graph built at once over the same rows, so the floors say what a change costs.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::{
    BuildOptions, Effort, Hit, Hits, Metric, RowChunks, RowSet, Rows, SearchParams, VectorIndex, build,
    exact, open,
};
use std::path::Path;
use std::sync::Arc;

const DIM: usize = 128;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

fn sift(name: &str) -> Vec<f32> {
    fixture(name).into_iter().map(f32::from).collect()
}

fn built(rows: &RowChunks, include: Option<&RowSet>) -> Box<dyn VectorIndex> {
    let options = BuildOptions { seed: 1, include, ..BuildOptions::default() };
    build(&"HNSW16".parse().unwrap(), Metric::L2, rows, &options).unwrap()
}

fn first_rows(data: &[f32], rows: usize) -> RowChunks {
    RowChunks::from_vec(data[..rows * DIM].to_vec(), DIM).unwrap()
}

/// Share of the true ten found with `ef` 40; each hit's distance must be that of its row.
fn recall(index: &dyn VectorIndex, queries: &[f32], truth: &[Hits]) -> f64 {
    let params = SearchParams::new(10).with_effort(Effort::Ef(40));
    let found = index.search(Rows::new(queries, DIM).unwrap(), &params).unwrap();
    let near = |truth: &Hits, found: &Hits| {
        let last = truth.last().unwrap().distance;
        found.iter().filter(|hit| hit.distance <= last).count()
    };
    let right: usize = truth.iter().zip(&found).map(|(truth, found)| near(truth, found)).sum();
    right as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

fn truth(rows: &RowChunks, queries: &[f32], live: Option<&RowSet>) -> Vec<Hits> {
    exact(rows, 0..rows.len(), Metric::L2, Rows::new(queries, DIM).unwrap(), 10, live).unwrap()
}

fn assert_never_found(index: &dyn VectorIndex, queries: &[f32], gone: &RowSet) {
    for params in [SearchParams::new(10), SearchParams::new(200), SearchParams::range(60_000.0)] {
        let found = index.search(Rows::new(queries, DIM).unwrap(), &params).unwrap();
        assert!(found.iter().flatten().all(|hit| !gone.contains(hit.row)), "{params:?}");
    }
}

fn written(index: &dyn VectorIndex) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.write_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn half_taken_out_and_put_back_is_found_as_in_a_fresh_graph() {
    let (data, queries) = (sift("sift.base.u8"), sift("sift.queries.u8"));
    let rows = first_rows(&data, data.len() / DIM);
    let fresh = recall(&*built(&rows, None), &queries, &truth(&rows, &queries, None));
    // Two thirds of the removals in one go, the rest in many small ones.
    let mut index = built(&rows, None);
    let gone: Vec<u32> = (0..rows.len() as u32).filter(|row| row % 2 == 0).collect();
    let (at_once, rest) = gone.split_at(gone.len() * 2 / 3);
    assert_eq!(index.remove(&at_once.iter().copied().collect()).unwrap(), at_once.len());
    for part in rest.chunks(17) {
        assert_eq!(index.remove(&part.iter().copied().collect()).unwrap(), part.len());
    }
    let gone_set: RowSet = gone.iter().copied().collect();
    assert_eq!(index.remove(&gone_set).unwrap(), 0, "taken out twice");
    assert_never_found(&*index, &queries, &gone_set);
    assert!(index.reconstruct(0).is_err() && index.reconstruct(1).is_ok());
    let live = RowSet::full(rows.len()).subtract(&gone_set);
    let halved = recall(&*index, &queries, &truth(&rows, &queries, Some(&live)));
    let fresh_half = recall(&*built(&rows, Some(&live)), &queries, &truth(&rows, &queries, Some(&live)));
    assert!(halved >= fresh_half - 0.005, "{halved} after removing half, {fresh_half} built without");
    for part in gone.chunks(300) {
        let back: Vec<f32> = part.iter().flat_map(|&row| rows.row(row).to_vec()).collect();
        index.add(Rows::new(&back, DIM).unwrap()).unwrap();
    }
    // Distances do not change with row numbers, and recall goes by distances.
    let back = recall(&*index, &queries, &truth(&rows, &queries, None));
    assert!(back >= fresh - 0.005, "{back} after taking out and putting back half, {fresh} built at once");
}

#[test]
fn a_tenth_left_over_is_still_found() {
    let (data, queries) = (sift("sift.base.u8"), sift("sift.queries.u8"));
    let rows = first_rows(&data, data.len() / DIM);
    let kept: RowSet = (0..rows.len() as u32).filter(|row| row % 10 == 3).collect();
    let truth = truth(&rows, &queries, Some(&kept));
    let fresh = recall(&*built(&rows, Some(&kept)), &queries, &truth);
    for parts in [1, 7] {
        let mut index = built(&rows, None);
        let gone: Vec<u32> = RowSet::full(rows.len()).subtract(&kept).iter().collect();
        for part in gone.chunks(gone.len().div_ceil(parts)) {
            index.remove(&part.iter().copied().collect()).unwrap();
        }
        let left = recall(&*index, &queries, &truth);
        assert!(left >= fresh - 0.01, "{left} after removing 90 % in {parts} parts, {fresh} built without");
        assert_never_found(&*index, &queries, &gone.iter().copied().collect());
    }
    let mut index = built(&rows, None);
    assert_eq!(index.remove(&RowSet::full(rows.len())).unwrap(), rows.len());
    let none = index.search(Rows::new(&queries, DIM).unwrap(), &SearchParams::new(3)).unwrap();
    assert!(none.iter().all(Vec::is_empty));
    index.add(rows.run(0, 40)).unwrap();
    let hits = index.search(rows.run(5, 6), &SearchParams::new(1)).unwrap();
    assert_eq!(hits[0], [Hit { row: rows.len() as u32 + 5, distance: 0.0 }]);
}

/// A whole region taken out at once: what is left must not be cut in two.
#[test]
fn a_region_taken_out_leaves_the_rest_together() {
    let (data, queries) = (sift("sift.base.u8"), sift("sift.queries.u8"));
    let rows = first_rows(&data, data.len() / DIM);
    let centre = exact(&rows, 0..rows.len(), Metric::L2, rows.run(77, 78), rows.len() / 3, None).unwrap();
    let gone: RowSet = centre[0].iter().map(|hit| hit.row).collect();
    let mut index = built(&rows, None);
    index.remove(&gone).unwrap();
    let live = RowSet::full(rows.len()).subtract(&gone);
    let truth = truth(&rows, &queries, Some(&live));
    let (left, fresh) =
        (recall(&*index, &queries, &truth), recall(&*built(&rows, Some(&live)), &queries, &truth));
    assert!(left >= fresh - 0.01, "{left} beside {fresh}");
}

#[test]
fn ten_times_the_rows_added_are_found_as_if_built_at_once() {
    let (data, queries) = (sift("sift.base.u8"), sift("sift.queries.u8"));
    let all = first_rows(&data, data.len() / DIM);
    let truth = truth(&all, &queries, None);
    let at_once = recall(&*built(&all, None), &queries, &truth);
    let start = all.len() / 10;
    let first = first_rows(&data, start);
    for portion in [37, 1500] {
        let mut index = built(&first, None);
        for (i, at) in (start..all.len()).step_by(portion).enumerate() {
            index.add(all.run(at, at + portion)).unwrap();
            if i == 2 {
                index = open(Arc::new(written(&*index)), &first).unwrap();
            }
        }
        assert_eq!(index.info().rows, all.len());
        let grown = recall(&*index, &queries, &truth);
        assert!(grown >= at_once - 0.005, "{grown} in portions of {portion}, {at_once} at once");
    }
}

#[test]
fn range_searches_find_what_is_within() {
    let (data, queries) = (sift("sift.base.u8"), sift("sift.queries.u8"));
    let rows = first_rows(&data, data.len() / DIM);
    let index = built(&rows, None);
    let even: RowSet = (0..rows.len() as u32).filter(|row| row % 2 == 0).collect();
    for filter in [None, Some(&even)] {
        let nearest =
            exact(&rows, 0..rows.len(), Metric::L2, Rows::new(&queries, DIM).unwrap(), 3000, filter).unwrap();
        for rank in [0, 3, 40, 900] {
            let (mut wanted, mut right) = (0, 0);
            for (truth, query) in nearest.iter().zip(queries.chunks(DIM)).step_by(9) {
                let radius = truth[rank].distance;
                let within: Vec<Hit> = truth.iter().copied().filter(|hit| hit.distance < radius).collect();
                let params = SearchParams { filter, ..SearchParams::range(radius) };
                let found = index.search(Rows::new(query, DIM).unwrap(), &params).unwrap().remove(0);
                assert!(found.is_sorted_by_key(|hit| hit.distance));
                assert!(found.iter().all(|hit| within.contains(hit)), "{found:?} beyond {radius}");
                wanted += within.len();
                right += found.len();
            }
            assert!(right as f64 >= 0.97 * wanted as f64, "{right} of {wanted} within, rank {rank}");
        }
    }
}

#[test]
fn graphs_with_codes_are_written_and_opened_with_their_tombstones() {
    let (data, queries) = (sift("sift.base.u8"), sift("sift.queries.u8"));
    let rows = first_rows(&data, 700);
    let mut index = built(&rows, None);
    let few: RowSet = [5, 77, 300].into_iter().collect();
    let many: RowSet = (0..700).filter(|row| row % 3 == 0).collect();
    for gone in [RowSet::new(), few, many] {
        index.remove(&gone).unwrap();
        let bytes = written(&*index);
        let mut again = open(Arc::new(bytes.clone()), &rows).unwrap();
        assert!(written(&*again) == bytes, "writing an opened index gives the same file");
        assert_eq!(again.info(), index.info());
        let params = SearchParams::new(10).with_effort(Effort::Ef(20));
        let queries = Rows::new(&queries, DIM).unwrap();
        assert_eq!(again.search(queries, &params).unwrap(), index.search(queries, &params).unwrap());
        assert_never_found(&*again, queries.as_slice(), &gone);
        again.add(rows.run(0, 50)).unwrap();
        assert!(
            recall(&*again, queries.as_slice(), &again.search(queries, &SearchParams::new(10)).unwrap())
                > 0.9
        );
        for at in (0..bytes.len()).step_by(bytes.len() / 300) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(open(Arc::new(damaged), &rows).is_err(), "byte {at} flipped");
        }
    }
}

/// Written by the first version of the format: links of 32 bits, no codes.
#[test]
fn a_graph_of_the_first_format_opens_and_grows() {
    let data = sift("sift.base.u8");
    let rows = first_rows(&data, 150);
    let mut index = open(Arc::new(fixture("first.hnsw.idx")), &rows).unwrap();
    assert_eq!((index.info().rows, index.info().spec.to_string()), (150, "HNSW4".to_owned()));
    let queries = sift("sift.queries.u8");
    let truth_of = |rows: &RowChunks| truth(rows, &queries, None);
    assert!(recall(&*index, &queries, &truth_of(&rows)) > 0.9);
    let more = first_rows(&data, 400);
    index.add(more.run(150, 400)).unwrap();
    assert!(recall(&*index, &queries, &truth_of(&more)) > 0.85);
    index.remove(&(0..100).collect()).unwrap();
    let again = open(Arc::new(written(&*index)), &rows).unwrap();
    assert_never_found(&*again, &queries, &(0..100).collect());
}

/// Rows of every size, many of them equal, some constant: estimates may overflow or have nothing to tell apart.
#[test]
fn rows_of_any_size_are_found_or_measured_exactly() {
    const ROWS: usize = 1500;
    const DIM: usize = 70;
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut plain: Vec<f32> = (0..ROWS * DIM).map(|_| next()).collect();
    for row in (0..ROWS).step_by(3) {
        let copied: Vec<f32> = plain[row / 9 * DIM..][..DIM].to_vec();
        plain[row * DIM..][..DIM].copy_from_slice(&copied);
    }
    plain[5 * DIM..6 * DIM].fill(0.0);
    plain[6 * DIM..7 * DIM].fill(0.5);
    let queries: Vec<f32> = (0..20 * DIM).map(|_| next()).collect();
    for metric in [Metric::L2, Metric::InnerProduct] {
        for scale in [1e-30_f32, 1e-18, 1.0, 1e15, 1e18, 1e37] {
            let scaled = |values: &[f32]| values.iter().map(|value| value * scale).collect::<Vec<f32>>();
            let rows = RowChunks::from_vec(scaled(&plain), DIM).unwrap();
            let queries = scaled(&queries);
            let queries = Rows::new(&queries, DIM).unwrap();
            let options = BuildOptions { seed: 1, ..BuildOptions::default() };
            let index = build(&"HNSW8".parse().unwrap(), metric, &rows, &options).unwrap();
            let found = index.search(queries, &SearchParams::new(10).with_effort(Effort::Ef(100))).unwrap();
            // Beyond, products of two rows are no numbers.
            assert!(scale > 1e18 || found.iter().all(|hits| hits.len() == 10), "{metric} {scale}");
            if (1e-18..=1e15).contains(&scale) {
                let truth = exact(&rows, 0..ROWS, metric, queries, 10, None).unwrap();
                let near = |(truth, found): (&Hits, &Hits)| {
                    found.iter().filter(|hit| hit.distance <= truth[9].distance).count()
                };
                let right: usize = truth.iter().zip(&found).map(near).sum();
                assert!(right >= 120, "{metric} {scale}: {right} of 200");
            }
        }
    }
}
