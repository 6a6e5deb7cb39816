//! The body of a Word document as blocks: paragraphs, runs, tables, text boxes, notes, page breaks.
//!
//! Pages are counted once where they end: Word writes a break that an author set, and again, before the next text, that a page
//! began there when it laid the document out.

use super::guessed;
use super::numbering::Numbering;
use super::styles::{self, Style, Styles};
use crate::outline::{Block, Outline, PAGE_BREAK, Section, Show};
use crate::xml;
use roxmltree::Node;
use std::collections::HashMap;

/// A table's row with more text than this is laid out, not tabulated: its cells are read as paragraphs.
const MAX_ROW_CHARS: usize = 400;
/// Between the rows, and the cells, of a table within a cell.
const INNER_SEPARATORS: (&str, &str) = ("; ", ", ");

/// Reads blocks into an outline.
pub(super) struct Body<'s, 'x, 'i> {
    styles: &'s Styles,
    numbering: Numbering,
    outline: Outline,
    pages: bool,
    /// The document uses no heading styles: headings are guessed.
    guesses: bool,
    /// Paragraphs of notes by kind and id.
    notes: HashMap<(&'static str, String), Node<'x, 'i>>,
    notes_shown: usize,
    /// Notes and text boxes of the paragraph at hand, which follow it.
    pending_notes: Vec<(String, String)>,
    pending_boxes: Vec<Node<'x, 'i>>,
    /// Tables and text boxes that are open: a heading within is none of the document's.
    containers: usize,
    /// A page was ended by the author, and nothing was shown since.
    just_broken: bool,
    /// For each section of the document, whether it begins a page.
    sections: Vec<bool>,
    section: usize,
    anything_shown: bool,
}

/// Whether the section that these properties end begins on a page of its own.
pub(super) fn begins_page(section: Node<'_, '_>) -> bool {
    let kind = xml::child(section, "type").and_then(|kind| xml::attribute(kind, "val"));
    !matches!(kind, Some("continuous" | "nextColumn"))
}

impl<'s, 'x, 'i> Body<'s, 'x, 'i> {
    pub(super) fn new(styles: &'s Styles, numbering: Numbering, pages: bool, guesses: bool) -> Self {
        let mut outline = Outline::default();
        if pages {
            outline.page(1);
        }
        Self {
            styles,
            numbering,
            outline,
            pages,
            guesses,
            notes: HashMap::new(),
            notes_shown: 0,
            pending_notes: Vec::new(),
            pending_boxes: Vec::new(),
            containers: 0,
            just_broken: false,
            sections: Vec::new(),
            section: 0,
            anything_shown: false,
        }
    }

    /// Footnotes or endnotes, by the name of their elements.
    pub(super) fn add_notes(&mut self, kind: &'static str, root: Node<'x, 'i>) {
        for note in xml::children(root).filter(|note| xml::name(*note) == kind) {
            // Those with a type are the lines that part notes from the text.
            if let (Some(id), None) = (xml::attribute(note, "id"), xml::attribute(note, "type")) {
                self.notes.insert((kind, id.to_owned()), note);
            }
        }
    }

    /// Reads the whole document.
    pub(super) fn read(&mut self, body: Node<'x, 'i>) {
        self.sections = xml::below(body, "sectPr").map(begins_page).collect();
        self.blocks(body);
    }

    pub(super) fn finish(self) -> Vec<Section> {
        self.outline.finish()
    }

    fn blocks(&mut self, parent: Node<'x, 'i>) {
        for node in xml::children(parent) {
            match xml::name(node) {
                "p" => self.paragraph(node),
                "tbl" => self.table(node),
                "sdt" if is_contents(node) => {}
                "sdt" | "sdtContent" | "ins" | "moveTo" | "customXml" | "smartTag" => self.blocks(node),
                "AlternateContent" => {
                    if let Some(branch) = xml::alternative(node) {
                        self.blocks(branch);
                    }
                }
                _ => {}
            }
        }
    }

    fn paragraph(&mut self, paragraph: Node<'x, 'i>) {
        let properties = xml::child(paragraph, "pPr");
        let style = self.style_of(properties);
        let mut text = String::new();
        let breaks = properties.and_then(styles::page_break_before).unwrap_or(style.page_break_before);
        if breaks && self.anything_shown {
            self.end_page(&mut text);
        }
        self.runs(paragraph, &mut text);
        if style.is_contents {
            text.retain(|character| character == PAGE_BREAK);
        }
        let marker = self.marker(properties, &style);
        let level = properties
            .and_then(styles::outline_level)
            .or(style.level)
            .filter(|level| (1..=9).contains(level));
        let is_blank = text.trim().is_empty();
        let guessed = if self.guesses && self.containers == 0 { guessed::level_of(&text) } else { None };
        let block = match (level, marker) {
            (None, None) if guessed.is_some() => {
                Block::Heading { level: guessed.unwrap_or(1), text, show: Show::InText }
            }
            (Some(level), marker) if self.containers == 0 && !is_blank => Block::heading(
                level,
                marker.iter().map(|(_, marker)| format!("{marker} ")).collect::<String>() + &text,
            ),
            (_, Some((depth, marker))) if !is_blank => Block::Text { text, depth, marker: Some(marker) },
            _ => Block::Text { text, depth: 0, marker: None },
        };
        self.outline.push(block);
        self.anything_shown |= !is_blank;
        self.pending();
        if properties.is_some_and(|properties| xml::child(properties, "sectPr").is_some()) {
            self.section += 1;
            if self.sections.get(self.section).copied().unwrap_or(false) {
                let mut text = String::new();
                self.end_page(&mut text);
                self.outline.push(Block::paragraph(text));
            }
        }
    }

    fn style_of(&self, properties: Option<Node<'_, '_>>) -> Style {
        let named = properties.and_then(|properties| xml::child(properties, "pStyle"));
        self.styles.style(named.and_then(|style| xml::attribute(style, "val"))).clone()
    }

    /// Depth and marker of a list's paragraph, or the number of a heading; counts it.
    fn marker(&mut self, properties: Option<Node<'_, '_>>, style: &Style) -> Option<(usize, String)> {
        let (own, own_level) = properties.map(styles::numbering).unwrap_or_default();
        let inherited = style.numbering.as_ref();
        let id = own.or_else(|| inherited.map(|(id, _)| id.clone()))?;
        let level = own_level.or(inherited.map(|(_, level)| *level)).unwrap_or(0);
        self.numbering.next(&id, level).map(|marker| (level + 1, marker))
    }

    /// Notes and text boxes that belong to what was just read.
    fn pending(&mut self) {
        for (marker, text) in std::mem::take(&mut self.pending_notes) {
            self.outline.push(Block::Text { text, depth: 0, marker: Some(marker) });
        }
        for content in std::mem::take(&mut self.pending_boxes) {
            self.containers += 1;
            self.blocks(content);
            self.containers -= 1;
        }
    }

    /// The page ends where the author says so.
    fn end_page(&mut self, text: &mut String) {
        if self.pages {
            text.push(PAGE_BREAK);
            self.just_broken = true;
        }
    }

    fn show(&mut self, words: &str, text: &mut String) {
        self.just_broken &= words.trim().is_empty();
        text.push_str(words);
    }

    /// What lies within a paragraph, or within a link, an insertion or a field of it.
    fn runs(&mut self, parent: Node<'x, 'i>, text: &mut String) {
        for node in xml::children(parent) {
            match xml::name(node) {
                "r" => {
                    let hidden = xml::at(node, &["rPr", "vanish"]);
                    if hidden.is_none_or(|vanish| xml::is_off(xml::attribute(vanish, "val"))) {
                        self.run(node, text);
                    }
                }
                "hyperlink" | "ins" | "moveTo" | "smartTag" | "fldSimple" | "customXml" | "sdt"
                | "sdtContent" | "dir" | "bdo" => self.runs(node, text),
                "AlternateContent" => {
                    if let Some(branch) = xml::alternative(node) {
                        self.runs(branch, text);
                    }
                }
                // A formula: what its runs say, in their order.
                "oMath" | "oMathPara" => {
                    for run in xml::below(node, "t") {
                        self.show(run.text().unwrap_or_default(), text);
                    }
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, run: Node<'x, 'i>, text: &mut String) {
        for node in xml::children(run) {
            match xml::name(node) {
                "t" => self.show(node.text().unwrap_or_default(), text),
                "tab" | "ptab" => text.push(' '),
                "cr" => text.push('\n'),
                "br" if xml::attribute(node, "type") == Some("page") => self.end_page(text),
                "br" => text.push('\n'),
                "noBreakHyphen" => self.show("-", text),
                "lastRenderedPageBreak" if self.pages && !std::mem::take(&mut self.just_broken) => {
                    text.push(PAGE_BREAK);
                }
                "footnoteReference" => self.note("footnote", node, text),
                "endnoteReference" => self.note("endnote", node, text),
                "drawing" | "pict" | "object" => {
                    self.just_broken = false;
                    self.text_boxes(node);
                }
                "AlternateContent" => {
                    if let Some(branch) = xml::alternative(node) {
                        self.run(branch, text);
                    }
                }
                // Pronunciation over characters: the characters.
                "ruby" => {
                    if let Some(base) = xml::child(node, "rubyBase") {
                        self.runs(base, text);
                    }
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, kind: &'static str, reference: Node<'_, '_>, text: &mut String) {
        let Some(id) = xml::attribute(reference, "id") else { return };
        let Some(note) = self.notes.get(&(kind, id.to_owned())) else { return };
        let words = words_of(*note);
        if words.is_empty() {
            return;
        }
        self.notes_shown += 1;
        let marker = format!("[{}]", self.notes_shown);
        self.show(&marker, text);
        self.pending_notes.push((marker, words));
    }

    /// Text boxes of a drawing, not those within them: they are found when these are read.
    fn text_boxes(&mut self, drawing: Node<'x, 'i>) {
        for node in xml::children(drawing) {
            match xml::name(node) {
                "txbxContent" => self.pending_boxes.push(node),
                "AlternateContent" => {
                    if let Some(branch) = xml::alternative(node) {
                        self.text_boxes(branch);
                    }
                }
                _ => self.text_boxes(node),
            }
        }
    }

    fn table(&mut self, table: Node<'x, 'i>) {
        let mut rows = Vec::new();
        expanded(table, "tr", &mut rows);
        let properties = |row: Node<'x, 'i>, name: &str| xml::at(row, &["trPr", name]);
        rows.retain(|row| properties(*row, "del").is_none());
        let mut header_rows = rows.iter().take_while(|row| properties(**row, "tblHeader").is_some()).count();
        if header_rows == 0 && rows.len() > 1 && names_first_row(table) {
            header_rows = 1;
        }
        let mut tabulated: Vec<Vec<String>> = Vec::new();
        let columns = rows.iter().map(|row| cells_of(*row).len()).max().unwrap_or(0);
        for row in rows {
            let cells = cells_of(row);
            let chars = cells.iter().map(|cell| words_of(*cell).chars().count()).sum::<usize>();
            if columns > 1 && chars <= MAX_ROW_CHARS {
                tabulated.push(cells.into_iter().map(|cell| self.cell(cell)).collect());
                continue;
            }
            self.end_table(&mut tabulated, &mut header_rows);
            self.containers += 1;
            for cell in cells {
                self.blocks(cell);
            }
            self.containers -= 1;
        }
        self.end_table(&mut tabulated, &mut header_rows);
        self.pending();
    }

    fn end_table(&mut self, rows: &mut Vec<Vec<String>>, header_rows: &mut usize) {
        let rows = std::mem::take(rows);
        if !rows.is_empty() {
            self.anything_shown = true;
            self.outline.push(Block::Table { rows, header_rows: std::mem::take(header_rows), depth: 0 });
        }
    }

    /// A cell's text; its paragraphs follow each other, a table within is written out in place.
    fn cell(&mut self, cell: Node<'x, 'i>) -> String {
        let mut parts: Vec<String> = Vec::new();
        for node in xml::children(cell) {
            match xml::name(node) {
                "p" => {
                    let mut text = String::new();
                    self.runs(node, &mut text);
                    let properties = xml::child(node, "pPr");
                    let style = self.style_of(properties);
                    if let Some((_, marker)) = self.marker(properties, &style)
                        && !text.trim().is_empty()
                        && marker != "-"
                    {
                        text.insert_str(0, &format!("{marker} "));
                    }
                    parts.push(text);
                }
                "tbl" => {
                    let mut rows = Vec::new();
                    expanded(node, "tr", &mut rows);
                    let (between_rows, between_cells) = INNER_SEPARATORS;
                    let mut lines = Vec::new();
                    for row in rows {
                        let cells: Vec<String> =
                            cells_of(row).into_iter().map(|cell| self.cell(cell)).collect();
                        lines.push(cells.join(between_cells));
                    }
                    parts.push(lines.join(between_rows));
                }
                "sdt" | "sdtContent" | "ins" | "customXml" => parts.push(self.cell(node)),
                _ => {}
            }
        }
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    }
}

/// The cells of a row that show something of their own: one that continues the cell above stays blank.
fn cells_of<'x, 'i>(row: Node<'x, 'i>) -> Vec<Node<'x, 'i>> {
    let mut cells = Vec::new();
    expanded(row, "tc", &mut cells);
    cells
}

/// Child elements of this name, also those wrapped in controls and insertions.
fn expanded<'x, 'i>(parent: Node<'x, 'i>, wanted: &str, found: &mut Vec<Node<'x, 'i>>) {
    for node in xml::children(parent) {
        match xml::name(node) {
            name if name == wanted => found.push(node),
            "sdt" | "sdtContent" | "customXml" | "ins" => expanded(node, wanted, found),
            _ => {}
        }
    }
}

/// Whether the table's style sets its first row off, as it does a header.
fn names_first_row(table: Node<'_, '_>) -> bool {
    const FIRST_ROW: u32 = 0x20;
    let Some(look) = xml::at(table, &["tblPr", "tblLook"]) else { return false };
    let bits = xml::attribute(look, "val").and_then(|bits| u32::from_str_radix(bits, 16).ok());
    match xml::attribute(look, "firstRow") {
        Some(first) => !xml::is_off(Some(first)),
        None => bits.is_some_and(|bits| bits & FIRST_ROW != 0),
    }
}

/// A generated table of contents.
fn is_contents(control: Node<'_, '_>) -> bool {
    let gallery = xml::at(control, &["sdtPr", "docPartObj", "docPartGallery"]);
    gallery.and_then(|gallery| xml::attribute(gallery, "val")) == Some("Table of Contents")
}

/// The words below an element, paragraph by paragraph.
fn words_of(node: Node<'_, '_>) -> String {
    let mut lines = Vec::new();
    for paragraph in xml::below(node, "p") {
        let line: String = xml::below(paragraph, "t").filter_map(|run| run.text()).collect();
        if !line.trim().is_empty() {
            lines.push(line.trim().to_owned());
        }
    }
    lines.join("\n")
}
