//! Benchmarks of small folders written by the test.

use super::*;
use crate::npy;
use bilin_index::Wishes;
use std::path::Path;
use std::sync::Mutex;

fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn write(path: &Path, rows: usize, dim: usize, values: &[f32]) {
    let mut bytes = npy::header_f32(rows, dim);
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

fn write_neighbours(path: &Path, rows: usize, dim: usize, ids: impl Iterator<Item = i32>) {
    let header = String::from_utf8_lossy(&npy::header_f32(rows, dim)[6..]).replace("<f4", "<i4");
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(ids.flat_map(i32::to_le_bytes));
    std::fs::write(path, bytes).unwrap();
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("base.f32.npy"), 3000, 8, &values(1, 3000 * 8));
    write(&folder.path().join("queries.f32.npy"), 50, 8, &values(2, 50 * 8));
    folder
}

fn all(options: &BenchOptions) -> Result<Vec<Measurement>, Error> {
    let mut found = Vec::new();
    run(options, &|_| true, &mut |measurement| found.push(measurement))?;
    Ok(found)
}

#[test]
fn measures_every_kind_of_index_through_high_recall() {
    let folder = folder();
    let specs = ["Flat", "IVF40,Flat", "HNSW8"].map(|spec| spec.parse().unwrap()).to_vec();
    for (metric, batch) in [(Metric::L2, 1), (Metric::InnerProduct, 7), (Metric::Cosine, 50)] {
        let options = BenchOptions { metric, batch, ..BenchOptions::new(folder.path(), specs.clone()) };
        let lines = all(&options).unwrap();
        let flat: Vec<_> = lines.iter().filter(|line| line.index == "Flat").collect();
        assert_eq!((flat.len(), flat[0].recall_at_10, flat[0].bytes_per_vector), (1, 1.0, 32.0));
        for index in ["IVF40,Flat", "HNSW8"] {
            let curve: Vec<_> = lines.iter().filter(|line| line.index == index).collect();
            assert!(curve.len() > 2, "{curve:?}");
            assert!(curve.last().unwrap().recall_at_10 >= 0.99, "{curve:?}");
            assert!(curve[0].recall_at_10 < curve.last().unwrap().recall_at_10, "{curve:?}");
            assert!(
                curve
                    .iter()
                    .all(|line| line.qps > 0.0 && line.p99_us >= line.p50_us && line.bytes_per_vector > 32.0)
            );
        }
        let json = serde_json::to_value(&lines[1]).unwrap();
        assert_eq!(json["params"], serde_json::json!({"nprobe": 1}));
        assert!(json["build_cpu_s"].is_number() && json["cpu_qps"].is_number());
    }
}

#[test]
fn auto_is_measured_once_with_its_own_effort() {
    let folder = folder();
    let wishes = Wishes { target_recall: 0.9, memory_bytes: None };
    let options = BenchOptions { wishes, ..BenchOptions::new(folder.path(), vec![IndexSpec::AUTO]) };
    let lines = all(&options).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].index.as_str(), lines[0].target_recall), ("Flat", Some(0.9)), "3 000 rows are few");
    assert!(lines[0].reason.as_ref().unwrap().contains("exactly"), "{lines:?}");
    let wishes = Wishes { target_recall: 1.5, memory_bytes: None };
    let error = all(&BenchOptions { wishes, ..options }).unwrap_err();
    assert!(error.message.contains("target_recall is 1.5"), "{}", error.message);
}

#[test]
fn the_files_own_neighbours_are_used_and_checked() {
    let folder = folder();
    let path = folder.path().join("neighbors.npy");
    let options = BenchOptions::new(folder.path(), vec![IndexSpec::FLAT]);
    // Row 0 as every neighbour of every query: nearly every row found is nearer, so all counts as right.
    write_neighbours(&path, 50, 10, (0..500).map(|i| i % 10));
    assert!(all(&options).unwrap()[0].recall_at_10 > 0.99);
    write_neighbours(&path, 50, 10, (0..500).map(|i| if i == 77 { 3000 } else { 0 }));
    assert!(all(&options).unwrap_err().message.contains("outside 0..3000"));
    write_neighbours(&path, 50, 9, (0..450).map(|_| 0));
    assert!(all(&options).unwrap_err().message.contains("expected [50, at least 10]"));
}

#[test]
fn bad_options_and_folders_are_named() {
    let folder = folder();
    let options = BenchOptions::new(folder.path(), vec![IndexSpec::FLAT]);
    let error = |options: &BenchOptions| all(options).unwrap_err();
    assert_eq!(error(&BenchOptions { k: 0, ..options.clone() }).kind, ErrorKind::InvalidInput);
    assert_eq!(error(&BenchOptions { specs: vec![], ..options.clone() }).kind, ErrorKind::InvalidInput);
    let missing = BenchOptions { vectors: folder.path().join("none"), ..options.clone() };
    assert_eq!(error(&missing).kind, ErrorKind::NotFound);
    let lists = BenchOptions { specs: vec!["IVF3001,Flat".parse().unwrap()], ..options.clone() };
    assert!(error(&lists).message.contains("at least 3001"), "{}", error(&lists).message);
    write(&folder.path().join("queries.more.npy"), 1, 8, &[0.0; 8]);
    assert!(error(&options).message.contains("2 files \"queries.*.npy\""));
    std::fs::remove_file(folder.path().join("queries.more.npy")).unwrap();
    write(&folder.path().join("queries.f32.npy"), 2, 4, &[0.0; 8]);
    assert!(error(&options).message.contains("dimension 8"));
    write(&folder.path().join("queries.f32.npy"), 1, 8, &[f32::NAN; 8]);
    assert!(error(&options).message.contains("NaN"));
    let events = Mutex::new(0);
    let stop = run(
        &options,
        &|_| {
            *events.lock().unwrap() += 1;
            false
        },
        &mut |_| {},
    )
    .unwrap_err();
    assert_eq!((stop.kind, *events.lock().unwrap()), (ErrorKind::Cancelled, 1));
}
