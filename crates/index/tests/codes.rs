//! Indexes over codes: a search of everything is a search of the decoded vectors; recall on clustered data; repeatable
//! training; bad input.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::{
    BuildOptions, Hits, IndexError, IndexSpec, Metric, RowChunks, RowSet, Rows, SearchParams, VectorIndex,
    build, exact, normalise,
};

const DIM: usize = 24;
const ROWS: usize = 3000;

/// Points around a hundred centres, the same at every run.
fn clustered(count: usize, seed: u64) -> Vec<f32> {
    let value = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut centre_state = 11;
    let centres: Vec<f32> = (0..100 * DIM).map(|_| value(&mut centre_state)).collect();
    let mut state = seed;
    let mut rows = Vec::new();
    for _ in 0..count {
        let centre = ((value(&mut state) + 1.0) * 50.0) as usize % 100;
        rows.extend((0..DIM).map(|d| centres[centre * DIM + d] + 0.4 * value(&mut state) + 0.3));
    }
    rows
}

fn rows(metric: Metric) -> RowChunks {
    let mut data = clustered(ROWS, 1);
    if metric == Metric::Cosine {
        data.chunks_mut(DIM).for_each(|row| assert!(normalise(row)));
    }
    RowChunks::from_vec(data, DIM).unwrap()
}

fn built(spec: &str, metric: Metric) -> (RowChunks, Box<dyn VectorIndex>) {
    let rows = rows(metric);
    let spec: IndexSpec = spec.parse().unwrap();
    let index = build(&spec, metric, &rows, &BuildOptions { seed: 3, ..BuildOptions::default() }).unwrap();
    (rows, index)
}

fn search(index: &dyn VectorIndex, queries: &[f32], params: SearchParams<'_>) -> Vec<Hits> {
    let params = SearchParams { nprobe: Some(1000), ..params };
    index.search(Rows::new(queries, DIM).unwrap(), &params).unwrap()
}

fn recall(truth: &[Hits], found: &[Hits]) -> f64 {
    let right: usize = truth
        .iter()
        .zip(found)
        .map(|(truth, found)| found.iter().filter(|hit| truth.iter().any(|t| t.row == hit.row)).count())
        .sum();
    right as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

/// Every codec in a scan and in lists, and the recall at 10 that a search of everything must reach by codes alone.
const CODECS: [(&str, f64); 13] = [
    ("SQ8", 0.96),
    ("SQ6", 0.9),
    ("SQ4", 0.65),
    ("SQfp16", 0.99),
    ("SQbf16", 0.95),
    ("PQ12", 0.7),
    ("PQ8x6", 0.45),
    ("PQ6x9", 0.6),
    ("PQ12x4fs", 0.4),
    ("PQ12x4fsr", 0.4),
    ("RaBitQ", 0.3),
    ("RaBitQ4", 0.75),
    ("RaBitQ8", 0.95),
];

#[test]
fn codes_alone_reach_their_recall_and_refined_ones_all() {
    let queries = clustered(60, 2);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let base = rows(metric);
        let truth = exact(&base, 0..ROWS, metric, Rows::new(&queries, DIM).unwrap(), 10, None).unwrap();
        for (codec, floor) in CODECS {
            for structure in ["", "IVF20,"] {
                if structure.is_empty() && codec == "PQ12x4fsr" {
                    continue;
                }
                let spec = format!("{structure}{codec}");
                let (_, index) = built(&spec, metric);
                let measured = recall(&truth, &search(&*index, &queries, SearchParams::new(10)));
                assert!(measured >= floor, "{spec} {metric}: recall {measured}, expected {floor}");
                let spec = format!("{spec},RFlat");
                let (_, index) = built(&spec, metric);
                let found = search(&*index, &queries, SearchParams::new(10));
                let measured = recall(&truth, &found);
                assert!(measured >= 0.98, "{spec} {metric}: recall {measured}, expected 0.98");
                for (query, hits) in queries.chunks(DIM).zip(&found) {
                    for hit in hits {
                        let mut query = query.to_vec();
                        if metric == Metric::Cosine {
                            assert!(normalise(&mut query));
                        }
                        let distance = metric.distance(&query, base.row(hit.row));
                        assert!((hit.distance - distance).abs() <= 1e-5, "{spec} {metric}: full rows decide");
                    }
                }
            }
        }
    }
}

#[test]
fn a_search_of_everything_is_one_of_the_decoded_vectors() {
    let queries = clustered(5, 4);
    let codecs = ["SQ8", "SQ6", "SQ4", "SQfp16", "SQbf16", "PQ12", "PQ8x6", "PQ6x9", "PQ12x4fs", "PQ12x4fsr"];
    for metric in [Metric::L2, Metric::InnerProduct] {
        for codec in codecs {
            for structure in ["", "IVF20,", "RR24,IVF20,"] {
                let spec = format!("{structure}{codec}");
                let (_, index) = built(&spec, metric);
                let decoded: Vec<f32> =
                    (0..ROWS as u32).flat_map(|row| index.reconstruct(row).unwrap()).collect();
                let found = search(&*index, &queries, SearchParams::new(ROWS));
                // Tables of bytes round: half a step for each part.
                let slack = if codec.contains("fs") { 0.05 } else { 1e-4 };
                for (query, hits) in queries.chunks(DIM).zip(&found) {
                    assert_eq!(hits.len(), ROWS, "{spec}");
                    for hit in hits {
                        let row = hit.row as usize;
                        let distance = metric.distance(query, &decoded[row * DIM..][..DIM]);
                        let close = (hit.distance - distance).abs() <= slack * distance.abs().max(10.0);
                        assert!(close, "{spec} {metric} row {row}: {} is not {distance}", hit.distance);
                    }
                }
            }
        }
    }
}

#[test]
fn decoded_vectors_are_near_their_rows() {
    for (spec, worst) in [
        ("SQ8", 1e-4),
        ("SQfp16", 1e-6),
        ("SQbf16", 1e-4),
        ("IVF20,SQ4", 0.05),
        ("RaBitQ8", 1e-3),
        ("IVF20,RaBitQ4", 0.03),
        ("PCAR24,SQ8", 1e-4),
        ("OPQ12,IVF20,PQ12", 0.1),
    ] {
        let (rows, index) = built(spec, Metric::L2);
        let mut error = 0.0;
        for row in 0..ROWS as u32 {
            error += Metric::L2.distance(rows.row(row), &index.reconstruct(row).unwrap());
        }
        let mean = error / ROWS as f32 / DIM as f32;
        assert!(mean <= worst, "{spec}: a value's mean squared error is {mean}, expected {worst}");
        assert!(matches!(index.reconstruct(ROWS as u32), Err(IndexError::UnknownRow { .. })));
    }
}

#[test]
fn rows_come_and_go_in_codes() {
    for spec in ["SQ8", "IVF20,PQ12x4fs", "IVF20,PQ12", "RaBitQ4", "IVF20,RaBitQ"] {
        let (rows, mut index) = built(spec, Metric::L2);
        let before: Vec<Vec<f32>> = (0..ROWS as u32).map(|row| index.reconstruct(row).unwrap()).collect();
        let gone: RowSet = (0..ROWS as u32).filter(|row| row % 3 == 1).collect();
        assert_eq!(index.remove(&gone).unwrap(), gone.count(), "{spec}");
        assert_eq!(index.remove(&gone).unwrap(), 0, "{spec}");
        for row in 0..ROWS as u32 {
            match index.reconstruct(row) {
                Ok(vector) => {
                    assert_eq!((gone.contains(row), &vector), (false, &before[row as usize]), "{spec}")
                }
                Err(error) => {
                    assert_eq!(
                        (gone.contains(row), error),
                        (true, IndexError::UnknownRow { row, rows: ROWS })
                    );
                }
            }
        }
        index.add(rows.run(0, 100)).unwrap();
        assert_eq!(index.info().rows, ROWS + 100);
        assert_eq!(
            index.reconstruct(ROWS as u32 + 5).unwrap(),
            before[5],
            "{spec}: equal rows have equal codes"
        );
        let found = search(&*index, rows.row(0), SearchParams::new(ROWS + 100));
        assert_eq!(found[0].len(), ROWS + 100 - gone.count());
        assert!(found[0].iter().all(|hit| !gone.contains(hit.row)));
    }
}

#[test]
fn filters_and_radii_hold_at_every_selectivity() {
    let queries = clustered(20, 5);
    for spec in ["SQ8", "IVF20,PQ12", "IVF20,RaBitQ8", "IVF20,RaBitQ,RFlat", "PQ12x4fs,RFlat"] {
        let (base, index) = built(spec, Metric::L2);
        for step in [1, 2, 10, 300, 5000] {
            let filter: RowSet = (0..ROWS as u32).filter(|row| row % step == 0).collect();
            let truth =
                exact(&base, 0..ROWS, Metric::L2, Rows::new(&queries, DIM).unwrap(), 10, Some(&filter))
                    .unwrap();
            let params = SearchParams { nprobe: Some(8), ..SearchParams::new(10).with_filter(&filter) };
            let found = index.search(Rows::new(&queries, DIM).unwrap(), &params).unwrap();
            assert!(found.iter().flatten().all(|hit| filter.contains(hit.row)), "{spec}");
            assert!(found.iter().all(|hits| hits.len() == filter.count().min(10)), "{spec} 1/{step}");
            assert!(recall(&truth, &found) >= 0.8, "{spec} 1/{step}: {}", recall(&truth, &found));
        }
        let all = search(&*index, &queries[..DIM], SearchParams::new(ROWS));
        let radius = all[0][50].distance;
        let near = search(&*index, &queries[..DIM], SearchParams::range(radius));
        assert!(near[0].iter().all(|hit| hit.distance < radius), "{spec}");
        assert!(near[0].len() >= 45 && near[0].len() <= 50, "{spec}: {}", near[0].len());
    }
}

#[test]
fn training_is_the_same_for_any_number_of_threads() {
    let rows = rows(Metric::L2);
    for spec in ["OPQ6,IVF20,PQ6x4fsr,RFlat", "PCAR12,IVF20,RaBitQ2", "RR32,SQ6", "PQ6x5"] {
        let written = |threads: usize, seed: u64| {
            let options = BuildOptions { threads, seed, ..BuildOptions::default() };
            let index = build(&spec.parse().unwrap(), Metric::L2, &rows, &options).unwrap();
            let mut bytes = Vec::new();
            index.write_to(&mut bytes).unwrap();
            bytes
        };
        assert!(written(1, 7) == written(3, 7), "{spec}");
        assert!(written(1, 7) != written(1, 8), "{spec}: the seed is used");
    }
}

#[test]
fn too_little_to_train_on_is_said() {
    let few = RowChunks::from_vec(clustered(100, 1), DIM).unwrap();
    let build_few = |spec: &str| build(&spec.parse().unwrap(), Metric::L2, &few, &BuildOptions::default());
    assert_eq!(build_few("PQ6").err(), Some(IndexError::TooFewRows { needed: 256, received: 100 }));
    assert_eq!(build_few("IVF101,SQ8").err(), Some(IndexError::TooFewRows { needed: 101, received: 100 }));
    let warnings = build_few("IVF10,PQ6x4").unwrap().info().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("IVF10") && warnings[0].contains("390"), "{warnings:?}");
    assert!(warnings[1].contains("PQ6x4") && warnings[1].contains("624"), "{warnings:?}");
    assert_eq!(build_few("IVF2,SQ8").unwrap().info().warnings, [""; 0]);
    let error = build_few("PQ7x4").err().unwrap().to_string();
    assert_eq!(error, "PQ parts is 7, expected a divisor of the dimension 24; the nearest is 8");
    let error = build_few("PCA20,PQ6x4").err().unwrap().to_string();
    assert!(error.contains("the nearest is 5"), "{error}");
    assert!(build_few("PCA25,Flat").is_err());
}

/// Lists keep four bits of each value beside the vectors; what they pass over must not be missed.
#[test]
fn lists_of_vectors_give_the_answers_of_a_plain_scan() {
    let queries = clustered(40, 6);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let (base, mut index) = built("IVF20,Flat", metric);
        let query_rows = Rows::new(&queries, DIM).unwrap();
        let check = |index: &dyn VectorIndex, base: &RowChunks, filter: Option<&RowSet>| {
            let truth = exact(base, 0..base.len(), metric, query_rows, 10, filter).unwrap();
            let params = SearchParams { filter, ..SearchParams::new(10) };
            for (truth, found) in truth.iter().zip(search(index, &queries, params)) {
                let truth: Vec<f32> = truth.iter().map(|hit| hit.distance).collect();
                let found: Vec<f32> = found.iter().map(|hit| hit.distance).collect();
                assert_eq!(truth.len(), found.len());
                assert!(truth.iter().zip(&found).all(|(a, b)| (a - b).abs() <= 1e-5), "{truth:?} {found:?}");
            }
        };
        check(&*index, &base, None);
        let filter: RowSet = (0..ROWS as u32).filter(|row| row % 7 == 0).collect();
        check(&*index, &base, Some(&filter));
        let gone = RowSet::full(ROWS).subtract(&filter);
        index.remove(&gone).unwrap();
        check(&*index, &base, Some(&filter));
    }
}
