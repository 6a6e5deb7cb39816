//! Documents on their way to another model: texts as the catalog keeps them, pictures from their files once more.
//!
//! A text is encoded as it was when it was added: as it is shown, with its headings where the collection reads them (decision
//! 0042), under the model's prompt for documents. A
//! picture is taken from its file only if that holds the bytes that were added, by their hash. Memory is bounded by one
//! portion of documents and one group of decoded pictures.

use super::job::Stop;
use super::status::Job;
use super::{Plan, Watch};
use crate::Engine;
use crate::add::decoded_bytes;
use crate::error::{Error, ErrorKind};
use crate::models::{encode_in_batches, encoded_text};
use crate::sentences::{self, Told};
use bilin_encode::{Encoded, Input, Picture, Prompt};
use bilin_ingest::Format;
use bilin_store::{Carried, FileStamp, Kind, Lag, Metadata, StoreError, Successor};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read};

/// Pictures that are decoded together, and their bytes, encoded and decoded.
const GROUP_PICTURES: usize = 64;
const GROUP_BYTES: u64 = 128 << 20;
/// Documents that an error names.
const NAMED: usize = 5;

/// What makes vectors of documents.
pub(super) struct Content<'a> {
    pub(super) engine: &'a Engine,
    pub(super) job: &'a Job,
    pub(super) plan: &'a Plan,
    pub(super) watch: &'a Watch<'a>,
}

impl Content<'_> {
    /// Tells of progress; an error when the job is to stop.
    pub(super) fn go_on(&self) -> Result<(), StoreError> {
        match !self.job.is_cancelled() && (self.watch)(&self.job.status()) {
            true => Ok(()),
            false => Err(StoreError::Cancelled),
        }
    }

    /// Before hours of work: whether the files of all pictures are there, as long as they were.
    pub(super) fn look_for_files(&self, successor: &Successor<'_>, lag: &Lag) -> Result<(), Stop> {
        if self.plan.drop_missing {
            return Ok(());
        }
        successor.origins(lag, |id, file, stamp| {
            if let Err(reason) = look_at(file, stamp) {
                self.job.missing(id, &reason);
            }
            !self.job.is_cancelled()
        })?;
        self.go_on()?;
        if self.job.status().missing > 0 { Err(self.refused().into()) } else { Ok(()) }
    }

    /// Everything that the successor lacks.
    pub(super) fn take_all(&self, successor: &mut Successor<'_>, mut lag: Lag) -> Result<(), Stop> {
        loop {
            self.go_on()?;
            let portion = successor.portion(&mut lag)?;
            if portion.is_empty() {
                return Ok(successor.caught_up(lag)?);
            }
            match self.plan.settings.kind {
                Kind::Image => self.pictures(successor, portion)?,
                Kind::Text | Kind::Vector => self.texts(successor, portion)?,
            }
        }
    }

    fn texts(&self, successor: &mut Successor<'_>, portion: Vec<Carried>) -> Result<(), Stop> {
        let (whole, without): (Vec<_>, Vec<_>) =
            portion.into_iter().partition(|carried| carried.texts().all(|text| text.is_some()));
        for carried in without {
            self.miss(successor, carried, "an item of it has no text")?;
        }
        let headings = self.plan.settings.model.as_ref().is_some_and(|model| model.reading.headings);
        // Metadata is parsed only where it is read.
        let parsed = |json: &str| match headings {
            true => serde_json::from_str(json).unwrap_or_default(),
            false => Metadata::new(),
        };
        let fields: Vec<Metadata> = whole.iter().flat_map(Carried::metadata).map(parsed).collect();
        let told: Vec<Option<Told<'_>>> = whole
            .iter()
            .flat_map(Carried::texts)
            .zip(&fields)
            .map(|(text, fields)| Some((text?, fields)))
            .collect();
        let encoded_texts = told.iter().flatten().map(|(text, fields)| encoded_text(text, fields, headings));
        let texts: Vec<Cow<'_, str>> = encoded_texts.collect();
        let inputs: Vec<Input<'_>> =
            texts.iter().map(|text| Input::Text { text, prompt: Prompt::Document }).collect();
        let encoded = self.encode(&inputs, &whole)?;
        drop(inputs);
        drop(texts);
        let sentences = self.sentences(told, headings)?;
        self.take(successor, whole, &encoded, sentences)
    }

    fn pictures(&self, successor: &mut Successor<'_>, portion: Vec<Carried>) -> Result<(), Stop> {
        let mut group: Vec<(Carried, Vec<u8>)> = Vec::new();
        let mut held = 0;
        for carried in portion {
            let stamp = match carried.file() {
                Some(file) => self.plan.source.file_stamp(file)?,
                None => None,
            };
            let read = match carried.texts().len() {
                1 => read_again(carried.file(), stamp.as_ref()),
                items => Err(format!("it has {items} items, expected one picture")),
            };
            match read {
                Err(reason) => self.miss(successor, carried, &reason)?,
                Ok(bytes) => {
                    let size = bytes.len() as u64 + decoded_bytes(Format::Picture, &bytes);
                    if !group.is_empty() && (held + size > GROUP_BYTES || group.len() >= GROUP_PICTURES) {
                        self.group(successor, std::mem::take(&mut group))?;
                        held = 0;
                    }
                    held += size;
                    group.push((carried, bytes));
                }
            }
        }
        self.group(successor, group)
    }

    /// Decodes, encodes and takes a few pictures.
    fn group(&self, successor: &mut Successor<'_>, group: Vec<(Carried, Vec<u8>)>) -> Result<(), Stop> {
        self.go_on()?;
        let limits = &self.engine.config.picture_limits;
        let decoded: Vec<Result<Picture, String>> = self.engine.background.install(|| {
            let decode = |(_, bytes): &(Carried, Vec<u8>)| {
                Picture::decode(bytes, limits).map_err(|error| error.to_string())
            };
            group.par_iter().map(decode).collect()
        });
        let (mut whole, mut pictures) = (Vec::new(), Vec::new());
        for ((carried, _), decoded) in group.into_iter().zip(decoded) {
            match decoded {
                Ok(picture) => {
                    whole.push(carried);
                    pictures.push(picture);
                }
                Err(reason) => self.miss(successor, carried, &reason)?,
            }
        }
        let inputs: Vec<Input<'_>> = pictures.iter().map(Input::Picture).collect();
        let encoded = self.encode(&inputs, &whole)?;
        drop(inputs);
        self.take(successor, whole, &encoded, Vec::new())
    }

    fn encode(&self, inputs: &[Input<'_>], documents: &[Carried]) -> Result<Encoded, Stop> {
        let encoder = &*self.plan.encoder;
        let go_on = || self.go_on().is_ok();
        let encoded = self.engine.background.install(|| encode_in_batches(encoder, inputs, go_on));
        let encoded = encoded.map_err(|error| {
            let id = |carried: Option<&Carried>| {
                carried.map(|carried| carried.id().to_owned()).unwrap_or_default()
            };
            let place = format!("documents {:?} to {:?}", id(documents.first()), id(documents.last()));
            Error::from(error).within(&place)
        })?;
        Ok(encoded.ok_or(StoreError::Cancelled)?)
    }

    /// Those of the items' texts, where they are kept.
    fn sentences(&self, told: Vec<Option<Told<'_>>>, headings: bool) -> Result<Vec<Option<Vec<u8>>>, Stop> {
        if !self.engine.config.sentences {
            return Ok(Vec::new());
        }
        let told = told.into_iter();
        let (encoder, go_on) = (&*self.plan.encoder, || self.go_on().is_ok());
        let encoded = self.engine.background.install(|| sentences::encode(encoder, told, headings, go_on));
        Ok(encoded.map_err(Error::from)?.ok_or(StoreError::Cancelled)?)
    }

    fn take(
        &self,
        successor: &mut Successor<'_>,
        documents: Vec<Carried>,
        encoded: &Encoded,
        sentences: Vec<Option<Vec<u8>>>,
    ) -> Result<(), Stop> {
        if !documents.is_empty() {
            let items = documents.iter().map(|carried| carried.texts().len()).sum();
            successor.take(documents, &encoded.vectors, sentences)?;
            self.job.encoded(items, encoded.truncated);
        }
        Ok(())
    }

    /// A document cannot be encoded anew: it is left out, where that was asked for or it is about to be replaced anyway.
    fn miss(&self, successor: &mut Successor<'_>, carried: Carried, reason: &str) -> Result<(), Stop> {
        if successor.is_newest(&carried)? {
            self.job.missing(carried.id(), reason);
            if !self.plan.drop_missing {
                return Err(self.refused().into());
            }
        }
        self.job.encoded(carried.texts().len(), 0);
        Ok(successor.leave_out(carried)?)
    }

    fn refused(&self) -> Error {
        let status = self.job.status();
        let named = status.missing_named.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        let rest = status.missing.saturating_sub(NAMED);
        let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
        let told = format!(
            "collection {:?}: {} documents cannot be encoded anew, nothing was changed: {named}{more}",
            self.plan.source.name(),
            status.missing
        );
        Error::new(ErrorKind::Conflict, told).with_hint(
            "put the files back or add the changed ones again, or leave them out with --drop-missing",
        )
    }
}

/// Whether the file of a picture can be what was added.
fn look_at(file: Option<&str>, stamp: Option<&FileStamp>) -> Result<(), String> {
    let (file, stamp) = known(file, stamp)?;
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() == stamp.bytes => Ok(()),
        Ok(_) => Err(changed(file)),
        Err(error) => Err(unread(file, &error)),
    }
}

/// The bytes of a picture that were added.
fn read_again(file: Option<&str>, stamp: Option<&FileStamp>) -> Result<Vec<u8>, String> {
    let (file, stamp) = known(file, stamp)?;
    let mut bytes = Vec::new();
    let read = File::open(file)
        .and_then(|opened| opened.take(stamp.bytes.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|error| unread(file, &error))?;
    let is_same = bytes.len() as u64 == stamp.bytes && blake3::hash(&bytes).to_hex().as_str() == stamp.hash;
    if is_same { Ok(bytes) } else { Err(changed(file)) }
}

fn known<'a>(
    file: Option<&'a str>,
    stamp: Option<&'a FileStamp>,
) -> Result<(&'a str, &'a FileStamp), String> {
    let file = file.ok_or("it came by API, and the picture itself is not kept")?;
    let stamp = stamp.ok_or_else(|| format!("nothing is known of what {file:?} held when it was added"))?;
    Ok((file, stamp))
}

fn changed(file: &str) -> String {
    format!("its file {file:?} has changed since it was added")
}

fn unread(file: &str, error: &std::io::Error) -> String {
    match error.kind() {
        IoErrorKind::NotFound => format!("its file {file:?} is gone"),
        _ => format!("its file {file:?} cannot be read: {error}"),
    }
}
