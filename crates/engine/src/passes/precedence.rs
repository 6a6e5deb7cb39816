//! Queries first: what is added gives way between its pieces while queries are being encoded.
//!
//! Cooperative, because the operating system shares the CPUs evenly between both pools and knows nothing of who waits.
//! Adding is never starved: it gives way for [`LONGEST`] at most before each piece.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest that one piece of an add is held back.
const LONGEST: Duration = Duration::from_millis(100);

/// How many queries are at the encoders.
#[derive(Default)]
pub(crate) struct Precedence {
    queries: Mutex<usize>,
    none_left: Condvar,
}

/// A query at an encoder, until dropped.
pub(crate) struct First<'a>(&'a Precedence);

impl Precedence {
    /// A query comes to an encoder.
    pub(crate) fn enter(&self) -> First<'_> {
        *self.queries() += 1;
        First(self)
    }

    /// Waits until no query is at an encoder, for [`LONGEST`] at most. No lock may be held.
    pub(crate) fn give_way(&self) {
        let queries = self.queries();
        // Timed out or not: the piece's turn has come either way.
        let _ = self.none_left.wait_timeout_while(queries, LONGEST, |queries| *queries > 0);
    }

    fn queries(&self) -> MutexGuard<'_, usize> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        let mut queries = self.0.queries();
        *queries -= 1;
        if *queries == 0 {
            self.0.none_left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    #[test]
    fn a_piece_waits_for_the_last_query() {
        let precedence = Precedence::default();
        precedence.give_way();
        let (first, second) = (precedence.enter(), precedence.enter());
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let started = Instant::now();
                precedence.give_way();
                tell.send(started.elapsed()).expect("somebody listens");
            });
            std::thread::sleep(LONGEST / 4);
            drop(first);
            assert!(told.try_recv().is_err(), "one query is left");
            drop(second);
            told.recv().expect("the piece goes on");
        });
    }

    #[test]
    fn a_piece_is_not_held_back_for_ever() {
        let precedence = Precedence::default();
        let _query = precedence.enter();
        let started = Instant::now();
        precedence.give_way();
        assert!(started.elapsed() >= LONGEST);
    }
}
