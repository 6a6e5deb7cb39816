//! The command line: one file per command, global flags here.
//!
//! A command gets its arguments and a `Context` and returns an [`Exit`] or a [`Failure`]. What can be judged from the
//! command line alone (types, ranges, the grammar of specs and filters) clap refuses as usage, exit code 2; what depends
//! on the disk or the data is the engine's to refuse, exit code 1.

mod add;
mod backup;
mod bench;
mod collections;
mod config;
mod delete;
mod demo;
mod doctor;
mod duplicates;
mod encode;
mod eval;
mod export;
mod failure;
mod import;
mod key;
mod log;
mod merge;
mod model;
mod open;
mod reencode;
mod reload;
mod restore;
mod search;
mod serve;
mod tune;
mod urls;
mod values;
mod verify;
mod watch;

pub use failure::{Exit, Failure, exit_of};

use crate::config::{Config, Flag};
use crate::printer::Printer;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 nothing found, or something you can mend; 2 wrong usage, or a mistake of ours.
Data goes to standard output, progress and errors to standard error.
Settings: flag > BILIN_* variable > bilin.toml > default; bilin config shows them all.";

/// Make a folder of documents or pictures searchable by meaning, and keep serving it.
#[derive(Debug, Parser)]
#[command(name = "bilin", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Data folder [default: ./bilin-data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file [default: ./bilin.toml where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// JSON Lines on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Nothing but data, warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// No progress bars
    #[arg(long, global = true)]
    no_progress: bool,
    /// Log filter, such as info or bilin_engine=debug
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Index a sample course and sample pictures, search them, serve them
    Demo(demo::Demo),
    /// Add files and folders to a collection
    Add(add::Add),
    /// Search a collection by text, picture, vector or likeness
    Search(search::Search),
    /// Serve HTTP and the page
    Serve(serve::Serve),
    /// List collections, or maintain their indexes
    Collections(collections::Collections),
    /// Find what is in a collection twice, or nearly
    Duplicates(duplicates::DuplicatesArgs),
    /// Delete documents, or a whole collection
    Delete(delete::Delete),
    /// Unite collections of one vector space
    Merge(merge::Merge),
    /// Move a collection to another model: everything encoded anew, switched in one step
    Reencode(reencode::Reencode),
    /// Take in a FAISS index with its metadata
    #[command(subcommand)]
    Import(import::Import),
    /// Write a collection as a FAISS index with its metadata
    #[command(subcommand)]
    Export(export::Export),
    /// Turn lines of text into vectors (.npy on standard output)
    Encode(encode::Encode),
    /// Read collections back whole and compare them with their checksums
    Verify(verify::Verify),
    /// Back collections up, or list their backups
    Backup(backup::BackUp),
    /// Put a backup in the place of a collection
    Restore(restore::Restore),
    /// Measure which index suits a collection and how hard to search it: recall against speed
    Tune(tune::Tune),
    /// Measure how well questions with known answers are answered, and why not better
    Eval(eval::Eval),
    /// Measure indexes: recall against queries per second
    Bench(bench::Bench),
    /// Show, fetch, quantize and check models
    #[command(subcommand)]
    Model(model::Model),
    /// Make, list and take back the keys that requests bring
    #[command(subcommand)]
    Key(key::Keys),
    /// Show every setting and where its value comes from
    Config(config::Show),
    /// Check machine, limits, disk, port, models and data, and say what to change
    Doctor(doctor::Doctor),
}

/// What every command gets.
struct Context {
    printer: Printer,
    config: Config,
    /// What the configuration was read from, to read it anew.
    sources: (Option<PathBuf>, Vec<Flag>),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A help text whose reader went away is still a success.
            let _ = error.print();
            return code(if error.use_stderr() { Exit::Fault } else { Exit::Success });
        }
    };
    let printer = Printer::new(cli.global.json, cli.global.quiet, cli.global.no_progress);
    match start(cli, printer) {
        Ok(exit) => code(exit),
        Err((printer, failure)) => {
            printer.failure(&failure);
            code(failure.exit())
        }
    }
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

fn start(cli: Cli, printer: Printer) -> Result<Exit, (Printer, Failure)> {
    let flags = cli.flags();
    let config = match Config::read(cli.global.config.as_deref(), &flags) {
        Ok(config) => config,
        // Its work is to show what a file should look like, also when the one that is there is wrong.
        Err(_) if matches!(&cli.command, Command::Config(show) if show.default) => match Config::defaults() {
            Ok(config) => config,
            Err(failure) => return Err((printer, failure)),
        },
        Err(failure) => return Err((printer, failure)),
    };
    let serves = matches!(cli.command, Command::Serve(_));
    let json_logs = config.service.json_logs.unwrap_or(printer.is_json());
    let _last_words = match log::start(config.log.as_deref(), serves, json_logs) {
        Ok(last_words) => last_words,
        Err(failure) => return Err((printer, failure)),
    };
    if let Some(library) = &config.onnxruntime {
        bilin_engine::use_onnxruntime(library);
    }
    let context = Context { printer, config, sources: (cli.global.config.clone(), flags) };
    run(cli.command, &context).map_err(|failure| (context.printer, failure))
}

fn run(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => demo::run(&args, context),
        Command::Add(args) => add::run(&args, context),
        Command::Search(args) => search::run(&args, context),
        Command::Serve(args) => serve::run(&args, context),
        Command::Collections(args) => collections::run(&args, context),
        Command::Duplicates(args) => duplicates::run(&args, context),
        Command::Delete(args) => delete::run(&args, context),
        Command::Merge(args) => merge::run(&args, context),
        Command::Reencode(args) => reencode::run(&args, context),
        Command::Import(args) => import::run(&args, context),
        Command::Export(args) => export::run(&args, context),
        Command::Encode(args) => encode::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Backup(args) => backup::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Tune(args) => tune::run(&args, context),
        Command::Eval(args) => eval::run(&args, context),
        Command::Bench(args) => bench::run(&args, context),
        Command::Model(args) => model::run(&args, context),
        Command::Key(args) => key::run(&args, context),
        Command::Config(args) => config::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
    }
}

impl Cli {
    /// Flags that set what a file or a variable may set as well.
    fn flags(&self) -> Vec<Flag> {
        let mut flags: Vec<Flag> = Vec::new();
        if let Some(data) = &self.global.data {
            flags.push(("data", data.display().to_string(), "--data"));
        }
        if let Some(log) = &self.global.log {
            flags.push(("log", log.clone(), "--log"));
        }
        let listen = match &self.command {
            Command::Serve(serve) => serve.listen,
            Command::Demo(demo) => demo.listen,
            _ => None,
        };
        if let Some(listen) = listen {
            flags.push(("serve.listen", listen.to_string(), "--listen"));
        }
        if let Command::Search(search::Search { rerank_model: Some(model), .. }) = &self.command {
            flags.push(("rerank.model", model.clone(), "--rerank-model"));
        }
        if let Command::Search(search::Search { pictures: Some(how), .. }) = &self.command
            && let Some(name) = how.to_possible_value()
        {
            flags.push(("terminal.pictures", name.get_name().to_owned(), "--pictures"));
        }
        if let Command::Serve(serve::Serve { watch, .. }) = &self.command
            && !watch.is_empty()
        {
            flags.push(("watch.sources", watch.join(";"), "--watch"));
        }
        if let Command::Serve(serve::Serve { follow: Some(from), .. }) = &self.command {
            flags.push(("follow.from", from.clone(), "--follow"));
        }
        if let Command::Serve(serve::Serve { model: Some(model), .. }) = &self.command {
            flags.push(("models.text", model.clone(), "--model"));
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
