//! How many searches may be inside, how many may wait, and what is left out while many come.
//!
//! * **Limit.** Additive increase, multiplicative decrease on the measured time inside, as `AIMDLimit` of Netflix's concurrency-limits
//!   (<https://github.com/Netflix/concurrency-limits>) after Chiu and Jain (1989): a window whose searches took longer than the target
//!   on average takes a tenth of the places away, one that used all places and was fast adds one.
//! * **Line.** No longer than what is worked off within the queue time, by the pace of the searches so far; who comes later is refused at
//!   once, for an answer after its deadline helps nobody and costs the others theirs.
//! * **Ladder** ([`Level`]). A crowded window takes one step up, a calm second one step down, so that it neither jumps nor flutters. Every
//!   step leaves out more, the last one lets nobody wait: what is not in a cache and finds no place is refused.
//!
//! Invariants: deciding takes a short lock and no allocation; nothing here ticks by itself, so an idle service does nothing; permits
//! given back are counted whatever became of the search.

mod ladder;
mod memory;

pub use ladder::Level;
pub(super) use memory::Memory;

use bilin_engine::Restraint;
use ladder::Ladder;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Time that one decision is taken over.
const WINDOW: Duration = Duration::from_millis(100);
/// What is left of the limit after a window that was too slow.
const DECREASE: f64 = 0.9;
/// Growth of the fastest window's mean with each window.
const BASE_GROWTH: f64 = 1.0005;
/// So many times as long as the fastest window is too slow, whatever the target.
const SLOW_TIMES: f64 = 3.0;
/// Weight of the newest search in the pace.
const PACE_WEIGHT: f64 = 0.1;

/// What is aimed at.
#[derive(Clone, Debug)]
pub struct AdmissionOptions {
    /// Mean time inside that a window may have; where searches take longer even when few are inside, three times that.
    pub target: Duration,
    /// How long a search may be expected to wait.
    pub queue: Duration,
    /// Recall at 10 that is never gone under by searching with less effort.
    pub floor_recall: f32,
    /// Results at most, from the step on that caps them.
    pub top_k_max: usize,
    /// Percent of the memory that the process may use, from which on nothing new is begun.
    pub memory_percent: u64,
}

impl Default for AdmissionOptions {
    fn default() -> AdmissionOptions {
        AdmissionOptions {
            target: Duration::from_millis(200),
            queue: Duration::from_millis(200),
            floor_recall: 0.9,
            top_k_max: 10,
            memory_percent: 90,
        }
    }
}

/// How it is now, for people and monitors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionStatus {
    pub(crate) level: Level,
    pub(crate) limit: usize,
    pub(crate) inside: usize,
    /// Refused since the start, by reason.
    pub(crate) shed: [(&'static str, u64); 4],
}

/// Why a search is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shed {
    /// The line is as long as it may be.
    Queue,
    /// Only caches answer, and all places are taken.
    CachedOnly,
    /// Its time in line was over.
    Deadline,
    /// The process is near the end of its memory.
    Memory,
}

impl Shed {
    const NAMES: [&'static str; 4] = ["queue", "cached_only", "deadline", "memory"];
}

struct State {
    limit: f64,
    inside: usize,
    /// Places that are to go when they come back.
    owed: usize,
    /// Mean time inside, seconds; 0 before the first.
    pace_s: f64,
    /// Mean of the fastest window, slowly forgotten: how long searches take where few are inside.
    base_s: f64,
    window: Window,
    ladder: Ladder,
    shed: [u64; 4],
}

struct Window {
    since: Instant,
    finished: u32,
    time_s: f64,
    was_full: bool,
    is_crowded: bool,
}

impl Window {
    fn new(since: Instant) -> Window {
        Window { since, finished: 0, time_s: 0.0, was_full: false, is_crowded: false }
    }
}

/// See the head of this file.
pub(super) struct Admission {
    options: AdmissionOptions,
    max_limit: usize,
    pub(super) permits: Arc<Semaphore>,
    pub(super) memory: Memory,
    state: Mutex<State>,
}

impl Admission {
    /// With at most `max_limit` inside.
    pub(super) fn new(max_limit: usize, options: AdmissionOptions) -> Admission {
        let now = Instant::now();
        let limit = max_limit.max(1);
        Admission {
            permits: Arc::new(Semaphore::new(limit)),
            memory: Memory::new(options.memory_percent),
            state: Mutex::new(State {
                limit: limit as f64,
                inside: 0,
                owed: 0,
                pace_s: 0.0,
                base_s: f64::INFINITY,
                window: Window::new(now),
                ladder: Ladder::new(now),
                shed: [0; 4],
            }),
            options,
            max_limit: limit,
        }
    }

    /// What searches leave out now.
    pub(super) fn restraint(&self) -> Restraint {
        let level = self.tick(Instant::now()).ladder.level();
        Restraint {
            no_rerank: level >= Level::NoRerank,
            floor_recall: (level >= Level::LessEffort).then_some(self.options.floor_recall),
            top_k_max: (level >= Level::FewerResults).then_some(self.options.top_k_max),
        }
    }

    /// Whether one more may wait behind `ahead` others; `most` whatever the pace.
    pub(super) fn may_wait(&self, ahead: usize, most: usize) -> Result<(), Shed> {
        let mut state = self.tick(Instant::now());
        let by_pace = match state.pace_s > 0.0 {
            true => self.options.queue.as_secs_f64() * state.limit / state.pace_s,
            false => f64::INFINITY,
        };
        // As many as are inside may always wait: they take one turn.
        let least = (state.limit as usize).min(most);
        let most = (by_pace as usize).clamp(least, most);
        state.window.was_full = true;
        state.window.is_crowded |= 2 * (ahead + 1) > most;
        if state.ladder.level() == Level::CachedOnly {
            Err(Shed::CachedOnly)
        } else if ahead >= most {
            Err(Shed::Queue)
        } else {
            Ok(())
        }
    }

    /// Counts one that was not let in.
    pub(super) fn shed(&self, why: Shed) {
        let mut state = self.tick(Instant::now());
        state.shed[why as usize] += 1;
        state.window.is_crowded = true;
    }

    /// One is let in; it counts until the place is dropped. `is_measured`: its time tells how long searches take.
    pub(super) fn enter(self: &Arc<Self>, permit: OwnedSemaphorePermit, is_measured: bool) -> Place {
        let cost = permit.num_permits();
        let mut state = self.tick(Instant::now());
        state.inside += cost;
        state.window.was_full |= state.inside >= state.limit as usize;
        drop(state);
        Place { admission: Arc::clone(self), permit: Some(permit), since: Instant::now(), is_measured }
    }

    /// How it is.
    pub(super) fn status(&self) -> AdmissionStatus {
        let state = self.tick(Instant::now());
        let mut shed = Shed::NAMES.map(|name| (name, 0));
        shed.iter_mut().zip(state.shed).for_each(|(named, count)| named.1 = count);
        AdmissionStatus {
            level: state.ladder.level(),
            limit: state.limit as usize,
            inside: state.inside,
            shed,
        }
    }

    /// Closes the window if its time is over.
    fn tick(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.window.since) >= WINDOW {
            let window = std::mem::replace(&mut state.window, Window::new(now));
            state.ladder.step(now, window.is_crowded);
            self.adapt(&mut state, &window);
        }
        state
    }

    fn adapt(&self, state: &mut State, window: &Window) {
        if window.finished == 0 {
            return;
        }
        let mean_s = window.time_s / f64::from(window.finished);
        state.base_s = mean_s.min(state.base_s * BASE_GROWTH);
        let target_s = self.options.target.as_secs_f64().max(SLOW_TIMES * state.base_s);
        let before = state.limit as usize;
        if mean_s > target_s {
            state.limit = (state.limit * DECREASE).max(1.0);
        } else if window.was_full {
            state.limit = (state.limit + 1.0).min(self.max_limit as f64);
        }
        let after = state.limit as usize;
        if after > before {
            let more = after - before;
            let forgiven = more.min(state.owed);
            state.owed -= forgiven;
            self.permits.add_permits(more - forgiven);
        } else {
            let less = before - after;
            state.owed += less - self.permits.forget_permits(less);
        }
    }

    fn leave(&self, permit: OwnedSemaphorePermit, since: Instant, is_measured: bool) {
        let (now, cost) = (Instant::now(), permit.num_permits());
        let took_s = now.saturating_duration_since(since).as_secs_f64();
        let mut state = self.tick(now);
        state.inside = state.inside.saturating_sub(cost);
        if is_measured {
            // What a request of many takes is that of each part.
            let each_s = took_s / cost.max(1) as f64;
            state.pace_s = match state.pace_s > 0.0 {
                true => state.pace_s + PACE_WEIGHT * (each_s - state.pace_s),
                false => each_s,
            };
            state.window.finished += 1;
            state.window.time_s += each_s;
        }
        let kept = cost - state.owed.min(cost);
        state.owed -= cost - kept;
        drop(state);
        permit.forget();
        self.permits.add_permits(kept);
    }
}

/// A place inside.
pub(super) struct Place {
    admission: Arc<Admission>,
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
    is_measured: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.admission.leave(permit, self.since, self.is_measured);
        }
    }
}

#[cfg(test)]
mod tests;
