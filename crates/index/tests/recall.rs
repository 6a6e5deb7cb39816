//! Honest recall: every approximate index against brute force, on real vectors.
//!
//! A small set in `fixtures/` always runs. The full sets of `../shared/data/vectors` run where that folder exists; in CI
//! (`CI=true`) their absence is a failure, never a skip.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::{
    BuildOptions, Built, Effort, Hits, IndexSpec, Metric, RowChunks, RowSet, Rows, SearchParams, VectorIndex,
    Verdict, Wishes, build, build_to_target, exact, normalise,
};
use std::path::{Path, PathBuf};

struct Set {
    name: &'static str,
    metric: Metric,
    base: RowChunks,
    queries: Vec<f32>,
}

impl Set {
    fn queries(&self) -> Rows<'_> {
        Rows::new(&self.queries, self.base.dim()).unwrap()
    }

    fn truth(&self, metric: Metric, filter: Option<&RowSet>) -> Vec<Hits> {
        exact(&self.base, 0..self.base.len(), metric, self.queries(), 10, filter).unwrap()
    }
}

fn bytes_as_f32(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().map(|&byte| f32::from(byte)).collect()
}

fn halves_as_f32(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<2>().0.iter().map(|&half| half::f16::from_le_bytes(half).to_f32()).collect()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

fn small_sift() -> Set {
    let base = RowChunks::from_vec(bytes_as_f32(&fixture("sift.base.u8")), 128).unwrap();
    Set { name: "sift", metric: Metric::L2, base, queries: bytes_as_f32(&fixture("sift.queries.u8")) }
}

fn small_text() -> Set {
    let base = RowChunks::from_vec(halves_as_f32(&fixture("text.base.f16")), 384).unwrap();
    Set {
        name: "text",
        metric: Metric::InnerProduct,
        base,
        queries: halves_as_f32(&fixture("text.queries.f16")),
    }
}

fn built(set: &Set, spec: &str, metric: Metric, include: Option<&RowSet>) -> Box<dyn VectorIndex> {
    let options = BuildOptions { seed: 1, include, ..BuildOptions::default() };
    build(&spec.parse().unwrap(), metric, &set.base, &options).unwrap()
}

/// Share of the true ten found; a row at the distance of the tenth counts.
fn recall(truth: &[Hits], found: &[Hits]) -> f64 {
    let mut right = 0;
    for (truth, found) in truth.iter().zip(found) {
        let last = truth.last().unwrap().distance;
        right +=
            found.iter().take(truth.len()).filter(|hit| hit.distance <= last + last.abs() * 1e-5).count();
    }
    right as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

#[track_caller]
fn assert_recall(set: &Set, index: &dyn VectorIndex, params: &SearchParams<'_>, least: f64) {
    let truth = set.truth(index.info().metric, params.filter);
    let found = index.search(set.queries(), params).unwrap();
    let measured = recall(&truth, &found);
    let (spec, name) = (index.info().spec, set.name);
    assert!(measured >= least, "{name} {spec} {params:?}: recall {measured}, expected {least}");
}

fn nprobe(nprobe: usize) -> SearchParams<'static> {
    SearchParams::new(10).with_effort(Effort::Nprobe(nprobe))
}

fn ef(ef: usize) -> SearchParams<'static> {
    SearchParams::new(10).with_effort(Effort::Ef(ef))
}

#[test]
fn small_sets_reach_their_recall() {
    for set in [small_sift(), small_text()] {
        assert_recall(&set, &*built(&set, "Flat", set.metric, None), &SearchParams::new(10), 1.0);
        let ivf = built(&set, "IVF64,Flat", set.metric, None);
        assert_recall(&set, &*ivf, &nprobe(24), 0.95);
        assert_recall(&set, &*ivf, &nprobe(64), 1.0);
        let graph = built(&set, "HNSW16", set.metric, None);
        assert_recall(&set, &*graph, &ef(40), 0.93);
        assert_recall(&set, &*graph, &ef(200), 0.99);
    }
}

#[test]
fn graphs_are_the_same_for_any_number_of_threads() {
    let set = small_text();
    let written = |threads: usize| {
        let options = BuildOptions { threads, seed: 1, ..BuildOptions::default() };
        let index = build(&IndexSpec::hnsw(8), set.metric, &set.base, &options).unwrap();
        let mut bytes = Vec::new();
        index.write_to(&mut bytes).unwrap();
        bytes
    };
    assert!(written(1) == written(3));
}

#[test]
fn filters_keep_recall_at_every_selectivity() {
    for set in [small_sift(), small_text()] {
        let rows = set.base.len() as u32;
        let (ivf, graph) =
            (built(&set, "IVF64,Flat", set.metric, None), built(&set, "HNSW16", set.metric, None));
        for step in [2, 10, 100, 1500] {
            let filter: RowSet = (0..rows).filter(|row| row % step == 0).collect();
            assert_recall(&set, &*ivf, &nprobe(16).with_filter(&filter), 0.93);
            assert_recall(&set, &*graph, &ef(64).with_filter(&filter), 0.95);
            for index in [&ivf, &graph] {
                let found = index.search(set.queries(), &ef(64).with_filter(&filter)).unwrap();
                let wanted = filter.count().min(10);
                assert!(found.iter().all(|hits| hits.len() == wanted));
                assert!(found.iter().flatten().all(|hit| filter.contains(hit.row)));
            }
        }
        // A filter that goes with position: whole regions of space are left out.
        let filter: RowSet = (0..rows / 20).collect();
        assert_recall(&set, &*graph, &ef(64).with_filter(&filter), 0.95);
        let none = RowSet::new();
        assert!(graph.search(set.queries(), &ef(64).with_filter(&none)).unwrap().iter().all(Vec::is_empty));
    }
}

#[test]
fn rows_left_out_are_never_found_and_the_rest_is() {
    let set = small_sift();
    let live: RowSet = (0..set.base.len() as u32).filter(|row| row % 3 != 0).collect();
    let truth = set.truth(Metric::L2, Some(&live));
    for (spec, params) in [("Flat", nprobe(1)), ("IVF64,Flat", nprobe(20)), ("HNSW16", ef(80))] {
        let index = built(&set, spec, Metric::L2, Some(&live));
        let found = index.search(set.queries(), &params).unwrap();
        assert!(found.iter().flatten().all(|hit| live.contains(hit.row)), "{spec}");
        assert!(recall(&truth, &found) >= 0.95, "{spec} {}", recall(&truth, &found));
        assert_eq!(index.info().rows, set.base.len());
    }
}

#[test]
fn rows_added_later_are_found_as_well() {
    let set = small_sift();
    let half = set.base.len() / 2;
    let first = RowChunks::from_vec(set.base.run(0, half).as_slice().to_vec(), 128).unwrap();
    for (spec, params) in [("Flat", nprobe(1)), ("IVF50,Flat", nprobe(16)), ("HNSW16", ef(80))] {
        let options = BuildOptions { seed: 1, ..BuildOptions::default() };
        let mut index = build(&spec.parse().unwrap(), Metric::L2, &first, &options).unwrap();
        for start in (half..set.base.len()).step_by(777) {
            index.add(set.base.run(start, start + 777)).unwrap();
        }
        assert_eq!(index.info().rows, set.base.len());
        assert_recall(&set, &*index, &params, 0.95);
    }
}

/// Rows of very different lengths (up to e^6 times) under inner product.
#[test]
fn inner_product_of_unequal_lengths_has_honest_recall() {
    for spread in [0.1, 0.7, 3.0] {
        let mut set = small_text();
        let mut data = set.base.run(0, set.base.len()).as_slice().to_vec();
        for (i, row) in data.chunks_mut(384).enumerate() {
            let length = (((i * 7919 % 1000) as f32 / 500.0 - 1.0) * spread).exp();
            row.iter_mut().for_each(|value| *value *= length);
        }
        set.base = RowChunks::from_vec(data, 384).unwrap();
        assert_recall(&set, &*built(&set, "HNSW16", Metric::InnerProduct, None), &ef(100), 0.98);
        assert_recall(&set, &*built(&set, "IVF63,Flat", Metric::InnerProduct, None), &nprobe(32), 0.95);
    }
}

#[test]
fn cosine_orders_by_angle() {
    let mut set = small_text();
    let mut data = set.base.run(0, set.base.len()).as_slice().to_vec();
    data.chunks_mut(384).for_each(|row| assert!(normalise(row)));
    set.base = RowChunks::from_vec(data, 384).unwrap();
    set.queries.iter_mut().for_each(|value| *value *= 17.0);
    for (spec, params) in [("IVF63,Flat", nprobe(20)), ("HNSW16", ef(80))] {
        assert_recall(&set, &*built(&set, spec, Metric::Cosine, None), &params, 0.95);
    }
}

#[test]
fn calibration_meets_its_target_on_queries_it_has_not_seen() {
    let set = small_sift();
    let wishes = Wishes { target_recall: 0.95, memory_bytes: None };
    let built = |spec: &str| {
        let spec: IndexSpec = spec.parse().unwrap();
        build_to_target(&spec, Metric::L2, &set.base, &wishes, &BuildOptions::default()).unwrap()
    };
    for spec in ["IVF64,Flat", "HNSW16"] {
        let Built { index, calibration, choice } = built(spec);
        assert!(calibration.recall_at_10 >= 0.95 && calibration.queries > 100, "{spec} {calibration:?}");
        assert!(choice.is_none(), "only auto chooses");
        // Queries come from other pictures than the rows; they may be a little harder.
        assert_recall(&set, &*index, &SearchParams::new(10).with_effort(calibration.effort), 0.94);
        let again = built(spec).calibration;
        let same = (again.effort, again.recall_at_10) == (calibration.effort, calibration.recall_at_10);
        assert!(same, "not repeatable: {calibration:?}, {again:?}");
    }
    assert_eq!(built("Flat").calibration.effort, Effort::Exact);
}

#[test]
fn auto_says_what_it_chose_and_why() {
    let set = small_sift();
    let chosen = |target_recall, memory_bytes| {
        let wishes = Wishes { target_recall, memory_bytes };
        let options = BuildOptions::default();
        build_to_target(&IndexSpec::AUTO, Metric::L2, &set.base, &wishes, &options).unwrap()
    };
    let Built { index, calibration, choice } = chosen(0.95, None);
    let choice = choice.unwrap();
    assert_eq!(index.info().spec, choice.spec);
    assert!(choice.reason.starts_with(&choice.spec.to_string()), "{}", choice.reason);
    assert_recall(&set, &*index, &SearchParams::new(10).with_effort(calibration.effort), 0.94);
    if choice.pilot_rows > 0 {
        assert_eq!(choice.candidates.iter().filter(|c| c.verdict == Verdict::Chosen).count(), 1);
        let most = choice.candidates.iter().map(|c| c.bytes).max().unwrap();
        let least = choice.candidates.iter().map(|c| c.bytes).min().unwrap();
        let tight = chosen(0.95, Some((most + least) / 2)).choice.unwrap();
        let fits = tight.candidates.iter().find(|c| c.verdict == Verdict::Chosen).unwrap();
        assert!(fits.bytes <= (most + least) / 2, "{tight:?}");
    }
}

/// The workspace's neighbour folder with the full data sets.
fn full_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vectors");
    if folder.is_dir() {
        return Some(folder);
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "CI must run the full recall test, but {} does not exist", folder.display());
    None
}

/// Values of a version 1 `.npy` file.
fn npy_values(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    bytes[10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))..].to_vec()
}

#[test]
fn full_sets_reach_their_recall() {
    let Some(folder) = full_data() else { return };
    let text = Set {
        name: "text43k",
        metric: Metric::InnerProduct,
        base: RowChunks::from_vec(halves_as_f32(&npy_values(&folder.join("text43k/base.f16.npy"))), 384)
            .unwrap(),
        queries: halves_as_f32(&npy_values(&folder.join("text43k/queries.f16.npy"))),
    };
    let sift = Set {
        name: "sift200k",
        metric: Metric::L2,
        base: RowChunks::from_vec(bytes_as_f32(&npy_values(&folder.join("sift200k/base.u8.npy"))), 128)
            .unwrap(),
        queries: bytes_as_f32(&npy_values(&folder.join("sift200k/queries.u8.npy"))),
    };
    assert_recall(&text, &*built(&text, "IVF207,Flat", text.metric, None), &nprobe(52), 0.95);
    assert_recall(&text, &*built(&text, "HNSW16", text.metric, None), &ef(100), 0.95);
    assert_recall(&sift, &*built(&sift, "IVF447,Flat", sift.metric, None), &nprobe(45), 0.98);
    // A graph over all of it would take half of the time of the whole check.
    let part = RowChunks::from_vec(sift.base.run(0, 50_000).as_slice().to_vec(), 128).unwrap();
    let part = Set { name: "sift50k", base: part, ..sift };
    assert_recall(&part, &*built(&part, "HNSW16", part.metric, None), &ef(100), 0.98);
}
