//! What is told of each request: one line in the log (`log_requests`), a second one where it was slow, and a trace.
//!
//! While a request is worked on, [`Notes`] of it are at hand to whoever works on it, without being handed through. The
//! length of a query is noted always, its text only where `log_queries` says so.

use super::traces::{Span, Traces};
use bilin_engine::Timings;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Most characters of a query that are logged.
const QUERY_CHARS: usize = 200;

tokio::task_local! {
    /// Notes of the request that this task works on.
    static NOTES: Arc<Notes>;
}

/// What the log is told of requests.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    /// Texts of queries, too.
    pub log_queries: bool,
    /// Also those that were answered well.
    pub log_all: bool,
    /// From how long on a search is slow, milliseconds; 0: never.
    pub slow_ms: u64,
}

/// How requests are told of, and whether the service is on its way out.
#[derive(Default)]
pub struct Telemetry {
    log_queries: AtomicBool,
    only_failed: AtomicBool,
    slow_ms: AtomicU64,
    draining: AtomicBool,
    traces: Option<Traces>,
}

impl Telemetry {
    /// As `told` says.
    pub fn new(told: Telling, traces: Option<Traces>) -> Telemetry {
        let telemetry = Telemetry { traces, ..Telemetry::default() };
        telemetry.reconfigure(told);
        telemetry
    }

    pub(super) fn reconfigure(&self, told: Telling) {
        self.log_queries.store(told.log_queries, Ordering::Relaxed);
        self.only_failed.store(!told.log_all, Ordering::Relaxed);
        self.slow_ms.store(told.slow_ms, Ordering::Relaxed);
    }

    /// From now on the service only finishes what it has begun.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether it only finishes what it has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Works on a request with notes at hand.
    pub(super) async fn noting<T>(&self, work: impl Future<Output = T>) -> (T, Arc<Notes>) {
        let notes =
            Arc::new(Notes { keeps_texts: self.log_queries.load(Ordering::Relaxed), ..Notes::default() });
        let done = NOTES.scope(Arc::clone(&notes), work).await;
        (done, notes)
    }

    /// Tells of a request that was answered.
    pub(super) fn tell(&self, told: &Told<'_>, notes: &Notes) {
        let noted = notes.noted();
        let ms = round(told.took.as_secs_f64() * 1e3);
        let Told { id, who, method, route, status, error, .. } = *told;
        let (queue_ms, query_chars, query) =
            (noted.queue_ms.map(round), noted.query_chars, noted.query.as_deref());
        let times = noted.timings;
        let part = |of: fn(&Timings) -> f64| times.as_ref().map(|times| round(of(times)));
        let (encode_ms, search_ms) = (part(|t| t.encode_ms), part(|t| t.search_ms));
        let (fetch_ms, rerank_ms) = (part(|t| t.fetch_ms), part(|t| t.rerank_ms).filter(|ms| *ms > 0.0));
        if status >= 400 || !self.only_failed.load(Ordering::Relaxed) {
            tracing::info!(target: "bilin::access", id, who, method, route, status, ms, queue_ms, encode_ms, search_ms,
                fetch_ms, rerank_ms, query_chars, query, error);
        }
        let slow_ms = self.slow_ms.load(Ordering::Relaxed);
        if slow_ms > 0 && times.is_some() && ms >= slow_ms as f64 {
            tracing::warn!(target: "bilin::slow", id, who, method, route, status, ms, queue_ms, encode_ms, search_ms,
                fetch_ms, rerank_ms, query_chars, query, "a slow search");
        }
        if let Some(traces) = &self.traces {
            let stages = [
                ("queue", queue_ms),
                ("encode", encode_ms),
                ("search", search_ms),
                ("fetch", fetch_ms),
                ("rerank", rerank_ms),
            ];
            let stages = stages
                .into_iter()
                .filter_map(|(name, ms)| Some((name, ms.filter(|ms| *ms > 0.0)?)))
                .collect();
            traces.record(Span {
                parent: told.parent.map(str::to_owned),
                id: id.to_owned(),
                method: method.to_owned(),
                route: route.to_owned(),
                status,
                began: told.began,
                took: told.took,
                stages,
            });
        }
    }
}

/// What is known of a request from its outside.
pub(super) struct Told<'a> {
    pub(super) id: &'a str,
    pub(super) who: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) route: &'a str,
    pub(super) status: u16,
    /// Code of the error that it was answered with.
    pub(super) error: Option<&'static str>,
    pub(super) began: SystemTime,
    pub(super) took: Duration,
    /// `traceparent` of the caller.
    pub(super) parent: Option<&'a str>,
}

/// What is learned of a request while it is worked on.
#[derive(Default)]
pub(super) struct Notes {
    keeps_texts: bool,
    noted: Mutex<Noted>,
}

#[derive(Clone, Default)]
struct Noted {
    queue_ms: Option<f64>,
    timings: Option<Timings>,
    query_chars: Option<usize>,
    query: Option<String>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn noted(&self) -> Noted {
        self.lock().clone()
    }
}

/// How long this request waited for its turn; added up where it waits more than once.
pub(super) fn note_queue(waited: Duration) {
    let _ = NOTES.try_with(|notes| {
        let mut noted = notes.lock();
        noted.queue_ms = Some(noted.queue_ms.unwrap_or(0.0) + waited.as_secs_f64() * 1e3);
    });
}

/// Where the time of this request's search went.
pub(super) fn note_timings(timings: &Timings) {
    let _ = NOTES.try_with(|notes| notes.lock().timings = Some(*timings));
}

/// What this request asks for.
pub(super) fn note_query(text: &str) {
    let _ = NOTES.try_with(|notes| {
        let mut noted = notes.lock();
        noted.query_chars = Some(text.chars().count());
        if notes.keeps_texts {
            noted.query = Some(text.chars().take(QUERY_CHARS).collect());
        }
    });
}

fn round(ms: f64) -> f64 {
    (ms * 1e2).round() / 1e2
}
