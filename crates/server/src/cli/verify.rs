//! `bilin verify`: everything on disk read back and compared with its checksums.

use super::{Context, Exit, Failure};
use crate::printer::{BOLD, Printer};
use bilin_engine::{Engine, ErrorKind, Verified};
use clap::Args;
use serde::Serialize;

/// Exit code 1 when anything is damaged. A damaged index is moved to quarantine and built again by the next maintenance;
/// for damaged rows or a damaged catalog, see bilin restore.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Only this collection
    collection: Option<String>,
    /// Have every entry of the catalog checked, too
    #[arg(long)]
    deep: bool,
    /// Stop telling of what happened to the collection before
    #[arg(long, requires = "collection")]
    acknowledge: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    collection: &'a str,
    seq: u64,
    documents: usize,
    items: usize,
    row_blocks: usize,
    index_bytes: u64,
}

#[derive(Serialize)]
struct Damaged<'a> {
    collection: &'a str,
    reason: &'a str,
}

pub(super) fn run(args: &Verify, context: &Context) -> Result<Exit, Failure> {
    let engine = context.open_existing()?;
    let printer = &context.printer;
    if let (Some(name), true) = (&args.collection, args.acknowledge)
        && let Some(told) = engine.acknowledge(name)?
    {
        printer.note(format_args!("acknowledged: {told}"));
    }
    let names = match &args.collection {
        Some(name) => vec![name.clone()],
        None => engine.collections().into_iter().map(|info| info.name).collect(),
    };
    let mut exit = Exit::Success;
    for name in &names {
        if !verify(&engine, name, args.deep, printer)? {
            exit = Exit::Mendable;
        }
    }
    let broken = if args.collection.is_none() { engine.health().broken } else { Vec::new() };
    for (name, reason) in &broken {
        damaged(name, reason, printer)?;
        exit = Exit::Mendable;
    }
    Ok(exit)
}

/// Whether all is well.
fn verify(engine: &Engine, name: &str, deep: bool, printer: &Printer) -> Result<bool, Failure> {
    let result = {
        let bar = printer.bar("verifying", None);
        bar.beside(name.to_owned());
        engine.verify(name, deep)
    };
    let Verified { seq, documents, items, row_blocks, index_bytes } = match result {
        Ok(verified) => verified,
        Err(error) if error.kind == ErrorKind::Damaged => {
            damaged(name, &error.message, printer)?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    if printer.is_json() {
        let record = Record { collection: name, seq, documents, items, row_blocks, index_bytes };
        printer.record("verified", &record)?;
        return Ok(true);
    }
    let index = match index_bytes {
        0 => "no index".to_owned(),
        bytes => format!("{} of index", indicatif::HumanBytes(bytes)),
    };
    printer.line(format_args!(
        "{BOLD}{name}{BOLD:#}: as it was written; {documents} documents, {items} items, {row_blocks} blocks of rows, \
         {index}, commit {seq}"
    ))?;
    Ok(true)
}

fn damaged(collection: &str, reason: &str, printer: &Printer) -> Result<(), Failure> {
    if printer.is_json() {
        printer.record("damaged", &Damaged { collection, reason })?;
    }
    printer.problem(collection, reason, Some("bilin backup --list shows what it can be restored from"));
    Ok(())
}
