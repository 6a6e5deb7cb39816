//! Which items of a whole collection answer each question: what recall and nDCG divide by, and what names a question that
//! nothing answers.
//!
//! One pass over a view, a bounded number of items in memory at a time; of the right ones only a few places are kept.

use super::judge::{Facts, Judge, Place};
use crate::cancel::CancelToken;
use crate::error::Error;
use crate::storage::View;

/// Items read at a time.
const CHUNK_ITEMS: usize = 256;
/// Right places that are remembered of each question.
const PLACES_KEPT: usize = 16;

/// Of one question.
#[derive(Clone, Debug, Default)]
pub(super) struct Relevant {
    /// Items that answer it.
    pub(super) count: usize,
    /// Where some of them stand.
    pub(super) places: Vec<Place>,
}

/// Judges every item of the view for every question.
pub(super) fn count(
    view: &dyn View,
    judge: &Judge,
    questions: usize,
    token: &CancelToken,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<Relevant>, Error> {
    let mut relevant = vec![Relevant::default(); questions];
    let keys = view.keys();
    for (at, chunk) in keys.chunks(CHUNK_ITEMS).enumerate() {
        token.check()?;
        progress(at * CHUNK_ITEMS, keys.len());
        for item in view.items(chunk)? {
            let facts = Facts::of(&item.document, item.ordinal, item.text.as_deref(), &item.metadata);
            for (question, relevant) in relevant.iter_mut().enumerate() {
                if judge.is_right(question, &facts) {
                    relevant.count += 1;
                    if relevant.places.len() < PLACES_KEPT {
                        relevant.places.push(Place::of(&item.metadata));
                    }
                }
            }
        }
    }
    progress(keys.len(), keys.len());
    Ok(relevant)
}
