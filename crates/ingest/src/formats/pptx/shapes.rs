//! The shapes of one slide as blocks (DrawingML): text bodies, groups, tables, alternative content.
//!
//! Shapes come as they stand ([`super::places`]); the title comes first wherever it stands. Paragraphs of a content placeholder are list items by their level, as its bullets show
//! them, unless it has one paragraph only or their bullets are taken off; those of other shapes are where they have bullets.

use super::places::Places;
use crate::outline::Block;
use crate::xml;
use roxmltree::Node;
use std::collections::HashMap;

/// Placeholders that repeat on every slide.
const REPEATED: &[&str] = &["dt", "ftr", "sldNum", "hdr"];

/// What a slide shows.
#[derive(Debug, Default)]
pub(super) struct Slide {
    titles: Vec<String>,
    blocks: Vec<Block>,
    places: Places,
    /// Whether its layout gives no bullets to texts: title slides and section headers.
    plain: bool,
    /// Diagrams, the last one first: where among the blocks, and the identifier of their data.
    pub(super) diagrams: Vec<(usize, String)>,
}

impl Slide {
    /// Of a layout without bullets, or with, that puts its placeholders there.
    pub(super) fn new(plain: bool, places: Places) -> Self {
        Self { plain, places, ..Self::default() }
    }

    /// Reads a tree of shapes or a group within it.
    pub(super) fn read(&mut self, shapes: Node<'_, '_>) {
        for shape in self.places.in_order(shapes) {
            match xml::name(shape) {
                "sp" => self.shape(shape),
                "grpSp" => self.read(shape),
                "graphicFrame" => self.frame(shape),
                "AlternateContent" => {
                    if let Some(branch) = xml::alternative(shape) {
                        self.read(branch);
                    }
                }
                _ => {}
            }
        }
    }

    /// The slide's title on one line; none if it has none.
    pub(super) fn title(&self) -> Option<String> {
        let title =
            self.titles.iter().flat_map(|title| title.split_whitespace()).collect::<Vec<_>>().join(" ");
        (!title.is_empty()).then_some(title)
    }

    pub(super) fn blocks(self) -> Vec<Block> {
        self.blocks
    }

    /// Puts blocks where a diagram stands; the last diagram first, so that no other one moves.
    pub(super) fn insert(&mut self, position: usize, blocks: Vec<Block>) {
        let position = position.min(self.blocks.len());
        self.blocks.splice(position..position, blocks);
    }

    fn shape(&mut self, shape: Node<'_, '_>) {
        let Some(body) = xml::child(shape, "txBody") else { return };
        let placeholder = xml::at(shape, &["nvSpPr", "nvPr", "ph"]);
        let kind = placeholder.map(|placeholder| xml::attribute(placeholder, "type").unwrap_or("obj"));
        match kind {
            Some("title" | "ctrTitle") => self.titles.push(text_of(body)),
            Some(kind) if REPEATED.contains(&kind) => {}
            Some("body" | "obj") => self.blocks.extend(paragraphs(body, !self.plain)),
            _ => self.blocks.extend(paragraphs(body, false)),
        }
    }

    fn frame(&mut self, frame: Node<'_, '_>) {
        let Some(data) = xml::at(frame, &["graphic", "graphicData"]) else { return };
        for content in xml::children(data) {
            match xml::name(content) {
                "tbl" => self.blocks.push(table(content)),
                "relIds" => {
                    if let Some(id) = xml::relation(content, "dm") {
                        self.diagrams.insert(0, (self.blocks.len(), id.to_owned()));
                    }
                }
                _ => {}
            }
        }
    }
}

/// The notes of a page of notes: its body, not the picture of the slide or the page's header.
pub(super) fn notes(shapes: Node<'_, '_>) -> Vec<Block> {
    let is_body = |shape: &Node<'_, '_>| {
        let placeholder = xml::at(*shape, &["nvSpPr", "nvPr", "ph"]);
        placeholder.and_then(|placeholder| xml::attribute(placeholder, "type")) == Some("body")
    };
    let bodies = xml::children(shapes).filter(|shape| xml::name(*shape) == "sp").filter(is_body);
    bodies.filter_map(|shape| xml::child(shape, "txBody")).flat_map(|body| paragraphs(body, false)).collect()
}

/// The paragraphs of a text body; `bulleted` where its placeholder gives them bullets.
pub(super) fn paragraphs(body: Node<'_, '_>, bulleted: bool) -> Vec<Block> {
    let texts: Vec<(Node<'_, '_>, String)> = xml::children(body)
        .filter(|node| xml::name(*node) == "p")
        .map(|paragraph| (paragraph, paragraph_text(paragraph)))
        .filter(|(_, text)| !text.trim().is_empty())
        .collect();
    let alone = texts.len() == 1;
    let mut numbers: HashMap<usize, u32> = HashMap::new();
    let mut blocks = Vec::new();
    for (paragraph, text) in texts {
        let properties = xml::child(paragraph, "pPr");
        let level = properties.and_then(|properties| xml::attribute(properties, "lvl")?.parse().ok());
        let level: usize = level.unwrap_or(0);
        let has = |name: &str| properties.and_then(|properties| xml::child(properties, name));
        numbers.retain(|deeper, _| *deeper <= level);
        let marker = if let Some(numbering) = has("buAutoNum") {
            let start =
                xml::attribute(numbering, "startAt").and_then(|start| start.parse().ok()).unwrap_or(1);
            let number =
                numbers.entry(level).and_modify(|number| *number = number.saturating_add(1)).or_insert(start);
            Some(format!("{number}."))
        } else {
            numbers.remove(&level);
            let bullet = has("buChar").is_some() || bulleted && !alone && has("buNone").is_none();
            bullet.then(|| "-".to_owned())
        };
        let depth = if marker.is_some() { level + 1 } else { 0 };
        blocks.push(Block::Text { text, depth, marker });
    }
    blocks
}

/// A text body on lines.
fn text_of(body: Node<'_, '_>) -> String {
    let paragraphs = xml::children(body).filter(|node| xml::name(*node) == "p");
    paragraphs.map(paragraph_text).collect::<Vec<_>>().join("\n")
}

/// The text of a paragraph: its runs, line ends, fields and formulas.
fn paragraph_text(paragraph: Node<'_, '_>) -> String {
    let mut text = String::new();
    push_runs(paragraph, &mut text);
    text
}

fn push_runs(node: Node<'_, '_>, text: &mut String) {
    for child in xml::children(node) {
        match xml::name(child) {
            "r" | "fld" => {
                for run in xml::children(child).filter(|run| xml::name(*run) == "t") {
                    text.push_str(run.text().unwrap_or_default());
                }
            }
            "br" => text.push('\n'),
            "AlternateContent" => {
                if let Some(branch) = xml::alternative(child) {
                    push_runs(branch, text);
                }
            }
            // A formula: what its runs say, in their order.
            "m" | "oMath" | "oMathPara" => {
                for run in xml::below(child, "t") {
                    text.push_str(run.text().unwrap_or_default());
                }
            }
            _ => {}
        }
    }
}

fn table(table: Node<'_, '_>) -> Block {
    let first = xml::child(table, "tblPr").and_then(|properties| xml::attribute(properties, "firstRow"));
    let header_rows = usize::from(matches!(first, Some("1" | "true" | "on")));
    let rows = xml::children(table).filter(|row| xml::name(*row) == "tr").map(|row| {
        let cells = xml::children(row).filter(|cell| xml::name(*cell) == "tc");
        // Cells that a wider one covers are there, and empty.
        let shown =
            cells.filter(|cell| !matches!(xml::attribute(*cell, "hMerge"), Some("1" | "true" | "on")));
        shown.map(|cell| xml::child(cell, "txBody").map(text_of).unwrap_or_default()).collect()
    });
    Block::Table { rows: rows.collect(), header_rows, depth: 0 }
}
