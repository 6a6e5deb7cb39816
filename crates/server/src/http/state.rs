//! What every handler shares: the engine, the limits and the one crossing into blocking code.

use super::admission::AdmissionOptions;
use super::crossing::Crossing;
use super::eval::UnderWay;
use super::telemetry::Telemetry;
use crate::access::Access;
use crate::follow::Following;
use crate::metrics::Metrics;
use crate::shared_cache::SharedCache;
use bilin_engine::Engine;
use std::sync::Arc;
use std::time::Duration;

/// Settings of the service that tests and `serve` share; see [`super::ServeOptions`] for their meaning.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest request body in bytes.
    pub max_body_bytes: usize,
    /// How long a search may take, and how long a body may take to arrive.
    pub request_timeout: Duration,
    /// Searches inside the engine at one time.
    pub max_concurrent_requests: usize,
    /// What is aimed at when many come.
    pub admission: AdmissionOptions,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_body_bytes: 64 << 20,
            request_timeout: Duration::from_secs(30),
            max_concurrent_requests: 16,
            admission: AdmissionOptions::default(),
        }
    }
}

/// What the router is built from.
pub struct StateOptions {
    /// What `/text-search` and `/health` mean; `None` lets the engine choose.
    pub text_collection: Option<String>,
    /// What `/image-search` means; `None` lets the engine choose.
    pub image_collection: Option<String>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// How requests are told of.
    pub telemetry: Arc<Telemetry>,
    /// A cache that several servers share; `None`: there is none.
    pub shared_cache: Option<SharedCache>,
    /// Set where another server is followed, whose changes are the only ones.
    pub following: Option<Arc<Following>>,
    /// Refuse `Host` headers that do not name this machine (a defence against DNS rebinding); for loopback addresses.
    pub loopback_only: bool,
    /// Sizes, times and counts.
    pub limits: Limits,
}

impl Default for StateOptions {
    fn default() -> Self {
        StateOptions {
            text_collection: None,
            image_collection: None,
            access: Arc::default(),
            shared_cache: None,
            telemetry: Arc::default(),
            following: None,
            loopback_only: true,
            limits: Limits::default(),
        }
    }
}

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// The fields behind [`AppState`].
pub struct Inner {
    pub(super) engine: Arc<Engine>,
    pub(super) crossing: Crossing,
    /// Evaluations that are asked for and not answered yet.
    pub(super) evaluations: Arc<UnderWay>,
    /// `None` when the library refused a name of ours, which a test excludes.
    pub(super) metrics: Option<Metrics>,
    pub(super) text_collection: Option<String>,
    pub(super) image_collection: Option<String>,
    pub(super) access: Arc<Access>,
    pub(super) shared_cache: Option<Arc<SharedCache>>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) following: Option<Arc<Following>>,
    pub(super) loopback_only: bool,
    pub(super) limits: Limits,
}

impl AppState {
    /// Puts an engine behind the service.
    pub fn new(engine: Arc<Engine>, options: StateOptions) -> AppState {
        let metrics = Metrics::new(options.shared_cache.as_ref())
            .map_err(|error| tracing::error!(%error, "no metrics"))
            .ok();
        if let Some(metrics) = &metrics {
            engine.observe_encoding(metrics.encode_observer());
        }
        AppState(Arc::new(Inner {
            engine,
            evaluations: Arc::default(),
            crossing: Crossing::new(
                options.limits.max_concurrent_requests,
                options.limits.request_timeout,
                options.limits.admission.clone(),
            ),
            metrics,
            text_collection: options.text_collection,
            image_collection: options.image_collection,
            access: options.access,
            shared_cache: options.shared_cache.map(Arc::new),
            telemetry: options.telemetry,
            following: options.following,
            loopback_only: options.loopback_only,
            limits: options.limits,
        }))
    }
}

impl std::ops::Deref for AppState {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
