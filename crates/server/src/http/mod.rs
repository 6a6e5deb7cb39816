//! The HTTP service: the tutorial's routes, the `/v1` routes, OpenAPI and the console page.
//!
//! Invariants: every error leaves as JSON `{code, message, hint}`; tokio crosses into the blocking engine in one place
//! with a bound on how many may be inside; nothing of a query's text is logged.

mod access;
mod admission;
mod answers;
mod backups;
mod collections;
mod crossing;
mod documents;
mod duplicates;
mod embeddings;
mod error;
mod errors;
mod eval;
mod extract;
mod facets;
mod history;
mod keeping;
mod listen;
mod live;
mod merge;
mod openapi;
mod page;
mod probes;
mod reencode;
mod replica;
mod requests;
mod router;
mod search;
mod state;
mod telemetry;
mod tls;
mod top_k;
mod traces;
mod tune;
mod tutorial;

pub(crate) use admission::AdmissionStatus;
pub use admission::{AdmissionOptions, Level};
pub use error::{ApiError, ErrorBody};
pub use listen::ConnectionBounds;
pub use live::{Fresh, Reread};
pub(crate) use replica::ReplicaView;
pub use router::{description, router};
pub use state::{AppState, Limits, StateOptions};
pub use telemetry::{Telemetry, Telling};
pub use tls::{Certificate, TlsFiles};
pub use traces::Traces;

use crate::access::Access;
use crate::follow::Following;
use crate::shared_cache::SharedCache;
use bilin_engine::Engine;
use live::Live;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::TlsListener;

/// How the service listens and what it allows.
pub struct ServeOptions {
    /// Address to bind; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What `/text-search` and `/health` mean; `None` lets the engine choose.
    pub text_collection: Option<String>,
    /// What `/image-search` means; `None` lets the engine choose.
    pub image_collection: Option<String>,
    /// Who may do what; keys in its file that change while the service runs are taken over.
    pub access: Arc<Access>,
    /// A cache that several servers share; `None`: there is none.
    pub shared_cache: Option<SharedCache>,
    /// Longest request body in bytes.
    pub max_body_bytes: usize,
    /// How long a search may take, waiting for its turn included, and how long a body may take to arrive.
    pub request_timeout_ms: u64,
    /// Searches inside the engine at one time; as many again, times four, may wait.
    pub max_concurrent_requests: usize,
    /// How requests are told of.
    pub telemetry: Arc<Telemetry>,
    /// Set where another server is followed.
    pub following: Option<Arc<Following>>,
    /// Serves HTTPS with it when set.
    pub certificate: Option<Arc<Certificate>>,
    /// Longest that requests under way are waited for at the end.
    pub drain: Duration,
    /// How long new ones are still taken before, while `/readyz` says no.
    pub lame_duck: Duration,
    /// Reads the configuration anew on SIGHUP.
    pub reread: Reread,
    /// What is aimed at when many come.
    pub admission: AdmissionOptions,
    /// What a connection may cost.
    pub connections: ConnectionBounds,
    /// Told once of the bound address.
    pub on_listening: Box<dyn FnOnce(SocketAddr) + Send>,
}

/// Why the service could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {listen}")]
    Bind {
        /// The address that was asked for.
        listen: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A non-loopback address needs an API key.
    #[error("cannot listen on {listen} without an API key: other machines could read and change everything")]
    KeyNeeded {
        /// The address that was asked for.
        listen: SocketAddr,
    },
    /// The listener failed later.
    #[error("the HTTP service stopped")]
    Serve(#[from] std::io::Error),
}

/// Serves until SIGTERM or SIGINT, then lets requests under way finish, for a bounded time.
///
/// # Errors
/// [`ServeError`] when the address cannot be bound, is refused, or the listener fails.
pub async fn serve(engine: Arc<Engine>, options: ServeOptions) -> Result<(), ServeError> {
    let listen = options.listen;
    let loopback_only = listen.ip().is_loopback();
    if !loopback_only && !options.access.asks() {
        return Err(ServeError::KeyNeeded { listen });
    }
    let listener = listen::bind(listen).map_err(|source| ServeError::Bind { listen, source })?;
    let router = router(AppState::new(
        engine,
        StateOptions {
            text_collection: options.text_collection,
            image_collection: options.image_collection,
            access: Arc::clone(&options.access),
            shared_cache: options.shared_cache,
            telemetry: Arc::clone(&options.telemetry),
            following: options.following,
            loopback_only,
            limits: Limits {
                max_body_bytes: options.max_body_bytes,
                request_timeout: Duration::from_millis(options.request_timeout_ms),
                max_concurrent_requests: options.max_concurrent_requests,
                admission: options.admission,
            },
        },
    ));
    // The handlers stand before anyone is told of the address, so that a stop signal is never missed.
    let mut stop = StopSignals::new()?;
    (options.on_listening)(listener.local_addr()?);

    let telemetry = Arc::clone(&options.telemetry);
    let live = Live {
        access: options.access,
        certificate: options.certificate.clone(),
        telemetry: options.telemetry,
        reread: options.reread,
    };
    let _live = live.watch()?;
    let lame_duck = options.lame_duck;
    let stopped = async move {
        stop.received().await;
        telemetry.drain();
        crate::supervision::stopping();
        if !lame_duck.is_zero() {
            tracing::info!(
                seconds = lame_duck.as_secs(),
                "leaving: /readyz says no, requests are still taken"
            );
            // Who asks twice does not want to wait.
            let _ = tokio::time::timeout(lame_duck, stop.received()).await;
        }
        tracing::info!("stopping: requests under way may finish");
    };
    match options.certificate {
        Some(certificate) => {
            let listener = TlsListener::new(listener, certificate)?;
            listen::run(listener, router, options.connections, stopped, options.drain).await;
        }
        None => listen::run(listener, router, options.connections, stopped, options.drain).await,
    }
    Ok(())
}

/// SIGTERM and SIGINT (Ctrl-C elsewhere than on Unix).
struct StopSignals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    #[cfg(unix)]
    fn new() -> std::io::Result<StopSignals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> std::io::Result<StopSignals> {
        Ok(StopSignals {})
    }

    #[cfg(not(unix))]
    async fn received(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
