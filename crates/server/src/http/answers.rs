//! The way of a search's answer: from memory, from whoever is making the same one, from a cache that servers share, or from the engine.
//!
//! What does not change from one asking to the next is rendered once and kept as bytes; what does (where the time went, whether it was
//! there already) is put behind it. So a hit costs a look at a table and a copy, on the thread that read the request, and takes no place among
//! the searches. Invariant: a request that waits for another's answer keeps its own deadline, and makes the answer itself when the other
//! goes away or fails.

use super::crossing::{Entered, Lane, Weight};
use super::error::ApiError;
use super::search::TimingsView;
use super::state::AppState;
use super::telemetry::{note_timings, request_span};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bilin_engine::{
    Answer, Asked, CancelToken, Ended, Engine, Error, ErrorKind, Lead, Query, Restraint, Timings,
};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// A search as a route wants it done.
pub(super) struct Wanted<R> {
    /// The collection.
    pub(super) collection: String,
    /// What is looked for.
    pub(super) query: Query,
    /// Names what `render` makes; two routes never share a name.
    pub(super) form: &'static str,
    /// What of an answer does not change, as a JSON object.
    pub(super) render: R,
}

/// An answer on its way out.
pub(super) struct Served {
    /// What [`Wanted::render`] made, now or then.
    pub(super) body: Arc<[u8]>,
    /// It was not made for this request.
    pub(super) cached: bool,
    pub(super) timings: TimingsView,
}

impl Served {
    fn cached(body: Arc<[u8]>, since: Instant) -> Served {
        let total_ms = since.elapsed().as_secs_f64() * 1e3;
        let timings = TimingsView::from(Timings { total_ms, ..Timings::default() });
        Served { body, cached: true, timings }
    }

    /// The object with the fields of `tail` behind its own.
    pub(super) fn respond(&self, tail: &impl Serialize) -> Result<Response, ApiError> {
        let tail = serde_json::to_vec(tail).map_err(|error| ApiError::internal(&error.to_string()))?;
        Ok(([(header::CONTENT_TYPE, "application/json")], joined(&self.body, &tail)).into_response())
    }
}

/// Two JSON objects as one.
fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    match (first.strip_suffix(b"}"), second.strip_prefix(b"{")) {
        (Some(first), Some(second)) if second != b"}" => [first, b",", second].concat(),
        _ => first.to_vec(),
    }
}

/// What of an answer does not change, as JSON.
pub(super) fn rendered(view: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(view).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

/// Answers a search.
pub(super) async fn answer<R>(state: &AppState, wanted: Wanted<R>) -> Result<Served, ApiError>
where
    R: FnOnce(Answer) -> Result<Vec<u8>, Error> + Send + 'static,
{
    let started = Instant::now();
    let deadline = tokio::time::Instant::from_std(started) + state.limits.request_timeout;
    // A client that asks without a pause for what is in memory never waits for anything; others on this thread are to have their turn.
    tokio::task::consume_budget().await;
    loop {
        match state.engine.ask(&wanted.collection, &wanted.query, wanted.form)? {
            Asked::Hit(body) => return Ok(Served::cached(body, started)),
            Asked::Lead(lead) => {
                let lead = match &state.shared_cache {
                    None => lead,
                    Some(shared) => match shared.get(lead).instrument(request_span()).await {
                        Ok(body) => return Ok(Served::cached(body, started)),
                        Err(lead) => lead,
                    },
                };
                return make(state, wanted, Some(lead)).await;
            }
            Asked::Alone => return make(state, wanted, None).await,
            Asked::Follow(follow) => match tokio::time::timeout_at(deadline, follow).await {
                Ok(Ended::Answered(body)) => return Ok(Served::cached(body, started)),
                Ok(Ended::Failed) => return make(state, wanted, None).await,
                Ok(Ended::Abandoned) => {}
                Err(_) => return Err(ApiError::deadline(state.limits.request_timeout)),
            },
        }
    }
}

async fn make<R>(state: &AppState, wanted: Wanted<R>, lead: Option<Lead>) -> Result<Served, ApiError>
where
    R: FnOnce(Answer) -> Result<Vec<u8>, Error> + Send + 'static,
{
    let entered = state.crossing.enter(Lane::Search, Weight::ONE).await?;
    // In a box, for the many that are answered without it or refused would carry its room about.
    Box::pin(make_in(state, entered, wanted, lead)).await
}

/// Makes an answer for who has a place.
async fn make_in<R>(
    state: &AppState,
    entered: Entered,
    wanted: Wanted<R>,
    lead: Option<Lead>,
) -> Result<Served, ApiError>
where
    R: FnOnce(Answer) -> Result<Vec<u8>, Error> + Send + 'static,
{
    let Wanted { collection, query, render, .. } = wanted;
    let restraint = state.crossing.restraint();
    // Whoever makes it has the lead with him, so that it is told even where the client has gone at the last moment.
    let is_shared = state.shared_cache.is_some();
    let in_line = entered.since;
    let work = move |engine: &Engine, token: &CancelToken| {
        let waited = in_line.elapsed();
        let made = engine.serve(&collection, &query, restraint, token).and_then(|mut answer| {
            let results = std::mem::take(&mut answer.results);
            let facts = answer.clone();
            Ok((render(Answer { results, ..answer })?, facts))
        });
        match made {
            Ok((body, answer)) => {
                let body: Arc<[u8]> = body.into();
                let mut shared = None;
                if let Some(lead) = lead {
                    let sealed = is_shared.then(|| (lead.shared_key(), lead.seal(&body)));
                    if lead.answered(&answer, &body, restraint == Restraint::default()) {
                        shared = sealed;
                    }
                }
                Ok((body, shared, answer.timings, waited))
            }
            Err(error) => {
                match (lead, error.kind) {
                    // Given up by this request alone: the next of those who wait makes it.
                    (Some(lead), ErrorKind::Cancelled) => drop(lead),
                    (Some(lead), _) => lead.failed(),
                    (None, _) => {}
                }
                Err(error)
            }
        }
    };
    let (body, shared, timings, waited) = state.crossing.search_in(entered, &state.engine, work).await?;
    if let (Some((key, value)), Some(cache)) = (shared, &state.shared_cache) {
        cache.put(key, value);
    }
    note_timings(&timings);
    if let Some(metrics) = &state.metrics {
        metrics.serving().searched(waited, &timings);
    }
    Ok(Served { body, cached: false, timings: timings.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_objects_become_one() {
        assert_eq!(joined(br#"{"a":1}"#, br#"{"b":2}"#), br#"{"a":1,"b":2}"#);
        assert_eq!(joined(br#"{"a":1}"#, b"{}"), br#"{"a":1}"#);
    }
}
