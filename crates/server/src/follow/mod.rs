//! A server that follows another: it takes in that one's newest commits, serves them, and takes no changes of its own.
//!
//! `bilin serve --follow URL` asks the primary for copies; `--follow DIR` reads the folder that the primary sends its backups
//! to (`backups.remote_url = file:///DIR`). Invariants: what is served was read back whole after it arrived; each collection is
//! exchanged in one step; [`Following::lag`] is the time since the last moment at which everything here is known to have
//! been what the source had, so that it grows while the source cannot be reached; a data folder that holds collections of its
//! own is never followed into. See `docs/decisions/0108-replicas.md`.

mod folder;
mod http;

use crate::cli::Failure;
use crate::config::Config;
use bilin_engine::{Backup, Engine, Error};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// In the data folder of a follower; says that its collections are another's.
const MARK: &str = "following";

/// What to follow.
#[derive(Clone)]
pub struct FollowConfig {
    /// Address of the primary, or the folder of its backups.
    pub from: String,
    /// Key for the primary.
    pub key: Option<String>,
    /// How often it is asked.
    pub every: Duration,
    /// From which lag on `/readyz` says no.
    pub max_lag: Duration,
}

impl std::fmt::Debug for FollowConfig {
    /// Without the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FollowConfig").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Where copies come from.
trait Source: Send {
    /// The collections there are, and those that must stay as they are here since nobody knows.
    fn collections(&mut self, engine: &Engine) -> Result<(BTreeSet<String>, BTreeSet<String>), Error>;
    /// The newest copy of a collection, taken in; `None` where it is the one that was taken in as `have`.
    fn newest(&mut self, engine: &Engine, name: &str, have: Option<u64>) -> Result<Option<Backup>, Error>;
}

/// How following goes.
pub struct Following {
    from: String,
    max_lag: Duration,
    started: Instant,
    in_step: Mutex<Option<Instant>>,
    failure: Mutex<Option<String>>,
    switches: AtomicU64,
    bytes: Arc<AtomicU64>,
}

impl Following {
    /// What is followed, as it was configured.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// Time since everything here is known to have been what the source had; since the start when it never was.
    pub fn lag(&self) -> Duration {
        self.in_step.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(self.started).elapsed()
    }

    /// Why it may not be asked: nothing was taken over yet, or too long ago.
    pub fn not_ready(&self) -> Option<String> {
        let reached = self.in_step.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let lag = self.lag();
        if reached && lag <= self.max_lag {
            return None;
        }
        let what = if reached { "is behind" } else { "has not yet taken over everything from" };
        Some(format!(
            "this replica {what} {} ({:.0} s, at most {} s)",
            self.from,
            lag.as_secs_f64(),
            self.max_lag.as_secs()
        ))
    }

    /// Why the last pass failed; `None` when it did not.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its figures in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        let lines = [
            (
                "bilin_follow_lag_seconds",
                "gauge",
                "Time since this replica was known to be in step with its source.",
                self.lag().as_secs_f64(),
            ),
            (
                "bilin_follow_switches_total",
                "counter",
                "Collections that were exchanged for a newer copy.",
                self.switches.load(Ordering::Relaxed) as f64,
            ),
            (
                "bilin_follow_bytes_total",
                "counter",
                "Bytes that came from the primary.",
                self.bytes.load(Ordering::Relaxed) as f64,
            ),
            (
                "bilin_follow_failing",
                "gauge",
                "1 while the last pass failed.",
                f64::from(u8::from(self.failure().is_some())),
            ),
        ];
        lines
            .iter()
            .map(|(name, kind, help, value)| {
                format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
            })
            .collect()
    }
}

/// Makes sure that a data folder may be followed into, or that a follower's may be served as one's own from now on.
pub fn claim(config: &Config, engine: &Engine) -> Result<(), Failure> {
    let data = &config.engine.data;
    let mark = data.join(MARK);
    let cannot = |error: std::io::Error| {
        Failure::mendable(format!("cannot write {:?}: {error}", mark.display().to_string()))
    };
    match &config.follow {
        Some(follow) => {
            let has_own = !engine.collections().is_empty() || !engine.health().broken.is_empty();
            if has_own && !mark.exists() {
                return Err(Failure::mendable(format!(
                    "the data folder {:?} holds collections of its own; a replica's are those of {}",
                    data.display().to_string(),
                    follow.from
                ))
                .with_hint("name an empty folder with --data DIR"));
            }
            std::fs::write(&mark, format!("{}\n", follow.from)).map_err(cannot)
        }
        // From here on it changes by itself, and may not be overwritten by following again.
        None if mark.exists() => std::fs::remove_file(&mark).map_err(cannot),
        None => Ok(()),
    }
}

/// Follows until it is dropped. What is under way then is not waited for: a copy counts whole or not at all, whenever the
/// process ends.
pub struct Follower {
    _stop: Sender<()>,
}

/// Begins to follow.
///
/// # Errors
/// An address or a folder that cannot be followed.
pub fn start(config: &Config, engine: &Arc<Engine>) -> Result<Option<(Follower, Arc<Following>)>, Failure> {
    let Some(follow) = &config.follow else { return Ok(None) };
    let bytes = Arc::new(AtomicU64::new(0));
    let source: Box<dyn Source> =
        match follow.from.starts_with("http://") || follow.from.starts_with("https://") {
            true => Box::new(http::Primary::new(follow, Arc::clone(&bytes))?),
            false => Box::new(folder::Folder::new(Path::new(&follow.from), engine)?),
        };
    let following = Arc::new(Following {
        from: follow.from.clone(),
        max_lag: follow.max_lag,
        started: Instant::now(),
        in_step: Mutex::default(),
        failure: Mutex::default(),
        switches: AtomicU64::new(0),
        bytes,
    });
    let (stop, stopped) = channel();
    let (engine, told, every) = (Arc::clone(engine), Arc::clone(&following), follow.every);
    let thread = std::thread::Builder::new().name("bilin-follow".to_owned()).spawn(move || {
        let mut here = standing(&engine);
        let mut source = source;
        loop {
            pass(&engine, &mut *source, &mut here, &told);
            if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    thread.map_err(|error| Failure::mendable(format!("cannot start a thread: {error}")))?;
    Ok(Some((Follower { _stop: stop }, following)))
}

/// What there is to follow, for a person; nothing is taken over.
///
/// # Errors
/// A server that does not answer or refuses, a folder that cannot be read.
pub fn look(follow: &FollowConfig) -> Result<String, Failure> {
    let from = &follow.from;
    if from.starts_with("http://") || from.starts_with("https://") {
        let there = http::Primary::new(follow, Arc::default())?.names()?;
        return Ok(format!("{from} answers, with {} collections", there.0.len()));
    }
    let read = std::fs::read_dir(from).and_then(|mut entries| entries.next().transpose());
    match read {
        Ok(_) => Ok(format!("{from} can be read")),
        Err(error) => Err(Failure::mendable(format!("cannot read {from:?}: {error}"))
            .with_hint("expected a folder that a server sends its backups to, or the address of a server")),
    }
}

/// The copies that stand in their places, from before this start.
fn standing(engine: &Engine) -> BTreeMap<String, u64> {
    let mut here = BTreeMap::new();
    for list in engine.backups(None).unwrap_or_default() {
        let Some(newest) = list.good.first() else { continue };
        if engine.collection(&list.collection).is_ok_and(|info| info.status.seq == newest.seq) {
            here.insert(list.collection, newest.taken_unix_s);
        }
    }
    here
}

/// One look at the source, and all that follows from it. One collection that fails does not stop the others.
fn pass(engine: &Engine, source: &mut dyn Source, here: &mut BTreeMap<String, u64>, told: &Following) {
    let began = Instant::now();
    let failure = match source.collections(engine) {
        Err(error) => Some(error.to_string()),
        Ok((there, unknown)) => {
            let mut failed = None;
            for name in &there {
                if let Err(error) = take_over(engine, source, name, here, told) {
                    failed = Some(format!("collection {name:?}: {error}"));
                }
            }
            for info in engine.collections() {
                if !there.contains(&info.name) && !unknown.contains(&info.name) {
                    tracing::info!(collection = info.name, "removed, as on the primary");
                    here.remove(&info.name);
                    failed = engine.remove(&info.name).err().map(|error| error.to_string()).or(failed);
                }
            }
            failed
        }
    };
    let mut before = told.failure.lock().unwrap_or_else(PoisonError::into_inner);
    match &failure {
        None => *told.in_step.lock().unwrap_or_else(PoisonError::into_inner) = Some(began),
        // Each failure is told of once.
        Some(why) if before.as_ref() != Some(why) => tracing::warn!(from = told.from, "cannot follow: {why}"),
        Some(_) => {}
    }
    *before = failure;
}

fn take_over(
    engine: &Engine,
    source: &mut dyn Source,
    name: &str,
    here: &mut BTreeMap<String, u64>,
    told: &Following,
) -> Result<(), Error> {
    let Some(copy) = source.newest(engine, name, here.get(name).copied())? else { return Ok(()) };
    engine.supersede(&copy)?;
    here.insert(name.to_owned(), copy.taken_unix_s);
    told.switches.fetch_add(1, Ordering::Relaxed);
    tracing::info!(collection = name, seq = copy.seq, "took over a newer commit");
    Ok(())
}
