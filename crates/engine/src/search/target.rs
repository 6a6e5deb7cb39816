//! What is looked for becomes a vector of the collection's space, or is refused with both spaces named.

use super::check::check_tokens;
use super::{Region, Target};
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

/// What a query is answered from.
pub(super) struct Asked<'a> {
    pub(super) engine: &'a Engine,
    pub(super) collection: &'a str,
    pub(super) settings: &'a Settings,
    pub(super) view: &'a dyn View,
    /// Whether vectors of queries that were asked before may be used.
    pub(super) remembers: bool,
    pub(super) token: &'a CancelToken,
}

/// Runs on the caller's thread except for the encoding itself.
pub(super) fn query_vector(asked: &Asked<'_>, target: &Target) -> Result<QueryVector, Error> {
    let settings = asked.settings;
    let plain = |vector, truncated| QueryVector { vector, exclude: Vec::new(), truncated };
    match target {
        Target::Vector(vector) => unit(settings, vector.clone()).map(|vector| plain(vector, false)),
        Target::Text(text) => asked.text(text).map(|(vector, truncated)| plain(vector, truncated)),
        Target::Picture(bytes) => asked.picture(bytes, None).map(|vector| plain(vector, false)),
        Target::Like(id) => {
            let (vector, exclude) = asked.document(id)?;
            Ok(QueryVector { vector, exclude, truncated: false })
        }
        Target::Alike(alike) => super::alike::vector(asked, alike),
    }
}

impl Asked<'_> {
    fn encoded(&self, encoder: &Arc<dyn Encoder>, input: QueryInput) -> Result<Vec<f32>, Error> {
        self.engine.passes.encode(&self.engine.foreground, encoder, vec![input], self.token)
    }

    /// As `encode` gives it, unless it was encoded before. Where searches are timed, each pays for its own vector.
    fn known(
        &self,
        encoder: &Arc<dyn Encoder>,
        kind: u8,
        read: &[u8],
        encode: impl FnOnce() -> Result<(Vec<f32>, bool), Error>,
    ) -> Result<(Vec<f32>, bool), Error> {
        match self.remembers {
            true => self.engine.query_vectors.get_or_encode(encoder, kind, read, encode),
            false => encode(),
        }
    }

    /// The vector of a text, and whether only its beginning was read.
    pub(super) fn text(&self, text: &str) -> Result<(Vec<f32>, bool), Error> {
        let Asked { engine, collection, settings, .. } = *self;
        let encoder = encoder(engine, collection, settings, Modality::Text)?;
        let in_windows = settings.model.as_ref().is_some_and(|model| model.reading.windows);
        let (vector, truncated) = self.known(&encoder, b't', text.as_bytes(), || {
            let truncated = !in_windows && !check_tokens(text, &*encoder, &engine.config)?;
            let input = QueryInput::Text { text: text.to_owned(), prompt: Prompt::Query };
            Ok((self.encoded(&encoder, input)?, truncated))
        })?;
        Ok((unit(settings, vector)?, truncated))
    }

    /// The vector of a picture, or of a part of it. Decoded one at a time, so that a query never holds several.
    pub(super) fn picture(&self, bytes: &[u8], region: Option<&Region>) -> Result<Vec<f32>, Error> {
        let Asked { engine, collection, settings, token, .. } = *self;
        let encoder = encoder(engine, collection, settings, Modality::Image)?;
        let encode = || {
            token.check()?;
            let mut picture = decode(bytes, engine)?;
            if let Some(region) = region {
                picture = region.of(&picture);
            }
            Ok((self.encoded(&encoder, QueryInput::Picture(picture))?, false))
        };
        let (vector, _) = match region {
            None => self.known(&encoder, b'p', bytes, encode)?,
            Some(region) => {
                let whole = blake3::hash(bytes);
                let read: Vec<u8> = whole.as_bytes().iter().copied().chain(region.bytes()).collect();
                self.known(&encoder, b'r', &read, encode)?
            }
        };
        unit(settings, vector)
    }

    /// The vector of a document already inside, the mean direction of its items where it has several; and its items.
    pub(super) fn document(&self, id: &str) -> Result<(Vec<f32>, Vec<ItemKey>), Error> {
        let items = self.view.document(id)?;
        let keys = items.iter().map(|item| item.key).collect();
        let mut vectors: Vec<Vec<f32>> = items.into_iter().map(|item| item.vector).collect();
        match vectors.len() {
            0 => Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no document {id:?} in collection {:?}", self.collection),
            )
            .with_hint("ids are those that searches answer with")),
            1 => Ok((vectors.swap_remove(0), keys)),
            _ => Ok((unit(self.settings, mean(&vectors))?, keys)),
        }
    }
}

/// The mean of vectors of one length, of which there is at least one.
pub(super) fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    let mut sum = vec![0.0f64; vectors.first().map_or(0, Vec::len)];
    for vector in vectors {
        for (total, &value) in sum.iter_mut().zip(vector) {
            *total += f64::from(value);
        }
    }
    sum.into_iter().map(|total| (total / vectors.len() as f64) as f32).collect()
}

/// Under the cosine metric rows are kept at unit length, so the query is brought to it as well and distances agree.
pub(super) fn unit(settings: &Settings, mut vector: Vec<f32>) -> Result<Vec<f32>, Error> {
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
