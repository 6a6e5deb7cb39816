//! A damaged collection gives way to its newest good backup, by itself, and says so until someone has read it.
//!
//! Invariants: nothing is deleted (the damaged folder moves to `quarantine/`); a backup is used only after every byte of it
//! was compared with its manifest; what happened is kept in the restored catalog, so that it is told after every restart
//! until [`Collection::acknowledge`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::Backup;
use crate::catalog;
use crate::collection::Collection;
use crate::data_dir::DataDir;
use crate::error::{StoreError, commits};
use crate::{time, witness};

/// What happened when a damaged collection was replaced.
#[derive(Clone, Debug)]
pub struct FailOver {
    /// What was damaged.
    pub reason: String,
    /// The backup that serves now.
    pub backup: Backup,
    /// Where the damaged folder is kept.
    pub quarantined: PathBuf,
    /// Which commits are missing, in words.
    pub missing: String,
}

/// A collection, and what happened if it is not the one that was.
type Serving = (Arc<Collection>, Option<FailOver>);

impl DataDir {
    /// Opens a collection; when its rows or its catalog are damaged, puts the newest good backup in its place. When only its
    /// newest commits are missing and no backup has more, it is opened as it is, with an incident that names them.
    ///
    /// # Errors
    /// Those of [`DataDir::open_collection`]; the first of them too when no backup can take its place, and nothing was
    /// changed then.
    pub fn open_or_fail_over(&self, name: &str) -> Result<Serving, StoreError> {
        let damage = match self.open_collection(name) {
            Ok(collection) => return Ok((collection, None)),
            Err(error @ (StoreError::Corrupt { .. } | StoreError::CommitsMissing { .. })) => error,
            Err(error) => return Err(error),
        };
        if let StoreError::CommitsMissing { found, .. } = damage {
            if let Some(replaced) = self.fall_back(name, &damage, Some(found))? {
                return Ok(replaced);
            }
            // No backup has more: the collection serves what it has and says what is missing, if that fits together.
            return match self.open_with_loss(name) {
                Ok(collection) => Ok((collection, None)),
                Err(error @ StoreError::Corrupt { .. }) => self.fall_back(name, &error, None)?.ok_or(error),
                Err(error) => Err(error),
            };
        }
        self.fall_back(name, &damage, None)?.ok_or(damage)
    }

    /// Puts the newest good backup in the place of a damaged collection; with `newer_than`, only one of a later commit.
    fn fall_back(
        &self,
        name: &str,
        damage: &StoreError,
        newer_than: Option<u64>,
    ) -> Result<Option<Serving>, StoreError> {
        for backup in self.list_backups(name)?.good {
            if newer_than.is_some_and(|seq| backup.seq <= seq) {
                break;
            }
            match self.replace_damaged(&backup, damage) {
                Ok((collection, fail_over)) => {
                    tracing::error!(
                        collection = name,
                        reason = fail_over.reason,
                        backup = %backup.path.display(),
                        quarantined = %fail_over.quarantined.display(),
                        missing = fail_over.missing,
                        "damaged collection replaced by a backup"
                    );
                    return Ok(Some((collection, Some(fail_over))));
                }
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(collection = name, backup = %backup.path.display(), %error, "backup is damaged too");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn replace_damaged(
        &self,
        backup: &Backup,
        damage: &StoreError,
    ) -> Result<(Arc<Collection>, FailOver), StoreError> {
        let folder = self.folder(&backup.collection);
        let last = last_seq(&folder.join(catalog::FILE_NAME)).max(witness::last_seq(self.disk(), &folder));
        let missing = missing(backup, last);
        let reason = damage.to_string();
        let told = format!(
            "replaced at {} by the backup of {}, because {reason}; {missing}",
            time::utc(time::now()),
            time::utc(backup.taken_unix_s)
        );
        let (collection, quarantined) = self.replace(backup, |aside| {
            let connection = catalog::open_writer(self.disk(), aside)?;
            catalog::set_incident(&connection, Some(&told))
                .map_err(|source| crate::error::catalog_error("write down what happened", source))?;
            catalog::trust(&connection)
        })?;
        Ok((collection, FailOver { reason, backup: backup.clone(), quarantined, missing }))
    }
}

impl Collection {
    /// What happened to the collection that somebody should know; told until acknowledged.
    pub fn incident(&self) -> Option<String> {
        self.health().incident.clone()
    }

    /// Somebody has read what happened.
    ///
    /// # Errors
    /// Those of the catalog.
    pub fn acknowledge(&self) -> Result<(), StoreError> {
        self.set_incident(None)
    }
}

/// The last commit of a damaged collection, when its catalog can be asked.
fn last_seq(path: &Path) -> Option<u64> {
    let connection = catalog::open_to_read(path).ok()?;
    catalog::state(&connection).ok().map(|state| state.seq)
}

fn missing(backup: &Backup, last: Option<u64>) -> String {
    match last {
        Some(last) if last == backup.seq => "no commit is missing".to_owned(),
        Some(last) if last > backup.seq => format!("{} missing", commits(backup.seq, last)),
        _ => format!("commits after {} are missing", backup.seq),
    }
}
