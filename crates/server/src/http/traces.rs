//! Traces for an OpenTelemetry collector: OTLP over HTTP with JSON (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! One span a request, with its stages below it; a caller's `traceparent` (<https://www.w3.org/TR/trace-context/>) is carried
//! on. Spans are sent in batches beside requests: a collector that is slow or away costs its spans, never a request.

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Spans that may wait to be sent; more are dropped.
const WAITING: usize = 2_048;
const BATCH: usize = 256;
/// Longest that a span waits for others to be sent with.
const LINGER: Duration = Duration::from_secs(1);
const SEND_MAX: Duration = Duration::from_secs(5);
/// Failures are told of once in so many.
const TELL_EVERY: u64 = 100;

/// A request that was answered.
pub(super) struct Span {
    pub(super) parent: Option<String>,
    pub(super) id: String,
    pub(super) method: String,
    pub(super) route: String,
    pub(super) status: u16,
    pub(super) began: SystemTime,
    pub(super) took: Duration,
    /// Name and milliseconds, in order.
    pub(super) stages: Vec<(&'static str, f64)>,
}

/// The way to a collector.
pub struct Traces {
    send: Sender<Span>,
    /// Of all requests without a `traceparent`, the share that is traced, in parts of 2^32.
    share: u64,
    dropped: AtomicU64,
}

impl Traces {
    /// Sends to `url` (such as `http://127.0.0.1:4318/v1/traces`) the share `sample` (0 to 1) of requests, and what callers
    /// say they trace. Within a runtime.
    ///
    /// # Errors
    /// When there can be no client for it, in words.
    pub fn start(url: &str, sample: f64) -> Result<Traces, String> {
        // A second time says that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            reqwest::Client::builder().timeout(SEND_MAX).build().map_err(|error| error.to_string())?;
        let url = reqwest::Url::parse(url).map_err(|error| format!("{url:?}: {error}"))?;
        let (send, receive) = channel(WAITING);
        tokio::spawn(forward(client, url, receive));
        Ok(Traces {
            send,
            share: (sample.clamp(0.0, 1.0) * 4_294_967_296.0) as u64,
            dropped: AtomicU64::new(0),
        })
    }

    pub(super) fn record(&self, span: Span) {
        let is_wanted = match span.parent.as_deref().and_then(parent) {
            Some((_, _, is_sampled)) => is_sampled,
            None => u64::from(u32::from_be_bytes(random())) < self.share,
        };
        if is_wanted
            && self.send.try_send(span).is_err()
            && self.dropped.fetch_add(1, Ordering::Relaxed).is_multiple_of(TELL_EVERY)
        {
            tracing::warn!("traces are dropped: the collector takes them too slowly");
        }
    }
}

async fn forward(client: reqwest::Client, url: reqwest::Url, mut receive: Receiver<Span>) {
    let mut failures = 0_u64;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if receive.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        // More may come within a moment.
        let until = tokio::time::Instant::now() + LINGER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match tokio::time::timeout_at(until, receive.recv_many(&mut batch, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        let body = message(&batch).to_string();
        batch.clear();
        let request = client.post(url.clone()).header("content-type", "application/json").body(body);
        let sent = request.send().await.and_then(reqwest::Response::error_for_status);
        match sent {
            Ok(_) => failures = 0,
            Err(error) => {
                if failures.is_multiple_of(TELL_EVERY) {
                    tracing::warn!(error = %error.without_url(), "cannot send traces");
                }
                failures += 1;
            }
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without random bytes ids are zero, and the collector refuses what is sent.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Trace, span and whether it is sampled, of a `traceparent` header.
fn parent(header: &str) -> Option<(&str, &str, bool)> {
    let mut parts = header.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_good =
        is_hex(version, 2) && version != "ff" && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    let is_set = |text: &str| text.bytes().any(|b| b != b'0');
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (is_good && is_set(trace) && is_set(span)).then_some((trace, span, flags & 1 == 1))
}

fn attribute(key: &str, value: Value) -> Value {
    json!({"key": key, "value": value})
}

fn message(spans: &[Span]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            attribute("service.name", json!({"stringValue": "bilin"})),
            attribute("service.version", json!({"stringValue": version})),
        ]},
        "scopeSpans": [{
            "scope": {"name": "bilin", "version": version},
            "spans": spans.iter().flat_map(written).collect::<Vec<_>>(),
        }],
    }]})
}

/// A request's span, then those of its stages. Stages are told by their length; they are laid one behind the other.
fn written(span: &Span) -> Vec<Value> {
    let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let (trace, above) = match span.parent.as_deref().and_then(parent) {
        Some((trace, above, _)) => (trace.to_owned(), above.to_owned()),
        None => (hex(&random::<16>()), String::new()),
    };
    let own = hex(&random::<8>());
    let (began, ended) = (nanos(span.began), nanos(span.began + span.took));
    let mut all = vec![json!({
        "traceId": trace,
        "spanId": own,
        "parentSpanId": above,
        "name": format!("{} {}", span.method, span.route),
        "kind": 2,
        "startTimeUnixNano": began.to_string(),
        "endTimeUnixNano": ended.to_string(),
        "attributes": [
            attribute("http.request.method", json!({"stringValue": span.method})),
            attribute("http.route", json!({"stringValue": span.route})),
            attribute("http.response.status_code", json!({"intValue": span.status.to_string()})),
            attribute("bilin.request_id", json!({"stringValue": span.id})),
        ],
        "status": if span.status >= 500 { json!({"code": 2}) } else { json!({}) },
    })];
    let mut at = began;
    for (name, ms) in &span.stages {
        let end = (at + (ms * 1e6) as u128).min(ended);
        all.push(json!({
            "traceId": trace,
            "spanId": hex(&random::<8>()),
            "parentSpanId": own,
            "name": name,
            "kind": 1,
            "startTimeUnixNano": at.to_string(),
            "endTimeUnixNano": end.to_string(),
        }));
        at = end;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_parents_are_carried_on() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(parent(good), Some(("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true)));
        assert!(!parent(&good.replace("-01", "-00")).unwrap().2);
        for bad in [
            "",
            "00-x",
            &good.replace("0af7", "0AF7"),
            &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &good.replace("00-0af", "ff-0af"),
            &good[..50],
        ] {
            assert_eq!(parent(bad), None, "{bad}");
        }
    }
}
