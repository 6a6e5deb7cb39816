//! The way of one search, with the time of each stage.

use super::check::check;
use super::score::scores;
use super::target::{QueryVector, query_vector};
use super::{Answer, Found, Mode, Query, Timings};
use crate::Engine;
use crate::cancel::CancelToken;
use crate::error::Error;
use crate::recall::Sample;
use crate::storage::{ItemKey, Near, Nearest, VectorStore, View};
use std::sync::Arc;
use std::time::Instant;

/// See [`Engine::search`].
pub(crate) fn search(
    engine: &Engine,
    store: &dyn VectorStore,
    query: &Query,
    token: &CancelToken,
) -> Result<Answer, Error> {
    let started = Instant::now();
    let collection = store.name();
    let settings = store.settings();
    check(query, &settings, &engine.config)?;
    let mode = query.mode.unwrap_or(engine.config.search_mode);
    if mode != Mode::Dense {
        return Err(Error::invalid(format!("mode {mode} is not in this version")).with_hint("ask for dense"));
    }
    // One view for everything, so that a result's text is of the commit that was searched.
    let view = store.view();

    let encode_started = Instant::now();
    let target = query_vector(engine, collection, &settings, &*view, &query.target, token)?;
    token.check()?;
    let encode_ms = milliseconds(encode_started);

    let search_started = Instant::now();
    let nearest = Nearest {
        vector: &target.vector,
        k: query.top_k,
        effort: query.effort,
        filter: query.filter.as_ref(),
        exclude: &target.exclude,
    };
    let near = engine.foreground.install(|| view.nearest(&nearest))?;
    let search_ms = milliseconds(search_started);

    let fetch_started = Instant::now();
    let keys: Vec<ItemKey> = near.iter().map(|near| near.key).collect();
    let items = view.items(&keys)?;
    let fetch_ms = milliseconds(fetch_started);

    let results = items.into_iter().enumerate().map(|(index, item)| {
        let scores = scores(settings.metric, &target.vector, &item.vector);
        Found {
            rank: index + 1,
            id: item.document,
            ordinal: item.ordinal,
            score: scores.score,
            similarity: scores.similarity,
            l2_distance: scores.l2_distance,
            text: item.text,
            metadata: item.metadata,
            lexical: None,
            snippet: None,
        }
    });
    let results = results.collect();
    sample(engine, collection, &view, query, &target, &near);
    let timings = Timings { encode_ms, search_ms, fetch_ms, total_ms: milliseconds(started) };
    Ok(Answer { results, timings, seq: view.seq() })
}

/// Lets the answer be measured later, if it is one of the few that are.
fn sample(
    engine: &Engine,
    collection: &str,
    view: &Arc<dyn View>,
    query: &Query,
    target: &QueryVector,
    near: &[Near],
) {
    if query.effort.is_some() {
        return;
    }
    engine.recall.offer(collection, &**view, engine.config.upkeep.recall_sample_every, || Sample {
        collection: collection.to_owned(),
        view: Arc::clone(view),
        vector: target.vector.clone(),
        filter: query.filter.clone(),
        exclude: target.exclude.clone(),
        top_k: query.top_k,
        served: near.iter().map(|near| near.distance).collect(),
    });
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
