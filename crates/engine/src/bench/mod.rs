//! `bench`: recall against queries per second of any index on a folder of vectors.
//!
//! Speaks ann-benchmarks: recall@10 against QPS, one query at a time unless a batch is asked for. A folder holds one
//! `base.*.npy`, one `queries.*.npy` (u8, f16, f32 or f64; `[n, dim]`) and, optionally, `neighbors.npy` (i32 or i64, `[queries, >= k]`, exact
//! nearest first); without it the truth is computed. A returned row counts as right when its distance, computed again from
//! the base, is no larger than that of the k-th true neighbour, so ties cost nothing.

pub(crate) mod dataset;
pub(crate) mod measure;

use crate::{Error, ErrorKind};
use bilin_index::{
    BuildOptions, Built, Effort, IndexError, IndexSpec, MAX_K, Metric, SearchParams, Structure, VectorIndex,
    Wishes, build, build_to_target,
};
use cpu_time::ProcessTime;
use dataset::Dataset;
use measure::Runner;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Seed of every build, so that runs can be compared.
const SEED: u64 = 42;
/// A sweep ends at the first setting that reaches this recall.
const SWEEP_UNTIL_RECALL: f64 = 0.995;
/// Largest beam that a sweep tries.
const MAX_EF: usize = 4096;
/// What `auto` is asked for when nothing is said.
const DEFAULT_WISHES: Wishes = Wishes { target_recall: 0.95, memory_bytes: None };
/// Most threads of a run.
pub const MAX_THREADS: usize = 1024;

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Folder with `base.*.npy`, `queries.*.npy` and perhaps `neighbors.npy`.
    pub vectors: PathBuf,
    /// Indexes to build, one after another.
    pub specs: Vec<IndexSpec>,
    /// Metric to search by; under cosine base and queries are brought to unit length first.
    pub metric: Metric,
    /// Neighbours asked for per query.
    pub k: usize,
    /// Threads for building and searching.
    pub threads: usize,
    /// Queries per call; 1 = one at a time.
    pub batch: usize,
    /// What an `auto` index has to satisfy. It is measured once, with the effort that it was calibrated to; other indexes
    /// run through a sweep of efforts.
    pub wishes: Wishes,
}

impl BenchOptions {
    /// One query at a time on one thread, ten neighbours by squared L2.
    pub fn new(vectors: impl Into<PathBuf>, specs: Vec<IndexSpec>) -> Self {
        BenchOptions {
            vectors: vectors.into(),
            specs,
            metric: Metric::L2,
            k: 10,
            threads: 1,
            batch: 1,
            wishes: DEFAULT_WISHES,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let within = |name: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            let message = format!("{name} is {value}, expected 1..={most}");
            Err(failure(ErrorKind::InvalidInput, message, None))
        };
        within("k", self.k, MAX_K)?;
        within("threads", self.threads, MAX_THREADS)?;
        within("batch", self.batch, usize::MAX)?;
        if self.specs.is_empty() {
            let hint = "name one with --index, for instance --index Flat".to_owned();
            return Err(failure(ErrorKind::InvalidInput, "no index to measure".to_owned(), Some(hint)));
        }
        let target_recall = self.wishes.target_recall;
        if !(target_recall > 0.0 && target_recall <= 1.0) {
            let message = format!("target_recall is {target_recall}, expected above 0 and at most 1");
            return Err(failure(ErrorKind::InvalidInput, message, None));
        }
        Ok(())
    }
}

/// One line of the result: one index with one search setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// The index's spec, `auto` resolved.
    pub index: String,
    /// CPU seconds that all threads together took to train and build.
    pub build_cpu_s: f64,
    /// Seconds on the clock for the same.
    pub build_s: f64,
    /// Bytes that a served index needs per base vector: vectors, codes, links and row numbers.
    pub bytes_per_vector: f64,
    /// The search setting: `nprobe` or `ef`, nothing for exact indexes.
    pub params: Params,
    /// Share of the true ten (or `k`, if fewer) nearest that were found.
    pub recall_at_10: f64,
    /// Queries per second on the clock.
    pub qps: f64,
    /// Median microseconds of a call (of `batch` queries).
    pub p50_us: f64,
    /// 99th percentile of the same.
    pub p99_us: f64,
    /// Queries per CPU second of all threads together.
    pub cpu_qps: f64,
    /// `auto` only: the recall that was asked for, which the effort was calibrated to on the rows alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_recall: Option<f32>,
    /// What the index has to say of itself, such as too few rows to train on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// `auto` only: why this index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A search setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Params {
    /// IVF: lists visited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nprobe: Option<usize>,
    /// HNSW: candidates kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef: Option<usize>,
}

/// What a benchmark is doing; for a progress line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BenchEvent {
    /// Vectors are being read.
    Reading,
    /// No `neighbors.npy`: exact neighbours are being computed.
    Truth {
        /// Queries to answer exactly.
        queries: usize,
    },
    /// An index is being built.
    Building {
        /// Its spec.
        index: String,
        /// Rows done.
        done: usize,
        /// Rows in all.
        total: usize,
    },
    /// A setting is being measured.
    Searching {
        /// The index's spec.
        index: String,
        /// `nprobe` or `ef`.
        setting: Option<usize>,
    },
}

/// Builds and measures each index; `each` gets every measurement as it is made. Returning `false` from `progress` stops with
/// [`ErrorKind::Cancelled`].
pub fn run(
    options: &BenchOptions,
    progress: &(dyn Fn(&BenchEvent) -> bool + Sync),
    each: &mut (dyn FnMut(Measurement) + Send),
) -> Result<(), Error> {
    options.check()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build().map_err(|error| {
        failure(ErrorKind::Io, format!("cannot start {} threads: {error}", options.threads), None)
    })?;
    pool.install(|| {
        tell(progress, BenchEvent::Reading)?;
        let dataset = Dataset::read(options, progress)?;
        for spec in &options.specs {
            measure_index(spec, options, &dataset, progress, each)?;
        }
        Ok(())
    })
}

fn measure_index(
    spec: &IndexSpec,
    options: &BenchOptions,
    dataset: &Dataset,
    progress: &(dyn Fn(&BenchEvent) -> bool + Sync),
    each: &mut (dyn FnMut(Measurement) + Send),
) -> Result<(), Error> {
    let (rows, dim) = (dataset.base.len(), dataset.base.dim());
    let index_name = spec.to_string();
    let report = |done, total| progress(&BenchEvent::Building { index: index_name.clone(), done, total });
    let build_options = BuildOptions { seed: SEED, progress: Some(&report), ..BuildOptions::default() };
    let (clock, cpu) = (Instant::now(), ProcessTime::now());
    let failed = |error| index_failure(&format!("cannot build \"{index_name}\""), error);
    let (index, chosen) = if spec.is_auto() {
        let built = build_to_target(spec, options.metric, &dataset.base, &options.wishes, &build_options);
        let Built { index, calibration, choice } = built.map_err(failed)?;
        (index, Some((calibration.effort, choice.map(|choice| choice.reason))))
    } else {
        (build(spec, options.metric, &dataset.base, &build_options).map_err(failed)?, None)
    };
    let index_name = index.info().spec.to_string();
    let (build_s, build_cpu_s) = (clock.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    let runner = Runner {
        index: &*index,
        dataset,
        metric: options.metric,
        batch: options.batch,
        max_pass_s: f64::INFINITY,
        keep_on: &|| true,
    };
    let efforts = match &chosen {
        Some((effort, _)) => vec![*effort],
        None => sweep(spec, options.k),
    };
    for effort in efforts {
        let setting = params_of(effort);
        let number = setting.nprobe.or(setting.ef);
        tell(progress, BenchEvent::Searching { index: index_name.clone(), setting: number })?;
        let params = SearchParams::new(options.k).with_effort(effort);
        let speed = runner.measure(&params).map_err(|error| index_failure("cannot search", error))?;
        each(Measurement {
            index: index_name.clone(),
            build_cpu_s,
            build_s,
            bytes_per_vector: served_bytes(&*index, rows, dim) as f64 / rows.max(1) as f64,
            params: setting,
            recall_at_10: speed.recall,
            qps: speed.qps,
            p50_us: speed.p50_us,
            p99_us: speed.p99_us,
            cpu_qps: speed.cpu_qps,
            warnings: index.info().warnings,
            target_recall: chosen.as_ref().map(|_| options.wishes.target_recall),
            reason: chosen.as_ref().and_then(|(_, reason)| reason.clone()),
        });
        if speed.recall >= SWEEP_UNTIL_RECALL {
            break;
        }
    }
    Ok(())
}

fn params_of(effort: Effort) -> Params {
    match effort {
        Effort::Exact => Params::default(),
        Effort::Nprobe(nprobe) => Params { nprobe: Some(nprobe), ef: None },
        Effort::Ef(ef) => Params { nprobe: None, ef: Some(ef) },
    }
}

/// Settings to try, ascending, in steps of about a fifth.
fn sweep(spec: &IndexSpec, k: usize) -> Vec<Effort> {
    let steps = |from: usize, to: usize| {
        std::iter::successors(Some(from), move |&at| Some(at + (at / 5).max(1)).filter(|&next| next <= to))
    };
    match spec.structure {
        Structure::Auto | Structure::Scan => vec![Effort::Exact],
        Structure::Ivf { nlist } => steps(1, nlist).map(Effort::Nprobe).collect(),
        Structure::Hnsw { .. } => steps(k.max(10), MAX_EF.max(k)).map(Effort::Ef).collect(),
    }
}

/// Bytes of the index, and of the vectors where searches read them.
pub(crate) fn served_bytes(index: &dyn VectorIndex, rows: usize, dim: usize) -> usize {
    let info = index.info();
    info.bytes + if info.reads_rows { rows * dim * 4 } else { 0 }
}

fn tell(progress: &(dyn Fn(&BenchEvent) -> bool + Sync), event: BenchEvent) -> Result<(), Error> {
    if progress(&event) {
        return Ok(());
    }
    Err(failure(ErrorKind::Cancelled, "cancelled".to_owned(), None))
}

fn failure(kind: ErrorKind, message: String, hint: Option<String>) -> Error {
    Error { kind, message, hint, source: None }
}

fn index_failure(what: &str, error: IndexError) -> Error {
    let kind = match error {
        IndexError::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::InvalidInput,
    };
    Error { kind, message: format!("{what}: {error}"), hint: None, source: Some(Box::new(error)) }
}

#[cfg(test)]
mod tests;
