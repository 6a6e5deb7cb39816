//! `bilin delete`: documents by id or by filter, or a whole collection.

use super::values;
use super::{Context, Exit, Failure};
use bilin_engine::Filter;
use clap::{ArgGroup, Args};
use serde::Serialize;

/// Exit code 1 when there was nothing to delete.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["id", "filter", "all"])))]
pub(super) struct Delete {
    /// Collection
    collection: String,
    /// Document id; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Documents with an item whose metadata fits
    #[arg(long = "where", value_name = "EXPR", value_parser = values::filter)]
    filter: Option<Filter>,
    /// The collection itself with everything in it; needs --yes
    #[arg(long)]
    all: bool,
    /// Yes, delete the whole collection
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Deleted<'a> {
    collection: &'a str,
    documents: usize,
    seq: u64,
}

#[derive(Serialize)]
struct Removed<'a> {
    collection: &'a str,
}

pub(super) fn run(args: &Delete, context: &Context) -> Result<Exit, Failure> {
    let collection = args.collection.as_str();
    if args.all && !args.yes {
        return Err(Failure::usage(format!(
            "collection {collection:?} would be deleted with everything in it"
        ))
        .with_hint("add --yes if you mean it; nothing was changed"));
    }
    let engine = context.open_existing()?;
    let printer = &context.printer;
    if args.all {
        engine.remove(collection)?;
        if printer.is_json() {
            printer.record("removed", &Removed { collection })?;
        } else {
            printer.line(format_args!("{collection}: removed"))?;
        }
        return Ok(Exit::Success);
    }
    let applied = match &args.filter {
        Some(filter) => engine.delete_where(collection, filter)?,
        None => engine.delete_documents(collection, &args.id)?,
    };
    let documents = applied.deleted;
    if printer.is_json() {
        printer.record("deleted", &Deleted { collection, documents, seq: applied.seq })?;
    } else {
        let noun = if documents == 1 { "document" } else { "documents" };
        printer.line(format_args!("{collection}: {documents} {noun} deleted"))?;
    }
    let missing = args.id.len().saturating_sub(documents);
    if args.filter.is_none() && missing > 0 {
        printer.warning(format_args!("{missing} of {} ids are not in {collection:?}", args.id.len()));
    }
    Ok(if documents == 0 { Exit::Mendable } else { Exit::Success })
}
