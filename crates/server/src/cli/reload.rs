//! Reading the configuration anew on SIGHUP: what can change while a service runs is taken over, what else has changed is
//! named with "after a restart", and a configuration that cannot be used changes nothing.

use super::{Context, Failure, log};
use crate::config::{Config, LIVE, Setting};
use crate::http::{Fresh, Reread};
use std::sync::{Mutex, PoisonError};

/// What reads it anew, from the same file and under the same flags.
pub(super) fn reread(context: &Context) -> Reread {
    let (file, flags) = context.sources.clone();
    let before = Mutex::new(context.config.settings.clone());
    Box::new(move || match Config::read(file.as_deref(), &flags).and_then(|config| take(config, &before)) {
        Ok(fresh) => Some(fresh),
        Err(failure) => {
            tracing::error!(
                hint = failure.hint(),
                "the configuration was not read anew, all stays as it was: {}",
                failure.message()
            );
            None
        }
    })
}

fn take(config: Config, before: &Mutex<Vec<Setting>>) -> Result<Fresh, Failure> {
    log::change(config.log.as_deref())?;
    let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
    // Names alone: a value may be a secret.
    for (old, new) in before.iter_mut().zip(&config.settings).filter(|(old, new)| old.value != new.value) {
        if LIVE.contains(&new.key.name) {
            tracing::info!("{} has changed and counts from now on", new.key.name);
            *old = new.clone();
        } else {
            tracing::warn!("{} has changed, which counts after a restart only", new.key.name);
        }
    }
    let telling = config.service.telling();
    Ok(Fresh { access: config.access, tls: config.service.tls, telling })
}
