//! What happens around every request: an id, one log line, one count, size checks, panics, response headers.
//!
//! The log line names the route template, never the path's names nor anything of the body: queries stay private.

use super::access;
use super::error::{ApiError, ErrorCode};
use super::state::AppState;
use super::telemetry::Told;
use crate::access::Caller;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// About so many headers are put on every answer.
const HEADERS: usize = 12;

/// What a page of ours may load: its own files and pictures that it made itself; nothing inline, nothing from elsewhere.
const STRICT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Swagger UI styles its parts inline and draws icons from data URLs.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A short id that no two requests of a process share; the first half differs between processes.
pub(super) fn new_id() -> String {
    static PROCESS: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()) as u32);
    format!("{process:08x}-{:06x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Longest id that is taken over from a client.
const MAX_ID: usize = 64;

/// The client's id of the request, when it is one that can stand in a log.
fn brought_id(request: &Request) -> Option<String> {
    let id = request.headers().get(&REQUEST_ID)?.to_str().ok()?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    ((1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_plain)).then(|| id.to_owned())
}

/// What lies around every route, from outside in: an id, headers, log line, count and trace; a panic is caught; other origins are
/// answered; the door ([`access::admit`]); the length of the body.
///
/// One layer, for each of axum's has every request make boxes of all that lies below it.
pub(super) async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (started, began) = (Instant::now(), SystemTime::now());
    let id = brought_id(&request).unwrap_or_else(new_id);
    let parent =
        request.headers().get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let method = request.method().clone();
    let is_docs = request.uri().path().starts_with("/docs");
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map(MatchedPath::as_str);
    let requests = state.metrics.as_ref().map(|metrics| metrics.requests());
    let counted = requests.and_then(|requests| requests.begin(method.as_str(), route));
    let within_length = |request| check_length(&state, request, next);
    let admitted = |request| access::admit(&state, request, within_length);
    let answered = caught(access::cross_origin(&state, request, admitted));
    let (mut response, notes) = state.telemetry.noting(id, answered).await;
    let status = response.status().as_u16();
    let took = started.elapsed();
    if let (Some(requests), Some(counted)) = (requests, &counted) {
        requests.end(counted, status, took);
    }
    let who = response.extensions().get::<Caller>().map(|caller| Arc::clone(&caller.id));
    let told = Told {
        who: who.as_deref(),
        method: method.as_str(),
        route: route.unwrap_or("(none)"),
        status,
        error: response.extensions().get::<ErrorCode>().map(|code| code.0),
        began,
        took,
        parent: parent.as_deref(),
    };
    state.telemetry.tell(&told, &notes);

    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    if let Ok(value) = HeaderValue::from_str(&notes.id) {
        headers.insert(REQUEST_ID, value);
    }
    let policy = if is_docs { DOCS_POLICY } else { STRICT_POLICY };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        // A report brings a policy of its own, with the hash of its style sheet.
        if name != header::CONTENT_SECURITY_POLICY || !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Turns a panic that got past everything else into a 500 with an id.
async fn caught(answering: impl Future<Output = Response>) -> Response {
    let answered = AssertUnwindSafe(answering).catch_unwind().await;
    answered.unwrap_or_else(|payload| ApiError::panicked(&*payload).into_response())
}

/// A body that is announced as too long is refused before any of it is kept; what the client goes on sending is thrown
/// away for a while, so that it gets to read the answer instead of a broken connection.
async fn check_length(state: &AppState, request: Request, next: Next) -> Response {
    let limit = state.limits.max_body_bytes;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|l| l.to_str().ok())
        .and_then(|l| l.parse().ok());
    match announced {
        Some(length) if length > limit as u64 => {
            if !request.headers().contains_key(header::EXPECT) {
                throw_away(request.into_body()).await;
            }
            ApiError::too_large(limit, Some(length)).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Most that is read of a refused body, in bytes.
const THROW_AWAY_MAX_BYTES: u64 = 512 << 20;
/// Longest that a refused body is read.
const THROW_AWAY_MAX: Duration = Duration::from_secs(5);

async fn throw_away(mut body: Body) {
    let reading = async {
        let mut seen = 0u64;
        while let Some(Ok(frame)) =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await
        {
            seen += frame.data_ref().map_or(0, |data| data.len() as u64);
            if seen > THROW_AWAY_MAX_BYTES {
                break;
            }
        }
    };
    // Late or not, the answer follows.
    let _ = tokio::time::timeout(THROW_AWAY_MAX, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_handler_gives_a_500_as_all_errors_are() {
        for _ in 0..2 {
            let response = caught(async { panic!("a test's own panic") }).await;
            assert_eq!(response.status().as_u16(), 500);
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let body: super::super::ErrorBody = serde_json::from_slice(&body).unwrap();
            assert_eq!(body.code, "internal");
            assert!(
                body.message.contains("error id") && !body.message.contains("own panic"),
                "{}",
                body.message
            );
        }
    }

    #[test]
    fn ids_differ() {
        assert_ne!(new_id(), new_id());
    }
}
