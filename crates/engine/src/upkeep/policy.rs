//! When the engine looks after its collections by itself, and how much of the machine it may take for it.

use std::time::Duration;

/// What is done by itself once [`crate::Engine::start_upkeep`] was called, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct UpkeepPolicy {
    /// Rows added to (or deleted from) an index, in percent of those in it, from which a new one is built; 0 = never.
    pub rebuild_growth_percent: usize,
    /// Age from which IVF centroids are learned anew where rows have changed; `None` = never.
    pub retrain_after: Option<Duration>,
    /// How often space of what was deleted is looked for, besides before every build; `None` = never.
    pub compact_every: Option<Duration>,
    /// Threads of a build; 0 = half the CPUs.
    pub build_threads: usize,
    /// How often a collection that changed is backed up; `None` = never.
    pub backup_every: Option<Duration>,
    /// Backups kept of each collection.
    pub backups_kept: usize,
    /// How often everything is read back and compared with its checksums; `None` = never.
    pub scrub_every: Option<Duration>,
    /// Bytes of rows, index and backups that this reads in a second; `None` = as fast as the disk.
    pub scrub_bytes_per_s: Option<u64>,
    /// One query in so many is answered exactly too, to measure recall; 0 = none.
    pub recall_sample_every: usize,
    /// Most of one core's time that measuring recall takes, in percent.
    pub recall_cpu_percent: u32,
    /// How long after its first sight a collection without backup or check gets one, and how long writes collect after
    /// a quiet time before they are backed up (where the period itself is not shorter).
    pub settle: Duration,
    /// How often to look what is due, besides after every write.
    pub look_every: Duration,
    /// How long a job that failed waits; twice as long each time, up to an hour.
    pub retry_after: Duration,
}

impl Default for UpkeepPolicy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        UpkeepPolicy {
            rebuild_growth_percent: 50,
            retrain_after: Some(7 * DAY),
            compact_every: Some(Duration::from_secs(3_600)),
            build_threads: 0,
            backup_every: Some(DAY),
            backups_kept: crate::keeping::BACKUPS_KEPT,
            scrub_every: Some(DAY),
            scrub_bytes_per_s: Some(64 << 20),
            recall_sample_every: 100,
            recall_cpu_percent: 5,
            settle: Duration::from_secs(600),
            look_every: Duration::from_secs(5),
            retry_after: Duration::from_secs(60),
        }
    }
}

impl UpkeepPolicy {
    /// `build_threads`, with 0 replaced by half the CPUs.
    pub(crate) fn build_thread_count(&self) -> usize {
        match self.build_threads {
            0 => std::thread::available_parallelism().map_or(1, |cpus| usize::from(cpus).div_ceil(2)),
            threads => threads,
        }
    }
}
