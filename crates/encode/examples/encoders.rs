//! An encoder's speed by the clock: `./bench encoders` runs it beside ONNX Runtime, PyTorch and sentence-transformers.
//!
//! `cargo run --release -p bilin-encode --example encoders -- MODEL INPUTS BATCH THREADS SECONDS`. INPUTS is a text file, one text a
//! line, the first line being the query; or a file `*.rgb` of pictures of 256 x 256 pixels, three bytes each, one behind the other.
//! Two JSON lines on stdout: the first when the first vector is there, the second with the figures. Tokenizing, and turning
//! pixels into the network's input, are timed with the rest.
#![allow(clippy::print_stdout)]
use std::error::Error;
use std::time::Instant;

use bilin_encode::{Encoder, Input, Picture, Prompt};
use serde_json::json;

const SIDE: u32 = 256;

enum Inputs {
    Texts(Vec<String>),
    Pictures(Vec<Picture>),
}

impl Inputs {
    fn read(path: &str) -> Result<Inputs, Box<dyn Error>> {
        if !path.ends_with(".rgb") {
            return Ok(Inputs::Texts(std::fs::read_to_string(path)?.lines().map(str::to_owned).collect()));
        }
        let bytes = std::fs::read(path)?;
        let picture = |rgb: &[u8]| Picture { width: SIDE, height: SIDE, rgb: rgb.to_vec() };
        Ok(Inputs::Pictures(bytes.chunks_exact((SIDE * SIDE * 3) as usize).map(picture).collect()))
    }

    fn all(&self) -> Vec<Input<'_>> {
        match self {
            Inputs::Texts(texts) => {
                texts.iter().map(|text| Input::Text { text, prompt: Prompt::None }).collect()
            }
            Inputs::Pictures(pictures) => pictures.iter().map(Input::Picture).collect(),
        }
    }
}

/// Milliseconds of single calls, sorted.
fn queries(encoder: &dyn Encoder, one: &[Input<'_>], seconds: f64) -> Result<Vec<f64>, Box<dyn Error>> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.len() < 20 || begun.elapsed().as_secs_f64() < seconds {
        let started = Instant::now();
        encoder.encode(one)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Inputs a second, whole passes over all of them.
fn batches(
    encoder: &dyn Encoder,
    all: &[Input<'_>],
    batch: usize,
    seconds: f64,
) -> Result<f64, Box<dyn Error>> {
    let (begun, mut done) = (Instant::now(), 0);
    while done == 0 || begun.elapsed().as_secs_f64() < seconds {
        for batch in all.chunks(batch) {
            encoder.encode(batch)?;
        }
        done += all.len();
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

/// Most memory that this process ever had, MB; `None` where the system does not tell.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, inputs, batch, threads, seconds] = arguments.as_slice() else {
        return Err("MODEL INPUTS BATCH THREADS SECONDS".into());
    };
    let (batch, threads, seconds): (usize, usize, f64) = (batch.parse()?, threads.parse()?, seconds.parse()?);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let inputs = Inputs::read(inputs)?;
    let all = inputs.all();
    let (one, rest) = all.split_at(1);
    let encoder = bilin_encode::open(model)?;
    encoder.encode(one)?;
    println!("{}", json!({ "first": true }));
    let times = queries(&*encoder, one, seconds)?;
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let per_s = batches(&*encoder, rest, batch, seconds)?;
    println!("{}", json!({ "p50_ms": at(0.5), "p95_ms": at(0.95), "per_s": per_s, "peak_mb": peak_mb() }));
    Ok(())
}
