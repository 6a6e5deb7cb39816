//! The last stage: portions of encoded documents become commits.
//!
//! A document's id is its file's source (or its record's id). Where that id belongs to another file (two folders with a
//! `readme.md` each, added from two places) or to a document that came by API, the absolute path takes the source's
//! place, so that nothing is overwritten silently and the id is the same every time.

use crate::error::Error;
use crate::storage::VectorStore;
use bilin_ingest::Found;
use bilin_store::{Batch, FileStamp, NewDocument};
use std::collections::BTreeMap;

/// One commit's worth of encoded documents.
#[derive(Default)]
pub(super) struct Portion {
    pub(super) files: Vec<EncodedFile>,
    /// Stamps of files whose content is as it was.
    pub(super) touched: Vec<FileStamp>,
    pub(super) truncated: usize,
}
/// The documents of one file, or some of them where a large file takes several commits.
pub(super) struct EncodedFile {
    pub(super) found: Found,
    /// The file's earlier documents go with this commit.
    pub(super) first: bool,
    /// Its stamp, with the last of its documents.
    pub(super) stamp: Option<FileStamp>,
    pub(super) known: bool,
    /// Items of the whole file.
    pub(super) file_items: usize,
    pub(super) documents: Vec<NewDocument>,
}

impl Portion {
    pub(super) fn items(&self) -> usize {
        self.files.iter().map(EncodedFile::items).sum()
    }
}

impl EncodedFile {
    /// Items of this portion.
    fn items(&self) -> usize {
        self.documents.iter().map(|document| document.items.len()).sum()
    }

    /// Bytes of the file that this portion stands for.
    fn bytes(&self) -> u64 {
        match self.file_items {
            0 => self.found.bytes,
            all => (self.found.bytes as f64 * (self.items() as f64 / all as f64)) as u64,
        }
    }
}

/// Counts of one commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) seq: u64,
    pub(super) items: usize,
    /// Bytes of the files, as far as they are in by this commit.
    pub(super) bytes: u64,
    pub(super) truncated: usize,
    pub(super) files_added: usize,
    pub(super) files_changed: usize,
    pub(super) files_unchanged: usize,
}

/// Commits a portion.
pub(super) fn write(store: &dyn VectorStore, portion: Portion) -> Result<Written, Error> {
    let mut written = Written {
        items: portion.items(),
        bytes: portion.files.iter().map(EncodedFile::bytes).sum(),
        truncated: portion.truncated,
        files_unchanged: portion.touched.len(),
        ..Written::default()
    };
    let mut batch = Batch { files: portion.touched, ..Batch::default() };
    // Which file each id of this batch came from: the store does not know of them yet.
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for file in portion.files {
        let path = file.found.path.to_string_lossy().into_owned();
        if file.first {
            batch.delete_files.push(path.clone());
        }
        if file.stamp.is_some() {
            match file.known {
                true => written.files_changed += 1,
                false => written.files_added += 1,
            }
        }
        batch.files.extend(file.stamp);
        for mut document in file.documents {
            document.id = free_id(store, &owners, &file.found, &path, document.id)?;
            owners.insert(document.id.clone(), path.clone());
            document.file = Some(path.clone());
            batch.upsert.push(document);
        }
    }
    written.seq = store.apply(batch)?.seq;
    Ok(written)
}

/// `id`, or where another document has it, the same id under the file's absolute path.
fn free_id(
    store: &dyn VectorStore,
    owners: &BTreeMap<String, String>,
    found: &Found,
    path: &str,
    id: String,
) -> Result<String, Error> {
    let taken = match owners.get(&id) {
        Some(owner) => owner != path,
        None => store.document_file(&id)?.is_some_and(|owner| owner.as_deref() != Some(path)),
    };
    if !taken {
        return Ok(id);
    }
    Ok(match id.strip_prefix(&found.source) {
        Some(rest) => format!("{path}{rest}"),
        None => format!("{path}#{id}"),
    })
}
