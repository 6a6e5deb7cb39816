//! `bilin model check`: a model's vectors against reference vectors, of the binary or in a file.
//!
//! A file of references has a JSON object on each line: `text` and `prompt` (`query`, `document` or `none`), or `picture` (a path
//! beside the file), and `vector`, of any length but zero. References for the same file can be written from a model that is
//! known to be right. Lines are read and compared in batches, so a file may be of any length.

use super::{Context, Exit, Failure};
use bilin_engine::{Encoder, MIN_COSINE, Modality, Parity, Precision, Reference};
use clap::Args;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Longest line of a file of references.
const MAX_LINE_BYTES: usize = 4 << 20;
/// References encoded together.
const BATCH: usize = 64;
/// Largest difference of any number that is rounding, f32, by how deep networks are.
const MAX_TEXT_DIFFERENCE: f32 = 1e-5;
const MAX_PICTURE_DIFFERENCE: f32 = 1e-4;

/// A built-in model has references by PyTorch in the binary. The bound for a model in f32 is the largest difference of any
/// number (1e-5, of pictures 1e-4), for others the smallest cosine (0.999).
#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// Model id, the folder or file of a model, or the name of one that was pulled
    #[arg(value_name = "ID|DIR")]
    id: String,
    /// Reference vectors, JSON Lines of text, prompt and vector
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    reference: Option<PathBuf>,
    /// Write this model's vectors of sample texts or pictures as references
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Bound of the largest difference of any one number of unit vectors
    #[arg(long, value_name = "NUMBER", value_parser = bound)]
    max_difference: Option<f32>,
    /// Bound of the smallest cosine
    #[arg(long, value_name = "NUMBER", value_parser = bound)]
    min_cosine: Option<f32>,
}

fn bound(text: &str) -> Result<f32, String> {
    text.parse::<f32>()
        .ok()
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or("expected a number from 0 to 1".to_owned())
}

#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    compared: usize,
    largest_difference: f32,
    smallest_cosine: f32,
    worst: usize,
    max_difference: Option<f32>,
    min_cosine: Option<f32>,
    is_within: bool,
}

pub(super) fn run(args: &Check, context: &Context) -> Result<Exit, Failure> {
    let encoder = bilin_engine::open_model(&context.model_id(&args.id))?;
    if let Some(file) = &args.write {
        return write(encoder.as_ref(), file, context);
    }
    let mut compared = Compared { encoder: encoder.as_ref(), parity: Parity::default() };
    match (&args.reference, bilin_engine::model_references(&encoder.card().id)) {
        (Some(file), _) => read(file, &mut compared)?,
        (None, Some(references)) => {
            compared.take(&references, Path::new(""), |at| format!("reference {at}"))?
        }
        (None, None) => {
            return Err(Failure::usage(format!("there are no references for {:?}", args.id))
                .with_hint("name a file of them with --reference, or write one with --write from a model known to be right"));
        }
    }
    let parity = compared.parity;
    let (max_difference, min_cosine) = bounds(args, encoder.as_ref())?;
    let is_within = max_difference.is_none_or(|most| parity.largest_difference <= most)
        && min_cosine.is_none_or(|least| parity.smallest_cosine >= least);
    let record = Record {
        id: &encoder.card().id,
        compared: parity.compared,
        largest_difference: parity.largest_difference,
        smallest_cosine: parity.smallest_cosine,
        worst: parity.worst + 1,
        max_difference,
        min_cosine,
        is_within,
    };
    let figures = format!(
        "{} vectors: largest difference {:.2e}, smallest cosine {:.7}",
        parity.compared, parity.largest_difference, parity.smallest_cosine
    );
    if context.printer.is_json() {
        context.printer.record("checked", &record)?;
    }
    if is_within {
        if !context.printer.is_json() {
            context.printer.line(&figures)?;
        }
        return Ok(Exit::Success);
    }
    let told = |name: &str, bound: Option<f32>| bound.map(|bound| format!("{name} {bound:e}"));
    let bounds: Vec<String> =
        [told("largest difference", max_difference), told("smallest cosine", min_cosine)]
            .into_iter()
            .flatten()
            .collect();
    Err(Failure::mendable(format!(
        "model {:?} is not what its references say: {figures}; the bound is {}; the worst is number {}",
        args.id,
        bounds.join(", "),
        parity.worst + 1
    )))
}

/// Those of the command line; else what the model's precision promises.
fn bounds(args: &Check, encoder: &dyn Encoder) -> Result<(Option<f32>, Option<f32>), Failure> {
    if args.max_difference.is_some() || args.min_cosine.is_some() {
        return Ok((args.max_difference, args.min_cosine));
    }
    let path = Path::new(&encoder.card().id);
    let modality = encoder.card().modality;
    let is_exact = match path.is_absolute() {
        true => {
            bilin_engine::inspect_model(path)?.precision.is_none_or(|precision| precision == Precision::F32)
        }
        // References of built-in models are of the weights as they are stored. Those of texts have 4 bits, beside which
        // activations are rounded; of pictures only rounding of f32 is left.
        false => modality == Modality::Image,
    };
    let most = match modality {
        Modality::Text => MAX_TEXT_DIFFERENCE,
        Modality::Image => MAX_PICTURE_DIFFERENCE,
    };
    Ok(if is_exact { (Some(most), None) } else { (None, Some(MIN_COSINE)) })
}

struct Compared<'a> {
    encoder: &'a dyn Encoder,
    parity: Parity,
}

impl Compared<'_> {
    /// Takes in references; `name` says where the one at a position, from 0, comes from.
    fn take(
        &mut self,
        references: &[Reference],
        folder: &Path,
        name: impl Fn(usize) -> String,
    ) -> Result<(), Failure> {
        let dim = self.encoder.card().dim;
        for (at, reference) in references.iter().enumerate() {
            let (numbers, vector) = (reference.vector.len(), &reference.vector);
            let wrong = match vector.iter().all(|number| number.is_finite()) {
                _ if numbers != dim => format!("its vector has {numbers} numbers, expected {dim}"),
                false => "its vector holds what is no number".to_owned(),
                true if vector.iter().all(|number| *number == 0.0) => "its vector is zero".to_owned(),
                true => continue,
            };
            return Err(Failure::mendable(format!("{}: {wrong}", name(at))));
        }
        let expected: Vec<f32> =
            references.iter().flat_map(|reference| reference.vector.iter().copied()).collect();
        let vectors = bilin_engine::encode_references(self.encoder, references, folder)?.vectors;
        self.parity.compare(&vectors, &expected, dim);
        Ok(())
    }
}

fn cannot<'a>(action: &'a str, file: &'a Path) -> impl FnOnce(std::io::Error) -> Failure + 'a {
    move |error| Failure::mendable(format!("cannot {action} {:?}: {error}", file.display().to_string()))
}

fn read(file: &Path, compared: &mut Compared<'_>) -> Result<(), Failure> {
    let mut lines = BufReader::new(File::open(file).map_err(cannot("read", file))?);
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let (mut batch, mut numbers, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        let most = MAX_LINE_BYTES as u64 + 1;
        let length = lines.by_ref().take(most).read_until(b'\n', &mut line).map_err(cannot("read", file))?;
        number += 1;
        if length > MAX_LINE_BYTES {
            return Err(Failure::mendable(format!("line {number} is longer than {MAX_LINE_BYTES} bytes")));
        }
        if !line.trim_ascii().is_empty() {
            let reference: Reference = serde_json::from_slice(&line).map_err(|error| {
                Failure::mendable(format!(
                    "line {number} of {:?} is no reference: {error}",
                    file.display().to_string()
                ))
                .with_hint(r#"expected {"text": "...", "prompt": "query", "vector": [...]}"#)
            })?;
            batch.push(reference);
            numbers.push(number);
        }
        if batch.len() == BATCH || (length == 0 && !batch.is_empty()) {
            let line = |at: usize| format!("line {}", numbers.get(at).copied().unwrap_or_default());
            compared.take(&batch, &folder, line)?;
            batch.clear();
            numbers.clear();
        }
        if length == 0 {
            break;
        }
    }
    match compared.parity.compared {
        0 => Err(Failure::mendable(format!("{:?} holds no references", file.display().to_string()))),
        _ => Ok(()),
    }
}

/// The vectors of sample texts or pictures as references.
fn write(encoder: &dyn Encoder, file: &Path, context: &Context) -> Result<Exit, Failure> {
    let mut samples = bilin_engine::model_samples(encoder.card().modality);
    let encoded = bilin_engine::encode_references(encoder, &samples, Path::new(""))?;
    let mut out = BufWriter::new(File::create_new(file).map_err(cannot("write", file))?);
    for (sample, vector) in samples.iter_mut().zip(encoded.vectors.chunks_exact(encoded.dim)) {
        sample.vector = vector.to_vec();
        let line = serde_json::to_string(sample).map_err(|error| Failure::internal(error.to_string()))?;
        writeln!(out, "{line}").map_err(cannot("write", file))?;
    }
    out.flush().map_err(cannot("write", file))?;
    context.printer.note(format_args!(
        "wrote {} references to {:?}",
        samples.len(),
        file.display().to_string()
    ));
    Ok(Exit::Success)
}
