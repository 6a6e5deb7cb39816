//! What is told of jobs, and the table of them: one at a time per collection, the last one kept to be asked about.

use super::Plan;
use crate::clock::now_unix_s;
use crate::error::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Documents that a status names among those that cannot be encoded anew.
const NAMED: usize = 20;

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReencodeStage {
    /// Looking whether everything is there to be encoded.
    Checking,
    /// Encoding what there is and what is written meanwhile.
    Encoding,
    /// Building the index of the new vectors.
    Indexing,
    /// Reading everything back.
    Verifying,
    /// Taking over what is left, then the place of the old one.
    Switching,
    /// The collection is the new model's.
    Done,
    /// The collection is as it was.
    Failed,
    /// Stopped; the collection is as it was.
    Cancelled,
}

impl ReencodeStage {
    /// `checking`, `encoding`, `indexing`, `verifying`, `switching`, `done`, `failed`, `cancelled`.
    pub fn name(self) -> &'static str {
        match self {
            ReencodeStage::Checking => "checking",
            ReencodeStage::Encoding => "encoding",
            ReencodeStage::Indexing => "indexing",
            ReencodeStage::Verifying => "verifying",
            ReencodeStage::Switching => "switching",
            ReencodeStage::Done => "done",
            ReencodeStage::Failed => "failed",
            ReencodeStage::Cancelled => "cancelled",
        }
    }

    /// Whether it is still at work.
    pub fn is_running(self) -> bool {
        self < ReencodeStage::Done
    }
}

/// A job as it is now.
#[derive(Clone, Debug)]
pub struct ReencodeStatus {
    /// The model that made the vectors before.
    pub from: String,
    /// The model it is moved to.
    pub model: String,
    /// Where it is.
    pub stage: ReencodeStage,
    /// Items encoded; those written meanwhile count again.
    pub items_done: usize,
    /// Items to encode, as far as is known.
    pub items_total: usize,
    /// Items encoded in a second, on average.
    pub items_per_s: f64,
    /// Until all items are encoded; `None` while that cannot be told.
    pub seconds_left: Option<u64>,
    /// Rows of the new index that are done and that there are, while it is built.
    pub indexed: Option<(usize, usize)>,
    /// Items longer than the model reads; the rest of their text does not count in searches.
    pub items_truncated: usize,
    /// Documents that cannot be encoded anew.
    pub missing: usize,
    /// Some of them, each with the reason.
    pub missing_named: Vec<String>,
    /// Seconds since 1970.
    pub started_unix_s: u64,
    /// Seconds since 1970; `None` while it runs.
    pub ended_unix_s: Option<u64>,
    /// How long writers waited at the switch.
    pub writers_waited_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A job at work.
pub(super) struct Job {
    status: Mutex<ReencodeStatus>,
    is_cancelled: AtomicBool,
    /// When the first item was about to be encoded.
    encoding_since: Mutex<Option<Instant>>,
}

impl Job {
    fn new(plan: &Plan) -> Job {
        let model = |settings: &bilin_store::Settings| {
            settings.model.as_ref().map(|model| model.id.clone()).unwrap_or_default()
        };
        Job {
            status: Mutex::new(ReencodeStatus {
                from: model(&plan.source.settings()),
                model: model(&plan.settings),
                stage: ReencodeStage::Checking,
                items_done: 0,
                items_total: 0,
                items_per_s: 0.0,
                seconds_left: None,
                indexed: None,
                items_truncated: 0,
                missing: 0,
                missing_named: Vec::new(),
                started_unix_s: now_unix_s(),
                ended_unix_s: None,
                writers_waited_ms: None,
                error: None,
            }),
            is_cancelled: AtomicBool::new(false),
            encoding_since: Mutex::new(None),
        }
    }

    pub(super) fn status(&self) -> ReencodeStatus {
        self.lock().clone()
    }

    /// Figures are whole at any point, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, ReencodeStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut ReencodeStatus)) {
        change(&mut self.lock());
    }

    pub(super) fn enter(&self, stage: ReencodeStage) {
        if stage == ReencodeStage::Encoding {
            let mut since = self.encoding_since.lock().unwrap_or_else(PoisonError::into_inner);
            since.get_or_insert_with(Instant::now);
        }
        self.change(|status| {
            status.stage = stage;
            status.indexed = None;
        });
    }

    /// More items are encoded.
    pub(super) fn encoded(&self, items: usize, truncated: usize) {
        let since = *self.encoding_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(|status| {
            status.items_done += items;
            status.items_total = status.items_total.max(status.items_done);
            status.items_truncated += truncated;
            let seconds = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            if seconds > 0.0 {
                status.items_per_s = status.items_done as f64 / seconds;
            }
            if status.items_per_s > 0.0 {
                let left = status.items_total - status.items_done;
                status.seconds_left = Some((left as f64 / status.items_per_s).ceil() as u64);
            }
        });
    }

    /// A document cannot be encoded anew.
    pub(super) fn missing(&self, id: &str, reason: &str) {
        self.change(|status| {
            status.missing += 1;
            if status.missing_named.len() < NAMED {
                status.missing_named.push(format!("{id:?}: {reason}"));
            }
        });
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self, done: &Result<(), &Error>) {
        self.change(|status| {
            if !status.stage.is_running() {
                return;
            }
            status.stage = match done {
                Ok(()) => ReencodeStage::Done,
                Err(error) if error.kind == ErrorKind::Cancelled => ReencodeStage::Cancelled,
                Err(_) => ReencodeStage::Failed,
            };
            status.ended_unix_s = Some(now_unix_s());
            status.seconds_left = None;
            status.error = done.err().map(|error| error.message.clone());
        });
    }
}

/// Ends a job that a panic left running.
pub(super) struct Ends<'a>(pub(super) &'a Job);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let error = Error::new(ErrorKind::Internal, "it ended unexpectedly; please report this");
        self.0.end(&Err(&error));
    }
}

/// The jobs, and what else keeps collections from having one.
#[derive(Default)]
pub(crate) struct Reencodings {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    jobs: BTreeMap<String, (Arc<Job>, Option<JoinHandle<()>>)>,
    /// Collections that are merged or restored, each as often as it is, and how that is called.
    occupied: Vec<(String, &'static str)>,
}

impl Reencodings {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job, unless the collection has one or something else is done to it.
    pub(super) fn begin(&self, collection: &str, plan: &Plan) -> Result<Arc<Job>, Error> {
        let mut table = self.table();
        let running = table.jobs.get(collection).filter(|(job, _)| job.status().stage.is_running());
        if let Some((job, _)) = running {
            let told = format!("collection {collection:?} is being moved to model {:?}", job.status().model);
            return Err(Error::new(ErrorKind::Conflict, told).with_hint("wait for its end, or stop it first"));
        }
        if let Some((_, what)) = table.occupied.iter().find(|(name, _)| name == collection) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("collection {collection:?} is being {what}"),
            )
            .with_hint("wait for its end"));
        }
        let job = Arc::new(Job::new(plan));
        table.jobs.insert(collection.to_owned(), (Arc::clone(&job), None));
        Ok(job)
    }

    pub(super) fn keep(&self, collection: &str, job: &Arc<Job>, thread: JoinHandle<()>) {
        if let Some((kept, handle)) = self.table().jobs.get_mut(collection)
            && Arc::ptr_eq(kept, job)
        {
            *handle = Some(thread);
        }
    }

    pub(crate) fn status(&self, collection: &str) -> Option<ReencodeStatus> {
        self.table().jobs.get(collection).map(|(job, _)| job.status())
    }

    /// Whether a job of the collection is at work.
    pub(crate) fn is_running(&self, collection: &str) -> bool {
        self.status(collection).is_some_and(|status| status.stage.is_running())
    }

    pub(super) fn cancel(&self, collection: &str) -> Option<ReencodeStatus> {
        let table = self.table();
        let (job, _) = table.jobs.get(collection).filter(|(job, _)| job.status().stage.is_running())?;
        job.is_cancelled.store(true, Ordering::Relaxed);
        Some(job.status())
    }

    /// Stops every job and waits for its end.
    pub(crate) fn stop(&self) {
        let threads: Vec<JoinHandle<()>> = {
            let mut table = self.table();
            table
                .jobs
                .values_mut()
                .filter_map(|(job, thread)| {
                    job.is_cancelled.store(true, Ordering::Relaxed);
                    thread.take()
                })
                .collect()
        };
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread that moved a collection to another model panicked");
            }
        }
    }

    /// No job begins for these collections until the answer is dropped. `what` completes "is being ..".
    pub(crate) fn occupy<'a>(
        &self,
        collections: impl IntoIterator<Item = &'a String>,
        what: &'static str,
    ) -> Occupied<'_> {
        let names: Vec<String> = collections.into_iter().cloned().collect();
        self.table().occupied.extend(names.iter().map(|name| (name.clone(), what)));
        Occupied { all: self, names }
    }
}

/// See [`Reencodings::occupy`].
pub(crate) struct Occupied<'a> {
    all: &'a Reencodings,
    names: Vec<String>,
}

impl Drop for Occupied<'_> {
    fn drop(&mut self) {
        let mut table = self.all.table();
        for name in &self.names {
            if let Some(at) = table.occupied.iter().position(|(occupied, _)| occupied == name) {
                table.occupied.swap_remove(at);
            }
        }
    }
}
