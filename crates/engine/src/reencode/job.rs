//! One job, from the first document to the switch.
//!
//! Order: what there is is looked at, then encoded, portion by portion, each a commit of the successor; what was written
//! meanwhile follows, until little is left; the index is built, everything read back; then writers wait for what is left by
//! then, of which there may be no more than is encoded in [`WRITERS_WAIT_S`]. Whatever ends a job before that leaves nothing
//! behind.

use super::content::Content;
use super::status::{Job, ReencodeStage};
use super::{Plan, Watch};
use crate::Engine;
use crate::error::{Error, ErrorKind, for_collection};
use bilin_store::{Kind, MaintainOptions, Pace, StoreError, Succeeded};
use std::sync::Arc;

/// What is written while an index is built is at most encoded in about this many seconds while writers wait.
const WRITERS_WAIT_S: f64 = 2.0;
/// Bounds of what is encoded while writers wait, in items.
const FEWEST_WAITED_FOR: usize = 8;
const MOST_WAITED_FOR: usize = 4_096;
/// How often what was written meanwhile is followed before the index is built all the same.
const ROUNDS: usize = 8;

/// Why a job ends early.
pub(super) enum Stop {
    Store(StoreError),
    Engine(Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Store(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Engine(error)
    }
}

/// Does all of it. The collection is the new model's afterwards, or as it was.
pub(super) fn run(engine: &Engine, job: &Job, plan: &Plan, watch: &Watch<'_>) -> Result<(), Error> {
    let name = plan.source.name();
    match moved(engine, job, plan, watch) {
        Ok(Succeeded { collection, writers_waited }) => {
            engine.stores.put(collection);
            engine.replaced(name, "its vectors are of another model since the newest backup");
            job.change(|status| {
                status.writers_waited_ms =
                    Some(u64::try_from(writers_waited.as_millis()).unwrap_or(u64::MAX));
            });
            Ok(())
        }
        Err(stop) => {
            engine.stores.reopen(&plan.source);
            Err(match stop {
                Stop::Store(StoreError::Cancelled) => cancelled(name),
                Stop::Store(error) => for_collection(error, name),
                Stop::Engine(error) => error,
            })
        }
    }
}

fn cancelled(name: &str) -> Error {
    Error::new(ErrorKind::Cancelled, format!("moving {name:?} to another model was stopped; it is as it was"))
        .with_hint("run it again to begin anew")
}

fn moved(engine: &Engine, job: &Job, plan: &Plan, watch: &Watch<'_>) -> Result<Succeeded, Stop> {
    let data = engine.stores.data();
    let mut successor = data.begin_successor(&plan.source, &plan.settings, engine.config.rows_per_segment)?;
    let content = Content { engine, job, plan, watch };
    let lag = successor.lag()?;
    job.change(|status| status.items_total = lag.items());
    content.go_on()?;
    if plan.settings.kind == Kind::Image {
        content.look_for_files(&successor, &lag)?;
    }
    job.enter(ReencodeStage::Encoding);
    content.take_all(&mut successor, lag)?;
    for _ in 0..ROUNDS {
        let lag = successor.lag()?;
        if lag.items() <= waited_for(job) {
            break;
        }
        job.change(|status| status.items_total += lag.items());
        content.take_all(&mut successor, lag)?;
    }
    job.enter(ReencodeStage::Indexing);
    let is_served = engine.board.is_running();
    let threads =
        if is_served { engine.config.upkeep.build_thread_count() } else { engine.config.thread_count() };
    let progress = |done: usize, total: usize| {
        job.change(|status| status.indexed = Some((done, total)));
        content.go_on().is_ok()
    };
    let options = MaintainOptions {
        force: false,
        threads,
        memory_bytes: engine.config.index_memory_bytes,
        progress: Some(&progress),
    };
    let maintained = successor.next()?.maintain_by(&engine.config.build_policy(), &options)?;
    tracing::info!(collection = plan.source.name(), reason = maintained.reason, "index of the new vectors");
    job.enter(ReencodeStage::Verifying);
    content.go_on()?;
    let rate = if is_served { engine.config.upkeep.scrub_bytes_per_s } else { None };
    successor.next()?.verify_paced(true, &Arc::new(Pace::new(rate)))?;
    job.enter(ReencodeStage::Switching);
    content.go_on()?;
    successor.succeed(waited_for(job), |successor, lag| content.take_all(successor, lag))
}

/// Items that are encoded in the time that writers may wait.
fn waited_for(job: &Job) -> usize {
    ((job.status().items_per_s * WRITERS_WAIT_S) as usize).clamp(FEWEST_WAITED_FOR, MOST_WAITED_FOR)
}
