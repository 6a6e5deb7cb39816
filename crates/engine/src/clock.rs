//! Times of jobs since 1970 by the system's clock, so that they can be compared with those on disk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds; 0 where the clock stands before 1970.
pub(crate) fn now_ms() -> u64 {
    ms(since_1970())
}

/// Seconds; 0 where the clock stands before 1970.
pub(crate) fn now_unix_s() -> u64 {
    since_1970().as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
