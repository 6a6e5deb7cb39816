//! Logs on stderr: warnings for commands, what happens for the service. Pretty or JSON; the filter can be exchanged while
//! the service runs; the newest warnings and errors are kept beside it ([`crate::recent`]).

use super::Failure;
use crate::recent;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
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

/// Starts logging once per process.
pub(super) fn start(filter: Option<&str>, serves: bool, json: bool) -> Result<(), Failure> {
    let (filter, handle) = reload::Layer::new(parse(filter, serves)?);
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours).with_target(false);
    let lines = if json { lines.json().boxed() } else { lines.compact().boxed() };
    // With the hint, for a filter that may want anything has every line of every library made for it to look at.
    let wants = || FilterFn::new(recent::wants).with_max_level_hint(LevelFilter::INFO);
    let kept = serves.then(|| recent::Recent.with_filter(wants()));
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).with(kept).try_init();
    // A second start in one process (tests of the library) keeps the first.
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// Takes another filter of a service.
pub(super) fn change(filter: Option<&str>) -> Result<(), Failure> {
    let filter = parse(filter, true)?;
    let Some(handle) = FILTER.get() else { return Ok(()) };
    handle.reload(filter).map_err(|error| Failure::internal(format!("cannot change the log filter: {error}")))
}
