//! The formats that can be read, by file name extension, one module each.

pub(crate) mod archive;
pub(crate) mod csv;
pub(crate) mod docx;
pub(crate) mod epub;
pub(crate) mod front_matter;
pub(crate) mod html;
pub(crate) mod json_lines;
pub(crate) mod markdown;
pub(crate) mod notebook;
pub(crate) mod pdf;
pub(crate) mod picture;
pub(crate) mod plain;
pub(crate) mod pptx;
pub(crate) mod record;
pub(crate) mod xlsx;

pub use archive::counts as archive_counts;
pub use picture::taken;

use crate::walk::Wanted;
use std::path::Path;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Plain text.
    Text,
    /// Markdown: CommonMark with the extensions of GitHub.
    Markdown,
    /// One JSON object per line.
    JsonLines,
    /// A table with a header line.
    Csv,
    /// A table with a header line, its cells parted by tabs.
    Tsv,
    /// PowerPoint presentation.
    Pptx,
    /// Word document.
    Docx,
    /// Excel workbook.
    Xlsx,
    /// Electronic book.
    Epub,
    /// Jupyter notebook.
    Notebook,
    /// ZIP archive of files of the other formats.
    Archive,
    /// The same, of which the pictures are wanted.
    PictureArchive,
    /// An office format that is refused by name, with what to do about it.
    OldOffice,
    /// Portable Document Format.
    Pdf,
    /// Web page.
    Html,
    /// A picture file, not decoded here.
    Picture,
}

/// Extensions in lower case.
const EXTENSIONS: &[(&str, Format)] = &[
    ("txt", Format::Text),
    ("text", Format::Text),
    ("md", Format::Markdown),
    ("markdown", Format::Markdown),
    ("jsonl", Format::JsonLines),
    ("ndjson", Format::JsonLines),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("pptx", Format::Pptx),
    ("pptm", Format::Pptx),
    ("ppsx", Format::Pptx),
    ("docx", Format::Docx),
    ("docm", Format::Docx),
    ("xlsx", Format::Xlsx),
    ("xlsm", Format::Xlsx),
    ("epub", Format::Epub),
    ("ipynb", Format::Notebook),
    ("zip", Format::Archive),
    ("ppt", Format::OldOffice),
    ("pps", Format::OldOffice),
    ("dps", Format::OldOffice),
    ("odp", Format::OldOffice),
    ("doc", Format::OldOffice),
    ("wps", Format::OldOffice),
    ("rtf", Format::OldOffice),
    ("odt", Format::OldOffice),
    ("xls", Format::OldOffice),
    ("et", Format::OldOffice),
    ("ods", Format::OldOffice),
    ("pdf", Format::Pdf),
    ("html", Format::Html),
    ("htm", Format::Html),
    ("xhtml", Format::Html),
    ("jpg", Format::Picture),
    ("jpeg", Format::Picture),
    ("png", Format::Picture),
    ("webp", Format::Picture),
    ("gif", Format::Picture),
    ("bmp", Format::Picture),
];

impl Format {
    /// The format that a file's extension names, whatever its case.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        EXTENSIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)).map(|(_, format)| *format)
    }

    /// As [`Format::of_path`], if a collection of that kind takes it. Archives go into either.
    #[must_use]
    pub fn of_path_for(path: &Path, wanted: Wanted) -> Option<Self> {
        match (Self::of_path(path)?, wanted) {
            (Self::Archive, Wanted::Pictures) => Some(Self::PictureArchive),
            (format, _) => (format.wanted() == wanted).then_some(format),
        }
    }

    /// The kind of collection that takes it.
    #[must_use]
    pub fn wanted(self) -> Wanted {
        if matches!(self, Self::Picture | Self::PictureArchive) { Wanted::Pictures } else { Wanted::Text }
    }

    /// The extensions that such a collection takes, in lower case.
    #[must_use]
    pub fn extensions(wanted: Wanted) -> Vec<&'static str> {
        let of = |known: &str| Self::of_path_for(Path::new(&format!("a.{known}")), wanted);
        let taken = |known: &&str| of(known).is_some_and(|format| format != Self::OldOffice);
        EXTENSIONS.iter().map(|(known, _)| *known).filter(taken).collect()
    }
}
