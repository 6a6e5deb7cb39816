//! A token bucket by its virtual clock: the generic cell rate algorithm (ITU-T I.371), one number for a whole bucket.
//!
//! The number is the moment at which the bucket would be full again; a request moves it on by one interval, and is refused
//! when that would lie further ahead than the burst allows.

use std::time::{Duration, Instant};

/// What one key has spent.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one token of `rate_per_s` (above 0) with room for `burst` (0: as many as come in a second).
    ///
    /// # Errors
    /// How long until the next token.
    pub(super) fn take(&mut self, rate_per_s: u32, burst: u32) -> Result<(), Duration> {
        self.take_at(Instant::now(), rate_per_s, burst)
    }

    fn take_at(&mut self, now: Instant, rate_per_s: u32, burst: u32) -> Result<(), Duration> {
        let interval = Duration::from_secs(1) / rate_per_s.max(1);
        let room = interval * if burst == 0 { rate_per_s.max(1) } else { burst };
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + interval;
        match full_at.duration_since(now).checked_sub(room) {
            Some(over) if !over.is_zero() => Err(over),
            _ => {
                self.full_at = Some(full_at);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_an_interval() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let passed = (0..20).filter(|_| bucket.take_at(at(0), 10, 5).is_ok()).count();
        assert_eq!(passed, 5);
        assert_eq!(bucket.take_at(at(40), 10, 5), Err(Duration::from_millis(60)));
        assert!(bucket.take_at(at(100), 10, 5).is_ok());
        assert!(bucket.take_at(at(100), 10, 5).is_err());
        // Over ten seconds of asking every 10 ms: ten a second and what the burst had left.
        let passed = (0..1_000).filter(|i| bucket.take_at(at(200 + i * 10), 10, 5).is_ok()).count();
        assert!((100..=105).contains(&passed), "{passed}");
        let passed = (0..20).filter(|_| bucket.take_at(at(60_000), 10, 0).is_ok()).count();
        assert_eq!(passed, 10, "a burst that is not said is a second's worth");
    }
}
