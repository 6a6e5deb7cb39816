//! Styles of paragraphs: what a style inherits is resolved once.

use crate::xml;
use roxmltree::Node;
use std::collections::HashMap;

/// Styles that inherit from each other, at most this deep: loops end.
const MAX_INHERITANCE: usize = 32;

/// What matters of a paragraph style.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Heading level from 1; none for body text.
    pub(super) level: Option<u8>,
    /// A line of a generated table of contents.
    pub(super) is_contents: bool,
    pub(super) page_break_before: bool,
    /// Numbering id and level.
    pub(super) numbering: Option<(String, usize)>,
}

/// All styles by their ids.
#[derive(Debug, Default)]
pub(super) struct Styles {
    by_id: HashMap<String, Style>,
    plain: Style,
    /// Of paragraphs that name no style.
    default: Option<String>,
}

/// A style as it is written, with unset properties as none.
#[derive(Default)]
struct Written {
    based_on: Option<String>,
    name: String,
    outline: Option<u8>,
    page_break_before: Option<bool>,
    numbering_id: Option<String>,
    numbering_level: Option<usize>,
}

impl Styles {
    pub(super) fn of(root: Node<'_, '_>) -> Self {
        let mut written: HashMap<String, Written> = HashMap::new();
        let mut default = None;
        for style in xml::children(root).filter(|node| xml::name(*node) == "style") {
            let Some(id) = xml::attribute(style, "styleId") else { continue };
            let value = |name: &str| xml::child(style, name).and_then(|node| xml::attribute(node, "val"));
            let mut read = Written {
                based_on: value("basedOn").map(str::to_owned),
                name: value("name").unwrap_or_default().to_lowercase(),
                ..Written::default()
            };
            if let Some(properties) = xml::child(style, "pPr") {
                read.outline = outline_level(properties);
                read.page_break_before = page_break_before(properties);
                (read.numbering_id, read.numbering_level) = numbering(properties);
            }
            let is_default = matches!(xml::attribute(style, "default"), Some("1" | "true" | "on"));
            if is_default && xml::attribute(style, "type") == Some("paragraph") {
                default = Some(id.to_owned());
            }
            written.insert(id.to_owned(), read);
        }
        let by_id = written.keys().map(|id| (id.clone(), resolved(id, &written))).collect();
        Self { by_id, plain: Style::default(), default }
    }

    /// The style with this id; a plain one if there is none.
    pub(super) fn style(&self, id: Option<&str>) -> &Style {
        let id = id.or(self.default.as_deref());
        id.and_then(|id| self.by_id.get(id)).unwrap_or(&self.plain)
    }
}

fn resolved(id: &str, written: &HashMap<String, Written>) -> Style {
    let mut style = Style::default();
    let (mut level, mut breaks, mut number, mut number_level) = (None, None, None, None);
    let mut next = Some(id);
    for _ in 0..MAX_INHERITANCE {
        let Some(read) = next.and_then(|id| written.get(id)) else { break };
        // The built-in styles are headings by their English names, however Word shows these and whatever their ids are.
        level = level.or(read.outline).or_else(|| level_of_name(&read.name));
        breaks = breaks.or(read.page_break_before);
        number = number.or_else(|| read.numbering_id.clone());
        number_level = number_level.or(read.numbering_level);
        style.is_contents |= read.name.starts_with("toc ") || read.name.starts_with("目录 ");
        next = read.based_on.as_deref();
    }
    style.level = level.filter(|level| (1..=9).contains(level));
    style.page_break_before = breaks.unwrap_or(false);
    style.numbering = number.map(|id| (id, number_level.unwrap_or(0)));
    style
}

/// `heading 1` to `heading 9`, and what programs made in China call them in the file.
fn level_of_name(name: &str) -> Option<u8> {
    let rest = ["heading", "标题", "標題"].iter().find_map(|word| name.strip_prefix(word))?;
    rest.trim().parse().ok()
}

/// The outline level of paragraph properties as a heading level; 10 for body text, which is no heading even where the style is.
pub(super) fn outline_level(properties: Node<'_, '_>) -> Option<u8> {
    let value = xml::child(properties, "outlineLvl").and_then(|node| xml::attribute(node, "val"))?;
    value.parse::<u8>().ok().map(|level| level.saturating_add(1))
}

pub(super) fn page_break_before(properties: Node<'_, '_>) -> Option<bool> {
    xml::child(properties, "pageBreakBefore").map(|node| !xml::is_off(xml::attribute(node, "val")))
}

/// Numbering id and level of paragraph properties.
pub(super) fn numbering(properties: Node<'_, '_>) -> (Option<String>, Option<usize>) {
    let Some(numbering) = xml::child(properties, "numPr") else { return (None, None) };
    let value = |name: &str| xml::child(numbering, name).and_then(|node| xml::attribute(node, "val"));
    (value("numId").map(str::to_owned), value("ilvl").and_then(|level| level.parse().ok()))
}
