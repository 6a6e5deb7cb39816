//! What hostile documents are thrown at: one function a kind of file, for `fuzz/` (built with `--cfg fuzzing`) and for `tests`, the
//! short form that every run of the tests goes through.
//!
//! Invariant: whatever the bytes are, a function returns. What is read has kept its promises: no item is blank or over its
//! budget, pages are counted from 1 and end where they begin or later, and a refusal says what is wrong and what to do. A broken
//! promise is a panic, which both callers report with the input.

#[cfg(test)]
mod mutate;
#[cfg(test)]
mod tests;

use crate::formats::pdf;
use crate::{Content, Format, Found, Limits, ReadFile, ReadOptions, Split};

/// Small, so that a run is short and takes little memory.
const LIMITS: Limits = Limits {
    unpacked_bytes: 1 << 24,
    unpacking_ratio: 200,
    entries: 200,
    depth: 64,
    pages: 200,
    rows: 2_000,
    seconds: 5,
};
const MAX_TOKENS: usize = 40;

/// Any bytes as a PDF. Read on this thread, so that nothing hides a panic of ours or of a crate.
pub fn pdf(bytes: &[u8]) {
    let _ = pdf::fuzz(bytes.to_vec(), &LIMITS);
    document(bytes, Format::Pdf, "a.pdf");
}

/// Any bytes as a web page.
pub fn html(bytes: &[u8]) {
    document(bytes, Format::Html, "a.html");
}

/// Any bytes as each office format, an electronic book and an archive.
pub fn package(bytes: &[u8]) {
    let formats = [
        (Format::Docx, "a.docx"),
        (Format::Pptx, "a.pptx"),
        (Format::Xlsx, "a.xlsx"),
        (Format::Epub, "a.epub"),
        (Format::Archive, "a.zip"),
        (Format::PictureArchive, "pictures.zip"),
    ];
    formats.into_iter().for_each(|(format, name)| document(bytes, format, name));
}

/// Any bytes as each format of text.
pub fn text(bytes: &[u8]) {
    let formats = [
        (Format::Text, "a.txt"),
        (Format::Markdown, "a.md"),
        (Format::JsonLines, "a.jsonl"),
        (Format::Csv, "a.csv"),
        (Format::Tsv, "a.tsv"),
        (Format::Notebook, "a.ipynb"),
    ];
    formats.into_iter().for_each(|(format, name)| document(bytes, format, name));
}

fn document(bytes: &[u8], format: Format, name: &str) {
    let found = Found {
        path: name.into(),
        source: name.into(),
        format,
        category: None,
        fields: crate::Metadata::new(),
        bytes: bytes.len() as u64,
    };
    let count_tokens = |text: &str| text.chars().count();
    let options = ReadOptions {
        split: Split::Auto,
        max_tokens: MAX_TOKENS,
        count_tokens: &count_tokens,
        overlap_tokens: 8,
        max_file_bytes: 1 << 24,
        limits: LIMITS,
    };
    match crate::read(&found, bytes.to_vec(), &options) {
        Ok(read) => check(&read),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check(read: &ReadFile) {
    for item in read.documents.iter().flat_map(|document| &document.items) {
        let Content::Text(text) = &item.content else { continue };
        assert!(!text.trim().is_empty() && text.chars().count() <= MAX_TOKENS, "{text:?}");
        let page = |name: &str| item.metadata.get(name).and_then(|page| page.as_str()).map(str::parse::<u32>);
        if let Some(first) = page("page").and_then(Result::ok) {
            let last = page("page_end").and_then(Result::ok).unwrap_or(first);
            assert!(first >= 1 && last >= first, "pages {first} to {last}");
        }
    }
    for problem in &read.problems {
        assert!(!problem.reason.is_empty());
    }
}
