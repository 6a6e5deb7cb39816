//! Exact search against a sort of f64 distances, and: alone, in a batch and on threads the answers have the same bits.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::{
    BuildOptions, Hits, IndexError, IndexSpec, Metric, RowChunks, RowSet, Rows, SearchParams, build, exact,
    normalise,
};
use proptest::prelude::*;
use std::sync::Arc;

fn values(seed: u64, n: usize, scale: f32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next() * scale).collect()
}

fn chunked(data: &[f32], dim: usize, rows_per_chunk: usize) -> RowChunks {
    let chunks: Vec<Arc<dyn bilin_index::SharedF32>> = data
        .chunks(rows_per_chunk * dim)
        .map(|chunk| Arc::new(chunk.to_vec()) as Arc<dyn bilin_index::SharedF32>)
        .collect();
    RowChunks::new(chunks, rows_per_chunk, dim, data.len() / dim).unwrap()
}

/// Distances in f64 of the allowed rows, sorted.
fn truth(data: &[f32], query: &[f32], metric: Metric, allowed: impl Fn(u32) -> bool) -> Vec<(f64, u32)> {
    let mut query = query.to_vec();
    if metric == Metric::Cosine {
        normalise(&mut query);
    }
    let mut all: Vec<(f64, u32)> = data
        .chunks(query.len())
        .enumerate()
        .filter(|(row, _)| allowed(*row as u32))
        .map(|(row, vector)| {
            let pairs = vector.iter().zip(&query).map(|(&a, &b)| (f64::from(a), f64::from(b)));
            let distance: f64 = match metric {
                Metric::L2 => pairs.map(|(a, b)| (a - b) * (a - b)).sum(),
                _ => -pairs.map(|(a, b)| a * b).sum::<f64>(),
            };
            (distance, row as u32)
        })
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all
}

fn assert_exact(hits: &Hits, truth: &[(f64, u32)], k: usize, slack: f64) {
    assert_eq!(hits.len(), k.min(truth.len()));
    for (i, hit) in hits.iter().enumerate() {
        assert!(
            (f64::from(hit.distance) - truth[i].0).abs() <= slack,
            "rank {i}: {hit:?}, true {:?}",
            truth[i]
        );
    }
    let mut rows: Vec<u32> = hits.iter().map(|hit| hit.row).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), hits.len(), "a row came twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn exact_search_is_exact_and_does_not_depend_on_grouping(
        seed in any::<u64>(),
        n in 0_usize..200,
        dim in 1_usize..40,
        queries in 1_usize..30,
        k in 1_usize..30,
        metric in prop::sample::select(vec![Metric::L2, Metric::InnerProduct, Metric::Cosine]),
        filtered in any::<bool>(),
        duplicates in any::<bool>(),
    ) {
        let mut data = values(seed, n * dim, 10.0);
        if duplicates && n > 4 {
            let first = data[..dim].to_vec();
            data[3 * dim..4 * dim].copy_from_slice(&first);
        }
        if metric == Metric::Cosine {
            data.chunks_mut(dim).for_each(|row| { normalise(row); });
        }
        let asked = values(!seed, queries * dim, 10.0);
        let rows = chunked(&data, dim, 16);
        let filter: RowSet = (0..n as u32).filter(|row| row % 3 != 1).collect();
        let filter = filtered.then_some(&filter);
        let batch = exact(&rows, 0..n, metric, Rows::new(&asked, dim).unwrap(), k, filter).unwrap();
        prop_assert_eq!(batch.len(), queries);
        for (query, hits) in asked.chunks(dim).zip(&batch) {
            let alone = exact(&rows, 0..n, metric, Rows::new(query, dim).unwrap(), k, filter).unwrap();
            prop_assert_eq!(&alone[0], hits);
            let truth = truth(&data, query, metric, |row| filter.is_none_or(|filter| filter.contains(row)));
            assert_exact(hits, &truth, k, 1e-6 * 400.0 * dim as f64);
        }
    }
}

#[test]
fn threads_and_large_values_do_not_change_answers() {
    let (n, dim) = (30_000, 32);
    for scale in [1.0, 3e18, 1e-22] {
        let data = values(7, n * dim, scale);
        let rows = chunked(&data, dim, 1024);
        let asked = values(8, 300 * dim, scale);
        for count in [1, 3, 40, 300] {
            let queries = Rows::new(&asked[..count * dim], dim).unwrap();
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| exact(&rows, 5..n, Metric::L2, queries, 10, None).unwrap())
            };
            let (one, three) = (on(1), on(3));
            assert_eq!(one, three, "{count} queries, scale {scale}");
            assert!(one.iter().all(|hits| hits.len() == 10 && hits.iter().all(|hit| hit.row >= 5)));
            if count == 40 {
                for (i, hits) in one.iter().enumerate() {
                    let query = Rows::new(&asked[i * dim..(i + 1) * dim], dim).unwrap();
                    assert_eq!(&exact(&rows, 5..n, Metric::L2, query, 10, None).unwrap()[0], hits);
                }
            }
        }
    }
}

/// Flat keeps compressed rows from some thousands on; what it answers must not show it, whoever shares the work.
#[test]
fn flat_has_the_bits_of_the_plain_scan_on_any_number_of_threads() {
    let (n, dim) = (180_000, 32);
    let rows = chunked(&values(5, n * dim, 2.0), dim, 1 << 16);
    let asked = values(6, 200 * dim, 2.0);
    let index = build(&IndexSpec::FLAT, Metric::L2, &rows, &BuildOptions::default()).unwrap();
    assert!(index.info().bytes > n * dim, "compressed rows are there");
    let odd: RowSet = (0..n as u32).filter(|row| row % 2 == 1).collect();
    let few: RowSet = (0..n as u32).filter(|row| row % 1000 == 1).collect();
    for (count, filter) in [(1, None), (3, None), (3, Some(&odd)), (3, Some(&few)), (40, None), (200, None)] {
        let queries = Rows::new(&asked[..count * dim], dim).unwrap();
        let expected = exact(&rows, 0..n, Metric::L2, queries, 10, filter).unwrap();
        let params = SearchParams { filter, ..SearchParams::new(10) };
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| index.search(queries, &params).unwrap());
            assert_eq!(found, expected, "{count} queries, {threads} threads");
        }
    }
}

#[test]
fn flat_grows_and_refuses_what_does_not_fit() {
    let rows = RowChunks::from_vec(vec![0.0, 0.0, 1.0, 1.0, 2.0, 2.0], 2).unwrap();
    let include: RowSet = [0, 2].into_iter().collect();
    let options = BuildOptions { include: Some(&include), ..BuildOptions::default() };
    let mut index = build(&IndexSpec::FLAT, Metric::L2, &rows, &options).unwrap();
    let query = Rows::new(&[1.1, 1.1], 2).unwrap();
    let found = |index: &dyn bilin_index::VectorIndex| -> Vec<u32> {
        index.search(query, &SearchParams::new(9)).unwrap()[0].iter().map(|hit| hit.row).collect()
    };
    assert_eq!(found(&*index), [2, 0]);
    index.add(Rows::new(&[1.0, 1.2], 2).unwrap()).unwrap();
    assert_eq!(found(&*index), [3, 2, 0]);
    assert_eq!(index.info().rows, 4);
    let wrong = Rows::new(&[1.0], 1).unwrap();
    assert_eq!(index.add(wrong).unwrap_err(), IndexError::Dimension { expected: 2, received: 1 });
    assert!(index.search(wrong, &SearchParams::new(1)).is_err());
    for k in [0, bilin_index::MAX_K + 1] {
        assert!(matches!(
            index.search(query, &SearchParams::new(k)),
            Err(IndexError::Parameter { name: "k", .. })
        ));
    }
    let ef = SearchParams { ef: Some(0), ..SearchParams::new(1) };
    assert!(matches!(index.search(query, &ef), Err(IndexError::Parameter { name: "ef", .. })));
}

#[test]
fn cosine_wants_unit_rows_and_a_direction() {
    let rows = RowChunks::from_vec(vec![1.0, 0.0, 0.0, 2.0], 2).unwrap();
    let error = build(&IndexSpec::FLAT, Metric::Cosine, &rows, &BuildOptions::default()).err().unwrap();
    assert_eq!(error, IndexError::NotUnitLength { row: 1, norm: 2.0 });
    let rows = RowChunks::from_vec(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
    let mut index = build(&IndexSpec::FLAT, Metric::Cosine, &rows, &BuildOptions::default()).unwrap();
    let zero = Rows::new(&[3.0, 4.0, 0.0, 0.0], 2).unwrap();
    assert_eq!(index.search(zero, &SearchParams::new(1)).unwrap_err(), IndexError::ZeroVector { row: 1 });
    assert_eq!(index.add(zero).unwrap_err(), IndexError::ZeroVector { row: 1 });
    assert_eq!(index.info().rows, 2, "a refused batch adds nothing");
    index.add(Rows::new(&[30.0, 40.0], 2).unwrap()).unwrap();
    let hits = index.search(Rows::new(&[6.0, 8.0], 2).unwrap(), &SearchParams::new(1)).unwrap();
    assert_eq!((hits[0][0].row, (hits[0][0].distance * -1e3).round()), (2, 1e3));
}
