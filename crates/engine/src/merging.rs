//! Uniting collections, and giving back the space of what was deleted.
//!
//! Both act on the files of the embedded store. Every source of a merge is one commit of the target: all of it or nothing.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::storage::{Upkeep, VectorStore};
use bilin_store::{Clash, Compacted};

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The target was made by it, with the settings of the first source.
    pub created: bool,
    /// Sources that are in.
    pub sources: usize,
    /// Documents that are new.
    pub added: usize,
    /// Documents that took the place of one in both.
    pub updated: usize,
    /// Documents left out, since the target has them.
    pub kept: usize,
    /// Items that came with the documents.
    pub items: usize,
    /// The newest commit of the target.
    pub seq: u64,
}

impl Engine {
    /// Takes all documents of `sources` into `target`, which is made with the settings of the first where it is missing. The
    /// sources stay as they are.
    ///
    /// # Errors
    /// Conflict for collections of other vector spaces (nothing is merged) and, under [`Clash::Fail`], for documents that
    /// both have (that source is not merged; those before it are).
    pub fn merge(&self, target: &str, sources: &[String], clash: Clash) -> Result<Merged, Error> {
        if sources.is_empty() {
            return Err(
                Error::invalid("there is no source to merge").with_hint("name at least one collection")
            );
        }
        for (at, source) in sources.iter().enumerate() {
            if source == target {
                return Err(Error::invalid(format!("collection {target:?} cannot be merged into itself"))
                    .with_hint("name other collections as sources; nothing was changed"));
            }
            if sources.iter().take(at).any(|before| before == source) {
                return Err(Error::invalid(format!("source {source:?} is named twice"))
                    .with_hint("name every source once; nothing was changed"));
            }
        }
        let _occupied = self.reencodings.occupy(sources.iter().chain([&target.to_owned()]), "merged");
        self.stores.merge(target, sources, clash, self.config.rows_per_segment)
    }

    /// Gives back the space of what was deleted from a collection, where that is worth it (or `force`); says what was done
    /// and why.
    pub fn compact(&self, collection: &str, force: bool) -> Result<String, Error> {
        self.stores.compact(collection, force).map(|compacted| compacted.reason)
    }

    /// Gives back space and brings a collection's index up to date, where that is due (or `force`); says what was done and
    /// why. Space first, so that a new index covers rows where they stay; and again when only the old index was in the way.
    pub fn maintain(&self, collection: &str, force: bool) -> Result<String, Error> {
        let compacted = match self.stores.compact(collection, force) {
            // Without room to move rows there may still be room for an index.
            Err(error) if error.kind == ErrorKind::NoSpace => {
                Compacted { reason: error.message, ..Compacted::default() }
            }
            compacted => compacted?,
        };
        let store = self.stores.collection(collection)?;
        let upkeep = Upkeep { policy: self.build_policy(&store), ..self.config.upkeep(force) };
        let built = VectorStore::maintain(&*store, &upkeep, &|_, _| true)?;
        let mut done = format!("space: {}; index: {built}", compacted.reason);
        if compacted.segments_waiting > 0 {
            let rest = self.stores.compact(collection, force)?;
            done += &format!("; space again: {}", rest.reason);
        }
        Ok(done)
    }
}
