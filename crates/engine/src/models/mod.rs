//! The encoder pool: each model is opened once, when it is first needed, and shared by every collection and thread.
//!
//! A model is named by its id: that of one of this build, or the path of a folder or file; collections remember the full path.
//! A collection remembers id, revision and space of the model that made its vectors. Other weights under the same name
//! would give vectors that cannot be compared with those, so they are refused with both revisions named.

mod reading;

pub use reading::TextWishes;
pub(crate) use reading::{encoded_text, model_ref, remember_for_encoder};

use crate::error::{Error, ErrorKind};
use bilin_encode::{EncodeError, Encoded, Encoder, Input, Modality, ModelCard, Reading};
use bilin_store::{Kind, ModelRef, Settings};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Opened encoders by model id.
#[derive(Default)]
pub(crate) struct ModelPool {
    open: Mutex<BTreeMap<String, Arc<dyn Encoder>>>,
    /// Those of them that read texts in another way than their card says, by id and way: as many as collections have.
    otherwise: Mutex<BTreeMap<(String, Reading), Arc<dyn Encoder>>>,
}

impl ModelPool {
    /// The encoder of a model id. Never called from inside a thread pool: opening may itself use threads.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<dyn Encoder>, Error> {
        if let Some(encoder) = self.table().get(id) {
            return Ok(encoder.clone());
        }
        // Opened without the lock, so that one model being unpacked does not hold up another; `encode::open` shares what
        // it unpacks, so two threads that come here at once get the same weights.
        let encoder = bilin_encode::open(id)?;
        let mut table = self.table();
        // A model may be named by several paths; it is kept once, under its full one, and found by those as well.
        let encoder = table.entry(encoder.card().id.clone()).or_insert(encoder).clone();
        table.insert(id.to_owned(), encoder.clone());
        Ok(encoder)
    }

    /// The encoder of a model id, reading texts as `reading` says.
    pub(crate) fn reading(&self, id: &str, reading: &Reading) -> Result<Arc<dyn Encoder>, Error> {
        let encoder = self.get(id)?;
        if *reading == Reading::default() {
            return Ok(encoder);
        }
        let mut otherwise = self.otherwise.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (encoder.card().id.clone(), reading.clone());
        if let Some(encoder) = otherwise.get(&key) {
            return Ok(encoder.clone());
        }
        // It shares the weights, so this costs a few tokens.
        let encoder = encoder.reading(reading)?;
        otherwise.insert(key, encoder.clone());
        Ok(encoder)
    }

    /// What is known of a model without opening it: that of this build, or one that is open.
    pub(crate) fn card(&self, id: &str) -> Option<ModelCard> {
        let built_in = bilin_encode::builtin().into_iter().find(|card| card.id == id);
        built_in.or_else(|| self.table().get(id).map(|encoder| encoder.card().clone()))
    }

    /// The models of this build, then those at a path that are open.
    pub(crate) fn cards(&self) -> Vec<ModelCard> {
        let mut cards = bilin_encode::builtin();
        for (id, encoder) in &*self.table() {
            let card = encoder.card();
            if card.id == *id && cards.iter().all(|known| known.id != *id) {
                cards.push(card.clone());
            }
        }
        cards
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Arc<dyn Encoder>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The encoder of a collection, checked against what the collection remembers; `None` for bare vectors.
    pub(crate) fn for_settings(
        &self,
        collection: &str,
        settings: &Settings,
    ) -> Result<Option<Arc<dyn Encoder>>, Error> {
        let Some(remembered) = &settings.model else { return Ok(None) };
        let encoder = self.reading(&remembered.id, &remember_for_encoder(&remembered.reading))?;
        check(collection, remembered, encoder.card())?;
        Ok(Some(encoder))
    }
}

/// Why a collection cannot be searched or added to with this binary's models, found without unpacking weights.
pub(crate) fn mismatch(models: &ModelPool, collection: &str, settings: &Settings) -> Option<String> {
    let remembered = settings.model.as_ref()?;
    match models.card(&remembered.id) {
        Some(card) => {
            let card = card.reading(&remember_for_encoder(&remembered.reading));
            check(collection, remembered, &card).err().map(|error| error.message)
        }
        None if bilin_encode::is_path(&remembered.id) => None,
        None if std::path::Path::new(&remembered.id).is_absolute() => Some(format!(
            "collection {collection:?} was made with the model at {:?}, which is not there",
            remembered.id
        )),
        None => Some(format!(
            "collection {collection:?} was made with model {:?}, which this build does not have",
            remembered.id
        )),
    }
}

fn check(collection: &str, remembered: &ModelRef, card: &ModelCard) -> Result<(), Error> {
    if remembered.revision == card.revision && remembered.space == card.space {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "collection {collection:?} holds vectors of model {:?} revision {} (space {}), and the model here is revision {} (space {})",
            remembered.id, remembered.revision, remembered.space, card.revision, card.space
        ),
    )
    .with_hint(format!(
        "their vectors cannot be compared: move the collection with bilin reencode {collection} --model {}, or use the bilin that made it",
        remembered.id
    )))
}

/// What a model makes a collection of.
pub(crate) fn kind_of(modality: Modality) -> Kind {
    match modality {
        Modality::Text => Kind::Text,
        Modality::Image => Kind::Image,
    }
}

/// Inputs per thread in one call of an encoder: enough to fill its groups, few enough to be stopped soon.
const INPUTS_PER_THREAD: usize = 16;

/// Encodes in pieces, asking `go_on` before each, so that a long list can be stopped (`None`). Called inside the thread
/// pool that is to do the work.
pub(crate) fn encode_in_batches(
    encoder: &dyn Encoder,
    inputs: &[Input<'_>],
    mut go_on: impl FnMut() -> bool,
) -> Result<Option<Encoded>, EncodeError> {
    let dim = encoder.card().dim;
    let mut all = Encoded { vectors: Vec::with_capacity(inputs.len() * dim), dim, truncated: 0 };
    for piece in inputs.chunks(INPUTS_PER_THREAD * rayon::current_num_threads()) {
        if !go_on() {
            return Ok(None);
        }
        let encoded = encoder.encode(piece)?;
        all.vectors.extend_from_slice(&encoded.vectors);
        all.truncated += encoded.truncated;
    }
    Ok(Some(all))
}
