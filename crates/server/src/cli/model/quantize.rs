//! `bilin model quantize`: a model at a path written anew with its weights in fewer bits, and compared with what it was.

use super::{Context, Exit, Failure};
use bilin_engine::{MIN_COSINE, Precision};
use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use serde::Serialize;
use std::cell::Cell;
use std::path::PathBuf;

/// How weights can be kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum To {
    /// Half the size, vectors that nobody can tell apart
    F16,
    /// A quarter of the size, 8 bits and a scale for every 32 numbers
    Int8,
    /// An eighth of the size, 4 bits and a scale for every 32 numbers; measure what it does to your searches
    #[value(name = "q4_0")]
    Q4_0,
}

/// The new model opens like any other; its vectors are not comparable with those of the old one by revision, so it needs
/// collections of its own.
#[derive(Debug, Args)]
pub(in crate::cli) struct Quantize {
    /// Folder of a text model, file of a picture model, or the name of one that was pulled
    #[arg(value_name = "SRC")]
    source: String,
    /// Where the new one is to be; nothing may be there
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    /// How its weights are kept
    #[arg(long, value_enum)]
    to: To,
}

#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    revision: &'a str,
    precision: String,
    weights_bytes_before: u64,
    weights_bytes: u64,
    compared: usize,
    smallest_cosine: f32,
    largest_difference: f32,
}

pub(super) fn run(args: &Quantize, context: &Context) -> Result<Exit, Failure> {
    let printer = &context.printer;
    let precision = match args.to {
        To::F16 => Precision::F16,
        To::Int8 => Precision::Int8,
        To::Q4_0 => Precision::Q4_0,
    };
    let quantized = {
        let bar = printer.bar("writing", None);
        bar.beside("bytes");
        let written = Cell::new(0);
        let done = |bytes: u64| {
            written.set(written.get() + bytes);
            bar.at(written.get());
        };
        bilin_engine::quantize_model(&context.model_id(&args.source), &args.destination, precision, &done)?
    };
    let parity = &quantized.parity;
    if parity.smallest_cosine < MIN_COSINE {
        printer.warning(format_args!(
            "its vectors are not those it had: the smallest cosine is {:.4} of {} samples; measure your searches before you use it",
            parity.smallest_cosine, parity.compared
        ));
    }
    if printer.is_json() {
        let record = Record {
            id: &quantized.id,
            revision: &quantized.revision,
            precision: precision.to_string(),
            weights_bytes_before: quantized.bytes_before,
            weights_bytes: quantized.bytes_after,
            compared: parity.compared,
            smallest_cosine: parity.smallest_cosine,
            largest_difference: parity.largest_difference,
        };
        printer.record("quantized", &record)?;
        return Ok(Exit::Success);
    }
    printer.line(format_args!("{}", quantized.id))?;
    printer.note(format_args!(
        "{precision}, weights of {} where there were {}; smallest cosine {:.6}, largest difference {:.1e}, of {} samples",
        HumanBytes(quantized.bytes_after),
        HumanBytes(quantized.bytes_before),
        parity.smallest_cosine,
        parity.largest_difference,
        parity.compared
    ));
    Ok(Exit::Success)
}
