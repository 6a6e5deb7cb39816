//! The audit log: who changed what, when, with which result. JSON lines in `audit/audit.jsonl` of the data folder.
//!
//! Append-only: each entry is one write at the file's end, so that `bilin key` may write beside a server. A file that has
//! grown too long is renamed to the time of its end, and the oldest beyond the number kept are removed. Neither texts, ids
//! of documents, bodies nor secrets are written, so that the log may be kept long and shown to others.

use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

const FOLDER: &str = "audit";
const FILE: &str = "audit.jsonl";

/// Where, and how much is kept.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The data folder.
    pub data: PathBuf,
    /// Length from which a file is put aside, bytes.
    pub max_bytes: u64,
    /// Files kept beside the one that is written.
    pub kept: usize,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Entry<'a> {
    /// When it ended, RFC 3339 in UTC.
    pub time: String,
    /// Id of the request; empty for the command line.
    pub request: &'a str,
    /// Id of the key; `-` where none is asked for, `command line` for `bilin key`.
    pub who: &'a str,
    /// Method and template of the route, or the command.
    pub what: String,
    /// The collection, or the key, that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Status of the answer.
    pub status: u16,
}

impl Entry<'_> {
    /// Now, as entries tell it.
    pub fn now() -> String {
        humantime::format_rfc3339_millis(SystemTime::now()).to_string()
    }
}

/// The log of one data folder.
pub struct Audit {
    options: AuditOptions,
    open: Mutex<Option<(File, u64)>>,
}

impl Audit {
    /// Nothing is made before the first entry.
    pub fn new(options: AuditOptions) -> Audit {
        Audit { options, open: Mutex::new(None) }
    }

    /// Writes one entry. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, entry: &Entry<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut file, length) = match open.take() {
            Some(open) => open,
            None => self.file()?,
        };
        file.write_all(&line)?;
        let length = length + line.len() as u64;
        if length >= self.options.max_bytes {
            drop(file);
            return self.put_aside();
        }
        *open = Some((file, length));
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        self.options.data.join(FOLDER)
    }

    fn file(&self) -> io::Result<(File, u64)> {
        fs::create_dir_all(self.folder())?;
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.folder().join(FILE))?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    fn put_aside(&self) -> io::Result<()> {
        let folder = self.folder();
        let time = humantime::format_rfc3339_nanos(SystemTime::now()).to_string().replace(':', "");
        fs::rename(folder.join(FILE), folder.join(format!("audit-{time}.jsonl")))?;
        let mut old = aside(&folder)?;
        old.sort();
        let over = old.len().saturating_sub(self.options.kept);
        old.iter().take(over).try_for_each(fs::remove_file)
    }
}

fn aside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("audit-") && name.ends_with(".jsonl") {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_at_its_end_and_is_put_aside_by_length() {
        let folder = tempfile::tempdir().unwrap();
        let audit =
            |max_bytes| Audit::new(AuditOptions { data: folder.path().to_path_buf(), max_bytes, kept: 2 });
        let entry = |number: usize| Entry {
            time: Entry::now(),
            request: "r",
            who: "k",
            what: format!("POST /v1/{number}"),
            on: Some("notes".to_owned()),
            status: 200,
        };
        let path = folder.path().join("audit/audit.jsonl");
        audit(10_000).write(&entry(0)).unwrap();
        audit(10_000).write(&entry(1)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2, "a second opening adds to it");
        let small = audit(400);
        for number in 2..40 {
            small.write(&entry(number)).unwrap();
        }
        let old = aside(&folder.path().join("audit")).unwrap();
        assert_eq!(old.len(), 2, "{old:?}");
        let mut all: Vec<String> = Vec::new();
        for path in old.iter().chain([&path]) {
            all.extend(fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned));
        }
        for line in &all {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["who"], &line["on"]), (&"k".into(), &"notes".into()));
        }
        assert!(all.iter().any(|line| line.contains("/v1/39")), "the newest is there");
    }
}
