//! Excel workbooks (ECMA-376 part 1, SpreadsheetML): every row is an item, with its cells under the names of the header line.
//!
//! The header is the first row, of the first rows of a sheet, that has as many cells as any of them, all of them words. Where it
//! names a text column as a CSV file does, that column is the item's text; else all cells are, each under its name. Cells are
//! metadata under their names as well, so that results can be filtered by them. `sheet` and `row` (as Excel counts) say where
//! it stands.

mod looks;
mod workbook;

use crate::error::IngestError;
use crate::formats::record::{ID_FIELD, TextField};
use crate::package::Package;
use crate::read::{Document, Item, ReadFile, ReadOptions, Source};
use crate::split::{Gap, Split, Unit, UnitKind, items_of};
use crate::{Found, Metadata};
use workbook::{Cell, Row, Workbook};

/// Named in messages.
pub(crate) const FORMAT: &str = "Excel";
/// Rows that are looked at for a header.
const HEADER_WINDOW: usize = 10;
/// Columns of a row that are metadata.
const MAX_METADATA_COLUMNS: usize = 100;
/// Longest cell that is metadata, in characters.
const MAX_METADATA_CHARS: usize = 200;
/// Fields of a row that its columns cannot take.
const OWN_FIELDS: &[&str] = &[
    "sheet",
    "row",
    "source",
    "sentence_id",
    "total_sentences",
    "passage",
    "page",
    "page_end",
    "chapter",
    "section",
    "slide",
];

pub(crate) fn read(
    found: &Found,
    package: &mut Package<'_>,
    options: &ReadOptions<'_>,
) -> Result<ReadFile, IngestError> {
    let limits = &options.limits;
    let mut workbook = Workbook::open(package, limits)?;
    let mut tables = Vec::new();
    for (name, part) in std::mem::take(&mut workbook.sheets) {
        tables.push((name, workbook.rows(package, &part, limits)?));
        package.check_time()?;
    }
    let total = tables.iter().map(|(_, rows)| rows.len()).sum();
    let mut items = Vec::new();
    for (name, rows) in &tables {
        sheet_items(name, rows, found, options, total, &mut items);
    }
    Ok(ReadFile { documents: vec![Document { id: found.source.clone(), items }], problems: Vec::new() })
}

/// Position of the header among the rows; none if no row is one.
fn header_of(rows: &[Row]) -> Option<usize> {
    let window = rows.iter().take(HEADER_WINDOW);
    let widest = window.clone().map(|(_, cells)| cells.len()).max()?;
    let is_words = |cells: &[Cell]| cells.iter().all(|cell| cell.value.is_string());
    let distinct = |cells: &[Cell]| {
        let mut names: Vec<String> = cells.iter().map(|cell| cell.shown().to_lowercase()).collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair.first() != pair.last())
    };
    let is_header = |cells: &[Cell]| cells.len() == widest && is_words(cells) && distinct(cells);
    (widest > 1).then(|| window.clone().position(|(_, cells)| is_header(cells))).flatten()
}

fn sheet_items(
    sheet: &str,
    rows: &[Row],
    found: &Found,
    options: &ReadOptions<'_>,
    total: usize,
    items: &mut Vec<Item>,
) {
    let header = header_of(rows);
    let names: Vec<(u32, String)> = match header.and_then(|position| rows.get(position)) {
        Some((_, cells)) => cells.iter().map(|cell| (cell.column, one_line(&cell.shown()))).collect(),
        None => Vec::new(),
    };
    let text_field = TextField::among(names.iter().map(|(_, name)| name.as_str()));
    let source = Source { name: &found.source };
    for (position, (row, cells)) in rows.iter().enumerate() {
        if Some(position) == header && rows.len() > position + 1 {
            continue;
        }
        let above_header = header.is_some_and(|header| position <= header);
        let name_of = |column: u32| {
            let named = names.iter().find(|(at, _)| *at == column && !above_header);
            named.map(|(_, name)| name.as_str())
        };
        let text = match &text_field {
            Some(field) if !above_header => text_of(cells, field, name_of),
            _ => named_cells(cells, name_of),
        };
        let mut fields = Metadata::new();
        for cell in cells.iter().take(MAX_METADATA_COLUMNS) {
            if let Some(name) = name_of(cell.column)
                && !is_text(text_field.as_ref(), name)
                && !OWN_FIELDS.contains(&name.to_lowercase().as_str())
                && cell.shown().chars().nth(MAX_METADATA_CHARS).is_none()
            {
                fields.insert(name.to_owned(), cell.value.clone());
            }
        }
        fields.insert("sheet".into(), sheet.into());
        fields.insert("row".into(), (row + 1).to_string().into());
        let unit = Unit {
            text,
            kind: UnitKind::Lines { header_lines: 0 },
            gap: Gap::None,
            marker: String::new(),
            sentence: items.len() + 1,
            pages: None,
        };
        if unit.text.trim().is_empty() {
            continue;
        }
        for piece in items_of(vec![unit], Split::Sentence, options.budget()) {
            items.push(source.text_item(piece, total, fields.clone()));
        }
    }
}

fn is_text(field: Option<&TextField>, name: &str) -> bool {
    match field {
        Some(TextField::One(text)) => text == name,
        Some(TextField::Pair(first, second)) => first == name || second == name,
        None => false,
    }
}

/// The text of a row whose header names a text column; all of its cells where that one is blank.
fn text_of<'n>(cells: &[Cell], field: &TextField, name_of: impl Fn(u32) -> Option<&'n str> + Copy) -> String {
    let of = |wanted: &str| {
        let cell = cells.iter().find(|cell| name_of(cell.column) == Some(wanted));
        cell.map(Cell::shown).unwrap_or_default()
    };
    let text = match field {
        TextField::One(name) => of(name),
        TextField::Pair(first, second) => format!("{}\n{}", of(first), of(second)),
    };
    if text.trim().is_empty() { named_cells(cells, name_of) } else { text }
}

/// A row's cells on lines of their own, each after its name.
fn named_cells<'n>(cells: &[Cell], name_of: impl Fn(u32) -> Option<&'n str>) -> String {
    let mut lines = Vec::new();
    for cell in cells {
        match name_of(cell.column) {
            Some(name) if name.eq_ignore_ascii_case(ID_FIELD) => {}
            Some(name) => lines.push(format!("{name}: {}", cell.shown())),
            None => lines.push(cell.shown()),
        }
    }
    lines.join("\n")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
