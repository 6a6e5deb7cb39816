//! [`FaissError`]: why bytes are not a FAISS file that can be read, decoded, searched or written here.

use crate::error::IndexError;

/// What can go wrong with a FAISS file.
#[derive(Debug, thiserror::Error)]
pub enum FaissError {
    /// A field holds what it cannot hold, or the file ends before it does.
    #[error("faiss file, offset {offset}, {field}: expected {expected}, received {received}")]
    Format {
        /// Byte offset of the field; in the side file for fields of on-disk lists that point there.
        offset: u64,
        /// Its name in the format.
        field: &'static str,
        /// What it should have been.
        expected: String,
        /// What it was.
        received: String,
    },
    /// Something that FAISS knows and this reader does not.
    #[error("faiss file, offset {offset}: {what} cannot be read; {hint}")]
    Unsupported {
        /// Byte offset.
        offset: u64,
        /// What stands there.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// The file is in order, but vectors cannot be had from it.
    #[error("{what} cannot be decoded; {why}")]
    Decode {
        /// What was to be decoded.
        what: &'static str,
        /// Why not, and what to do.
        why: String,
    },
    /// A decoded value is NaN or infinite.
    #[error("the vector with id {id}, column {column} is {value}, expected a finite number")]
    NotFinite {
        /// User id of the vector.
        id: i64,
        /// Its column.
        column: usize,
        /// The value.
        value: f32,
    },
    /// The file is in order, but no index of ours answers as it would.
    #[error("{what} cannot be searched; {hint}")]
    Search {
        /// What was to be opened.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// An index of ours has no counterpart in FAISS.
    #[error("{what} cannot be written as a faiss file; {hint}")]
    Write {
        /// What was to be written.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// The index made of the file refuses.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The writer failed.
    #[error("cannot write the faiss file: {0}")]
    Io(#[from] std::io::Error),
}
