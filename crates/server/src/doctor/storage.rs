//! The data folder: where it lies, whether it can be written durably, how full its disk is, and what is inside.

use super::{Check, size};
use crate::config::Config;
use bilin_engine::{Engine, ErrorKind};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A durable write that takes longer than this makes every small commit slow.
const SYNC_SLOW: Duration = Duration::from_millis(100);
/// A backup older than this was missed: they are daily.
const BACKUP_OLD_S: u64 = 36 * 3_600;
/// File systems on which locks and durable writes cannot be relied upon, or which forget.
const UNFIT: [(&str, &str); 6] = [
    ("nfs", "it lies on a network"),
    ("nfs4", "it lies on a network"),
    ("cifs", "it lies on a network"),
    ("smb3", "it lies on a network"),
    ("9p", "it lies on a network"),
    ("tmpfs", "it lies in memory and is gone with the next start"),
];

/// What opening the folder said.
enum Opened {
    Missing,
    InUse,
    Failed(String, Option<String>),
    Open(Box<Engine>),
}

/// The folder as it is.
pub(super) struct Data {
    path: PathBuf,
    backups_wanted: bool,
    opened: Opened,
    /// Bytes of the collections.
    pub(super) bytes: Option<u64>,
}

impl Data {
    pub(super) fn look(config: &Config) -> Data {
        let path = config.engine.data.clone();
        let opened = match path.is_dir() {
            false => Opened::Missing,
            true => match Engine::open(config.engine.clone()) {
                Ok(engine) => Opened::Open(Box::new(engine)),
                Err(error) if error.kind == ErrorKind::Locked => Opened::InUse,
                Err(error) => Opened::Failed(error.message, error.hint),
            },
        };
        let bytes = match &opened {
            Opened::Open(engine) => {
                Some(engine.collections().iter().map(|collection| collection.status.disk_bytes).sum())
            }
            _ => None,
        };
        Data { path, backups_wanted: config.engine.upkeep.backup_every.is_some(), opened, bytes }
    }

    /// Whether another bilin has the folder.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self.opened, Opened::InUse)
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.folder()];
        if !matches!(self.opened, Opened::Missing) {
            checks.extend([self.disk(), self.writes()]);
        }
        checks.extend([self.content()]);
        checks.extend(self.backups());
        checks
    }

    fn folder(&self) -> Check {
        let shown = self.path.display();
        if let Opened::Missing = self.opened {
            return Check::ok(
                "data folder",
                format!("{shown} is not there yet; the first bilin add makes it"),
            );
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let real = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let kind = file_system(&mounts, &real).unwrap_or("an unknown file system");
        if let Some((_, why)) = UNFIT.iter().find(|(name, _)| *name == kind) {
            return Check::warning(
                "data folder",
                format!("{shown} on {kind}"),
                format!("{why}: put it on a disk of this machine (--data DIR)"),
            );
        }
        match is_readable_by_others(&self.path) {
            true => Check::warning(
                "data folder",
                format!("{shown} on {kind}, readable by every user of this machine"),
                format!("chmod 700 {shown}"),
            ),
            false => Check::ok("data folder", format!("{shown} on {kind}")),
        }
    }

    fn disk(&self) -> Check {
        let (free, total) = match (fs4::available_space(&self.path), fs4::total_space(&self.path)) {
            (Ok(free), Ok(total)) => (free, total),
            (Err(error), _) | (_, Err(error)) => {
                return Check::failure("disk", error.to_string(), "check that the data folder can be read");
            }
        };
        judge_disk(free, total, self.bytes.unwrap_or(0))
    }

    /// Writes a small file durably and takes it away again.
    fn writes(&self) -> Check {
        let write = || -> std::io::Result<Duration> {
            let mut file = tempfile::Builder::new().prefix(".doctor-").tempfile_in(&self.path)?;
            let started = Instant::now();
            file.write_all(b"bilin")?;
            file.as_file().sync_all()?;
            Ok(started.elapsed())
        };
        match write() {
            Err(error) => Check::failure(
                "durable writes",
                error.to_string(),
                "give the user that runs bilin the right to write to the data folder",
            ),
            Ok(took) if took > SYNC_SLOW => Check::warning(
                "durable writes",
                format!("one takes {} ms", took.as_millis()),
                "every commit waits for one: use a faster disk, or add documents in larger requests",
            ),
            Ok(took) => Check::ok("durable writes", format!("one takes {:.1} ms", took.as_secs_f64() * 1e3)),
        }
    }

    fn content(&self) -> Check {
        let engine = match &self.opened {
            Opened::Missing => return Check::ok("collections", "none yet"),
            Opened::InUse => {
                return Check::ok(
                    "collections",
                    "a running bilin has the data folder; its /health tells of them",
                );
            }
            Opened::Failed(message, hint) => {
                let advice = hint.clone().unwrap_or_else(|| "run bilin verify".to_owned());
                return Check::failure("collections", message.clone(), advice);
            }
            Opened::Open(engine) => engine,
        };
        let health = engine.health();
        if let Some((name, reason)) = health.broken.first() {
            return Check::failure(
                "collections",
                format!("{} cannot be opened; {name:?}: {reason}", health.broken.len()),
                format!("bilin restore {name} puts its newest good backup in its place"),
            );
        }
        let items: usize = health.collections.iter().map(|collection| collection.status.items).sum();
        let found =
            format!("{} with {items} items, {}", health.collections.len(), size(self.bytes.unwrap_or(0)));
        let warned = health.collections.iter().find_map(|collection| {
            collection.status.warnings.first().map(|warning| (&collection.name, warning))
        });
        match warned {
            Some((name, warning)) => Check::warning(
                "collections",
                format!("{found}; {name:?}: {warning}"),
                "bilin verify reads everything back; bilin collections shows every warning",
            ),
            None => Check::ok("collections", found),
        }
    }

    /// The collection whose newest backup is oldest.
    fn backups(&self) -> Option<Check> {
        let Opened::Open(engine) = &self.opened else { return None };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut oldest: Option<(String, Option<u64>)> = None;
        for collection in engine.collections() {
            let newest = match engine.backups(Some(&collection.name)) {
                Ok(lists) => lists.iter().flat_map(|list| &list.good).map(|backup| backup.taken_unix_s).max(),
                Err(error) => {
                    return Some(Check::failure(
                        "backups",
                        error.message,
                        "check the disk of the data folder",
                    ));
                }
            };
            let age = newest.map(|taken| now.saturating_sub(taken));
            let is_older = oldest
                .as_ref()
                .is_none_or(|(_, known)| known.is_some_and(|known| age.is_none_or(|age| age > known)));
            if is_older {
                oldest = Some((collection.name, age));
            }
        }
        let (name, age) = oldest?;
        Some(judge_backup(&name, age, self.backups_wanted))
    }
}

pub(super) fn judge_backup(name: &str, age_s: Option<u64>, wanted: bool) -> Check {
    let advice = match wanted {
        true => "bilin serve makes one a day by itself; bilin backup makes one now",
        false => "daily backups are switched off (backups.every); bilin backup makes one now",
    };
    match age_s {
        None => Check::warning("backups", format!("{name:?} has none"), advice),
        Some(age) if age > BACKUP_OLD_S => {
            Check::warning("backups", format!("the newest of {name:?} is {} hours old", age / 3_600), advice)
        }
        Some(age) => Check::ok("backups", format!("the oldest of the newest is {} hours old", age / 3_600)),
    }
}

/// A backup needs as much as the data, a build about as much again.
pub(super) fn judge_disk(free: u64, total: u64, data: u64) -> Check {
    let found = format!("{} of {} are free, the data takes {}", size(free), size(total), size(data));
    if free < data {
        return Check::failure(
            "disk",
            found,
            "a backup needs as much as the data: free some space, or move the data",
        );
    }
    if free < total / 10 {
        return Check::warning("disk", found, "less than a tenth is free: free some space");
    }
    Check::ok("disk", found)
}

/// The type of the file system that a path lies on, from `/proc/self/mountinfo` (proc(5)): field 5 is where it is mounted, the
/// type is the first after the dash. The last of the longest mount points is the one that is seen.
pub(super) fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounted = mounts.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let point = head.split(' ').nth(4)?.replace("\\040", " ");
        path.starts_with(&point).then(|| (point.len(), tail.split(' ').next()))
    });
    mounted.max_by_key(|(length, _)| *length)?.1
}

#[cfg(unix)]
fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_path: &Path) -> bool {
    false
}
