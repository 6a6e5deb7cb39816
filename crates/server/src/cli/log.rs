//! Logs on stderr: warnings for commands, what happens for the service. Pretty or JSON; the filter can be exchanged while
//! the service runs; the newest warnings and errors are kept beside it ([`crate::recent`]). A command waits for whoever reads its stderr, a
//! service does not ([`crate::log_lines`]).

use super::Failure;
use crate::log_lines::{self, LastWords};
use crate::recent;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

fn parse(filter: Option<&str>, serves: bool) -> Result<EnvFilter, Failure> {
    let default = if serves { "warn,bilin=info,bilin_server=info" } else { "warn" };
    let words = filter.unwrap_or(default);
    EnvFilter::try_new(words).map_err(|error| {
        Failure::usage(format!("log filter {words:?} cannot be read: {error}"))
            .with_hint("use a level (error, warn, info, debug, trace) or MODULE=LEVEL, separated by commas")
    })
}

/// Starts logging once per process. What comes back is kept until its end, for the last lines to be written.
pub(super) fn start(filter: Option<&str>, serves: bool, json: bool) -> Result<Option<LastWords>, Failure> {
    let (filter, handle) = reload::Layer::new(parse(filter, serves)?);
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (writer, last_words) = if serves {
        let (lines, last_words) = log_lines::to_stderr()
            .map_err(|error| Failure::mendable(format!("cannot start the log's thread: {error}")))?;
        std::panic::set_hook(Box::new(tell_of_panic));
        (BoxMakeWriter::new(move || lines.clone()), Some(last_words))
    } else {
        (BoxMakeWriter::new(io::stderr), None)
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours).with_target(false);
    let lines = if json { lines.json().boxed() } else { lines.compact().boxed() };
    // With the hint, for a filter that may want anything has every line of every library made for it to look at.
    let wants = || FilterFn::new(recent::wants).with_max_level_hint(LevelFilter::INFO);
    let kept = serves.then(|| recent::Recent.with_filter(wants()));
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).with(kept).try_init();
    // A second start in one process (tests of the library) keeps the first.
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(last_words)
}

/// A panic is a line of the log: what the standard library tells of it would wait for the reader of stderr.
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let (thread, at) = (std::thread::current(), panic.location().map(ToString::to_string));
    // As the standard library does: only where RUST_BACKTRACE asks for one.
    let trace = Backtrace::capture();
    let backtrace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    let said = panic.payload_as_str().unwrap_or("a value that is no text");
    tracing::error!(thread = thread.name(), at, backtrace, "panic: {said}");
}

/// Takes another filter of a service.
pub(super) fn change(filter: Option<&str>) -> Result<(), Failure> {
    let filter = parse(filter, true)?;
    let Some(handle) = FILTER.get() else { return Ok(()) };
    handle.reload(filter).map_err(|error| Failure::internal(format!("cannot change the log filter: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_lines::Kept;

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let kept = Kept::default();
        let to = kept.clone();
        let layer = tracing_subscriber::fmt::layer().json().with_writer(move || to.clone());
        // Those of other tests go there meanwhile, too, each to the log of its thread.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(tell_of_panic));
        let panicked = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            std::panic::catch_unwind(|| panic!("of {}", "a test's own"))
        });
        std::panic::set_hook(before);
        assert!(panicked.is_err());
        let line: serde_json::Value = serde_json::from_str(&kept.text()).unwrap();
        assert_eq!(
            (&line["level"], &line["fields"]["message"]),
            (&"ERROR".into(), &"panic: of a test's own".into())
        );
        assert!(line["fields"]["at"].as_str().is_some_and(|at| at.contains("log.rs:")), "{line}");
    }
}
