//! What is told of each request: one line in the log (`log_requests`), a second one where it was slow, and a trace.
//!
//! While a request is worked on, [`Notes`] of it are at hand to whoever works on it, without being handed through. The
//! length of a query is noted always, its text only where `log_queries` says so.
//!
//! Of requests that are refused because too many come, one in [`REFUSAL_LINE_EVERY`] has a line, which says how many had none before it: a
//! flood is not to fill the disk, nor to push other lines out of a collector that bounds them (decision 0144). Metrics and traces know all.

use super::traces::{Span, Traces};
use bilin_engine::Timings;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tracing::Span as LogSpan;

/// Most characters of a query that are logged.
const QUERY_CHARS: usize = 200;
/// How often, at most, a refusal has a line in the log.
const REFUSAL_LINE_EVERY: Duration = Duration::from_millis(10);
/// Codes of errors that are told to those who are refused because too many come.
const REFUSALS: [&str; 2] = ["busy", "rate_limited"];

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
    refusals: Refusals,
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

    /// Works on the request of this id with notes at hand.
    pub(super) async fn noting<T>(&self, id: String, work: impl Future<Output = T>) -> (T, Arc<Notes>) {
        let keeps_texts = self.log_queries.load(Ordering::Relaxed);
        let notes = Arc::new(Notes { id, keeps_texts, ..Notes::default() });
        let done = NOTES.scope(Arc::clone(&notes), work).await;
        (done, notes)
    }

    /// Tells of a request that was answered.
    pub(super) fn tell(&self, told: &Told<'_>, notes: &Notes) {
        let noted = notes.noted();
        let ms = round(told.took.as_secs_f64() * 1e3);
        let Told { who, method, route, status, error, .. } = *told;
        let id = notes.id.as_str();
        let (queue_ms, query_chars, query) =
            (noted.queue_ms.map(round), noted.query_chars, noted.query.as_deref());
        let times = noted.timings;
        let part = |of: fn(&Timings) -> f64| times.as_ref().map(|times| round(of(times)));
        let (encode_ms, search_ms) = (part(|t| t.encode_ms), part(|t| t.search_ms));
        let (fetch_ms, rerank_ms) = (part(|t| t.fetch_ms), part(|t| t.rerank_ms).filter(|ms| *ms > 0.0));
        let is_refused = error.is_some_and(|code| REFUSALS.contains(&code));
        let untold = if is_refused { self.refusals.take_turn(Instant::now()) } else { Some(0) };
        if let Some(untold) = untold
            && (status >= 400 || !self.only_failed.load(Ordering::Relaxed))
        {
            let untold = (untold > 0).then_some(untold);
            tracing::info!(target: "bilin::access", id, who, method, route, status, ms, queue_ms, encode_ms, search_ms,
                fetch_ms, rerank_ms, query_chars, query, error, untold);
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

/// Which refusals have a line.
#[derive(Default)]
struct Refusals(Mutex<Turn>);

#[derive(Default)]
struct Turn {
    /// When the last one had a line.
    told: Option<Instant>,
    /// Those without one since then.
    untold: u64,
}

impl Refusals {
    /// One more. It has a line where this gives how many had none since the last line.
    fn take_turn(&self, now: Instant) -> Option<u64> {
        let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.told.is_some_and(|told| now.saturating_duration_since(told) < REFUSAL_LINE_EVERY) {
            turn.untold += 1;
            return None;
        }
        turn.told = Some(now);
        Some(std::mem::take(&mut turn.untold))
    }
}

/// What is known of a request from its outside.
pub(super) struct Told<'a> {
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
    /// Id of the request.
    pub(super) id: String,
    span: OnceLock<LogSpan>,
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

/// Id of the request that this task works on; empty outside of one.
pub(super) fn request_id() -> String {
    NOTES.try_with(|notes| notes.id.clone()).unwrap_or_default()
}

/// What is told of the request that this task works on is told within this span, which names it. It is made where it is first wanted, for
/// most requests that are refused or answered from memory leave no line but their own.
pub(super) fn request_span() -> LogSpan {
    let made = |notes: &Arc<Notes>| {
        notes.span.get_or_init(|| tracing::info_span!("request", id = %notes.id)).clone()
    };
    NOTES.try_with(made).unwrap_or_else(|_| LogSpan::none())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_lines::Kept;

    #[test]
    fn a_flood_of_refusals_has_a_line_now_and_then_that_counts_the_others() {
        let (refusals, began) = (Refusals::default(), Instant::now());
        let at = |us: u64| refusals.take_turn(began + Duration::from_micros(us));
        assert_eq!(at(0), Some(0), "a single one has a line");
        // 5 000 a second for a second.
        let told: Vec<u64> = (1..=5_000).filter_map(|number| at(number * 200)).collect();
        assert_eq!(told, [49; 100], "one of fifty, which counts the others");
        assert_eq!(at(60_000_000), Some(0), "none is counted twice");
        assert_eq!((at(60_000_001), at(60_500_000)), (None, Some(1)));
    }

    #[test]
    fn what_is_told_within_a_request_names_it() {
        let kept = Kept::default();
        let to = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || to.clone())
            .finish();
        let telemetry = Telemetry::default();
        let work = async {
            assert_eq!(request_id(), "a-1");
            for _ in 0..2 {
                request_span().in_scope(|| tracing::info!("within"));
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            runtime.block_on(telemetry.noting("a-1".to_owned(), work));
            request_span().in_scope(|| tracing::info!("outside"));
        });
        let kept = kept.text();
        let spans = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["span"]["id"].clone();
        assert_eq!(
            kept.lines().map(spans).collect::<Vec<_>>(),
            ["a-1".into(), "a-1".into(), serde_json::Value::Null]
        );
    }
}
