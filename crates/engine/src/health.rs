//! Whether everything works, in words for people and for monitors.

use crate::Engine;
use crate::collection::{CollectionInfo, info};

/// Whether everything works.
#[derive(Clone, Debug)]
pub struct Health {
    /// `healthy`, or `degraded` when a collection is broken or has warnings.
    pub status: String,
    /// Every collection that is open.
    pub collections: Vec<CollectionInfo>,
    /// Name and reason of every collection that could not be opened.
    pub broken: Vec<(String, String)>,
}

/// See [`crate::Engine::health`].
pub(crate) fn health(engine: &Engine) -> Health {
    let collections: Vec<_> = engine
        .stores
        .all()
        .iter()
        .map(|store| info(engine, &**store, engine.reencode_status(store.name())))
        .collect();
    let broken = engine.stores.broken();
    let well = broken.is_empty() && collections.iter().all(|collection| collection.health == "ok");
    let status = if well { "healthy" } else { "degraded" }.to_owned();
    Health { status, collections, broken }
}
