//! When a new generation is built, and building it beside readers and writers.
//!
//! Policy: nothing for few rows that are searched exactly (the scan needs no file; for many, Flat keeps a compressed shadow
//! that it scans instead); otherwise build when there is no generation, when the spec changed, when the rows behind the
//! generation reach a share of those in it ([`BuildPolicy`], 50 %), when that share of those in it was deleted, when a quarter
//! of its rows lie in segments that compaction emptied and only the index keeps, when live queries find too little after rows
//! changed, when centroids are old (IVF), or when asked. Builds of the same rows are the
//! same, so age and low recall alone build nothing: low recall over unchanged rows calls for more effort
//! ([`Due::Effort`]). The build works on a snapshot, aside; the writer waits only for the transaction that names the result.
use std::sync::PoisonError;
use std::time::Instant;

use bilin_index::{
    AUTO_FLAT_BELOW_ROWS, BuildOptions, Choice, IndexError, IndexSpec, Structure, Wishes, build_to_target,
    choose,
};

use crate::catalog;
use crate::collection::Collection;
use crate::compact::REBUILD_WAITING_PERCENT;
use crate::error::StoreError;
use crate::generation::{self, Generation, Record};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::time;

/// Change since the last build, in percent of the rows it indexed, from which low live recall is put down to the rows.
const CHANGED_PERCENT: usize = 10;
/// Builds of the same rows are the same.
const SEED: u64 = 0x6269_6c69_6e00_0001;

/// How [`Collection::maintain`] may work.
pub struct MaintainOptions<'a> {
    /// Build even when the policy sees no reason.
    pub force: bool,
    /// Threads of a build.
    pub threads: usize,
    /// Most bytes that an index which `auto` chooses may need to be served, rows included; `None` = as many as it takes.
    pub memory_bytes: Option<u64>,
    /// Called with rows done and rows in all, from any thread; returning `false` cancels the build.
    pub progress: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

/// When an index is built anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BuildPolicy {
    /// Rows added to (or deleted from) the index, in percent of those in it; 0 = growth builds nothing.
    pub growth_percent: usize,
    /// Age in seconds from which centroids are learned anew where rows have changed (IVF); `None` = never.
    pub retrain_after_s: Option<u64>,
    /// What live queries measured, when that is too little.
    pub low_recall: Option<LowRecall>,
}

impl Default for BuildPolicy {
    /// 50 %, a week, nothing measured.
    fn default() -> Self {
        BuildPolicy { growth_percent: 50, retrain_after_s: Some(7 * 86_400), low_recall: None }
    }
}

/// Live queries find less than they should.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LowRecall {
    /// The generation that was measured; evidence of another one counts for nothing.
    pub generation: u64,
    /// Mean recall at 10.
    pub recall_at_10: f32,
    /// Upper end of its confidence interval.
    pub high: f32,
    /// Queries measured.
    pub samples: usize,
}

/// What the policy asks for now, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing(String),
    /// [`Collection::maintain_by`] would build an index or leave one that few rows do not need.
    Build(String),
    /// The same rows would give the same index: searches need more effort ([`Collection::set_effort`]).
    Effort(String),
}

/// What [`Collection::maintain`] did, and why.
#[derive(Clone, Debug)]
pub struct Maintained {
    /// The new generation, if one was built.
    pub built: Option<Generation>,
    /// Why one was built, or why not; for the log.
    pub reason: String,
}

/// What the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plan {
    Keep(String),
    /// Leave the generation there is: few rows need none.
    Drop(String),
    Build(IndexSpec, String),
    /// Search with more effort; not done here, since it takes queries to find out how much.
    Effort(String),
}

impl Collection {
    /// Builds a new generation when the policy says so (or `force`): aside, fsynced, renamed, then named in the catalog.
    /// Readers and writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] when `progress` said so; those of the disk and the index. The generation in use stays.
    pub fn maintain(&self, options: &MaintainOptions<'_>) -> Result<Maintained, StoreError> {
        self.maintain_by(&BuildPolicy::default(), options)
    }

    /// What the policy asks for now; looks at figures in memory, and for deleted rows at those of the catalog's segments.
    pub fn due(&self, policy: &BuildPolicy) -> Due {
        let snapshot = self.snapshot();
        let has_deleted = snapshot.generation.is_some() && snapshot.items < snapshot.rows.len();
        // A catalog that cannot be asked is no reason to build.
        let waiting = if has_deleted { self.waiting_rows().unwrap_or(0) } else { 0 };
        let figures = Figures { waiting, ..Figures::of(&snapshot) };
        match decide(&snapshot.settings, &figures, policy, false) {
            Plan::Keep(reason) => Due::Nothing(reason),
            Plan::Drop(reason) | Plan::Build(_, reason) => Due::Build(reason),
            Plan::Effort(reason) => Due::Effort(reason),
        }
    }

    /// As [`Collection::maintain`], by another policy than the default.
    ///
    /// # Errors
    /// As [`Collection::maintain`].
    pub fn maintain_by(
        &self,
        policy: &BuildPolicy,
        options: &MaintainOptions<'_>,
    ) -> Result<Maintained, StoreError> {
        // A build that panicked left at most a file that the next open removes.
        let _one = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot();
        let figures = Figures { waiting: self.waiting_rows()?, ..Figures::of(&snapshot) };
        let plan = decide(&snapshot.settings, &figures, policy, options.force);
        tracing::info!(collection = self.name, ?plan, "maintenance");
        match plan {
            Plan::Keep(reason) | Plan::Effort(reason) => Ok(Maintained { built: None, reason }),
            Plan::Drop(reason) => {
                self.swap_generation(None)?;
                Ok(Maintained { built: None, reason })
            }
            Plan::Build(spec, reason) => match self.build(&snapshot, &spec, options) {
                Ok((built, notes)) => {
                    let reason = [vec![reason], notes].concat().join("; ");
                    Ok(Maintained { built: Some(built), reason })
                }
                Err(StoreError::Index(IndexError::TooFewRows { needed, received })) => Ok(Maintained {
                    built: None,
                    reason: format!(
                        "{spec} needs {needed} rows, the collection has {received}: search stays exact"
                    ),
                }),
                Err(StoreError::Index(IndexError::Cancelled)) => Err(StoreError::Cancelled),
                Err(error) => Err(error),
            },
        }
    }

    /// The generation, and what there is to say of it: why this kind was chosen, and warnings.
    fn build(
        &self,
        snapshot: &Snapshot,
        spec: &IndexSpec,
        options: &MaintainOptions<'_>,
    ) -> Result<(Generation, Vec<String>), StoreError> {
        let started = Instant::now();
        let settings = &snapshot.settings;
        let include = (snapshot.items < snapshot.rows.len()).then_some(&snapshot.live);
        let build_options =
            BuildOptions { threads: options.threads.max(1), seed: SEED, include, progress: options.progress };
        let wishes = Wishes { target_recall: settings.target_recall, memory_bytes: options.memory_bytes };
        let built = build_to_target(spec, settings.metric, &snapshot.rows, &wishes, &build_options)?;
        let (index, calibration) = (built.index, built.calibration);
        let mut notes: Vec<String> = built.choice.into_iter().map(|choice| choice.reason).collect();
        for warning in index.info().warnings {
            tracing::warn!(collection = self.name, warning, "the new index");
            notes.push(format!("warning: {warning}"));
        }
        let number = 1 + self.pool.read("number a generation", catalog::last_generation)?;
        generation::remove_aside(&*self.disk, &self.folder, number)?;
        let (bytes, blake3) = generation::write(&*self.disk, &self.folder, number, &*index)?;
        let generation = Generation {
            number,
            spec: index.info().spec,
            rows: snapshot.rows.len(),
            effort: calibration.effort,
            refine: None,
            recall_at_10: Some(calibration.recall_at_10),
            built_unix_s: time::now() as i64,
            build_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes,
        };
        let segments = generation::segments_with(&snapshot.live, snapshot.rows.len(), &self.layout);
        let (indexed, segments) = (snapshot.items, Some(segments));
        let record = Record { generation: generation.clone(), indexed, blake3, segments };
        // Read back through the map that will serve it, so that what was written is known to be good before it is named.
        let live = generation::open(&self.disk, &self.folder, record, &snapshot.rows, settings.metric)?;
        self.swap_generation(Some(live))?;
        Ok((generation, notes))
    }

    /// What `auto` would build now, and why, with other wishes than the settings' if so asked. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] when `progress` said so; those of the index.
    pub fn choose_index(
        &self,
        target_recall: Option<f32>,
        options: &MaintainOptions<'_>,
    ) -> Result<Choice, StoreError> {
        let snapshot = self.snapshot();
        let include = (snapshot.items < snapshot.rows.len()).then_some(&snapshot.live);
        let build_options =
            BuildOptions { threads: options.threads.max(1), seed: SEED, include, progress: options.progress };
        let target_recall = target_recall.unwrap_or(snapshot.settings.target_recall);
        let wishes = Wishes { target_recall, memory_bytes: options.memory_bytes };
        match choose(&snapshot.rows, snapshot.settings.metric, &wishes, &build_options) {
            Err(IndexError::Cancelled) => Err(StoreError::Cancelled),
            choice => Ok(choice?),
        }
    }
}

/// What the policy looks at.
struct Figures<'a> {
    live: usize,
    /// Live rows behind the generation.
    tail: usize,
    generation: Option<&'a Record>,
    deleted_in_generation: usize,
    /// Rows of segments that can be given back once the generation no longer holds them.
    waiting: usize,
    /// Seconds since 1970.
    now: u64,
}

impl Figures<'_> {
    fn of(snapshot: &Snapshot) -> Figures<'_> {
        let rows = snapshot.rows.len();
        Figures {
            live: snapshot.items,
            tail: snapshot.live.count_range((rows - snapshot.tail_rows()) as u32, rows as u32),
            generation: snapshot.generation.as_ref().map(|generation| &generation.record),
            deleted_in_generation: snapshot.deleted_in_generation,
            waiting: 0,
            now: time::now(),
        }
    }
}

fn decide(settings: &Settings, figures: &Figures<'_>, policy: &BuildPolicy, force: bool) -> Plan {
    let spec = settings.index.clone();
    if (spec.is_exact() || spec.is_auto()) && figures.live < AUTO_FLAT_BELOW_ROWS {
        let reason = format!("{} rows are searched exactly (index {})", figures.live, settings.index);
        return if figures.generation.is_some() { Plan::Drop(reason) } else { Plan::Keep(reason) };
    }
    if figures.live == 0 {
        return Plan::Keep("there is nothing to index".to_owned());
    }
    let Some(record) = figures.generation else {
        return Plan::Build(spec, format!("there is no index over {} rows yet", figures.live));
    };
    let built = &record.generation.spec;
    // What `auto` chose stays until there is another reason to build.
    let changed = !spec.is_auto() && built.canonical() != spec.canonical();
    let percent = policy.growth_percent;
    let at_least = |part: usize, percent: usize| part * 100 >= record.indexed * percent && part > 0;
    let grown = |part: usize| percent > 0 && at_least(part, percent);
    if changed {
        let reason = format!("the index is to be {spec}, not {built}");
        Plan::Build(spec, reason)
    } else if grown(figures.tail) {
        let reason = format!("{} rows were added to the {} indexed ones", figures.tail, record.indexed);
        Plan::Build(spec, reason)
    } else if grown(figures.deleted_in_generation) {
        let reason =
            format!("{} of {} indexed rows were deleted", figures.deleted_in_generation, record.indexed);
        Plan::Build(spec, reason)
    } else if figures.waiting > 0 && figures.waiting * 100 >= record.generation.rows * REBUILD_WAITING_PERCENT
    {
        let reason = format!("{} rows can be given back once no index holds them", figures.waiting);
        Plan::Build(spec, reason)
    } else if force {
        Plan::Build(spec, "asked for".to_owned())
    } else if let Some(reason) = retrain(figures, record, policy) {
        Plan::Build(spec, reason)
    } else if let Some(reason) = low_recall(settings, record, policy) {
        match at_least(figures.tail + figures.deleted_in_generation, CHANGED_PERCENT) {
            true => Plan::Build(spec, reason),
            false => Plan::Effort(reason),
        }
    } else {
        Plan::Keep(format!(
            "{} rows behind the {} indexed ones are below {percent} %",
            figures.tail, record.indexed
        ))
    }
}

/// Why centroids are to be learned anew, if they are.
fn retrain(figures: &Figures<'_>, record: &Record, policy: &BuildPolicy) -> Option<String> {
    let Generation { spec, built_unix_s, .. } = &record.generation;
    let is_trained = matches!(spec.structure, Structure::Ivf { .. });
    let age_s = figures.now.saturating_sub(u64::try_from(*built_unix_s).unwrap_or(0));
    let rows = figures.tail + figures.deleted_in_generation;
    (is_trained && rows > 0 && policy.retrain_after_s.is_some_and(|after| age_s >= after))
        .then(|| format!("{spec} was trained {age_s} s ago, and {rows} rows were added or deleted since"))
}

/// What live queries say against the generation, if they do.
fn low_recall(settings: &Settings, record: &Record, policy: &BuildPolicy) -> Option<String> {
    let low = policy.low_recall?;
    let target = settings.target_recall;
    (low.generation == record.generation.number && low.high < target).then(|| {
        format!(
            "recall@10 of {} live queries is {:.3}, at most {:.3}, and should be {target}",
            low.samples, low.recall_at_10, low.high
        )
    })
}

#[cfg(test)]
mod tests {
    use bilin_index::{Effort, Metric};

    use super::*;
    use crate::settings::Kind;

    fn settings(index: &str) -> Settings {
        Settings {
            kind: Kind::Vector,
            model: None,
            dim: 8,
            metric: Metric::L2,
            index: index.parse().expect("a spec"),
            target_recall: 0.95,
        }
    }

    fn built(spec: &str, indexed: usize) -> Record {
        let generation = Generation {
            number: 1,
            spec: spec.parse().expect("a spec"),
            rows: indexed,
            effort: Effort::Ef(16),
            refine: None,
            recall_at_10: None,
            built_unix_s: 0,
            build_ms: 0,
            bytes: 0,
        };
        Record { generation, indexed, blake3: String::new(), segments: None }
    }

    /// What is decided for an index over `indexed` rows of which `deleted` went, with `tail` rows behind it.
    fn decided(spec: &str, generation: Option<(&str, usize)>, deleted: usize, tail: usize) -> Plan {
        decided_waiting(spec, generation, deleted, tail, 0)
    }

    fn decided_waiting(
        spec: &str,
        generation: Option<(&str, usize)>,
        deleted: usize,
        tail: usize,
        waiting: usize,
    ) -> Plan {
        let record = generation.map(|(spec, indexed)| built(spec, indexed));
        let indexed = generation.map_or(0, |(_, indexed)| indexed);
        let live = indexed - deleted + tail;
        let generation = record.as_ref();
        let figures = Figures { live, tail, generation, deleted_in_generation: deleted, waiting, now: 0 };
        decide(&settings(spec), &figures, &BuildPolicy::default(), false)
    }

    /// As [`decided`], of an index of 100 rows, with another policy, `age_s` seconds after the build.
    fn by(policy: BuildPolicy, spec: &str, age_s: u64, deleted: usize, tail: usize) -> Plan {
        let record = built(spec, 100);
        let live = 100 - deleted + tail;
        let generation = Some(&record);
        let figures =
            Figures { live, tail, generation, deleted_in_generation: deleted, waiting: 0, now: age_s };
        decide(&settings(spec), &figures, &policy, false)
    }

    fn builds(plan: &Plan) -> bool {
        matches!(plan, Plan::Build(..))
    }

    #[test]
    fn few_rows_need_no_index() {
        assert!(matches!(decided("Flat", None, 0, 9_999), Plan::Keep(_)));
        assert!(builds(&decided("Flat", None, 0, 10_000)), "a shadow to scan");
        assert!(matches!(decided("auto", None, 0, 9_999), Plan::Keep(_)));
        assert!(matches!(decided("Flat", Some(("HNSW16", 100)), 0, 0), Plan::Drop(_)));
    }

    #[test]
    fn a_first_index_is_built_when_there_are_rows() {
        assert!(builds(&decided("HNSW16", None, 0, 1)));
        assert!(builds(&decided("auto", None, 0, 10_000)));
        assert!(!builds(&decided("HNSW16", None, 0, 0)));
    }

    #[test]
    fn growth_deletions_and_another_spec_rebuild() {
        assert!(!builds(&decided("HNSW16", Some(("HNSW16", 100)), 0, 49)));
        assert!(builds(&decided("HNSW16", Some(("HNSW16", 100)), 0, 50)));
        assert!(!builds(&decided("HNSW16", Some(("HNSW16", 100)), 49, 0)));
        assert!(builds(&decided("HNSW16", Some(("HNSW16", 100)), 50, 0)));
        assert!(builds(&decided("HNSW32", Some(("HNSW16", 100)), 0, 0)));
        assert!(!builds(&decided_waiting("HNSW16", Some(("HNSW16", 100)), 24, 24, 24)));
        assert!(builds(&decided_waiting("HNSW16", Some(("HNSW16", 100)), 25, 25, 25)));
        let same = decided("IDMap,HNSW16,RFlat", Some(("HNSW16", 20_000)), 0, 0);
        assert!(!builds(&same), "what builds the same index is no reason to build");
        let kept = decided("auto", Some(("HNSW16", 20_000)), 0, 5_000);
        assert!(!builds(&kept), "auto is not rebuilt for every row");
    }

    #[test]
    fn the_share_is_the_policys() {
        let policy = |growth_percent| BuildPolicy { growth_percent, ..BuildPolicy::default() };
        assert!(builds(&by(policy(20), "HNSW16", 0, 0, 20)) && !builds(&by(policy(20), "HNSW16", 0, 0, 19)));
        assert!(builds(&by(policy(20), "HNSW16", 0, 20, 0)));
        assert!(!builds(&by(policy(0), "HNSW16", 0, 0, 100_000)), "0 is off");
    }

    #[test]
    fn old_centroids_are_learned_anew_when_rows_changed() {
        let week = 7 * 86_400;
        let policy = BuildPolicy::default();
        assert!(builds(&by(policy, "IVF8,Flat", week, 0, 1)) && builds(&by(policy, "IVF8,Flat", week, 1, 0)));
        assert!(!builds(&by(policy, "IVF8,Flat", week - 1, 0, 1)), "not yet");
        assert!(!builds(&by(policy, "IVF8,Flat", week, 0, 0)), "the same rows give the same index");
        assert!(!builds(&by(policy, "HNSW16", week, 0, 1)), "a graph learns nothing");
        let never = BuildPolicy { retrain_after_s: None, ..policy };
        assert!(!builds(&by(never, "IVF8,Flat", 100 * week, 0, 1)));
    }

    #[test]
    fn low_live_recall_builds_when_rows_changed_and_else_asks_for_effort() {
        let low = LowRecall { generation: 1, recall_at_10: 0.85, high: 0.9, samples: 60 };
        let policy = |low| BuildPolicy { low_recall: Some(low), ..BuildPolicy::default() };
        assert!(builds(&by(policy(low), "HNSW16", 0, 4, 6)));
        let plan = by(policy(low), "HNSW16", 0, 0, 9);
        assert!(matches!(&plan, Plan::Effort(reason) if reason.contains("0.850")), "{plan:?}");
        let enough = LowRecall { high: 0.951, ..low };
        assert!(matches!(by(policy(enough), "HNSW16", 0, 4, 6), Plan::Keep(_)));
        let of_another = LowRecall { generation: 2, ..low };
        assert!(matches!(by(policy(of_another), "HNSW16", 0, 4, 6), Plan::Keep(_)));
    }
}
