//! One XHTML document of a book as blocks.
//!
//! Books are XML, so they are read as such: a document type is cut off and its named characters are replaced before, and a
//! document that is no XML in spite of its format is read for its words alone.

use crate::error::IngestError;
use crate::formats::html;
use crate::limits::Limits;
use crate::outline::Block;
use crate::xml;
use roxmltree::{Document, Node};
use std::borrow::Cow;

/// Elements whose content is not read: no text, or the pronunciation over a text.
const SILENT: &[&str] = &["head", "script", "style", "svg", "rt", "rp", "nav"];
/// Elements within a line.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "label", "mark", "math", "q", "rb", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub",
    "sup", "time", "tt", "u", "var",
];
/// Named characters that books use without a document type that is read.
const NAMED: &[(&str, &str)] = &[
    ("&nbsp;", "\u{A0}"),
    ("&mdash;", "—"),
    ("&ndash;", "–"),
    ("&hellip;", "…"),
    ("&ldquo;", "“"),
    ("&rdquo;", "”"),
    ("&lsquo;", "‘"),
    ("&rsquo;", "’"),
    ("&middot;", "·"),
    ("&copy;", "©"),
    ("&reg;", "®"),
    ("&times;", "×"),
    ("&emsp;", "\u{2003}"),
    ("&ensp;", "\u{2002}"),
    ("&shy;", ""),
];

/// Parses XML that may have a document type.
pub(super) fn parse<'t>(text: &'t str, limits: &Limits) -> Result<Document<'t>, IngestError> {
    xml::parse(without_type(text), super::FORMAT, limits)
}

/// What follows a document type without declarations of its own; all of the text where there is none.
fn without_type(text: &str) -> &str {
    let Some(start) = text.find("<!DOCTYPE") else { return text };
    let rest = text.get(start..).unwrap_or_default();
    match (rest.find('>'), rest.find('[')) {
        // Declarations define entities: these are refused, by the parser.
        (Some(end), Some(declarations)) if declarations < end => text,
        (Some(end), _) => rest.get(end + 1..).unwrap_or_default(),
        (None, _) => text,
    }
}

/// The blocks of a document.
pub(super) fn blocks(text: &str, limits: &Limits) -> Result<Vec<Block>, IngestError> {
    let mut text = Cow::Borrowed(without_type(text));
    for (name, character) in NAMED {
        if text.contains(name) {
            text = Cow::Owned(text.replace(name, character));
        }
    }
    match xml::parse(&text, super::FORMAT, limits) {
        Ok(tree) => {
            let mut page = Page::default();
            page.read(tree.root_element());
            page.flush();
            Ok(page.blocks)
        }
        Err(IngestError::Damaged { .. }) => Ok(vec![Block::paragraph(html::text_of(&text))]),
        Err(error) => Err(error),
    }
}

#[derive(Default)]
struct Page {
    blocks: Vec<Block>,
    /// Running text of the block at hand.
    line: String,
    /// Open lists: the next number of an ordered one.
    lists: Vec<Option<u32>>,
    marker: Option<String>,
}

impl Page {
    fn read(&mut self, node: Node<'_, '_>) {
        for child in node.children() {
            if let Some(text) = child.text().filter(|_| child.is_text()) {
                self.push(text);
            } else if child.is_element() && !SILENT.contains(&xml::name(child)) {
                self.element(child);
            }
        }
    }

    fn element(&mut self, node: Node<'_, '_>) {
        match xml::name(node) {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if self.lists.is_empty() => {
                self.flush();
                let level = xml::name(node).bytes().last().map_or(1, |digit| digit.saturating_sub(b'0'));
                self.read(node);
                let title = std::mem::take(&mut self.line);
                self.blocks.push(Block::heading(level, title));
            }
            "br" => self.line.push('\n'),
            "ul" | "ol" => {
                self.flush();
                let start = xml::attribute(node, "start").and_then(|start| start.parse().ok()).unwrap_or(1);
                self.lists.push((xml::name(node) == "ol").then_some(start));
                self.read(node);
                self.flush();
                self.lists.pop();
            }
            "li" => {
                self.flush();
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}.");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => "-".to_owned(),
                });
                self.read(node);
                self.flush();
                self.marker = None;
            }
            "pre" => {
                self.flush();
                let text = node.descendants().filter(Node::is_text).filter_map(|text| text.text()).collect();
                self.blocks.push(Block::Code { text, depth: self.lists.len() });
            }
            "table" => self.table(node),
            name if INLINE.contains(&name) => self.read(node),
            _ => {
                self.flush();
                self.read(node);
                self.flush();
            }
        }
    }

    /// Text with its white space as one space, as a browser shows it.
    fn push(&mut self, text: &str) {
        for character in text.chars() {
            if character.is_ascii_whitespace() {
                if !self.line.is_empty() && !self.line.ends_with([' ', '\n']) {
                    self.line.push(' ');
                }
            } else {
                self.line.push(character);
            }
        }
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.line);
        if !text.trim().is_empty() {
            let (depth, marker) = (self.lists.len(), self.marker.take());
            self.blocks.push(Block::Text { text: text.trim().to_owned(), depth, marker });
        }
    }

    fn table(&mut self, table: Node<'_, '_>) {
        self.flush();
        let mut header_rows = 0;
        let mut rows = Vec::new();
        for row in xml::below(table, "tr") {
            let cells: Vec<Node<'_, '_>> =
                xml::children(row).filter(|cell| matches!(xml::name(*cell), "td" | "th")).collect();
            let is_header = !cells.is_empty() && cells.iter().all(|cell| xml::name(*cell) == "th");
            header_rows += usize::from(is_header && header_rows == rows.len());
            rows.push(cells.into_iter().map(super::words_of).collect());
        }
        self.blocks.push(Block::Table { rows, header_rows, depth: self.lists.len() });
    }
}
