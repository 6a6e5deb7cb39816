//! The cache that several servers share: Redis, when `cache.redis_url` names one.
//!
//! It stands behind the memory of each server, holds the same bytes under the same names, and is never needed: every call has a short timeout, a
//! circuit breaker keeps it from costing more than a few of them, and whatever it says or fails to say, the answer is made as without it. What it
//! gives back is checked before it is trusted (`Lead::open`). Invariants: reading is bounded in bytes, whatever lies there; writing happens behind the
//! answer and is bounded in how many are under way; nothing of the address (it may hold a password) is ever logged.

mod breaker;
mod facts;

use bilin_engine::Lead;
use breaker::Breaker;
pub use facts::{Facts, ask};
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError, TlsCertificates};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Before every name, so that a Redis may have other users.
const PREFIX: &str = "bilin:answer:";
/// Longer answers are not shared; they would take longer to send than to make.
const MAX_VALUE_BYTES: usize = 1 << 20;
/// Writes that may be under way; others are left out.
const MAX_WRITES: usize = 256;
/// How long making a connection may take, apart from any request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Upper bounds in seconds.
const BUCKETS_S: [f64; 9] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1];

/// Where it is, and how long it may take.
#[derive(Clone, Default)]
pub struct SharedCacheConfig {
    /// `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
    pub url: String,
    /// Certificates (PEM) that the server's is signed by, instead of the system's.
    pub ca: Option<PathBuf>,
    /// How long reading or writing may take.
    pub timeout: Duration,
    /// How long an answer is kept.
    pub ttl: Duration,
}

impl fmt::Debug for SharedCacheConfig {
    /// Without the address, which may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedCacheConfig")
            .field("ca", &self.ca)
            .field("timeout", &self.timeout)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// The library's own words may quote the address, so they are not passed on.
fn address(_: RedisError) -> SharedCacheError {
    let expected = "expected redis://[[user]:password@]host[:port][/database], or rediss:// for TLS";
    SharedCacheError::Address(expected.to_owned())
}

impl SharedCacheConfig {
    fn client(&self) -> Result<Client, SharedCacheError> {
        let Some(path) = &self.ca else { return Client::open(self.url.as_str()).map_err(address) };
        let root_cert = std::fs::read(path)
            .map_err(|source| SharedCacheError::Certificates { path: path.clone(), source })?;
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
        Client::build_with_tls(self.url.as_str(), certificates).map_err(address)
    }
}

/// Why a shared cache cannot be used at all. A server that does not answer is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum SharedCacheError {
    /// The address says nothing that a client could connect to.
    #[error("cache.redis_url is no address of a Redis: {0}")]
    Address(String),
    /// The certificates cannot be read.
    #[error("cannot read the certificates in \"{}\" (cache.redis_ca): {source}", path.display())]
    Certificates {
        /// Where they should be.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// See the head of this file.
pub struct SharedCache {
    connection: ConnectionManager,
    timeout: Duration,
    ttl: Duration,
    breaker: Breaker,
    writes: Arc<Semaphore>,
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl SharedCache {
    /// Connects when it is first needed.
    ///
    /// # Errors
    /// An address that is none, or certificates that cannot be read.
    pub fn new(config: &SharedCacheConfig) -> Result<SharedCache, SharedCacheError> {
        let client = config.client()?;
        let manager = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(config.timeout));
        let requests = IntCounterVec::new(
            Opts::new(
                "bilin_shared_cache_requests_total",
                "What came of asking the shared cache: get: hit, miss, unfit (not trusted), failed, skipped (it rests after failures); put: kept, failed, skipped.",
            ),
            &["operation", "outcome"],
        );
        let seconds = HistogramVec::new(
            HistogramOpts::new("bilin_shared_cache_seconds", "How long the shared cache took.")
                .buckets(BUCKETS_S.to_vec()),
            &["operation"],
        );
        let figures = |error: prometheus::Error| SharedCacheError::Address(error.to_string());
        Ok(SharedCache {
            connection: ConnectionManager::new_lazy_with_config(client, manager).map_err(address)?,
            timeout: config.timeout,
            ttl: config.ttl,
            breaker: Breaker::default(),
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
            requests: requests.map_err(figures)?,
            seconds: seconds.map_err(figures)?,
        })
    }

    /// What is counted.
    pub(crate) fn collectors(&self) -> [Box<dyn Collector>; 2] {
        [Box::new(self.requests.clone()), Box::new(self.seconds.clone())]
    }

    /// Whether it answered the last time it was asked, as far as is known.
    pub fn is_up(&self) -> bool {
        self.breaker.is_closed()
    }

    /// The answer that a lead is to make, where it lies here; else the lead, within the timeout.
    pub(crate) async fn get(&self, lead: Lead) -> Result<Arc<[u8]>, Lead> {
        let value = self.read(&format!("{PREFIX}{}", lead.shared_key())).await;
        let (outcome, found) = match value {
            Ok(value) if value.is_empty() => ("miss", Err(lead)),
            Ok(value) => match lead.open(&value) {
                Ok(body) => ("hit", Ok(body)),
                Err((lead, unfit)) => {
                    tracing::warn!(%unfit, "an answer in the shared cache is not used");
                    ("unfit", Err(lead))
                }
            },
            Err(outcome) => (outcome, Err(lead)),
        };
        self.requests.with_label_values(&["get", outcome]).inc();
        found
    }

    /// Puts an answer there, some time; the caller does not wait.
    pub(crate) fn put(self: &Arc<Self>, key: String, value: Vec<u8>) {
        let count = |shared: &SharedCache, outcome: &str| {
            shared.requests.with_label_values(&["put", outcome]).inc();
        };
        if value.len() > MAX_VALUE_BYTES || !self.is_up() {
            return count(self, "skipped");
        }
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else {
            return count(self, "skipped");
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let _permit = permit;
            let mut command = redis::cmd("SET");
            let ttl_ms = u64::try_from(shared.ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            command.arg(format!("{PREFIX}{key}")).arg(value).arg("PX").arg(ttl_ms);
            let outcome = match shared.ask::<()>("put", &command).await {
                Ok(()) => "kept",
                Err(outcome) => outcome,
            };
            count(&shared, outcome);
        });
    }

    /// A value, at most as long as one of ours may be; empty when there is none.
    async fn read(&self, key: &str) -> Result<Vec<u8>, &'static str> {
        if !self.breaker.allows(Instant::now()) {
            return Err("skipped");
        }
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(0).arg(MAX_VALUE_BYTES);
        self.ask("get", &command).await
    }

    async fn ask<T: redis::FromRedisValue>(
        &self,
        operation: &str,
        command: &redis::Cmd,
    ) -> Result<T, &'static str> {
        let started = Instant::now();
        let mut connection = self.connection.clone();
        let asked = tokio::time::timeout(self.timeout, command.query_async(&mut connection)).await;
        self.seconds.with_label_values(&[operation]).observe(started.elapsed().as_secs_f64());
        let told = match asked {
            Ok(Ok(answer)) => {
                self.breaker.succeeded();
                return Ok(answer);
            }
            // A full Redis, or one that only reads, still answers what it has.
            Ok(Err(error)) if operation == "put" && matches!(error.kind(), ErrorKind::Server(_)) => {
                tracing::debug!(code = error.code(), "the shared cache does not take an answer");
                return Err("failed");
            }
            Ok(Err(error)) => format!("{:?}", error.kind()),
            Err(_) => format!("no answer within {} ms", self.timeout.as_millis()),
        };
        if self.breaker.failed(Instant::now()) {
            tracing::warn!(reason = told, "the shared cache is left out until it answers again");
        }
        Err("failed")
    }
}
