//! What is known of the files, and what is to be done about it: no clock and no disk of its own.
//!
//! Invariants: a file is in `done` with the length and time that the last pass saw; a file that differs from that is read once it
//! has rested; a file that could not be read is tried again only when it differs. Documents go only when every file that is gone
//! has been gone for as long as files must rest, since many programs replace a file by removing it first.

use super::WatchPass;
use super::listing::{Listing, Stamp};
use bilin_ingest::Problem;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// A pass, over all but these files.
    Pass {
        /// Still written, or refused as they are.
        except: BTreeSet<PathBuf>,
        /// Documents of files that are gone go.
        sync: bool,
    },
    /// Something rests; look again after that.
    Wait(Duration),
    /// All is as it was.
    Nothing,
}

/// A file as the lists showed it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: Stamp,
    /// Since when with this stamp.
    since: Instant,
    /// Since when it has not been as it was when it was last read.
    unread_since: Option<Instant>,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct State {
    seen: BTreeMap<PathBuf, Seen>,
    /// As of the last pass.
    done: BTreeMap<PathBuf, Stamp>,
    /// Files that could not be used, as they were then.
    refused: BTreeMap<PathBuf, Stamp>,
    /// Since when files of `done` are gone.
    gone: BTreeMap<PathBuf, Instant>,
    /// Files still written, as of the last decision.
    unsettled: BTreeSet<PathBuf>,
    /// Problems that were told: path and reason.
    told: BTreeSet<(PathBuf, String)>,
    long_told: BTreeSet<PathBuf>,
    failure: Option<String>,
    has_passed: bool,
}

impl State {
    /// Whether there was a pass.
    pub(super) fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// Files still written, as of the last decision.
    pub(super) fn waiting(&self) -> usize {
        self.unsettled.len()
    }

    /// What to do about what a list shows of the `present` folders. `now` and `clock` are one moment.
    pub(super) fn decide(
        &mut self,
        listing: &Listing,
        present: &[PathBuf],
        settle: Duration,
        now: Instant,
        clock: SystemTime,
    ) -> Decision {
        self.see(listing, present, now);
        let mut longest = Duration::ZERO;
        let mut rests = |since: Duration| {
            longest = longest.max(settle.saturating_sub(since));
            since >= settle
        };
        let is_done = |path: &PathBuf, stamp: &Stamp| self.done.get(path) == Some(stamp);
        let (mut ready, mut unsettled) = (false, BTreeSet::new());
        for (path, seen) in &self.seen {
            if !listing.files.contains_key(path) || is_done(path, &seen.stamp) {
                continue;
            }
            // A file that was moved here is as old as it says; a time in the future tells nothing.
            let age = seen.stamp.modified.and_then(|modified| clock.duration_since(modified).ok());
            match rests(age.unwrap_or_default().max(now.duration_since(seen.since))) {
                true => ready = true,
                false => {
                    unsettled.insert(path.clone());
                }
            }
        }
        let gone_rest = self.gone.values().all(|since| rests(now.duration_since(*since)));
        let is_first = !self.has_passed;
        // At the start an empty folder may be one that is not mounted yet.
        let sync = gone_rest && !(is_first && listing.files.is_empty());
        let is_due = is_first || ready || (gone_rest && !self.gone.is_empty());
        self.unsettled = unsettled;
        match (is_due, longest.is_zero()) {
            (true, _) => {
                let refused =
                    self.refused.iter().filter(|(path, stamp)| listing.files.get(*path) == Some(stamp));
                let refused = refused.map(|(path, _)| path.clone());
                Decision::Pass { except: self.unsettled.iter().cloned().chain(refused).collect(), sync }
            }
            (false, false) => Decision::Wait(longest),
            (false, true) => Decision::Nothing,
        }
    }

    fn see(&mut self, listing: &Listing, present: &[PathBuf], now: Instant) {
        let is_below = |path: &Path| present.iter().any(|folder| path.starts_with(folder));
        self.seen.retain(|path, _| !is_below(path) || listing.files.contains_key(path));
        for (path, stamp) in &listing.files {
            let fresh = Seen { stamp: *stamp, since: now, unread_since: None };
            let seen = self.seen.entry(path.clone()).or_insert(fresh);
            if seen.stamp != *stamp {
                (seen.stamp, seen.since) = (*stamp, now);
            }
            match self.done.get(path) == Some(stamp) {
                true => seen.unread_since = None,
                false => {
                    seen.unread_since.get_or_insert(now);
                }
            }
        }
        // What lies below a folder that is missing is unknown, not gone.
        self.gone.retain(|path, _| is_below(path) && !listing.files.contains_key(path));
        for path in self.done.keys() {
            if is_below(path) && !listing.files.contains_key(path) {
                self.gone.entry(path.clone()).or_insert(now);
            }
        }
    }

    /// A pass over what `listing` showed is over; the problems that were not told before.
    pub(super) fn passed<'a>(
        &mut self,
        listing: &Listing,
        pass: &WatchPass,
        problems: &'a [Problem],
    ) -> Vec<&'a Problem> {
        (self.has_passed, self.failure) = (true, None);
        if pass.sync {
            for path in std::mem::take(&mut self.gone).into_keys() {
                self.done.remove(&path);
            }
        }
        let bad: BTreeSet<&PathBuf> = problems.iter().map(|problem| &problem.path).collect();
        for (path, stamp) in &listing.files {
            if self.unsettled.contains(path) {
                continue;
            }
            self.done.insert(path.clone(), *stamp);
            match bad.contains(path) {
                true => {
                    self.refused.insert(path.clone(), *stamp);
                }
                false if !pass.except.contains(path) => {
                    self.refused.remove(path);
                }
                false => {}
            }
        }
        self.refused.retain(|path, _| listing.files.contains_key(path));
        // What was passed over still has the problem it had.
        let still = |path: &PathBuf| bad.contains(path) || pass.except.contains(path);
        self.told.retain(|(path, _)| still(path));
        self.long_told.retain(|path| self.unsettled.contains(path));
        let is_new = |problem: &&Problem| self.told.insert((problem.path.clone(), problem.reason.clone()));
        problems.iter().filter(is_new).collect()
    }

    /// Whether a pass failed in another way than the one before.
    pub(super) fn is_new_failure(&mut self, message: &str) -> bool {
        let is_new = self.failure.as_deref() != Some(message);
        self.failure = Some(message.to_owned());
        is_new
    }

    /// A file that has been written for longer than `most`, if it was not told.
    pub(super) fn long_written(&mut self, most: Duration, now: Instant) -> Option<PathBuf> {
        let long = |path: &&PathBuf| {
            let since = self.seen.get(*path).and_then(|seen| seen.unread_since);
            since.is_some_and(|since| now.duration_since(since) > most) && !self.long_told.contains(*path)
        };
        let path = self.unsettled.iter().find(long)?.clone();
        self.long_told.insert(path.clone());
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(500);

    /// Files by name, length and age in milliseconds at the moment of the list.
    struct World {
        state: State,
        start: Instant,
        clock: SystemTime,
        at_ms: u64,
    }

    impl World {
        fn new() -> World {
            let (start, clock) = (Instant::now(), SystemTime::now());
            World { state: State::default(), start, clock, at_ms: 0 }
        }

        fn listing(&self, files: &[(&str, u64, u64)]) -> Listing {
            let clock = self.clock + Duration::from_millis(self.at_ms);
            let stamp = |bytes, age| Stamp { bytes, modified: Some(clock - Duration::from_millis(age)) };
            let file =
                |(name, bytes, age): &(&str, u64, u64)| (Path::new("/f").join(name), stamp(*bytes, *age));
            Listing { files: files.iter().map(file).collect() }
        }

        fn decide(&mut self, files: &[(&str, u64, u64)]) -> Decision {
            let passed = Duration::from_millis(self.at_ms);
            let listing = self.listing(files);
            self.state.decide(
                &listing,
                &[PathBuf::from("/f")],
                SETTLE,
                self.start + passed,
                self.clock + passed,
            )
        }

        fn pass(&mut self, files: &[(&str, u64, u64)], problems: &[Problem]) -> usize {
            let Decision::Pass { except, sync } = self.decide(files) else { panic!("a pass is due") };
            let pass = WatchPass { folders: Vec::new(), except, sync, has_files: true };
            self.state.passed(&self.listing(files), &pass, problems).len()
        }
    }

    fn pass(except: &[&str], sync: bool) -> Decision {
        Decision::Pass { except: except.iter().map(|name| Path::new("/f").join(name)).collect(), sync }
    }

    #[test]
    fn a_file_is_read_once_it_rests() {
        let mut world = World::new();
        let old = ("old.txt", 3, 9_000);
        world.pass(&[old], &[]);
        world.at_ms = 1_000;
        let old = ("old.txt", 3, 10_000);
        assert_eq!(world.decide(&[old]), Decision::Nothing);
        assert_eq!(world.decide(&[old, ("new.txt", 1, 100)]), Decision::Wait(Duration::from_millis(400)));
        world.at_ms = 1_400;
        let old = ("old.txt", 3, 10_400);
        assert_eq!(world.decide(&[old, ("new.txt", 2, 50)]), Decision::Wait(Duration::from_millis(450)));
        // Another file that is ready does not wait for the one that is written.
        assert_eq!(
            world.decide(&[old, ("new.txt", 3, 0), ("moved.txt", 1, 7_000)]),
            pass(&["new.txt"], true)
        );
        world.at_ms = 2_000;
        let old = ("old.txt", 3, 11_000);
        assert_eq!(world.decide(&[old, ("new.txt", 3, 600), ("moved.txt", 1, 7_600)]), pass(&[], true));
    }

    #[test]
    fn a_time_in_the_future_rests_by_our_own_clock() {
        let mut world = World::new();
        world.pass(&[], &[]);
        let listing = |world: &World| {
            let stamp = Stamp { bytes: 1, modified: Some(world.clock + Duration::from_secs(3_600)) };
            Listing { files: BTreeMap::from([(PathBuf::from("/f/a.txt"), stamp)]) }
        };
        let decide = |world: &mut World, ms: u64| {
            let (listing, passed) = (listing(world), Duration::from_millis(ms));
            let (now, clock) = (world.start + passed, world.clock + passed);
            world.state.decide(&listing, &[PathBuf::from("/f")], SETTLE, now, clock)
        };
        assert_eq!(decide(&mut world, 0), Decision::Wait(SETTLE));
        assert_eq!(decide(&mut world, 600), pass(&[], true));
    }

    #[test]
    fn what_is_gone_must_stay_gone_for_a_while() {
        let mut world = World::new();
        world.pass(&[("a.txt", 1, 9_000), ("b.txt", 1, 9_000)], &[]);
        world.at_ms = 100;
        assert_eq!(world.decide(&[("b.txt", 1, 9_100)]), Decision::Wait(SETTLE));
        world.at_ms = 300;
        // Replaced: removed and written anew.
        assert_eq!(
            world.decide(&[("a.txt", 2, 100), ("b.txt", 1, 9_300)]),
            Decision::Wait(Duration::from_millis(400))
        );
        // Others are read meanwhile, without removing it.
        assert_eq!(world.decide(&[("b.txt", 1, 9_300), ("c.txt", 1, 9_000)]), pass(&[], false));
        world.at_ms = 900;
        assert_eq!(world.decide(&[("b.txt", 1, 9_900)]), pass(&[], true));
        world.pass(&[("b.txt", 1, 9_900)], &[]);
        assert_eq!(world.decide(&[("b.txt", 1, 9_900)]), Decision::Nothing);
    }

    #[test]
    fn an_empty_folder_at_the_start_removes_nothing() {
        let mut world = World::new();
        assert_eq!(world.decide(&[]), pass(&[], false));
        world.pass(&[], &[]);
        assert_eq!(world.decide(&[("a.txt", 1, 9_000)]), pass(&[], true));
    }

    #[test]
    fn what_lies_below_a_missing_folder_is_not_gone() {
        let mut world = World::new();
        world.pass(&[("a.txt", 1, 9_000)], &[]);
        let later = world.start + Duration::from_secs(9);
        let decision = world.state.decide(&Listing::default(), &[], SETTLE, later, world.clock);
        assert_eq!(decision, Decision::Nothing);
        assert!(world.state.gone.is_empty());
    }

    #[test]
    fn a_problem_is_told_once_until_the_file_changes() {
        let mut world = World::new();
        let problem = Problem {
            path: PathBuf::from("/f/bad.txt"),
            reason: "it is no text".to_owned(),
            hint: None,
            is_partial: false,
        };
        let problems = std::slice::from_ref(&problem);
        assert_eq!(world.pass(&[("bad.txt", 1, 9_000)], problems), 1);
        assert_eq!(world.decide(&[("bad.txt", 1, 9_000)]), Decision::Nothing);
        // It is passed over when another file is read.
        let both = [("bad.txt", 1, 9_000), ("good.txt", 1, 9_000)];
        assert_eq!(world.decide(&both), pass(&["bad.txt"], true));
        assert_eq!(world.pass(&both, &[]), 0);
        // Changed, it is read again, and told again only if it was well meanwhile.
        assert_eq!(world.pass(&[("bad.txt", 2, 9_000), both[1]], problems), 0);
        assert_eq!(world.pass(&[("bad.txt", 3, 9_000), both[1]], &[]), 0);
        assert_eq!(world.pass(&[("bad.txt", 4, 9_000), both[1]], problems), 1);
    }

    #[test]
    fn failures_and_long_written_files_are_told_once() {
        let mut world = World::new();
        assert!(world.state.is_new_failure("locked") && !world.state.is_new_failure("locked"));
        world.pass(&[], &[]);
        assert!(world.state.is_new_failure("locked"), "a pass went well meanwhile");
        for at_ms in (0..40_000).step_by(100) {
            world.at_ms = at_ms;
            assert!(matches!(world.decide(&[("log.txt", at_ms, 0)]), Decision::Wait(_)));
        }
        let now = world.start + Duration::from_millis(world.at_ms);
        assert_eq!(world.state.long_written(Duration::from_secs(60), now), None);
        let most = Duration::from_secs(30);
        assert_eq!(world.state.long_written(most, now), Some(PathBuf::from("/f/log.txt")));
        assert_eq!(world.state.long_written(most, now), None);
    }
}
