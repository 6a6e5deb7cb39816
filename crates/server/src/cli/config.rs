//! `bilin config`: every setting with its value and where that came from; `--default`: a file to start from.

use super::{Context, Exit, Failure};
use crate::config::{Config, KEYS, Setting};
use crate::printer::DIM;
use clap::Args;
use serde::Serialize;

/// What is shown instead of a secret.
const REDACTED: &str = "(set, not shown)";

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Print a bilin.toml with the defaults and their meanings
    #[arg(long)]
    pub(super) default: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    key: &'a str,
    value: Option<&'a str>,
    origin: String,
    variable: &'a str,
}

pub(super) fn run(args: &Show, context: &Context) -> Result<Exit, Failure> {
    let printer = &context.printer;
    if args.default {
        if printer.is_json() {
            let settings = Config::defaults()?.settings;
            return settings.iter().try_for_each(|setting| record(setting, context)).map(|()| Exit::Success);
        }
        return default_file().lines().try_for_each(|line| printer.line(line)).map(|()| Exit::Success);
    }
    let width = KEYS.iter().map(|key| key.name.len()).max().unwrap_or(0);
    for setting in &context.config.settings {
        if printer.is_json() {
            record(setting, context)?;
        } else {
            let value = shown(setting).unwrap_or("(unset)");
            let origin = &setting.origin;
            printer.line(format_args!("{:width$}  {value}  {DIM}{origin}{DIM:#}", setting.key.name))?;
        }
    }
    Ok(Exit::Success)
}

fn record(setting: &Setting, context: &Context) -> Result<(), Failure> {
    let record = Record {
        key: setting.key.name,
        value: shown(setting),
        origin: setting.origin.to_string(),
        variable: setting.key.variable,
    };
    context.printer.record("setting", &record)
}

fn shown(setting: &Setting) -> Option<&str> {
    let value = setting.value.as_deref()?;
    Some(if setting.key.is_secret { REDACTED } else { value })
}

/// The defaults as TOML; what has no default is a comment.
fn default_file() -> String {
    let mut text = String::from("# bilin.toml: flags and BILIN_* variables win over this file.\n");
    let mut table = "";
    for key in KEYS {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != table {
            text.push_str(&format!("\n[{of}]\n"));
            table = of;
        }
        let value = match (key.default, key.is_text) {
            (Some(value), true) => format!("{name} = {value:?}"),
            (Some(value), false) => format!("{name} = {value}"),
            (None, _) => format!("# {name} = \"\""),
        };
        text.push_str(&format!("# {} ({})\n{value}\n", key.about, key.variable));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_toml_and_names_every_key() {
        let text = default_file();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["serve"]["listen"].as_str(), Some("127.0.0.1:8000"));
        for key in KEYS {
            assert!(text.contains(key.name.rsplit('.').next().unwrap()), "{}", key.name);
        }
    }
}
