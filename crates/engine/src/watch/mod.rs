//! Watching folders: what is new, changed, renamed or gone below them comes into a collection within seconds.
//!
//! Events of the operating system ([`events`]) only say *when* to look. What is there then is listed ([`listing`]), compared with
//! what was there at the last pass ([`state`]), and where that differs the ordinary incremental add with `sync` runs over the
//! folders. So an event that is lost, doubled or out of order changes nothing but the moment; where there are none (network
//! folders, too many folders for the system's limits) the list is made every few seconds instead; and what happened while nobody
//! watched is caught up with by the first pass.
//!
//! Invariants:
//! * A file that is still written is left alone until its length and time have rested; so is one whose name has just vanished.
//! * A folder that is not there, or on which nothing is mounted any more, is waited for; nothing that was added from it goes.
//! * A problem is told once, until the file changes or the problem does.

mod events;
mod listing;
mod looking_after;
mod state;

pub(crate) use looking_after::WatchBoard;
pub use looking_after::{WatchStatus, Watchers};

use crate::add::AddReport;
use crate::error::{Error, ErrorKind};
use bilin_ingest::Problem;
use events::{Bell, Events};
use listing::{Listing, Place};
use state::{Decision, State};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// A burst of events is over when none came for so long,
const QUIET: Duration = Duration::from_millis(100);
/// and is looked at after so long in any case.
const LONGEST_BURST: Duration = Duration::from_millis(800);
/// Where events come, the list is made so often all the same.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);
/// Listing takes one part in so many of the time at most, however large the folder.
const LISTING_PART: u32 = 10;
/// Wait after a pass that failed as a whole; doubled each time, up to the longest.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// A file that is written for longer than this is told, once.
const LONG_WRITTEN: Duration = Duration::from_secs(30);
/// How often who watches is asked whether to stop.
const ASK: Duration = Duration::from_millis(200);

/// When to look, and what counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchTiming {
    /// A file's length and time must have rested for so long before it is read.
    pub settle: Duration,
    /// How often folders are listed from which no events come.
    pub poll_every: Duration,
}

impl Default for WatchTiming {
    fn default() -> WatchTiming {
        WatchTiming { settle: Duration::from_millis(500), poll_every: Duration::from_secs(2) }
    }
}

/// A pass that is due.
#[derive(Clone, Debug)]
pub struct WatchPass {
    /// The folders that are there.
    pub folders: Vec<PathBuf>,
    /// Files that are passed over this time; their documents stay as they are.
    pub except: BTreeSet<PathBuf>,
    /// Whether documents of files that are gone go.
    pub sync: bool,
    /// Files to read are there at all; a collection that does not exist need not be made without any.
    pub has_files: bool,
}

/// What happens while watching; for people and figures.
#[derive(Debug)]
pub enum WatchEvent<'a> {
    /// A folder is watched from now on.
    Watching {
        /// The folder.
        folder: PathBuf,
        /// Why it is listed every few seconds, where no events come from it.
        polling: Option<String>,
    },
    /// A folder cannot be looked at; nothing that was added from it goes.
    Missing {
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is nothing to read in any of the folders at the start; nothing goes until there is.
    Empty,
    /// A pass is over.
    Passed {
        /// What it did.
        report: &'a AddReport,
        /// Files in the folders.
        files: usize,
        /// Of them, those that are still written.
        waiting: usize,
    },
    /// A file could not be added, which was not told yet.
    Problem(&'a Problem),
    /// A pass failed as a whole; it is tried again.
    Failed(&'a Error),
    /// A file has been written to for long; it is taken when that ends.
    StillWritten(PathBuf),
}

/// Who runs the passes and is told.
pub trait Watching {
    /// Runs a pass; `None` = there was nothing to run it for.
    ///
    /// # Errors
    /// Those of [`crate::Engine::add_paths`]. [`ErrorKind::Cancelled`] ends the watching.
    fn pass(&mut self, pass: &WatchPass) -> Result<Option<AddReport>, Error>;
    /// Something happened.
    fn tell(&mut self, event: WatchEvent<'_>);
    /// `true` ends the watching.
    fn stopped(&self) -> bool;
}

/// Watches `folders` (or single files) until `watching` says stop.
///
/// # Errors
/// That of the first pass; later ones are told and tried again.
pub fn watch(folders: &[PathBuf], timing: WatchTiming, watching: &mut dyn Watching) -> Result<(), Error> {
    let mut places: Vec<Place> = folders.iter().cloned().map(Place::new).collect();
    let mut watch = Watch {
        timing,
        bell: Bell::default(),
        events: Events::default(),
        state: State::default(),
        retry: RETRY,
        listed_in: Duration::ZERO,
    };
    while !watching.stopped() {
        let wait = match watch.look(&mut places, watching) {
            Ok(wait) => wait,
            Err(error) if error.kind == ErrorKind::Cancelled => return Ok(()),
            Err(error) if !watch.state.has_passed() => return Err(error),
            Err(error) => {
                if watch.state.is_new_failure(&error.message) {
                    watching.tell(WatchEvent::Failed(&error));
                }
                watch.wait_quietly(watch.retry, watching);
                watch.retry = (watch.retry * 2).min(LONGEST_RETRY);
                continue;
            }
        };
        watch.retry = RETRY;
        watch.wait(wait, watching);
    }
    Ok(())
}

struct Watch {
    timing: WatchTiming,
    bell: Bell,
    events: Events,
    state: State,
    retry: Duration,
    /// What the last listing took.
    listed_in: Duration,
}

impl Watch {
    /// Lists, compares, and runs a pass if one is due; how long to wait for an event then.
    fn look(&mut self, places: &mut [Place], watching: &mut dyn Watching) -> Result<Duration, Error> {
        let present: Vec<PathBuf> = places
            .iter_mut()
            .filter_map(|place| match place.look() {
                Ok(folder) => Some(folder),
                Err(reason) => {
                    if let Some(reason) = reason {
                        watching.tell(WatchEvent::Missing { folder: place.folder.clone(), reason });
                    }
                    None
                }
            })
            .collect();
        for (folder, polling) in self.events.follow(&present, &self.bell) {
            watching.tell(WatchEvent::Watching { folder, polling });
        }
        // What comes from here on is not in the list, and rings again.
        self.bell.hush();
        let started = Instant::now();
        let listing = Listing::of(&present);
        self.listed_in = started.elapsed();
        if !self.state.has_passed() && listing.files.is_empty() && !present.is_empty() {
            watching.tell(WatchEvent::Empty);
        }
        match self.state.decide(&listing, &present, self.timing.settle, Instant::now(), SystemTime::now()) {
            _ if present.is_empty() => Ok(self.timing.poll_every),
            Decision::Pass { except, sync } => {
                self.pass(&listing, present, except, sync, watching)?;
                // Right again: something may have changed meanwhile, or rests only now.
                Ok(Duration::ZERO)
            }
            Decision::Wait(wait) => {
                if let Some(path) = self.state.long_written(LONG_WRITTEN, Instant::now()) {
                    watching.tell(WatchEvent::StillWritten(path));
                }
                Ok(wait)
            }
            Decision::Nothing if self.events.are_complete() && places.len() == present.len() => {
                Ok(LOOK_ANYWAY)
            }
            Decision::Nothing => Ok(self.timing.poll_every),
        }
    }

    fn pass(
        &mut self,
        listing: &Listing,
        folders: Vec<PathBuf>,
        except: BTreeSet<PathBuf>,
        sync: bool,
        watching: &mut dyn Watching,
    ) -> Result<(), Error> {
        let has_files = listing.files.keys().any(|path| !except.contains(path));
        let waiting = self.state.waiting();
        let pass = WatchPass { folders, except, sync, has_files };
        let report = watching.pass(&pass)?;
        let problems = report.as_ref().map_or(&[][..], |report| &report.problems);
        for problem in self.state.passed(listing, &pass, problems) {
            watching.tell(WatchEvent::Problem(problem));
        }
        if let Some(report) = &report {
            watching.tell(WatchEvent::Passed { report, files: listing.files.len(), waiting });
        }
        Ok(())
    }

    /// Waits for an event and the end of its burst, `longest` at most.
    fn wait(&self, longest: Duration, watching: &dyn Watching) {
        // A large folder is not listed all the time, however often its files change.
        self.wait_quietly(self.listed_in * LISTING_PART, watching);
        let rung = self.until(longest, watching, |bell, slice| bell.wait(slice));
        let burst = Instant::now() + LONGEST_BURST;
        while rung && !watching.stopped() && Instant::now() < burst {
            self.bell.hush();
            if !self.bell.wait(QUIET) {
                break;
            }
        }
    }

    /// Waits, whatever happens.
    fn wait_quietly(&self, time: Duration, watching: &dyn Watching) {
        self.until(time, watching, |_, slice| {
            std::thread::sleep(slice);
            false
        });
    }

    /// Calls `wait` for slices of `time` until it answers `true`, or who watches says stop.
    fn until(&self, time: Duration, watching: &dyn Watching, wait: impl Fn(&Bell, Duration) -> bool) -> bool {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || watching.stopped() {
                return false;
            }
            if wait(&self.bell, left.min(ASK)) {
                return true;
            }
        }
    }
}
