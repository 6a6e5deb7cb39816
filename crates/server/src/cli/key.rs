//! `bilin key`: makes, lists and takes back the keys of a data folder. A server that runs takes changes over within a second.

use super::{Context, Exit, Failure};
use crate::access::{Audit, Entry, Key, KeyError, KeyFile, NewKey, Role, Secret};
use crate::printer::DIM;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a key; it is shown this once and kept as a hash only
    Create(Create),
    /// List the keys, without their secrets
    List(List),
    /// Take a key back
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// For people: who or what uses it
    name: String,
    /// read: searching; write: documents and new collections, too; admin: everything
    #[arg(long, default_value_t = Role::Read)]
    role: Role,
    /// Only for this collection; may be repeated
    #[arg(long = "collection", value_name = "COLLECTION")]
    collections: Vec<String>,
    /// How long it is good, such as 90d or 12h [default: until it is taken back]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// Requests in a second; 0 is no bound [default: serve.rate_limit_per_s]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those that were taken back and those that have ended, too
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Its id or its name
    key: String,
}

#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    name: &'a str,
    role: Role,
    collections: Option<&'a [String]>,
    rate_per_s: Option<u32>,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
    /// Only where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

pub(super) fn run(command: &Keys, context: &Context) -> Result<Exit, Failure> {
    let file = KeyFile::of(&context.config.engine.data);
    match command {
        Keys::Create(wish) => create(wish, &file, context),
        Keys::List(wish) => list(wish, &file, context),
        Keys::Revoke(wish) => revoke(wish, &file, context),
    }
}

fn create(wish: &Create, file: &KeyFile, context: &Context) -> Result<Exit, Failure> {
    let expires_unix_s = match wish.expires_in {
        Some(after) => Some(until(after)?),
        None => None,
    };
    let made = file.create(NewKey {
        name: wish.name.clone(),
        role: wish.role,
        collections: (!wish.collections.is_empty()).then(|| wish.collections.clone()),
        expires_unix_s,
        rate_per_s: wish.rate,
    })?;
    write_down("key create", &made.key, context);
    let Secret { key, secret } = made;
    if context.printer.is_json() {
        context.printer.record("key", &record(&key, Some(&secret)))?;
        return Ok(Exit::Success);
    }
    context.printer.line(&secret)?;
    let (id, name, role) = (&key.id, &key.name, key.role);
    context.printer.note(format_args!("key {id} ({name}, {role}) was made; it is not shown again"));
    Ok(Exit::Success)
}

fn until(after: Duration) -> Result<u64, Failure> {
    let end = SystemTime::now().checked_add(after).and_then(|end| end.duration_since(UNIX_EPOCH).ok());
    // What RFC 3339 can write down.
    end.map(|since| since.as_secs()).filter(|end| *end < 253_402_300_800).ok_or_else(|| {
        Failure::usage("--expires-in lies too far ahead")
            .with_hint("leave it out for a key that does not end")
    })
}

fn list(wish: &List, file: &KeyFile, context: &Context) -> Result<Exit, Failure> {
    let now = crate::access::now_unix_s();
    let is_good = |key: &Key| key.revoked_unix_s.is_none() && key.expires_unix_s.is_none_or(|end| end > now);
    let keys: Vec<Key> = file.read()?.into_iter().filter(|key| wish.all || is_good(key)).collect();
    if context.printer.is_json() {
        keys.iter().try_for_each(|key| context.printer.record("key", &record(key, None)))?;
        return Ok(Exit::Success);
    }
    if keys.is_empty() {
        context.printer.note("there are no keys: bilin key create NAME makes one");
        return Ok(Exit::Success);
    }
    for key in &keys {
        let scope = key.collections.as_ref().map_or("all collections".to_owned(), |names| names.join(", "));
        let mut state = match (key.revoked_unix_s, key.expires_unix_s) {
            (Some(at), _) => format!("taken back {}", shown(at)),
            (None, Some(end)) if end <= now => format!("ended {}", shown(end)),
            (None, Some(end)) => format!("good until {}", shown(end)),
            (None, None) => "good".to_owned(),
        };
        if let Some(rate) = key.rate_per_s.filter(|rate| *rate > 0) {
            state.push_str(&format!(", {rate} requests a second"));
        }
        let (id, name, role) = (&key.id, &key.name, key.role.to_string());
        context.printer.line(format_args!("{id}  {role:5}  {name}  {DIM}{scope}; {state}{DIM:#}"))?;
    }
    Ok(Exit::Success)
}

fn revoke(wish: &Revoke, file: &KeyFile, context: &Context) -> Result<Exit, Failure> {
    let key = file.revoke(&wish.key)?;
    write_down("key revoke", &key, context);
    if context.printer.is_json() {
        context.printer.record("key", &record(&key, None))?;
        return Ok(Exit::Success);
    }
    context.printer.line(format_args!("{} ({}) was taken back", key.id, key.name))?;
    Ok(Exit::Success)
}

/// A change that was made is not undone because it could not be written down.
fn write_down(what: &str, key: &Key, context: &Context) {
    let Some(options) = context.config.access.audit.clone() else { return };
    let entry = Entry {
        time: Entry::now(),
        request: "",
        who: "command line",
        what: what.to_owned(),
        on: Some(key.id.clone()),
        status: 200,
    };
    if let Err(error) = Audit::new(options).write(&entry) {
        context.printer.warning(format_args!("cannot write the audit log: {error}"));
    }
}

fn record<'a>(key: &'a Key, secret: Option<&'a str>) -> Record<'a> {
    Record {
        id: &key.id,
        name: &key.name,
        role: key.role,
        collections: key.collections.as_deref(),
        rate_per_s: key.rate_per_s,
        created: shown(key.created_unix_s),
        expires: key.expires_unix_s.map(shown),
        revoked: key.revoked_unix_s.map(shown),
        key: secret,
    }
}

fn shown(unix_s: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_s)).to_string()
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        let failure = Failure::mendable(error.to_string());
        match error {
            KeyError::Damaged { .. } => failure.with_hint(
                "put the file back from a copy, or remove keys.json and make new keys with bilin key create",
            ),
            KeyError::Io { .. } => failure.with_hint("check the folder's permissions and the disk's space"),
            KeyError::Refused(_) => failure.with_hint("bilin key list --all shows the keys there are"),
        }
    }
}
