//! Items per second that an encoder reaches when nothing else is done: what `./bench add` holds `bilin add` against.
//!
//! `cargo run --release -p bilin-engine --example encoder_alone -- texts FILE` (one text per line) or `-- pictures FOLDER`; one JSON
//! line on stdout. One thread per CPU. The time counts opening the model, and of pictures reading and decoding their files, as
//! nobody can encode without; there are no thumbnails, hashes, ids and commits. Batches are those of `bilin add`.
#![allow(clippy::print_stdout)]
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bilin_encode::{DEFAULT_IMAGE_MODEL, DEFAULT_TEXT_MODEL, Encoder, Input, Picture, PictureLimits, Prompt};
use rayon::prelude::*;
use serde_json::json;

/// Inputs of a batch for each thread.
const PER_THREAD: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, path] = arguments.as_slice() else { return Err("texts FILE | pictures FOLDER".into()) };
    let (items, sum, seconds) = match what.as_str() {
        "texts" => texts(Path::new(path))?,
        "pictures" => pictures(Path::new(path))?,
        other => return Err(format!("expected texts or pictures, received {other:?}").into()),
    };
    // The sum is printed so that no vector can be left out as unused.
    println!(
        "{}",
        json!({"items": items, "seconds": seconds, "items_per_s": items as f64 / seconds, "sum": sum})
    );
    Ok(())
}

type Measured = Result<(usize, f64, f64), Box<dyn Error>>;

fn batch() -> usize {
    PER_THREAD * rayon::current_num_threads()
}

fn texts(file: &Path) -> Measured {
    let text = fs::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().collect();
    let started = Instant::now();
    let encoder = bilin_encode::open(DEFAULT_TEXT_MODEL)?;
    let mut sum = 0.0;
    for batch in lines.chunks(batch()) {
        let inputs: Vec<Input<'_>> =
            batch.iter().map(|text| Input::Text { text, prompt: Prompt::Document }).collect();
        sum += encoded(&*encoder, &inputs)?;
    }
    Ok((lines.len(), sum, started.elapsed().as_secs_f64()))
}

fn pictures(folder: &Path) -> Measured {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let started = Instant::now();
    let encoder = bilin_encode::open(DEFAULT_IMAGE_MODEL)?;
    let mut sum = 0.0;
    for batch in files.chunks(batch()) {
        // Decoded together, then encoded together.
        let decoded: Vec<Result<Picture, String>> = batch.par_iter().map(|file| decode(file)).collect();
        let decoded = decoded.into_iter().collect::<Result<Vec<_>, _>>()?;
        let inputs: Vec<Input<'_>> = decoded.iter().map(Input::Picture).collect();
        sum += encoded(&*encoder, &inputs)?;
    }
    Ok((files.len(), sum, started.elapsed().as_secs_f64()))
}

fn decode(file: &Path) -> Result<Picture, String> {
    let bytes = fs::read(file).map_err(|error| format!("{file:?}: {error}"))?;
    Picture::decode(&bytes, &PictureLimits::default()).map_err(|error| format!("{file:?}: {error}"))
}

fn encoded(encoder: &dyn Encoder, inputs: &[Input<'_>]) -> Result<f64, Box<dyn Error>> {
    Ok(encoder.encode(inputs)?.vectors.iter().map(|number| f64::from(*number)).sum())
}
