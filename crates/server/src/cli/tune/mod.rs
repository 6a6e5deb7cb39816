//! `bilin tune`: which index suits a collection and how hard to search it, measured on its own rows and queries.

mod quick;
mod show;

use super::{Context, Exit, Failure, values};
use crate::report::{self, Language};
use bilin_engine::{CancelToken, GivenQueries, IndexSpec, StudyOptions, StudyProgress, npy};
use clap::Args;
use std::path::{Path, PathBuf};

/// Longest file of queries that is read, bytes.
const MAX_QUERIES_FILE_BYTES: u64 = 256 << 20;

/// Builds indexes over the rows (up to 100 000 of them), asks held-out rows or your own queries with every setting, and shows
/// recall@10 against speed, build time and memory. Changes nothing without --apply. The nprobe study of the course:
/// bilin tune pictures --index IVF16,Flat --nprobe 1,2,4,8,16 --report nprobe.html --language zh
#[derive(Debug, Args)]
pub(super) struct Tune {
    /// Collection to tune
    collection: String,
    /// recall@10 to reach [default: the collection's own]
    #[arg(long, value_name = "R", value_parser = values::recall)]
    target_recall: Option<f32>,
    /// Most memory that the index may need, rows included, such as 2GiB
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    memory: Option<u64>,
    /// Build the chosen index and serve from it
    #[arg(long)]
    apply: bool,
    /// Index to measure; may be repeated [default: Flat, IVF, IVF with codes, HNSW, sized to the rows]
    #[arg(long = "index", value_name = "SPEC", value_parser = values::index_spec, conflicts_with = "quick")]
    specs: Vec<IndexSpec>,
    /// Lists to visit (IVF), such as 1,2,4,8 [default: doubled until nothing is missed]
    #[arg(long, value_name = "N,N", value_delimiter = ',', conflicts_with = "quick")]
    nprobe: Vec<usize>,
    /// Candidates kept (HNSW), such as 16,64,256 [default: likewise]
    #[arg(long, value_name = "N,N", value_delimiter = ',', conflicts_with = "quick")]
    ef: Vec<usize>,
    /// Candidates measured again behind codes, in multiples of ten, such as 1,4,16
    #[arg(long, value_name = "N,N", value_delimiter = ',', conflicts_with = "quick")]
    refine: Vec<usize>,
    /// Queries to ask: one text a line, a questions file (JSON Lines), or vectors (.npy) [default: rows held out]
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    queries: Option<PathBuf>,
    /// Most queries
    #[arg(long, value_name = "N", default_value_t = 1_000, conflicts_with = "quick")]
    max_queries: usize,
    /// Rows to build over [default: all, up to 100 000 and 256 MiB]
    #[arg(long, value_name = "N", conflicts_with = "quick")]
    rows: Option<usize>,
    /// Begin no new index or setting after so many seconds
    #[arg(long, value_name = "N", default_value_t = 600, conflicts_with = "quick")]
    seconds: u64,
    /// Write one self-contained HTML file with conclusion, plots and tables
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    report: Option<PathBuf>,
    /// Title of that report
    #[arg(long, requires = "report", value_name = "TEXT")]
    title: Option<String>,
    /// Language of that report
    #[arg(long, value_enum, requires = "report")]
    language: Option<Language>,
    /// Only choose a kind, by a small sample carried over to all rows
    #[arg(long)]
    quick: bool,
    /// With --quick: show every kind that was measured, and why it was chosen or not
    #[arg(long, requires = "quick")]
    explain: bool,
}

pub(super) fn run(args: &Tune, context: &Context) -> Result<Exit, Failure> {
    // Files are judged before the data folder is opened, which may take long.
    let queries = args.queries.as_deref().map(read_queries).transpose()?.unwrap_or_default();
    let engine = context.open_existing()?;
    if args.quick {
        return quick::run(args, &engine, context).map(|()| Exit::Success);
    }
    let printer = &context.printer;
    let options = StudyOptions {
        target_recall: args.target_recall,
        memory_bytes: args.memory,
        specs: args.specs.clone(),
        nprobe: args.nprobe.clone(),
        ef: args.ef.clone(),
        refine: args.refine.clone(),
        queries,
        max_queries: args.max_queries,
        rows: args.rows,
        seconds: args.seconds,
        apply: args.apply,
    };
    let study = {
        let bar = printer.share("tuning", 1_000);
        let told = |progress: &StudyProgress| {
            bar.beside(progress.step.clone());
            bar.at(progress.permille as u64);
        };
        engine.study(&args.collection, &options, &CancelToken::new(), &told)?
    };
    match printer.is_json() {
        true => printer.record("study", &study)?,
        false => show::show(&study, printer)?,
    }
    if let Some(path) = &args.report {
        let title = args.title.as_deref().unwrap_or(&args.collection);
        let html =
            report::study(&study, args.language.unwrap_or_default(), title).map_err(Failure::internal)?;
        report::write(path, &html)?;
        printer.note(format_args!("report written to {}", path.display()));
    }
    Ok(Exit::Success)
}

/// Texts or vectors, by what the file begins with.
fn read_queries(path: &Path) -> Result<GivenQueries, Failure> {
    let shown = path.display();
    let bytes = values::read_bounded(path, MAX_QUERIES_FILE_BYTES)?;
    let unusable = |told: String| {
        Failure::mendable(format!("cannot use the queries in {shown}: {told}")).with_hint(
            "give one text a line, a questions file (JSON Lines), or vectors as .npy of shape [n, dim]",
        )
    };
    if bytes.starts_with(b"\x93NUMPY") {
        let array = npy::read_f32(&bytes).map_err(|error| unusable(error.to_string()))?;
        return Ok(GivenQueries::Vectors { values: array.values, dim: array.dim });
    }
    let text = String::from_utf8(bytes).map_err(|error| unusable(error.to_string()))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).enumerate();
    let texts: Vec<String> = lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| question(line).ok_or_else(|| unusable(format!("line {} has no question", at + 1))))
        .collect::<Result<_, Failure>>()?;
    if texts.is_empty() {
        return Err(unusable("it is empty".to_owned()));
    }
    Ok(GivenQueries::Texts(texts))
}

/// The line itself, or its `question` where it is a JSON object.
fn question(line: &str) -> Option<String> {
    if !line.starts_with('{') {
        return Some(line.to_owned());
    }
    let object: serde_json::Value = serde_json::from_str(line).ok()?;
    object.get("question")?.as_str().map(str::to_owned)
}
