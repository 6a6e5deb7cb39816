//! `bilin export faiss`: a collection as `faiss_index.index` and `metadata.json`.

use super::add::Drawing;
use super::values;
use super::{Context, Exit, Failure};
use bilin_engine::IndexSpec;
use bilin_engine::faiss::{ExportIds, ExportOptions};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// What for.
#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// Files for faiss.read_index and json.load
    Faiss(Faiss),
}

/// Under the cosine the vectors have length one and the index compares inner products: normalise queries.
#[derive(Debug, Args)]
pub(super) struct Faiss {
    /// Collection
    collection: String,
    /// Folder for faiss_index.index and metadata.json; made when it is not there
    folder: PathBuf,
    /// Index to write, in FAISS's words: Flat, IVF<nlist>,Flat, HNSW<m>, SQ8, IVF<nlist>,PQ<m>, ...
    #[arg(long, value_name = "SPEC", value_parser = values::index_spec, default_value = "Flat")]
    index: IndexSpec,
    /// Which ids the index answers with
    #[arg(long, value_enum, default_value_t)]
    ids: Ids,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Ids {
    /// Positions in metadata.json
    #[default]
    Positions,
    /// The documents' ids, which must be whole numbers (an IndexIDMap2)
    Documents,
}

#[derive(Serialize)]
struct Record<'a> {
    collection: &'a str,
    index_file: String,
    metadata_file: String,
    index: String,
    items: usize,
    bytes: u64,
}

pub(super) fn run(args: &Export, context: &Context) -> Result<Exit, Failure> {
    let Export::Faiss(args) = args;
    let engine = context.open_existing()?;
    let options = ExportOptions {
        index: args.index.clone(),
        ids: match args.ids {
            Ids::Positions => ExportIds::Positions,
            Ids::Documents => ExportIds::Documents,
        },
        overwrite: args.force,
    };
    let drawing = Drawing::new(&context.printer, "exporting");
    let exported = engine.export_faiss(&args.collection, &args.folder, &options, &drawing)?;
    drop(drawing);
    let collection = args.collection.as_str();
    let index_file = exported.index_path.display().to_string();
    if context.printer.is_json() {
        let record = Record {
            collection,
            index_file,
            metadata_file: exported.metadata_path.display().to_string(),
            index: exported.index.to_string(),
            items: exported.items,
            bytes: exported.index_bytes,
        };
        context.printer.record("exported", &record)?;
    } else {
        context.printer.line(format_args!(
            "{collection}: {} vectors exported as {} to {index_file}",
            exported.items, exported.index
        ))?;
    }
    Ok(Exit::Success)
}
