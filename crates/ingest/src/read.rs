//! From a found file to documents: limits, encoding, the format's own reader, and the metadata that all texts share.

use crate::error::{IngestError, Problem};
use crate::formats::{
    Format, archive, csv, docx, epub, html, json_lines, markdown, notebook, pdf, picture, plain, pptx, xlsx,
};
use crate::limits::Limits;
use crate::outline::Section;
use crate::package::{Package, Unpacked, ZIP_MAGIC};
use crate::split::{Budget, Piece, Split, items_of_whole};
use crate::walk::Found;
use crate::{Metadata, encoding, passages};
use std::fs::File;
use std::io::Read;

/// How to read files.
#[derive(Clone, Copy)]
pub struct ReadOptions<'a> {
    /// How text is cut into items.
    pub split: Split,
    /// Longest item in tokens as `count_tokens` counts them; 0 is taken as 1. A Markdown item leaves room for its
    /// [`heading_path`](crate::heading_path) within it.
    pub max_tokens: usize,
    /// Counts the tokens of a text; may be slow, and is called about twice per sentence.
    pub count_tokens: &'a (dyn Fn(&str) -> usize + Sync),
    /// Tokens of the passage before that a passage may repeat, where it begins within a paragraph or a list; 0 for none.
    pub overlap_tokens: usize,
    /// Largest file that is read.
    pub max_file_bytes: u64,
    /// What a file may unfold into.
    pub limits: Limits,
}

impl ReadOptions<'_> {
    pub(crate) fn budget(&self) -> Budget<'_> {
        Budget { tokens: self.max_tokens.max(1), count: self.count_tokens, overlap: self.overlap_tokens }
    }
}

/// One document (a file, or one record of a JSONL/CSV file) with its items.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file's [`Found::source`], or a record's `id` field, or `source#line`.
    pub id: String,
    /// In the order of the text; empty for a blank file.
    pub items: Vec<Item>,
}

/// What is searched: a passage of text or a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What is shown and encoded.
    pub content: Content,
    /// See the crate's documentation for the fields.
    pub metadata: Metadata,
}

/// The content of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Displayed text.
    Text(String),
    /// Encoded picture file as found (not decoded here).
    Picture(Vec<u8>),
}

/// What a file gave.
#[derive(Debug, Default)]
pub struct ReadFile {
    /// One per file, or one per record.
    pub documents: Vec<Document>,
    /// Records that could not be taken, each with its line number.
    pub problems: Vec<Problem>,
}

/// The bytes of a found file. Its length is checked before and while it is read.
pub fn load(found: &Found, max_file_bytes: u64) -> Result<Vec<u8>, IngestError> {
    let file = File::open(&found.path)?;
    let bytes = file.metadata()?.len();
    check_length(bytes, max_file_bytes)?;
    // A file may grow meanwhile, and some special files state a length of 0.
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(max_file_bytes.saturating_add(1)).read_to_end(&mut content)?;
    check_length(content.len() as u64, max_file_bytes)?;
    Ok(content)
}

fn check_length(bytes: u64, limit: u64) -> Result<(), IngestError> {
    if bytes > limit { Err(IngestError::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// Reads one file into documents. JSONL/CSV give one document per record (`id` field or `source#line`), archives one or more per
/// file within, others one per file. Records that are wrong are reported beside the good ones, with their line number.
pub fn read(found: &Found, bytes: Vec<u8>, options: &ReadOptions<'_>) -> Result<ReadFile, IngestError> {
    check_length(bytes.len() as u64, options.max_file_bytes)?;
    let unpacked = Unpacked::of_file(bytes.len() as u64, &options.limits);
    if matches!(found.format, Format::Archive | Format::PictureArchive) {
        return archive::read(found, &bytes, options, &unpacked);
    }
    read_plain(found, bytes, options, &unpacked)
}

/// Reads one file that is no archive, in the time that a document has, splitting included.
///
/// What takes time in splitting is counting tokens. Once the time is over nothing is counted any more: every text is taken to fit, so
/// that what is left of the way is short, and what it ends in is thrown away.
pub(crate) fn read_plain(
    found: &Found,
    bytes: Vec<u8>,
    options: &ReadOptions<'_>,
    unpacked: &Unpacked,
) -> Result<ReadFile, IngestError> {
    if found.format == Format::Picture {
        let items = vec![picture::read(found, bytes)];
        return Ok(ReadFile {
            documents: vec![Document { id: found.source.clone(), items }],
            problems: Vec::new(),
        });
    }
    let (clock, ReadOptions { max_tokens, count_tokens, .. }) = (unpacked.clock(), *options);
    // Half a budget fits beside any heading, and no passage takes more than two of them.
    let count_in_time = |text: &str| if clock.is_late() { max_tokens / 2 } else { count_tokens(text) };
    let in_time = ReadOptions { count_tokens: &count_in_time, ..*options };
    let read = read_text(found, bytes, &in_time, unpacked)?;
    unpacked.check_time()?;
    Ok(read)
}

/// Reads one file of words.
fn read_text(
    found: &Found,
    bytes: Vec<u8>,
    options: &ReadOptions<'_>,
    unpacked: &Unpacked,
) -> Result<ReadFile, IngestError> {
    let source = Source { name: &found.source };
    let format = match found.format {
        Format::OldOffice => renamed(found, &bytes).ok_or_else(|| old_office(found))?,
        format => format,
    };
    let whole = |items| ReadFile {
        documents: vec![Document { id: found.source.clone(), items }],
        problems: Vec::new(),
    };
    let (split, budget, limits) = (options.split, options.budget(), &options.limits);
    let passages = |sections| whole(passages::items(sections, &Metadata::new(), &source, split, budget));
    let worded = |sections: Vec<Section>| named_if_wordless(found, passages(sections));
    let open = |format| Package::open(&bytes, format, limits, unpacked);
    match format {
        Format::Pptx => return Ok(worded(pptx::sections(&mut open(pptx::FORMAT)?, limits)?)),
        Format::Docx => return Ok(worded(docx::sections(&mut open(docx::FORMAT)?, limits)?)),
        Format::Epub => return Ok(worded(epub::sections(&mut open(epub::FORMAT)?, limits)?)),
        Format::Xlsx => return xlsx::read(found, &mut open(xlsx::FORMAT)?, options),
        Format::Archive | Format::PictureArchive => return Err(IngestError::NestedArchive),
        Format::Html => return Ok(passages(html::document::sections(&bytes, limits)?)),
        Format::Pdf => {
            let pdf::Read { sections, problems } = pdf::read(&found.path, bytes, limits)?;
            return Ok(ReadFile { problems, ..passages(sections) });
        }
        _ => {}
    }
    let text = encoding::decode(bytes)?;
    match format {
        Format::Markdown => Ok(whole(markdown::read(&text, &source, split, budget))),
        Format::JsonLines => Ok(json_lines::read(&text, found, split, budget)),
        Format::Csv => csv::read(&text, None, found, split, budget),
        Format::Tsv => csv::read(&text, Some(b'\t'), found, split, budget),
        Format::Notebook => Ok(passages(notebook::sections(&text)?)),
        _ => Ok(whole(plain::read(&text, &source, split, budget))),
    }
}

/// A document that shows pictures only is said so: nobody would look for it in vain.
fn named_if_wordless(found: &Found, mut read: ReadFile) -> ReadFile {
    if read.documents.iter().all(|document| document.items.is_empty()) {
        read.problems.push(Problem {
            path: found.path.clone(),
            reason: "it holds no text".to_owned(),
            hint: Some("text within pictures is not read".to_owned()),
            is_partial: false,
        });
    }
    read
}

/// A new office document under an old name, as programs write that are told to "save as .doc".
fn renamed(found: &Found, bytes: &[u8]) -> Option<Format> {
    let extension = found.path.extension()?.to_str()?.to_lowercase();
    let format = match extension.as_str() {
        "doc" | "wps" => Format::Docx,
        "ppt" | "pps" | "dps" => Format::Pptx,
        "xls" | "et" => Format::Xlsx,
        _ => return None,
    };
    bytes.starts_with(ZIP_MAGIC).then_some(format)
}

/// Why an old office file is not read.
fn old_office(found: &Found) -> IngestError {
    let extension = found.path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let (program, instead) = match extension.as_str() {
        "ppt" | "pps" => ("PowerPoint 97-2003", "pptx"),
        "dps" => ("WPS Presentation", "pptx"),
        "odp" => ("LibreOffice Impress", "pptx"),
        "xls" => ("Excel 97-2003", "xlsx"),
        "et" => ("WPS Spreadsheets", "xlsx"),
        "ods" => ("LibreOffice Calc", "xlsx"),
        "wps" => ("WPS Writer", "docx"),
        "odt" => ("LibreOffice Writer", "docx"),
        "rtf" => ("rich text", "docx"),
        _ => ("Word 97-2003", "docx"),
    };
    IngestError::OldFormat { program, extension, instead }
}

/// Cuts a text that came by API into items no longer than the budget (one item where it fits). A blank text gives none.
#[must_use]
pub fn split_text(text: &str, options: &ReadOptions<'_>) -> Vec<String> {
    items_of_whole(text, options.split, options.budget()).into_iter().map(|piece| piece.text).collect()
}

/// The file that items come from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
}

impl Source<'_> {
    /// An item of text; `own` metadata stands first, then the fields that every text has.
    pub(crate) fn text_item(&self, piece: Piece, total_sentences: usize, mut own: Metadata) -> Item {
        if let Some((first, last)) = piece.pages {
            own.insert("page".into(), first.to_string().into());
            own.shift_remove("page_end");
            if last > first {
                own.insert("page_end".into(), last.to_string().into());
            }
        }
        own.insert("sentence_id".into(), piece.sentence.to_string().into());
        own.insert("source".into(), self.name.into());
        own.insert("total_sentences".into(), total_sentences.to_string().into());
        Item { content: Content::Text(piece.text), metadata: own }
    }
}

#[cfg(test)]
mod tests;
