//! `add_documents`: documents handed over by API.
//!
//! The whole request is checked, decoded and encoded before anything is written, and then is one commit: it is in
//! completely or not at all. What is cheap to check is checked first, for every document; decoding and encoding follow in
//! groups, so that many pictures never lie decoded in memory at once. Every refusal names the document by position and id.

use super::files;
use super::prepare::{THUMBNAIL_SIDE, add_picture_fields, decoded_bytes};
use super::{
    Added, DocumentContent, MAX_DOCUMENTS_PER_REQUEST, MAX_METADATA_BYTES, MAX_TEXT_BYTES, NewDocument,
    check_id, kind_words,
};
use crate::Engine;
use crate::error::{Error, ErrorKind};
use crate::models::{encode_in_batches, encoded_text};
use crate::sentences::{self, Told};
use bilin_encode::{Encoder, Input, Picture, Prompt};
use bilin_index::Metric;
use bilin_ingest::{Format, Limits, ReadOptions, Split, split_text};
use bilin_store::{Batch, Kind, Metadata, NewItem, Settings};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Documents decoded and encoded together at most.
const GROUP_DOCUMENTS: usize = 64;
/// Bytes of decoded pictures held at a time, unless a single one is larger.
const GROUP_DECODED_BYTES: u64 = 128 << 20;
/// Special tokens around a text, at most.
const SPECIAL_TOKENS: usize = 4;
/// Tokens that prompt and special tokens take of what the model reads, at least.
const PROMPT_TOKENS: usize = 8;

/// What one item is made of, before it is encoded.
enum Source {
    /// With the fields of its own.
    Text {
        text: String,
        own: Metadata,
    },
    Picture {
        picture: Picture,
        thumbnail: Vec<u8>,
    },
    Vector(Vec<f32>),
}

/// A document on its way, with what its refusal would call it.
struct Incoming {
    index: usize,
    id: String,
    content: DocumentContent,
    metadata: Metadata,
}
impl Incoming {
    /// `document 3 ("a.md")`
    fn place(&self) -> String {
        format!("document {} ({:?})", self.index, self.id)
    }
    fn decoded_bytes(&self) -> u64 {
        match &self.content {
            DocumentContent::Picture(bytes) => decoded_bytes(Format::Picture, bytes),
            _ => 0,
        }
    }
}

/// A document ready for the encoder.
struct Ready {
    id: String,
    sources: Vec<Source>,
    metadata: Metadata,
}

impl Ready {
    /// Each item that is a text, with the fields that it is encoded with.
    fn told(&self) -> impl Iterator<Item = Option<Told<'_>>> {
        self.sources.iter().map(|source| match source {
            Source::Text { text, own } => {
                Some((text.as_str(), if own.is_empty() { &self.metadata } else { own }))
            }
            Source::Picture { .. } | Source::Vector(_) => None,
        })
    }
}

/// What documents are checked against.
struct Checks<'a> {
    collection: &'a str,
    settings: &'a Settings,
    encoder: Option<&'a dyn Encoder>,
    engine: &'a Engine,
}

/// See [`Engine::add_documents`].
pub(crate) fn add_documents(
    engine: &Engine,
    collection: &str,
    documents: Vec<NewDocument>,
) -> Result<Added, Error> {
    let store = engine.stores.get(collection)?;
    if documents.len() > MAX_DOCUMENTS_PER_REQUEST {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("{} documents in one request, the limit is {MAX_DOCUMENTS_PER_REQUEST}", documents.len()),
        )
        .with_hint("send them in several requests"));
    }
    if documents.is_empty() {
        return Err(Error::invalid("the request holds no documents").with_hint("give at least one"));
    }
    let settings = store.settings();
    let encoder = engine.models.for_settings(collection, &settings)?;
    let (documents, problems) = match documents.iter().any(NewDocument::is_file) {
        true => files::unfold(engine, &settings, encoder.as_deref(), documents)?,
        false => (documents, Vec::new()),
    };
    let ids = check_ids(&documents)?;
    let checks = Checks { collection, settings: &settings, encoder: encoder.as_deref(), engine };
    let mut incoming = Vec::with_capacity(documents.len());
    for ((index, document), id) in documents.into_iter().enumerate().zip(&ids) {
        let content = checks
            .check(&document)
            .and_then(|()| document.content.ok_or_else(no_content))
            .map_err(|error| error.within(&format!("document {index} ({id:?})")))?;
        incoming.push(Incoming { index, id: id.clone(), content, metadata: document.metadata });
    }
    let mut upsert = Vec::with_capacity(incoming.len());
    let mut truncated = 0;
    for group in groups(incoming) {
        // Collected in order before the first error is taken, so that of several bad documents always the same is named.
        let ready: Vec<Result<Ready, Error>> = match settings.kind {
            // Nothing to cut or to decode, so another thread would cost more than it does.
            Kind::Vector => group.into_iter().map(|document| checks.ready(document)).collect(),
            Kind::Text | Kind::Image => engine
                .background
                .install(|| group.into_par_iter().map(|document| checks.ready(document)).collect()),
        };
        let ready = ready.into_iter().collect::<Result<Vec<_>, _>>()?;
        let headings = settings.model.as_ref().is_some_and(|model| model.reading.headings);
        truncated += encode(engine, encoder.as_deref(), headings, ready, &mut upsert)?;
    }
    let applied = store.apply(Batch { upsert, ..Batch::default() })?;
    Ok(Added { seq: applied.seq, added: applied.added, updated: applied.updated, ids, truncated, problems })
}

/// Cuts into groups of bounded number and decoded size.
fn groups(incoming: Vec<Incoming>) -> Vec<Vec<Incoming>> {
    let mut groups: Vec<Vec<Incoming>> = Vec::new();
    let mut decoded = 0;
    for document in incoming {
        let bytes = document.decoded_bytes();
        match groups.last_mut() {
            Some(group) if group.len() < GROUP_DOCUMENTS && decoded + bytes <= GROUP_DECODED_BYTES => {
                decoded += bytes;
                group.push(document);
            }
            _ => {
                decoded = bytes;
                groups.push(vec![document]);
            }
        }
    }
    groups
}

fn no_content() -> Error {
    Error::invalid("it has no content").with_hint("give text, a picture or a vector, as the collection holds")
}

/// Ids given or made, in order; the same id twice in one request is refused, since one of the two would be lost.
fn check_ids(documents: &[NewDocument]) -> Result<Vec<String>, Error> {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        let Some(id) = &document.id else {
            ids.push(Uuid::now_v7().simple().to_string());
            continue;
        };
        check_id(id).map_err(|error| error.within(&format!("document {index}")))?;
        if let Some(earlier) = first.insert(id, index) {
            return Err(Error::invalid(format!("documents {earlier} and {index} have the same id {id:?}"))
                .with_hint("give each document of a request an id of its own"));
        }
        ids.push(id.clone());
    }
    Ok(ids)
}

impl Checks<'_> {
    /// Everything that can be known without decoding or counting tokens.
    fn check(&self, document: &NewDocument) -> Result<(), Error> {
        check_metadata(&document.metadata)?;
        match (document.content.as_ref().ok_or_else(no_content)?, self.settings.kind) {
            (DocumentContent::Vector(vector), Kind::Vector) => check_vector(vector, self.settings),
            (DocumentContent::Text(text), Kind::Text) => check_text(text),
            (DocumentContent::Passages(passages), Kind::Text) => passages
                .iter()
                .try_for_each(|(text, own)| check_metadata(own).and_then(|()| check_text(text))),
            (DocumentContent::Picture(_), Kind::Image) => Ok(()),
            (content, kind) => {
                let space = self.settings.model.as_ref().map_or("none", |model| model.space.as_str());
                Err(Error::invalid(format!(
                    "collection {:?} holds {} (vector space {space}), got {}",
                    self.collection,
                    kind_words(kind),
                    content.name()
                ))
                .with_hint("send it to a collection of that kind"))
            }
        }
    }

    /// Splits a text, decodes a picture.
    fn ready(&self, document: Incoming) -> Result<Ready, Error> {
        let place = document.place();
        let Incoming { id, content, mut metadata, .. } = document;
        let sources = match content {
            DocumentContent::Vector(vector) => vec![Source::Vector(vector)],
            DocumentContent::Text(text) => self.texts(text),
            DocumentContent::Passages(passages) => {
                passages.into_iter().map(|(text, own)| Source::Text { text, own }).collect()
            }
            // Unfolded before, into passages.
            DocumentContent::File { .. } => return Err(no_content().within(&place)),
            DocumentContent::Picture(bytes) => {
                let picture = decode(&bytes, self.engine).map_err(|error| error.within(&place))?;
                let thumbnail = picture.thumbnail(THUMBNAIL_SIDE);
                add_picture_fields(&mut metadata, &picture, &bytes);
                vec![Source::Picture { picture, thumbnail }]
            }
        };
        Ok(Ready { id, sources, metadata })
    }

    /// One item where the model reads all of it, if need be in windows; else passages.
    fn texts(&self, text: String) -> Vec<Source> {
        let whole = |text| Source::Text { text, own: Metadata::new() };
        let Some(encoder) = self.encoder else { return vec![whole(text)] };
        if self.settings.model.as_ref().is_some_and(|model| model.reading.windows) {
            return vec![whole(text)];
        }
        let taken = encoder.count_tokens(&encoder.card().document_prompt) + SPECIAL_TOKENS;
        let reads = encoder.card().max_tokens.unwrap_or(usize::MAX).saturating_sub(taken.max(PROMPT_TOKENS));
        if encoder.count_tokens(&text) <= reads {
            return vec![whole(text)];
        }
        let count_tokens = |text: &str| encoder.count_tokens(text);
        let options = ReadOptions {
            split: Split::Passage,
            max_tokens: self.engine.config.max_passage_tokens.min(reads),
            count_tokens: &count_tokens,
            overlap_tokens: 0,
            max_file_bytes: MAX_TEXT_BYTES as u64,
            limits: Limits::default(),
        };
        split_text(&text, &options).into_iter().map(whole).collect()
    }
}

fn check_text(text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::invalid("its text is empty"));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("its text is {} bytes long, the limit is {MAX_TEXT_BYTES}", text.len()),
        )
        .with_hint("send it as several documents"));
    }
    Ok(())
}

fn check_metadata(metadata: &Metadata) -> Result<(), Error> {
    let bytes = serde_json::to_vec(metadata)
        .map_err(|error| Error::invalid(format!("its metadata cannot be written as JSON: {error}")))?
        .len();
    if bytes > MAX_METADATA_BYTES {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("its metadata takes {bytes} bytes as JSON, the limit is {MAX_METADATA_BYTES}"),
        ));
    }
    Ok(())
}

/// A vector that can be kept in, or compared with, a collection.
pub(crate) fn check_vector(vector: &[f32], settings: &Settings) -> Result<(), Error> {
    if vector.len() != settings.dim {
        return Err(Error::invalid(format!(
            "a vector of dimension {} is expected, got {}",
            settings.dim,
            vector.len()
        )));
    }
    if let Some(column) = vector.iter().position(|value| !value.is_finite()) {
        return Err(Error::invalid(format!(
            "every number of a vector must be finite, number {column} is {}",
            vector[column]
        )));
    }
    if settings.metric == Metric::Cosine && vector.iter().all(|&value| value == 0.0) {
        return Err(Error::invalid("a vector of zeros has no direction, so it has no cosine")
            .with_hint("leave it out, or use a collection with metric l2 or ip"));
    }
    Ok(())
}

/// Decodes a picture within the configured limits.
pub(crate) fn decode(bytes: &[u8], engine: &Engine) -> Result<Picture, Error> {
    Ok(Picture::decode(bytes, &engine.config.picture_limits)?)
}

/// Encodes a group and appends its documents; returns how many items were longer than the model reads.
fn encode(
    engine: &Engine,
    encoder: Option<&dyn Encoder>,
    headings: bool,
    ready: Vec<Ready>,
    upsert: &mut Vec<bilin_store::NewDocument>,
) -> Result<usize, Error> {
    let mut texts = Vec::new();
    for (text, fields) in ready.iter().flat_map(Ready::told).flatten() {
        texts.push(encoded_text(text, fields, headings));
    }
    let mut told = texts.iter();
    let inputs: Vec<Input<'_>> = ready
        .iter()
        .flat_map(|document| &document.sources)
        .filter_map(|source| match source {
            Source::Text { .. } => told.next().map(|text| Input::Text { text, prompt: Prompt::Document }),
            Source::Picture { picture, .. } => Some(Input::Picture(picture)),
            Source::Vector(_) => None,
        })
        .collect();
    let encoded = match encoder {
        Some(encoder) if !inputs.is_empty() => {
            let go_on = || {
                engine.passes.precedence().give_way();
                true
            };
            engine.background.install(|| encode_in_batches(encoder, &inputs, go_on))?
        }
        _ => None,
    };
    drop(inputs);
    drop(texts);
    let mut sentences = Vec::new();
    if let Some(encoder) = encoder.filter(|_| engine.config.sentences) {
        let told = ready.iter().flat_map(Ready::told);
        let go_on = || {
            engine.passes.precedence().give_way();
            true
        };
        let encoded = engine.background.install(|| sentences::encode(encoder, told, headings, go_on))?;
        sentences = encoded.unwrap_or_default();
    }
    let mut sentences = sentences.into_iter();
    let mut vectors = encoded
        .iter()
        .flat_map(|encoded| encoded.vectors.chunks_exact(encoded.dim.max(1)))
        .map(<[f32]>::to_vec);
    for Ready { id, sources, metadata } in ready {
        let items = sources.into_iter().map(|source| {
            let mut metadata = metadata.clone();
            let (vector, text, thumbnail) = match source {
                Source::Vector(vector) => (vector, None, None),
                Source::Text { text, own } => {
                    if !own.is_empty() {
                        // What the request says of the whole document wins, as it does for files that are added by path.
                        metadata = own.into_iter().chain(metadata).collect();
                    }
                    (vectors.next().unwrap_or_default(), Some(text), None)
                }
                Source::Picture { thumbnail, .. } => {
                    (vectors.next().unwrap_or_default(), None, Some(thumbnail))
                }
            };
            NewItem { vector, text, metadata, thumbnail, sentences: sentences.next().flatten() }
        });
        let items = items.collect();
        upsert.push(bilin_store::NewDocument { id, file: None, items });
    }
    Ok(encoded.as_ref().map_or(0, |encoded| encoded.truncated))
}
