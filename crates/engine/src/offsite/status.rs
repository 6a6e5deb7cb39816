//! How sending goes, for `/health` and for metrics.

use super::{ObjectStore, Pushed};
use crate::error::Error;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The other place and how sending to it goes.
#[derive(Clone, Debug)]
pub struct OffsiteState {
    /// Its address, without any secret.
    pub address: String,
    /// By collection; those of which nothing was sent since the start are missing.
    pub collections: BTreeMap<String, OffsiteStatus>,
}

/// How sending the backups of one collection goes, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsiteStatus {
    /// When the newest backup that is known to be there was taken, seconds since 1970.
    pub newest_unix_s: Option<u64>,
    /// Backups that were sent.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<String>,
}

/// What the engine keeps of the other place.
#[derive(Default)]
pub(crate) struct Offsite {
    pub(super) store: OnceLock<Arc<dyn ObjectStore>>,
    /// Held while something is sent, fetched or removed.
    pub(super) work: Mutex<()>,
    told: Mutex<BTreeMap<String, OffsiteStatus>>,
}

impl Offsite {
    pub(super) fn tell(&self, collection: &str, taken_unix_s: u64, pushed: Result<&Pushed, &Error>) {
        let mut told = self.lock();
        let status = told.entry(collection.to_owned()).or_default();
        match pushed {
            Ok(_) => {
                status.newest_unix_s = status.newest_unix_s.max(Some(taken_unix_s));
                status.sent += 1;
                status.error = None;
            }
            Err(error) => {
                status.failed += 1;
                status.error = Some(error.message.clone());
            }
        }
    }

    /// Whether this backup, or a newer one, was sent since the start.
    pub(super) fn has(&self, collection: &str, taken_unix_s: u64) -> bool {
        self.lock().get(collection).and_then(|status| status.newest_unix_s) >= Some(taken_unix_s)
    }

    /// Why the newest backup of a collection is not in the other place.
    pub(crate) fn warning(&self, collection: &str) -> Option<String> {
        let error = self.lock().get(collection)?.error.clone()?;
        Some(format!("its backup was not sent to the other place, which is tried again: {error}"))
    }

    pub(super) fn told(&self) -> BTreeMap<String, OffsiteStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, OffsiteStatus>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
