//! Requests: how many, how they ended, how long they took.
//!
//! `handler` is the route's template, `none` where no route fits. Probes and scrapes are not counted: they come every few
//! seconds and would hide what people do.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::time::Duration;

/// Upper bounds in seconds; 0.5 is the tutorial's threshold for the 95th percentile.
const BUCKETS_S: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Routes of supervisors and monitors.
const NOT_COUNTED: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];
/// Methods that get a label of their own; a client may send any word.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];

/// Counters of requests.
pub(crate) struct Requests {
    total: IntCounterVec,
    seconds: HistogramVec,
    in_progress: IntGaugeVec,
}

impl Requests {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Requests> {
        let total = IntCounterVec::new(
            Opts::new("http_requests_total", "Requests answered, probes and scrapes left out."),
            &["method", "handler", "status"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "http_request_duration_seconds",
                "Time from a request's head to its answer's.",
            )
            .buckets(BUCKETS_S.to_vec()),
            &["method", "handler"],
        )?;
        let in_progress = IntGaugeVec::new(
            Opts::new("http_requests_inprogress", "Requests that are worked on now."),
            &["method", "handler"],
        )?;
        registry.register(Box::new(total.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(in_progress.clone()))?;
        Ok(Requests { total, seconds, in_progress })
    }

    /// A request has come; `route` is its template. `None`: it is not counted.
    pub(crate) fn begin(&self, method: &str, route: Option<&str>) -> Option<Counted> {
        let handler = route.unwrap_or("none");
        if NOT_COUNTED.contains(&handler) {
            return None;
        }
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER");
        let in_progress = self.in_progress.with_label_values(&[method, handler]);
        in_progress.inc();
        Some(Counted { method, handler: handler.to_owned(), in_progress })
    }

    /// It was answered.
    pub(crate) fn end(&self, counted: &Counted, status: u16, took: Duration) {
        let (method, handler) = (counted.method, counted.handler.as_str());
        self.total.with_label_values(&[method, handler, status.to_string().as_str()]).inc();
        self.seconds.with_label_values(&[method, handler]).observe(took.as_secs_f64());
    }
}

/// A request under way; also one whose client goes away is counted down.
pub(crate) struct Counted {
    method: &'static str,
    handler: String,
    in_progress: prometheus::IntGauge,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.in_progress.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;

    #[test]
    fn labels_are_templates_and_known_words() {
        let registry = Registry::new();
        let requests = Requests::new(&registry).unwrap();
        for (method, route) in [("GET", Some("/v1/collections/{collection}")), ("BREW", None), ("GET", None)]
        {
            let counted = requests.begin(method, route).unwrap();
            requests.end(&counted, 404, Duration::from_millis(400));
        }
        for route in NOT_COUNTED {
            assert!(requests.begin("GET", Some(route)).is_none());
        }
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "http_requests_total{handler=\"/v1/collections/{collection}\",method=\"GET\",status=\"404\"} 1",
            "http_requests_total{handler=\"none\",method=\"OTHER\",status=\"404\"} 1",
            "http_requests_inprogress{handler=\"none\",method=\"GET\"} 0",
            "http_request_duration_seconds_bucket{handler=\"none\",method=\"GET\",le=\"0.5\"} 1",
            "http_request_duration_seconds_bucket{handler=\"none\",method=\"GET\",le=\"0.25\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert!(!text.contains("BREW"));
    }
}
