//! The one error that leaves the engine: what failed, why, and what to do about it.
//!
//! The lower crates keep small enums per operation, with expected and received values. Here they become one [`Error`]
//! whose [`ErrorKind`] is enough to pick an HTTP status or an exit code, and whose message is a finished sentence for the
//! person who asked (lower case, no final stop, values quoted). The translations live in [`lower`](self) alone.

mod lower;

pub(crate) use lower::{for_collection, for_data, is_replaced};

/// What failed, why, what to do.
#[derive(Debug)]
pub struct Error {
    /// Decides status and exit code.
    pub kind: ErrorKind,
    /// Lower case, no final stop.
    pub message: String,
    /// What the person who asked can do about it.
    pub hint: Option<String>,
    /// The lower error that this one came from.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Decides HTTP status and exit code in one `match` in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request cannot be understood or does not fit the collection.
    InvalidInput,
    /// The request is over a named limit.
    TooLarge,
    /// What was named does not exist.
    NotFound,
    /// What was asked contradicts what is there.
    Conflict,
    /// Another process holds the data folder.
    Locked,
    /// Too much work at once; later it may go through.
    Busy,
    /// The caller asked to stop.
    Cancelled,
    /// Files fail their checks.
    Damaged,
    /// The disk has no room for it; reads and deletes go on.
    NoSpace,
    /// The operating system refused.
    Io,
    /// A mistake of ours.
    Internal,
}

impl Error {
    /// An error without hint and source.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), hint: None, source: None }
    }
    /// [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, message)
    }
    /// Says what to do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }
    /// Keeps the lower error.
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.source = Some(Box::new(source));
        self
    }
    /// Says where it happened: `context: message`.
    pub(crate) fn within(mut self, context: &str) -> Error {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
