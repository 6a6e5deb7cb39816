//! `bilin add --watch`: what comes, changes and goes below the paths is taken in until Ctrl-C.
//!
//! The data folder is held only while something is added, so other commands may use it in between. Where `bilin serve` runs, it
//! watches itself (`watch.sources`).

use super::add::{self, Drawing};
use super::{Context, Exit, Failure};
use bilin_engine::{AddOptions, AddReport, Engine, Error, ErrorKind, WatchEvent, WatchPass, Watching, watch};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Adds, and goes on watching.
pub(super) fn run(
    engine: Engine,
    collection: &str,
    paths: &[PathBuf],
    options: AddOptions,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut watched = Watched {
        engine: Some(engine),
        collection,
        options,
        context,
        interrupted: add::interrupted(),
        failure: None,
        started: Instant::now(),
        has_passed: false,
    };
    watch(paths, context.config.watch_timing, &mut watched)?;
    match watched.failure {
        Some(failure) => Err(failure),
        None => {
            context.printer.note("stopped");
            Ok(Exit::Success)
        }
    }
}

struct Watched<'a> {
    /// Open for the first pass, which made sure of it.
    engine: Option<Engine>,
    collection: &'a str,
    options: AddOptions,
    context: &'a Context,
    interrupted: Arc<AtomicBool>,
    /// stdout cannot be written any more.
    failure: Option<Failure>,
    started: Instant,
    has_passed: bool,
}

impl Watched<'_> {
    fn add(&mut self, engine: &Engine, pass: &WatchPass) -> Result<Option<AddReport>, Error> {
        let drawing = Drawing::of_many(&self.context.printer, Arc::clone(&self.interrupted));
        let report = engine.watched_pass(self.collection, pass, &self.options, &drawing);
        self.failure = drawing.finish();
        report
    }
}

impl Watching for Watched<'_> {
    fn pass(&mut self, pass: &WatchPass) -> Result<Option<AddReport>, Error> {
        self.started = Instant::now();
        let engine = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::open(self.context.config.engine.clone())?,
        };
        self.add(&engine, pass)
    }

    fn tell(&mut self, event: WatchEvent<'_>) {
        let printer = &self.context.printer;
        match event {
            WatchEvent::Watching { folder, polling } => {
                let folder = folder.display();
                match polling {
                    None => printer.note(format_args!("watching {folder}; Ctrl-C stops")),
                    Some(reason) => printer.note(format_args!(
                        "looking at {folder} every few seconds, since {reason}; Ctrl-C stops"
                    )),
                }
            }
            WatchEvent::Missing { folder, reason } => printer.warning(format_args!(
                "{:?}: {reason}; what was added from it stays, and it is waited for",
                folder.display().to_string()
            )),
            WatchEvent::Empty => {
                printer.warning("there is nothing to read yet; what was added before stays until there is")
            }
            WatchEvent::Passed { report, .. } => {
                let changed = report.files_added + report.files_changed + report.files_removed > 0;
                if (changed || !self.has_passed)
                    && let Err(failure) = add::summary(self.collection, report, self.started, printer)
                {
                    self.failure.get_or_insert(failure);
                }
                self.has_passed = true;
            }
            WatchEvent::Problem(problem) => {
                if let Err(failure) = add::problem(problem, printer) {
                    self.failure.get_or_insert(failure);
                }
            }
            WatchEvent::Failed(error) => {
                let why = match error.kind {
                    ErrorKind::Locked => "another bilin holds the data folder",
                    _ => error.message.as_str(),
                };
                printer.warning(format_args!("what changed could not be taken in: {why}; it is tried again"));
            }
            WatchEvent::StillWritten(path) => printer.warning(format_args!(
                "{:?} is written all the time; it is taken in when that ends",
                path.display().to_string()
            )),
        }
    }

    fn stopped(&self) -> bool {
        self.failure.is_some() || self.interrupted.load(Ordering::Relaxed)
    }
}
