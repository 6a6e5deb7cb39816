//! A circuit breaker: after some failures in a row nothing is tried for a while, then one try tells whether all may again.
//!
//! So a shared cache that is down or slow costs a few requests its timeout, and the others nothing (Nygard, "Release It!", 2018, chapter 5).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES: u32 = 3;
/// How long it stays open the first time; twice as long after each try that fails.
const FIRST_REST: Duration = Duration::from_millis(250);
/// How long it stays open at most.
const LONGEST_REST: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    failures: u32,
    /// Open: nothing is tried before this.
    rests: Option<(Instant, Duration)>,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

impl Breaker {
    /// Whether to try now. While it is open one caller is let through when its time is over, the others are not.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.rests {
            None => true,
            Some((until, _)) if now < until => false,
            Some((_, rest)) => {
                state.rests = Some((now + rest, rest));
                true
            }
        }
    }

    /// A try went well.
    pub(super) fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// A try failed; says whether that opened it.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.failures += 1;
        let (was_open, rest) = match state.rests {
            Some((_, rest)) => (true, (rest * 2).min(LONGEST_REST)),
            None => (false, FIRST_REST),
        };
        if was_open || state.failures >= FAILURES {
            state.rests = Some((now + rest, rest));
        }
        !was_open && state.rests.is_some()
    }

    /// Whether all may try.
    pub(super) fn is_closed(&self) -> bool {
        self.state().rests.is_none()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_some_failures_lets_one_try_and_closes_when_that_goes_well() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        assert!(!breaker.failed(start) && !breaker.failed(start));
        breaker.succeeded();
        assert!(!breaker.failed(start) && !breaker.failed(start) && breaker.is_closed(), "in a row");
        assert!(breaker.failed(start), "that opened it");
        assert!(!breaker.allows(start) && !breaker.is_closed());
        let later = start + FIRST_REST;
        assert!(breaker.allows(later) && !breaker.allows(later), "one alone");
        assert!(!breaker.failed(later), "it was open already");
        assert!(!breaker.allows(later + FIRST_REST) && breaker.allows(later + 2 * FIRST_REST));
        breaker.succeeded();
        assert!(breaker.is_closed() && breaker.allows(later));
    }

    #[test]
    fn it_never_rests_longer_than_it_may() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..40 {
            breaker.failed(now);
            now += LONGEST_REST;
            assert!(breaker.allows(now));
        }
    }
}
