//! Indexes of ours written as FAISS files and opened again give the same answers, rows that were taken out left out.

use bilin_index::faiss::{self, FaissError};
use bilin_index::{
    BuildOptions, IndexSpec, Metric, RowChunks, RowSet, Rows, SearchParams, VectorIndex, build,
};

const DIM: usize = 12;
const ROWS: usize = 700;
/// What has a counterpart in FAISS that is no other.
const SPECS: [&str; 15] = [
    "Flat",
    "IVF20,Flat",
    "HNSW8",
    "SQ8",
    "SQ6",
    "SQ4",
    "SQfp16",
    "SQbf16",
    "PQ4x5",
    "IVF20,SQ8",
    "IVF20,PQ4x5",
    "PCA6,IVF20,Flat",
    "OPQ4,PQ4x5",
    "L2norm,IVF20,SQ4",
    "IVF20,PQ4x5,RFlat",
];

/// Numbers that look random, the same every time.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn rows_for(metric: Metric) -> RowChunks {
    let mut rows = values(ROWS * DIM, 7);
    if metric == Metric::Cosine {
        rows.chunks_mut(DIM).for_each(|row| assert!(bilin_index::normalise(row)));
    }
    RowChunks::from_vec(rows, DIM).unwrap()
}

fn reopened(index: &dyn VectorIndex) -> faiss::Opened {
    let mut bytes = Vec::new();
    faiss::write(&index.to_faiss().unwrap(), &mut bytes).unwrap();
    faiss::open(&faiss::read(&bytes).unwrap(), 1 << 24).unwrap()
}

#[test]
fn answers_survive_the_way_there_and_back() {
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let rows = rows_for(metric);
        let include: RowSet = (0..ROWS as u32).filter(|row| row % 3 != 0).collect();
        for spec in SPECS {
            for include in [None, Some(&include)] {
                let options = BuildOptions { include, ..BuildOptions::default() };
                let index = build(&spec.parse().unwrap(), metric, &rows, &options).unwrap();
                let opened = reopened(&*index);
                let place =
                    format!("{spec}, {metric}, {} left out", ROWS - include.map_or(ROWS, RowSet::count));
                assert_eq!(opened.index.len(), include.map_or(ROWS, RowSet::count), "{place}");
                let queries = values(20 * DIM, 8);
                // A query of unit length is the same to the cosine and to the inner product that a file knows.
                let queries: Vec<f32> = queries
                    .chunks(DIM)
                    .flat_map(|query| {
                        let mut query = query.to_vec();
                        bilin_index::normalise(&mut query);
                        query
                    })
                    .collect();
                let queries = Rows::new(&queries, DIM).unwrap();
                let params = SearchParams::new(10).with_effort(opened.effort);
                let ours = index.search(queries, &params).unwrap();
                let theirs = opened.index.search(queries, &params).unwrap();
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    let ours: Vec<(i64, f32)> =
                        ours.iter().map(|hit| (i64::from(hit.row), hit.distance)).collect();
                    assert_eq!(&ours, theirs, "{place}");
                }
            }
        }
    }
}

#[test]
fn ids_of_the_users_own_take_the_place_of_row_numbers() {
    let rows = rows_for(Metric::L2);
    let ids: Vec<i64> = (0..ROWS as i64).map(|row| 1_000_000 - 7 * row).collect();
    for spec in ["Flat", "IVF20,Flat", "HNSW8"] {
        let index = build(&spec.parse().unwrap(), Metric::L2, &rows, &BuildOptions::default()).unwrap();
        let tree = faiss::rename(index.to_faiss().unwrap(), &ids).unwrap();
        let mut bytes = Vec::new();
        faiss::write(&tree, &mut bytes).unwrap();
        let opened = faiss::open(&faiss::read(&bytes).unwrap(), 1 << 24).unwrap();
        let query = Rows::new(rows.row(41), DIM).unwrap();
        let hits = opened.index.search(query, &SearchParams::new(1).with_effort(opened.effort)).unwrap();
        assert_eq!(hits, [[(1_000_000 - 7 * 41, 0.0)]], "{spec}");
        let error = faiss::rename(index.to_faiss().unwrap(), &ids[1..]).unwrap_err();
        assert!(matches!(error, FaissError::Write { .. }), "{error}");
    }
}

#[test]
fn empty_indexes_are_written_too() {
    let none = RowChunks::from_vec(Vec::new(), DIM).unwrap();
    for spec in [IndexSpec::FLAT, IndexSpec::hnsw(8)] {
        let index = build(&spec, Metric::L2, &none, &BuildOptions::default()).unwrap();
        assert!(reopened(&*index).index.is_empty(), "{spec}");
    }
}
