//! Files that are made to hurt: each is refused with a reason, in seconds and within its limits. PDF and HTML have theirs beside
//! the readers.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_ingest::{Format, Found, IngestError, Limits, ReadFile, ReadOptions, Split, read};
use std::io::{Cursor, Write};
use std::time::{Duration, Instant};
use zip::write::SimpleFileOptions;

/// No file here may take longer, on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn read_as(bytes: &[u8], name: &str, limits: Limits) -> Result<ReadFile, IngestError> {
    let path = std::path::PathBuf::from(name);
    let format = Format::of_path(&path).unwrap();
    let found = Found {
        path,
        source: name.into(),
        format,
        category: None,
        fields: bilin_ingest::Metadata::new(),
        bytes: bytes.len() as u64,
    };
    let options = ReadOptions {
        split: Split::Auto,
        max_tokens: 200,
        count_tokens: &|text| text.len() / 4,
        overlap_tokens: 0,
        max_file_bytes: 1 << 30,
        limits,
    };
    let started = Instant::now();
    let outcome = read(&found, bytes.to_vec(), &options);
    assert!(started.elapsed() < LONGEST, "{name} took {:?}", started.elapsed());
    outcome
}

/// The reason of a refusal, of the file or of all that is in it.
fn refusal(bytes: &[u8], name: &str) -> String {
    match read_as(bytes, name, Limits::default()) {
        Err(error) => {
            assert!(error.hint().is_some());
            error.to_string()
        }
        Ok(file) => {
            assert!(file.documents.iter().all(|document| document.items.is_empty()), "{name} was read");
            file.problems.first().unwrap_or_else(|| panic!("{name} was taken in silence")).reason.clone()
        }
    }
}

fn word(document: &str) -> Vec<u8> {
    let relations = "<Relationships xmlns='r'><Relationship Id='1' \
        Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' Target='word/document.xml'/></Relationships>";
    archive(&[("_rels/.rels", relations.as_bytes()), ("word/document.xml", document.as_bytes())])
}

fn book(chapter: &str) -> Vec<u8> {
    let container = "<container><rootfiles><rootfile full-path='b.opf'/></rootfiles></container>";
    let package = "<package><manifest><item id='c' href='c.xhtml' media-type='application/xhtml+xml'/></manifest>\
        <spine><itemref idref='c'/></spine></package>";
    archive(&[
        ("META-INF/container.xml", container.as_bytes()),
        ("b.opf", package.as_bytes()),
        ("c.xhtml", chapter.as_bytes()),
    ])
}

#[test]
fn zip_bombs_are_refused_by_ratio_and_by_total() {
    let zeros = vec![b' '; 300 << 20];
    let by_ratio = archive(&[("a.txt", &zeros)]);
    assert!(by_ratio.len() < 1 << 20);
    assert!(refusal(&by_ratio, "a.zip").contains("unfolds"), "{}", refusal(&by_ratio, "a.zip"));
    let document = archive(&[("_rels/.rels", b"<Relationships/>".as_slice()), ("word/document.xml", &zeros)]);
    assert!(read_as(&document, "a.docx", Limits::default()).is_err());
    let limits = Limits { unpacked_bytes: 1 << 20, ..Limits::default() };
    let by_total = archive(&[("a.txt", &zeros[..800 << 10]), ("b.txt", &zeros[..800 << 10])]);
    let outcome = read_as(&by_total, "a.zip", limits);
    let told = match outcome {
        Err(error) => error.to_string(),
        Ok(file) => file.problems.first().map(|problem| problem.reason.clone()).unwrap_or_default(),
    };
    assert!(told.contains("unfolds"), "{told}");
}

#[test]
fn archives_in_archives_and_crowds_of_entries_are_refused() {
    let mut inner = archive(&[("a.txt", "甲。".as_bytes())]);
    for _ in 0..50 {
        inner = archive(&[("inner.zip", &inner)]);
    }
    assert!(refusal(&inner, "a.zip").contains("archive within an archive"));
    let limits = Limits { entries: 10, ..Limits::default() };
    let names: Vec<String> = (0..11).map(|number| format!("{number}.txt")).collect();
    let parts: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"x".as_slice())).collect();
    assert!(matches!(
        read_as(&archive(&parts), "a.zip", limits),
        Err(IngestError::Unfolds { unit: "entries", limit: 10 })
    ));
}

#[test]
fn entities_are_never_expanded_and_nothing_outside_is_read() {
    let mut laughs = "<!DOCTYPE w:document [<!ENTITY a0 'ha'>".to_owned();
    for level in 1..30 {
        laughs += &format!("<!ENTITY a{level} '&a{};&a{};'>", level - 1, level - 1);
    }
    let body = "<w:document xmlns:w='w'><w:body><w:p><w:r><w:t>&a29;</w:t></w:r></w:p></w:body></w:document>";
    refusal(&word(&format!("{laughs}]>{body}")), "a.docx");
    let outside = "<!DOCTYPE w:document [<!ENTITY a29 SYSTEM 'file:///etc/passwd'>]>".to_owned() + body;
    refusal(&word(&outside), "a.docx");
    let page = |entities: &str| format!("{entities}<html xmlns='x'><body><p>&a29;</p></body></html>");
    let shown = |bytes: &[u8]| match read_as(bytes, "a.epub", Limits::default()) {
        Ok(file) => format!("{:?}", file.documents),
        Err(_) => String::new(),
    };
    assert!(shown(&book(&page(&format!("{laughs}]>")))).len() < 10_000);
    let outside = shown(&book(&page("<!DOCTYPE html [<!ENTITY a29 SYSTEM 'file:///etc/passwd'>]>")));
    assert!(!outside.contains("root:"), "{outside}");
}

#[test]
fn a_hundred_thousand_nested_elements_are_refused() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let document =
        format!("<w:document xmlns:w='w'><w:body>{}</w:body></w:document>", deep("<w:p>", "</w:p>"));
    refusal(&word(&document), "a.docx");
    let chapter = format!("<html><body>{}</body></html>", deep("<div>", "</div>"));
    assert!(read_as(&book(&chapter), "a.epub", Limits::default()).is_err());
    refusal(deep("<div>", "</div>").as_bytes(), "a.html");
    // Markdown and JSON nest by other means; they are read, or refused, in bounded time and without a crash.
    let _ = read_as(deep("> ", "").as_bytes(), "a.md", Limits::default());
    let _ = read_as(deep("- ", "").as_bytes(), "a.md", Limits::default());
    let _ = read_as(format!("{{\"text\": {}}}", deep("[", "]")).as_bytes(), "a.jsonl", Limits::default());
    let _ = read_as(format!("{{\"cells\": {}}}", deep("[", "]")).as_bytes(), "a.ipynb", Limits::default());
}
