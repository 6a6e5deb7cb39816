//! [`Ladder`]: what is left out while many come, one step at a time.

use serde::Serialize;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// Least time between two steps up.
const UP: Duration = Duration::from_millis(200);
/// How long it must be calm for each step down.
const DOWN: Duration = Duration::from_secs(1);

/// Steps, each with all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Everything is done as asked.
    #[default]
    Whole,
    /// Nothing is reranked.
    NoRerank,
    /// Indexes are searched with less effort, as far as the recall allows.
    LessEffort,
    /// Fewer results than asked for.
    FewerResults,
    /// Nobody waits: what no cache has is answered only where a place is free.
    CachedOnly,
}

impl Level {
    const ALL: [Level; 5] =
        [Level::Whole, Level::NoRerank, Level::LessEffort, Level::FewerResults, Level::CachedOnly];

    /// From 0, everything, to 4.
    pub(crate) fn number(self) -> usize {
        self as usize
    }

    fn up(self) -> Level {
        Level::ALL[(self.number() + 1).min(Level::ALL.len() - 1)]
    }

    fn down(self, steps: usize) -> Level {
        Level::ALL[self.number().saturating_sub(steps)]
    }
}

/// Where on it the service is.
pub(super) struct Ladder {
    level: Level,
    raised: Instant,
    /// Since when there was no crowd, or the last step down.
    calm: Instant,
}

impl Ladder {
    pub(super) fn new(now: Instant) -> Ladder {
        Ladder { level: Level::Whole, raised: now, calm: now }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// A window is over.
    pub(super) fn step(&mut self, now: Instant, is_crowded: bool) {
        if is_crowded {
            self.calm = now;
            if now.saturating_duration_since(self.raised) >= UP {
                self.set(self.level.up());
                self.raised = now;
            }
            return;
        }
        // Where nobody came for a while, several at once.
        let steps = (now.saturating_duration_since(self.calm).as_millis() / DOWN.as_millis()) as usize;
        if steps > 0 {
            self.set(self.level.down(steps));
            self.calm = now;
        }
    }

    fn set(&mut self, level: Level) {
        if level != self.level {
            tracing::warn!(from = ?self.level, to = ?level, "what is left out because of the load changes");
            self.level = level;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_takes_it_up_step_by_step_and_calm_takes_it_down_slowly() {
        let start = Instant::now();
        let mut ladder = Ladder::new(start);
        let mut now = start;
        let mut levels = vec![ladder.level()];
        for _ in 0..12 {
            now += Duration::from_millis(100);
            ladder.step(now, true);
            if levels.last() != Some(&ladder.level()) {
                levels.push(ladder.level());
            }
        }
        assert_eq!(levels, Level::ALL);
        assert_eq!(now - start, Duration::from_millis(1_200), "five levels in 200 ms steps");
        for tenths in 1..=40 {
            now += Duration::from_millis(100);
            ladder.step(now, false);
            assert_eq!(ladder.level().number(), 4 - tenths / 10, "after {tenths} tenths of a second");
        }
    }

    #[test]
    fn a_crowd_now_and_then_neither_climbs_nor_falls() {
        let mut now = Instant::now();
        let mut ladder = Ladder::new(now);
        now += UP;
        ladder.step(now, true);
        for turn in 0..50 {
            now += Duration::from_millis(100);
            ladder.step(now, turn % 5 == 0);
        }
        assert!(ladder.level() > Level::Whole, "half a second of calm is none");
        now += Duration::from_secs(60);
        ladder.step(now, false);
        assert_eq!(ladder.level(), Level::Whole, "a minute is enough for all steps");
    }
}
