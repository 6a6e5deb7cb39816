//! `bilin duplicates`: the same thing twice, or nearly.

use super::add::interrupted;
use super::{Context, Exit, Failure, values};
use crate::printer::{BOLD, DIM};
use bilin_engine::{DuplicateGroup, DuplicateOptions, Metadata};
use clap::Args;
use serde::Serialize;
use std::sync::atomic::Ordering;

/// Copies are known by their content; with --similarity, also what is nearly the same. Nothing is changed.
#[derive(Debug, Args)]
pub(super) struct DuplicatesArgs {
    /// Collection
    collection: String,
    /// Also items whose vectors have at least this cosine, such as 0.98
    #[arg(long, value_name = "COSINE", value_parser = values::recall)]
    similarity: Option<f32>,
    /// Most groups that are shown, the largest first
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u64).range(1..=bilin_engine::MAX_DUPLICATE_GROUPS as u64))]
    limit: u64,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Group<'a> {
    kind: &'static str,
    count: usize,
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    id: &'a str,
    ordinal: u32,
    similarity: f32,
    metadata: &'a Metadata,
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Looked<'a> {
    collection: &'a str,
    groups: usize,
    examined: usize,
    complete: bool,
}

pub(super) fn run(args: &DuplicatesArgs, context: &Context) -> Result<Exit, Failure> {
    let engine = context.open_existing()?;
    let printer = &context.printer;
    let options = DuplicateOptions { similarity: args.similarity, limit: args.limit as usize, budget: None };
    let (stop, bar) = (interrupted(), printer.bar("looking", None));
    let found = engine.duplicates(&args.collection, &options, &|done, all| {
        bar.at(done as u64);
        bar.beside(format!("of {all} items"));
        !stop.load(Ordering::Relaxed)
    })?;
    drop(bar);
    let (groups, examined) = (found.groups.len(), found.examined);
    for group in &found.groups {
        let kind = if group.is_exact { "exact" } else { "near" };
        if printer.is_json() {
            printer.record("duplicates", &record(kind, group))?;
            continue;
        }
        printer.line(format_args!("{BOLD}{kind}{BOLD:#} {} items", group.count))?;
        for item in &group.items {
            let part = if item.ordinal > 0 { format!(" (item {})", item.ordinal) } else { String::new() };
            printer.line(format_args!("  {DIM}{:.4}{DIM:#} {}{part}", item.similarity, item.id))?;
        }
        if group.count > group.items.len() {
            printer.line(format_args!("  {DIM}and {} more{DIM:#}", group.count - group.items.len()))?;
        }
    }
    if printer.is_json() {
        let complete = found.complete;
        printer.record("looked", &Looked { collection: &args.collection, groups, examined, complete })?;
    }
    let more = if found.complete { "" } else { "; there are more (--limit)" };
    printer.note(format_args!("{groups} groups of duplicates among {examined} items{more}"));
    Ok(Exit::Success)
}

fn record<'a>(kind: &'static str, group: &'a DuplicateGroup) -> Group<'a> {
    let items = group.items.iter().map(|item| Item {
        id: &item.id,
        ordinal: item.ordinal,
        similarity: item.similarity,
        metadata: &item.metadata,
    });
    Group { kind, count: group.count, items: items.collect() }
}
