//! What a study asks, over which rows, and what it should find.
//!
//! Real queries are preferred: given ones, then those sampled from live searches. Else rows of the collection are held out of
//! every index and asked for; they are like what is inside, so recall on real queries may be lower. Each query has the
//! distance of its tenth true neighbour, found by exact search over the same rows; a found row is right when it lies no
//! farther, so ties cost nothing.

use super::outcome::QuerySource;
use super::wishes::{GivenQueries, K, MIN_ITEMS, StudyOptions};
use crate::Engine;
use crate::bench::dataset::Dataset;
use crate::cancel::CancelToken;
use crate::error::Error;
use crate::passes::QueryInput;
use crate::random::Random;
use bilin_encode::{Modality, Prompt};
use bilin_index::{IndexError, Metric, RowChunks, RowSet, Rows, exact, normalise};
use bilin_store::{Settings, Snapshot};

/// Fewer live queries than this say little.
const MIN_LIVE: usize = 50;
/// Of each so many rows at most one is held out, so that enough are left to be found.
const ROWS_PER_QUERY: usize = 4;
/// Queries that are answered exactly between two looks at the token.
const TRUTH_BATCH: usize = 64;
/// Texts that are encoded between two looks at the token.
const ENCODE_BATCH: usize = 64;

/// Rows and queries of a study.
pub(super) struct Material {
    pub(super) dataset: Dataset,
    /// Rows of the base that count; `None` = all.
    pub(super) include: Option<RowSet>,
    /// How many these are.
    pub(super) measured: usize,
    pub(super) source: QuerySource,
    pub(super) count: usize,
}

/// Collects what is needed; `told` gets the share done, in thousandths.
pub(super) fn material(
    engine: &Engine,
    collection: &str,
    snapshot: &Snapshot,
    options: &StudyOptions,
    seed: u64,
    token: &CancelToken,
) -> Result<Material, Error> {
    let settings = snapshot.settings();
    let mut random = Random::new(seed);
    let mut slots: Vec<u32> = snapshot.live().iter().collect();
    if slots.len() < MIN_ITEMS {
        let told = format!("collection {collection:?} has {} items, a study needs {MIN_ITEMS}", slots.len());
        return Err(Error::invalid(told).with_hint("add more, or ask for the quick way (bilin tune --quick)"));
    }
    let (mut queries, source) = match given(engine, collection, settings, options, token)? {
        Some(given) => (given, QuerySource::Given),
        None => match live(engine, collection, options.max_queries) {
            Some(live) => (live, QuerySource::Live),
            None => {
                let count = options.max_queries.min(slots.len() / ROWS_PER_QUERY);
                random.draw(&mut slots, count);
                let held: Vec<u32> = slots.drain(..count).collect();
                let vectors = held.iter().flat_map(|&slot| snapshot.vector(slot)).copied().collect();
                (vectors, QuerySource::HeldOut)
            }
        },
    };
    for (number, query) in queries.chunks_exact_mut(settings.dim).enumerate() {
        if settings.metric == Metric::Cosine && !normalise(query) {
            return Err(Error::invalid(format!(
                "query {} has no direction, so it has no cosine",
                number + 1
            )));
        }
    }
    let (base, include, measured) = base(snapshot, slots, options, &mut random)?;
    let neighbours = K.min(measured);
    let farthest = truth(&base, include.as_ref(), settings, &queries, neighbours, token)?;
    let count = farthest.len();
    let dataset = Dataset { base, queries, farthest, neighbours };
    Ok(Material { dataset, include, measured, source, count })
}

/// The queries that the caller brought, encoded.
fn given(
    engine: &Engine,
    collection: &str,
    settings: &Settings,
    options: &StudyOptions,
    token: &CancelToken,
) -> Result<Option<Vec<f32>>, Error> {
    let most = options.max_queries;
    match &options.queries {
        GivenQueries::None => Ok(None),
        GivenQueries::Vectors { values, dim } => {
            if *dim != settings.dim {
                return Err(Error::invalid(format!(
                    "queries have {dim} dimensions, collection {collection:?} has {}",
                    settings.dim
                )));
            }
            let values = &values[..values.len().min(most.saturating_mul(*dim))];
            let rows =
                Rows::new(values, *dim).map_err(|error| Error::invalid(format!("queries: {error}")))?;
            if rows.is_empty() {
                return Err(Error::invalid("there are no queries"));
            }
            Ok(Some(values.to_vec()))
        }
        GivenQueries::Texts(texts) => {
            let texts: Vec<&String> =
                texts.iter().filter(|text| !text.trim().is_empty()).take(most).collect();
            if texts.is_empty() {
                return Err(Error::invalid("there are no queries"));
            }
            let encoder = engine.models.for_settings(collection, settings)?;
            let encoder =
                encoder.filter(|encoder| encoder.card().reads(Modality::Text)).ok_or_else(|| {
                    Error::invalid(format!("collection {collection:?} has no model that reads texts"))
                        .with_hint("give the queries as vectors, in a .npy file")
                })?;
            let mut vectors = Vec::with_capacity(texts.len() * settings.dim);
            for part in texts.chunks(ENCODE_BATCH) {
                let input =
                    |text: &&String| QueryInput::Text { text: (*text).clone(), prompt: Prompt::Query };
                let inputs = part.iter().map(input).collect();
                vectors.extend(engine.passes.encode(&engine.foreground, &encoder, inputs, token)?);
            }
            Ok(Some(vectors))
        }
    }
}

fn live(engine: &Engine, collection: &str, most: usize) -> Option<Vec<f32>> {
    let kept = engine.recall.unfiltered(collection);
    let enough = kept.len() >= MIN_LIVE.min(most);
    // The newest are the last.
    enough.then(|| kept.into_iter().rev().take(most).flatten().collect())
}

/// Rows to build over: those of the collection where all are taken, else a copy of some.
fn base(
    snapshot: &Snapshot,
    mut slots: Vec<u32>,
    options: &StudyOptions,
    random: &mut Random,
) -> Result<(RowChunks, Option<RowSet>, usize), Error> {
    let dim = snapshot.settings().dim;
    let wanted = options.rows_of(slots.len(), dim);
    if wanted == slots.len() {
        let include = (wanted < snapshot.rows().len()).then(|| slots.into_iter().collect());
        return Ok((snapshot.rows().clone(), include, wanted));
    }
    random.draw(&mut slots, wanted);
    slots.truncate(wanted);
    slots.sort_unstable();
    let values = slots.iter().flat_map(|&slot| snapshot.vector(slot)).copied().collect();
    let rows = RowChunks::from_vec(values, dim)
        .map_err(|error| Error::invalid(format!("cannot take a sample of the rows: {error}")))?;
    Ok((rows, None, wanted))
}

/// Distance of the last true neighbour of each query.
fn truth(
    base: &RowChunks,
    include: Option<&RowSet>,
    settings: &Settings,
    queries: &[f32],
    neighbours: usize,
    token: &CancelToken,
) -> Result<Vec<f32>, Error> {
    let failed =
        |error: IndexError| Error::invalid(format!("cannot search exactly: {error}")).with_source(error);
    let mut farthest = Vec::with_capacity(queries.len() / settings.dim);
    for part in queries.chunks(TRUTH_BATCH * settings.dim) {
        token.check()?;
        let part = Rows::new(part, settings.dim).map_err(|error| failed(IndexError::Rows(error)))?;
        let found = exact(base, 0..base.len(), settings.metric, part, neighbours, include).map_err(failed)?;
        farthest.extend(found.iter().map(|hits| hits.last().map_or(f32::INFINITY, |hit| hit.distance)));
    }
    Ok(farthest)
}
