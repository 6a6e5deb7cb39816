//! Tuning in the background: one at a time, for two would spoil each other's times.
//!
//! What came of the last one of a collection is kept until the next one ends, or this process does.

use super::{Study, StudyOptions, StudyProgress, TuneOptions, Tuned};
use crate::Engine;
use crate::cancel::CancelToken;
use crate::clock::now_unix_s;
use crate::error::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// What to do.
#[derive(Clone, Debug)]
pub enum TuneJob {
    /// [`Engine::tune`].
    Quick(TuneOptions),
    /// [`Engine::study`].
    Study(StudyOptions),
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum TuneOutcome {
    /// Of [`Engine::tune`].
    Quick(Tuned),
    /// Of [`Engine::study`].
    Study(Study),
}

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TuneState {
    /// At work.
    Running,
    /// It has an outcome.
    Done,
    /// It has an error.
    Failed,
    /// It was stopped.
    Cancelled,
}

impl TuneState {
    /// `running`, `done`, `failed`, `cancelled`.
    pub fn name(self) -> &'static str {
        match self {
            TuneState::Running => "running",
            TuneState::Done => "done",
            TuneState::Failed => "failed",
            TuneState::Cancelled => "cancelled",
        }
    }
}

/// A job as it is now.
#[derive(Clone, Debug)]
pub struct TuneStatus {
    /// How it goes.
    pub state: TuneState,
    /// What is done now, and how much is.
    pub progress: StudyProgress,
    /// Seconds since 1970.
    pub started_unix_s: u64,
    /// Seconds since 1970; `None` while it runs.
    pub ended_unix_s: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
    /// Of this job, or of the last one that had any.
    pub outcome: Option<Arc<TuneOutcome>>,
}

struct Job {
    status: Mutex<TuneStatus>,
    token: CancelToken,
}

impl Job {
    /// Figures are whole at any point, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, TuneStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self) -> bool {
        self.lock().state == TuneState::Running
    }

    fn end(&self, done: Result<TuneOutcome, Error>) {
        let mut status = self.lock();
        if status.state != TuneState::Running {
            return;
        }
        status.ended_unix_s = Some(now_unix_s());
        match done {
            Ok(outcome) => {
                status.state = TuneState::Done;
                status.progress.permille = 1_000;
                status.outcome = Some(Arc::new(outcome));
            }
            Err(error) => {
                let is_stopped = error.kind == ErrorKind::Cancelled;
                status.state = if is_stopped { TuneState::Cancelled } else { TuneState::Failed };
                status.error = Some(error.message);
            }
        }
    }
}

/// Ends a job that a panic left running.
struct Ends<'a>(&'a Job);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end(Err(Error::new(ErrorKind::Internal, "it ended unexpectedly; please report this")));
    }
}

/// The newest job of each collection, with its thread until somebody waits for that.
type Table = BTreeMap<String, (Arc<Job>, Option<JoinHandle<()>>)>;

/// The jobs.
#[derive(Default)]
pub(crate) struct Tunings {
    jobs: Mutex<Table>,
}

impl Tunings {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, collection: &str) -> Result<Arc<Job>, Error> {
        let mut table = self.table();
        if let Some((running, _)) = table.iter().find(|(_, (job, _))| job.is_running()) {
            let told = format!(
                "collection {running:?} is being tuned, and two at once would spoil each other's times"
            );
            return Err(Error::new(ErrorKind::Conflict, told).with_hint("wait for its end, or stop it first"));
        }
        let outcome = table.get(collection).and_then(|(job, _)| job.lock().outcome.clone());
        let status = TuneStatus {
            state: TuneState::Running,
            progress: StudyProgress { step: "beginning".to_owned(), permille: 0 },
            started_unix_s: now_unix_s(),
            ended_unix_s: None,
            error: None,
            outcome,
        };
        let job = Arc::new(Job { status: Mutex::new(status), token: CancelToken::new() });
        table.insert(collection.to_owned(), (Arc::clone(&job), None));
        Ok(job)
    }

    fn status(&self, collection: &str) -> Option<TuneStatus> {
        self.table().get(collection).map(|(job, _)| job.lock().clone())
    }

    /// Stops what runs and waits for its end.
    pub(crate) fn stop(&self) {
        let threads: Vec<JoinHandle<()>> = {
            let mut table = self.table();
            table
                .values_mut()
                .filter_map(|(job, thread)| {
                    job.token.cancel();
                    thread.take()
                })
                .collect()
        };
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread that tuned a collection panicked");
            }
        }
    }
}

impl Engine {
    /// Tunes on a thread of its own; returns once it has begun. How it goes on is in [`Engine::tune_status`].
    ///
    /// # Errors
    /// Not found; invalid input; conflict while any collection is being tuned.
    pub fn start_tune(self: &Arc<Engine>, collection: &str, wish: TuneJob) -> Result<TuneStatus, Error> {
        self.stores.get(collection)?;
        if let TuneJob::Study(options) = &wish {
            options.check()?;
        }
        let job = self.tunings.begin(collection)?;
        let (engine, working, name) = (Arc::clone(self), Arc::clone(&job), collection.to_owned());
        let spawned = Builder::new().name("bilin-tune".to_owned()).spawn(move || {
            let _ends = Ends(&working);
            let done = engine.run_tune(&name, &wish, &working);
            if let Err(error) = &done {
                tracing::warn!(collection = name, %error, "not tuned");
            }
            working.end(done);
        });
        match spawned {
            Ok(thread) => {
                if let Some((kept, handle)) = self.tunings.table().get_mut(collection)
                    && Arc::ptr_eq(kept, &job)
                {
                    *handle = Some(thread);
                }
                let status = job.lock().clone();
                Ok(status)
            }
            Err(error) => {
                let told = format!("cannot start a thread: {error}");
                job.end(Err(Error::new(ErrorKind::Io, told.clone())));
                Err(Error::new(ErrorKind::Io, told).with_source(error))
            }
        }
    }

    fn run_tune(&self, collection: &str, wish: &TuneJob, job: &Job) -> Result<TuneOutcome, Error> {
        match wish {
            TuneJob::Quick(options) => {
                job.lock().progress.step = "measuring on a sample".to_owned();
                let keep_on = |_: usize, _: usize| !job.token.is_cancelled();
                self.tune(collection, options, &keep_on).map(TuneOutcome::Quick)
            }
            TuneJob::Study(options) => {
                let told = |progress: &StudyProgress| job.lock().progress = progress.clone();
                self.study(collection, options, &job.token, &told).map(TuneOutcome::Study)
            }
        }
    }

    /// The job of a collection that runs, or the one that ran last since the start; `None` when there was none.
    ///
    /// # Errors
    /// Not found.
    pub fn tune_status(&self, collection: &str) -> Result<Option<TuneStatus>, Error> {
        self.stores.get(collection)?;
        Ok(self.tunings.status(collection))
    }

    /// Stops the job of a collection; returns at once.
    ///
    /// # Errors
    /// Not found when none runs.
    pub fn cancel_tune(&self, collection: &str) -> Result<TuneStatus, Error> {
        self.stores.get(collection)?;
        let table = self.tunings.table();
        match table.get(collection).filter(|(job, _)| job.is_running()) {
            Some((job, _)) => {
                job.token.cancel();
                let status = job.lock().clone();
                Ok(status)
            }
            None => {
                Err(Error::new(ErrorKind::NotFound, format!("collection {collection:?} is not being tuned"))
                    .with_hint("there is nothing to stop; GET of its tune tells how the last one ended"))
            }
        }
    }
}
