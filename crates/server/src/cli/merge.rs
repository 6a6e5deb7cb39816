//! `bilin merge`: unites collections of one vector space.

use super::{Context, Exit, Failure};
use bilin_engine::{Clash, Merged};
use clap::{Args, ValueEnum};
use serde::Serialize;

/// Which of two documents counts that are in both, by id or by file.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OnConflict {
    /// Change nothing and name some of them
    Fail,
    /// That of the target
    Keep,
    /// The new one
    Replace,
}

impl From<OnConflict> for Clash {
    fn from(choice: OnConflict) -> Clash {
        match choice {
            OnConflict::Fail => Clash::Fail,
            OnConflict::Keep => Clash::Keep,
            OnConflict::Replace => Clash::Replace,
        }
    }
}

/// Sources stay as they are. Each comes in as a whole or not at all.
#[derive(Debug, Args)]
pub(super) struct Merge {
    /// Collection to merge into; made like the first source when it is not there
    target: String,
    /// Collections whose documents it gets
    #[arg(required = true)]
    sources: Vec<String>,
    /// What to do with documents that both have
    #[arg(long, value_enum, default_value_t = OnConflict::Fail)]
    on_conflict: OnConflict,
}

/// The line of `--json`.
#[derive(Serialize)]
struct Record<'a> {
    collection: &'a str,
    created: bool,
    sources: usize,
    added: usize,
    updated: usize,
    kept: usize,
    items: usize,
    seq: u64,
}

pub(super) fn run(args: &Merge, context: &Context) -> Result<Exit, Failure> {
    let engine = context.open_existing()?;
    let printer = &context.printer;
    let collection = args.target.as_str();
    let Merged { created, sources, added, updated, kept, items, seq } =
        engine.merge(collection, &args.sources, args.on_conflict.into())?;
    if printer.is_json() {
        let record = Record { collection, created, sources, added, updated, kept, items, seq };
        printer.record("merged", &record)?;
    } else {
        let documents = if added == 1 { "document" } else { "documents" };
        let made = if created { format!("made like {:?}, ", args.sources[0]) } else { String::new() };
        printer.line(format_args!(
            "{collection}: {made}{added} {documents} added, {updated} replaced, {kept} kept as they were ({items} items from {sources} collections)"
        ))?;
    }
    Ok(Exit::Success)
}
