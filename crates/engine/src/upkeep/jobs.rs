//! One job of one collection, from its reason to its outcome; both are logged.
//!
//! Damage that a job meets is not acted upon there: it becomes a suspicion, and the fail-over looks again before it gives
//! up commits that no backup holds.

use super::board::{Compacted, NewestBackup};
use super::due;
use super::lanes::newest_backup;
use super::status::{Job, Outcome};
use crate::Engine;
use crate::clock;
use crate::recall;
use bilin_store::{Collection, CompactOptions, Due, MaintainOptions, Pace, Snapshot, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// A claimed job.
pub(super) struct Task {
    pub(super) collection: Arc<Collection>,
    pub(super) job: Job,
    pub(super) reason: String,
    /// Stops it.
    pub(super) pace: Arc<Pace>,
}

/// What came of a job, in words.
type Done = Result<(Outcome, String), StoreError>;

/// Does it and writes down what came of it.
pub(super) fn run(engine: &Engine, task: &Task) {
    let Task { collection, job, reason, pace } = task;
    let (name, board, policy) = (collection.name(), &engine.board, &engine.config.upkeep);
    tracing::info!(collection = name, %job, reason, "upkeep begins");
    let started = Instant::now();
    // A panic must not end the lane: the other collections need it.
    let done = catch_unwind(AssertUnwindSafe(|| perform(engine, task)));
    let duration_ms = started.elapsed().as_millis();
    let finish = |outcome, told: String| {
        board.finish(name, *job, outcome, format!("{reason}; {told}"), policy.retry_after);
    };
    match done {
        Ok(Ok((outcome, told))) => {
            tracing::info!(collection = name, %job, reason, outcome = outcome.name(), told, duration_ms, "upkeep ended");
            finish(outcome, told);
        }
        Ok(Err(_)) if collection.is_closed() => {
            tracing::info!(collection = name, %job, duration_ms, "upkeep ended: the collection was removed or replaced");
            finish(Outcome::Skipped, "the collection was removed or replaced".to_owned());
        }
        Ok(Err(StoreError::Cancelled)) if pace.is_stopped() => {
            tracing::info!(collection = name, %job, duration_ms, "upkeep stopped");
            board.give_up(name);
        }
        Ok(Err(error)) => {
            tracing::error!(collection = name, %job, reason, outcome = "failed", %error, duration_ms, "upkeep ended");
            finish(Outcome::Failed, error.to_string());
            if *job != Job::FailOver && is_of_collection(&error) {
                board.suspect(name, &error.to_string());
            }
        }
        Err(_) => {
            tracing::error!(collection = name, %job, reason, outcome = "failed", duration_ms, "upkeep panicked");
            finish(Outcome::Failed, "it panicked; please report this".to_owned());
        }
    }
}

/// Damage of rows or catalog. An index was moved to quarantine by whoever found it, and is built again; a damaged backup
/// says nothing against the collection.
fn is_of_collection(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt { what, .. } if !what.ends_with(".idx") && !what.starts_with("backup"))
}

fn perform(engine: &Engine, task: &Task) -> Done {
    let Task { collection, job, pace, .. } = task;
    match job {
        Job::FailOver => fail_over(engine, collection, pace),
        Job::Build => build(engine, collection, pace),
        Job::Compact => compact(engine, collection, pace),
        Job::Effort => effort(engine, collection, pace),
        Job::Backup => backup(engine, collection, pace),
        Job::Scrub => scrub(engine, collection, pace),
    }
}

fn build(engine: &Engine, collection: &Collection, pace: &Pace) -> Done {
    let policy = engine.build_policy(collection);
    let options = MaintainOptions {
        force: false,
        threads: engine.config.upkeep.build_thread_count(),
        memory_bytes: engine.config.index_memory_bytes,
        progress: Some(&|_, _| !pace.is_stopped()),
    };
    let maintained = collection.maintain_by(&policy, &options)?;
    let is_still_due = matches!(collection.due(&policy), Due::Build(_));
    if maintained.built.is_some() || !is_still_due {
        return Ok((Outcome::Ok, maintained.reason));
    }
    let state = (collection.snapshot().seq(), collection.settings().index.to_string());
    engine.board.change(collection.name(), |kept| kept.unbuildable = Some(state));
    Ok((Outcome::Skipped, maintained.reason))
}

/// What compaction would find again while nothing changes.
pub(super) fn compacted(snapshot: &Snapshot) -> Compacted {
    (snapshot.seq(), snapshot.generation().map(|generation| generation.number))
}

fn compact(engine: &Engine, collection: &Collection, pace: &Pace) -> Done {
    let options = CompactOptions { force: false, progress: Some(&|_, _| !pace.is_stopped()) };
    let done = collection.compact(&options)?;
    let is_changed = (done.segments_dropped, done.rows_moved, done.bytes_freed) != (0, 0, 0);
    // What was done may have left something to do (a view that was held, an index that holds rows): looked for once more.
    let state = if is_changed { (0, None) } else { compacted(&collection.snapshot()) };
    engine.board.change(collection.name(), |kept| kept.compacted = Some((clock::now_ms(), state)));
    Ok((if is_changed { Outcome::Ok } else { Outcome::Skipped }, done.reason))
}

fn effort(engine: &Engine, collection: &Collection, pace: &Pace) -> Done {
    // Exact searches spread over the threads at hand: over those of a build, not over those of the searches.
    let threads = engine.config.upkeep.build_thread_count();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let raise = || recall::raise(&engine.recall, collection, &|| !pace.is_stopped());
    let raised = match pool {
        Ok(pool) => pool.install(raise)?,
        Err(_) => raise()?,
    };
    if let Some(generation) = raised.exhausted {
        engine
            .board
            .change(collection.name(), |kept| kept.exhausted = Some((generation, raised.told.clone())));
    }
    let outcome = if raised.is_changed { Outcome::Ok } else { Outcome::Skipped };
    Ok((outcome, raised.told))
}

fn backup(engine: &Engine, collection: &Collection, pace: &Arc<Pace>) -> Done {
    let (name, board, policy) = (collection.name(), &engine.board, &engine.config.upkeep);
    // Somebody may have made one by hand since the last look.
    let known = board.kept(name).newest_backup.flatten();
    let newest = newest_backup(engine, name)?;
    let is_newer = newest.map(|newest| newest.taken_unix_s) > known.map(|known| known.taken_unix_s);
    if is_newer {
        board.change(name, |kept| (kept.newest_backup, kept.backup_wanted) = (Some(newest), None));
        let (kept, seq, now_ms) = (board.kept(name), collection.snapshot().seq(), clock::now_ms());
        if due::backup(policy, &kept, seq, now_ms).is_none_or(|due| due.at_ms > now_ms) {
            return Ok((Outcome::Skipped, "a backup was made by hand meanwhile".to_owned()));
        }
    }
    let made = engine.stores.backup_of(collection, policy.backups_kept, pace)?;
    let newest = NewestBackup { taken_unix_s: made.taken_unix_s, seq: made.seq, is_damaged: false };
    board.change(name, |kept| {
        kept.newest_backup = Some(Some(newest));
        (kept.changed_since_ms, kept.backup_wanted) = (None, None);
    });
    Ok((Outcome::Ok, format!("made and read back: {} with commit {}", made.time(), made.seq)))
}

fn scrub(engine: &Engine, collection: &Collection, pace: &Arc<Pace>) -> Done {
    let (name, board) = (collection.name(), &engine.board);
    let verified = collection.verify_paced(false, pace)?;
    let mut told = format!(
        "{} items, {} blocks of rows and {} bytes of index are as they were written",
        verified.items, verified.row_blocks, verified.index_bytes
    );
    let data = engine.stores.data();
    if let Some(newest) = data.list_backups(name)?.good.first() {
        match data.verify_backup_paced(newest, pace) {
            Ok(()) => told.push_str(", and so is the newest backup"),
            Err(error @ StoreError::Cancelled) => return Err(error),
            Err(error) => {
                tracing::error!(collection = name, backup = %newest.path.display(), %error, "damaged backup");
                let found =
                    NewestBackup { taken_unix_s: newest.taken_unix_s, seq: newest.seq, is_damaged: true };
                board.change(name, |kept| kept.newest_backup = Some(Some(found)));
                told.push_str(&format!("; the newest backup is damaged ({error}), another is made"));
            }
        }
    }
    // Not being able to note it costs another check after a restart.
    if let Err(error) = collection.note_scrubbed() {
        tracing::warn!(collection = name, %error, "cannot note that it was checked");
    }
    board.change(name, |kept| kept.scrubbed_ms = Some(Some(clock::now_ms())));
    Ok((Outcome::Ok, told))
}

/// Looks again, and gives the collection up for its newest good backup when the damage is there.
fn fail_over(engine: &Engine, collection: &Arc<Collection>, pace: &Arc<Pace>) -> Done {
    let (name, board) = (collection.name(), &engine.board);
    let damage = match collection.verify_paced(true, pace) {
        Err(error) if is_of_collection(&error) => error,
        // The index was damaged, and is in quarantine now.
        Err(StoreError::Corrupt { what, detail }) => {
            board.change(name, |kept| kept.suspect = None);
            return Ok((Outcome::Skipped, format!("only {what} is damaged ({detail}); it is built again")));
        }
        Err(error) => return Err(error),
        Ok(_) => {
            board.change(name, |kept| kept.suspect = None);
            let told = "everything was read back and is as it was written: nothing was replaced";
            return Ok((Outcome::Skipped, told.to_owned()));
        }
    };
    let replaced = engine.stores.fail_over(Arc::clone(collection), damage);
    let is_over = !matches!(&replaced, Err(error) if !matches!(error, StoreError::Corrupt { .. }));
    engine.recall.forget(name);
    board.change(name, |kept| {
        if is_over {
            kept.forget();
        }
        kept.fail_overs += u64::from(replaced.is_ok());
    });
    let fail_over = replaced?;
    let told = format!(
        "the backup of {} serves now; {}; what was damaged is kept in \"{}\"",
        fail_over.backup.time(),
        fail_over.missing,
        fail_over.quarantined.display()
    );
    Ok((Outcome::Ok, told))
}
