//! Answers from FAISS files and FAISS files from our indexes, for comparison with FAISS itself.
//!
//! ```text
//! faiss_bridge open  FILE QUERIES K                          our answers from a FAISS file
//! faiss_bridge build SPEC METRIC DIM ROWS QUERIES K OUT      our answers from an index of ours, and that index as a FAISS file
//! ```
//! `ROWS` and `QUERIES` are raw little-endian f32, row-major. On standard output come ids, i64 `[queries, k]`, then scores,
//! f32 `[queries, k]` (squared L2, inner product); places without an answer hold -1 and 0.

use bilin_index::{BuildOptions, IdMap, Metric, RowChunks, Rows, SearchParams, build, faiss};
use std::error::Error;
use std::io::Write;

/// Memory for decoded vectors.
const MAX_BYTES: u64 = 4 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["open", file, queries, k] => {
            let bytes = std::fs::read(file)?;
            let opened = faiss::open(&faiss::read(&bytes)?, MAX_BYTES)?;
            let params = SearchParams::new(k.parse()?).with_effort(opened.effort);
            answer(&opened.index, &numbers(queries)?, &params)
        }
        ["build", spec, metric, dim, rows, queries, k, out] => {
            let metric: Metric = metric.parse()?;
            let rows = RowChunks::from_vec(numbers(rows)?, dim.parse()?)?;
            let index = build(&spec.parse()?, metric, &rows, &BuildOptions::default())?;
            let mut file = std::io::BufWriter::new(std::fs::File::create(out)?);
            faiss::write(&index.to_faiss()?, &mut file)?;
            drop(file);
            let ids = (0..rows.len() as i64).collect();
            let bytes = std::fs::read(out)?;
            let effort = faiss::open(&faiss::read(&bytes)?, MAX_BYTES)?.effort;
            let params = SearchParams::new(k.parse()?).with_effort(effort);
            answer(&IdMap::with_ids(index, ids)?, &numbers(queries)?, &params)
        }
        _ => Err("usage: faiss_bridge open FILE QUERIES K | build SPEC METRIC DIM ROWS QUERIES K OUT".into()),
    }
}

fn numbers(path: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(bytemuck::pod_collect_to_vec(&std::fs::read(path)?))
}

fn answer(index: &IdMap, queries: &[f32], params: &SearchParams<'_>) -> Result<(), Box<dyn Error>> {
    let info = index.index().info();
    let found = index.search(Rows::new(queries, info.dim)?, params)?;
    let (mut ids, mut scores) = (Vec::new(), Vec::new());
    for hits in &found {
        for at in 0..params.k {
            let (id, distance) = hits.get(at).copied().unwrap_or((-1, 0.0));
            ids.push(id);
            scores.push(info.metric.score(distance));
        }
    }
    let mut out = std::io::stdout().lock();
    out.write_all(bytemuck::cast_slice(&ids))?;
    Ok(out.write_all(bytemuck::cast_slice(&scores))?)
}
