//! `bilin backup`: makes backups of collections, lists them, reads them back, or removes old ones.

use super::{Context, Exit, Failure};
use crate::printer::{BOLD, DIM, Printer};
use bilin_engine::{BACKUPS_KEPT, Backup, BackupList, Engine, ErrorKind};
use clap::Args;
use serde::Serialize;
use std::path::Path;

/// A backup is read back whole before it counts; files that did not change are shared with the backup before.
#[derive(Debug, Args)]
pub(super) struct BackUp {
    /// Only this collection
    collection: Option<String>,
    /// Show the backups there are, and make none
    #[arg(long)]
    list: bool,
    /// Remove old backups, and make none
    #[arg(long, conflicts_with = "list")]
    prune: bool,
    /// Read the backups there are back whole and compare them with their manifests, and make none
    #[arg(long, conflicts_with_all = ["list", "prune", "keep"])]
    verify: bool,
    /// Backups of each collection to keep; older ones are removed
    #[arg(long, value_name = "N", default_value_t = BACKUPS_KEPT as u64, conflicts_with = "list",
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    keep: u64,
}

#[derive(Serialize)]
pub(super) struct Record<'a> {
    collection: &'a str,
    time: String,
    seq: u64,
    documents: usize,
    items: usize,
    bytes: u64,
    path: String,
}

#[derive(Serialize)]
struct Bad<'a> {
    collection: &'a str,
    path: String,
    reason: &'a str,
}

pub(super) fn run(args: &BackUp, context: &Context) -> Result<Exit, Failure> {
    let engine = context.open_existing()?;
    let printer = &context.printer;
    if args.list {
        return list(&engine.backups(args.collection.as_deref())?, printer);
    }
    if args.prune {
        return prune(&engine, args, printer);
    }
    if args.verify {
        return verify(&engine, args, printer);
    }
    let names = match &args.collection {
        Some(name) => vec![name.clone()],
        None => engine.collections().into_iter().map(|info| info.name).collect(),
    };
    for name in &names {
        let backup = {
            let bar = printer.bar("backing up", None);
            bar.beside(name.clone());
            engine.backup(name, args.keep as usize)?
        };
        show(&backup, "backup", printer)?;
    }
    if names.is_empty() {
        printer.note("there are no collections yet: bilin add COLLECTION PATH makes one");
    }
    Ok(Exit::Success)
}

fn list(lists: &[BackupList], printer: &Printer) -> Result<Exit, Failure> {
    for BackupList { collection, good, bad } in lists {
        for backup in good {
            show(backup, "backup", printer)?;
        }
        for (path, reason) in bad {
            damaged(collection, path, reason, printer)?;
        }
    }
    if lists.iter().all(|list| list.good.is_empty()) {
        printer.note("there are no backups yet: bilin backup makes them");
        return Ok(Exit::Mendable);
    }
    Ok(Exit::Success)
}

fn prune(engine: &Engine, args: &BackUp, printer: &Printer) -> Result<Exit, Failure> {
    let mut count = 0;
    for list in engine.backups(args.collection.as_deref())? {
        for backup in engine.prune_backups(&list.collection, args.keep as usize)? {
            show(&backup, "removed", printer)?;
            count += 1;
        }
    }
    printer
        .note(format_args!("{count} old backups removed; the newest {} of each collection stay", args.keep));
    Ok(Exit::Success)
}

fn verify(engine: &Engine, args: &BackUp, printer: &Printer) -> Result<Exit, Failure> {
    let mut exit = Exit::Success;
    let lists = engine.backups(args.collection.as_deref())?;
    for BackupList { collection, good, bad } in &lists {
        for backup in good {
            let result = {
                let bar = printer.bar("verifying", None);
                bar.beside(format!("{collection} {}", backup.time()));
                engine.verify_backup(backup)
            };
            match result {
                Ok(()) => show(backup, "verified", printer)?,
                Err(error) if error.kind == ErrorKind::Damaged => {
                    damaged(collection, &backup.path, &error.message, printer)?;
                    exit = Exit::Mendable;
                }
                Err(error) => return Err(error.into()),
            }
        }
        for (path, reason) in bad {
            damaged(collection, path, reason, printer)?;
            exit = Exit::Mendable;
        }
    }
    if lists.iter().all(|list| list.good.is_empty()) {
        printer.note("there are no good backups: bilin backup makes them");
        return Ok(Exit::Mendable);
    }
    Ok(exit)
}

/// A backup that cannot be used.
fn damaged(collection: &str, path: &Path, reason: &str, printer: &Printer) -> Result<(), Failure> {
    let path = path.display().to_string();
    if printer.is_json() {
        printer.record("bad_backup", &Bad { collection, path: path.clone(), reason })?;
    }
    printer.problem(&path, reason, None);
    Ok(())
}

/// One backup, as a record or a line.
pub(super) fn show(backup: &Backup, tag: &'static str, printer: &Printer) -> Result<(), Failure> {
    if printer.is_json() {
        let Backup { collection, seq, documents, items, bytes, path, .. } = backup;
        let (time, path) = (backup.time(), path.display().to_string());
        let (seq, documents, items, bytes) = (*seq, *documents, *items, *bytes);
        return printer.record(tag, &Record { collection, time, seq, documents, items, bytes, path });
    }
    printer.line(format_args!(
        "{BOLD}{}{BOLD:#}  {}  {} items of {} documents, commit {}, {}  {DIM}{}{DIM:#}",
        backup.collection,
        backup.time(),
        backup.items,
        backup.documents,
        backup.seq,
        indicatif::HumanBytes(backup.bytes),
        backup.path.display()
    ))
}
