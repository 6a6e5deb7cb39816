//! The study: every index is built and every setting measured, one query at a time on one thread.
//!
//! Settings climb until nothing is missed, then close in on the target from both sides, so that the least effort which
//! reaches it is among them. Bounded by time: what no time is left for is named. Nothing of the collection changes before
//! the end, and then only when that was asked for.

use super::marks::{Allowed, mark};
use super::outcome::{Measured, Point, QuerySource, Reason, Study, StudyQueries};
use super::queries::{Material, material};
use super::wishes::{K, StudyOptions, StudyProgress};
use crate::Engine;
use crate::bench::measure::Runner;
use crate::bench::served_bytes;
use crate::cancel::CancelToken;
use crate::engine::pool;
use crate::error::{Error, ErrorKind, for_collection};
use crate::storage::{Upkeep, VectorStore};
use bilin_index::{
    BuildOptions, Effort, IndexError, IndexSpec, Metric, SearchParams, Structure, VectorIndex, build,
};
use bilin_store::Collection;
use rayon::ThreadPool;
use std::time::Instant;

/// Seed of every random choice, so that studies repeat.
const SEED: u64 = 42;
/// A ladder ends at the first setting that finds this share.
const ENOUGH_RECALL: f64 = 0.999;
/// A setting twice as large that brings less than this, twice in a row, is the end where codes limit what is found.
const PLATEAU: f64 = 5e-4;
/// Settings tried between the last that misses the target and the first that reaches it.
const CLOSER_STEPS: usize = 3;
/// Refine depths tried at the setting that reaches the target.
const DEPTHS: [usize; 3] = [1, 4, 16];
/// Longest pass over the queries with one setting, in seconds; three passes at most.
const MAX_PASS_S: f64 = 3.0;

impl Engine {
    /// Studies a collection: indexes and settings, recall against speed; see [`StudyOptions`]. Returns when it is done, which
    /// is bounded by `options.seconds` and one build.
    ///
    /// # Errors
    /// Invalid input for options out of bounds, too few items, queries that do not fit, or when no index that was asked for can be
    /// built; cancelled when `token` was.
    pub fn study(
        &self,
        collection: &str,
        options: &StudyOptions,
        token: &CancelToken,
        progress: &(dyn Fn(&StudyProgress) + Sync),
    ) -> Result<Study, Error> {
        options.check()?;
        let started = Instant::now();
        let store = self.stores.collection(collection)?;
        let snapshot = store.snapshot();
        let settings = snapshot.settings();
        let target_recall = options.target_recall.unwrap_or(settings.target_recall);
        let is_served = self.board.is_running();
        let threads =
            if is_served { self.config.upkeep.build_thread_count() } else { self.config.thread_count() };
        let pools = (pool("study", threads)?, pool("study", 1)?);
        progress(&StudyProgress { step: "queries and their true neighbours".to_owned(), permille: 0 });
        let material = pools.0.install(|| material(self, collection, &snapshot, options, SEED, token))?;
        let specs = options.indexes(material.measured, snapshot.count(), settings.dim);
        let mut work = Work {
            material: &material,
            metric: settings.metric,
            rows: snapshot.count(),
            target_recall: f64::from(target_recall),
            options,
            pools,
            token,
            progress,
            started,
            left_out: Vec::new(),
        };
        let mut indexes = work.all(&specs)?;
        let memory_bytes = options.memory_bytes.or(self.config.index_memory_bytes);
        let may = Allowed {
            memory_bytes,
            named: !options.specs.is_empty(),
            depths: is_nearly_all(material.measured, snapshot.count()),
        };
        let reason = mark(&mut indexes, target_recall, &may);
        let left_out = work.left_out;
        if reason.is_none() {
            return Err(nothing_measured(&left_out));
        }
        let mut study = Study {
            bilin: env!("CARGO_PKG_VERSION").to_owned(),
            collection: collection.to_owned(),
            model: settings.model.as_ref().map(|model| model.id.clone()),
            metric: settings.metric.to_string(),
            dim: settings.dim,
            seq: snapshot.seq(),
            rows: snapshot.count(),
            measured_rows: material.measured,
            queries: StudyQueries { source: material.source, count: material.count },
            target_recall,
            memory_bytes,
            build_threads: threads,
            seed: SEED,
            indexes,
            reason,
            left_out,
            before: settings.index.to_string(),
            applied: None,
            seconds: 0.0,
        };
        if options.apply {
            progress(&StudyProgress { step: "building the chosen index".to_owned(), permille: 990 });
            let upkeep = Upkeep { threads, memory_bytes, ..self.config.upkeep(true) };
            study.applied = apply(&store, &study, &upkeep, token)?;
        }
        study.seconds = started.elapsed().as_secs_f64();
        self.histories.add_study(&study);
        Ok(study)
    }
}

/// Whether what was measured holds for all rows, but for those that were held out as queries.
fn is_nearly_all(measured: usize, rows: usize) -> bool {
    measured * 10 >= rows * 9
}

fn nothing_measured(left_out: &[String]) -> Error {
    let told = match left_out.is_empty() {
        true => "no setting was measured".to_owned(),
        false => format!("no setting was measured: {}", left_out.join("; ")),
    };
    Error::invalid(told).with_hint("name other indexes, or allow more time")
}

/// Serves with the chosen index from now on; `None` where there is nothing to choose.
fn apply(
    store: &Collection,
    study: &Study,
    upkeep: &Upkeep,
    token: &CancelToken,
) -> Result<Option<String>, Error> {
    let Some((index, point)) = study.chosen() else { return Ok(None) };
    let spec: IndexSpec = index
        .index_for_all
        .parse()
        .map_err(|error| Error::new(ErrorKind::Internal, format!("{}: {error}", index.index_for_all)))?;
    token.check()?;
    VectorStore::set_index(store, spec.clone(), study.target_recall)?;
    let mut told = VectorStore::maintain(store, upkeep, &|_, _| !token.is_cancelled())?;
    let effort = match (point.nprobe, point.ef) {
        (Some(nprobe), _) => Effort::Nprobe(nprobe),
        (None, Some(ef)) => Effort::Ef(ef),
        (None, None) => return Ok(Some(told)),
    };
    // The build was calibrated on rows, with as deep a refinement as the codes ask for. What real queries need, and what a refine
    // depth does, measured over all rows, is known better.
    let is_measured = match point.refine {
        Some(_) => is_nearly_all(study.measured_rows, study.rows),
        None => study.queries.source != QuerySource::HeldOut && study.measured_rows == study.rows,
    };
    let is_known_better = is_measured && study.reason == Some(Reason::Fastest);
    let snapshot = store.snapshot();
    if let Some(generation) = snapshot.generation().filter(|generation| generation.spec == spec)
        && is_known_better
        && store
            .set_effort(generation.number, effort, point.refine)
            .map_err(|error| for_collection(error, VectorStore::name(store)))?
    {
        told.push_str(&format!(
            "; searched with {}, which {} queries need",
            point.setting(),
            study.queries.count
        ));
    }
    Ok(Some(told))
}

/// What all indexes share.
struct Work<'a> {
    material: &'a Material,
    metric: Metric,
    /// Live items of the collection.
    rows: usize,
    target_recall: f64,
    options: &'a StudyOptions,
    /// To build with, to search with.
    pools: (ThreadPool, ThreadPool),
    token: &'a CancelToken,
    progress: &'a (dyn Fn(&StudyProgress) + Sync),
    started: Instant,
    left_out: Vec<String>,
}

impl Work<'_> {
    fn all(&mut self, specs: &[(IndexSpec, IndexSpec)]) -> Result<Vec<Measured>, Error> {
        let mut todo: Vec<(IndexSpec, IndexSpec, bool)> =
            specs.iter().map(|(here, all)| (here.clone(), all.clone(), false)).collect();
        match todo.iter().position(|(here, ..)| *here == IndexSpec::FLAT) {
            Some(at) => todo[..=at].rotate_right(1),
            None => todo.insert(0, (IndexSpec::FLAT, IndexSpec::FLAT, true)),
        }
        let mut indexes = Vec::with_capacity(todo.len());
        for (at, (here, all, reference)) in todo.iter().enumerate() {
            let share = (at * 1_000 / todo.len(), 1_000 / todo.len());
            self.token.check()?;
            if self.is_late() {
                self.left_out.push(format!("{here}: no time was left for it"));
                continue;
            }
            match self.one(here, all, *reference, share) {
                Ok(measured) => indexes.push(measured),
                Err(IndexError::Cancelled) => {
                    self.token.check()?;
                    self.left_out.push(format!("{here}: the time did not suffice to build it"));
                }
                Err(error) => self.left_out.push(format!("{here}: {error}")),
            }
        }
        Ok(indexes)
    }

    fn is_late(&self) -> bool {
        self.started.elapsed().as_secs() >= self.options.seconds
    }

    fn tell(&self, step: String, share: (usize, usize), part: f64) {
        let permille = share.0 + (share.1 as f64 * part) as usize;
        (self.progress)(&StudyProgress { step, permille });
    }

    fn one(
        &mut self,
        spec: &IndexSpec,
        for_all: &IndexSpec,
        reference: bool,
        share: (usize, usize),
    ) -> Result<Measured, IndexError> {
        let Material { dataset, include, measured, .. } = self.material;
        let keep_on = |done: usize, total: usize| {
            self.tell(format!("building {spec}"), share, 0.5 * done as f64 / total.max(1) as f64);
            !self.token.is_cancelled() && !self.is_late()
        };
        let options =
            BuildOptions { threads: 0, seed: SEED, include: include.as_ref(), progress: Some(&keep_on) };
        let started = Instant::now();
        let index = self.pools.0.install(|| build(spec, self.metric, &dataset.base, &options))?;
        let build_s = started.elapsed().as_secs_f64();
        let bytes = served_bytes(&*index, *measured, dataset.base.dim()) as u64;
        let mut climb = Climb { work: self, index: &*index, spec, share, points: Vec::new() };
        let left_out = climb.run()?;
        let points = climb.points;
        self.left_out.extend(left_out);
        let times = self.rows as f64 / (*measured).max(1) as f64;
        Ok(Measured {
            index: spec.to_string(),
            index_for_all: for_all.to_string(),
            reference,
            build_s,
            bytes,
            bytes_for_all: (bytes as f64 * times) as u64,
            warnings: index.info().warnings,
            points,
        })
    }
}

/// One index and the settings that were tried on it.
struct Climb<'a> {
    work: &'a Work<'a>,
    index: &'a dyn VectorIndex,
    spec: &'a IndexSpec,
    share: (usize, usize),
    points: Vec<Point>,
}

impl Climb<'_> {
    /// Tries all settings; what no time was left for.
    fn run(&mut self) -> Result<Option<String>, IndexError> {
        let structure = self.spec.structure;
        let ladder = self.work.options.ladder(structure, self.work.material.measured);
        let named = self.work.options.is_named(structure);
        let has_depth = self.spec.refine && !matches!(structure, Structure::Hnsw { .. });
        let depths: &[usize] = if has_depth { &self.work.options.refine } else { &[] };
        let mut recalls: Vec<f64> = Vec::new();
        for (at, &step) in ladder.iter().enumerate() {
            if self.work.is_late() && !self.points.is_empty() {
                return Ok(Some(format!("{}: no time was left for settings from {step} on", self.spec)));
            }
            let part = 0.5 + 0.4 * at as f64 / ladder.len() as f64;
            recalls.push(self.try_one(step, None, part)?);
            for &depth in depths {
                self.try_one(step, Some(depth), part)?;
            }
            if !named && self.is_enough(&recalls) {
                break;
            }
        }
        if !named {
            self.close_in()?;
        }
        if has_depth && depths.is_empty() {
            let reaching = self.reaching().or(self.points.last()).and_then(step_of);
            for depth in DEPTHS {
                self.try_one(reaching.unwrap_or(0), Some(depth), 0.95)?;
            }
        }
        self.points.sort_by_key(|point| (point.nprobe, point.ef, point.refine));
        Ok(None)
    }

    fn is_enough(&self, recalls: &[f64]) -> bool {
        let is_flat = |pair: &[f64]| pair[1] - pair[0] < PLATEAU;
        let flat = recalls.len() > 2 && recalls.windows(2).rev().take(2).all(is_flat);
        recalls.last().is_some_and(|recall| *recall >= ENOUGH_RECALL)
            || (flat && !self.spec.is_full_precision())
    }

    /// The least effort so far that reaches the target.
    fn reaching(&self) -> Option<&Point> {
        let served = self.points.iter().filter(|point| point.refine.is_none());
        served
            .filter(|point| point.recall_at_10 >= self.work.target_recall)
            .min_by_key(|point| step_of(point))
    }

    /// Tries settings between the last that misses the target and the first that reaches it.
    fn close_in(&mut self) -> Result<(), IndexError> {
        for _ in 0..CLOSER_STEPS {
            let Some(high) = self.reaching().and_then(step_of) else { return Ok(()) };
            let below = self.points.iter().filter_map(step_of).filter(|step| *step < high).max();
            let Some(low) = below else { return Ok(()) };
            if high - low <= 1 + high / 8 || self.work.is_late() {
                return Ok(());
            }
            self.try_one(low + (high - low) / 2, None, 0.9)?;
        }
        Ok(())
    }

    fn try_one(&mut self, step: usize, refine: Option<usize>, part: f64) -> Result<f64, IndexError> {
        let Work { material, metric, token, .. } = self.work;
        let (nprobe, ef) = match self.spec.structure {
            Structure::Ivf { .. } => (Some(step), None),
            Structure::Hnsw { .. } => (None, Some(step)),
            Structure::Scan | Structure::Auto => (None, None),
        };
        let mut point = Point {
            nprobe,
            ef,
            refine,
            recall_at_10: 0.0,
            recall_error: 0.0,
            qps: 0.0,
            mean_us: 0.0,
            p50_us: 0.0,
            p99_us: 0.0,
            pareto: false,
            chosen: false,
        };
        self.work.tell(format!("measuring {}, {}", self.spec, point.setting()), self.share, part);
        let runner = Runner {
            index: self.index,
            dataset: &material.dataset,
            metric: *metric,
            batch: 1,
            max_pass_s: MAX_PASS_S,
            keep_on: &|| !token.is_cancelled(),
        };
        let params = SearchParams { nprobe, ef, refine, ..SearchParams::new(K) };
        let speed = self.work.pools.1.install(|| runner.measure(&params))?;
        (point.recall_at_10, point.recall_error) = (speed.recall, speed.recall_error);
        (point.qps, point.mean_us) = (speed.qps, 1e6 / speed.qps);
        (point.p50_us, point.p99_us) = (speed.p50_us, speed.p99_us);
        self.points.push(point);
        Ok(speed.recall)
    }
}

fn step_of(point: &Point) -> Option<usize> {
    point.nprobe.or(point.ef)
}
