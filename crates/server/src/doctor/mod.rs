//! What a person would look at before the first start, and when something is odd: machine, limits, disk, port, models, data,
//! and what it talks to.
//!
//! Each check says what was found and, where that is not well, what to change. It changes nothing itself, but that opening the
//! data folder does what every command's opening does. A warning is what will hurt some day, a failure what keeps bilin from
//! working as it should.

mod machine;
mod others;
mod service;
mod storage;

pub use service::probe;

use crate::config::Config;
use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and may not for long.
    Warning,
    /// It does not work.
    Failure,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it ended.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to change; null where nothing has to be.
    pub advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, state: State::Ok, found: found.into(), advice: None }
    }

    fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { name, state: State::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    fn failure(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { name, state: State::Failure, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Looks at everything.
pub fn examine(config: &Config) -> Vec<Check> {
    let data = storage::Data::look(config);
    let mut checks =
        vec![machine::cpu(), machine::memory(data.bytes), machine::open_files(), machine::clock()];
    checks.extend(data.checks());
    checks.extend([service::port(config, data.is_in_use()), service::key(config)]);
    checks.extend(service::models(config));
    checks.extend(
        [others::shared_cache(config), others::followed(config), others::offsite(config)]
            .into_iter()
            .flatten(),
    );
    checks
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests;
