//! What lies in the folders now: every file that could be read, with length and time.

use bilin_ingest::{Wanted, walk};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What tells that a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
}

/// The files below some folders, by canonical path.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) files: BTreeMap<PathBuf, Stamp>,
}

impl Listing {
    pub(super) fn of(folders: &[PathBuf]) -> Listing {
        let mut files = BTreeMap::new();
        if folders.is_empty() {
            return Listing { files };
        }
        // Of both kinds: what the collection holds is the add's to know.
        for wanted in [Wanted::Text, Wanted::Pictures] {
            for found in walk(folders, wanted).found {
                // One that goes at this moment is not there.
                if let Ok(metadata) = fs::metadata(&found.path) {
                    let stamp = Stamp { bytes: metadata.len(), modified: metadata.modified().ok() };
                    files.insert(found.path, stamp);
                }
            }
        }
        Listing { files }
    }
}

/// A folder that is asked for, and what was last known of it.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Something was mounted on it: without that it is not the folder that was meant.
    was_mounted: bool,
    /// Why it could not be looked at, as it was told.
    missing: Option<String>,
}

impl Place {
    pub(super) fn new(folder: PathBuf) -> Place {
        Place { folder, was_mounted: false, missing: None }
    }

    /// Its canonical path, or the reason why it cannot be looked at where that is new.
    pub(super) fn look(&mut self) -> Result<PathBuf, Option<String>> {
        let reason = match fs::canonicalize(&self.folder).and_then(|path| Ok((fs::metadata(&path)?, path))) {
            Ok((_, path)) => {
                let mounted = is_mounted(&path);
                if mounted || !self.was_mounted {
                    self.was_mounted |= mounted;
                    self.missing = None;
                    return Ok(path);
                }
                "nothing is mounted on it any more".to_owned()
            }
            Err(error) if error.kind() == ErrorKind::NotFound => "it is not there".to_owned(),
            Err(error) => format!("it cannot be looked at: {error}"),
        };
        let is_new = self.missing.as_ref() != Some(&reason);
        self.missing = Some(reason.clone());
        Err(is_new.then_some(reason))
    }
}

/// Whether a folder is the root of a file system.
#[cfg(unix)]
fn is_mounted(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    path.parent().is_some_and(|parent| device(parent) != device(path))
}

#[cfg(not(unix))]
fn is_mounted(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_listed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.txt", "b.png", "c.unknown", ".hidden.txt", "sub/d.md"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "xyz").expect("a file");
        }
        let listing = Listing::of(&[folder.path().to_path_buf()]);
        let names: Vec<_> = listing.files.keys().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["a.txt", "b.png", "d.md"]);
        assert!(listing.files.values().all(|stamp| stamp.bytes == 3 && stamp.modified.is_some()));
    }

    #[test]
    fn a_missing_folder_is_told_once_until_it_is_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("course");
        let mut place = Place::new(path.clone());
        assert_eq!(place.look(), Err(Some("it is not there".to_owned())));
        assert_eq!(place.look(), Err(None));
        fs::create_dir(&path).expect("a folder");
        assert!(place.look().is_ok());
        fs::remove_dir(&path).expect("a folder");
        assert_eq!(place.look(), Err(Some("it is not there".to_owned())));
    }
}
