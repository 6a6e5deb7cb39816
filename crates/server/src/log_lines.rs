//! The lines of a service's log on their way to stderr: whoever tells something puts it down and goes on, and a thread writes.
//!
//! A reader of stderr that stops (a full pipe, a held terminal, a log collector that hangs) would otherwise stop the requests that tell
//! something, and soon all of them (decision 0125). Invariants: telling never waits for the reader; what waits is bounded in bytes; what finds no
//! room, or cannot be written, is counted as lost and told of once lines are read again; at the end of the process what waits has a second to leave.
//!
//! A line after a pause is written at once; those that follow gather for [`GATHER`]. Waking the thread for each of thousands cost as much as
//! making them (decision 0141).

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Most that waits for the reader, in bytes: some thousand lines.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// How often it is told, at most, that lines were lost.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long lines gather after some were written; a process that is killed loses those of this time.
const GATHER: Duration = Duration::from_millis(10);
/// Longest that the end of the process waits for a reader.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// The lines of this process, for its metrics.
static OWN: OnceLock<Lines> = OnceLock::new();

/// Where lines are put down; clones share it.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Shared>);

struct Shared {
    bytes_max: usize,
    state: Mutex<State>,
    /// Told when the first line comes to an empty buffer.
    filled: Condvar,
    /// Told when all has been written.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines in `waiting`.
    lines: u64,
    writes: bool,
    lost: u64,
}

/// Dropped at the end of the process: waits for the last lines, for a bounded time.
pub(crate) struct LastWords(Lines);

/// Lines to stderr, by a thread of their own.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn to_stderr() -> io::Result<(Lines, LastWords)> {
    let lines = Lines::new(WAITING_BYTES_MAX);
    let _ = OWN.set(lines.clone());
    let tell = |lost| tracing::warn!(lost, "lines of this log were lost: its reader was too slow");
    lines.start(io::stderr(), GATHER, TELL_EVERY, tell)?;
    Ok((lines.clone(), LastWords(lines)))
}

/// Lines of this process that nobody will read.
pub(crate) fn lost() -> u64 {
    OWN.get().map_or(0, |lines| lines.lock().lost)
}

impl Lines {
    fn new(bytes_max: usize) -> Lines {
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        Lines(Arc::new(Shared { bytes_max, state: Mutex::default(), filled, emptied }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread that writes; `tell` is how it says that lines were lost.
    fn start(
        &self,
        to: impl Write + Send + 'static,
        gather: Duration,
        tell_every: Duration,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<()> {
        let lines = self.clone();
        let work = move || lines.write_on(to, gather, tell_every, tell);
        std::thread::Builder::new().name("log".to_owned()).spawn(work)?;
        Ok(())
    }

    /// Writes what comes, for ever.
    fn write_on(&self, mut to: impl Write, gather: Duration, tell_every: Duration, tell: impl Fn(u64)) {
        let (mut batch, mut told, mut told_at, mut is_read) = (Vec::new(), 0, None::<Instant>, true);
        loop {
            let mut state = self.lock();
            let loss = loop {
                // Where nobody reads, nobody is told.
                let loss = if is_read { state.lost - told } else { 0 };
                let is_due = loss > 0 && told_at.is_none_or(|at| at.elapsed() >= tell_every);
                if is_due || !state.waiting.is_empty() {
                    break if is_due { loss } else { 0 };
                }
                let filled = &self.0.filled;
                state = match loss {
                    0 => filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                    _ => filled.wait_timeout(state, tell_every).unwrap_or_else(PoisonError::into_inner).0,
                };
            };
            std::mem::swap(&mut state.waiting, &mut batch);
            let lines = std::mem::take(&mut state.lines);
            state.writes = true;
            drop(state);
            if loss > 0 {
                (told, told_at) = (told + loss, Some(Instant::now()));
                // Now there is room for it, behind what was told before the loss.
                tell(loss);
            }
            if !batch.is_empty() {
                is_read = to.write_all(&batch).and_then(|()| to.flush()).is_ok();
                batch.clear();
            }
            let mut state = self.lock();
            state.writes = false;
            if !is_read {
                state.lost += lines;
            }
            if state.waiting.is_empty() {
                self.0.emptied.notify_all();
            }
            drop(state);
            std::thread::sleep(gather);
        }
    }
}

impl Write for Lines {
    /// Puts down a line, or several, as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > self.0.bytes_max {
            state.lost += 1;
        } else {
            state.lines += 1;
            state.waiting.extend_from_slice(line);
            if state.lines == 1 {
                self.0.filled.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        let state = self.0.lock();
        let waits = |state: &mut State| state.writes || !state.waiting.is_empty();
        drop(self.0.0.emptied.wait_timeout_while(state, LAST_WORDS_MAX, waits));
    }
}

/// A log that a test reads.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Kept {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

#[cfg(test)]
impl Write for Kept {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A reader that takes a batch when it is asked to, and goes away when it is dropped.
    struct Slow(SyncSender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let batch = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(batch).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow(bytes_max: usize, gather: Duration) -> (Lines, Receiver<String>) {
        let (lines, (given, read)) = (Lines::new(bytes_max), sync_channel(0));
        let told = lines.clone();
        let tell = move |lost| told.clone().write_all(format!("lost {lost}\n").as_bytes()).unwrap();
        lines.start(Slow(given), gather, Duration::ZERO, tell).unwrap();
        (lines, read)
    }

    fn until(what: impl Fn() -> bool) {
        let started = Instant::now();
        while !what() {
            assert!(started.elapsed() < PATIENCE, "it does not happen");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_reader_that_stops_stops_nobody_and_hears_later_what_was_lost() {
        let (lines, read) = slow(1_000, Duration::ZERO);
        let line = [b'x'; 99].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        lines.clone().write_all(&line).unwrap();
        // The thread holds the first line, and ten fit behind it.
        until(|| lines.lock().waiting.is_empty());
        for _ in 0..25 {
            lines.clone().write_all(&line).unwrap();
        }
        assert_eq!(lines.lock().lost, 15);
        assert_eq!(read.recv_timeout(PATIENCE).unwrap().lines().count(), 1);
        assert_eq!(read.recv_timeout(PATIENCE).unwrap().lines().count(), 10);
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), "lost 15\n");
        assert_eq!(lines.lock().lost, 15);
    }

    #[test]
    fn lines_after_a_pause_are_written_at_once_and_those_that_follow_together() {
        let gather = Duration::from_millis(500);
        let (mut lines, read) = slow(1_000, gather);
        let started = Instant::now();
        lines.write_all(b"first\n").unwrap();
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), "first\n");
        assert!(started.elapsed() < gather, "{:?}", started.elapsed());
        for line in [b"a\n", b"b\n", b"c\n"] {
            lines.write_all(line).unwrap();
        }
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), "a\nb\nc\n");
        assert!(started.elapsed() >= gather, "{:?}", started.elapsed());
    }

    #[test]
    fn what_waits_at_the_end_is_written_and_a_reader_that_has_stopped_is_not_waited_for() {
        let (mut lines, read) = slow(1_000, Duration::ZERO);
        lines.write_all(b"last\n").unwrap();
        let reader = std::thread::spawn(move || (read.recv_timeout(PATIENCE).unwrap(), read));
        drop(LastWords(lines.clone()));
        assert!(!lines.lock().writes, "it was written before the end");
        let (last, read) = reader.join().unwrap();
        assert_eq!(last, "last\n");
        lines.write_all(b"unread\n").unwrap();
        let started = Instant::now();
        drop(LastWords(lines.clone()));
        assert!((LAST_WORDS_MAX..PATIENCE).contains(&started.elapsed()), "{:?}", started.elapsed());
        // Gone for good: counted, and no line about it goes round and round.
        drop(read);
        until(|| lines.lock().lost == 1);
        lines.write_all(b"into the void\n").unwrap();
        until(|| lines.lock().lost == 2);
    }
}
