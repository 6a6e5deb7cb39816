//! `bilin model`: the models that are compiled in, those in folders, and those of hubs.

mod check;
mod pull;
mod quantize;
mod score;

use super::{Context, Exit, Failure};
use crate::printer::{BOLD, DIM};
use crate::pull::origin_of;
use bilin_engine::{Inspected, Modality, ModelCard};
use clap::Subcommand;
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Every model that is compiled in or was pulled
    List,
    /// One model in full
    Show {
        /// Model id, the folder or file of a model, or the name of one that was pulled
        #[arg(value_name = "ID|DIR")]
        id: String,
    },
    /// Fetch a model from a hub
    Pull(pull::Pull),
    /// Write a model anew with its weights in fewer bits
    Quantize(quantize::Quantize),
    /// Compare a model's vectors with reference vectors
    Check(check::Check),
    /// Say how well texts fit queries, by a cross-encoder
    Score(score::Score),
}

/// Of a model that is built in or was opened.
#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    revision: &'a str,
    space: &'a str,
    dim: usize,
    modality: &'static str,
    also_reads: Option<&'static str>,
    max_tokens: Option<usize>,
    query_prompt: &'a str,
    document_prompt: &'a str,
    licence: &'a str,
    bytes: usize,
    #[serde(flatten)]
    files: Option<Files>,
}

/// What a model's files tell.
#[derive(Serialize)]
struct Files {
    precision: Option<String>,
    disk_bytes: u64,
    made_from: Option<String>,
    pulled_from: Option<String>,
}

/// Of a model that was pulled, in a list: it is not opened for that.
#[derive(Serialize)]
struct Pulled<'a> {
    id: &'a str,
    path: String,
    licence: &'a str,
    #[serde(flatten)]
    files: Files,
}

pub(super) fn run(args: &Model, context: &Context) -> Result<Exit, Failure> {
    match args {
        Model::List => list(context)?,
        Model::Show { id } => show(id, context)?,
        Model::Pull(args) => return pull::run(args, context),
        Model::Quantize(args) => return quantize::run(args, context),
        Model::Check(args) => return check::run(args, context),
        Model::Score(args) => return score::run(args, context),
    }
    Ok(Exit::Success)
}

fn word(modality: Modality) -> &'static str {
    match modality {
        Modality::Text => "text",
        Modality::Image => "image",
    }
}

fn record(card: &ModelCard, files: Option<Files>) -> Record<'_> {
    Record {
        id: &card.id,
        revision: &card.revision,
        space: &card.space,
        dim: card.dim,
        modality: word(card.modality),
        also_reads: card.also_reads.map(word),
        max_tokens: card.max_tokens,
        query_prompt: &card.query_prompt,
        document_prompt: &card.document_prompt,
        licence: &card.licence,
        bytes: card.bytes,
        files,
    }
}

fn files(path: &Path, found: &Inspected) -> Files {
    let made_from =
        found.made_from.as_ref().map(|from| format!("{} {} by {}", from.name, from.revision, from.command));
    let pulled_from =
        origin_of(path).map(|origin| format!("{}/{} {}", origin.endpoint, origin.name, origin.revision));
    let precision = found.precision.map(|precision| precision.to_string());
    Files { precision, disk_bytes: found.disk_bytes, made_from, pulled_from }
}

fn list(context: &Context) -> Result<(), Failure> {
    let printer = &context.printer;
    for card in bilin_engine::builtin_models() {
        if printer.is_json() {
            printer.record("model", &record(&card, None))?;
            continue;
        }
        let (modality, dim, licence) = (word(card.modality), card.dim, &card.licence);
        printer.line(format_args!(
            "{BOLD}{}{BOLD:#}  {modality}, {dim} dimensions  {DIM}{licence}{DIM:#}",
            card.id
        ))?;
    }
    for (name, path) in bilin_engine::pulled_models(&context.config.engine.data) {
        let found = bilin_engine::inspect_model(&path)?;
        let files = files(&path, &found);
        if printer.is_json() {
            let path = path.display().to_string();
            printer.record("pulled_model", &Pulled { id: &name, path, licence: &found.licence, files })?;
            continue;
        }
        let precision = files.precision.as_deref().unwrap_or("no weights");
        let (bytes, licence) = (HumanBytes(files.disk_bytes), &found.licence);
        printer.line(format_args!(
            "{BOLD}{name}{BOLD:#}  pulled, {precision}, {bytes}  {DIM}{licence}{DIM:#}"
        ))?;
    }
    Ok(())
}

fn show(id: &str, context: &Context) -> Result<(), Failure> {
    let printer = &context.printer;
    let encoder = bilin_engine::open_model(&context.model_id(id))?;
    let mut card = encoder.card().clone();
    let path = Path::new(&card.id);
    let found = match path.is_absolute() {
        true => Some(bilin_engine::inspect_model(path)?),
        false => None,
    };
    let files = found.as_ref().map(|found| files(path, found));
    if let Some(found) = found.filter(|_| card.licence.is_empty()) {
        card.licence = found.licence;
    }
    if printer.is_json() {
        return printer.record("model", &record(&card, files));
    }
    let max_tokens = card.max_tokens.map_or_else(|| "-".to_owned(), |tokens| tokens.to_string());
    let queries = card.also_reads.map_or_else(String::new, |also| format!(", queries of {} too", word(also)));
    let mut rows = vec![
        ("id", card.id.clone()),
        ("revision", card.revision.clone()),
        ("space", card.space.clone()),
        ("modality", format!("{}{queries}", word(card.modality))),
        ("dimensions", card.dim.to_string()),
        ("max tokens", max_tokens),
        ("query prompt", format!("{:?}", card.query_prompt)),
        ("document prompt", format!("{:?}", card.document_prompt)),
        ("licence", if card.licence.is_empty() { "not told".to_owned() } else { card.licence.clone() }),
        ("in memory", HumanBytes(card.bytes as u64).to_string()),
    ];
    if let Some(files) = files {
        rows.push(("on disk", HumanBytes(files.disk_bytes).to_string()));
        rows.extend(files.precision.map(|precision| ("precision", precision)));
        rows.extend(files.made_from.map(|from| ("made from", from)));
        rows.extend(files.pulled_from.map(|from| ("pulled from", from)));
    }
    rows.iter().try_for_each(|(name, value)| printer.line(format_args!("{name:<16} {value}")))
}
