//! What a Redis says of itself, for `bilin doctor`.
//!
//! Invariant: nothing of the address (it may hold a password) stands in what is told.

use super::SharedCacheConfig;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError};
use std::time::Duration;

/// Longest that connecting, and each answer, is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the head of this file; what it does not tell everybody is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its version.
    pub version: Option<String>,
    /// Bytes that it may hold; 0: no bound.
    pub max_bytes: Option<u64>,
    /// What it does when that is full, in its own words.
    pub policy: Option<String>,
}

impl Facts {
    fn of(info: &str) -> Facts {
        let value = |name: &str| {
            let values = info.lines().filter_map(|line| line.split_once(':'));
            values.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
        };
        Facts {
            version: value("redis_version"),
            max_bytes: value("maxmemory").and_then(|bytes| bytes.parse().ok()),
            policy: value("maxmemory_policy"),
        }
    }
}

/// Connects as the service does, and asks.
///
/// # Errors
/// Why it cannot be used, for a person.
pub fn ask(config: &SharedCacheConfig) -> Result<Facts, String> {
    let client = config.client().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let patience = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let asked = runtime.block_on(async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&patience).await?;
        let () = redis::cmd("PING").query_async(&mut connection).await?;
        // Not every user may ask for this; that it answers is enough.
        let info: Result<String, RedisError> = redis::cmd("INFO").query_async(&mut connection).await;
        Ok(info.map_or_else(|_| Facts::default(), |info| Facts::of(&info)))
    });
    asked.map_err(|error: RedisError| match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            "it wants another password".to_owned()
        }
        (_, Some(code)) => format!("it refuses: {code}"),
        (kind, None) => format!("it does not answer ({kind:?})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_tells_is_understood() {
        let info =
            "# Server\r\nredis_version:7.0.15\r\nmaxmemory:1048576\r\nmaxmemory_policy:allkeys-lru\r\n";
        let facts = Facts::of(info);
        assert_eq!((facts.version.as_deref(), facts.max_bytes), (Some("7.0.15"), Some(1 << 20)));
        assert_eq!(facts.policy.as_deref(), Some("allkeys-lru"));
        assert_eq!(Facts::of("-NOPERM"), Facts::default());
    }
}
