//! What every kind of index does: range search, taking rows out, giving vectors back.
#![allow(clippy::unwrap_used)]

use bilin_index::{BuildOptions, Hits, IndexError, IndexSpec, Metric, RowChunks, RowSet, Rows};
use bilin_index::{SearchParams, VectorIndex, Wishes, build, build_to_target};

const DIM: usize = 6;
const ROWS: usize = 700;
/// Kinds that answer from full rows, so that a thorough search is exact.
const EXACT: [&str; 9] = [
    "Flat",
    "IVF13,Flat",
    "SQ8,RFlat",
    "PQ3x4fs,RFlat",
    "RaBitQ2,RFlat",
    "IVF13,SQ4,RFlat",
    "IVF13,PQ3x4fsr,RFlat",
    "IVF13,RaBitQ,RFlat",
    "PCA4,IVF13,PQ2x5,RFlat",
];

/// Values in [0, 1), the same at every run.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn built(spec: &str, metric: Metric) -> (RowChunks, Box<dyn VectorIndex>) {
    let rows = RowChunks::from_vec(values(ROWS * DIM, 1), DIM).unwrap();
    let spec: IndexSpec = spec.parse().unwrap();
    let index = build(&spec, metric, &rows, &BuildOptions::default()).unwrap();
    (rows, index)
}

/// Every list or candidate is looked at, so that answers are exact.
fn thorough<'a>(params: SearchParams<'a>) -> SearchParams<'a> {
    SearchParams { nprobe: Some(10_000), ef: Some(10_000), refine: Some(10_000), ..params }
}

fn search(index: &dyn VectorIndex, query: &[f32], params: SearchParams<'_>) -> Hits {
    index.search(Rows::new(query, DIM).unwrap(), &thorough(params)).unwrap().remove(0)
}

#[test]
fn a_range_holds_what_is_nearer_than_its_radius() {
    for metric in [Metric::L2, Metric::InnerProduct] {
        for spec in EXACT.into_iter().chain(["HNSW8"]) {
            let (rows, index) = built(spec, metric);
            for query in values(DIM * 5, 9).chunks(DIM) {
                let mut distances: Vec<f32> =
                    (0..ROWS as u32).map(|row| metric.distance(query, rows.row(row))).collect();
                distances.sort_unstable_by(f32::total_cmp);
                // Between two rows: kinds of indexes may round a distance differently.
                let radius = (distances[39] + distances[40]) / 2.0;
                let within = distances.iter().filter(|&&distance| distance < radius).count();
                let hits = search(&*index, query, SearchParams::range(radius));
                assert_eq!(hits.len(), within, "{spec} {metric}");
                assert!(hits.iter().all(|hit| hit.distance < radius));
                let nearest = SearchParams { radius: Some(radius), ..SearchParams::new(7) };
                assert_eq!(search(&*index, query, nearest), hits[..7], "{spec} {metric}");
                let none = SearchParams::range(distances[0] - 1e-3);
                assert!(search(&*index, query, none).is_empty(), "{spec} {metric}");
            }
        }
    }
}

#[test]
fn a_range_needs_a_number() {
    let (_, index) = built("Flat", Metric::L2);
    let error =
        index.search(Rows::new(&[0.0; DIM], DIM).unwrap(), &SearchParams::range(f32::NAN)).unwrap_err();
    assert!(matches!(error, IndexError::Parameter { name: "radius", .. }), "{error}");
}

#[test]
fn rows_taken_out_are_never_found_and_the_others_always() {
    for spec in EXACT {
        let (rows, mut index) = built(spec, Metric::L2);
        let gone: RowSet = (0..ROWS as u32).filter(|row| row % 3 == 1).collect();
        assert_eq!(index.remove(&gone).unwrap(), gone.count(), "{spec}");
        assert_eq!(index.remove(&gone).unwrap(), 0, "{spec}: they are gone already");
        assert_eq!(index.remove(&RowSet::full(ROWS + 9).subtract(&RowSet::full(ROWS))).unwrap(), 0, "{spec}");
        for row in 0..ROWS as u32 {
            let nearest = search(&*index, rows.row(row), SearchParams::new(1))[0];
            assert_eq!(nearest.row == row, !gone.contains(row), "{spec}");
            match index.reconstruct(row) {
                Ok(vector) => assert_eq!((vector.as_slice(), gone.contains(row)), (rows.row(row), false)),
                Err(error) => {
                    assert_eq!(
                        (error, true),
                        (IndexError::UnknownRow { row, rows: ROWS }, gone.contains(row))
                    );
                }
            }
        }
        // New rows get new numbers.
        index.add(Rows::new(rows.row(1), DIM).unwrap()).unwrap();
        assert_eq!(search(&*index, rows.row(1), SearchParams::new(1))[0].row, ROWS as u32, "{spec}");
        assert_eq!(search(&*index, rows.row(1), SearchParams::new(ROWS)).len(), ROWS + 1 - gone.count());
    }
}

/// Graphs over codes answer as a scan of the same codes does, when they look at everything.
#[test]
fn graphs_over_codes_answer_as_their_codes_do() {
    for metric in [Metric::L2, Metric::InnerProduct] {
        for codes in ["SQ8", "SQfp16", "PQ3x4", "PQ3x4fs", "PCA4,Flat", "PCA4,SQ8", "L2norm,SQ8"] {
            let spec = match codes.rsplit_once(',') {
                Some((transforms, "Flat")) => format!("{transforms},HNSW8"),
                Some((transforms, codec)) => format!("{transforms},HNSW8,{codec}"),
                None => format!("HNSW8,{codes}"),
            };
            let (rows, mut graph) = built(&spec, metric);
            let (_, mut scan) = built(codes, metric);
            assert_eq!(graph.info().spec.to_string(), spec);
            let odd: RowSet = (0..ROWS as u32).filter(|row| row % 2 == 1).collect();
            let gone: RowSet = (0..ROWS as u32).filter(|row| row % 5 == 1).collect();
            for round in 0..2 {
                for query in values(DIM * 6, 9).chunks(DIM) {
                    let few = SearchParams { filter: Some(&odd), ..SearchParams::new(9) };
                    for params in [SearchParams::new(9), few] {
                        let (by_graph, by_scan) =
                            (search(&*graph, query, params), search(&*scan, query, params));
                        assert_eq!(by_graph, by_scan, "{spec} {metric} {round}");
                    }
                    let radius = search(&*scan, query, SearchParams::new(30))[29].distance;
                    let within = search(&*graph, query, SearchParams::range(radius));
                    assert_eq!(within, search(&*scan, query, SearchParams::range(radius)), "{spec} {metric}");
                }
                assert_eq!(graph.reconstruct(3).unwrap(), scan.reconstruct(3).unwrap(), "{spec}");
                // Taken out and added to both, they stay the same.
                assert_eq!(graph.remove(&gone).unwrap(), scan.remove(&gone).unwrap(), "{spec} {round}");
                let more = Rows::new(rows.run(0, 20).as_slice(), DIM).unwrap();
                graph.add(more).unwrap();
                scan.add(more).unwrap();
            }
        }
    }
}

#[test]
fn graphs_over_codes_find_what_full_rows_would() {
    let dim = 64;
    let rows = RowChunks::from_vec(values(3000 * dim, 21), dim).unwrap();
    let built =
        |spec: &str| build(&spec.parse().unwrap(), Metric::L2, &rows, &BuildOptions::default()).unwrap();
    let queries = values(50 * dim, 5);
    let queries = Rows::new(&queries, dim).unwrap();
    let exact = built("Flat").search(queries, &SearchParams::new(10)).unwrap();
    let params = SearchParams { ef: Some(400), ..SearchParams::new(10) };
    for (spec, floor, reads_rows) in [
        ("HNSW16,SQ8", 0.95, false),
        ("HNSW16,RaBitQ6", 0.9, false),
        ("HNSW16,SQ4,RFlat", 0.97, true),
        ("PCA64,HNSW16", 0.97, false),
    ] {
        let index = built(spec);
        let found = index.search(queries, &params).unwrap();
        let right: usize = exact
            .iter()
            .zip(&found)
            .map(|(exact, found)| found.iter().filter(|hit| exact.iter().any(|e| e.row == hit.row)).count())
            .sum();
        assert!(right as f64 / 500.0 >= floor, "{spec}: {right} of 500");
        assert_eq!(index.info().reads_rows, reads_rows, "{spec}");
    }
    // Built to a target, the effort is that of the walk and the recall that of the codes.
    let wishes = Wishes { target_recall: 0.9, memory_bytes: None };
    let spec: IndexSpec = "HNSW16,SQ8".parse().unwrap();
    let built = build_to_target(&spec, Metric::L2, &rows, &wishes, &BuildOptions::default()).unwrap();
    assert_eq!(built.index.info().spec, spec);
    assert!(built.calibration.recall_at_10 >= 0.85, "{built:?}");
}
