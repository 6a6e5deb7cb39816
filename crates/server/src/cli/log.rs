//! Logs on stderr: warnings for commands, what happens for the service; `--json` makes them JSON.

use super::Failure;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// Starts logging once per process.
pub(super) fn start(filter: Option<&str>, serves: bool, json: bool) -> Result<(), Failure> {
    let default = if serves { "warn,bilin=info,bilin_server=info" } else { "warn" };
    let words = filter.unwrap_or(default);
    let filter = EnvFilter::try_new(words).map_err(|error| {
        Failure::usage(format!("log filter {words:?} cannot be read: {error}"))
            .with_hint("use a level (error, warn, info, debug, trace) or MODULE=LEVEL, separated by commas")
    })?;
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false);
    // A second start in one process (tests of the library) keeps the first.
    let _ = if json { builder.json().try_init() } else { builder.compact().try_init() };
    Ok(())
}
