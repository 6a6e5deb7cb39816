//! The search effort that live queries need.
//!
//! An index is calibrated on rows of its collection. Where live queries come from elsewhere, that effort may find too
//! little, and building again gives the same index with the same effort. So the queries that were sampled last are asked
//! with more and more effort until their recall reaches the target by its standard error, as the calibration of a build
//! does it; searches of this generation are made with that from then on. Where more effort brings nothing (codes that
//! cannot tell rows apart), that is told once per generation.

use super::{K, LiveQuery, Recorder};
use bilin_index::{Effort, Hits, RowSet, Rows, Structure};
use bilin_store::{Collection, Snapshot, StoreError};

/// Each effort is so many times the one before.
const STEP: f64 = 1.5;
/// No graph search is asked for more candidates than this.
const MAX_EF: usize = 4_096;
/// A step that brings less recall than this, twice in a row, is the end.
const PLATEAU: f64 = 1e-3;

/// What came of it.
pub(crate) struct Raised {
    /// Whether searches are made with another effort now.
    pub(crate) is_changed: bool,
    /// The generation that no effort brings to its target.
    pub(crate) exhausted: Option<u64>,
    /// For people.
    pub(crate) told: String,
}

/// A sampled query with its true tenth distance.
struct Asked {
    vector: Vec<f32>,
    allowed: Option<RowSet>,
    last: f32,
    expected: usize,
}

/// Finds the least effort that is enough for the queries sampled last, and serves with it.
pub(crate) fn raise(
    recorder: &Recorder,
    collection: &Collection,
    keep_on: &(dyn Fn() -> bool + Sync),
) -> Result<Raised, StoreError> {
    let snapshot = collection.snapshot();
    let nothing = |told: &str| Raised { is_changed: false, exhausted: None, told: told.to_owned() };
    let (Some(generation), Some(now)) = (snapshot.generation(), snapshot.effort()) else {
        return Ok(nothing("there is no index any more"));
    };
    let (number, target) = (generation.number, f64::from(snapshot.settings().target_recall));
    let Some(Scale { of, now, largest }) = scale(now, &generation.spec.structure) else {
        return Ok(nothing("the index is searched exactly"));
    };
    let asked = asked(&snapshot, recorder.queries(collection.name()), keep_on)?;
    if asked.is_empty() {
        return Ok(nothing("no queries were kept"));
    }
    let mut tried = vec![(now, score(&snapshot, &asked, of(now), keep_on)?)];
    let before = tried[0].1;
    let reached = loop {
        let (effort, (mean, error)) = tried[tried.len() - 1];
        if mean - error >= target {
            break Some(effort);
        }
        let is_flat = |pair: &[(usize, (f64, f64))]| pair[1].1.0 - pair[0].1.0 < PLATEAU;
        if effort >= largest || (tried.len() > 2 && tried.windows(2).rev().take(2).all(is_flat)) {
            break None;
        }
        let next = (((effort as f64) * STEP).ceil() as usize).min(largest);
        tried.push((next, score(&snapshot, &asked, of(next), keep_on)?));
    };
    let best = tried.iter().map(|(_, (mean, _))| *mean).fold(0.0, f64::max);
    // Where the target is out of reach, the least effort that is as good as any.
    let chosen =
        reached.or_else(|| tried.iter().find(|(_, (mean, _))| best - mean < PLATEAU).map(|tried| tried.0));
    let chosen = chosen.unwrap_or(now);
    let after = tried.iter().find(|tried| tried.0 == chosen).map_or(before.0, |tried| tried.1.0);
    let exhausted = reached.is_none().then_some(number);
    let is_changed = chosen > now && collection.set_effort(number, of(chosen), snapshot.refine())?;
    let told = match (is_changed, exhausted) {
        (true, None) => format!(
            "effort raised from {now} to {chosen}: recall@10 of {} live queries goes from {:.3} to {after:.3}",
            asked.len(),
            before.0
        ),
        (false, None) => {
            format!("effort {now} is enough for the {} queries sampled last ({:.3})", asked.len(), before.0)
        }
        (_, Some(_)) => format!(
            "live queries find {after:.3} of their ten nearest with effort {chosen}, no effort finds the {target} that are wanted: choose another index with bilin tune {}",
            collection.name()
        ),
    };
    Ok(Raised { is_changed, exhausted, told })
}

/// The efforts of an index.
struct Scale {
    /// How one is made of a number.
    of: fn(usize) -> Effort,
    now: usize,
    /// More makes no sense.
    largest: usize,
}

/// `None` where search is exact.
fn scale(now: Effort, structure: &Structure) -> Option<Scale> {
    match (now, structure) {
        (Effort::Nprobe(now), Structure::Ivf { nlist }) => {
            Some(Scale { of: Effort::Nprobe, now, largest: (*nlist).max(now) })
        }
        (Effort::Ef(now), Structure::Hnsw { .. }) => {
            Some(Scale { of: Effort::Ef, now, largest: MAX_EF.max(now) })
        }
        _ => None,
    }
}

/// The queries with what they should find in this snapshot.
fn asked(
    snapshot: &Snapshot,
    queries: Vec<LiveQuery>,
    keep_on: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Asked>, StoreError> {
    let mut asked = Vec::new();
    for LiveQuery { vector, filter } in queries {
        if !keep_on() {
            return Err(StoreError::Cancelled);
        }
        let allowed = filter.map(|filter| snapshot.select(&filter)).transpose()?;
        let truth = search(snapshot, &vector, Effort::Exact, allowed.as_ref())?;
        if let Some(last) = truth.last().map(|hit| hit.distance) {
            asked.push(Asked { vector, allowed, last, expected: truth.len() });
        }
    }
    Ok(asked)
}

/// Mean recall and its standard error.
fn score(
    snapshot: &Snapshot,
    asked: &[Asked],
    effort: Effort,
    keep_on: &(dyn Fn() -> bool + Sync),
) -> Result<(f64, f64), StoreError> {
    let mut recalls = Vec::with_capacity(asked.len());
    for Asked { vector, allowed, last, expected } in asked {
        if !keep_on() {
            return Err(StoreError::Cancelled);
        }
        let found = search(snapshot, vector, effort, allowed.as_ref())?;
        let right = found.iter().filter(|hit| hit.distance <= *last).count();
        recalls.push(right.min(*expected) as f64 / *expected as f64);
    }
    let count = recalls.len() as f64;
    let mean = recalls.iter().sum::<f64>() / count;
    let variance = recalls.iter().map(|recall| (recall - mean).powi(2)).sum::<f64>() / count;
    Ok((mean, (variance / count).sqrt()))
}

fn search(
    snapshot: &Snapshot,
    vector: &[f32],
    effort: Effort,
    allowed: Option<&RowSet>,
) -> Result<Hits, StoreError> {
    let query = Rows::new(vector, snapshot.settings().dim).map_err(bilin_index::IndexError::Rows)?;
    Ok(snapshot.search(query, K, Some(effort), allowed)?.into_iter().next().unwrap_or_default())
}
