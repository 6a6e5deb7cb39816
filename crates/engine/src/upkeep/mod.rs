//! Upkeep: what keeps collections fast and safe without anybody calling for it.
//!
//! Indexes are built when rows have grown, backups made, everything read back, damage answered with a backup: by
//! [`UpkeepPolicy`], on three threads at most ([`lanes`]), each decision logged with its reason. Invariants: searches never
//! wait for any of it; writers wait for the transaction that names a result, and no longer.
//!
//! | room | what happens there |
//! |---|---|
//! | `policy` | when, and how much of the machine |
//! | `due` | what is due for one collection |
//! | `lanes`, `jobs` | the threads; one job from reason to outcome |
//! | `board`, `status` | what is known; what is told of it |

mod board;
mod due;
mod jobs;
mod lanes;
mod policy;
mod status;

pub(crate) use board::Board;
pub use policy::UpkeepPolicy;
pub use status::{CollectionUpkeep, Job, JobStatus, Outcome, UpkeepStatus};

use crate::Engine;
use crate::error::{Error, ErrorKind};
use crate::storage::VectorStore;
use bilin_store::{BuildPolicy, Collection};
use lanes::Lane;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Upkeep goes on until this is dropped, which stops what runs and waits for its end.
#[must_use = "upkeep ends when this is dropped"]
pub struct Upkeeper {
    engine: Arc<Engine>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Upkeeper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upkeeper").field("threads", &self.threads.len()).finish()
    }
}

impl Drop for Upkeeper {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        self.engine.board.stop();
        self.engine.recall.stop();
        self.engine.reencodings.stop();
        self.engine.tunings.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of upkeep panicked");
            }
        }
        self.engine.board.stopped();
    }
}

impl Engine {
    /// Looks after the collections from now on, by `EngineConfig::upkeep`, until the answer is dropped. Where
    /// upkeep runs already, nothing more is started.
    pub fn start_upkeep(self: &Arc<Engine>) -> Upkeeper {
        let mut threads = Vec::new();
        if self.board.start() {
            let mut spawn = |name: &str, work: Box<dyn FnOnce(&Engine) + Send>| {
                let engine = Arc::clone(self);
                match Builder::new().name(name.to_owned()).spawn(move || work(&engine)) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => tracing::error!(name, %error, "cannot start a thread of upkeep"),
                }
            };
            for lane in Lane::ALL {
                spawn(lane.name(), Box::new(move |engine| lanes::work(engine, lane)));
            }
            if self.config.upkeep.recall_sample_every > 0 {
                self.recall.start();
                spawn("bilin-recall", Box::new(|engine| engine.recall.work(&engine.config.upkeep)));
            }
        }
        Upkeeper { engine: Arc::clone(self), threads }
    }

    /// What upkeep did, does and will do.
    pub fn upkeep_status(&self) -> UpkeepStatus {
        let collections = self.stores.collections().into_iter().map(|collection| {
            let name = collection.name();
            let mut status = self.board.status(name);
            status.fail_overs += u64::from(self.stores.fail_overs_at_open().contains(name));
            (status.recall_sampled, status.recall_dropped) = self.recall.counts(name);
            status
        });
        UpkeepStatus { is_running: self.board.is_running(), collections: collections.collect() }
    }

    /// Something was written: look what is due.
    pub(crate) fn nudge(&self) {
        self.board.nudge();
    }

    /// Another collection serves under this name: what was known of the one before says nothing of it, and a backup is due.
    pub(crate) fn replaced(&self, name: &str, reason: &str) {
        self.recall.forget(name);
        self.board.change(name, |kept| {
            kept.forget();
            kept.backup_wanted = Some(reason.to_owned());
        });
        self.nudge();
    }

    /// When a collection's index is due, by the configuration and by what live queries found.
    pub(crate) fn build_policy(&self, collection: &Collection) -> BuildPolicy {
        let low = self.recall.evidence(collection.name(), collection.view().approximate());
        BuildPolicy { low_recall: low, ..self.config.build_policy() }
    }

    /// Does what reads a collection; when that met damage, upkeep looks into it.
    pub(crate) fn reading<T>(
        &self,
        name: &str,
        read: impl FnOnce(&dyn VectorStore) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let store = self.stores.get(name)?;
        read(&*store).inspect_err(|error| self.suspect(name, error))
    }

    /// Does what writes to a collection; nudges upkeep when that has worked.
    pub(crate) fn writing<T>(
        &self,
        name: &str,
        write: impl FnOnce(&dyn VectorStore) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let written = self.reading(name, write)?;
        self.nudge();
        Ok(written)
    }

    /// When something met damage, upkeep looks into it.
    pub(crate) fn suspect(&self, name: &str, error: &Error) {
        if error.kind == ErrorKind::Damaged {
            self.board.suspect(name, &error.message);
        }
    }
}
