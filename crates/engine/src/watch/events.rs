//! When something may have changed: the operating system's events (by `notify`), and where none can be had.
//!
//! An event rings a bell and is forgotten: what changed is found out by looking. Reading a file is no change.

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// File systems on which other machines write, of whose changes this one is not told.
const REMOTE: [&str; 14] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "ncpfs",
    "vboxsf",
    "prl_fs",
    "virtiofs",
];
/// So do most of those in user space.
const USER_SPACE: &str = "fuse";

/// Rung by whoever saw something change.
#[derive(Clone, Default)]
pub(super) struct Bell {
    rung: Arc<(Mutex<bool>, Condvar)>,
}

impl Bell {
    fn ring(&self) {
        *self.rung.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.1.notify_all();
    }

    /// Forgets that it was rung.
    pub(super) fn hush(&self) {
        *self.rung.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Waits until it is rung, or was; `false` when `longest` passes first.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let rung = self.rung.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.rung.1.wait_timeout_while(rung, longest, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The folders that events come from.
#[derive(Default)]
pub(super) struct Events {
    /// With the watcher of each; `None`: it has to be listed every few seconds.
    followed: BTreeMap<PathBuf, Option<RecommendedWatcher>>,
}

impl Events {
    /// Follows these folders and no others; those that are new, with the reason why no events come from one.
    pub(super) fn follow(&mut self, folders: &[PathBuf], bell: &Bell) -> Vec<(PathBuf, Option<String>)> {
        // One that went and came back is another folder to the system.
        self.followed.retain(|folder, _| folders.contains(folder));
        let mut new = Vec::new();
        for folder in folders {
            if self.followed.contains_key(folder) {
                continue;
            }
            let (watcher, reason) = match remote(folder) {
                Some(kind) => (None, Some(format!("it is on a file system of other machines ({kind})"))),
                None => match follow(folder, bell) {
                    Ok(watcher) => (Some(watcher), None),
                    Err(error) => (None, Some(format!("the system sends no events of it: {error}"))),
                },
            };
            self.followed.insert(folder.clone(), watcher);
            new.push((folder.clone(), reason));
        }
        new
    }

    /// Whether events come from all of them.
    pub(super) fn are_complete(&self) -> bool {
        self.followed.values().all(Option::is_some)
    }
}

fn follow(folder: &Path, bell: &Bell) -> notify::Result<RecommendedWatcher> {
    let bell = bell.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error (a queue that ran over) may hide any change.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            bell.ring();
        }
    })?;
    // A single file is often replaced by another of its name, which only its folder tells.
    let (target, mode) = match folder.is_dir() {
        true => (folder, RecursiveMode::Recursive),
        false => (folder.parent().unwrap_or(folder), RecursiveMode::NonRecursive),
    };
    watcher.watch(target, mode)?;
    Ok(watcher)
}

/// The kind of the file system a folder is on, if others write to it.
fn remote(folder: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    remote_in(&mounts, &std::fs::canonicalize(folder).ok()?)
}

/// In the lines of `/proc/self/mountinfo`: `36 35 98:0 /root /mount/point options - kind source options`.
fn remote_in(mounts: &str, folder: &Path) -> Option<String> {
    let mut nearest: Option<(PathBuf, &str)> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else { continue };
        let point = PathBuf::from(point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"));
        let is_nearer = nearest
            .as_ref()
            .is_none_or(|(known, _)| point.components().count() >= known.components().count());
        if folder.starts_with(&point) && is_nearer {
            nearest = Some((point, kind));
        }
    }
    let (_, kind) = nearest?;
    (REMOTE.contains(&kind) || kind.starts_with(USER_SPACE)).then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_decides() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      40 22 0:50 / /mnt/my\\040share rw,relatime shared:1 - nfs4 host:/export rw\n\
                      41 40 8:2 / /mnt/my\\040share/disk rw - xfs /dev/sdb rw\n\
                      42 22 0:51 / /home/me/drive rw - fuse.sshfs me@host: rw\nnonsense\n";
        let kind = |folder: &str| remote_in(mounts, Path::new(folder));
        assert_eq!(kind("/mnt/my share/course").as_deref(), Some("nfs4"));
        assert_eq!(kind("/mnt/my share/disk/course"), None);
        assert_eq!(kind("/home/me/drive").as_deref(), Some("fuse.sshfs"));
        assert_eq!(kind("/home/me/driver"), None);
        assert_eq!(remote_in("", Path::new("/x")), None);
    }

    #[test]
    fn a_change_rings_and_reading_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.txt"), "1").expect("a file");
        let (bell, mut events) = (Bell::default(), Events::default());
        let folders = [folder.path().to_path_buf()];
        let new = events.follow(&folders, &bell);
        assert_eq!(new.len(), 1);
        assert!(events.follow(&folders, &bell).is_empty(), "it is followed already");
        if events.are_complete() {
            assert_eq!(std::fs::read(folder.path().join("a.txt")).expect("a file"), b"1");
            assert!(!bell.wait(Duration::from_millis(200)));
            std::fs::write(folder.path().join("b.txt"), "2").expect("a file");
            assert!(bell.wait(Duration::from_secs(10)));
        }
        bell.hush();
        assert!(events.follow(&[], &bell).is_empty());
    }
}
