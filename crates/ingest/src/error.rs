//! What can be wrong with a file, and what to do about it.
//!
//! An [`IngestError`] refuses one file; a [`Problem`] reports a path or a record in a form that a person can act on.
//! Offsets are bytes from the start of the file, lines count from 1.

use std::path::{Path, PathBuf};

/// Why a file could not be read into documents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The file is larger than the caller allows; found out before it is read.
    #[error("file has {bytes} bytes, more than the limit of {limit} bytes")]
    TooLarge {
        /// Length of the file.
        bytes: u64,
        /// The limit it exceeds.
        limit: u64,
    },
    /// The operating system could not open or read the file.
    #[error("cannot read the file: {0}")]
    Read(#[from] std::io::Error),
    /// A NUL byte (or, in UTF-16, a NUL character): data, not text.
    #[error("file is binary, not text: NUL at byte offset {offset}")]
    Binary {
        /// Where the first NUL stands.
        offset: usize,
    },
    /// The bytes are in none of the encodings that can be told apart with certainty.
    #[error(
        "text is neither UTF-8 nor certainly GB18030 or Big5: first byte that is no UTF-8 at offset {offset}"
    )]
    UnknownEncoding {
        /// Where UTF-8 ends.
        offset: usize,
    },
    /// A UTF-16 byte order mark, but broken UTF-16 behind it.
    #[error("text begins as UTF-16 but is broken at byte offset {offset}")]
    BrokenUtf16 {
        /// Where the unpaired surrogate or the odd byte stands.
        offset: usize,
    },
    /// A CSV file without a column that could be the text.
    #[error("the first line names no text column: expected one of {expected}, found {found}")]
    NoTextColumn {
        /// The names that are understood.
        expected: String,
        /// The names in the file.
        found: String,
    },
    /// A document or archive that is no such thing, or is damaged.
    #[error("not a readable {format} file: {reason}")]
    Damaged {
        /// What it should be.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Encrypted: nothing but its length is known.
    #[error("the {format} file is protected by a password")]
    Encrypted {
        /// What it is.
        format: &'static str,
    },
    /// A format of old that other programs convert.
    #[error("files of {program} (.{extension}) cannot be read")]
    OldFormat {
        /// The program that writes it.
        program: &'static str,
        /// The file's extension.
        extension: String,
        /// The extension to save it as.
        instead: &'static str,
    },
    /// An archive in an archive.
    #[error("an archive within an archive is not read")]
    NestedArchive,
    /// More inside than [`Limits`](crate::Limits) allow, found out while it was unpacked.
    #[error("it unfolds into more than {limit} {unit}")]
    Unfolds {
        /// What was counted.
        unit: &'static str,
        /// The limit that it exceeds.
        limit: u64,
    },
    /// A document whose pages show no text that can be read.
    #[error(
        "none of its {pages} pages has text that can be read; {scanned} of them are a picture (scanned?)"
    )]
    NoText {
        /// Pages of the document.
        pages: usize,
        /// Pages that are a picture each.
        scanned: usize,
    },
    /// Given up after the time that [`Limits`](crate::Limits) allow.
    #[error("it took longer than {seconds} s to read")]
    TooSlow {
        /// The limit.
        seconds: u64,
    },
    /// A CSV header that names a column twice.
    #[error("the first line names the column \"{name}\" twice")]
    DuplicateColumn {
        /// The repeated name.
        name: String,
    },
}

impl IngestError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged { .. } => Some("open it in the program that wrote it, save it again, or remove it"),
            Self::Encrypted { .. } => Some("save it without a password"),
            Self::OldFormat { instead, .. } => Some(match *instead {
                "pptx" => "open it in PowerPoint, WPS or LibreOffice and save it as .pptx",
                "xlsx" => "open it in Excel, WPS or LibreOffice and save it as .xlsx",
                _ => "open it in Word, WPS or LibreOffice and save it as .docx",
            }),
            Self::NestedArchive => Some("unpack it and add what is in it"),
            Self::Unfolds { .. } => Some("split the file, or raise the limits on documents if you trust it"),
            Self::NoText { .. } => {
                Some("make the text searchable with a program for OCR, and add the file again")
            }
            Self::TooSlow { .. } => Some("split the file, or raise the limit on seconds for a document"),
            Self::TooLarge { .. } => Some("split the file, or raise the limit on file size"),
            Self::Read(_) => Some("check that the file exists and that you may read it"),
            Self::Binary { .. } => Some("remove the file from the folder, or convert it to text"),
            Self::UnknownEncoding { .. } | Self::BrokenUtf16 { .. } => Some("save the file as UTF-8"),
            Self::NoTextColumn { .. } => {
                Some("a CSV file begins with a line of column names; name the column to search \"text\"")
            }
            Self::DuplicateColumn { .. } => Some("give every column a name of its own"),
        }
    }
}

/// A path or a record that could not be taken, while the rest went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or folder; canonical where it exists.
    pub path: PathBuf,
    /// What is wrong, with the line number where a record is.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Some pages of a document cannot be read, and the rest of it was: a warning, not a failure.
    pub is_partial: bool,
}

impl Problem {
    /// The problem of a whole file.
    #[must_use]
    pub fn of_file(path: &Path, error: &IngestError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { path: path.to_path_buf(), reason: error.to_string(), hint, is_partial: false }
    }
}
