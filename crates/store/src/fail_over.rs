//! A damaged collection gives way to its newest good backup, by itself, and says so until someone has read it.
//!
//! Invariants: nothing is deleted (the damaged folder moves to `quarantine/`); a backup is used only after every byte of it
//! was compared with its manifest; what happened is kept in the restored catalog, so that it is told after every restart
//! until [`Collection::acknowledge`]. Damage that no backup can mend is marked in the collection's folder (`damaged.txt`),
//! so that opening it, which reads only a part of a large collection, does not take it for good again: it is then read
//! whole, and the mark goes when nothing is wrong with it any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::Backup;
use crate::catalog;
use crate::collection::Collection;
use crate::data_dir::DataDir;
use crate::error::{StoreError, catalog_error, commits, io_error};
use crate::{time, witness};

/// Says in a collection's folder that it is damaged, and since when.
const MARK: &str = "damaged.txt";

/// Changes a copy before it takes its place.
type Prepare<'a> = Box<dyn FnOnce(&Path) -> Result<(), StoreError> + 'a>;

/// Puts a backup, prepared, in the place of a collection; returns it and where the one before went.
type Replace<'a> = dyn Fn(&Backup, Prepare<'_>) -> Result<(Arc<Collection>, PathBuf), StoreError> + 'a;

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
        let damage = match self.open_undamaged(name) {
            Ok(collection) => return Ok((collection, None)),
            Err(error @ (StoreError::Corrupt { .. } | StoreError::CommitsMissing { .. })) => error,
            Err(error) => return Err(error),
        };
        let folder = self.folder(name);
        let last = last_seq(&folder.join(catalog::FILE_NAME)).max(witness::last_seq(self.disk(), &folder));
        let fall_back = |damage: &StoreError, newer_than| {
            let replace = |backup: &Backup, prepare: Prepare<'_>| self.replace(backup, prepare);
            self.fall_back(name, damage, newer_than, last, &replace)
        };
        if let StoreError::CommitsMissing { found, .. } = damage {
            if let Some((collection, fail_over)) = fall_back(&damage, Some(found))? {
                return Ok((collection, Some(fail_over)));
            }
            // No backup has more: the collection serves what it has and says what is missing, if that fits together.
            return match self.open_with_loss(name) {
                Ok(collection) => Ok((collection, None)),
                Err(error @ StoreError::Corrupt { .. }) => {
                    let (collection, fail_over) = fall_back(&error, None)?.ok_or(error)?;
                    Ok((collection, Some(fail_over)))
                }
                Err(error) => Err(error),
            };
        }
        let (collection, fail_over) = fall_back(&damage, None)?.ok_or(damage)?;
        Ok((collection, Some(fail_over)))
    }

    /// The newest good backup takes the place of an open collection that was found damaged. It is copied while others go
    /// on; the damaged one takes no writes from now on, so that none is acknowledged that would be missing afterwards.
    ///
    /// # Errors
    /// `damage` when no backup can take its place, or what kept a good one from doing so (a full disk), which may be tried
    /// again. The folder is marked in both cases, and the caller must serve it no more.
    pub fn fail_over(
        &self,
        damaged: &Arc<Collection>,
        damage: StoreError,
    ) -> Result<(Arc<Collection>, FailOver), StoreError> {
        let name = damaged.name().to_owned();
        let last = damaged.refuse_writes(&damage);
        let replace = |backup: &Backup, prepare: Prepare<'_>| self.replace_open(backup, damaged, prepare);
        let told = damage.to_string();
        let replaced = self.fall_back(&name, &damage, None, Some(last), &replace);
        let error = match replaced {
            Ok(Some(replaced)) => return Ok(replaced),
            Ok(None) => damage,
            Err(error) => error,
        };
        self.mark_damaged(&name, &told)?;
        Err(error)
    }

    /// Puts the newest good backup in the place of a damaged collection whose last commit was `last`; with `newer_than`,
    /// only one of a later commit.
    fn fall_back(
        &self,
        name: &str,
        damage: &StoreError,
        newer_than: Option<u64>,
        last: Option<u64>,
        replace: &Replace<'_>,
    ) -> Result<Option<(Arc<Collection>, FailOver)>, StoreError> {
        for backup in self.list_backups(name)?.good {
            if newer_than.is_some_and(|seq| backup.seq <= seq) {
                break;
            }
            let (missing, reason) = (missing(&backup, last), damage.to_string());
            let told = format!(
                "replaced at {} by the backup of {}, because {reason}; {missing}",
                time::utc(time::now()),
                time::utc(backup.taken_unix_s)
            );
            let prepare = Box::new(move |aside: &Path| {
                let connection = catalog::open_writer(self.disk(), aside)?;
                catalog::set_incident(&connection, Some(&told))
                    .map_err(|source| catalog_error("write down what happened", source))?;
                catalog::trust(&connection)
            });
            match replace(&backup, prepare) {
                Ok((collection, quarantined)) => {
                    tracing::error!(
                        collection = name,
                        reason,
                        backup = %backup.path.display(),
                        quarantined = %quarantined.display(),
                        missing,
                        "damaged collection replaced by a backup"
                    );
                    return Ok(Some((collection, FailOver { reason, backup, quarantined, missing })));
                }
                Err(error) if is_damage(&error) => {
                    tracing::error!(collection = name, backup = %backup.path.display(), %error, "backup is damaged too");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Opens a collection; one that is marked as damaged is read whole first.
    pub(crate) fn open_undamaged(&self, name: &str) -> Result<Arc<Collection>, StoreError> {
        let collection = self.open_collection(name)?;
        let mark = self.folder(name).join(MARK);
        if mark.exists() {
            collection.verify(true)?;
            tracing::info!(collection = name, "a collection that was damaged is good again");
            self.disk().remove_file(&mark).map_err(|source| io_error("remove", &mark, source))?;
        }
        Ok(collection)
    }

    fn mark_damaged(&self, name: &str, damage: &str) -> Result<(), StoreError> {
        let mark = self.folder(name).join(MARK);
        if mark.exists() {
            return Ok(());
        }
        let text = format!("{}: {damage}\n", time::utc(time::now()));
        let write = || -> std::io::Result<()> {
            let file = self.disk().create(&mark)?;
            file.write_all_at(text.as_bytes(), 0)?;
            file.sync()?;
            self.disk().sync_dir(&self.folder(name))
        };
        write().map_err(|source| io_error("mark as damaged by", &mark, source))
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

/// Whether an older backup may be better.
fn is_damage(error: &StoreError) -> bool {
    use std::io::ErrorKind::{NotFound, UnexpectedEof};
    match error {
        StoreError::Corrupt { .. } => true,
        StoreError::Io { source, .. } => matches!(source.kind(), NotFound | UnexpectedEof),
        _ => false,
    }
}

fn missing(backup: &Backup, last: Option<u64>) -> String {
    match last {
        Some(last) if last == backup.seq => "no commit is missing".to_owned(),
        Some(last) if last > backup.seq => format!("{} missing", commits(backup.seq, last)),
        _ => format!("commits after {} are missing", backup.seq),
    }
}
