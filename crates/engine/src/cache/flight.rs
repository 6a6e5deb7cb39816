//! One answer on its way: one caller makes it, others wait for it.
//!
//! Waiting is a plain [`Future`] that belongs to no runtime. Invariant: a flight ends exactly once, and everybody who waits is woken; one whose maker
//! went away ends as [`Ended::Abandoned`], and whoever asks next makes the answer, so nobody fails with another's connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How a flight ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the answer, as it was rendered.
    Answered(Arc<[u8]>),
    /// With an error; it may be of its maker alone (a deadline, a full queue), so it is not shared.
    Failed,
    /// Its maker went away: ask again.
    Abandoned,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Flight {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: Option<Ended>,
    /// One place for each who waits; empty again when he has gone.
    waiting: Vec<Option<Waker>>,
}

impl Flight {
    pub(super) fn end(&self, ended: Ended) {
        let waiting = {
            let mut state = self.state();
            state.ended = Some(ended);
            std::mem::take(&mut state.waiting)
        };
        // Woken without the lock, which they take at once.
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an answer that another caller makes.
pub struct Follow {
    flight: Arc<Flight>,
    place: Option<usize>,
}

impl Follow {
    pub(super) fn of(flight: Arc<Flight>) -> Follow {
        Follow { flight, place: None }
    }
}

impl Future for Follow {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let flight = Arc::clone(&self.flight);
        let mut state = flight.state();
        if let Some(ended) = &state.ended {
            return Poll::Ready(ended.clone());
        }
        let waker = Some(context.waker().clone());
        match self.place.and_then(|place| state.waiting.get_mut(place)) {
            Some(place) => *place = waker,
            None => {
                self.place = Some(state.waiting.len());
                state.waiting.push(waker);
            }
        }
        Poll::Pending
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        if let Some(place) = self.place.and_then(|place| state.waiting.get_mut(place)) {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn all_who_wait_are_woken_once_and_those_who_left_are_not() {
        let (flight, woken) = (Arc::new(Flight::default()), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut follows: Vec<Follow> = (0..3).map(|_| Follow::of(Arc::clone(&flight))).collect();
        for follow in &mut follows {
            assert!(Pin::new(&mut *follow).poll(&mut context).is_pending());
            assert!(Pin::new(follow).poll(&mut context).is_pending(), "polled twice, it has one place");
        }
        drop(follows.pop());
        flight.end(Ended::Abandoned);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
        for follow in &mut follows {
            assert_eq!(Pin::new(follow).poll(&mut context), Poll::Ready(Ended::Abandoned));
        }
        let mut late = Follow::of(flight);
        assert_eq!(Pin::new(&mut late).poll(&mut context), Poll::Ready(Ended::Abandoned));
    }
}
