//! What stands behind an error: the causes that it names as its sources, which often say more than itself.
//!
//! Many messages end with their cause already, and nobody wants to read it twice: what was told above is left out.

use std::error::Error;

/// Everything below an error, outermost first.
pub(crate) fn all(error: &dyn Error) -> Vec<String> {
    let (mut causes, mut told) = (Vec::new(), error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !told.contains(&text) {
            causes.push(text.clone());
        }
        told.push_str(&text);
        next = cause.source();
    }
    causes
}

/// The same in one line.
pub(crate) fn causes(error: &dyn Error) -> String {
    all(error).join(": ")
}

/// An error with everything below it.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    match causes(error) {
        causes if causes.is_empty() => error.to_string(),
        causes => format!("{error}: {causes}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    fn over(said: &'static str, cause: Told) -> Told {
        Told(said, Some(Box::new(cause)))
    }

    #[test]
    fn each_cause_is_told_once_outermost_first() {
        let error = over("cannot ask", over("no connection", Told("refused by the peer", None)));
        assert_eq!(with_causes(&error), "cannot ask: no connection: refused by the peer");
        assert_eq!(causes(&error), "no connection: refused by the peer");
        // Many messages end with their cause.
        let error =
            over("cannot ask: no connection", over("no connection", Told("refused by the peer", None)));
        assert_eq!(with_causes(&error), "cannot ask: no connection: refused by the peer");
        assert_eq!(with_causes(&Told("alone", None)), "alone");
    }
}
