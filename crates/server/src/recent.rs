//! The newest warnings and errors of this process, for whoever looks after it: a bounded ring beside the log.

use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use utoipa::ToSchema;

/// How many are kept.
const KEPT: usize = 200;
/// Longest value that is kept, characters.
const VALUE_CHARS: usize = 2_000;

static RING: Mutex<VecDeque<RecentError>> = Mutex::new(VecDeque::new());

/// A warning or an error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecentError {
    /// RFC 3339 in UTC.
    #[schema(example = "2026-11-26T18:00:00.000Z")]
    time: String,
    /// `WARN` or `ERROR`.
    #[schema(example = "ERROR")]
    level: String,
    /// Which part of the program told it.
    #[schema(example = "bilin_engine::upkeep")]
    target: String,
    /// What happened.
    message: String,
    /// Id of the request that it belongs to; null for what happened beside requests.
    request: Option<String>,
    /// What was told with it.
    fields: BTreeMap<String, String>,
}

fn ring() -> MutexGuard<'static, VecDeque<RecentError>> {
    RING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Newest first.
pub fn recent() -> Vec<RecentError> {
    ring().iter().rev().cloned().collect()
}

/// Keeps what passes by; [`wants`] says what should.
pub struct Recent;

/// Warnings and errors, and spans, which carry the id of their request.
pub fn wants(told: &Metadata<'_>) -> bool {
    told.is_span() || *told.level() <= Level::WARN
}

/// Id of the request of a span.
struct RequestOf(String);

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.keep(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }
}

impl Fields {
    fn keep(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.chars().take(VALUE_CHARS).collect());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recent {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "request" {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(request)) = (context.span(id), fields.0.remove("id")) {
            span.extensions_mut().insert(RequestOf(request));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut fields = fields.0;
        let of = |span: tracing_subscriber::registry::SpanRef<'_, S>| {
            span.extensions().get::<RequestOf>().map(|request| request.0.clone())
        };
        let request = context.event_scope(event).and_then(|mut scope| scope.find_map(of));
        let kept = RecentError {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            level: event.metadata().level().to_string(),
            target: event.metadata().target().to_owned(),
            message: fields.remove("message").unwrap_or_default(),
            request: request.or_else(|| fields.remove("id")),
            fields,
        };
        let mut ring = ring();
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::prelude::*;

    #[test]
    fn it_keeps_the_newest_with_their_request_and_no_more() {
        let subscriber = tracing_subscriber::registry().with(Recent.with_filter(filter_fn(wants)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not this");
            for number in 0..KEPT + 50 {
                tracing::info_span!("request", id = %format!("r{number}")).in_scope(|| {
                    tracing::error!(number, error = %"why", "it failed");
                });
            }
            tracing::warn!("beside");
        });
        let kept: Vec<_> = recent().into_iter().filter(|one| one.target.contains("recent")).collect();
        assert_eq!(kept.len(), KEPT);
        assert_eq!((kept[0].message.as_str(), kept[0].request.as_deref()), ("beside", None));
        let newest = &kept[1];
        assert_eq!((newest.message.as_str(), newest.level.as_str()), ("it failed", "ERROR"));
        assert_eq!(newest.request.as_deref(), Some(format!("r{}", KEPT + 49).as_str()));
        assert_eq!(newest.fields["error"], "why");
        assert!(kept.iter().all(|one| one.message != "not this"));
    }
}
