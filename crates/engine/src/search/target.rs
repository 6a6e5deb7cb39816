//! What is looked for becomes a vector of the collection's space, or is refused with both spaces named.

use super::Target;
use super::check::check_tokens;
use crate::Engine;
use crate::add::documents::decode;
use crate::add::kind_words;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::passes::QueryInput;
use crate::storage::{ItemKey, View};
use bilin_encode::{Encoder, Modality, Prompt};
use bilin_index::{Metric, normalise};
use bilin_store::{Kind, Settings};
use std::sync::Arc;

/// A target as the search needs it.
pub(super) struct QueryVector {
    pub(super) vector: Vec<f32>,
    /// Items that may not be answered: those of the document asked for.
    pub(super) exclude: Vec<ItemKey>,
    /// Only the beginning of the text was read.
    pub(super) truncated: bool,
}

/// Runs on the caller's thread except for the encoding itself.
pub(super) fn query_vector(
    engine: &Engine,
    collection: &str,
    settings: &Settings,
    view: &dyn View,
    target: &Target,
    remembers: bool,
    token: &CancelToken,
) -> Result<QueryVector, Error> {
    let encoded = |encoder: &Arc<dyn Encoder>, input| {
        engine.passes.encode(&engine.foreground, encoder, vec![input], token)
    };
    // Where searches are timed, each pays for its own vector.
    let vectors = remembers.then_some(&engine.query_vectors);
    let known = |encoder: &Arc<dyn Encoder>,
                 kind,
                 read: &[u8],
                 encode: &dyn Fn() -> Result<(Vec<f32>, bool), Error>| {
        match vectors {
            Some(vectors) => vectors.get_or_encode(encoder, kind, read, encode),
            None => encode(),
        }
    };
    let mut truncated = false;
    let vector = match target {
        Target::Vector(vector) => vector.clone(),
        Target::Like(id) => return like(collection, settings, view, id),
        Target::Text(text) => {
            let encoder = encoder(engine, collection, settings, Modality::Text)?;
            let in_windows = settings.model.as_ref().is_some_and(|model| model.reading.windows);
            let encode = || {
                let truncated = !in_windows && !check_tokens(text, &*encoder, &engine.config)?;
                let input = QueryInput::Text { text: text.clone(), prompt: Prompt::Query };
                Ok((encoded(&encoder, input)?, truncated))
            };
            let (vector, is_cut) = known(&encoder, b't', text.as_bytes(), &encode)?;
            truncated = is_cut;
            vector
        }
        Target::Picture(bytes) => {
            let encoder = encoder(engine, collection, settings, Modality::Image)?;
            let encode = || {
                token.check()?;
                let picture = decode(bytes, engine)?;
                Ok((encoded(&encoder, QueryInput::Picture(picture))?, false))
            };
            known(&encoder, b'p', bytes, &encode)?.0
        }
    };
    unit(settings, vector).map(|vector| QueryVector { vector, exclude: Vec::new(), truncated })
}

/// Under the cosine metric rows are kept at unit length, so the query is brought to it as well and distances agree.
fn unit(settings: &Settings, mut vector: Vec<f32>) -> Result<Vec<f32>, Error> {
    if settings.metric == Metric::Cosine && !normalise(&mut vector) {
        return Err(Error::invalid("the query vector has no direction, so it has no cosine"));
    }
    Ok(vector)
}

fn encoder(
    engine: &Engine,
    collection: &str,
    settings: &Settings,
    asked: Modality,
) -> Result<Arc<dyn Encoder>, Error> {
    let (asked_words, asked_kind, asked_model) = match asked {
        Modality::Text => ("a text", Kind::Text, &engine.config.default_text_model),
        Modality::Image => ("a picture", Kind::Image, &engine.config.default_image_model),
    };
    // A model may read more than its collections hold: texts that pictures are found by.
    if let Some(encoder) = engine.models.for_settings(collection, settings)?
        && encoder.card().reads(asked)
    {
        return Ok(encoder);
    }
    let Some(model) = &settings.model else {
        return Err(Error::invalid(format!(
            "collection {collection:?} holds bare vectors of dimension {} and has no model to read {asked_words} with",
            settings.dim
        ))
        .with_hint("send a vector, or search another collection"));
    };
    let asked_space = engine.models.card(asked_model).map_or_else(|| asked_model.clone(), |card| card.space);
    Err(Error::invalid(format!(
        "collection {collection:?} holds {} in vector space {:?}, and {asked_words} becomes a vector in space {asked_space:?}",
        kind_words(settings.kind),
        model.space
    ))
    .with_hint(format!(
        "vectors of two spaces cannot be compared: search a collection that holds {}",
        kind_words(asked_kind)
    )))
}

/// The vector of a document already inside; the mean direction of its items where it has several.
fn like(collection: &str, settings: &Settings, view: &dyn View, id: &str) -> Result<QueryVector, Error> {
    let items = view.document(id)?;
    let exclude = items.iter().map(|item| item.key).collect();
    let mut items = items.into_iter();
    let Some(first) = items.next() else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no document {id:?} in collection {collection:?}"),
        )
        .with_hint("ids are those that searches answer with"));
    };
    if items.len() == 0 {
        return Ok(QueryVector { vector: first.vector, exclude, truncated: false });
    }
    let count = items.len() + 1;
    let mut sum: Vec<f64> = first.vector.iter().map(|&value| f64::from(value)).collect();
    for item in items {
        for (total, &value) in sum.iter_mut().zip(&item.vector) {
            *total += f64::from(value);
        }
    }
    let mean = sum.into_iter().map(|total| (total / count as f64) as f32).collect();
    unit(settings, mean).map(|vector| QueryVector { vector, exclude, truncated: false })
}
