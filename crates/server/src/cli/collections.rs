//! `bilin collections`: what there is, how it does, and maintenance of its indexes.

use super::values::kind_word;
use super::{Context, Exit, Failure};
use crate::printer::{BOLD, DIM, Printer};
use bilin_engine::{CollectionInfo, Engine, Kind};
use clap::Args;
use serde::Serialize;

#[derive(Debug, Args)]
pub(super) struct Collections {
    /// Only this one
    name: Option<String>,
    /// Give back the space of what was deleted, and build a new index, where that is due
    #[arg(long)]
    maintain: bool,
    /// Do both in any case
    #[arg(long, requires = "maintain")]
    force: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    kind: &'static str,
    count: usize,
    documents: usize,
    model: Option<&'a str>,
    query_prompt: Option<&'a str>,
    document_prompt: Option<&'a str>,
    long_texts: Option<&'static str>,
    headings: Option<bool>,
    dim: usize,
    metric: String,
    index: String,
    target_recall: f32,
    recall: Option<f32>,
    live_recall: Option<Live>,
    generation: Option<u64>,
    tail: usize,
    disk_bytes: u64,
    seq: u64,
    health: &'a str,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Live {
    recall_at_10: f32,
    low: f32,
    high: f32,
    samples: usize,
}

#[derive(Serialize)]
struct Broken<'a> {
    name: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Maintained<'a> {
    name: &'a str,
    done: &'a str,
}

pub(super) fn run(args: &Collections, context: &Context) -> Result<Exit, Failure> {
    let engine = context.open_existing()?;
    let printer = &context.printer;
    let collections = match &args.name {
        Some(name) => vec![engine.collection(name)?],
        None => engine.collections(),
    };
    if args.maintain {
        for info in &collections {
            maintain(&engine, &info.name, args.force, printer)?;
        }
        return Ok(Exit::Success);
    }
    for info in &collections {
        if printer.is_json() {
            printer.record("collection", &record(info))?;
        } else {
            show(info, printer)?;
        }
    }
    let broken = if args.name.is_none() { engine.health().broken } else { Vec::new() };
    for (name, reason) in &broken {
        if printer.is_json() {
            printer.record("broken", &Broken { name, reason })?;
        }
        printer.warning(format_args!("collection {name:?} cannot be opened: {reason}"));
    }
    if collections.is_empty() && broken.is_empty() {
        printer.note("there are no collections yet: bilin add COLLECTION PATH makes one");
    }
    Ok(if broken.is_empty() { Exit::Success } else { Exit::Mendable })
}

fn maintain(engine: &Engine, name: &str, force: bool, printer: &Printer) -> Result<(), Failure> {
    let done = {
        let _bar = printer.bar("indexing", None);
        engine.maintain(name, force)?
    };
    if printer.is_json() {
        return printer.record("maintained", &Maintained { name, done: &done });
    }
    printer.line(format_args!("{name}: {done}"))
}

fn record(info: &CollectionInfo) -> Record<'_> {
    let (settings, status) = (&info.settings, &info.status);
    let reading = settings.model.as_ref().map(|model| &model.reading);
    Record {
        name: &info.name,
        kind: kind_word(settings.kind),
        count: status.items,
        documents: status.documents,
        model: settings.model.as_ref().map(|model| model.id.as_str()),
        query_prompt: reading.and_then(|reading| reading.query_prompt.as_deref()),
        document_prompt: reading.and_then(|reading| reading.document_prompt.as_deref()),
        long_texts: reading
            .filter(|_| settings.kind == Kind::Text)
            .map(|reading| if reading.windows { "window" } else { "truncate" }),
        headings: reading.filter(|_| settings.kind == Kind::Text).map(|reading| reading.headings),
        dim: settings.dim,
        metric: settings.metric.to_string(),
        index: settings.index.to_string(),
        target_recall: settings.target_recall,
        recall: status.generation.as_ref().and_then(|generation| generation.recall_at_10),
        live_recall: info.live_recall.map(|live| Live {
            recall_at_10: live.recall_at_10,
            low: live.low,
            high: live.high,
            samples: live.samples,
        }),
        generation: status.generation.as_ref().map(|generation| generation.number),
        tail: status.tail_rows,
        disk_bytes: status.disk_bytes,
        seq: status.seq,
        health: &info.health,
        warnings: &status.warnings,
    }
}

fn show(info: &CollectionInfo, printer: &Printer) -> Result<(), Failure> {
    let record = record(info);
    let model = record.model.unwrap_or("own vectors");
    printer.line(format_args!(
        "{BOLD}{}{BOLD:#}  {}, {} items of {} documents, {}",
        record.name, record.kind, record.count, record.documents, record.health
    ))?;
    let built = match &info.status.generation {
        None => format!("none built, all {} rows searched exactly", info.status.tail_rows),
        Some(generation) => {
            let recall =
                generation.recall_at_10.map_or_else(String::new, |recall| format!(", recall@10 {recall:.3}"));
            format!(
                "{} over {} rows{recall}, {} rows after it",
                generation.spec, generation.rows, record.tail
            )
        }
    };
    printer.line(format_args!(
        "  {DIM}{model}, {} dimensions, {}; index {} ({built}); {} on disk; commit {}{DIM:#}",
        record.dim,
        record.metric,
        record.index,
        bytes(record.disk_bytes),
        record.seq
    ))?;
    if let Some(live) = &record.live_recall {
        printer.line(format_args!(
            "  {DIM}live recall@10 {:.3} ({:.3} to {:.3}, {} queries){DIM:#}",
            live.recall_at_10, live.low, live.high, live.samples
        ))?;
    }
    for warning in record.warnings {
        printer.warning(format_args!("{}: {warning}", record.name));
    }
    Ok(())
}

fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
