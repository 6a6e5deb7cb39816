//! `bilin import faiss`: a FAISS index file, and the list of metadata beside it, into a collection.

use super::add::{Drawing, remove_empty};
use super::merge::OnConflict;
use super::values::{self, MetricWord};
use super::{Context, Exit, Failure};
use bilin_engine::IndexSpec;
use bilin_engine::faiss::{ImportOptions, Imported};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Where the vectors come from.
#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// A file written by faiss.write_index
    Faiss(Faiss),
}

/// Vectors keep their ids; the entries of the metadata file become texts and fields, one per vector.
#[derive(Debug, Args)]
pub(super) struct Faiss {
    /// Collection; made when it is not there
    collection: String,
    /// Index file, such as faiss_index.index
    index_file: PathBuf,
    /// List of metadata, such as metadata.json
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// Model that made the vectors, so that the collection can be searched by text or picture [default: none, bare vectors]
    #[arg(long, value_name = "ID|DIR")]
    model: Option<String>,
    /// How vectors are compared [default: as the file says; inner products of unit vectors as cosine]
    #[arg(long, value_enum)]
    metric: Option<MetricWord>,
    /// Index of a new collection, in FAISS's words [default: auto]
    #[arg(long, value_name = "SPEC", value_parser = values::index_spec)]
    index: Option<IndexSpec>,
    /// Take vectors as they came out of transforms that cannot be undone
    #[arg(long)]
    transformed: bool,
    /// What to do with documents that the collection has already
    #[arg(long, value_enum, default_value_t = OnConflict::Replace)]
    on_conflict: OnConflict,
}

/// The line of `--json`.
#[derive(Serialize)]
struct Record<'a> {
    collection: &'a str,
    source: &'a str,
    items: usize,
    added: usize,
    updated: usize,
    kept: usize,
    created: bool,
    exact: bool,
    metric: String,
    dim: usize,
    seq: u64,
    elapsed_ms: u64,
}

pub(super) fn run(args: &Import, context: &Context) -> Result<Exit, Failure> {
    let Import::Faiss(args) = args;
    let started = Instant::now();
    let data = &context.config.engine.data;
    let made_here = !data.exists();
    let engine = context.open()?;
    let options = ImportOptions {
        metadata: args.metadata.clone(),
        model: args.model.clone(),
        metric: args.metric.map(Into::into),
        index: args.index.clone(),
        transformed: args.transformed,
        on_conflict: Some(args.on_conflict.into()),
    };
    let drawing = Drawing::new(&context.printer, "importing");
    let result = engine.import_faiss(&args.collection, &args.index_file, &options, &drawing);
    drop(drawing);
    if result.is_err() && made_here && engine.collections().is_empty() {
        drop(engine);
        remove_empty(data);
    }
    report(&args.collection, &result?, started, context)?;
    Ok(Exit::Success)
}

fn report(collection: &str, imported: &Imported, started: Instant, context: &Context) -> Result<(), Failure> {
    let printer = &context.printer;
    let elapsed_ms = started.elapsed().as_millis() as u64;
    let Imported { source, items, metric, dim, .. } = imported;
    if printer.is_json() {
        printer.record(
            "imported",
            &Record {
                collection,
                source,
                items: *items,
                added: imported.added,
                updated: imported.updated,
                kept: imported.kept,
                created: imported.created,
                exact: imported.is_exact,
                metric: metric.to_string(),
                dim: *dim,
                seq: imported.seq,
                elapsed_ms,
            },
        )?;
    } else {
        let seconds = elapsed_ms as f64 / 1_000.0;
        printer.line(format_args!(
            "{collection}: {items} vectors of {source} imported ({dim} values, {metric}) in {seconds:.1} s"
        ))?;
        if imported.kept > 0 {
            printer
                .note(format_args!("{} documents that were there already stay as they are", imported.kept));
        }
    }
    if !imported.is_exact {
        printer
            .warning("the index held codes, so its vectors are near what FAISS was given, not equal to it");
    }
    Ok(())
}
