//! Settings of who may come in to the service, of what it tells, and of what is kept of answers.

use super::Reader;
use crate::access::{AccessOptions, AuditOptions};
use crate::cli::Failure;
use crate::follow::FollowConfig;
use crate::http::{AdmissionOptions, ConnectionBounds, Telling, TlsFiles};
use crate::shared_cache::SharedCacheConfig;
use bilin_engine::CacheConfig;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the service ends, and what it tells of requests.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Serves HTTPS with these.
    pub tls: Option<TlsFiles>,
    /// Longest that requests under way are waited for at the end.
    pub drain: Duration,
    /// How long new requests are still taken at the end, though it is told that it ends.
    pub lame_duck: Duration,
    /// Whether logs are JSON; `None`: as `--json` says.
    pub json_logs: Option<bool>,
    /// Whether texts of queries are logged.
    pub log_queries: bool,
    /// Whether requests that were answered well are logged, too.
    pub log_all: bool,
    /// From how long on a search is slow, milliseconds; 0: never.
    pub slow_ms: u64,
    /// Where traces are sent.
    pub otlp_url: Option<String>,
    /// Share of requests that are traced.
    pub trace_sample: f64,
}

impl ServiceConfig {
    /// What the log is told of requests.
    pub fn telling(&self) -> Telling {
        Telling { log_queries: self.log_queries, log_all: self.log_all, slow_ms: self.slow_ms }
    }
}

impl Reader<'_> {
    /// What is kept of answers.
    pub(super) fn cache(&self) -> Result<CacheConfig, Failure> {
        let ttl = self.duration("cache.ttl")?;
        Ok(CacheConfig {
            answer_bytes: self.parsed("cache.memory_bytes", "a number of bytes; 0 for none")?,
            ttl: ttl.ok_or_else(|| self.refuse("cache.ttl", "a time above 0, such as 5m"))?,
            vector_bytes: self.parsed("cache.vector_bytes", "a number of bytes; 0 for none")?,
        })
    }

    /// What is aimed at when many ask.
    pub(super) fn admission(&self) -> Result<AdmissionOptions, Failure> {
        let (recall, percent) = ("a number from 0 to 1", "a whole number, 1 to 100");
        let floor_recall: f32 = self.parsed("admission.floor_recall", recall)?;
        if !(0.0..=1.0).contains(&floor_recall) {
            return Err(self.refuse("admission.floor_recall", recall));
        }
        let memory_percent = self.parsed("admission.memory_percent", percent)?;
        if !(1..=100).contains(&memory_percent) {
            return Err(self.refuse("admission.memory_percent", percent));
        }
        Ok(AdmissionOptions {
            target: Duration::from_millis(self.positive("admission.target_ms")? as u64),
            queue: Duration::from_millis(self.positive("admission.queue_ms")? as u64),
            floor_recall,
            top_k_max: self.positive("admission.top_k")?,
            memory_percent,
        })
    }

    /// What a connection may cost.
    pub(super) fn connections(&self) -> Result<ConnectionBounds, Failure> {
        let timeout =
            |name: &str| self.duration(name)?.ok_or_else(|| self.refuse(name, "a time above 0, such as 30s"));
        Ok(ConnectionBounds {
            max_connections: self.positive("serve.max_connections")?,
            head_timeout: timeout("serve.head_timeout")?,
            write_timeout: timeout("serve.write_timeout")?,
        })
    }

    /// Where the cache is that servers share.
    pub(super) fn shared_cache(&self) -> Result<Option<SharedCacheConfig>, Failure> {
        let Some(url) = self.text("cache.redis_url") else { return Ok(None) };
        let timeout = Duration::from_millis(self.positive("cache.redis_timeout_ms")? as u64);
        let ca = self.text("cache.redis_ca").map(PathBuf::from);
        Ok(Some(SharedCacheConfig { url, ca, timeout, ttl: self.cache()?.ttl }))
    }

    /// Keys, rates, origins and the audit log of a data folder.
    pub(super) fn access(&self, data: &Path) -> Result<AccessOptions, Failure> {
        let audit = match self.yes_or_no("audit.log")? {
            true => Some(AuditOptions {
                data: data.to_path_buf(),
                max_bytes: self.positive("audit.max_bytes")? as u64,
                kept: self.parsed("audit.kept", "a whole number")?,
            }),
            false => None,
        };
        Ok(AccessOptions {
            api_key: self.text("serve.api_key"),
            keys_in: Some(data.to_path_buf()),
            rate_per_s: self.parsed("serve.rate_limit_per_s", "a whole number; 0 for no bound")?,
            rate_burst: self.parsed("serve.rate_limit_burst", "a whole number; 0 for a second's worth")?,
            allowed_origins: self.origins()?,
            audit,
        })
    }

    /// How the service ends, and what it tells of requests.
    pub(super) fn service(&self) -> Result<ServiceConfig, Failure> {
        let (certificate, key) = (self.text("serve.tls_certificate"), self.text("serve.tls_key"));
        let tls = match (certificate.map(PathBuf::from), key.map(PathBuf::from)) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            _ => {
                return Err(Failure::mendable("one of serve.tls_certificate and serve.tls_key is set alone")
                    .with_hint("set both, or neither to serve plain HTTP"));
            }
        };
        let json_logs = match self.text("log_format").as_deref() {
            None => None,
            Some("pretty") => Some(false),
            Some("json") => Some(true),
            Some(_) => return Err(self.refuse("log_format", "pretty or json")),
        };
        let share = "a number from 0 to 1";
        let trace_sample: f64 = self.parsed("traces.sample", share)?;
        if !(0.0..=1.0).contains(&trace_sample) {
            return Err(self.refuse("traces.sample", share));
        }
        let otlp_url = self.text("traces.otlp_url");
        if otlp_url.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            return Err(self.refuse("traces.otlp_url", "an address such as http://127.0.0.1:4318/v1/traces"));
        }
        let seconds = "a whole number of seconds, at most 3600";
        let bounded = |key: &str| match self.parsed(key, seconds)? {
            count @ 0..=3_600_u64 => Ok(Duration::from_secs(count)),
            _ => Err(self.refuse(key, seconds)),
        };
        let log_all = match self.text("log_requests").as_deref() {
            Some("all") => true,
            Some("failed") => false,
            _ => return Err(self.refuse("log_requests", "all or failed")),
        };
        Ok(ServiceConfig {
            tls,
            drain: bounded("serve.drain_seconds")?,
            lame_duck: bounded("serve.lame_duck_seconds")?,
            json_logs,
            log_queries: self.yes_or_no("log_queries")?,
            log_all,
            slow_ms: self.parsed("log_slow_ms", "a whole number of milliseconds; 0 for never")?,
            otlp_url,
            trace_sample,
        })
    }

    /// What is followed.
    pub(super) fn follow(&self) -> Result<Option<FollowConfig>, Failure> {
        let every = self.duration("follow.every")?;
        let every = every.ok_or_else(|| self.refuse("follow.every", "a time above 0, such as 1s"))?;
        let max_lag = Duration::from_secs(self.positive("follow.max_lag_seconds")? as u64);
        let key = self.text("follow.key");
        Ok(self.text("follow.from").map(|from| FollowConfig { from, key, every, max_lag }))
    }

    fn origins(&self) -> Result<Vec<String>, Failure> {
        let told = self.text("serve.allowed_origins").unwrap_or_default();
        let origins: Vec<String> = told.split_whitespace().map(str::to_ascii_lowercase).collect();
        let is_origin = |origin: &String| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@']))
        };
        match origins.iter().all(is_origin) {
            true => Ok(origins),
            false => Err(self.refuse(
                "serve.allowed_origins",
                "scheme and host, with the port where it is not the usual one, such as https://site.example:8443; no path, no *",
            )),
        }
    }

    /// `yes` and `true`, `no` and `false`.
    pub(super) fn yes_or_no(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name).as_deref() {
            Some("yes" | "true") => Ok(true),
            Some("no" | "false") => Ok(false),
            _ => Err(self.refuse(name, "yes or no")),
        }
    }
}
