//! Files in, items out: text, Markdown, JSONL, CSV and picture folders; Chinese and English splitting with chapter and section kept.
//!
//! No model and no vector is known here: token budgets come in as a counting function. A bad file is an error value for
//! that file alone. Paths are walked in sorted order, so that a folder gives the same documents on every machine.

#![allow(missing_docs, dead_code, unused, clippy::todo)] // skeleton only
// CONTRACT SKELETON: the shapes below are agreed between the crates. Bodies move into modules.
use std::path::PathBuf;
/// Metadata of a document or item: JSON values by field name, in order.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// What kind of content a collection takes; files of the other kind are passed over (and counted) in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Text,
    Pictures,
}

/// How text is cut into items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Split {
    /// Sentences for plain text (as the tutorial does), passages for Markdown; records are kept whole where they fit.
    #[default]
    Auto,
    /// One sentence per item.
    Sentence,
    /// Neighbouring sentences of one section, up to the token budget.
    Passage,
}
/// How to read files.
#[derive(Clone, Copy)]
pub struct ReadOptions<'a> {
    pub split: Split,
    /// Longest item in tokens as `count_tokens` counts them.
    pub max_tokens: usize,
    pub count_tokens: &'a (dyn Fn(&str) -> usize + Sync),
    pub max_file_bytes: u64,
}

/// A file found by `walk`.
#[derive(Clone, Debug)]
pub struct Found {
    /// Canonical absolute path: the file's identity when a folder is added again, from wherever.
    pub path: PathBuf,
    /// The name shown and used as document id: relative to the working folder where the file lies below it, else
    /// absolute; always `/`-separated (`text_corpus.txt`, `course/chapter1.md`).
    pub source: String,
    pub format: Format,
    pub bytes: u64,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Markdown,
    JsonLines,
    Csv,
    Picture,
}

/// What `walk` saw.
#[derive(Debug, Default)]
pub struct Walk {
    pub found: Vec<Found>,
    /// Files of formats or kinds that were not wanted, passed over silently in folders (only counted).
    pub passed_over: usize,
    /// Paths that do not exist, cannot be read, or were named explicitly but cannot be taken.
    pub problems: Vec<Problem>,
    /// Canonical paths of the folders and files that were asked for: what `--sync` compares with.
    pub roots: Vec<PathBuf>,
}
#[derive(Debug, Clone)]
pub struct Problem {
    pub path: PathBuf,
    pub reason: String,
    pub hint: Option<String>,
}

/// Walks files and folders, sorted; hidden files and folders are passed over; symlink loops end.
pub fn walk(_paths: &[PathBuf], _wanted: Wanted) -> Walk {
    todo!()
}

/// One document (a file, or one record of a JSONL/CSV file) with its items.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub id: String,
    pub items: Vec<Item>,
}
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub content: Content,
    pub metadata: Metadata,
}
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Displayed text.
    Text(String),
    /// Encoded picture file as found (not decoded here).
    Picture(Vec<u8>),
}
/// Reads one file into documents. JSONL/CSV give one document per record (`id` field or `source#line`), others one per file.
/// Records that are wrong are reported beside the good ones, with their line number.
pub fn read(_found: &Found, _bytes: Vec<u8>, _options: &ReadOptions<'_>) -> Result<ReadFile, IngestError> {
    todo!()
}
#[derive(Debug, Default)]
pub struct ReadFile {
    pub documents: Vec<Document>,
    pub problems: Vec<Problem>,
}

/// Cuts a text that came by API into items no longer than the budget (one item where it fits).
pub fn split_text(_text: &str, _options: &ReadOptions<'_>) -> Vec<String> {
    todo!()
}

#[derive(Debug)]
pub enum IngestError {}
