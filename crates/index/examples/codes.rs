//! Recall and queries per CPU second of indexes over a folder of vectors, one query at a time on one thread:
//! `cargo run --release -p bilin-index --example codes -- FOLDER l2|ip SPEC...`. The folder holds `base.*.npy`, `queries.*.npy` and
//! `neighbors.npy`. One line per setting: index, nprobe, recall@10, queries per second, microseconds each.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use bilin_index::{BuildOptions, Metric, RowChunks, Rows, SearchParams, VectorIndex, build};
use std::path::{Path, PathBuf};
use std::time::Instant;

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

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let metric: Metric = arguments.next().unwrap().parse().unwrap();
    let (base, dim) = values(&folder, "base");
    let (queries, _) = values(&folder, "queries");
    let (truth, per_query) = npy(&folder.join("neighbors.npy"));
    let truth: Vec<u32> =
        truth.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let rows = RowChunks::from_vec(base, dim).unwrap();
    let count = queries.len() / dim;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for spec in arguments {
        pool.install(|| measure(&spec, metric, &rows, &queries[..count * dim], &truth, per_query));
    }
}

fn measure(spec: &str, metric: Metric, rows: &RowChunks, queries: &[f32], truth: &[u32], per_query: usize) {
    let (spec, refine) = spec.split_once('@').unwrap_or((spec, ""));
    let refine: Option<usize> = refine.parse().ok();
    let dim = rows.dim();
    let (start, wall) = (cpu_seconds(), Instant::now());
    let index =
        build(&spec.parse().unwrap(), metric, rows, &BuildOptions { seed: 1, ..BuildOptions::default() })
            .unwrap();
    let (built, wall) = (cpu_seconds() - start, wall.elapsed().as_secs_f64());
    let info = index.info();
    println!(
        "{spec} built in {built:.2} CPU-s ({wall:.2} s), {} bytes per row besides the rows",
        info.bytes / info.rows
    );
    let nlist = match info.spec.structure {
        bilin_index::Structure::Ivf { nlist } => nlist,
        _ => 1,
    };
    let mut nprobe = if nlist == 1 { 1 } else { 4 };
    while nprobe <= nlist.min(160) {
        let params = SearchParams { nprobe: Some(nprobe), refine, ..SearchParams::new(10) };
        let (recall, qps) = run(&*index, queries, dim, &params, truth, per_query);
        println!("{spec} nprobe {nprobe} recall {recall:.4} qps {qps:.0} us {:.1}", 1e6 / qps);
        nprobe = (nprobe * 5).div_ceil(4);
        if recall > 0.997 {
            break;
        }
    }
}

fn run(
    index: &dyn VectorIndex,
    queries: &[f32],
    dim: usize,
    params: &SearchParams<'_>,
    truth: &[u32],
    per_query: usize,
) -> (f64, f64) {
    let mut right = 0;
    let mut best = f64::INFINITY;
    for round in 0..2 {
        let start = cpu_seconds();
        for (i, query) in queries.chunks_exact(dim).enumerate() {
            let hits = index.search(Rows::new(query, dim).unwrap(), params).unwrap();
            if round == 0 {
                let truth = &truth[i * per_query..i * per_query + 10];
                right += hits[0].iter().filter(|hit| truth.contains(&hit.row)).count();
            }
        }
        best = best.min(cpu_seconds() - start);
    }
    let count = queries.len() / dim;
    (right as f64 / (10 * count) as f64, count as f64 / best)
}
