//! The manifest of a backup: what it holds, file by file.
//!
//! One line of JSON, then a line `blake3 <hex>` over the bytes of the first line. Paths are relative, of the two shapes
//! `name` and `folder/name`, and made of letters, digits, `.`, `-` and `_`, so that a manifest can never lead out of its folder.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::dir::Disk;
use crate::error::{StoreError, io_error};

/// File name inside a backup's folder.
pub(super) const FILE_NAME: &str = "manifest.json";
/// Format written; the only one read.
const FORMAT: u64 = 1;
/// No manifest is longer: some 100 bytes for each of a million segments.
const MAX_BYTES: u64 = 128 << 20;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub collection: String,
    /// Random id of the collection, hexadecimal.
    pub id: String,
    pub taken_unix_s: u64,
    pub seq: u64,
    pub documents: usize,
    pub items: usize,
    pub rows: usize,
    pub files: Vec<FileSum>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSum {
    /// Relative to the backup's folder.
    pub path: String,
    pub bytes: u64,
    /// Of the whole file, hexadecimal.
    pub blake3: String,
}

impl Manifest {
    /// Writes and fsyncs it into `folder`.
    pub(crate) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
        let files: Vec<Value> = self
            .files
            .iter()
            .map(|file| json!({"path": file.path, "bytes": file.bytes, "blake3": file.blake3}))
            .collect();
        let line = json!({
            "format": FORMAT,
            "collection": self.collection,
            "id": self.id,
            "taken_unix_s": self.taken_unix_s,
            "seq": self.seq,
            "documents": self.documents,
            "items": self.items,
            "rows": self.rows,
            "files": files,
        })
        .to_string();
        let text = format!("{line}\nblake3 {}\n", blake3::hash(line.as_bytes()).to_hex());
        let path = folder.join(FILE_NAME);
        let file = disk.create(&path).map_err(|source| io_error("create", &path, source))?;
        file.write_all_at(text.as_bytes(), 0).map_err(|source| io_error("write", &path, source))?;
        file.sync().map_err(|source| io_error("make durable", &path, source))
    }

    /// Reads the one in `folder`.
    pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> Result<Manifest, StoreError> {
        let path = folder.join(FILE_NAME);
        let damaged = |detail: String| StoreError::Corrupt {
            what: format!("backup manifest \"{}\"", path.display()),
            detail,
        };
        let file = disk.open(&path).map_err(|error| damaged(format!("cannot open it: {error}")))?;
        let bytes = file.len().map_err(|source| io_error("read the length of", &path, source))?;
        if bytes > MAX_BYTES {
            return Err(damaged(format!("expected at most {MAX_BYTES} bytes, found {bytes}")));
        }
        let mut content = vec![0; bytes as usize];
        file.read_exact_at(&mut content, 0).map_err(|source| io_error("read", &path, source))?;
        let text = String::from_utf8(content).map_err(|_| damaged("it is not text".to_owned()))?;
        let (line, sum) = text.split_once('\n').unwrap_or((&text, ""));
        let expected = format!("blake3 {}\n", blake3::hash(line.as_bytes()).to_hex());
        if sum != expected {
            return Err(damaged("its checksum does not fit its content".to_owned()));
        }
        let value: Value = serde_json::from_str(line).map_err(|error| damaged(error.to_string()))?;
        if value["format"] != json!(FORMAT) {
            return Err(damaged(format!("expected format {FORMAT}, found {}", value["format"])));
        }
        Manifest::parse(&value).ok_or_else(|| damaged("a field is missing or senseless".to_owned()))
    }

    fn parse(value: &Value) -> Option<Manifest> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let number = |name: &str| value[name].as_u64();
        let files = value["files"].as_array()?.iter().map(|file| {
            let path = text(&file["path"]).filter(|path| is_plain(path))?;
            Some(FileSum { path, bytes: file["bytes"].as_u64()?, blake3: text(&file["blake3"])? })
        });
        Some(Manifest {
            collection: text(&value["collection"])?,
            id: text(&value["id"])?,
            taken_unix_s: number("taken_unix_s")?,
            seq: number("seq")?,
            documents: number("documents")? as usize,
            items: number("items")? as usize,
            rows: number("rows")? as usize,
            files: files.collect::<Option<Vec<FileSum>>>()?,
        })
    }

    /// The entry of a file.
    pub(crate) fn file(&self, path: &str) -> Option<&FileSum> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl FileSum {
    /// Where it lies in a backup's folder.
    pub(crate) fn in_folder(&self, folder: &Path) -> PathBuf {
        self.path.split('/').fold(folder.to_owned(), |path, part| path.join(part))
    }
}

/// `name` or `folder/name`, nothing that could lead elsewhere.
pub(super) fn is_plain(path: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    path.split('/').count() <= 2 && path.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::OsDisk;

    fn manifest() -> Manifest {
        let file = |path: &str| FileSum { path: path.to_owned(), bytes: 7, blake3: "00".to_owned() };
        Manifest {
            collection: "notes".to_owned(),
            id: "0a".to_owned(),
            taken_unix_s: 5,
            seq: 9,
            documents: 2,
            items: 3,
            rows: 4,
            files: vec![file("catalog.sqlite"), file("vectors/000000.rows")],
        }
    }

    #[test]
    fn what_was_written_is_read_and_every_other_byte_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        manifest().write(&OsDisk, folder.path()).unwrap();
        assert_eq!(Manifest::read(&OsDisk, folder.path()).unwrap(), manifest());
        let path = folder.path().join(FILE_NAME);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(Manifest::read(&OsDisk, folder.path()).is_err(), "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(Manifest::read(&OsDisk, folder.path()).is_err(), "cut to {at}");
        }
    }

    #[test]
    fn a_path_cannot_lead_out_of_the_folder() {
        for path in ["../x", "/etc/passwd", "a/b/c", "", "a/", ".hidden", "vectors/..", "a\\b"] {
            assert!(!is_plain(path), "{path}");
            let folder = tempfile::tempdir().unwrap();
            let mut hostile = manifest();
            hostile.files[0].path = path.to_owned();
            hostile.write(&OsDisk, folder.path()).unwrap();
            assert!(Manifest::read(&OsDisk, folder.path()).is_err(), "{path}");
        }
    }
}
