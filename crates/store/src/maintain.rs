//! When a new generation is built, and building it beside readers and writers.
//!
//! Policy: nothing for few rows that are searched exactly (the scan needs no file; for many, Flat keeps a compressed shadow
//! that it scans instead); otherwise build when there is no generation, when the spec changed, when the rows behind the
//! generation reach 50 % of those in it, when half of those in it were deleted, when a quarter of its rows lie in segments that
//! compaction emptied and only the index keeps, or when asked. The build works on a snapshot,
//! aside; the writer waits only for the transaction that names the result.
use std::sync::PoisonError;
use std::time::Instant;

use bilin_index::{
    AUTO_FLAT_BELOW_ROWS, BuildOptions, Choice, IndexError, IndexSpec, Wishes, build_to_target, choose,
};

use crate::catalog;
use crate::collection::Collection;
use crate::compact::REBUILD_WAITING_PERCENT;
use crate::error::StoreError;
use crate::generation::{self, Generation, Record};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::time;

/// Growth since the last build, in percent of the rows it indexed, from which a new one is built.
const REBUILD_GROWTH_PERCENT: usize = 50;
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
}

impl Collection {
    /// Builds a new generation when the policy says so (or `force`): aside, fsynced, renamed, then named in the catalog.
    /// Readers and writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] when `progress` said so; those of the disk and the index. The generation in use stays.
    pub fn maintain(&self, options: &MaintainOptions<'_>) -> Result<Maintained, StoreError> {
        // A build that panicked left at most a file that the next open removes.
        let _one = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot();
        let figures = Figures { waiting: self.waiting_rows()?, ..Figures::of(&snapshot) };
        let plan = decide(&snapshot.settings, &figures, options.force);
        tracing::info!(collection = self.name, ?plan, "maintenance");
        match plan {
            Plan::Keep(reason) => Ok(Maintained { built: None, reason }),
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
        }
    }
}

fn decide(settings: &Settings, figures: &Figures<'_>, force: bool) -> Plan {
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
    let at_least = |part: usize| part * 100 >= record.indexed * REBUILD_GROWTH_PERCENT && part > 0;
    if changed {
        let reason = format!("the index is to be {spec}, not {built}");
        Plan::Build(spec, reason)
    } else if at_least(figures.tail) {
        let reason = format!("{} rows were added to the {} indexed ones", figures.tail, record.indexed);
        Plan::Build(spec, reason)
    } else if at_least(figures.deleted_in_generation) {
        let reason =
            format!("{} of {} indexed rows were deleted", figures.deleted_in_generation, record.indexed);
        Plan::Build(spec, reason)
    } else if figures.waiting > 0 && figures.waiting * 100 >= record.generation.rows * REBUILD_WAITING_PERCENT
    {
        let reason = format!("{} rows can be given back once no index holds them", figures.waiting);
        Plan::Build(spec, reason)
    } else if force {
        Plan::Build(spec, "asked for".to_owned())
    } else {
        Plan::Keep(format!(
            "{} rows behind the {} indexed ones are below {REBUILD_GROWTH_PERCENT} %",
            figures.tail, record.indexed
        ))
    }
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
        let figures = Figures { live, tail, generation, deleted_in_generation: deleted, waiting };
        decide(&settings(spec), &figures, false)
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
}
