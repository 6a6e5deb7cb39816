//! `bilin model score`: pairs of query and text from stdin, what a cross-encoder says of each to stdout.
//!
//! A line in is `{"query": ..., "text": ...}`, a line out is its logit and its score, or with `--tokens` what the model reads. So a
//! reranker can be compared with its reference, and measured on one's own questions, without a collection.

use super::{Context, Exit, Failure};
use crate::cli::encode::read_batch;
use bilin_engine::CrossEncoder;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::io;

/// Needs no data folder, so it works while a service holds it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Score {
    /// Folder of a cross-encoder, or the name of one that was pulled [default: rerank.model]
    #[arg(value_name = "DIR")]
    model: Option<String>,
    /// Print what the model reads instead: ids of a pair's tokens and their types
    #[arg(long)]
    tokens: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    query: String,
    text: String,
}

#[derive(Serialize)]
struct Scored {
    line: usize,
    logit: f32,
    score: f32,
    tokens: usize,
}

#[derive(Serialize)]
struct Tokens<'a> {
    line: usize,
    tokens: &'a [u32],
    types: &'a [u32],
}

pub(super) fn run(args: &Score, context: &Context) -> Result<Exit, Failure> {
    let model = match (&args.model, &context.config.engine.rerank.model) {
        (Some(named), _) => context.model_id(named),
        (None, Some(configured)) => configured.clone(),
        (None, None) => {
            return Err(Failure::usage("no cross-encoder was named")
                .with_hint("name its folder, or set rerank.model"));
        }
    };
    let model = bilin_engine::open_cross_encoder(&model)?;
    let mut input = io::stdin().lock();
    let mut done = 0;
    loop {
        let lines = read_batch(&mut input, done)?;
        if lines.is_empty() {
            return Ok(Exit::Success);
        }
        batch(&lines, done, &model, args.tokens, context)?;
        done += lines.len();
    }
}

fn batch(
    lines: &[String],
    done: usize,
    model: &CrossEncoder,
    tokens: bool,
    context: &Context,
) -> Result<(), Failure> {
    let printer = &context.printer;
    let mut pairs = Vec::with_capacity(lines.len());
    for (line, number) in lines.iter().zip(done + 1..) {
        let Line { query, text } = serde_json::from_str(line).map_err(|error| {
            Failure::mendable(format!("line {number} is no pair: {error}"))
                .with_hint("expected lines such as {\"query\": \"...\", \"text\": \"...\"}")
        })?;
        pairs.push(model.pair(&query, &text));
    }
    if tokens {
        for (pair, line) in pairs.iter().zip(done + 1..) {
            let (tokens, types) = (pair.ids(), model.types(pair));
            match printer.is_json() {
                true => printer.record("pair", &Tokens { line, tokens, types: &types })?,
                false => printer.line(format_args!("{tokens:?} {types:?}"))?,
            }
        }
        return Ok(());
    }
    for (relevance, (pair, line)) in model.score(&pairs).iter().zip(pairs.iter().zip(done + 1..)) {
        let (logit, score) = (relevance.logit, relevance.score);
        match printer.is_json() {
            true => printer.record("score", &Scored { line, logit, score, tokens: pair.tokens() })?,
            false => printer.line(format_args!("{logit}\t{score}"))?,
        }
    }
    Ok(())
}
