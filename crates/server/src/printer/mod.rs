//! Everything that the command line writes goes through the [`Printer`].
//!
//! stdout carries data only, stderr progress, notes and errors. Colours and bars appear only on a terminal; `NO_COLOR` is
//! obeyed (by `anstream`). A reader that goes away (`bilin ... | head`) ends the command quietly with exit code 0.
//!
//! # `--json`
//! JSON Lines on stdout: one object per line, each with a `type`. Fields may be added, never renamed.
//!
//! | command | lines |
//! |---|---|
//! | `search` | one `answer`: `collection`, `query` (its words, or `null`), `top_k`, `count`, `results` (best first: `rank`, `id`, `ordinal`, `score`, `similarity`, `l2_distance`, `text`, `metadata`), `seq`, `timings_ms` |
//! | `add` | a `problem` (`path`, `reason`, `hint`) as each is met, then one `added` with the counts |
//! | `collections` | one `collection` each: `name`, `kind`, `count`, `documents`, `model`, `query_prompt` and `document_prompt` (`null` where they are the model's own), `long_texts`, `headings`, `dim`, `metric`, `index`, `target_recall`, `recall`, `generation`, `tail`, `disk_bytes`, `seq`, `health`, `warnings`; a `broken` (`name`, `reason`) for one that cannot be opened |
//! | `collections --maintain` | one `maintained` each: `name`, `done` |
//! | `duplicates` | one `duplicates` per group: `kind` (`exact` or `near`), `count`, `items` (each `id`, `ordinal`, `similarity`, `metadata`); then one `looked`: `collection`, `groups`, `examined`, `complete` |
//! | `delete` | one `deleted`: `collection`, `documents`, `seq`; with `--all` one `removed`: `collection` |
//! | `import faiss` | one `imported`: `collection`, `source` (the index in FAISS's words), `items`, `added`, `updated`, `created`, `exact`, `metric`, `dim`, `seq`, `elapsed_ms` |
//! | `export faiss` | one `exported`: `collection`, `index_file`, `metadata_file`, `index`, `items`, `bytes` |
//! | `encode` | one `vector` per line of input: `line` (from 1), `vector` |
//! | `verify` | one `verified` each: `collection`, `seq`, `documents`, `items`, `row_blocks`, `index_bytes`; or one `damaged`: `collection`, `reason` |
//! | `backup` | one `backup` each: `collection`, `time`, `seq`, `documents`, `items`, `bytes`, `path`; with `--list` also a `bad_backup` (`collection`, `path`, `reason`) for each that cannot be used |
//! | `restore` | one `restored`, with the fields of `backup` |
//! | `tune` | one `study` (its fields are those of `bilin_engine::Study`: `rows`, `measured_rows`, `queries`, `target_recall`, `indexes` with `build_s`, `bytes` and `points`, `reason`, `left_out`, `before`, `applied`, ...) |
//! | `tune --quick` | one `tuned`: `collection`, `index`, `before`, `rows`, `pilot_rows`, `target_recall`, `memory_bytes`, `reason`, `applied`, `candidates` (each `index`, `verdict`, `pilot_recall_at_10`, `pilot_query_us`, `query_us`, `build_s`, `bytes`) |
//! | `eval` | one `evaluation` (its fields are those of `bilin_engine::eval::Evaluation`: `questions`, `nowhere`, `runs` with `setting`, `figures`, `groups`, `latency`, `answers`, and `comparisons`); with `--against` also one `against`: `comparisons` |
//! | `eval --questions-from` | the lines of a questions file, without a `type` |
//! | `bench` | one `bench` per index and setting (always JSON) |
//! | `doctor` | one `check` each: `name`, `state` (`ok`, `warning`, `failure`), `found`, `advice` (`null` where nothing is to change) |
//! | `config` | one `setting` each: `key`, `value` (`null` when unset), `origin`, `variable` |
//! | `model` | one `model` each: `id`, `revision`, `space`, `dim`, `modality`, `max_tokens`, `query_prompt`, `document_prompt`, `licence`, `bytes`, and of one at a path `precision`, `disk_bytes`, `made_from`, `pulled_from`; `list` has a `pulled_model` (`id`, `path`, `licence`, `precision`, `disk_bytes`, `made_from`, `pulled_from`) for each that was pulled |
//! | `model pull` | one `pulled`: `name`, `path`, `from`, `endpoint`, `revision`, `bytes`, `was_there` |
//! | `model quantize` | one `quantized`: `id`, `revision`, `precision`, `weights_bytes_before`, `weights_bytes`, `compared`, `smallest_cosine`, `largest_difference` |
//! | `model check` | one `checked`: `id`, `compared`, `largest_difference`, `smallest_cosine`, `worst` (from 1), `max_difference`, `min_cosine`, `is_within` |
//! | `key` | one `key` each: `id`, `name`, `role`, `collections` (`null` for all), `rate_per_s`, `created`, `expires`, `revoked`; from `create` also `key`, the secret |
//! | `serve` | one `listening`: `url` |
//! | `demo` | two `added` and five `answer`s as above, then `listening` |
//!
//! Errors stay on stderr in their human form; a script reads the exit code.

mod bars;
mod table;
mod wrap;

pub use bars::Bar;
pub use table::table;
pub use wrap::excerpt;

use crate::cli::Failure;
use clap::builder::styling::{AnsiColor, Style};
use indicatif::MultiProgress;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Bold red, for `error:`.
const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Bold yellow, for `warning:`.
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Bold cyan, for `hint:`.
const HINT: Style = AnsiColor::Cyan.on_default().bold();
/// Bold, for headings and ranks.
pub const BOLD: Style = Style::new().bold();
/// Bold yellow, for what a query found in a text.
pub const HIT: Style = AnsiColor::Yellow.on_default().bold();
/// Dimmed, for what stands beside the point.
pub const DIM: Style = Style::new().dimmed();

/// Columns used when stdout is no terminal.
const PLAIN_COLUMNS: usize = 100;

/// Owns what is written, to where, and how.
pub struct Printer {
    json: bool,
    quiet: bool,
    bars: MultiProgress,
    shows_bars: bool,
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    r#type: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

impl Printer {
    /// `json`: JSON Lines on stdout. `quiet`: no notes and no bars. `no_progress`: no bars.
    pub fn new(json: bool, quiet: bool, no_progress: bool) -> Printer {
        let shows_bars = !quiet && !no_progress && io::stderr().is_terminal();
        Printer { json, quiet, bars: bars::target(shows_bars), shows_bars }
    }

    /// Whether `--json` was asked for.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether people read stdout on a terminal: where it is none, and for scripts, nothing but text is written.
    pub fn is_terminal(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Columns that text for people may use.
    pub fn columns(&self) -> usize {
        if !io::stdout().is_terminal() {
            return PLAIN_COLUMNS;
        }
        terminal_size::terminal_size().map_or(PLAIN_COLUMNS, |(width, _)| usize::from(width.0).max(40))
    }

    /// One tagged JSON object on a line of stdout.
    ///
    /// # Errors
    /// stdout is closed or cannot be written.
    pub fn record<T: Serialize>(&self, tag: &'static str, body: &T) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(&Tagged { r#type: tag, body })
            .map_err(|error| Failure::internal(format!("cannot write a {tag:?} record: {error}")))?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// A line of stdout for people.
    ///
    /// # Errors
    /// stdout is closed or cannot be written.
    pub fn line(&self, text: impl Display) -> Result<(), Failure> {
        self.bars.suspend(|| writeln!(anstream::stdout(), "{text}")).map_err(Failure::output)
    }

    /// Raw bytes of stdout.
    ///
    /// # Errors
    /// stdout is closed or cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.bars
            .suspend(|| {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            })
            .map_err(Failure::output)
    }

    /// What is going on, on stderr; hidden by `--quiet`.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            self.stderr(text);
        }
    }

    /// Something that the user should know although the command goes on.
    pub fn warning(&self, text: impl Display) {
        self.stderr(format_args!("{WARNING}warning:{WARNING:#} {text}"));
    }

    /// An input that was left out, with the reason.
    pub fn problem(&self, path: &str, reason: &str, hint: Option<&str>) {
        self.told("problem", path, reason, hint);
    }

    /// A part of an input that was left out, with the reason.
    pub fn partial(&self, path: &str, reason: &str, hint: Option<&str>) {
        self.told("warning", path, reason, hint);
    }

    fn told(&self, word: &str, path: &str, reason: &str, hint: Option<&str>) {
        self.stderr(format_args!("{WARNING}{word}:{WARNING:#} {path}: {reason}"));
        if let Some(hint) = hint {
            self.stderr(format_args!("  {HINT}hint:{HINT:#} {hint}"));
        }
    }

    /// `error: ...`, its causes, a blank line and `hint: ...`.
    pub fn failure(&self, failure: &Failure) {
        if failure.message().is_empty() {
            return;
        }
        self.stderr(format_args!("{ERROR}error:{ERROR:#} {}", failure.message()));
        for cause in failure.causes() {
            self.stderr(format_args!("  caused by: {cause}"));
        }
        if let Some(hint) = failure.hint() {
            self.stderr(format_args!("\n{HINT}hint:{HINT:#} {hint}"));
        }
    }

    /// A bar over a known number of things, drawn on a terminal only.
    pub fn bar(&self, what: &'static str, total: Option<u64>) -> Bar {
        Bar::new(&self.bars, self.shows_bars, what, total)
    }

    /// A bar over a share of `total`, drawn on a terminal only.
    pub fn share(&self, what: &'static str, total: u64) -> Bar {
        Bar::of_share(&self.bars, self.shows_bars, what, total)
    }

    /// Nobody reads a closed stderr, so a failure to write there is no failure of the command.
    fn stderr(&self, text: impl Display) {
        self.bars.suspend(|| {
            let _ = writeln!(anstream::stderr(), "{text}");
        });
    }
}
