//! Following the folder that a primary sends its backups to: each is taken in once its manifest is there, which is written
//! after all of its parts were.

use super::Source;
use crate::cli::Failure;
use crate::offsite;
use bilin_engine::{Backup, Engine, Error, RemoteBackup};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The folder, as the engine's place for backups beyond this machine.
pub(super) struct Folder {
    newest: BTreeMap<String, RemoteBackup>,
}

impl Folder {
    pub(super) fn new(folder: &Path, engine: &Engine) -> Result<Folder, Failure> {
        let cannot = |why: String| {
            Failure::mendable(format!("cannot follow {:?}: {why}", folder.display().to_string()))
                .with_hint("expected a folder that a server sends its backups to (backups.remote_url = \"file:///...\"), or the address of a server")
        };
        let folder = folder.canonicalize().map_err(|error| cannot(error.to_string()))?;
        offsite::connect_folder(engine, &folder).map_err(|error| cannot(error.to_string()))?;
        Ok(Folder { newest: BTreeMap::new() })
    }
}

impl Source for Folder {
    fn collections(&mut self, engine: &Engine) -> Result<(BTreeSet<String>, BTreeSet<String>), Error> {
        let list = engine.offsite_backups(None)?;
        // By collection, newest first.
        self.newest.clear();
        for backup in list.good {
            self.newest.entry(backup.collection.clone()).or_insert(backup);
        }
        for reason in list.bad {
            tracing::warn!("a backup that cannot be used is passed over: {reason}");
        }
        // A folder of backups does not tell what was removed: backups outlive their collection.
        // What is here and not there stays, since nobody said that it is gone.
        let here = engine.collections().into_iter().map(|info| info.name).collect();
        Ok((self.newest.keys().cloned().collect(), here))
    }

    fn newest(&mut self, engine: &Engine, name: &str, have: Option<u64>) -> Result<Option<Backup>, Error> {
        let Some(newest) = self.newest.get(name) else { return Ok(None) };
        if have == Some(newest.taken_unix_s) {
            return Ok(None);
        }
        engine.fetch_offsite(name, Some(newest.taken_unix_s)).map(Some)
    }
}
