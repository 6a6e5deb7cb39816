//! Full text: items found by the words of their texts, as of one commit.
//!
//! The store knows no language. An [`Analyzer`], given to the data folder, cuts texts into terms; the terms of an item are
//! written in the transaction that writes the item, under its slot, and leave with it when it is purged. So documents,
//! items and full text are one commit, and a snapshot finds by words exactly what it finds by vectors: its live rows.
//!
//! Only collections of texts have a full text. One that was made before there was any, or by an analyzer of another id, is
//! filled by [`Collection::fill_full_text`] in small commits; until that is done its searches by words say so
//! ([`StoreError::FullText`]) instead of answering from a part.

mod fill;
mod lengths;
mod postings;
mod search;
mod sums;

pub(crate) use lengths::Lengths;
pub(crate) use postings::KeptPostings;
pub use search::{TextHit, TextHits, TextQuery};

use crate::catalog;
use crate::collection::Collection;
use crate::error::{StoreError, catalog_error};
use crate::settings::Kind;
use rusqlite::Connection;

/// What a unit begins with; no word may.
pub const UNIT_MARK: char = '=';

/// The terms of one text: two lists, separated by blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What relevance is counted by; the order means nothing.
    pub words: String,
    /// What phrases are made of, in the order of the text, each behind [`UNIT_MARK`].
    pub units: String,
}

/// Cuts items into terms. Terms hold no blanks and no capital letters of ASCII.
pub trait Analyzer: Send + Sync {
    /// Names its rules; raised whenever the same text gives other terms, and then every full text is made anew.
    fn id(&self) -> &str;
    /// The terms of an item: of its text, and of what its fields (`metadata`, a JSON object) say about it.
    fn terms(&self, text: &str, metadata: &str) -> Terms;
}

/// Letters and digits between anything else, in small letters: what a data folder uses that was given no analyzer.
pub(crate) struct PlainAnalyzer;

impl Analyzer for PlainAnalyzer {
    fn id(&self) -> &str {
        "plain 1"
    }

    fn terms(&self, text: &str, _: &str) -> Terms {
        let mut terms = Terms::default();
        for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
        {
            let word = word.to_lowercase();
            terms.words.extend([word.as_str(), " "]);
            terms.units.push(UNIT_MARK);
            terms.units.extend([word.as_str(), " "]);
        }
        terms
    }
}

impl Collection {
    /// The analyzer, where the collection has a full text.
    pub(crate) fn analyzer(&self) -> Option<&dyn Analyzer> {
        (self.snapshot().settings.kind == Kind::Text).then_some(&*self.analyzer)
    }

    /// The terms of items, given their texts and their fields; nothing where the collection has no full text.
    pub(crate) fn terms_of<'a>(&self, items: impl Iterator<Item = (Option<&'a str>, &'a str)>) -> Vec<Terms> {
        let Some(analyzer) = self.analyzer() else { return Vec::new() };
        let terms = |(text, metadata): (Option<&str>, &str)| {
            text.map(|text| analyzer.terms(text, metadata)).unwrap_or_default()
        };
        items.map(terms).collect()
    }

    /// Before items are written at slots from `rows` on: what another analyzer left makes room.
    pub(crate) fn claim_full_text(&self, connection: &Connection, rows: usize) -> Result<(), StoreError> {
        let Some(analyzer) = self.analyzer() else { return Ok(()) };
        catalog::claim_full_text(connection, analyzer.id(), rows)
            .map_err(|source| catalog_error("prepare the full text", source))
    }
}
