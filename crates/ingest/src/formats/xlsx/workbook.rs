//! The parts of a workbook: its sheets in order, shared strings, and the cells of a sheet one after the other.
//!
//! Sheets and shared strings may be large, so they are read as a stream of events and not as a tree. A cell is kept as its value
//! and, where that differs, as it looks.

use super::looks::{self, Looks};
use crate::error::IngestError;
use crate::limits::Limits;
use crate::package::Package;
use crate::package::relations::Relations;
use crate::xml;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Number, Value};

/// A cell that shows something.
pub(super) struct Cell {
    pub(super) column: u32,
    pub(super) value: Value,
    /// How it looks, where that is not how its value is written.
    look: Option<String>,
}

impl Cell {
    pub(super) fn shown(&self) -> String {
        match (&self.look, &self.value) {
            (Some(look), _) => look.clone(),
            (None, Value::String(text)) => text.clone(),
            (None, Value::Bool(true)) => "TRUE".to_owned(),
            (None, Value::Bool(false)) => "FALSE".to_owned(),
            (None, other) => other.to_string(),
        }
    }
}

/// A row by its number from 0, with the cells of it that show anything.
pub(super) type Row = (u32, Vec<Cell>);

/// What all sheets share.
pub(super) struct Workbook {
    /// Name and part of each sheet of cells.
    pub(super) sheets: Vec<(String, String)>,
    strings: Vec<String>,
    looks: Looks,
    /// Rows and bytes of text that may still be read.
    rows_left: usize,
    bytes_left: u64,
}

impl Workbook {
    pub(super) fn open(package: &mut Package<'_>, limits: &Limits) -> Result<Self, IngestError> {
        let root = Relations::of(package, "", super::FORMAT, limits)?;
        let part = root.of_kind("officeDocument").unwrap_or("xl/workbook.xml").to_owned();
        let Some(text) = package.text_part(&part)? else { return Err(damaged("it holds no workbook")) };
        let tree = xml::parse(&text, super::FORMAT, limits)?;
        let relations = Relations::of(package, &part, super::FORMAT, limits)?;
        let properties = xml::child(tree.root_element(), "workbookPr");
        let from_1904 = properties.and_then(|properties| xml::attribute(properties, "date1904"));
        let styles = relations.of_kind("styles").map(|part| package.text_part(part)).transpose()?.flatten();
        let looks = looks::of_styles(styles.as_deref(), matches!(from_1904, Some("1" | "true")), limits)?;
        let strings =
            relations.of_kind("sharedStrings").map(|part| package.text_part(part)).transpose()?.flatten();
        let sheets: Vec<(String, String)> = xml::child(tree.root_element(), "sheets")
            .into_iter()
            .flat_map(xml::children)
            .filter_map(|sheet| {
                let part = relations.target_of_kind(xml::relation(sheet, "id")?, "worksheet")?;
                Some((xml::attribute(sheet, "name")?.to_owned(), part.to_owned()))
            })
            .collect();
        if sheets.len() > limits.pages {
            return Err(IngestError::Unfolds { unit: "sheets", limit: limits.pages as u64 });
        }
        Ok(Self {
            sheets,
            strings: strings.map(|text| shared_strings(&text)).transpose()?.unwrap_or_default(),
            looks,
            rows_left: limits.rows,
            bytes_left: limits.unpacked_bytes,
        })
    }

    /// The rows of the sheet in `part` that show anything.
    pub(super) fn rows(
        &mut self,
        package: &mut Package<'_>,
        part: &str,
        limits: &Limits,
    ) -> Result<Vec<Row>, IngestError> {
        let Some(text) = package.text_part(part)? else { return Ok(Vec::new()) };
        let mut rows: Vec<Row> = Vec::new();
        let mut reader = Reader::from_str(&text);
        let (mut row, mut next_column) = (0u32, 0u32);
        let mut cell: Option<Open> = None;
        let mut in_text = false;
        loop {
            match reader.read_event().map_err(|error| damaged(&error.to_string()))? {
                Event::Start(tag) => match tag.local_name().as_ref() {
                    "row" => {
                        let number: Option<u32> = attribute(&tag, "r").and_then(|row| row.parse().ok());
                        row = number.map_or(row, |number| number.saturating_sub(1));
                        next_column = 0;
                    }
                    "c" => {
                        let open = Open::of(&tag, (row, next_column));
                        next_column = open.column.saturating_add(1);
                        cell = Some(open);
                    }
                    "v" | "t" => in_text = true,
                    // Pronunciation over characters.
                    "rPh" => drop(reader.read_to_end(tag.name())),
                    _ => {}
                },
                Event::End(tag) => match tag.local_name().as_ref() {
                    "row" => row = row.saturating_add(1),
                    "v" | "t" => in_text = false,
                    "c" => {
                        let Some(open) = cell.take() else { continue };
                        let at = open.row;
                        let Some(read) = self.cell(open) else { continue };
                        self.bytes_left = self.taken(&read, limits)?;
                        match rows.last_mut() {
                            Some((last, cells)) if *last == at => cells.push(read),
                            _ => {
                                let limit = limits.rows as u64;
                                self.rows_left = self
                                    .rows_left
                                    .checked_sub(1)
                                    .ok_or(IngestError::Unfolds { unit: "rows", limit })?;
                                rows.push((at, vec![read]));
                            }
                        }
                    }
                    _ => {}
                },
                Event::Eof => return Ok(rows),
                event => {
                    if let Some(cell) = cell.as_mut().filter(|_| in_text) {
                        push_text(event, &mut cell.text);
                    }
                }
            }
        }
    }

    /// Bytes left when a cell is kept: one long string may be shared by many cells.
    fn taken(&self, cell: &Cell, limits: &Limits) -> Result<u64, IngestError> {
        let bytes = cell.value.as_str().map_or(0, str::len) as u64;
        let limit = limits.unpacked_bytes;
        self.bytes_left.checked_sub(bytes).ok_or(IngestError::Unfolds { unit: "bytes", limit })
    }

    /// What a cell shows; none for nothing, and for errors.
    fn cell(&self, open: Open) -> Option<Cell> {
        let text = |text: &str| (!text.trim().is_empty()).then(|| Value::from(text.trim()));
        let written = open.text.trim();
        let (value, look) = match open.kind.as_str() {
            "s" => (text(self.strings.get(written.parse::<usize>().ok()?)?)?, None),
            "inlineStr" | "str" => (text(&open.text)?, None),
            "b" => (Value::Bool(written == "1"), None),
            "e" => return None,
            "d" => (text(&written.replacen('T', " ", 1))?, None),
            _ => {
                let number: f64 = written.parse().ok().filter(|number: &f64| number.is_finite())?;
                let look = self.looks.show(open.style, number);
                match look {
                    // A date is no number to anyone but the program.
                    Some((look, true)) => (look.into(), None),
                    look => (number_of(number), look.map(|(look, _)| look)),
                }
            }
        };
        Some(Cell { column: open.column, value, look })
    }
}

/// A cell that is being read.
struct Open {
    row: u32,
    column: u32,
    style: usize,
    kind: String,
    text: String,
}

impl Open {
    fn of(tag: &BytesStart<'_>, next: (u32, u32)) -> Self {
        let (row, column) = attribute(tag, "r").as_deref().and_then(place_of).unwrap_or(next);
        Self {
            row,
            column,
            style: attribute(tag, "s").and_then(|style| style.parse().ok()).unwrap_or(0),
            kind: attribute(tag, "t").unwrap_or_default(),
            text: String::new(),
        }
    }
}

fn damaged(reason: &str) -> IngestError {
    IngestError::Damaged { format: super::FORMAT, reason: reason.to_owned() }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(name).ok().flatten()?;
    attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
}

/// Row and column, from 0, of a reference like `AB12`.
fn place_of(reference: &str) -> Option<(u32, u32)> {
    const LETTERS: u32 = 26;
    let digits = reference.find(|character: char| character.is_ascii_digit())?;
    let (letters, digits) = reference.split_at(digits);
    let mut column = 0u32;
    for letter in letters.bytes() {
        let letter = letter.to_ascii_uppercase();
        if !letter.is_ascii_uppercase() {
            return None;
        }
        column = column.checked_mul(LETTERS)?.checked_add(u32::from(letter - b'A') + 1)?;
    }
    Some((digits.parse::<u32>().ok()?.checked_sub(1)?, column.checked_sub(1)?))
}

/// Adds what a text event says; a reference to anything but a predefined character is left out.
fn push_text(event: Event<'_>, text: &mut String) {
    match event {
        Event::Text(words) => text.push_str(&words),
        Event::CData(words) => text.push_str(&words),
        Event::GeneralRef(reference) => match reference.resolve_char_ref() {
            Ok(Some(character)) => text.push(character),
            _ => text.push_str(quick_xml::escape::resolve_predefined_entity(&reference).unwrap_or_default()),
        },
        _ => {}
    }
}

/// The strings that cells share, by their position.
fn shared_strings(text: &str) -> Result<Vec<String>, IngestError> {
    let mut strings = Vec::new();
    let mut reader = Reader::from_str(text);
    let mut at_hand: Option<String> = None;
    let mut in_text = false;
    loop {
        match reader.read_event().map_err(|error| damaged(&error.to_string()))? {
            Event::Start(tag) => match tag.local_name().as_ref() {
                "si" => at_hand = Some(String::new()),
                "t" => in_text = true,
                "rPh" => drop(reader.read_to_end(tag.name())),
                _ => {}
            },
            Event::End(tag) => match tag.local_name().as_ref() {
                "si" => strings.extend(at_hand.take()),
                "t" => in_text = false,
                _ => {}
            },
            // An empty string counts.
            Event::Empty(tag) if tag.local_name().as_ref() == "si" => strings.push(String::new()),
            Event::Eof => return Ok(strings),
            event => {
                if let Some(string) = at_hand.as_mut().filter(|_| in_text) {
                    push_text(event, string);
                }
            }
        }
    }
}

/// Whole numbers without a point, others in the 15 digits that Excel keeps.
fn number_of(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        return (number as i64).into();
    }
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    Number::from_f64(rounded).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        assert_eq!(place_of("A1"), Some((0, 0)));
        assert_eq!(place_of("AB12"), Some((11, 27)));
        assert_eq!(place_of("XFD1048576"), Some((1_048_575, 16_383)));
        assert_eq!(["1", "A0", "中1", "AAAAAAAAAAA1", "A99999999999"].map(place_of), [None; 5]);
    }

    #[test]
    fn strings_in_runs_with_pronunciation() {
        let text = "<sst><si><t>一 &amp; &#x4E8C;</t></si><si/><si><r><t>三</t></r><rPh><t>san</t></rPh><r><t>四</t></r></si></sst>";
        assert_eq!(shared_strings(text).unwrap(), ["一 & 二", "", "三四"]);
    }
}
