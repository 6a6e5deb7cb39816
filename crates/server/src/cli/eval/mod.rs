//! `bilin eval`: how well a collection answers questions whose answers are known, and why not better.

mod show;

use super::{Context, Exit, Failure, values};
use crate::report::{self, Language};
use bilin_engine::eval::{
    self, DEFAULT_EVAL_K, DraftLanguage, EvalOptions, EvalSetting, EvalStage, Evaluation,
    MAX_QUESTIONS_FILE_BYTES, Measure, Questions,
};
use bilin_engine::{CancelToken, Engine, Mode, Per};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Longest saved run that is read, bytes.
const MAX_RUN_FILE_BYTES: u64 = 256 << 20;

/// Asks every question of a file, compares what comes with what the file expects, and reports hit@k, MRR, recall@k and
/// nDCG@10 with their confidence intervals, question by question, with the reasons of failures. Changes nothing.
///
/// A questions file is JSON Lines or CSV: `question` and one or more of `section`, `chapter`, `page`, `slide`, `source`,
/// `contains` (part of the text) and `ids`; all that are given must hold. `expect` lists alternatives; `half` and `tags`
/// group the figures.
#[derive(Debug, Args)]
pub(super) struct Eval {
    /// Collection
    #[arg(required_unless_present = "questions_from")]
    collection: Option<String>,
    /// Questions with expected answers (.jsonl, .json or .csv)
    #[arg(required_unless_present = "questions_from")]
    questions: Option<PathBuf>,
    /// Draft a questions file from the headings of a collection, for a person to edit, on standard output
    #[arg(long, value_name = "COLLECTION", conflicts_with_all = ["collection", "questions"])]
    questions_from: Option<String>,
    /// Ask in several ways and compare them, such as --compare mode=dense,hybrid
    /// (collection, mode, k, fusion, per, effort); the first is the baseline
    #[arg(long, value_name = "KEY=A,B", value_parser = values::axis)]
    compare: Vec<(String, Vec<String>)>,
    /// Results asked for, and with that the depth of MRR
    #[arg(short = 'k', long = "top-k", default_value_t = DEFAULT_EVAL_K as u64, value_name = "K",
          value_parser = clap::value_parser!(u64).range(1..=values::MAX_K))]
    k: u64,
    /// How candidates are found: dense, lexical or hybrid [default: as configured]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// What counts as one result: item, section or document
    #[arg(long, value_name = "WHAT")]
    per: Option<Per>,
    /// Search effort: lists (IVF) or candidates (HNSW) to visit [default: as calibrated]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    effort: Option<u32>,
    /// Compare with a run saved by --json
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Exit with 1 when a figure of the first setting is below, such as hit@1=0.8,mrr=0.87
    #[arg(long, value_name = "MEASURE=VALUE", value_delimiter = ',', value_parser = values::floor)]
    fail_under: Vec<(Measure, f64)>,
    /// Let --fail-under pass over questions that nothing in the collection answers
    #[arg(long, requires = "fail_under")]
    allow_missing: bool,
    /// Write one self-contained HTML file with tables and plots
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Title of that report
    #[arg(long, requires = "report", value_name = "TEXT")]
    title: Option<String>,
    /// Language of the report and of drafted questions [default: en; of drafts, that of each heading]
    #[arg(long, value_enum)]
    language: Option<Language>,
    /// Leave times out, so that the same data gives the same report
    #[arg(long)]
    no_timings: bool,
    /// Seed of the resamples behind the intervals
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Resamples behind the intervals
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    resamples: u32,
}

/// What `--against` adds to the line of `--json`.
#[derive(Serialize)]
struct Against {
    comparisons: Vec<eval::Comparison>,
}

pub(super) fn run(args: &Eval, context: &Context) -> Result<Exit, Failure> {
    if let Some(collection) = &args.questions_from {
        return draft(collection, args.language, context);
    }
    let (Some(collection), Some(file)) = (&args.collection, &args.questions) else {
        // clap asks for both.
        return Err(Failure::usage("no collection and no questions were given"));
    };
    let printer = &context.printer;
    // Files are judged before the data folder is opened, which may take long.
    let questions = read_questions(file, context)?;
    let saved = args.against.as_deref().map(read_run).transpose()?;
    let options = options(args, collection)?;
    let engine = context.open_existing()?;
    let evaluation = evaluate(&engine, &questions, &options, context)?;
    let against = match &saved {
        Some(saved) => eval::compare_with_saved(saved, &evaluation, &CancelToken::new())?,
        None => Vec::new(),
    };
    if printer.is_json() {
        printer.record("evaluation", &evaluation)?;
        if saved.is_some() {
            printer.record("against", &Against { comparisons: against.clone() })?;
        }
    } else {
        show::show(&evaluation, &against, printer)?;
    }
    if let Some(path) = &args.report {
        let title = args.title.as_deref().unwrap_or(collection);
        let html = report::html(&evaluation, &against, args.language.unwrap_or_default(), title)
            .map_err(Failure::internal)?;
        report::write(path, &html)?;
        printer.note(format_args!("report written to {}", path.display()));
    }
    for warning in &evaluation.warnings {
        printer.warning(warning);
    }
    judge(args, &evaluation, context)
}

fn options(args: &Eval, collection: &str) -> Result<EvalOptions, Failure> {
    let mut base = EvalSetting::new(collection);
    base.k = args.k as usize;
    base.mode = args.mode;
    base.per = args.per;
    base.effort = args.effort.map(|effort| effort as usize);
    let settings = EvalSetting::grid(&base, &args.compare)?;
    let mut options = EvalOptions::new(base);
    options.settings = settings;
    options.seed = args.seed;
    options.resamples = args.resamples as usize;
    options.timings = !args.no_timings;
    Ok(options)
}

fn evaluate(
    engine: &Engine,
    questions: &Questions,
    options: &EvalOptions,
    context: &Context,
) -> Result<Evaluation, Failure> {
    // One bar for all stages, in thousandths of the stage.
    let bar = context.printer.share("evaluating", 1_000);
    let progress = |progress: eval::EvalProgress| {
        bar.beside(match progress.stage {
            EvalStage::Counting => "counting what is right",
            EvalStage::Asking => "asking",
            EvalStage::Explaining => "explaining failures",
        });
        bar.at((progress.done * 1_000 / progress.total.max(1)) as u64);
    };
    Ok(engine.evaluate(questions, options, &CancelToken::new(), &progress)?)
}

/// Whether the run is good enough, in words and as exit code.
fn judge(args: &Eval, evaluation: &Evaluation, context: &Context) -> Result<Exit, Failure> {
    let Some(run) = evaluation.runs.first() else { return Ok(Exit::Success) };
    if !evaluation.nowhere.is_empty() {
        let lines: Vec<String> = evaluation.nowhere.iter().take(10).map(|at| name(evaluation, *at)).collect();
        context.printer.warning(format_args!(
            "{} of {} questions expect what is nowhere in the collection and are left out of the figures: {}",
            evaluation.nowhere.len(),
            evaluation.questions.len(),
            lines.join(", ")
        ));
    }
    let mut under = Vec::new();
    for (measure, floor) in &args.fail_under {
        let Some(estimate) = run.figures.get(measure) else {
            let known: Vec<String> = run.figures.keys().map(Measure::to_string).collect();
            return Err(Failure::mendable(format!(
                "{measure} is not measured with {} results, only {}",
                run.setting.k,
                known.join(", ")
            ))
            .with_hint("ask for more results with -k, or name one of these"));
        };
        if estimate.value < *floor {
            under.push(format!("{measure} is {:.4}, below {floor}", estimate.value));
        }
    }
    let fails = !args.fail_under.is_empty();
    if fails && !args.allow_missing && !evaluation.nowhere.is_empty() {
        under.push(format!(
            "{} questions expect what is nowhere in the collection (--allow-missing lets that pass)",
            evaluation.nowhere.len()
        ));
    }
    if fails && evaluation.answerable() == 0 {
        under.push("no question can be answered".to_owned());
    }
    if under.is_empty() {
        return Ok(Exit::Success);
    }
    for told in under {
        context.printer.warning(told);
    }
    Ok(Exit::Mendable)
}

/// How a question is pointed at: the line of the file, or its words.
fn name(evaluation: &Evaluation, at: usize) -> String {
    match evaluation.questions.get(at) {
        Some(question) if question.line > 0 => format!("line {}", question.line),
        Some(question) => format!("{:?}", question.question),
        None => format!("question {}", at + 1),
    }
}

fn draft(collection: &str, language: Option<Language>, context: &Context) -> Result<Exit, Failure> {
    let engine = context.open_existing()?;
    let language = language.map(|language| match language {
        Language::Zh => DraftLanguage::Chinese,
        Language::En => DraftLanguage::English,
    });
    let drafts = engine.draft_questions(collection, language, &CancelToken::new())?;
    for drafted in &drafts {
        let line = serde_json::to_string(drafted)
            .map_err(|error| Failure::internal(format!("cannot write a question: {error}")))?;
        context.printer.bytes(format!("{line}\n").as_bytes())?;
    }
    context.printer.note(format_args!(
        "{} questions drafted; put each in a reader's own words, for one that repeats its heading is too easy, and take its \
         \"draft\" away",
        drafts.len()
    ));
    Ok(Exit::Success)
}

fn read_questions(path: &Path, context: &Context) -> Result<Questions, Failure> {
    let bytes = values::read_bounded(path, MAX_QUESTIONS_FILE_BYTES as u64)?;
    let questions = eval::read_questions(bytes).map_err(|mut error| {
        error.message = format!("{}: {}", path.display(), error.message);
        error
    })?;
    let printer = &context.printer;
    if !questions.unknown_fields.is_empty() {
        printer.warning(format_args!(
            "{}: these fields mean nothing here and were passed over: {}",
            path.display(),
            questions.unknown_fields.join(", ")
        ));
    }
    let drafts = questions.list.iter().filter(|question| question.draft).count();
    if drafts > 0 {
        printer.warning(format_args!(
            "{drafts} questions are drafts made of headings; figures over them are better than those of real questions"
        ));
    }
    Ok(questions)
}

/// The evaluation that `--json` wrote: the first line of its type.
fn read_run(path: &Path) -> Result<Evaluation, Failure> {
    let shown = path.display();
    let bytes = values::read_bounded(path, MAX_RUN_FILE_BYTES)?;
    let no_run = |told: String| {
        Failure::mendable(format!("{shown} holds no saved run: {told}"))
            .with_hint("save one with bilin eval COLLECTION QUESTIONS --json > FILE")
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    for line in lines {
        let value: serde_json::Value =
            serde_json::from_slice(line).map_err(|error| no_run(error.to_string()))?;
        if value["type"] != "evaluation" {
            continue;
        }
        return serde_json::from_value(value).map_err(|error| no_run(error.to_string()));
    }
    Err(no_run("expected a line of type \"evaluation\"".to_owned()))
}
