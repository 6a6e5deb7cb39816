//! `bilin reencode`: a collection under another model, switched in one step.

use super::{Context, Exit, Failure};
use crate::printer::{Bar, Printer};
use bilin_engine::{ReencodeOptions, ReencodeStage, ReencodeStatus};
use clap::Args;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// All texts, or the files of all pictures, are encoded anew beside the collection, which takes the other model's vectors in one
/// step at the end; whatever happens before, it stays as it is. Backups made before bring the old model back. A running
/// server does this while it serves: POST /v1/collections/COLLECTION/reencode.
#[derive(Debug, Args)]
pub(super) struct Reencode {
    /// Collection to move
    collection: String,
    /// Model id, or a model's folder or file (bilin model list shows the built-in ones)
    #[arg(long, value_name = "ID|DIR")]
    model: String,
    /// Leave out documents that cannot be encoded anew, such as pictures whose file is gone or changed
    #[arg(long)]
    drop_missing: bool,
    /// Also when the collection has this very model
    #[arg(long)]
    force: bool,
}

/// The line of `--json`.
#[derive(Serialize)]
struct Record<'a> {
    collection: &'a str,
    from: &'a str,
    model: &'a str,
    dim: usize,
    documents: usize,
    items: usize,
    items_encoded: usize,
    items_truncated: usize,
    missing: usize,
    missing_named: &'a [String],
    items_per_s: f64,
    writers_waited_ms: u64,
    seq: u64,
    elapsed_ms: u64,
}

pub(super) fn run(args: &Reencode, context: &Context) -> Result<Exit, Failure> {
    let engine = context.open_existing()?;
    let printer = &context.printer;
    let options =
        ReencodeOptions { model: args.model.clone(), drop_missing: args.drop_missing, force: args.force };
    let started = Instant::now();
    let drawing = Drawing::new(printer);
    let done = engine.reencode(&args.collection, &options, &|status| drawing.draw(status));
    drop(drawing);
    let status = done?;
    let now = engine.collection(&args.collection)?;
    for named in &status.missing_named {
        printer.warning(format_args!("left out {named}"));
    }
    let record = Record {
        collection: &args.collection,
        from: &status.from,
        model: &status.model,
        dim: now.settings.dim,
        documents: now.status.documents,
        items: now.status.items,
        items_encoded: status.items_done,
        items_truncated: status.items_truncated,
        missing: status.missing,
        missing_named: &status.missing_named,
        items_per_s: status.items_per_s,
        writers_waited_ms: status.writers_waited_ms.unwrap_or(0),
        seq: now.status.seq,
        elapsed_ms: started.elapsed().as_millis() as u64,
    };
    if printer.is_json() {
        printer.record("reencoded", &record)?;
    } else {
        printer.line(format_args!(
            "{}: {} items of {} documents are of model {} now ({} dimensions, before: {}), {} documents left out, in {:.1} s",
            record.collection,
            record.items,
            record.documents,
            record.model,
            record.dim,
            record.from,
            record.missing,
            started.elapsed().as_secs_f64()
        ))?;
        printer.note(
            "backups made before hold the vectors of the model before, and restoring one brings it back",
        );
    }
    if status.items_truncated > 0 {
        printer.warning(format_args!(
            "{} of the items are longer than the model reads; only their beginning is searchable",
            status.items_truncated
        ));
    }
    Ok(Exit::Success)
}

/// Draws a job; the first Ctrl-C stops it, and the collection stays as it was.
struct Drawing<'a> {
    printer: &'a Printer,
    interrupted: Arc<AtomicBool>,
    /// The stage, what its bar is of, and the bar.
    bar: Mutex<Option<(ReencodeStage, Option<u64>, Bar)>>,
}

impl<'a> Drawing<'a> {
    fn new(printer: &'a Printer) -> Drawing<'a> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // Without the handlers the process ends at once, which leaves the collection as it was, too.
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone());
            let _ = signal_hook::flag::register(signal, interrupted.clone());
        }
        Drawing { printer, interrupted, bar: Mutex::new(None) }
    }

    /// Whether to go on.
    fn draw(&self, status: &ReencodeStatus) -> bool {
        let (done, total, unit) = match (status.stage, status.indexed) {
            (ReencodeStage::Encoding, _) => (status.items_done, Some(status.items_total as u64), "items"),
            (_, Some((done, total))) => (done, Some(total as u64), "rows"),
            _ => (0, None, ""),
        };
        let mut held = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = held.as_ref().is_some_and(|(stage, of, _)| (*stage, *of) == (status.stage, total));
        if !fits {
            // The one before goes away first.
            *held = None;
            *held = Some((status.stage, total, self.printer.bar(status.stage.name(), total)));
        }
        if let Some((_, _, bar)) = &*held {
            bar.at(done as u64);
            bar.beside(unit);
        }
        !self.interrupted.load(Ordering::Relaxed)
    }
}
