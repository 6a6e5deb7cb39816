//! `bilin model`: the models that are compiled in, and those in folders.

use super::{Context, Exit, Failure};
use crate::printer::{BOLD, DIM};
use bilin_engine::{Modality, ModelCard};
use clap::Subcommand;
use serde::Serialize;

#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Every model that is compiled in
    List,
    /// One model in full
    Show {
        /// Model id, or the folder of a model
        #[arg(value_name = "ID|DIR")]
        id: String,
    },
}

#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    revision: &'a str,
    space: &'a str,
    dim: usize,
    modality: &'static str,
    max_tokens: Option<usize>,
    query_prompt: &'a str,
    document_prompt: &'a str,
    licence: &'a str,
    bytes: usize,
}

pub(super) fn run(args: &Model, context: &Context) -> Result<Exit, Failure> {
    let cards = bilin_engine::builtin_models();
    match args {
        Model::List => cards.iter().try_for_each(|card| list(card, context))?,
        Model::Show { id } => match cards.iter().find(|card| card.id == *id) {
            Some(card) => show(card, context)?,
            None => show(bilin_engine::open_model(id)?.card(), context)?,
        },
    }
    Ok(Exit::Success)
}

fn word(modality: Modality) -> &'static str {
    match modality {
        Modality::Text => "text",
        Modality::Image => "image",
    }
}

fn record(card: &ModelCard) -> Record<'_> {
    Record {
        id: &card.id,
        revision: &card.revision,
        space: &card.space,
        dim: card.dim,
        modality: word(card.modality),
        max_tokens: card.max_tokens,
        query_prompt: &card.query_prompt,
        document_prompt: &card.document_prompt,
        licence: &card.licence,
        bytes: card.bytes,
    }
}

fn list(card: &ModelCard, context: &Context) -> Result<(), Failure> {
    if context.printer.is_json() {
        return context.printer.record("model", &record(card));
    }
    let (modality, dim, licence) = (word(card.modality), card.dim, &card.licence);
    context
        .printer
        .line(format_args!("{BOLD}{}{BOLD:#}  {modality}, {dim} dimensions  {DIM}{licence}{DIM:#}", card.id))
}

fn show(card: &ModelCard, context: &Context) -> Result<(), Failure> {
    if context.printer.is_json() {
        return context.printer.record("model", &record(card));
    }
    let max_tokens = card.max_tokens.map_or_else(|| "-".to_owned(), |tokens| tokens.to_string());
    let rows = [
        ("id", card.id.clone()),
        ("revision", card.revision.clone()),
        ("space", card.space.clone()),
        ("modality", word(card.modality).to_owned()),
        ("dimensions", card.dim.to_string()),
        ("max tokens", max_tokens),
        ("query prompt", format!("{:?}", card.query_prompt)),
        ("document prompt", format!("{:?}", card.document_prompt)),
        ("licence", if card.licence.is_empty() { "not told".to_owned() } else { card.licence.clone() }),
        ("in memory", indicatif::HumanBytes(card.bytes as u64).to_string()),
    ];
    rows.iter().try_for_each(|(name, value)| context.printer.line(format_args!("{name:<16} {value}")))
}
