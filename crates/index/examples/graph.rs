//! Recall and speed of an index on one of the data folders of the tests, one query at a time on one thread:
//! `cargo run --release -p bilin-index --example graph -- FOLDER l2|ip SPEC [ROWS [FILE]]`.
//!
//! A folder holds `base.*.npy` and `queries.*.npy` (u1 or f2, version 1). Prints CPU seconds of the build, bytes per vector
//! (raw rows counted) and, per effort, recall@10 and queries per CPU second. An index is kept in FILE and opened from there
//! the next time, so that two versions can be compared in turns.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a measurement: whatever fails ends it

use bilin_index::{
    BuildOptions, Effort, Hits, Metric, RowChunks, Rows, SearchParams, VectorIndex, build, exact, open,
};
use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, metric, spec, rest @ ..] = &arguments[..] else {
        println!("usage: graph FOLDER l2|ip SPEC [ROWS [FILE]]");
        return;
    };
    let metric = if metric == "l2" { Metric::L2 } else { Metric::InnerProduct };
    let (mut data, dim) = matrix(Path::new(folder), "base");
    let (queries, _) = matrix(Path::new(folder), "queries");
    if let Some(rows) = rest.first() {
        data.truncate(rows.parse::<usize>().unwrap() * dim);
    }
    let rows = RowChunks::from_vec(data, dim).unwrap();
    let queries = Rows::new(&queries, dim).unwrap();
    let truth = exact(&rows, 0..rows.len(), metric, queries, 10, None).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
    let file = rest.get(1).map(Path::new);
    let index = pool.install(|| match file.filter(|path| path.is_file()) {
        Some(path) => opened(path, &rows),
        None => built(spec, metric, &rows, file),
    });
    let bytes = index.info().bytes as f64 / rows.len() as f64 + dim as f64 * 4.0;
    println!("{spec}: {bytes:.1} bytes per vector with its raw row");
    for ef in EFFORTS {
        let (found, speed) = pool.install(|| measured(&*index, queries, ef));
        println!("ef {ef:4}: recall@10 {:.4}, {speed:.0} queries per CPU second", recall(&truth, &found));
    }
}

const EFFORTS: [usize; 12] = [16, 24, 32, 40, 48, 64, 80, 96, 112, 128, 192, 256];

fn opened(path: &Path, rows: &RowChunks) -> Box<dyn VectorIndex> {
    let bytes = std::fs::read(path).unwrap();
    let start = cpu_s();
    let index = open(std::sync::Arc::new(bytes), rows).unwrap();
    println!("opened in {:.1} CPU-ms", (cpu_s() - start) * 1e3);
    index
}

fn built(spec: &str, metric: Metric, rows: &RowChunks, file: Option<&Path>) -> Box<dyn VectorIndex> {
    let start = cpu_s();
    let options = BuildOptions { seed: 1, ..BuildOptions::default() };
    let index = build(&spec.parse().unwrap(), metric, rows, &options).unwrap();
    println!("built in {:.2} CPU-s", cpu_s() - start);
    if let Some(path) = file {
        index.write_to(&mut std::fs::File::create(path).unwrap()).unwrap();
    }
    index
}

/// Answers, and queries per CPU second: the best of rounds that are long enough for the clock.
fn measured(index: &dyn VectorIndex, queries: Rows<'_>, ef: usize) -> (Vec<Hits>, f64) {
    let params = SearchParams::new(10).with_effort(Effort::Ef(ef));
    let all = || -> Vec<Hits> {
        let one = |i| {
            let query = Rows::new(queries.row(i), queries.dim()).unwrap();
            index.search(query, &params).unwrap().remove(0)
        };
        (0..queries.len()).map(one).collect()
    };
    let found = all();
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let (start, mut rounds) = (cpu_s(), 0);
        while cpu_s() - start < 0.15 {
            all();
            rounds += 1;
        }
        best = best.max((rounds * queries.len()) as f64 / (cpu_s() - start));
    }
    (found, best)
}

/// Share of the true ten found; a row at the distance of the tenth counts.
fn recall(truth: &[Hits], found: &[Hits]) -> f64 {
    let within = |truth: &Hits, found: &Hits| {
        let last = truth.last().map_or(f32::INFINITY, |hit| hit.distance);
        found.iter().filter(|hit| hit.distance <= last + last.abs() * 1e-5).count()
    };
    let right: usize = truth.iter().zip(found).map(|(truth, found)| within(truth, found)).sum();
    right as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

/// CPU seconds of this thread (Linux).
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn matrix(folder: &Path, name: &str) -> (Vec<f32>, usize) {
    let (path, half) = [("u8", false), ("f16", true)]
        .map(|(kind, half)| (folder.join(format!("{name}.{kind}.npy")), half))
        .into_iter()
        .find(|(path, _)| path.is_file())
        .unwrap();
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let values_at = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..values_at]).into_owned();
    let shape = header.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let dim = shape.split(',').nth(1).unwrap().trim().parse().unwrap();
    let values = &bytes[values_at..];
    let data = if half {
        values.as_chunks::<2>().0.iter().map(|&half| half::f16::from_le_bytes(half).to_f32()).collect()
    } else {
        values.iter().map(|&byte| f32::from(byte)).collect()
    };
    (data, dim)
}
