//! Full texts: the terms of `bilin_ingest` for the store, and filling in the background those that are not whole.
//!
//! Invariants: at most one thread fills a collection; it ends when the engine does, whatever is left, since each of its steps
//! is a commit of its own. Who searches by words meanwhile waits for it a little ([`PATIENCE`]) and is then told how far it is.

use crate::cancel::CancelToken;
use crate::error::{Error, for_collection};
use bilin_ingest::{heading_path, terms};
use bilin_store::{Analyzer, Collection, Metadata, Terms};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a search by words waits for a full text that is being filled: small ones are whole by then.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// Rules of the terms, and what they are taken of.
pub(crate) static ANALYZER: LazyLock<String> = LazyLock::new(|| format!("{} with headings", terms::VERSION));

/// The analyzer of every collection of texts.
pub(crate) struct TextAnalyzer;

impl Analyzer for TextAnalyzer {
    fn id(&self) -> &str {
        &ANALYZER
    }

    /// The words of a passage are also those of the headings above it; phrases are those of its text.
    fn terms(&self, text: &str, metadata: &str) -> Terms {
        let terms::Terms { mut words, units } = terms::Terms::of(text);
        // What is not an object has no headings.
        let fields: Metadata = serde_json::from_str(metadata).unwrap_or_default();
        if let Some(headings) = heading_path(&fields) {
            words.push(' ');
            words.push_str(&terms::Terms::of(&headings).words);
        }
        Terms { words, units }
    }
}

/// The threads that fill full texts.
#[derive(Default)]
pub(crate) struct Fillers {
    stop: Arc<AtomicBool>,
    running: Mutex<BTreeMap<String, JoinHandle<()>>>,
}

impl Drop for Fillers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, filler) in running {
            if filler.join().is_err() {
                tracing::error!(collection = name, "the thread that fills the full text ended unexpectedly");
            }
        }
    }
}

impl Fillers {
    /// Begins to fill the full text of a collection, unless it is whole or being filled.
    pub(crate) fn begin(&self, collection: &Arc<Collection>) -> Result<(), Error> {
        let name = Collection::name(collection).to_owned();
        let lag = collection.full_text_lag().map_err(|error| for_collection(error, &name))?;
        let Some((_, items)) = lag else { return Ok(()) };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(&name).is_some_and(|filler| !filler.is_finished()) {
            return Ok(());
        }
        tracing::info!(collection = name, items, "filling the full text");
        let (stop, collection) = (Arc::clone(&self.stop), Arc::clone(collection));
        let filler = std::thread::Builder::new().name("bilin-full-text".to_owned()).spawn(move || {
            let name = Collection::name(&collection);
            match collection.fill_full_text(&|_, _| !stop.load(Ordering::Acquire)) {
                Ok(is_whole) => tracing::info!(collection = name, is_whole, "full text filled"),
                Err(error) => tracing::error!(collection = name, %error, "cannot fill the full text"),
            }
        });
        let filler = filler.map_err(|error| {
            Error::new(crate::ErrorKind::Io, format!("cannot start a thread: {error}")).with_source(error)
        })?;
        running.insert(name, filler);
        Ok(())
    }

    /// Begins, and waits a little; says whether the full text is whole.
    pub(crate) fn whole_soon(
        &self,
        collection: &Arc<Collection>,
        token: &CancelToken,
    ) -> Result<bool, Error> {
        let started = Instant::now();
        loop {
            let lag = collection.full_text_lag();
            if lag.map_err(|error| for_collection(error, Collection::name(collection)))?.is_none() {
                return Ok(true);
            }
            if started.elapsed() >= PATIENCE {
                return Ok(false);
            }
            self.begin(collection)?;
            token.check()?;
            std::thread::sleep(POLL);
        }
    }
}
