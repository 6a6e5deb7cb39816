//! A file's bytes made ready for the encoder: documents, items, decoded pictures, thumbnails.
//!
//! Runs on several threads at once and shares nothing. A file that cannot be used is a [`Problem`] of that file alone.
//!
//! A passage is encoded as it is shown, or, in a collection that asks for it, behind its chapter and section: that helps questions
//! about a topic as much as it hurts questions about a detail (decision 0042). What is shown is the same.

use super::check_id;
use super::file::problem;
use crate::error::Error;
use crate::letters::has_letters;
use crate::models::{encode_in_batches, encoded_text};
use crate::sentences::Told;
use bilin_encode::{Encoder, Input, Picture, PictureLimits, Prompt};
use bilin_ingest::{Content, Format, Found, Limits, Problem, ReadOptions, Split};
use bilin_store::{FileStamp, Metadata};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Longer side of a thumbnail in pixels.
pub(super) const THUMBNAIL_SIDE: u32 = 256;

/// The field by which copies of a picture's file are known.
pub(crate) const CONTENT_HASH: &str = "blake3";
const CONTENT_HASH_CHARS: usize = 32;
/// Pictures of an archive that are decoded at a time, and from how many bytes on no further one is.
const ARCHIVE_PICTURES: usize = 16;
const ARCHIVE_DECODED_BYTES: u64 = 64 << 20;

/// A file that was read and is to be added.
pub(super) struct Job {
    pub(super) found: Found,
    pub(super) bytes: Vec<u8>,
    pub(super) stamp: FileStamp,
    /// It was added before, with other content.
    pub(super) known: bool,
}

/// A file ready for the encoder.
pub(super) struct Prepared {
    pub(super) found: Found,
    pub(super) stamp: FileStamp,
    pub(super) known: bool,
    pub(super) documents: Vec<PreparedDocument>,
    pub(super) problems: Vec<Problem>,
    /// Items of marks alone, which are not among the documents.
    pub(super) left_out: usize,
    /// The file cannot be used at all: its old documents and stamp stay.
    pub(super) failed: bool,
}
/// A document ready for the encoder.
pub(super) struct PreparedDocument {
    pub(super) id: String,
    pub(super) items: Vec<PreparedItem>,
}
/// An item ready for the encoder.
pub(super) struct PreparedItem {
    pub(super) source: Source,
    pub(super) text: Option<String>,
    pub(super) metadata: Metadata,
    pub(super) thumbnail: Option<Vec<u8>>,
}
/// What the encoder reads.
pub(super) enum Source {
    Text(String),
    Picture(Picture),
    /// Encoded already: a picture of an archive.
    Vector(Vec<f32>),
}
impl Source {
    pub(super) fn input(&self) -> Option<Input<'_>> {
        match self {
            Source::Text(text) => Some(Input::Text { text, prompt: Prompt::Document }),
            Source::Picture(picture) => Some(Input::Picture(picture)),
            Source::Vector(_) => None,
        }
    }
}
impl PreparedItem {
    /// Its text with its fields, where that is what is encoded.
    pub(super) fn told(&self) -> Option<Told<'_>> {
        matches!(self.source, Source::Text(_)).then_some((self.text.as_deref()?, &self.metadata))
    }
}

/// Fields of a picture that its bytes tell: `width` and `height` in pixels as it is looked at, `taken` where the camera says so,
/// and `blake3` (of the file, 128 bits in hexadecimal), by which copies are known. Fields that are there stay.
pub(super) fn add_picture_fields(metadata: &mut Metadata, picture: &Picture, bytes: &[u8]) {
    let mut add = |field: &str, value: serde_json::Value| {
        metadata.entry(field).or_insert(value);
    };
    add("width", picture.width.into());
    add("height", picture.height.into());
    if let Some(taken) = bilin_ingest::taken(bytes) {
        add("taken", taken.into());
    }
    let hash = blake3::hash(bytes).to_hex();
    add(CONTENT_HASH, hash.get(..CONTENT_HASH_CHARS).unwrap_or_default().into());
}

/// How files are prepared; the same for every file of one `add`.
pub(super) struct Preparation<'a> {
    pub(super) encoder: &'a dyn Encoder,
    pub(super) split: Split,
    pub(super) max_tokens: usize,
    /// See [`ReadOptions::overlap_tokens`].
    pub(super) overlap_tokens: usize,
    /// Whether headings are encoded with a text.
    pub(super) headings: bool,
    /// Whether sentences of texts are encoded as well.
    pub(super) sentences: bool,
    pub(super) max_file_bytes: u64,
    /// What a file may unfold into.
    pub(super) limits: Limits,
    pub(super) picture_limits: PictureLimits,
    /// Set on every item.
    pub(super) metadata: &'a Metadata,
}

impl Preparation<'_> {
    /// Never fails as a whole; see [`Prepared::failed`]. `go_on` is asked before each portion of an archive's pictures; when
    /// it says no, what is prepared is not to be used.
    pub(super) fn prepare(&self, job: Job, go_on: &(dyn Fn() -> bool + Sync)) -> Prepared {
        let Job { found, bytes, stamp, known } = job;
        let (documents, problems) = (Vec::new(), Vec::new());
        let mut prepared = Prepared { found, stamp, known, documents, problems, left_out: 0, failed: false };
        let count_tokens = |text: &str| self.encoder.count_tokens(text);
        let options = ReadOptions {
            split: self.split,
            max_tokens: self.max_tokens,
            count_tokens: &count_tokens,
            overlap_tokens: self.overlap_tokens,
            max_file_bytes: self.max_file_bytes,
            limits: self.limits,
        };
        let read = match bilin_ingest::read(&prepared.found, bytes, &options) {
            Ok(read) => read,
            Err(error) => {
                prepared.problems.push(Problem::of_file(&prepared.found.path, &error));
                prepared.failed = true;
                return prepared;
            }
        };
        prepared.problems = read.problems;
        if prepared.found.format == Format::PictureArchive {
            self.archive(&mut prepared, read.documents, go_on);
            return prepared;
        }
        for mut document in read.documents {
            let all = document.items.len();
            document.items.retain(says_something);
            prepared.left_out += all - document.items.len();
            match self.document(&prepared.found, document) {
                Ok(document) => prepared.documents.push(document),
                Err(problem) => prepared.problems.push(problem),
            }
        }
        prepared.failed = prepared.documents.is_empty() && !prepared.problems.is_empty();
        prepared
    }

    /// The pictures of an archive may be many, so they are decoded and encoded a few at a time, and only vectors are kept.
    fn archive(
        &self,
        prepared: &mut Prepared,
        documents: Vec<bilin_ingest::Document>,
        go_on: &(dyn Fn() -> bool + Sync),
    ) {
        let mut documents = documents.into_iter().peekable();
        while documents.peek().is_some() && go_on() {
            let (mut portion, mut decoded) = (Vec::new(), 0);
            while let Some(document) =
                documents.next_if(|_| portion.len() < ARCHIVE_PICTURES && decoded < ARCHIVE_DECODED_BYTES)
            {
                let items = document.items.iter();
                decoded += items
                    .map(|item| match &item.content {
                        Content::Picture(bytes) => decoded_bytes(Format::Picture, bytes),
                        Content::Text(_) => 0,
                    })
                    .sum::<u64>();
                portion.push(document);
            }
            let ready: Vec<Result<PreparedDocument, Problem>> = portion
                .into_par_iter()
                .map(|document| {
                    let name = document.id.clone();
                    self.document(&prepared.found, document).map_err(|problem| Problem {
                        reason: format!("{name}: {}", problem.reason),
                        ..problem
                    })
                })
                .collect();
            let mut good = Vec::with_capacity(ready.len());
            for document in ready {
                match document {
                    Ok(document) => good.push(document),
                    Err(problem) => prepared.problems.push(problem),
                }
            }
            match self.encoded(good, go_on) {
                Ok(documents) => prepared.documents.extend(documents),
                Err(error) => prepared.problems.push(problem(&prepared.found, &error.message)),
            }
        }
        prepared.failed = prepared.documents.is_empty() && !prepared.problems.is_empty();
    }

    /// Documents of pictures with their vectors in the place of pixels.
    fn encoded(
        &self,
        mut documents: Vec<PreparedDocument>,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<PreparedDocument>, Error> {
        let items = || documents.iter().flat_map(|document| &document.items);
        let inputs: Vec<Input<'_>> = items().filter_map(|item| item.source.input()).collect();
        let Some(encoded) = encode_in_batches(self.encoder, &inputs, go_on)? else { return Ok(Vec::new()) };
        let mut vectors = encoded.vectors.chunks_exact(encoded.dim.max(1)).map(<[f32]>::to_vec);
        for item in documents.iter_mut().flat_map(|document| &mut document.items) {
            item.source = Source::Vector(vectors.next().unwrap_or_default());
        }
        Ok(documents)
    }

    fn document(&self, found: &Found, document: bilin_ingest::Document) -> Result<PreparedDocument, Problem> {
        check_id(&document.id).map_err(|error| problem(found, &error.message))?;
        let items = document.items.into_iter().map(|item| self.item(found, item));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        Ok(PreparedDocument { id: document.id, items })
    }

    fn item(&self, found: &Found, item: bilin_ingest::Item) -> Result<PreparedItem, Problem> {
        let mut metadata = item.metadata;
        let (source, text, thumbnail) = match item.content {
            Content::Text(text) => {
                let encoded = encoded_text(&text, &metadata, self.headings).into_owned();
                (Source::Text(encoded), Some(text), None)
            }
            Content::Picture(bytes) => {
                let picture = Picture::decode(&bytes, &self.picture_limits)
                    .map_err(|error| problem(found, &error.to_string()))?;
                let thumbnail = picture.thumbnail(THUMBNAIL_SIDE);
                add_picture_fields(&mut metadata, &picture, &bytes);
                (Source::Picture(picture), None, Some(thumbnail))
            }
        };
        for (field, value) in self.metadata {
            metadata.insert(field.clone(), value.clone());
        }
        Ok(PreparedItem { source, text, metadata, thumbnail })
    }
}

/// Whether anybody could look for an item: every picture, and texts with a letter, digit or ideograph.
fn says_something(item: &bilin_ingest::Item) -> bool {
    match &item.content {
        Content::Text(text) => has_letters(text),
        Content::Picture(_) => true,
    }
}

/// Bytes that a picture file takes when decoded, as its header says; 0 for what is no picture.
pub(crate) fn decoded_bytes(format: Format, bytes: &[u8]) -> u64 {
    if format != Format::Picture {
        return 0;
    }
    image::ImageReader::new(std::io::Cursor::new(bytes))
        .with_guessed_format()
        .ok()
        .and_then(|reader| reader.into_dimensions().ok())
        .map_or(0, |(width, height)| u64::from(width) * u64::from(height) * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_decoded_size() {
        let mut bytes = Vec::new();
        image::RgbImage::new(30, 20)
            .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)
            .expect("a picture can be written");
        assert_eq!(decoded_bytes(Format::Picture, &bytes), 30 * 20 * 3);
        assert_eq!(decoded_bytes(Format::Picture, b"no picture"), 0);
        assert_eq!(decoded_bytes(Format::Text, &bytes), 0);
    }
}
