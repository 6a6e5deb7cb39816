//! Getting things in: folders of files ([`paths`]) and documents handed over by API ([`documents`]).
//!
//! Invariant of both: whatever is reported as added is durable, and what is refused has changed nothing.
//!
//! A folder goes through four stages on threads of their own, joined by bounded queues, so that reading, decoding,
//! encoding and writing overlap: [`read`](file) -> [`prepare`] -> encode -> commit ([`pipeline`]).

pub(crate) mod documents;
mod file;
mod files;
mod paths;
mod pipeline;
mod plan;
mod prepare;
mod sync;
mod write;

pub(crate) use paths::{add_paths, watch, watch_maintenance};
pub(crate) use prepare::{CONTENT_HASH, decoded_bytes};

use crate::collection::NewCollection;
use crate::error::Error;
use crate::models::TextWishes;
use bilin_index::IndexSpec;
use bilin_ingest::{Problem, Split};
use bilin_store::{Kind, Metadata};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Longest document id in bytes.
pub const MAX_ID_BYTES: usize = 512;
/// Most documents in one `add_documents`.
pub const MAX_DOCUMENTS_PER_REQUEST: usize = 10_000;
/// Longest text of one API document in bytes.
pub const MAX_TEXT_BYTES: usize = 8 << 20;
/// Largest metadata of one document, as JSON, in bytes.
pub const MAX_METADATA_BYTES: usize = 64 << 10;

/// How to add files.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// Model of a collection that is made now; an existing collection must have been made with it.
    pub model: Option<String>,
    /// Index of a collection that is made now; an existing collection must have it.
    pub index: Option<IndexSpec>,
    /// Fields set on every item; they win over fields of the same name that a file gives.
    pub metadata: Metadata,
    /// Also remove documents of files that are gone below the given folders.
    pub sync: bool,
    /// Files that are passed over this time, by full path; documents that they gave stay.
    pub except: BTreeSet<PathBuf>,
    /// How text is cut.
    pub split: Split,
    /// What a collection that is made now holds; `None` = what most of the files are.
    pub kind: Option<Kind>,
    /// How texts are read; an existing collection must read them so, unless it is empty.
    pub texts: TextWishes,
    /// Pictures whose folder (or archive) was itself named get its name as `category`, too, as those in folders below do.
    pub category_from_folder: bool,
}

impl AddOptions {
    /// The collection that is made when there is none of the name.
    pub fn new_collection(&self, kind: Kind) -> NewCollection {
        NewCollection {
            kind: Some(kind),
            model: self.model.clone(),
            index: self.index.clone(),
            texts: self.texts.clone(),
            ..NewCollection::default()
        }
    }
}

/// Told of progress; the CLI draws it. Called from the thread that called `add_paths`.
pub trait AddProgress {
    /// Something happened.
    fn event(&self, event: &AddEvent);
    /// `true` = stop after the current commit.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Progress that nobody looks at.
impl AddProgress for () {
    fn event(&self, _event: &AddEvent) {}
}

/// Progress of `add_paths`.
#[derive(Clone, Debug)]
pub enum AddEvent {
    /// The walk is over.
    Found {
        /// Files that will be looked at.
        files: usize,
        /// Their length together.
        bytes: u64,
    },
    /// A file is done: read and cut, or found unchanged (0 items).
    File {
        /// Its name as shown.
        source: String,
        /// Items that it gave.
        items: usize,
        /// Bytes of files done so far, of those that were found.
        done_bytes: u64,
    },
    /// A commit is durable.
    Committed {
        /// Items committed so far by this call.
        items: usize,
        /// Bytes of files done so far, a file that takes several commits in part.
        done_bytes: u64,
    },
    /// Something could not be added; the rest goes on.
    Problem(Problem),
    /// Vectors of a foreign index are in.
    Imported {
        /// Vectors so far.
        items: usize,
        /// Vectors in all.
        total: usize,
    },
    /// Items are on their way out.
    Exported {
        /// Items so far.
        items: usize,
        /// Items in all.
        total: usize,
    },
    /// An index is being built.
    Indexing {
        /// Rows done.
        done: usize,
        /// Rows in all.
        total: usize,
    },
}

/// What `add_paths` did; every number is of what is durable.
#[derive(Clone, Debug, Default)]
pub struct AddReport {
    /// Files that were new.
    pub files_added: usize,
    /// Files whose documents were replaced.
    pub files_changed: usize,
    /// Files that were as they had been added.
    pub files_unchanged: usize,
    /// Files that are gone and whose documents were removed (`sync`).
    pub files_removed: usize,
    /// Files of other formats, or of the other kind.
    pub passed_over: usize,
    /// Items that were written.
    pub items_added: usize,
    /// Of them, items longer than the model reads; the rest of their text does not count in searches.
    pub items_truncated: usize,
    /// Items that hold nothing but punctuation, symbols or emoji, and were left out: what they say, nobody can look for.
    pub items_left_out: usize,
    /// What could not be added, with the reason.
    pub problems: Vec<Problem>,
    /// The newest commit.
    pub seq: u64,
}

impl AddReport {
    /// An add that went on after `before`, over the same files: what that one did is found unchanged by this one.
    fn go_on_from(&mut self, before: &AddReport) {
        let done = before.files_added + before.files_changed;
        self.files_unchanged = self.files_unchanged.saturating_sub(done);
        self.files_added += before.files_added;
        self.files_changed += before.files_changed;
        self.files_removed += before.files_removed;
        self.items_added += before.items_added;
        self.items_truncated += before.items_truncated;
        self.items_left_out += before.items_left_out;
    }
}

/// A document that came by API.
#[derive(Clone, Debug, Default)]
pub struct NewDocument {
    /// Its id; `None` = one is made (unique, and sorting by time).
    pub id: Option<String>,
    /// What to search; must be given.
    pub content: Option<DocumentContent>,
    /// Fields of the document; nested values are kept, filters reach the top level.
    pub metadata: Metadata,
}

/// Content of a document that came by API.
#[derive(Clone, Debug)]
pub enum DocumentContent {
    /// Text for a text collection; cut into passages where it is longer than the model reads.
    Text(String),
    /// An encoded picture (jpeg, png, webp, gif, bmp) for a picture collection.
    Picture(Vec<u8>),
    /// A document's file under its name, for a text collection: read as `add_paths` reads it, with its headings, pages and
    /// slides. An archive or a table becomes several documents. For a picture collection: an archive of pictures.
    File {
        /// Its name, whose extension tells the format.
        name: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A text that is cut already, each part with its own fields.
    Passages(Vec<(String, Metadata)>),
    /// A vector for a collection of bare vectors; nothing says which model a vector came from, so others refuse it.
    Vector(Vec<f32>),
}

impl NewDocument {
    fn is_file(&self) -> bool {
        matches!(self.content, Some(DocumentContent::File { .. }))
    }
}

impl DocumentContent {
    fn name(&self) -> &'static str {
        match self {
            DocumentContent::Text(_) | DocumentContent::Passages(_) => "text",
            DocumentContent::File { .. } => "a document",
            DocumentContent::Picture(_) => "a picture",
            DocumentContent::Vector(_) => "a vector",
        }
    }
}

/// What `add_documents` did.
#[derive(Clone, Debug)]
pub struct Added {
    /// The commit.
    pub seq: u64,
    /// Documents that were new.
    pub added: usize,
    /// Documents that replaced one of the same id.
    pub updated: usize,
    /// Ids, in the order of the request.
    pub ids: Vec<String>,
    /// Items longer than the model reads.
    pub truncated: usize,
    /// What of the files could not be read, while the rest was.
    pub problems: Vec<String>,
}

/// The words for a kind of collection in messages.
pub(crate) fn kind_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Image => "pictures",
        Kind::Vector => "bare vectors",
    }
}

/// An id that can be stored, shown in one line and put into an address.
pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    let reason = if id.trim().is_empty() {
        "it is empty".to_owned()
    } else if id.len() > MAX_ID_BYTES {
        format!("it is {} bytes long, the limit is {MAX_ID_BYTES}", id.len())
    } else if let Some(control) = id.chars().find(|letter| letter.is_control()) {
        format!("it holds the control character {control:?}")
    } else {
        return Ok(());
    };
    let shown: String = id.chars().take(60).collect();
    Err(Error::invalid(format!("document id {shown:?} cannot be used: {reason}")))
}
