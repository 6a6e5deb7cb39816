//! `bilin demo`: the sample course and pictures, indexed, searched and served, in one command.
//!
//! It may be run again at any time: samples that are in are left alone, and so is every other collection.

use super::{Context, Exit, Failure, add, search, serve};
use crate::demo;
use crate::printer::{BOLD, DIM};
use bilin_engine::eval::{self, EvalOptions, EvalSetting, Figures, Measure};
use bilin_engine::{AddOptions, CancelToken, Engine, Kind, Query, Target};
use clap::Args;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Answers shown for each question.
const TOP_K: usize = 3;
/// What is told of the evaluation: the report has the rest.
const HEADLINE: [Measure; 3] = [Measure::Hit(1), Measure::Hit(3), Measure::Mrr(None)];

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Stop after the searches
    #[arg(long)]
    no_serve: bool,
    /// Address and port to serve on [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Demo, context: &Context) -> Result<Exit, Failure> {
    // Told before the work, not after it.
    let access = if args.no_serve { None } else { Some(serve::check_address(context)?) };
    let data = &context.config.engine.data;
    let printer = &context.printer;
    printer.note(format_args!("sample course and pictures into {}", data.display()));
    let engine = context.open()?;
    let samples = data.join("samples");
    for collection in [demo::COURSE, demo::PICTURES] {
        check_ours(&engine, collection, &samples, data)?;
    }
    demo::write_samples(&samples).map_err(|error| {
        Failure::mendable(format!("cannot write the samples to {:?}: {error}", samples.display().to_string()))
            .with_hint("name a folder that can be written with --data DIR")
    })?;
    for (collection, kind) in [(demo::COURSE, Kind::Text), (demo::PICTURES, Kind::Image)] {
        let options = AddOptions { kind: Some(kind), ..AddOptions::default() };
        let report = add::add(&engine, collection, &[samples.join(collection)], &options, printer)?;
        if let Some(problem) = report.problems.first() {
            return Err(Failure::internal(format!("sample {}: {}", problem.path.display(), problem.reason)));
        }
    }
    ask(&engine, context)?;
    headline(&engine, &samples, context)?;
    next_steps(context)?;
    match access {
        Some(access) => serve::serve(Arc::new(engine), access, context),
        None => Ok(Exit::Success),
    }
}

/// A collection of that name which the demo did not make stays as it is.
fn check_ours(engine: &Engine, collection: &str, samples: &Path, data: &Path) -> Result<(), Failure> {
    if samples.join(collection).is_dir() || engine.collection(collection).is_err() {
        return Ok(());
    }
    Err(Failure::mendable(format!(
        "collection {collection:?} in {:?} was not made by the demo",
        data.display().to_string()
    ))
    .with_hint("give the demo a data folder of its own: bilin demo --data DIR; nothing was changed"))
}

/// Three questions in words, two in pictures.
fn ask(engine: &Engine, context: &Context) -> Result<(), Failure> {
    for words in demo::QUESTIONS {
        one(engine, demo::COURSE, words, Target::Text(words.to_owned()), context)?;
    }
    let same = Target::Picture(picture(demo::SAME_PICTURE)?.to_vec());
    one(engine, demo::PICTURES, demo::SAME_PICTURE, same, context)?;
    let altered = demo::altered(picture(demo::ALTERED_PICTURE)?)
        .map_err(|error| Failure::internal(format!("cannot alter the sample picture: {error}")))?;
    let question = format!("{}, mirrored and cropped", demo::ALTERED_PICTURE);
    one(engine, demo::PICTURES, &question, Target::Picture(altered), context)
}

fn picture(path: &str) -> Result<&'static [u8], Failure> {
    demo::sample(path).ok_or_else(|| Failure::internal(format!("sample {path:?} is not in this binary")))
}

/// One question and its answers.
fn one(
    engine: &Engine,
    collection: &str,
    question: &str,
    target: Target,
    context: &Context,
) -> Result<(), Failure> {
    let printer = &context.printer;
    if !printer.is_json() {
        printer.line(format_args!("\n{BOLD}? {question}{BOLD:#}"))?;
    }
    let query = Query { top_k: TOP_K, ..Query::new(target) };
    match search::search(engine, collection, &query, Some(question), context)? {
        0 => Err(Failure::internal(format!("nothing was found in {collection:?}"))),
        _ => Ok(()),
    }
}

/// How well the course answers the questions that come with it, as `--json` tells it.
#[derive(Serialize)]
struct Headline<'a> {
    collection: &'static str,
    questions: usize,
    figures: &'a Figures,
}

/// Asks all questions with known answers, and tells how often the right page came first.
fn headline(engine: &Engine, samples: &Path, context: &Context) -> Result<(), Failure> {
    let bytes = demo::sample(demo::KNOWN_ANSWERS).ok_or_else(|| {
        Failure::internal(format!("sample {:?} is not in this binary", demo::KNOWN_ANSWERS))
    })?;
    let questions = eval::read_questions(bytes.to_vec())?;
    let mut options = EvalOptions::new(EvalSetting::new(demo::COURSE));
    options.explained = 0;
    let evaluation = engine.evaluate(&questions, &options, &CancelToken::new(), &|_| ())?;
    let Some(run) = evaluation.runs.first() else { return Ok(()) };
    let answerable = evaluation.answerable();
    let printer = &context.printer;
    if printer.is_json() {
        let headline = Headline { collection: demo::COURSE, questions: answerable, figures: &run.figures };
        return printer.record("headline", &headline);
    }
    let told: Vec<String> = HEADLINE
        .iter()
        .filter_map(|measure| {
            run.figures.get(measure).map(|estimate| format!("{measure} {:.2}", estimate.value))
        })
        .collect();
    printer.line(format_args!(
        "\n{BOLD}{answerable} questions with known answers: {}{BOLD:#}",
        told.join(", ")
    ))?;
    let file = samples.join(demo::KNOWN_ANSWERS);
    printer.line(format_args!(
        "{DIM}question by question: bilin eval {} {} --report report.html{DIM:#}",
        demo::COURSE,
        file.display()
    ))
}

fn next_steps(context: &Context) -> Result<(), Failure> {
    let printer = &context.printer;
    if printer.is_json() {
        return Ok(());
    }
    printer.line("\nYour own files:")?;
    printer.line("  bilin add notes FOLDER          documents (pptx docx pdf md txt …) or pictures")?;
    printer.line("  bilin search notes \"WORDS\"      answers with file and section")?;
    printer.line("  bilin search pictures --image FILE")?;
    printer.line("  bilin serve                     page, API and API reference\n")
}
