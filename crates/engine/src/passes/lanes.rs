//! Pools of one thread each, for passes that run beside one another.
//!
//! A pass asks the pool that it is in how many threads may help it; in a lane none may, so it never waits for a part that another
//! thread has. Lanes are made when they are first needed and kept.

use crate::engine::pool;
use rayon::ThreadPool;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lanes that nobody uses.
#[derive(Default)]
pub(super) struct Lanes(Mutex<Vec<ThreadPool>>);

impl Lanes {
    /// Lends an idle one, or a new one; `other` where the system gives no more threads.
    pub(super) fn lend<T>(&self, other: &ThreadPool, work: impl FnOnce(&ThreadPool) -> T) -> T {
        let idle = self.idle().pop();
        let Some(lane) = idle.or_else(|| pool("encode", 1).ok()) else { return work(other) };
        let done = work(&lane);
        self.idle().push(lane);
        done
    }

    fn idle(&self) -> MutexGuard<'_, Vec<ThreadPool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
