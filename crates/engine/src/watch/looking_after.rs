//! Sources that a running engine looks after: a thread for each collection, and what is known of it.

use super::{WatchEvent, WatchPass, WatchTiming, Watching, watch};
use crate::Engine;
use crate::add::{AddEvent, AddOptions, AddProgress, AddReport};
use crate::error::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is known of the folders of a collection that are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchStatus {
    /// As they were named.
    pub folders: Vec<PathBuf>,
    /// Of them, those that cannot be looked at, with the reason.
    pub missing: BTreeMap<PathBuf, String>,
    /// Of them, those that are listed every few seconds, since no events come from them, with the reason.
    pub polled: BTreeMap<PathBuf, String>,
    /// Files in them.
    pub files: usize,
    /// Of them, those that are still written.
    pub waiting: usize,
    /// Passes so far.
    pub passes: u64,
    /// When the last one was over, in seconds since 1970.
    pub last_pass_unix_s: Option<u64>,
    /// Why the last one failed.
    pub failure: Option<String>,
    /// Whether it goes on.
    pub is_running: bool,
}

/// What is known of all sources, by collection.
#[derive(Debug, Default)]
pub(crate) struct WatchBoard {
    known: Mutex<BTreeMap<String, WatchStatus>>,
}

impl WatchBoard {
    fn change(&self, collection: &str, change: impl FnOnce(&mut WatchStatus)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(known.entry(collection.to_owned()).or_default());
    }
}

/// Sources are watched until this is dropped, which stops what runs after its commit and waits for its end.
#[must_use = "watching ends when this is dropped"]
#[derive(Debug, Default)]
pub struct Watchers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that watches folders panicked");
            }
        }
    }
}

impl Engine {
    /// Watches folders from now on, by collection, until the answer is dropped. A collection that does not exist is made
    /// when there is something for it.
    pub fn watch_sources(
        self: &Arc<Engine>,
        sources: &BTreeMap<String, Vec<PathBuf>>,
        timing: WatchTiming,
    ) -> Watchers {
        let mut watchers = Watchers::default();
        for (collection, folders) in sources {
            let (engine, stop) = (Arc::clone(self), Arc::clone(&watchers.stop));
            let (collection, folders) = (collection.clone(), folders.clone());
            let work = move || {
                let mut source = Source { engine, collection, stop };
                source.change(|status| (status.folders, status.is_running) = (folders.clone(), true));
                while let Err(error) = watch(&folders, timing, &mut source) {
                    // Of the first pass: the same may go well when the disk or the file is mended.
                    source.tell(WatchEvent::Failed(&error));
                    source.rest();
                }
                source.change(|status| status.is_running = false);
            };
            match Builder::new().name("bilin-watch".to_owned()).spawn(work) {
                Ok(thread) => watchers.threads.push(thread),
                Err(error) => tracing::error!(%error, "cannot start a thread that watches folders"),
            }
        }
        watchers
    }

    /// What is known of the folders that are watched, by collection.
    pub fn watch_status(&self) -> BTreeMap<String, WatchStatus> {
        self.watching.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a pass of watched folders; `None` = there is no such collection, and nothing to make it for.
    ///
    /// # Errors
    /// Those of [`Engine::add_paths`].
    pub fn watched_pass(
        &self,
        collection: &str,
        pass: &WatchPass,
        options: &AddOptions,
        progress: &dyn AddProgress,
    ) -> Result<Option<AddReport>, Error> {
        if !pass.has_files && self.collection(collection).is_err() {
            return Ok(None);
        }
        let options = AddOptions { sync: pass.sync, except: pass.except.clone(), ..options.clone() };
        self.add_paths(collection, &pass.folders, &options, progress).map(Some)
    }
}

struct Source {
    engine: Arc<Engine>,
    collection: String,
    stop: Arc<AtomicBool>,
}

impl Source {
    fn change(&self, change: impl FnOnce(&mut WatchStatus)) {
        self.engine.watching.change(&self.collection, change);
    }

    /// Between attempts to begin.
    fn rest(&self) {
        let end = std::time::Instant::now() + super::LONGEST_RETRY;
        while std::time::Instant::now() < end && !self.stopped() {
            std::thread::sleep(super::ASK);
        }
    }
}

/// Stops an add when watching is to end.
struct Until<'a>(&'a AtomicBool);

impl AddProgress for Until<'_> {
    fn event(&self, _: &AddEvent) {}

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Watching for Source {
    fn pass(&mut self, pass: &WatchPass) -> Result<Option<AddReport>, Error> {
        self.engine.watched_pass(&self.collection, pass, &AddOptions::default(), &Until(&self.stop))
    }

    fn tell(&mut self, event: WatchEvent<'_>) {
        let collection = self.collection.as_str();
        match event {
            WatchEvent::Watching { folder, polling } => {
                let place = folder.display().to_string();
                match &polling {
                    None => tracing::info!(collection, folder = place, "watching"),
                    Some(reason) => {
                        tracing::info!(collection, folder = place, reason, "looking every few seconds")
                    }
                }
                self.change(|status| {
                    status.missing.retain(|known, _| !is_same(known, &folder));
                    status.polled.extend(polling.map(|reason| (folder, reason)));
                });
            }
            WatchEvent::Missing { folder, reason } => {
                let place = folder.display().to_string();
                tracing::warn!(
                    collection,
                    folder = place,
                    reason,
                    "cannot watch; what was added from it stays"
                );
                self.change(|status| {
                    status.missing.insert(folder, reason);
                });
            }
            WatchEvent::Empty => {
                tracing::warn!(
                    collection,
                    "the watched folders hold nothing to read; what was added from them stays"
                );
            }
            WatchEvent::Passed { report, files, waiting } => {
                let AddReport { files_added, files_changed, files_removed, items_added, .. } = *report;
                if files_added + files_changed + files_removed > 0 {
                    tracing::info!(
                        collection,
                        files_added,
                        files_changed,
                        files_removed,
                        items_added,
                        "taken in"
                    );
                }
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).ok();
                self.change(|status| {
                    (status.files, status.waiting, status.failure) = (files, waiting, None);
                    (status.passes, status.last_pass_unix_s) = (status.passes + 1, now);
                });
            }
            WatchEvent::Problem(problem) => {
                let (path, reason) = (problem.path.display().to_string(), problem.reason.as_str());
                tracing::warn!(collection, path, reason, "cannot be added");
            }
            WatchEvent::Failed(error) => {
                tracing::warn!(collection, %error, "cannot take in what changed; it is tried again");
                self.change(|status| status.failure = Some(error.message.clone()));
            }
            WatchEvent::StillWritten(path) => {
                let path = path.display().to_string();
                tracing::warn!(collection, path, "is written all the time; it is taken in when that ends");
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Whether a folder as it was named is the one of that full path.
fn is_same(named: &Path, full: &Path) -> bool {
    named == full || named.canonicalize().is_ok_and(|path| path == full)
}
