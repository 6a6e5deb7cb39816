//! [`CancelToken`]: whether an answer is still wanted.
//!
//! Held by the one who asks and looked at by the one who works: never a reason to interrupt what is under way, always one not to
//! begin. A token that was cancelled stays so.

use crate::error::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Tells the engine that nobody waits for an answer any more. Clones are one token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl CancelToken {
    /// A token that is cancelled by [`CancelToken::cancel`] alone.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// A token that also counts as cancelled from `deadline` on.
    pub fn with_deadline(deadline: Instant) -> CancelToken {
        CancelToken { deadline: Some(deadline), ..CancelToken::default() }
    }

    /// The answer is not wanted any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether it was cancelled or its deadline is past.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// # Errors
    /// [`ErrorKind::Cancelled`] when it is.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.is_cancelled() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Cancelled, "the request was given up before it was worked on")
                .with_hint("send it again")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn clones_are_one_token_and_deadlines_pass() {
        let token = CancelToken::new();
        assert!(!token.is_cancelled() && token.check().is_ok());
        token.clone().cancel();
        assert_eq!(token.check().expect_err("cancelled").kind, ErrorKind::Cancelled);
        assert!(CancelToken::with_deadline(Instant::now()).is_cancelled());
        assert!(!CancelToken::with_deadline(Instant::now() + Duration::from_secs(600)).is_cancelled());
    }
}
