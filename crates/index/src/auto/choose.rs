//! [`choose`]: which index to build, from pilots on a sample of the rows.
//!
//! Growth from a pilot of `p` rows to `n`: a scan takes `n / p` times as long, lists (their number is the root of the rows)
//! `sqrt(n / p)`, a graph `ln n / ln p`; building takes `n / p` times as long, times the same factor for lists and graphs.
//! Bytes grow with the rows. The pilots measure time, so two runs may choose differently where candidates are close; the
//! report says how close they were.

use super::calibrate::sample_rows;
use super::target::build_calibrated;
use crate::error::IndexError;
use crate::index::BuildOptions;
use crate::metric::Metric;
use crate::rows::RowChunks;
use crate::search::Effort;
use crate::spec::{AUTO_FLAT_BELOW_ROWS, AUTO_M, Codec, IndexSpec, MAX_NLIST, ScalarBits, Structure};
use std::time::Instant;

/// Values in a pilot's rows: its graph is built in some seconds.
const PILOT_VALUES: usize = 3 << 20;
/// Fewest and most rows of a pilot.
const PILOT_ROWS: std::ops::RangeInclusive<usize> = 4_000..=30_000;
/// An index that would take longer to build than this is only chosen when no other fits.
const MAX_BUILD_S: f64 = 3_600.0;
/// A candidate that builds this many times sooner ...
const SOONER: f64 = 4.0;
/// ... may be slower by this factor.
const ALMOST_AS_FAST: f64 = 1.15;
/// A calibrated recall this far below the target still counts as reaching it on a pilot.
const RECALL_SLACK: f32 = 0.005;

/// What the index has to satisfy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wishes {
    /// recall@10, above 0 and at most 1.
    pub target_recall: f32,
    /// Most bytes that the served index may need, rows included where searches read them; `None` = as many as it takes.
    pub memory_bytes: Option<u64>,
}

/// How one kind of index did on the pilot, and what that means for all rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The index over all rows.
    pub spec: IndexSpec,
    /// Effort that reached the target on the pilot.
    pub pilot_effort: Effort,
    /// Recall at 10 on the pilot with that effort.
    pub pilot_recall_at_10: f32,
    /// Microseconds per query on the pilot, one thread.
    pub pilot_query_us: f64,
    /// Expected microseconds per query over all rows.
    pub query_us: f64,
    /// Expected seconds to build over all rows with the threads of the pilot.
    pub build_s: f64,
    /// Expected bytes of the served index, rows included where searches read them.
    pub bytes: u64,
    /// Why it was chosen or not.
    pub verdict: Verdict,
}

/// Why a candidate was chosen or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This one.
    Chosen,
    /// It needs more memory than there may be.
    TooLarge,
    /// No effort reached the target recall on the pilot.
    MissesRecall,
    /// It takes too long to build.
    SlowToBuild,
    /// Another one answers faster, or as fast and builds much sooner.
    Slower,
}

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The index to build; never `auto`.
    pub spec: IndexSpec,
    /// Rows it is for.
    pub rows: usize,
    /// Rows of the pilots; 0 when none was needed.
    pub pilot_rows: usize,
    /// Everything that was tried, the chosen one among them.
    pub candidates: Vec<Candidate>,
    /// One sentence.
    pub reason: String,
}

/// Chooses the index for the included rows. Takes some seconds, whatever the number of rows.
///
/// # Errors
/// [`IndexError::Cancelled`] when the progress callback said so; those of building.
pub fn choose(
    rows: &RowChunks,
    metric: Metric,
    wishes: &Wishes,
    options: &BuildOptions<'_>,
) -> Result<Choice, IndexError> {
    let count = options.count(rows);
    if count < AUTO_FLAT_BELOW_ROWS {
        let reason = format!("{count} rows are searched exactly in well under a millisecond");
        return Ok(Choice { spec: IndexSpec::FLAT, rows: count, pilot_rows: 0, candidates: vec![], reason });
    }
    let pilot = Pilot::new(rows, metric, wishes, options, count)?;
    let mut candidates = Vec::new();
    for spec in contenders() {
        options.report(0, count)?;
        candidates.push(pilot.measure(&spec)?);
    }
    let reason = judge(&mut candidates, wishes, count);
    let chosen = candidates.iter().find(|candidate| candidate.verdict == Verdict::Chosen);
    let spec = chosen.map_or(IndexSpec::FLAT, |chosen| chosen.spec.clone());
    Ok(Choice { spec, rows: count, pilot_rows: pilot.rows.len(), candidates, reason })
}

/// Kinds of indexes that come into question, with a number of lists yet to be set: exact, the fastest, quick to build, and
/// those that need less memory than the rows themselves.
fn contenders() -> Vec<IndexSpec> {
    let lists = |codec| IndexSpec::ivf(1, codec);
    vec![
        IndexSpec::FLAT,
        IndexSpec::hnsw(AUTO_M),
        IndexSpec { refine: true, ..lists(Codec::RaBitQ { bits: 1 }) },
        lists(Codec::Sq(ScalarBits::Eight)),
        lists(Codec::RaBitQ { bits: 4 }),
    ]
}

/// `spec` with as many lists as suit `rows` rows.
fn for_rows(spec: &IndexSpec, rows: usize) -> IndexSpec {
    let structure = match spec.structure {
        Structure::Ivf { .. } => Structure::Ivf { nlist: rows.isqrt().clamp(1, MAX_NLIST) },
        other => other,
    };
    IndexSpec { structure, ..spec.clone() }
}

/// A sample of the rows on which candidates are built.
struct Pilot<'a> {
    rows: RowChunks,
    metric: Metric,
    wishes: &'a Wishes,
    seed: u64,
    /// Rows of the whole.
    count: usize,
}

impl<'a> Pilot<'a> {
    fn new(
        rows: &RowChunks,
        metric: Metric,
        wishes: &'a Wishes,
        options: &BuildOptions<'_>,
        count: usize,
    ) -> Result<Self, IndexError> {
        let dim = rows.dim();
        let size = (PILOT_VALUES / dim).clamp(*PILOT_ROWS.start(), *PILOT_ROWS.end());
        let sample = sample_rows(rows, options.include, size, options.seed);
        let values = sample.iter().flat_map(|&row| rows.row(row)).copied().collect();
        Ok(Pilot { rows: RowChunks::from_vec(values, dim)?, metric, wishes, seed: options.seed, count })
    }

    fn measure(&self, spec: &IndexSpec) -> Result<Candidate, IndexError> {
        let (pilot_rows, dim) = (self.rows.len(), self.rows.dim());
        let started = Instant::now();
        let options = BuildOptions { seed: self.seed, ..BuildOptions::default() };
        let spec_here = for_rows(spec, pilot_rows);
        let target_recall = self.wishes.target_recall;
        let (index, calibrated) =
            build_calibrated(&spec_here, self.metric, &self.rows, target_recall, &options)?;
        let built_s = (started.elapsed().as_secs_f64() - calibrated.seconds).max(0.0);
        let info = index.info();
        let row_bytes = if info.reads_rows { dim * 4 } else { 0 };
        let bytes_per_row = info.bytes as f64 / pilot_rows as f64 + row_bytes as f64;
        let times = self.count as f64 / pilot_rows as f64;
        let slower = match spec.structure {
            Structure::Ivf { .. } => times.sqrt(),
            Structure::Hnsw { .. } => (self.count as f64).ln() / (pilot_rows as f64).ln(),
            Structure::Auto | Structure::Scan => times,
        };
        let build_growth = if spec.structure == Structure::Scan { times } else { times * slower };
        Ok(Candidate {
            spec: for_rows(spec, self.count),
            pilot_effort: calibrated.effort,
            pilot_recall_at_10: calibrated.recall_at_10,
            pilot_query_us: calibrated.query_us,
            query_us: calibrated.query_us * slower,
            build_s: built_s * build_growth,
            bytes: (bytes_per_row * self.count as f64) as u64,
            verdict: Verdict::Slower,
        })
    }
}

/// Sets the verdicts; returns the reason in words.
fn judge(candidates: &mut [Candidate], wishes: &Wishes, rows: usize) -> String {
    let needed = wishes.target_recall - RECALL_SLACK;
    for candidate in candidates.iter_mut() {
        candidate.verdict = if wishes.memory_bytes.is_some_and(|limit| candidate.bytes > limit) {
            Verdict::TooLarge
        } else if candidate.pilot_recall_at_10 < needed {
            Verdict::MissesRecall
        } else if candidate.build_s > MAX_BUILD_S {
            Verdict::SlowToBuild
        } else {
            Verdict::Slower
        };
    }
    let fastest = |candidates: &[Candidate], wanted: &[Verdict]| {
        let fitting = (0..candidates.len()).filter(|&i| wanted.contains(&candidates[i].verdict));
        fitting.min_by(|&a, &b| candidates[a].query_us.total_cmp(&candidates[b].query_us))
    };
    let target = wishes.target_recall;
    let (mut chosen, why) = if let Some(best) = fastest(candidates, &[Verdict::Slower]) {
        (best, format!("the fastest of those that reach recall {target} over {rows} rows"))
    } else if let Some(slow) = fastest(candidates, &[Verdict::SlowToBuild]) {
        (slow, format!("the only kind that reaches recall {target} within the memory takes long to build"))
    } else if let Some(lossy) = most_faithful(candidates) {
        (lossy, format!("nothing within the memory reaches recall {target}; this comes nearest"))
    } else {
        let smallest = (0..candidates.len()).min_by_key(|&i| candidates[i].bytes).unwrap_or(0);
        (smallest, "nothing fits the memory; this needs the least".to_owned())
    };
    let mut why = why;
    let best = candidates[chosen].clone();
    let sooner = (0..candidates.len()).find(|&i| {
        let other = &candidates[i];
        other.verdict == best.verdict
            && other.build_s * SOONER < best.build_s
            && other.query_us < best.query_us * ALMOST_AS_FAST
    });
    if let Some(sooner) = sooner {
        why = format!("almost as fast as {} and built {:.0} times sooner", best.spec, {
            best.build_s / candidates[sooner].build_s.max(1e-6)
        });
        chosen = sooner;
    }
    candidates[chosen].verdict = Verdict::Chosen;
    format!("{}: {why}", candidates[chosen].spec)
}

fn most_faithful(candidates: &[Candidate]) -> Option<usize> {
    let fitting = (0..candidates.len()).filter(|&i| candidates[i].verdict == Verdict::MissesRecall);
    fitting.max_by(|&a, &b| candidates[a].pilot_recall_at_10.total_cmp(&candidates[b].pilot_recall_at_10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(spec: &str, recall: f32, query_us: f64, build_s: f64, bytes: u64) -> Candidate {
        Candidate {
            spec: spec.parse().unwrap(),
            pilot_effort: Effort::Exact,
            pilot_recall_at_10: recall,
            pilot_query_us: query_us,
            query_us,
            build_s,
            bytes,
            verdict: Verdict::Slower,
        }
    }

    fn chosen(candidates: Vec<Candidate>, memory_bytes: Option<u64>) -> (String, Vec<Verdict>) {
        let mut candidates = candidates;
        judge(&mut candidates, &Wishes { target_recall: 0.95, memory_bytes }, 1_000_000);
        let verdicts = candidates.iter().map(|candidate| candidate.verdict).collect();
        let chosen = candidates.into_iter().find(|candidate| candidate.verdict == Verdict::Chosen).unwrap();
        (chosen.spec.to_string(), verdicts)
    }

    #[test]
    fn the_fastest_that_fits_wins() {
        let all = || {
            vec![
                candidate("Flat", 1.0, 9000.0, 0.1, 500),
                candidate("HNSW16", 0.951, 50.0, 200.0, 700),
                candidate("IVF1000,PQ64x4fs,RFlat", 0.952, 100.0, 9.0, 560),
                candidate("IVF1000,SQ8", 0.96, 150.0, 8.0, 140),
                candidate("IVF1000,SQ4", 0.90, 120.0, 8.0, 80),
            ]
        };
        assert_eq!(chosen(all(), None).0, "HNSW16");
        assert_eq!(chosen(all(), Some(600)).0, "IVF1000,PQ64x4fs,RFlat");
        let (spec, verdicts) = chosen(all(), Some(300));
        assert_eq!(spec, "IVF1000,SQ8");
        assert_eq!(
            verdicts,
            [Verdict::TooLarge, Verdict::TooLarge, Verdict::TooLarge, Verdict::Chosen, Verdict::MissesRecall]
        );
        assert_eq!(chosen(all(), Some(100)).0, "IVF1000,SQ4", "nothing reaches the target: the nearest");
        assert_eq!(chosen(all(), Some(10)).0, "IVF1000,SQ4", "nothing fits: the smallest");
    }

    #[test]
    fn almost_as_fast_and_built_much_sooner_wins() {
        let graph = candidate("HNSW16", 0.951, 100.0, 200.0, 700);
        let lists = |query_us| candidate("IVF1000,PQ64x4fs,RFlat", 0.952, query_us, 9.0, 560);
        assert_eq!(chosen(vec![graph.clone(), lists(110.0)], None).0, "IVF1000,PQ64x4fs,RFlat");
        assert_eq!(chosen(vec![graph.clone(), lists(130.0)], None).0, "HNSW16");
        let endless = Candidate { build_s: 1e6, ..graph };
        assert_eq!(chosen(vec![endless, lists(900.0)], None).0, "IVF1000,PQ64x4fs,RFlat");
    }
}
