//! How a command fails: exit code, message, causes, hint.
//!
//! The one place where an [`ErrorKind`] becomes an exit code.

use crate::causes;
use bilin_engine::{Error, ErrorKind};
use std::io;

/// Exit codes, stated in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Nothing was found, or the user can mend it.
    Mendable = 1,
    /// Wrong usage, or a mistake of ours.
    Fault = 2,
}

/// What a command tells when it cannot go on.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// The user can mend it. `message`: lower case, no final stop, values quoted.
    pub fn mendable(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Mendable, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// The command line itself is wrong.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Fault, ..Failure::mendable(message) }
    }

    /// A mistake of ours.
    pub fn internal(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Fault, ..Failure::mendable(message) }
    }

    /// stdout could not be written. A reader that went away is no failure: exit code 0 and no word.
    pub fn output(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { exit: Exit::Success, ..Failure::mendable("") };
        }
        Failure::mendable(format!("cannot write to standard output: {error}"))
    }

    /// What to do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What failed; empty when there is nothing to tell.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Why, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// What to do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The one match from error kind to exit code.
pub fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::InvalidInput
        | ErrorKind::TooLarge
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Locked
        | ErrorKind::Busy
        | ErrorKind::Cancelled
        | ErrorKind::Damaged
        | ErrorKind::NoSpace
        | ErrorKind::Io => Exit::Mendable,
        ErrorKind::Internal => Exit::Fault,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let causes = causes::all(&error);
        let hint = match error.kind {
            ErrorKind::Locked => Some(
                "a running bilin serve holds it: use its HTTP routes, or stop it first; --data DIR names another folder"
                    .to_owned(),
            ),
            _ => error.hint,
        };
        Failure { exit: exit_of(error.kind), message: error.message, causes, hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_success() {
        let failure = Failure::output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit(), failure.message()), (Exit::Success, ""));
        let failure = Failure::output(io::Error::other("disk full"));
        assert_eq!(failure.exit(), Exit::Mendable);
    }

    #[test]
    fn a_full_disk_can_be_mended() {
        let failure = Failure::from(Error::new(ErrorKind::NoSpace, "no space left").with_hint("free some"));
        assert_eq!((failure.exit(), failure.hint()), (Exit::Mendable, Some("free some")));
    }

    #[test]
    fn causes_are_told_once() {
        let error = Error {
            kind: ErrorKind::Io,
            message: "cannot read \"a\": gone".into(),
            hint: None,
            source: Some(Box::new(io::Error::other("gone"))),
        };
        assert!(Failure::from(error).causes().is_empty());
        let error = Error {
            kind: ErrorKind::Internal,
            message: "cannot read \"a\"".into(),
            hint: None,
            source: Some(Box::new(io::Error::other("gone"))),
        };
        let failure = Failure::from(error);
        assert_eq!(failure.causes(), ["gone"]);
        assert_eq!(failure.exit(), Exit::Fault);
    }
}
