//! What upkeep knows: what was done for each collection, what runs, what is suspected. Shared by its threads, by searches
//! (which nudge it and report damage) and by whoever asks for its status.
//!
//! Invariant: the lock is held for a moment only, never over work; at most one job of a collection is claimed at a time.

use super::UpkeepPolicy;
use super::status::{CollectionUpkeep, Job, JobStatus, Outcome};
use crate::clock;
use bilin_store::Pace;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A failed job never waits longer.
const LONGEST_RETRY: Duration = Duration::from_secs(3_600);

/// See the module.
#[derive(Default)]
pub(crate) struct Board {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    is_running: bool,
    is_stopping: bool,
    nudges: u64,
    kept: BTreeMap<String, Kept>,
}

/// What is known of one collection.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    /// Milliseconds since 1970.
    pub(crate) first_seen_ms: u64,
    pub(super) records: BTreeMap<Job, Record>,
    /// The job that runs, and what stops it.
    pub(super) busy: Option<(Job, Arc<Pace>)>,
    /// Damage that was met and not yet looked into.
    pub(crate) suspect: Option<String>,
    pub(crate) fail_overs: u64,
    /// As last seen on disk; the outer `None` = not looked yet.
    pub(crate) newest_backup: Option<Option<NewestBackup>>,
    /// Why a backup is due at once.
    pub(crate) backup_wanted: Option<String>,
    /// When a commit after the newest backup was first seen.
    pub(crate) changed_since_ms: Option<u64>,
    /// As last read from the catalog; the outer `None` = not looked yet.
    pub(crate) scrubbed_ms: Option<Option<u64>>,
    /// A build that could not be: at which commit, for which index.
    pub(crate) unbuildable: Option<(u64, String)>,
    /// When space was last looked for, and in which commit and generation.
    pub(crate) compacted: Option<(u64, Compacted)>,
    /// A generation that no effort brings to its target, and what was measured.
    pub(crate) exhausted: Option<(u64, String)>,
}

/// Number of the commit, and of the generation if there is one.
pub(crate) type Compacted = (u64, Option<u64>);

/// The newest good backup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NewestBackup {
    pub(crate) taken_unix_s: u64,
    pub(crate) seq: u64,
    /// Its files are not what they were: the next one is due.
    pub(crate) is_damaged: bool,
}

/// What became of one job.
#[derive(Clone, Default)]
pub(crate) struct Record {
    started_ms: Option<u64>,
    ended_ms: Option<u64>,
    outcome: Option<Outcome>,
    reason: String,
    counts: [u64; 3],
    failed_in_a_row: u32,
    not_before_ms: u64,
    next_due_ms: Option<u64>,
}

impl Kept {
    /// Another collection has taken the place of the one that this is known of.
    pub(crate) fn forget(&mut self) {
        (self.suspect, self.backup_wanted) = (None, None);
        (self.newest_backup, self.scrubbed_ms, self.changed_since_ms) = (None, None, None);
        (self.unbuildable, self.exhausted, self.compacted) = (None, None, None);
    }

    /// Whether a job is held back because it failed (or was for nothing) a moment ago.
    pub(crate) fn is_held_back(&self, job: Job, now_ms: u64) -> bool {
        self.records.get(&job).is_some_and(|record| now_ms < record.not_before_ms)
    }

    fn status(&self, job: Job) -> JobStatus {
        let record = self.records.get(&job).cloned().unwrap_or_default();
        let [ok, skipped, failed] = record.counts;
        let is_running = self.busy.as_ref().is_some_and(|busy| busy.0 == job);
        let ended = record.ended_ms.filter(|_| !is_running);
        JobStatus {
            job,
            is_running,
            started_unix_s: record.started_ms.map(|ms| ms / 1_000),
            ended_unix_s: record.ended_ms.map(|ms| ms / 1_000),
            duration_ms: ended.zip(record.started_ms).map_or(0, |(end, start)| end.saturating_sub(start)),
            outcome: record.outcome,
            reason: record.reason,
            next_due_unix_s: record.next_due_ms.map(|ms| ms / 1_000),
            ok,
            skipped,
            failed,
        }
    }

    /// What a person should know.
    fn warnings(&self, policy: &UpkeepPolicy, seq: u64, now_ms: u64) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.suspect.iter().map(|met| format!("damage is suspected: {met}")).collect();
        for (job, record) in &self.records {
            if record.failed_in_a_row > 0 {
                let times = record.failed_in_a_row;
                warnings.push(format!("{job} failed {times} times in a row: {}", record.reason));
            }
        }
        warnings.extend(self.exhausted.as_ref().map(|(_, measured)| measured.clone()));
        warnings.extend(self.overdue(policy, seq, now_ms));
        warnings
    }

    /// A backup is overdue when commits have waited for it twice as long as they should.
    fn overdue(&self, policy: &UpkeepPolicy, seq: u64, now_ms: u64) -> Option<String> {
        let every = policy.backup_every?;
        let newest = self.newest_backup?;
        let waiting = now_ms.saturating_sub(self.changed_since_ms?);
        let is_saved = newest.is_some_and(|newest| newest.seq == seq && !newest.is_damaged);
        let is_overdue = !is_saved && u128::from(waiting) > 2 * every.as_millis();
        is_overdue.then(|| {
            let hours = waiting as f64 / 3.6e6;
            format!("a backup is overdue: commits have been without one for {hours:.1} hours")
        })
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` when it runs already.
    pub(crate) fn start(&self) -> bool {
        let mut inner = self.lock();
        let starts = !inner.is_running;
        inner.is_running = true;
        inner.is_stopping &= !starts;
        starts
    }

    /// Stops what runs; nothing is claimed any more.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.is_stopping = true;
        for (_, pace) in inner.kept.values().filter_map(|kept| kept.busy.as_ref()) {
            pace.stop();
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Every thread has ended.
    pub(crate) fn stopped(&self) {
        self.lock().is_running = false;
    }

    pub(crate) fn is_running(&self) -> bool {
        let inner = self.lock();
        inner.is_running && !inner.is_stopping
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    /// Something changed: look what is due.
    pub(crate) fn nudge(&self) {
        self.lock().nudges += 1;
        self.changed.notify_all();
    }

    pub(crate) fn nudges(&self) -> u64 {
        self.lock().nudges
    }

    /// Waits for a nudge after number `seen`, or `longest`.
    pub(crate) fn wait(&self, seen: u64, longest: Duration) {
        let inner = self.lock();
        let waits = |inner: &mut Inner| inner.nudges == seen && !inner.is_stopping;
        // Whatever woke it: the caller looks again.
        drop(self.changed.wait_timeout_while(inner, longest, waits));
    }

    /// Something met damage in a collection. What runs for it is stopped, so that it is looked into at once.
    pub(crate) fn suspect(&self, name: &str, met: &str) {
        let mut inner = self.lock();
        if !inner.is_running || inner.is_stopping {
            return;
        }
        let kept = inner.kept(name);
        if kept.suspect.is_none() {
            tracing::error!(collection = name, met, "damage met; it is looked into");
            kept.suspect = Some(met.to_owned());
            if let Some((job, pace)) = &kept.busy
                && *job != Job::FailOver
            {
                pace.stop();
            }
            inner.nudges += 1;
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// What is known of a collection, seen now for the first time if it was not.
    pub(crate) fn kept(&self, name: &str) -> Kept {
        self.lock().kept(name).clone()
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Kept)) {
        change(self.lock().kept(name));
    }

    pub(crate) fn set_next_due(&self, name: &str, job: Job, due_ms: Option<u64>) {
        self.lock().kept(name).records.entry(job).or_default().next_due_ms = due_ms;
    }

    /// Forgets collections that are gone.
    pub(crate) fn keep_only(&self, names: &[String]) {
        self.lock().kept.retain(|name, kept| kept.busy.is_some() || names.contains(name));
    }

    /// Takes a job, unless another of the same collection runs. What it is given stops it.
    pub(crate) fn claim(&self, name: &str, job: Job, pace: Pace) -> Option<Arc<Pace>> {
        let mut inner = self.lock();
        let is_stopping = inner.is_stopping;
        let kept = inner.kept(name);
        if is_stopping || kept.busy.is_some() {
            return None;
        }
        let pace = Arc::new(pace);
        kept.busy = Some((job, Arc::clone(&pace)));
        kept.records.entry(job).or_default().started_ms = Some(clock::now_ms());
        Some(pace)
    }

    /// The job has ended. After a failure (or work for nothing) it is held back for a while.
    pub(crate) fn finish(&self, name: &str, job: Job, outcome: Outcome, reason: String, retry: Duration) {
        let mut inner = self.lock();
        let now_ms = clock::now_ms();
        let kept = inner.kept(name);
        kept.busy = None;
        let record = kept.records.entry(job).or_default();
        record.ended_ms = Some(now_ms);
        record.outcome = Some(outcome);
        record.reason = reason;
        record.counts[outcome as usize] += 1;
        record.failed_in_a_row = if outcome == Outcome::Failed { record.failed_in_a_row + 1 } else { 0 };
        let times = 1 << record.failed_in_a_row.saturating_sub(1).min(16);
        let wait = (retry * times).min(LONGEST_RETRY.max(retry));
        record.not_before_ms = if outcome == Outcome::Ok { 0 } else { now_ms + wait.as_millis() as u64 };
        // Another job of this collection may have waited for this one.
        inner.nudges += 1;
        drop(inner);
        self.changed.notify_all();
    }

    /// The job was stopped before it came to anything.
    pub(crate) fn give_up(&self, name: &str) {
        self.lock().kept(name).busy = None;
        self.nudge();
    }

    pub(crate) fn warnings(&self, name: &str, policy: &UpkeepPolicy, seq: u64) -> Vec<String> {
        let inner = self.lock();
        let kept = inner.kept.get(name).filter(|_| inner.is_running);
        kept.map_or_else(Vec::new, |kept| kept.warnings(policy, seq, clock::now_ms()))
    }

    /// Without what others count.
    pub(crate) fn status(&self, name: &str) -> CollectionUpkeep {
        let kept = self.lock().kept.get(name).cloned().unwrap_or_default();
        CollectionUpkeep {
            name: name.to_owned(),
            jobs: Job::ALL.iter().map(|job| kept.status(*job)).collect(),
            fail_overs: kept.fail_overs,
            newest_backup_unix_s: kept.newest_backup.flatten().map(|newest| newest.taken_unix_s),
            recall_sampled: 0,
            recall_dropped: 0,
        }
    }
}

impl Inner {
    fn kept(&mut self, name: &str) -> &mut Kept {
        self.kept
            .entry(name.to_owned())
            .or_insert_with(|| Kept { first_seen_ms: clock::now_ms(), ..Kept::default() })
    }
}
