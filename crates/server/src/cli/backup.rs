//! `bilin backup`: makes backups of collections, lists them, reads them back, or removes old ones.

use super::{Context, Exit, Failure};
use crate::printer::{BOLD, DIM, Printer};
use bilin_engine::{Backup, BackupList, Engine, ErrorKind, OffsiteList, RemoteBackup};
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
    /// In the other place, too: send what was made; list, verify or prune what is there
    #[arg(long)]
    remote: bool,
    /// Remove old backups, and make none
    #[arg(long, conflicts_with = "list")]
    prune: bool,
    /// Read the backups there are back whole and compare them with their manifests, and make none
    #[arg(long, conflicts_with_all = ["list", "prune", "keep"])]
    verify: bool,
    /// Backups of each collection to keep; older ones are removed [default: backups.kept, which is 7]
    #[arg(long, value_name = "N", conflicts_with = "list", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    keep: Option<u64>,
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
    let keep = args.keep.map_or(context.config.engine.upkeep.backups_kept, |keep| keep as usize);
    if args.remote {
        context.connect_offsite(&engine)?;
        if args.list || args.prune || args.verify {
            return remote(&engine, args, keep, printer);
        }
    }
    if args.list {
        return list(&engine.backups(args.collection.as_deref())?, printer);
    }
    if args.prune {
        return prune(&engine, args, keep, printer);
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
            engine.backup(name, keep)?
        };
        show(&backup, "backup", printer)?;
        if args.remote {
            send(&engine, &backup, keep, printer)?;
        }
    }
    if names.is_empty() {
        printer.note("there are no collections yet: bilin add COLLECTION PATH makes one");
    }
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Sent<'a> {
    collection: &'a str,
    time: String,
    parts_sent: usize,
    parts_kept: usize,
    bytes_sent: u64,
}

/// Sends a backup, and removes from the other place what is too old there.
fn send(engine: &Engine, backup: &Backup, keep: usize, printer: &Printer) -> Result<(), Failure> {
    let pushed = {
        let bar = printer.bar("sending", None);
        bar.beside(format!("{} {}", backup.collection, backup.time()));
        let pushed = engine.push_offsite(backup)?;
        engine.prune_offsite(&backup.collection, keep)?;
        pushed
    };
    if printer.is_json() {
        let (collection, time) = (backup.collection.as_str(), backup.time());
        let (parts_sent, parts_kept, bytes_sent) = (pushed.parts_sent, pushed.parts_kept, pushed.bytes_sent);
        return printer.record("sent", &Sent { collection, time, parts_sent, parts_kept, bytes_sent });
    }
    printer.line(format_args!(
        "{BOLD}{}{BOLD:#}  {}  sent {} in {} parts, {} were there already",
        backup.collection,
        backup.time(),
        indicatif::HumanBytes(pushed.bytes_sent),
        pushed.parts_sent,
        pushed.parts_kept
    ))
}

/// What is asked of the other place.
fn remote(engine: &Engine, args: &BackUp, keep: usize, printer: &Printer) -> Result<Exit, Failure> {
    let OffsiteList { good, bad } = engine.offsite_backups(args.collection.as_deref())?;
    let mut exit = if bad.is_empty() { Exit::Success } else { Exit::Mendable };
    for reason in &bad {
        printer.problem("backup", reason, None);
    }
    if args.prune {
        let mut names: Vec<&str> = good.iter().map(|one| one.collection.as_str()).collect();
        names.dedup();
        for name in names {
            for removed in engine.prune_offsite(name, keep)? {
                show_remote(&removed, "removed", printer)?;
            }
        }
        return Ok(exit);
    }
    for backup in &good {
        if !args.verify {
            show_remote(backup, "remote_backup", printer)?;
            continue;
        }
        let result = {
            let bar = printer.bar("verifying", None);
            bar.beside(format!("{} {}", backup.collection, backup.time));
            engine.verify_offsite(backup)
        };
        match result {
            Ok(()) => show_remote(backup, "verified", printer)?,
            Err(error) if error.kind == ErrorKind::Damaged => {
                printer.problem(&backup.time, &error.message, error.hint.as_deref());
                exit = Exit::Mendable;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if good.is_empty() {
        printer.note("there are no backups in the other place yet: bilin backup --remote sends them");
        exit = Exit::Mendable;
    }
    Ok(exit)
}

/// A backup in the other place, as a record or a line.
fn show_remote(backup: &RemoteBackup, tag: &'static str, printer: &Printer) -> Result<(), Failure> {
    if printer.is_json() {
        return printer.record(tag, backup);
    }
    printer.line(format_args!(
        "{BOLD}{}{BOLD:#}  {}  {} items of {} documents, commit {}, {}",
        backup.collection,
        backup.time,
        backup.items,
        backup.documents,
        backup.seq,
        indicatif::HumanBytes(backup.bytes)
    ))
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

fn prune(engine: &Engine, args: &BackUp, keep: usize, printer: &Printer) -> Result<Exit, Failure> {
    let mut count = 0;
    for list in engine.backups(args.collection.as_deref())? {
        for backup in engine.prune_backups(&list.collection, keep)? {
            show(&backup, "removed", printer)?;
            count += 1;
        }
    }
    printer.note(format_args!("{count} old backups removed; the newest {} of each collection stay", keep));
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
