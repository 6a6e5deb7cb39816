//! What `/metrics` tells, in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Two sorts of figures: those that are counted while the service runs ([`requests`], [`encoding`]) live in one registry; those that the
//! engine keeps anyway ([`collections`]) are read anew for each scrape, so that a collection that is gone leaves nothing
//! behind. Invariant: labels are route templates, methods, status codes and names of collections; never anything that a
//! request brings, so the number of series is bounded.

mod collections;
mod encoding;
mod page;
mod process;
mod reencode;
mod requests;
mod serving;
mod upkeep;
mod watch;

use crate::http::AdmissionStatus;
use crate::shared_cache::SharedCache;
use bilin_engine::{EncodeObserver, Engine};
use page::Page;
use prometheus::{Registry, TextEncoder};

/// How the service bears what is asked of it.
pub(crate) struct Load {
    pub(crate) admission: AdmissionStatus,
    /// Whether the shared cache answers; `None`: there is none.
    pub(crate) shared_cache: Option<bool>,
}

/// What is counted while the service runs.
pub(crate) struct Metrics {
    registry: Registry,
    requests: requests::Requests,
    encoding: encoding::Encoding,
    process: process::Process,
    serving: serving::Serving,
}

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new(shared_cache: Option<&SharedCache>) -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        for collector in shared_cache.into_iter().flat_map(SharedCache::collectors) {
            registry.register(collector)?;
        }
        let requests = requests::Requests::new(&registry)?;
        let encoding = encoding::Encoding::new(&registry)?;
        let serving = serving::Serving::new(&registry)?;
        process::register(&registry)?;
        Ok(Metrics { registry, requests, encoding, process: process::Process::new(), serving })
    }

    /// Counts one request; see [`requests`].
    pub(crate) fn requests(&self) -> &requests::Requests {
        &self.requests
    }

    /// Counts answers; see [`serving`].
    pub(crate) fn serving(&self) -> &serving::Serving {
        &self.serving
    }

    /// To be told of the engine's forward passes.
    pub(crate) fn encode_observer(&self) -> EncodeObserver {
        self.encoding.observer()
    }

    /// All figures as text.
    pub(crate) fn scrape(&self, engine: &Engine, load: &Load) -> prometheus::Result<String> {
        let mut families = self.registry.gather();
        let page = Page::new();
        self.process.put(&page, &families)?;
        collections::put(&page, engine)?;
        watch::put(&page, engine)?;
        serving::put_load(&page, load)?;
        families.extend(page.families());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}
