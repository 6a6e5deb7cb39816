//! Milliseconds of exact search over a folder of vectors, by Flat (compressed rows with bounds) and by the plain scan:
//! `cargo run --release -p bilin-index --example exact -- FOLDER l2|ip|cosine [THREADS]`. The folder holds `base.*.npy` and
//! `queries.*.npy`. CPU time of the calling thread on one thread, wall time on more; answers are compared bit for bit.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use bilin_index::{BuildOptions, Hits, IndexSpec, Metric, RowChunks, Rows, SearchParams, build, exact, open};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const K: usize = 10;
/// Queries per call, and calls.
const BATCHES: [(usize, usize); 3] = [(1, 400), (32, 20), (1000, 2)];

fn npy(path: &Path) -> (Vec<u8>, usize) {
    let bytes = std::fs::read(path).unwrap();
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let head = String::from_utf8_lossy(&bytes[10..end]).into_owned();
    let shape = head.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    (bytes[end..].to_vec(), shape.split(',').nth(1).unwrap().trim().parse().unwrap())
}

fn values(folder: &Path, name: &str) -> (Vec<f32>, usize) {
    let u8s = folder.join(format!("{name}.u8.npy"));
    if u8s.exists() {
        let (bytes, dim) = npy(&u8s);
        return (bytes.into_iter().map(f32::from).collect(), dim);
    }
    let (bytes, dim) = npy(&folder.join(format!("{name}.f16.npy")));
    (bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(), dim)
}

/// Seconds of this thread, or of the clock when others work for it.
fn seconds(threads: usize, start: Instant) -> f64 {
    if threads > 1 {
        return start.elapsed().as_secs_f64();
    }
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let metric: Metric = arguments.next().unwrap().parse().unwrap();
    let threads = arguments.next().map_or(1, |threads| threads.parse().unwrap());
    let (base, dim) = values(&folder, "base");
    let (queries, _) = values(&folder, "queries");
    let rows = RowChunks::from_vec(base, dim).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| measure(metric, threads, &rows, &queries));
}

fn measure(metric: Metric, threads: usize, rows: &RowChunks, queries: &[f32]) {
    let clock = Instant::now();
    let start = seconds(threads, clock);
    let index = build(&IndexSpec::FLAT, metric, rows, &BuildOptions::default()).unwrap();
    let built = seconds(threads, clock) - start;
    let mut file = Vec::new();
    index.write_to(&mut file).unwrap();
    let (file, start) = (Arc::new(file), seconds(threads, clock));
    let index = open(file, rows).unwrap();
    let opened = seconds(threads, clock) - start;
    println!(
        "built in {:.0} ms, opened in {:.1} ms, {} bytes per row besides the rows",
        built * 1e3,
        opened * 1e3,
        index.info().bytes / rows.len()
    );
    let by_flat = |queries: Rows<'_>| index.search(queries, &SearchParams::new(K)).unwrap();
    let by_scan = |queries: Rows<'_>| exact(rows, 0..rows.len(), metric, queries, K, None).unwrap();
    for (batch, calls) in BATCHES {
        let flat = run(queries, rows.dim(), batch, calls, threads, &by_flat);
        let plain = run(queries, rows.dim(), batch, (calls / 4).max(1), threads, &by_scan);
        println!("batch {batch}: {:.3} ms, plain scan {:.3} ms", flat * 1e3, plain * 1e3);
    }
    let some = Rows::new(&queries[..queries.len().min(200 * rows.dim())], rows.dim()).unwrap();
    assert_eq!(by_flat(some), by_scan(some), "the same bits");
}

/// Seconds per call, the mean of all.
fn run(
    queries: &[f32],
    dim: usize,
    batch: usize,
    calls: usize,
    threads: usize,
    search: &dyn Fn(Rows<'_>) -> Vec<Hits>,
) -> f64 {
    let clock = Instant::now();
    let start = seconds(threads, clock);
    for call in 0..calls {
        let at = call * batch * dim % (queries.len() - batch * dim + 1) / dim * dim;
        std::hint::black_box(search(Rows::new(&queries[at..at + batch * dim], dim).unwrap()));
    }
    (seconds(threads, clock) - start) / calls as f64
}
