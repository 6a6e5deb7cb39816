//! What a study found; as JSON, stable.

use serde::Serialize;

/// Where the queries came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuerySource {
    /// Sampled from live searches.
    Live,
    /// Rows of the collection that were left out of the indexes.
    HeldOut,
    /// Brought by whoever asked.
    Given,
}

/// The queries of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StudyQueries {
    /// Where they came from.
    pub source: QuerySource,
    /// How many.
    pub count: usize,
}

/// One index with one setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// IVF: lists visited.
    pub nprobe: Option<usize>,
    /// HNSW: candidates kept.
    pub ef: Option<usize>,
    /// Candidates measured again, in multiples of ten; null = as many as the codes' error asks for, which is how collections are
    /// served unless a study has chosen a depth and was applied.
    pub refine: Option<usize>,
    /// Share of the true ten nearest that were found, mean over the queries.
    pub recall_at_10: f64,
    /// Standard error of that mean.
    pub recall_error: f64,
    /// Queries per second, one at a time on one thread.
    pub qps: f64,
    /// Mean microseconds of a query.
    pub mean_us: f64,
    /// Median microseconds.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// No other point finds more in less time.
    pub pareto: bool,
    /// The point to serve with.
    pub chosen: bool,
}

/// One index with its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// What was built.
    pub index: String,
    /// The same kind for all rows of the collection, where a sample was measured: with more lists.
    pub index_for_all: String,
    /// Not asked for; exact search is measured always, to compare with.
    pub reference: bool,
    /// Seconds to train and build it.
    pub build_s: f64,
    /// Bytes to serve it, vectors included where searches read them.
    pub bytes: u64,
    /// The same, carried over to all rows.
    pub bytes_for_all: u64,
    /// What the index has to say of itself.
    pub warnings: Vec<String>,
    /// In the order of effort.
    pub points: Vec<Point>,
}

/// Why a point was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The fastest of those that reach the target within the memory.
    Fastest,
    /// Exact search is so fast that an approximate one would save little and miss something.
    ExactIsEnough,
    /// Nothing reaches the target within the memory; this finds most.
    FindsMost,
    /// Nothing fits the memory; this needs least.
    NeedsLeast,
}

/// A study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Study {
    /// Version of this program.
    pub bilin: String,
    /// Name of the collection.
    pub collection: String,
    /// Its model; null for bare vectors.
    pub model: Option<String>,
    /// `cosine`, `l2` or `ip`.
    pub metric: String,
    /// Values per vector.
    pub dim: usize,
    /// Commit that was studied.
    pub seq: u64,
    /// Live items of that commit.
    pub rows: usize,
    /// Items that indexes were built over.
    pub measured_rows: usize,
    /// What was asked.
    pub queries: StudyQueries,
    /// Recall at 10 aimed at.
    pub target_recall: f32,
    /// Most bytes that the index could need.
    pub memory_bytes: Option<u64>,
    /// Threads that indexes were built with; searches were one at a time on one thread.
    pub build_threads: usize,
    /// Seed of every random choice.
    pub seed: u64,
    /// Every index; exact search first.
    pub indexes: Vec<Measured>,
    /// Why the chosen point; null when nothing was measured.
    pub reason: Option<Reason>,
    /// Indexes and settings that the time did not suffice for, or that cannot be built.
    pub left_out: Vec<String>,
    /// The index that the collection was set to before.
    pub before: String,
    /// What was built, when it was to be applied.
    pub applied: Option<String>,
    /// Seconds that all of it took.
    pub seconds: f64,
}

impl Study {
    /// The point to serve with, and its index.
    pub fn chosen(&self) -> Option<(&Measured, &Point)> {
        let points = |index| move |point| (index, point);
        self.indexes
            .iter()
            .flat_map(|index: &Measured| index.points.iter().map(points(index)))
            .find(|(_, point): &(&Measured, &Point)| point.chosen)
    }

    /// Exact search.
    pub fn exact(&self) -> Option<&Point> {
        self.indexes.iter().find(|index| index.index == "Flat")?.points.first()
    }
}

impl Point {
    /// As `nprobe 8`, `ef 64, refine 4`, `exact`.
    pub fn setting(&self) -> String {
        let lists = self.nprobe.map(|nprobe| format!("nprobe {nprobe}"));
        let beam = self.ef.map(|ef| format!("ef {ef}"));
        let depth = self.refine.map(|refine| format!("refine {refine}"));
        let parts: Vec<String> = [lists, beam, depth].into_iter().flatten().collect();
        if parts.is_empty() { "exact".to_owned() } else { parts.join(", ") }
    }
}
