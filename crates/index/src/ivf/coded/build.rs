//! Training and filling.

use super::{Coded, Slack, Trained, nlist_of, settings_of};
use crate::codes::{self, Output, Settings};
use crate::error::IndexError;
use crate::index::BuildOptions;
use crate::ivf::mean;
use crate::kernels::kernels;
use crate::kmeans::{self, Assigner, MAX_POINTS_PER_CENTROID};
use crate::metric::Metric;
use crate::random::Random;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, RowStore, Rows};
use crate::spec::{Codec, IndexSpec, Structure};
use crate::transform::Chain;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows transformed, assigned and reported at a time.
const BUILD_BLOCK_ROWS: usize = 1 << 15;
/// Rows that the centre of a scan is the mean of.
const CENTRE_ROWS: usize = 1 << 14;
/// Rows that serve as queries when an error is learned, lists that each looks at, and near rows of each that count.
const SLACK_QUERIES: usize = 128;
const SLACK_LISTS: usize = 4;
const SLACK_ROWS: usize = 2048;
const SLACK_NEAR: usize = 16;
/// Rows per centroid below which k-means is given a warning, as in FAISS.
const ENOUGH_PER_CENTROID: usize = 39;

impl Coded {
    /// Trains on a sample of the included rows and fills the lists.
    pub(crate) fn build(
        spec: &IndexSpec,
        metric: Metric,
        rows: &RowChunks,
        options: &BuildOptions<'_>,
    ) -> Result<Self, IndexError> {
        let dim = rows.dim();
        let included = options.included(rows);
        let wanted = training_rows(spec);
        let positions = Random::new(options.seed).sample(included.len(), wanted);
        let store = RowStore::new(rows.clone());
        let view = store.view();
        let sample: Vec<f32> = positions.into_iter().flat_map(|at| view.row(included[at])).copied().collect();
        let report = || options.report(0, included.len());
        let trained = train(spec, metric, dim, &sample, options.seed, &report)?;
        drop(sample);
        let mut index = Coded {
            spec: spec.clone(),
            metric,
            dim,
            seed: options.seed,
            rows: 0,
            shared_rows: rows.len(),
            store: None,
            members: RowSet::new(),
            lists: vec![super::CodeList::empty(); nlist_of(spec)],
            trained,
            warnings: warnings(spec, included.len()),
        };
        let done = AtomicUsize::new(0);
        for ids in included.chunks(BUILD_BLOCK_ROWS) {
            let vectors: Vec<f32> = ids.iter().flat_map(|&id| view.row(id)).copied().collect();
            index.fill(ids, &vectors);
            let done = done.fetch_add(ids.len(), Ordering::Relaxed) + ids.len();
            options.report(done, included.len())?;
        }
        index.rows = rows.len();
        drop(view);
        if spec.refine {
            index.store = Some(store);
            index.learn_slack();
        }
        Ok(index)
    }

    /// Puts prepared vectors, `[ids.len(), dim]`, into their lists, in the order given.
    pub(super) fn fill(&mut self, ids: &[u32], vectors: &[f32]) {
        let Trained { chain, coarse, codes, centroids, .. } = &self.trained;
        let dim = chain.dim_out();
        let vectors = chain.apply(vectors);
        let nearest = if self.lists.len() == 1 { vec![0; ids.len()] } else { coarse.assign(&vectors) };
        let (starts, order) = kmeans::group(&nearest, self.lists.len());
        let one = |l: usize, list: &mut super::CodeList| {
            let positions = &order[starts[l]..starts[l + 1]];
            if positions.is_empty() {
                return;
            }
            let rows = positions.iter().flat_map(|&at| &vectors[at as usize * dim..(at as usize + 1) * dim]);
            let rows: Vec<f32> = rows.copied().collect();
            let ids: Vec<u32> = positions.iter().map(|&at| ids[at as usize]).collect();
            list.append(&**codes, &centroids[l * dim..(l + 1) * dim], &ids, &rows);
        };
        self.lists.par_iter_mut().enumerate().for_each(|(l, list)| one(l, list));
        ids.iter().for_each(|&id| {
            self.members.insert(id);
        });
    }

    /// Learns by how much estimates of near rows are above their distances, from a sample of the rows.
    pub(super) fn learn_slack(&mut self) {
        let Some(store) = &self.store else { return };
        if self.trained.codes.has_bounds() || self.members.is_empty() {
            return;
        }
        let members: Vec<u32> = self.members.iter().collect();
        let view = store.view();
        let queries = Random::new(self.seed ^ 0x0073_6c61_636b).sample(members.len(), SLACK_QUERIES);
        let pairs: Vec<(f32, f32, f32)> = queries
            .into_par_iter()
            .flat_map_iter(|at| self.estimates_near(members[at], view.row(members[at])))
            .collect();
        self.trained.slack = Slack::learn(self.metric, &pairs);
    }

    /// True distance, estimate and length of the query for the rows nearest to a row.
    fn estimates_near(&self, row: u32, query: &[f32]) -> Vec<(f32, f32, f32)> {
        let Some(store) = &self.store else { return Vec::new() };
        let Trained { chain, codes, .. } = &self.trained;
        let view = store.view();
        let moved = chain.apply(query);
        let mut scorer = codes.bind(&moved, Output::Estimate);
        let length = kernels().dot(query, query).sqrt();
        let mut found = Vec::new();
        for hit in self.nearest_lists(&moved, SLACK_LISTS) {
            let list = &self.lists[hit.row as usize];
            scorer.enter(self.trained.centroid(hit.row as usize), hit.distance);
            let end = list.len().min(SLACK_ROWS);
            let mut all = All(Vec::new());
            list.scan(&**codes, &mut *scorer, 0..end, None, &mut all);
            let others = all.0.into_iter().filter(|&(other, _)| other != row);
            found.extend(
                others.map(|(other, estimate)| {
                    (self.metric.distance(query, view.row(other)), estimate, length)
                }),
            );
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.truncate(SLACK_NEAR);
        found
    }
}

/// Every entry and its estimate.
struct All(Vec<(u32, f32)>);

impl super::list::Sink for All {
    fn limit(&self) -> f32 {
        f32::INFINITY
    }

    fn offer(&mut self, row: u32, distance: f32) {
        self.0.push((row, distance));
    }
}

/// Rows that training makes use of.
fn training_rows(spec: &IndexSpec) -> usize {
    let lists = match spec.structure {
        Structure::Ivf { nlist } => nlist.saturating_mul(MAX_POINTS_PER_CENTROID),
        _ => CENTRE_ROWS,
    };
    lists.max(Settings::useful_rows(spec.codec)).max(Chain::useful_rows(&spec.transforms))
}

/// What to say about an index trained on this many rows.
pub(in crate::ivf) fn warnings(spec: &IndexSpec, rows: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |what: &str, wanted: usize| {
        if rows < wanted {
            warnings.push(format!("{what} was trained on {rows} rows, at least {wanted} would be better"));
        }
    };
    if let Structure::Ivf { nlist } = spec.structure {
        warn(&format!("IVF{nlist}"), nlist * ENOUGH_PER_CENTROID);
    }
    warn(&spec.codec.to_string(), Settings::training_rows(spec.codec).1);
    warnings
}

/// Learns transforms, centroids and codec from prepared vectors, `[n, dim]`.
pub(super) fn train(
    spec: &IndexSpec,
    metric: Metric,
    dim: usize,
    sample: &[f32],
    seed: u64,
    report: &dyn Fn() -> Result<(), IndexError>,
) -> Result<Trained, IndexError> {
    let settings = settings_of(spec, metric, Chain::dim_out_of(&spec.transforms, dim)?, seed);
    settings.check()?;
    let rows = sample.len() / dim;
    let needed = nlist_of(spec).max(Settings::training_rows(spec.codec).0);
    if rows < needed {
        return Err(IndexError::TooFewRows { needed, received: rows });
    }
    let chain = Chain::train(&spec.transforms, metric, dim, sample, seed)?;
    report()?;
    let sample = chain.apply(sample);
    let dim = chain.dim_out();
    let centroids = match spec.structure {
        Structure::Ivf { nlist } => {
            kmeans::train(metric, Rows::trusted(&sample, dim), nlist, seed, &|_, _| report())?
        }
        _ if matches!(spec.codec, Codec::RaBitQ { .. }) => mean(&sample, dim),
        _ => vec![0.0; dim],
    };
    let coarse = Assigner::new(metric, &centroids, dim);
    let used = Settings::useful_rows(spec.codec).min(rows);
    let mut chosen: Vec<f32> = Vec::with_capacity(used * dim);
    (0..used).for_each(|i| chosen.extend_from_slice(&sample[i * rows / used * dim..][..dim]));
    if settings.by_residual && used > 0 {
        let nearest = coarse.assign(&chosen);
        for (row, list) in chosen.chunks_exact_mut(dim).zip(nearest) {
            let centroid = &centroids[list as usize * dim..][..dim];
            row.iter_mut().zip(centroid).for_each(|(value, centre)| *value -= centre);
        }
    }
    let codes = codes::train(&settings, &chosen)?;
    let slack = Slack { factor: 0.0, is_l2: metric == Metric::L2 };
    Ok(Trained { chain, centroids, coarse, codes, slack })
}
