//! `bilin add`: files and folders into a collection, one commit per batch, problems told one by one.

use super::values::{self, Cut, FileKind, Long};
use super::{Context, Exit, Failure, urls, watch};
use crate::printer::{Bar, Printer};
use bilin_engine::{AddEvent, AddOptions, AddProgress, AddReport, Engine, IndexSpec, TextWishes};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Files that are unchanged since they were added are skipped, so the same command can be run again at any time.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Collection; made when it is not there
    collection: String,
    /// Files and folders: pptx docx xlsx epub md txt ipynb csv jsonl and zip of these; or jpeg png webp gif bmp, zip of these,
    /// and tables (csv jsonl) beside them that tell their fields by file_name. Also addresses (https://...), where add.urls
    /// allows it
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Model of a new collection
    #[arg(long, value_name = "ID|DIR")]
    model: Option<String>,
    /// Index of a new collection: auto, Flat, IVF<nlist>,Flat or HNSW<m>
    #[arg(long, value_name = "SPEC", value_parser = values::index_spec)]
    index: Option<IndexSpec>,
    /// Metadata for everything added; may be repeated
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = values::pair)]
    metadata: Vec<(String, Value)>,
    /// Remove documents whose files under the given paths are gone
    #[arg(long)]
    sync: bool,
    /// Go on watching the paths, and take in what comes, changes and goes, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Take the name of the folder (or archive) that holds a picture as its category, also of one that is itself named here
    #[arg(long)]
    category_from_folder: bool,
    /// How text is cut
    #[arg(long, value_enum, default_value_t)]
    split: Cut,
    /// Which files a new collection takes [default: what the paths hold]
    #[arg(long, value_enum)]
    kind: Option<FileKind>,
    /// Put before queries to a new collection [default: what the model's card says]
    #[arg(long, value_name = "TEXT")]
    query_prompt: Option<String>,
    /// Put before what a new collection holds [default: what the model's card says]
    #[arg(long, value_name = "TEXT")]
    document_prompt: Option<String>,
    /// How a new collection reads texts longer than its model does [default: truncate]
    #[arg(long, value_enum)]
    long_texts: Option<Long>,
    /// Whether a new collection encodes chapter and section with each text; what is shown stays the same [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    headings: Option<bool>,
}

#[derive(Serialize)]
struct Problem<'a> {
    path: String,
    reason: &'a str,
    hint: Option<&'a str>,
    /// The rest of the file was added: a warning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

/// The summary line of `--json`.
#[derive(Serialize)]
struct Added<'a> {
    collection: &'a str,
    files_added: usize,
    files_changed: usize,
    files_unchanged: usize,
    files_removed: usize,
    passed_over: usize,
    items_added: usize,
    items_truncated: usize,
    items_left_out: usize,
    problems: usize,
    /// Files that were added but for some pages.
    partial: usize,
    seq: u64,
    elapsed_ms: u64,
}

pub(super) fn run(args: &Add, context: &Context) -> Result<Exit, Failure> {
    let (urls, paths) = urls::parted(&args.paths);
    check_paths(&paths)?;
    if !urls.is_empty() {
        urls::check(args.sync || args.watch, context)?;
    }
    let data = &context.config.engine.data;
    let made_here = !data.exists();
    let engine = context.open()?;
    let options = AddOptions {
        model: args.model.as_deref().map(|id| context.model_id(id)),
        index: args.index.clone(),
        metadata: args.metadata.iter().cloned().collect(),
        sync: args.sync,
        except: BTreeSet::new(),
        split: args.split.into(),
        kind: args.kind.map(Into::into),
        texts: TextWishes {
            query_prompt: args.query_prompt.clone(),
            document_prompt: args.document_prompt.clone(),
            long_texts: args.long_texts.map(Into::into),
            headings: args.headings,
        },
        category_from_folder: args.category_from_folder,
    };
    if args.watch {
        let watched = watch::run(engine, &args.collection, &paths, options, context);
        if watched.is_err() && made_here {
            remove_empty(data);
        }
        return watched;
    }
    let mut result = Ok(AddReport::default());
    if !paths.is_empty() {
        result = add(&engine, &args.collection, &paths, &options, &context.printer);
    }
    if let (Ok(report), false) = (&mut result, urls.is_empty()) {
        match urls::add(&engine, &args.collection, &urls, &options, context) {
            Ok(fetched) => report.problems.extend(fetched.problems),
            Err(failure) => result = Err(failure),
        }
    }
    if result.is_err() && made_here && engine.collections().is_empty() {
        drop(engine);
        remove_empty(data);
    }
    let report = result?;
    // Pages without text are told; what can be searched of the file is in.
    let failed = report.problems.iter().any(|problem| !problem.is_partial);
    Ok(if failed { Exit::Mendable } else { Exit::Success })
}

/// Adds with bars, problems and a summary; what `add` and `demo` share.
pub(super) fn add(
    engine: &Engine,
    collection: &str,
    paths: &[PathBuf],
    options: &AddOptions,
    printer: &Printer,
) -> Result<AddReport, Failure> {
    let started = Instant::now();
    let drawing = Drawing::new(printer, "reading");
    let report = engine.add_paths(collection, paths, options, &drawing)?;
    if let Some(failure) = drawing.finish() {
        return Err(failure);
    }
    summary(collection, &report, started, printer)?;
    Ok(report)
}

/// What an add did, for people and scripts.
pub(super) fn summary(
    collection: &str,
    report: &AddReport,
    started: Instant,
    printer: &Printer,
) -> Result<(), Failure> {
    let summary = Added {
        collection,
        files_added: report.files_added,
        files_changed: report.files_changed,
        files_unchanged: report.files_unchanged,
        files_removed: report.files_removed,
        passed_over: report.passed_over,
        items_added: report.items_added,
        items_truncated: report.items_truncated,
        items_left_out: report.items_left_out,
        problems: report.problems.iter().filter(|problem| !problem.is_partial).count(),
        partial: report.problems.iter().filter(|problem| problem.is_partial).count(),
        seq: report.seq,
        elapsed_ms: started.elapsed().as_millis() as u64,
    };
    if printer.is_json() {
        printer.record("added", &summary)?;
    } else {
        printer.line(sentence(&summary))?;
    }
    if report.items_truncated > 0 {
        printer.warning(format_args!(
            "{} of the items are longer than the model reads; only their beginning is searchable (a collection made with --long-texts window reads all of them)",
            report.items_truncated
        ));
    }
    if report.items_left_out > 0 {
        printer.note(format_args!(
            "{} items hold only punctuation or symbols and were left out",
            report.items_left_out
        ));
    }
    Ok(())
}

/// What could not be added.
pub(super) fn problem(problem: &bilin_engine::Problem, printer: &Printer) -> Result<(), Failure> {
    let path = problem.path.display().to_string();
    let hint = problem.hint.as_deref();
    let partial = problem.is_partial;
    match partial {
        true => printer.partial(&path, &problem.reason, hint),
        false => printer.problem(&path, &problem.reason, hint),
    }
    match printer.is_json() {
        true => printer.record("problem", &Problem { path, reason: &problem.reason, hint, partial }),
        false => Ok(()),
    }
}

/// Set by the first Ctrl-C or SIGTERM; the second ends the process. Without the handlers the first one ends the process, which
/// loses nothing either, so failing to set them is no failure.
pub(super) fn interrupted() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone());
        let _ = signal_hook::flag::register(signal, interrupted.clone());
    }
    interrupted
}

/// `course: 3 files added, 1 unchanged: 42 items in 1.2 s`.
fn sentence(summary: &Added<'_>) -> String {
    let counts = [
        (summary.files_added, "added"),
        (summary.files_changed, "changed"),
        (summary.files_unchanged, "unchanged"),
        (summary.files_removed, "removed"),
        (summary.passed_over, "of other kinds passed over"),
        (summary.problems, "with problems"),
        (summary.partial, "not read whole"),
    ];
    let files: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .enumerate()
        .map(|(at, (count, what))| match (at, count) {
            (0, 1) => format!("1 file {what}"),
            (0, _) => format!("{count} files {what}"),
            _ => format!("{count} {what}"),
        })
        .collect();
    let files = if files.is_empty() { "no files".to_owned() } else { files.join(", ") };
    let items = if summary.items_added == 1 { "item" } else { "items" };
    let seconds = summary.elapsed_ms as f64 / 1_000.0;
    format!("{}: {files}; {} {items} added in {seconds:.1} s", summary.collection, summary.items_added)
}

/// A path that does not exist is told before anything is opened or made.
fn check_paths(paths: &[PathBuf]) -> Result<(), Failure> {
    match paths.iter().find(|path| path.symlink_metadata().is_err() && !path.exists()) {
        None => Ok(()),
        Some(path) => {
            Err(Failure::mendable(format!("there is no file or folder {:?}", path.display().to_string()))
                .with_hint("check the spelling and the working folder; nothing was changed"))
        }
    }
}

/// Takes back a data folder that this command made and that holds nothing: a refused command leaves no trace.
/// `remove_dir` refuses folders that are not empty, so nothing of the user's can go.
pub(super) fn remove_empty(data: &Path) {
    let lock = data.join("bilin.lock");
    if std::fs::remove_dir(data.join("collections")).is_ok() || !data.join("collections").exists() {
        let _ = std::fs::remove_file(lock);
    }
    let _ = std::fs::remove_dir(data);
}

/// Draws the events of an add.
pub(super) struct Drawing<'a> {
    printer: &'a Printer,
    interrupted: Arc<AtomicBool>,
    with_problems: bool,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    files: Option<Bar>,
    indexing: Option<Bar>,
    /// When the first file was begun.
    began: Option<Instant>,
    all_files: usize,
    files_done: usize,
    items: usize,
    /// The first failure to write stdout; the add stops after the current commit.
    failure: Option<Failure>,
}

impl State {
    /// Moves the bar of an add; the rate is that of items since its first file, as commits come in bursts.
    fn show(&self, done_bytes: u64) {
        let (Some(bar), Some(began)) = (&self.files, self.began) else { return };
        let State { files_done, all_files, items, .. } = self;
        let rate = *items as f64 / began.elapsed().as_secs_f64().max(1e-3);
        bar.at(done_bytes);
        let files = if *all_files == 1 { "file" } else { "files" };
        bar.beside(format!("{files_done} of {all_files} {files}, {items} items, {rate:.0} items/s"));
    }
}

impl<'a> Drawing<'a> {
    /// `what` is said beside the first bar.
    pub(super) fn new(printer: &'a Printer, what: &'static str) -> Drawing<'a> {
        let state = State { files: Some(printer.bar(what, None)), ..State::default() };
        Drawing { printer, interrupted: interrupted(), with_problems: true, state: RefCell::new(state) }
    }

    /// Of an add that may be one of many: `interrupted` stops after the current commit, and somebody else tells the problems.
    pub(super) fn of_many(printer: &'a Printer, interrupted: Arc<AtomicBool>) -> Drawing<'a> {
        let state = State { files: Some(printer.bar("reading", None)), ..State::default() };
        Drawing { printer, interrupted, with_problems: false, state: RefCell::new(state) }
    }

    /// The first failure to write stdout, if there was one.
    pub(super) fn finish(self) -> Option<Failure> {
        self.state.into_inner().failure
    }
}

impl AddProgress for Drawing<'_> {
    fn event(&self, event: &AddEvent) {
        let mut state = self.state.borrow_mut();
        match event {
            AddEvent::Found { files, bytes } => {
                state.files = None;
                state.files = Some(self.printer.share("adding", *bytes));
                (state.began, state.all_files) = (Some(Instant::now()), *files);
            }
            AddEvent::File { done_bytes, .. } => {
                state.files_done += 1;
                state.show(*done_bytes);
            }
            AddEvent::Committed { items, done_bytes } => {
                state.items = *items;
                state.show(*done_bytes);
            }
            AddEvent::Imported { items, total } | AddEvent::Exported { items, total } => {
                if let Some(bar) = &state.files {
                    bar.at(*items as u64);
                    bar.beside(format!("of {total} vectors"));
                }
            }
            AddEvent::Problem(told) if self.with_problems => {
                if let Err(failure) = problem(told, self.printer) {
                    state.failure.get_or_insert(failure);
                }
            }
            AddEvent::Problem(_) => {}
            AddEvent::Indexing { done, total } => {
                state.files = None;
                let total = *total as u64;
                let bar = state.indexing.get_or_insert_with(|| self.printer.bar("indexing", Some(total)));
                bar.at(*done as u64);
                bar.beside("rows");
            }
        }
    }

    fn cancelled(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.state.borrow().failure.is_some()
    }
}
