//! A file's bytes made ready for the encoder: documents, items, decoded pictures, thumbnails.
//!
//! Runs on several threads at once and shares nothing. A file that cannot be used is a [`Problem`] of that file alone.
//!
//! A passage is encoded as it is shown, or, in a collection that asks for it, behind its chapter and section: that helps questions
//! about a topic as much as it hurts questions about a detail (decision 0042). What is shown is the same.

use super::check_id;
use super::file::problem;
use crate::letters::has_letters;
use crate::models::encoded_text;
use bilin_encode::{Encoder, Input, Picture, PictureLimits, Prompt};
use bilin_ingest::{Content, Format, Found, Limits, Problem, ReadOptions, Split};
use bilin_store::{FileStamp, Metadata};

/// Longer side of a thumbnail in pixels.
pub(super) const THUMBNAIL_SIDE: u32 = 256;

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
}
impl Source {
    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Source::Text(text) => Input::Text { text, prompt: Prompt::Document },
            Source::Picture(picture) => Input::Picture(picture),
        }
    }
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
    pub(super) max_file_bytes: u64,
    /// What a file may unfold into.
    pub(super) limits: Limits,
    pub(super) picture_limits: PictureLimits,
    /// Set on every item.
    pub(super) metadata: &'a Metadata,
}

impl Preparation<'_> {
    /// Never fails as a whole; see [`Prepared::failed`].
    pub(super) fn prepare(&self, job: Job) -> Prepared {
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
