//! Finds the files to read below the paths that a user names.
//!
//! Invariants: siblings come in the order of their names' bytes, arguments in the order given; no file comes twice, however
//! many links or arguments lead to it (its canonical path is its identity); every folder is entered once, so that loops of
//! symbolic links end. Names that begin with a dot or `~$` are passed over below an argument, never as an argument. What cannot be
//! read is reported and the walk goes on.

use crate::Metadata;
use crate::error::Problem;
use crate::formats::Format;
use crate::tables::TableFormat;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Folders nested deeper than this below an argument are reported, not entered.
const MAX_DEPTH: usize = 256;

/// What kind of content a collection takes; files of the other kind are passed over (and counted) in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Texts and records.
    Text,
    /// Pictures.
    Pictures,
}

/// A file found by [`walk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Canonical absolute path: the file's identity when a folder is added again, from wherever.
    pub path: PathBuf,
    /// The name shown and used as document id: relative to the working folder where the file lies below it, else
    /// absolute; always `/`-separated (`text_corpus.txt`, `course/chapter1.md`). A byte that is no UTF-8 is shown as
    /// U+FFFD and two hexadecimal digits, so that different names stay different.
    pub source: String,
    /// How to read it.
    pub format: Format,
    /// Name of the folder that holds the file, where that lies below the folder that was asked for: `birds` for
    /// `pictures/birds/1.jpg` when `pictures` was added. It becomes a picture's `category`.
    pub category: Option<String>,
    /// Length when it was found.
    pub bytes: u64,
    /// What a table beside a picture says of it ([`crate::read_tables`]).
    pub fields: Metadata,
}

/// What [`walk`] saw.
#[derive(Debug, Default)]
pub struct Walk {
    /// The files to read.
    pub found: Vec<Found>,
    /// Files of formats or kinds that were not wanted, passed over silently in folders (only counted).
    pub passed_over: usize,
    /// Paths that do not exist, cannot be read, or were named explicitly but cannot be taken. What lies at or below such a
    /// path is unknown, not gone: a synchronisation must spare it.
    pub problems: Vec<Problem>,
    /// Tables that may tell fields of the pictures, where pictures are wanted; canonical paths.
    pub tables: Vec<PathBuf>,
    /// Canonical paths of the folders and files that were asked for: what `--sync` compares with.
    pub roots: Vec<PathBuf>,
}

/// Walks files and folders, sorted; hidden files and folders are passed over; symlink loops end.
#[must_use]
pub fn walk(paths: &[PathBuf], wanted: Wanted) -> Walk {
    let working_folder = std::env::current_dir().and_then(fs::canonicalize).ok();
    walk_from(paths, wanted, working_folder.as_deref())
}

/// [`walk`] with the working folder given.
fn walk_from(paths: &[PathBuf], wanted: Wanted, working_folder: Option<&Path>) -> Walk {
    let mut walker = Walker {
        wanted,
        working_folder,
        walk: Walk::default(),
        files: HashMap::new(),
        passed_over: HashSet::new(),
        folders: HashSet::new(),
    };
    for path in paths {
        walker.argument(path);
    }
    walker.walk.passed_over = walker.passed_over.len();
    walker.walk
}

struct Walker<'a> {
    wanted: Wanted,
    working_folder: Option<&'a Path>,
    walk: Walk,
    /// Position in `walk.found` by canonical path.
    files: HashMap<PathBuf, usize>,
    passed_over: HashSet<PathBuf>,
    folders: HashSet<PathBuf>,
}

impl Walker<'_> {
    fn argument(&mut self, path: &Path) {
        let (canonical, metadata) = match resolve(path) {
            Ok(resolved) => resolved,
            Err(error) => return self.unreadable(path, &error),
        };
        if !self.walk.roots.contains(&canonical) {
            self.walk.roots.push(canonical.clone());
        }
        if metadata.is_dir() {
            self.folder(canonical);
        } else if !metadata.is_file() {
            self.problem(canonical, "it is neither a file nor a folder", "name a file or a folder");
        } else {
            match (Format::of_path_for(path, self.wanted), Format::of_path(path)) {
                (Some(format), _) => self.take(canonical, format, None, metadata.len()),
                (None, _) if self.is_table(path) => self.table(canonical),
                (None, Some(_)) => {
                    let (reason, hint) = match self.wanted {
                        Wanted::Text => {
                            ("it is a picture, and texts are wanted here", "add it to a picture collection")
                        }
                        Wanted::Pictures => {
                            ("it is a text, and pictures are wanted here", "add it to a text collection")
                        }
                    };
                    self.problem(canonical, reason, hint);
                }
                (None, None) => {
                    let reason = match path.extension() {
                        Some(extension) => {
                            format!("files of type \".{}\" cannot be read", shown(extension))
                        }
                        None => "a file without an extension cannot be read".to_owned(),
                    };
                    let hint = format!("these can: {}", Format::extensions(self.wanted).join(", "));
                    self.problem(canonical, &reason, &hint);
                }
            }
        }
    }

    /// Everything below a folder, depth first, with a stack of our own since depth is the user's.
    fn folder(&mut self, root: PathBuf) {
        let mut stack: Vec<(PathBuf, usize)> = vec![(root.clone(), 0)];
        while let Some((path, depth)) = stack.pop() {
            let (canonical, metadata) = match resolve(&path) {
                Ok(resolved) => resolved,
                Err(error) => {
                    // A dangling link to something that nobody would read is no one's problem.
                    if Format::of_path(&path).is_some() || !is_link(&path) {
                        self.unreadable(&path, &error);
                    }
                    continue;
                }
            };
            if metadata.is_dir() {
                if depth > MAX_DEPTH {
                    let reason = format!("folders are nested more than {MAX_DEPTH} deep");
                    self.problem(canonical, &reason, "name the deeper folder itself");
                } else if self.folders.insert(canonical) {
                    match visible_entries(&path) {
                        Ok(entries) => {
                            stack.extend(entries.into_iter().rev().map(|entry| (entry, depth + 1)))
                        }
                        Err(error) => self.unreadable(&path, &error),
                    }
                }
                continue;
            }
            match Format::of_path_for(&path, self.wanted) {
                Some(format) if metadata.is_file() => {
                    let parent = path.parent().filter(|parent| *parent != root);
                    let category = parent.and_then(Path::file_name).map(shown);
                    self.take(canonical, format, category, metadata.len());
                }
                None if metadata.is_file() && self.is_table(&path) => self.table(canonical),
                _ => {
                    self.passed_over.insert(canonical);
                }
            }
        }
    }

    fn is_table(&self, path: &Path) -> bool {
        self.wanted == Wanted::Pictures && TableFormat::of_path(path).is_some()
    }

    fn table(&mut self, path: PathBuf) {
        if !self.walk.tables.contains(&path) {
            self.walk.tables.push(path);
        }
    }

    fn take(&mut self, path: PathBuf, format: Format, category: Option<String>, bytes: u64) {
        match self.files.get(&path) {
            Some(&position) => {
                // Named twice: once alone, once within a folder that says more about it.
                if let Some(found) = self.walk.found.get_mut(position)
                    && found.category.is_none()
                {
                    found.category = category;
                }
            }
            None => {
                let source = source_name(&path, self.working_folder);
                self.files.insert(path.clone(), self.walk.found.len());
                self.walk.found.push(Found {
                    path,
                    source,
                    format,
                    category,
                    bytes,
                    fields: Metadata::new(),
                });
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let path =
            fs::canonicalize(path).unwrap_or_else(|_| std::path::absolute(path).unwrap_or(path.into()));
        let (reason, hint) = match error.kind() {
            std::io::ErrorKind::NotFound if is_link(&path) => {
                ("it is a link to something that does not exist".to_owned(), "mend or remove the link")
            }
            std::io::ErrorKind::NotFound => {
                ("it does not exist".to_owned(), "check the spelling of the path")
            }
            std::io::ErrorKind::PermissionDenied => {
                ("you may not read it".to_owned(), "give yourself permission to read it, or leave it out")
            }
            _ => (format!("it cannot be read: {error}"), "check the file system, or leave it out"),
        };
        self.problem(path, &reason, hint);
    }

    fn problem(&mut self, path: PathBuf, reason: &str, hint: &str) {
        let problem =
            Problem { path, reason: reason.to_owned(), hint: Some(hint.to_owned()), is_partial: false };
        if !self.walk.problems.contains(&problem) {
            self.walk.problems.push(problem);
        }
    }
}

fn resolve(path: &Path) -> std::io::Result<(PathBuf, fs::Metadata)> {
    let canonical = fs::canonicalize(path)?;
    let metadata = fs::metadata(&canonical)?;
    Ok((canonical, metadata))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// Entries of a folder, sorted by the bytes of their names, but for those that begin with a dot, and with `~$`, which office
/// programs put beside a document that is open.
fn visible_entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let bytes = name.as_encoded_bytes();
        if !bytes.starts_with(b".") && !bytes.starts_with(b"~$") {
            names.push(name);
        }
    }
    names.sort_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// The name shown for a canonical path: see [`Found::source`].
fn source_name(path: &Path, working_folder: Option<&Path>) -> String {
    let below = working_folder.and_then(|folder| path.strip_prefix(folder).ok());
    let below = below.filter(|relative| !relative.as_os_str().is_empty());
    let mut name = String::new();
    for component in below.unwrap_or(path).components() {
        match component {
            Component::Prefix(prefix) => name.push_str(&shown(prefix.as_os_str())),
            Component::RootDir => name.push('/'),
            other => {
                if !name.is_empty() && !name.ends_with('/') {
                    name.push('/');
                }
                name.push_str(&shown(other.as_os_str()));
            }
        }
    }
    name
}

/// A file name as text, one to one: bytes that are no UTF-8 become U+FFFD and two hexadecimal digits.
fn shown(name: &OsStr) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\u{FFFD}{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
