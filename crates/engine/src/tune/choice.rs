//! The quick way: which kind of index suits a collection, measured on a small sample of its rows and carried over to all.

use crate::engine::Engine;
use crate::error::Error;
use crate::storage::Upkeep;
use bilin_index::{Choice, IndexSpec};

/// What to look for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TuneOptions {
    /// Recall at 10 to reach; `None` = the collection's own.
    pub target_recall: Option<f32>,
    /// Most bytes that the served index may need, rows included; `None` = the configured budget.
    pub memory_bytes: Option<u64>,
    /// Build what was chosen and serve from it.
    pub apply: bool,
}

/// What was found, and done.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The choice and everything it was chosen from.
    pub choice: Choice,
    /// Recall at 10 that was aimed at.
    pub target_recall: f32,
    /// Most bytes that the index could need.
    pub memory_bytes: Option<u64>,
    /// The index that the collection was set to before.
    pub before: IndexSpec,
    /// What was built, when it was to be applied.
    pub applied: Option<String>,
}

pub(crate) fn tune(
    engine: &Engine,
    collection: &str,
    options: &TuneOptions,
    progress: &(dyn Fn(usize, usize) -> bool + Sync),
) -> Result<Tuned, Error> {
    let store = engine.stores.get(collection)?;
    let settings = store.settings();
    let target_recall = options.target_recall.unwrap_or(settings.target_recall);
    if !(target_recall > 0.0 && target_recall <= 1.0) {
        return Err(Error::invalid(format!(
            "target_recall must be over 0 and at most 1, got {target_recall}"
        )));
    }
    let configured = engine.config.upkeep(true);
    let upkeep = Upkeep { memory_bytes: options.memory_bytes.or(configured.memory_bytes), ..configured };
    let choice = store.choose_index(Some(target_recall), &upkeep, progress)?;
    let applied = match options.apply {
        true => {
            store.set_index(choice.spec.clone(), target_recall)?;
            Some(store.maintain(&upkeep, progress)?)
        }
        false => None,
    };
    let memory_bytes = upkeep.memory_bytes;
    Ok(Tuned { choice, target_recall, memory_bytes, before: settings.index, applied })
}
