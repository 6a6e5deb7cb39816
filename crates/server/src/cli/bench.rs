//! `bilin bench`: indexes over a folder of vectors, recall against queries per second, one JSON line per setting.

use super::values::{self, BenchMetric};
use super::{Context, Exit, Failure};
use crate::printer::{Bar, Printer};
use bilin_engine::bench::{BenchEvent, BenchOptions, MAX_THREADS, Measurement, run as measure};
use bilin_engine::{IndexSpec, Wishes};
use clap::Args;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Needs no data folder. Prints JSON Lines with or without --json.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Folder with base.*.npy, queries.*.npy (u8, f16 or f32) and neighbors.npy
    #[arg(long, value_name = "DIR")]
    vectors: PathBuf,
    /// Index to build and measure; may be repeated
    #[arg(long = "index", value_name = "SPEC", required = true, value_parser = values::index_spec)]
    specs: Vec<IndexSpec>,
    /// How distance is measured
    #[arg(long, value_enum, default_value_t)]
    metric: BenchMetric,
    /// Neighbours asked for
    #[arg(short = 'k', long, default_value_t = 10, value_name = "K", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..=values::MAX_K))]
    k: u64,
    /// Threads for building and searching
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=MAX_THREADS as u64))]
    threads: u64,
    /// recall@10 that an auto index is calibrated to
    #[arg(long, value_name = "R", default_value = "0.95", value_parser = values::recall)]
    target_recall: f32,
    /// Most memory that an auto index may need, such as 2GiB
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    memory: Option<u64>,
    /// Queries per call
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
}

pub(super) fn run(args: &Bench, context: &Context) -> Result<Exit, Failure> {
    let printer = &context.printer;
    let options = BenchOptions {
        metric: args.metric.into(),
        k: args.k as usize,
        threads: args.threads as usize,
        batch: args.batch as usize,
        wishes: Wishes { target_recall: args.target_recall, memory_bytes: args.memory },
        ..BenchOptions::new(&args.vectors, args.specs.clone())
    };
    let drawing = Mutex::new(Drawing::default());
    let refused: Mutex<Option<Failure>> = Mutex::new(None);
    let progress = |event: &BenchEvent| {
        drawing.lock().unwrap_or_else(PoisonError::into_inner).draw(event, printer);
        refused.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    };
    let mut each = |measurement: Measurement| {
        if let Err(failure) = printer.record("bench", &measurement) {
            *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
    };
    let result = measure(&options, &progress, &mut each);
    drop(drawing);
    // A reader that went away stops the measuring; that is told as such and not as a cancelled benchmark.
    if let Some(failure) = refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    result?;
    Ok(Exit::Success)
}

/// One bar at a time: reading, exact neighbours, building, measuring.
#[derive(Default)]
struct Drawing {
    stage: Option<BenchEvent>,
    bar: Option<Bar>,
}

impl Drawing {
    fn draw(&mut self, event: &BenchEvent, printer: &Printer) {
        let stage = match event {
            BenchEvent::Building { index, total, .. } => {
                BenchEvent::Building { index: index.clone(), done: 0, total: *total }
            }
            other => other.clone(),
        };
        if self.stage.as_ref() != Some(&stage) {
            self.bar = None;
            let bar = match &stage {
                BenchEvent::Reading => printer.bar("reading", None),
                BenchEvent::Truth { queries } => {
                    let bar = printer.bar("truth", None);
                    bar.beside(format!("{queries} queries"));
                    bar
                }
                BenchEvent::Building { index, total, .. } => {
                    let bar = printer.bar("building", Some(*total as u64));
                    bar.beside(index.clone());
                    bar
                }
                BenchEvent::Searching { index, setting } => {
                    let bar = printer.bar("measuring", None);
                    bar.beside(setting.map_or_else(|| index.clone(), |setting| format!("{index} {setting}")));
                    bar
                }
            };
            self.bar = Some(bar);
            self.stage = Some(stage);
        }
        if let (BenchEvent::Building { done, .. }, Some(bar)) = (event, &self.bar) {
            bar.at(*done as u64);
        }
    }
}
