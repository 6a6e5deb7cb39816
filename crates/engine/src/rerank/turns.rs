//! Turns: first come, first served, one at a time, for no longer than somebody will wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A line in front of something that one may use at a time.
#[derive(Default)]
pub(super) struct Turns {
    line: Mutex<Line>,
    moved: Condvar,
}

#[derive(Default)]
struct Line {
    /// Numbers of those who wait or have their turn; the first has it.
    numbers: VecDeque<u64>,
    next: u64,
}

/// A turn, until dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    /// Waits until those who came before are done; `None` when `deadline` comes first.
    pub(super) fn wait(&self, deadline: Instant) -> Option<Turn<'_>> {
        let mut line = self.line();
        let number = line.next;
        line.next += 1;
        line.numbers.push_back(number);
        // Leaves the line however this ends.
        let turn = Turn { turns: self, number };
        let left = deadline.saturating_duration_since(Instant::now());
        let waits = |line: &mut Line| line.numbers.front() != Some(&number);
        let (line, waited) =
            self.moved.wait_timeout_while(line, left, waits).unwrap_or_else(PoisonError::into_inner);
        drop(line);
        (!waited.timed_out()).then_some(turn)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.line().numbers.retain(|number| *number != self.number);
        self.turns.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn who_comes_first_goes_first() {
        let turns = Turns::default();
        let (tell, told) = mpsc::channel();
        let held = turns.wait(Instant::now() + LONG).expect("nobody is before");
        std::thread::scope(|scope| {
            for waiter in 0..4 {
                let (tell, turns) = (tell.clone(), &turns);
                scope.spawn(move || {
                    let _turn = turns.wait(Instant::now() + LONG).expect("its turn comes");
                    tell.send(waiter).expect("somebody listens");
                });
                while turns.line().numbers.len() < waiter + 2 {
                    std::thread::yield_now();
                }
            }
            drop(held);
            let order: Vec<usize> = told.iter().take(4).collect();
            assert_eq!(order, [0, 1, 2, 3]);
        });
    }

    #[test]
    fn nobody_waits_past_the_deadline_and_who_leaves_holds_up_nobody() {
        let turns = Turns::default();
        let held = turns.wait(Instant::now() + LONG).expect("nobody is before");
        assert!(turns.wait(Instant::now() + Duration::from_millis(10)).is_none());
        drop(held);
        assert!(turns.wait(Instant::now() + LONG).is_some());
    }
}
