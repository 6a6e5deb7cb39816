//! CSV (RFC 4180) with a header line; comma, semicolon or tab, whichever the header has most of.
//!
//! A cell becomes a number only if writing that number gives the very same characters: `42` and `0.5` do, `007`, `1.50`,
//! `1e5` and `2024-01` stay strings. Empty cells are no metadata. A column without a name (a written row index) is left out.

use crate::error::IngestError;
use crate::formats::record::{ID_FIELD, Records, TextField, expected_fields};
use crate::read::ReadFile;
use crate::split::{Budget, Split};
use crate::{Found, Metadata};
use serde_json::{Number, Value};

const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Reads a table; its delimiter is found out unless it is given.
pub(crate) fn read(
    text: &str,
    given: Option<u8>,
    found: &Found,
    split: Split,
    budget: Budget<'_>,
) -> Result<ReadFile, IngestError> {
    let mut records = Records::new(found, split, budget);
    if text.trim().is_empty() {
        return Ok(records.finish());
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(given.unwrap_or_else(|| delimiter(text)))
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut row = csv::StringRecord::new();
    let mut header: Option<Vec<String>> = None;
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut row) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                records.problem(line, &format!("not CSV: {error}"), "check the quotes in this line");
                continue;
            }
        }
        // Blank lines before the record belong to no record.
        let line = row.position().map_or(line, csv::Position::line);
        let Some(names) = &header else {
            header = Some(header_of(&row)?);
            continue;
        };
        if is_unclosed(text, row.position(), reader.position()) {
            records.problem(
                line,
                "a quote is opened and never closed",
                "close it, or double it within a cell",
            );
        } else if row.len() != names.len() {
            let reason = format!("expected {} cells as in the first line, found {}", names.len(), row.len());
            records.problem(line, &reason, "put a cell that holds the delimiter or a line end in quotes");
        } else {
            records.push(line, fields(names, &row));
        }
    }
    Ok(records.finish())
}

/// The rows of a table of any columns, each with its line and its cells as metadata; and what is wrong with others.
pub(crate) fn rows(text: &str, given: Option<u8>) -> (Vec<(u64, Metadata)>, Vec<String>) {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(given.unwrap_or_else(|| delimiter(text)))
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let mut header: Option<Vec<String>> = None;
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                problems.push(format!("not CSV: {error}"));
                continue;
            }
        };
        let line = row.position().map_or(0, csv::Position::line);
        let Some(names) = &header else {
            header = Some(row.iter().map(|name| name.trim().to_owned()).collect());
            continue;
        };
        if row.len() != names.len() {
            let (wanted, got) = (names.len(), row.len());
            problems.push(format!("line {line}: expected {wanted} cells as in the first line, found {got}"));
            continue;
        }
        let cells = names.iter().zip(&row).filter(|(name, cell)| !name.is_empty() && !cell.trim().is_empty());
        rows.push((line, cells.map(|(name, cell)| (name.clone(), value_of(cell))).collect()));
    }
    (rows, problems)
}

/// The delimiter that stands most often in the first line, outside of quotes.
fn delimiter(text: &str) -> u8 {
    let mut counts = [0usize; DELIMITERS.len()];
    let mut quoted = false;
    for byte in text.trim_start().bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if quoted => {}
            _ => {
                for (count, delimiter) in counts.iter_mut().zip(DELIMITERS) {
                    *count += usize::from(byte == delimiter);
                }
            }
        }
    }
    let mut best = (0, b',');
    for (count, delimiter) in counts.into_iter().zip(DELIMITERS) {
        if count > best.0 {
            best = (count, delimiter);
        }
    }
    best.1
}

/// Column names, trimmed. A text column must be among them, and no name twice.
fn header_of(row: &csv::StringRecord) -> Result<Vec<String>, IngestError> {
    let names: Vec<String> = row.iter().map(|name| name.trim().to_owned()).collect();
    let mut sorted: Vec<String> =
        names.iter().filter(|name| !name.is_empty()).map(|n| n.to_lowercase()).collect();
    sorted.sort_unstable();
    if let Some((name, _)) = sorted.iter().zip(sorted.iter().skip(1)).find(|(name, next)| name == next) {
        return Err(IngestError::DuplicateColumn { name: name.clone() });
    }
    if TextField::among(names.iter().map(String::as_str)).is_none() {
        const SHOWN_COLUMNS: usize = 20;
        let mut found: Vec<String> = names.iter().take(SHOWN_COLUMNS).map(|name| shortened(name)).collect();
        if names.len() > SHOWN_COLUMNS {
            found.push("...".to_owned());
        }
        return Err(IngestError::NoTextColumn { expected: expected_fields(), found: found.join(", ") });
    }
    Ok(names)
}

fn shortened(name: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    match name.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("\"{}...\"", name.get(..end).unwrap_or_default()),
        None => format!("\"{name}\""),
    }
}

fn fields(names: &[String], row: &csv::StringRecord) -> Metadata {
    let text_field = TextField::among(names.iter().map(String::as_str));
    let is_text = |name: &str| match &text_field {
        Some(TextField::One(text)) => text == name,
        Some(TextField::Pair(first, second)) => first == name || second == name,
        None => false,
    };
    let mut fields = Metadata::new();
    for (name, cell) in names.iter().zip(row) {
        if is_text(name) || name.eq_ignore_ascii_case(ID_FIELD) {
            fields.insert(name.clone(), cell.into());
        } else if !name.is_empty() && !cell.trim().is_empty() {
            fields.insert(name.clone(), value_of(cell));
        }
    }
    fields
}

fn value_of(cell: &str) -> Value {
    if let Ok(Value::Number(number)) = serde_json::from_str::<Value>(cell)
        && round_trips(&number, cell)
    {
        return Value::Number(number);
    }
    cell.into()
}

fn round_trips(number: &Number, cell: &str) -> bool {
    number.to_string() == cell
}

/// Whether the record between two positions ends inside quotes: the parser takes the rest of the file into one cell then.
fn is_unclosed(text: &str, start: Option<&csv::Position>, end: &csv::Position) -> bool {
    let byte = |position: &csv::Position| usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let Some(start) = start.map(byte) else { return false };
    let end = byte(end);
    if end < text.len() {
        return false;
    }
    let record = text.as_bytes().get(start..).unwrap_or_default();
    let opens = record.starts_with(b"\"")
        || record.windows(2).any(|pair| matches!(pair, [before, b'"'] if DELIMITERS.contains(before)));
    opens && record.iter().filter(|&&byte| byte == b'"').count() % 2 == 1
}
