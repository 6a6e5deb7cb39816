//! `add_paths`: a folder of files into a collection.

use super::pipeline::{Message, Pipeline};
use super::plan::{Plan, plan};
use super::prepare::Preparation;
use super::{AddEvent, AddOptions, AddProgress, AddReport};
use crate::Engine;
use crate::error::{Error, ErrorKind};
use crate::storage::VectorStore;
use bilin_ingest::{Problem, Walk};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How often the caller is asked whether to stop while the index is built.
const POLL: Duration = Duration::from_millis(100);
/// Progress figures waiting for the caller's thread.
const QUEUE_PROGRESS: usize = 16;

/// See [`Engine::add_paths`].
pub(crate) fn add_paths(
    engine: &Engine,
    collection: &str,
    paths: &[PathBuf],
    options: &AddOptions,
    progress: &dyn AddProgress,
) -> Result<AddReport, Error> {
    let Plan { mut store, walk, created } = plan(engine, collection, paths, options)?;
    let mut report = AddReport::default();
    let mut added = add_walked(engine, &*store, walk, options, progress, &mut report);
    while let Err(error) = &added
        && engine.stores.has_successor(collection, error)
    {
        // What is in came along and is found unchanged there; the rest is encoded by the successor's model.
        let before = std::mem::take(&mut report);
        let again = plan(engine, collection, paths, options)?;
        store = again.store;
        added = add_walked(engine, &*store, again.walk, options, progress, &mut report);
        report.go_on_from(&before);
    }
    if created && store.view().count() == 0 {
        // Nothing could be used: leave no empty collection behind.
        engine.stores.remove(collection)?;
        return added.map(|()| report);
    }
    added?;
    watch_maintenance(engine, &*store, progress)?;
    Ok(report)
}

fn add_walked(
    engine: &Engine,
    store: &dyn VectorStore,
    mut walk: Walk,
    options: &AddOptions,
    progress: &dyn AddProgress,
    report: &mut AddReport,
) -> Result<(), Error> {
    let settings = store.settings();
    let encoder = engine.models.for_settings(store.name(), &settings)?.ok_or_else(|| {
        Error::invalid(format!("collection {:?} has no model to read files with", store.name()))
    })?;
    walk.found.retain(|found| !options.except.contains(&found.path));
    (report.passed_over, report.seq) = (walk.passed_over, store.view().seq());
    progress.event(&AddEvent::Found {
        files: walk.found.len(),
        bytes: walk.found.iter().map(|found| found.bytes).sum(),
    });
    for problem in walk.problems {
        tell_problem(report, progress, problem);
    }
    let pipeline = Pipeline {
        store,
        pool: &engine.background,
        precedence: engine.passes.precedence(),
        preparation: Preparation {
            encoder: &*encoder,
            split: options.split,
            max_tokens: engine.config.max_passage_tokens,
            overlap_tokens: engine.config.overlap_tokens,
            headings: settings.model.as_ref().is_some_and(|model| model.reading.headings),
            sentences: engine.config.sentences,
            max_file_bytes: engine.config.max_file_bytes,
            limits: engine.config.document_limits,
            picture_limits: engine.config.picture_limits,
            metadata: &options.metadata,
        },
        stop: AtomicBool::new(false),
    };
    let mut done_bytes = 0;
    pipeline.run(walk.found, |message| {
        if let Some(message) = message {
            tell(report, &mut done_bytes, progress, message);
        }
        progress.cancelled()
    })?;
    if options.sync && !pipeline.stopped() {
        super::sync::remove_gone(store, &walk.roots, |files, seq| {
            report.files_removed += files;
            report.seq = seq;
            !progress.cancelled()
        })?;
    }
    if pipeline.stopped() || progress.cancelled() {
        return Err(Error::new(
            ErrorKind::Cancelled,
            format!(
                "adding to {:?} was stopped; {} files with {} items are in",
                store.name(),
                report.files_added + report.files_changed,
                report.items_added
            ),
        )
        .with_hint("run the same command again to add the rest"));
    }
    Ok(())
}

fn tell(report: &mut AddReport, done: &mut u64, progress: &dyn AddProgress, message: Message) {
    match message {
        Message::File { source, items, bytes } => {
            *done += bytes;
            progress.event(&AddEvent::File { source, items, done_bytes: *done });
        }
        Message::Unchanged { source, bytes } => {
            report.files_unchanged += 1;
            *done += bytes;
            progress.event(&AddEvent::File { source, items: 0, done_bytes: *done });
        }
        Message::Problem(problem) => tell_problem(report, progress, problem),
        Message::LeftOut(items) => report.items_left_out += items,
        Message::Written(written) => {
            report.seq = written.seq;
            report.items_added += written.items;
            report.items_truncated += written.truncated;
            report.files_added += written.files_added;
            report.files_changed += written.files_changed;
            report.files_unchanged += written.files_unchanged;
            *done += written.bytes;
            progress.event(&AddEvent::Committed { items: report.items_added, done_bytes: *done });
        }
    }
}

fn tell_problem(report: &mut AddReport, progress: &dyn AddProgress, problem: Problem) {
    progress.event(&AddEvent::Problem(problem.clone()));
    report.problems.push(problem);
}

/// Builds a generation when that is due; where upkeep runs, it does that.
pub(crate) fn watch_maintenance(
    engine: &Engine,
    store: &dyn VectorStore,
    progress: &dyn AddProgress,
) -> Result<(), Error> {
    if engine.board.is_running() {
        return Ok(());
    }
    let upkeep = engine.config.upkeep(false);
    match watch(progress, |report| store.maintain(&upkeep, report))? {
        Ok(reason) => {
            tracing::debug!(collection = store.name(), reason, "maintained");
            Ok(())
        }
        Err(error) if error.kind == ErrorKind::Cancelled => Err(Error::new(
            ErrorKind::Cancelled,
            format!("everything was added to {:?}; building its index was stopped", store.name()),
        )
        .with_hint("searches are exact until the next add builds the index")),
        Err(error) => Err(error),
    }
}

/// Runs `work`, which reports rows done and rows in all from any thread, while the caller's thread tells of them.
/// Figures cross through a small queue that drops them rather than hold up the work.
pub(crate) fn watch<T: Send>(
    progress: &dyn AddProgress,
    work: impl FnOnce(&(dyn Fn(usize, usize) -> bool + Sync)) -> T + Send,
) -> Result<T, Error> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (tell, figures) = sync_channel(QUEUE_PROGRESS);
        let stop = &stop;
        let working = scope.spawn(move || {
            work(&|done, total| {
                let _ = tell.try_send((done, total));
                !stop.load(Ordering::Relaxed)
            })
        });
        loop {
            match figures.recv_timeout(POLL) {
                Ok((done, total)) => progress.event(&AddEvent::Indexing { done, total }),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if progress.cancelled() {
                stop.store(true, Ordering::Relaxed);
            }
        }
        let ended = "the thread that builds the index ended unexpectedly";
        working.join().map_err(|_| Error::new(ErrorKind::Internal, ended))
    })
}
