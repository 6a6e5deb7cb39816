//! What upkeep did, does and will do, for people and monitors.

use std::fmt;

/// What is done for a collection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// A backup takes the place of damaged rows or a damaged catalog.
    FailOver,
    /// A new index.
    Build,
    /// Space of what was deleted is given back.
    Compact,
    /// More search effort for the index there is, measured on live queries.
    Effort,
    /// A backup.
    Backup,
    /// Everything read back.
    Scrub,
}

impl Job {
    /// Every one.
    pub const ALL: [Job; 6] = [Job::FailOver, Job::Build, Job::Compact, Job::Effort, Job::Backup, Job::Scrub];

    /// `fail_over`, `build`, `compact`, `effort`, `backup`, `scrub`.
    pub fn name(self) -> &'static str {
        match self {
            Job::FailOver => "fail_over",
            Job::Build => "build",
            Job::Compact => "compact",
            Job::Effort => "effort",
            Job::Backup => "backup",
            Job::Scrub => "scrub",
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It did what it was to do.
    Ok,
    /// There was nothing to do after all.
    Skipped,
    /// It could not; it is tried again.
    Failed,
}

impl Outcome {
    /// `ok`, `skipped`, `failed`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Skipped => "skipped",
            Outcome::Failed => "failed",
        }
    }
}

/// One job of one collection.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// Which.
    pub job: Job,
    /// Whether it is being done now.
    pub is_running: bool,
    /// When it last began, seconds since 1970.
    pub started_unix_s: Option<u64>,
    /// When it last ended.
    pub ended_unix_s: Option<u64>,
    /// How long that took.
    pub duration_ms: u64,
    /// How it last ended; `None` = it has not been done since the start.
    pub outcome: Option<Outcome>,
    /// Why it was done, and what came of it.
    pub reason: String,
    /// When it is due next, where that is a matter of time.
    pub next_due_unix_s: Option<u64>,
    /// How often it ended in each way since the start.
    pub ok: u64,
    /// See `ok`.
    pub skipped: u64,
    /// See `ok`.
    pub failed: u64,
}

/// The upkeep of one collection.
#[derive(Clone, Debug)]
pub struct CollectionUpkeep {
    /// Its name.
    pub name: String,
    /// Every job, in the order of [`Job::ALL`].
    pub jobs: Vec<JobStatus>,
    /// How often a backup took its place since the start, also when it was opened.
    pub fail_overs: u64,
    /// When its newest good backup was taken, seconds since 1970.
    pub newest_backup_unix_s: Option<u64>,
    /// Live queries that were measured since the start.
    pub recall_sampled: u64,
    /// Live queries that were to be measured and were not, because others were waiting already.
    pub recall_dropped: u64,
}

/// See [`crate::Engine::upkeep_status`].
#[derive(Clone, Debug, Default)]
pub struct UpkeepStatus {
    /// Whether upkeep was started.
    pub is_running: bool,
    /// Every collection that is open, by name.
    pub collections: Vec<CollectionUpkeep>,
}
