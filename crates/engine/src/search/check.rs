//! What a query must satisfy before any work is done for it.

use super::{Query, Target};
use crate::add::{check_id, documents::check_vector};
use crate::config::EngineConfig;
use crate::error::{Error, ErrorKind};
use bilin_store::Settings;

/// Checks the parts that need no collection's content.
pub(super) fn check(query: &Query, settings: &Settings, config: &EngineConfig) -> Result<(), Error> {
    if query.top_k == 0 || query.top_k > config.max_top_k {
        return Err(Error::invalid(format!("top_k must be 1 to {}, got {}", config.max_top_k, query.top_k))
            .with_hint("ask for fewer results"));
    }
    if query.effort == Some(0) {
        return Err(Error::invalid("effort must be at least 1, got 0")
            .with_hint("leave it out for the calibrated one"));
    }
    match &query.target {
        Target::Text(text) => check_text(text, config.max_query_chars),
        Target::Picture(bytes) if bytes.is_empty() => Err(Error::invalid("the picture is empty (0 bytes)")
            .with_hint("send a jpeg, png, webp, gif or bmp file")),
        Target::Picture(_) => Ok(()),
        Target::Vector(vector) => {
            check_vector(vector, settings).map_err(|error| error.within("query vector"))
        }
        Target::Like(id) => check_id(id),
    }
}

/// The text of a query: something, and not more than the limit.
fn check_text(text: &str, max_chars: usize) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::invalid(format!(
            "the query must hold 1 to {max_chars} characters that are not blank, got none"
        ))
        .with_hint("ask a question or give a few words"));
    }
    let chars = text.chars().count();
    if chars > max_chars {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the query must hold at most {max_chars} characters, got {chars}"),
        )
        .with_hint("shorten it; a question or a paragraph is enough"));
    }
    Ok(())
}
