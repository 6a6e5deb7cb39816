//! What stands behind an error: the causes that it names as its sources, which often say more than itself.

use std::error::Error;
use std::iter;

/// Everything below an error, outermost first.
pub(crate) fn causes(error: &dyn Error) -> String {
    let below = iter::successors(error.source(), |&cause| cause.source());
    below.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An error with everything below it.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    match causes(error) {
        causes if causes.is_empty() => error.to_string(),
        causes => format!("{error}: {causes}"),
    }
}
