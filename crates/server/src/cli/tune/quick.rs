//! `bilin tune --quick`: the kind of index that suits a collection, carried over from a small sample of its rows.

use super::{Context, Failure, Tune};
use crate::printer::{BOLD, DIM, Printer};
use crate::report::size;
use bilin_engine::{Candidate, Choice, Engine, TuneOptions, Tuned, Verdict};
use serde::Serialize;

#[derive(Serialize)]
struct Record<'a> {
    collection: &'a str,
    index: String,
    before: String,
    rows: usize,
    pilot_rows: usize,
    target_recall: f32,
    memory_bytes: Option<u64>,
    reason: &'a str,
    applied: Option<&'a str>,
    candidates: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    index: String,
    verdict: &'static str,
    pilot_recall_at_10: f32,
    pilot_query_us: f64,
    query_us: f64,
    build_s: f64,
    bytes: u64,
}

pub(super) fn run(args: &Tune, engine: &Engine, context: &Context) -> Result<(), Failure> {
    let printer = &context.printer;
    let options =
        TuneOptions { target_recall: args.target_recall, memory_bytes: args.memory, apply: args.apply };
    let tuned = {
        let _bar = printer.bar("measuring", None);
        engine.tune(&args.collection, &options, &|_, _| true)?
    };
    if printer.is_json() {
        printer.record("tuned", &record(&args.collection, &tuned))?;
    } else {
        show(args, &tuned, printer)?;
    }
    Ok(())
}

fn record<'a>(collection: &'a str, tuned: &'a Tuned) -> Record<'a> {
    let Choice { spec, rows, pilot_rows, candidates, reason } = &tuned.choice;
    Record {
        collection,
        index: spec.to_string(),
        before: tuned.before.to_string(),
        rows: *rows,
        pilot_rows: *pilot_rows,
        target_recall: tuned.target_recall,
        memory_bytes: tuned.memory_bytes,
        reason,
        applied: tuned.applied.as_deref(),
        candidates: candidates.iter().map(line).collect(),
    }
}

fn line(candidate: &Candidate) -> Line {
    Line {
        index: candidate.spec.to_string(),
        verdict: verdict(candidate.verdict),
        pilot_recall_at_10: candidate.pilot_recall_at_10,
        pilot_query_us: candidate.pilot_query_us,
        query_us: candidate.query_us,
        build_s: candidate.build_s,
        bytes: candidate.bytes,
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Chosen => "chosen",
        Verdict::TooLarge => "needs too much memory",
        Verdict::MissesRecall => "misses the recall",
        Verdict::SlowToBuild => "takes too long to build",
        Verdict::Slower => "slower",
    }
}

fn show(args: &Tune, tuned: &Tuned, printer: &Printer) -> Result<(), Failure> {
    let Choice { rows, pilot_rows, candidates, reason, .. } = &tuned.choice;
    printer.line(format_args!("{BOLD}{}{BOLD:#}: {reason}", args.collection))?;
    if args.explain {
        explain(*rows, *pilot_rows, tuned, candidates, printer)?;
    }
    match &tuned.applied {
        Some(done) => printer.line(format_args!("built: {done}"))?,
        None if tuned.before == tuned.choice.spec => {
            printer.note(format_args!("the collection is set to {} already", tuned.before));
        }
        None => printer.note(format_args!(
            "nothing was changed (index {}); --apply builds the chosen one",
            tuned.before
        )),
    }
    Ok(())
}

fn explain(
    rows: usize,
    pilot_rows: usize,
    tuned: &Tuned,
    candidates: &[Candidate],
    printer: &Printer,
) -> Result<(), Failure> {
    if candidates.is_empty() {
        return printer.line("  nothing had to be measured");
    }
    let memory = tuned.memory_bytes.map_or_else(String::new, |most| format!(", within {}", size(most)));
    printer.line(format_args!(
        "  {DIM}measured on {pilot_rows} of {rows} rows, target recall@10 {}{memory}; time, build and memory are carried \
         over to all rows{DIM:#}",
        tuned.target_recall
    ))?;
    let width = candidates.iter().map(|candidate| candidate.spec.to_string().len()).max().unwrap_or(0);
    printer.line(format_args!(
        "  {DIM}{:width$}  {:>7}  {:>10}  {:>9}  {:>11}{DIM:#}",
        "index", "recall", "query", "build", "memory"
    ))?;
    for candidate in candidates {
        printer.line(format_args!(
            "  {:width$}  {:>7.3}  {:>7.0} us  {:>7.0} s  {:>11}  {}",
            candidate.spec.to_string(),
            candidate.pilot_recall_at_10,
            candidate.query_us,
            candidate.build_s.ceil(),
            size(candidate.bytes),
            verdict(candidate.verdict)
        ))?;
    }
    Ok(())
}
