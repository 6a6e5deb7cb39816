//! `bilin doctor`: what of machine, limits, disk, port, models and data is not as it should be, and what to change.

use super::{Context, Exit, Failure};
use crate::doctor::{Check, State, examine, probe};
use crate::printer::{BOLD, DIM};
use clap::Args;

/// Exit code 1 when something keeps bilin from working; a warning alone is no reason.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Only ask a running service whether it lives, such as http://127.0.0.1:8000
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

pub(super) fn run(args: &Doctor, context: &Context) -> Result<Exit, Failure> {
    let checks = match &args.server {
        Some(url) => vec![probe(url)],
        None => examine(&context.config),
    };
    let printer = &context.printer;
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in &checks {
        if printer.is_json() {
            printer.record("check", check)?;
            continue;
        }
        let Check { name, state, found, advice } = check;
        let word = match state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failure => "failure",
        };
        printer.line(format_args!("{word:<7}  {BOLD}{name:width$}{BOLD:#}  {found}"))?;
        if let Some(advice) = advice {
            printer.line(format_args!("{:9}{:width$}  {DIM}{advice}{DIM:#}", "", ""))?;
        }
    }
    let failed = checks.iter().any(|check| check.state == State::Failure);
    Ok(if failed { Exit::Mendable } else { Exit::Success })
}
