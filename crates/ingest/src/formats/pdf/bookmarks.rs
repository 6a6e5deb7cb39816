//! A document's outline (what readers show as bookmarks): titles with their level, page and height on it.
//!
//! Destinations are explicit (`[page /XYZ left top zoom]`) or names, looked up in the catalog's `Dests` or in its name tree.
//! Every list and tree is walked with a bound, since a hostile file makes rings of them. PDF 32000-1, 12.3.

use super::content::place;
use hayro_syntax::Pdf;
use hayro_syntax::object::{Array, Dict, Name, Number, Object, ObjectIdentifier, String as PdfString};
use std::collections::{HashMap, HashSet};

/// Most entries of an outline.
const MAX_ENTRIES: usize = 20_000;
/// Most nodes and names of a name tree.
const MAX_NAMES: usize = 200_000;
/// Deepest level of an outline.
const MAX_LEVEL: u8 = 32;

/// One entry of the outline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bookmark {
    /// 1 is the outermost.
    pub(super) level: u8,
    pub(super) title: String,
    /// Counted from 0.
    pub(super) page: usize,
    /// Points from the top of the page, where stated.
    pub(super) top: Option<f64>,
}

/// The outline in its order; empty where there is none.
pub(super) fn read(pdf: &Pdf) -> Vec<Bookmark> {
    let Some(catalog) = pdf.xref().get::<Dict<'_>>(pdf.xref().root_id()) else { return Vec::new() };
    let Some(outlines) = catalog.get::<Dict<'_>>("Outlines") else { return Vec::new() };
    let pages = pdf.pages().iter().enumerate();
    let mut reader = Reader {
        pdf,
        names: None,
        pages: pages.filter_map(|(index, page)| Some((page.raw().obj_id()?, index))).collect(),
        seen: HashSet::new(),
        found: Vec::new(),
        catalog,
    };
    reader.entries(&outlines);
    reader.found
}

struct Reader<'a> {
    pdf: &'a Pdf,
    catalog: Dict<'a>,
    /// Read when the first named destination is met.
    names: Option<HashMap<Vec<u8>, Object<'a>>>,
    pages: HashMap<ObjectIdentifier, usize>,
    seen: HashSet<ObjectIdentifier>,
    found: Vec<Bookmark>,
}

impl<'a> Reader<'a> {
    /// The entries below the root, in order, without recursion.
    fn entries(&mut self, root: &Dict<'a>) {
        let mut next: Vec<(Dict<'a>, u8)> =
            root.get::<Dict<'a>>("First").map(|first| (first, 1)).into_iter().collect();
        while let Some((entry, level)) = next.pop() {
            if self.found.len() >= MAX_ENTRIES || entry.obj_id().is_some_and(|id| !self.seen.insert(id)) {
                continue;
            }
            if entry.obj_id().is_none() && next.len() > usize::from(MAX_LEVEL) {
                continue;
            }
            let title = entry.get::<PdfString<'_>>("Title").map(|title| text_string(title.as_bytes()));
            if let (Some(title), Some((page, top))) = (title, self.destination_of(&entry)) {
                self.found.push(Bookmark { level, title, page, top });
            }
            if let Some(after) = entry.get::<Dict<'a>>("Next") {
                next.push((after, level));
            }
            if let Some(first) = entry.get::<Dict<'a>>("First").filter(|_| level < MAX_LEVEL) {
                next.push((first, level + 1));
            }
        }
    }

    fn destination_of(&mut self, entry: &Dict<'a>) -> Option<(usize, Option<f64>)> {
        let target =
            entry.get::<Object<'a>>("Dest").or_else(|| entry.get::<Dict<'a>>("A")?.get::<Object<'a>>("D"))?;
        self.destination(target)
    }

    fn destination(&mut self, target: Object<'a>) -> Option<(usize, Option<f64>)> {
        let array = match target {
            Object::Array(array) => array,
            Object::Dict(dict) => dict.get::<Array<'a>>("D")?,
            Object::Name(name) => self.named(&name)?,
            Object::String(name) => self.named(name.as_bytes())?,
            _ => return None,
        };
        let page = match array.raw_iter().next()? {
            hayro_syntax::object::MaybeRef::Ref(id) => *self.pages.get(&id.into())?,
            hayro_syntax::object::MaybeRef::NotRef(Object::Number(number)) => {
                usize::try_from(number.as_i64()).ok()?
            }
            hayro_syntax::object::MaybeRef::NotRef(_) => return None,
        };
        let mut parts = array.flex_iter();
        parts.next::<Object<'a>>();
        let kind = parts.next::<Name<'a>>()?;
        let top = match kind.as_ref() {
            b"XYZ" => {
                parts.next::<Object<'a>>();
                parts.next::<Number>()
            }
            b"FitH" | b"FitBH" => parts.next::<Number>(),
            _ => None,
        };
        let matrix = self.pdf.pages().get(page)?.initial_transform(true).as_coeffs();
        let shown = top.map(|top| place((0.0, top.as_f64()), matrix).1);
        Some((page, shown.filter(|top| top.is_finite())))
    }

    fn named(&mut self, name: &[u8]) -> Option<Array<'a>> {
        if self.names.is_none() {
            self.names = Some(self.all_names());
        }
        match self.names.as_ref()?.get(name)? {
            Object::Array(array) => Some(array.clone()),
            Object::Dict(dict) => dict.get::<Array<'a>>("D"),
            _ => None,
        }
    }

    fn all_names(&self) -> HashMap<Vec<u8>, Object<'a>> {
        let mut names = HashMap::new();
        if let Some(dests) = self.catalog.get::<Dict<'a>>("Dests") {
            for key in dests.keys().take(MAX_NAMES) {
                if let Some(target) = dests.get::<Object<'a>>(&*key) {
                    names.insert(key.to_vec(), target);
                }
            }
        }
        let root = self.catalog.get::<Dict<'a>>("Names").and_then(|names| names.get::<Dict<'a>>("Dests"));
        let (mut nodes, mut seen, mut steps) = (Vec::from_iter(root), HashSet::new(), 0);
        while let Some(node) = nodes.pop() {
            steps += 1;
            if steps > MAX_NAMES
                || names.len() > MAX_NAMES
                || node.obj_id().is_some_and(|id| !seen.insert(id))
            {
                continue;
            }
            if let Some(kids) = node.get::<Array<'a>>("Kids") {
                nodes.extend(kids.iter::<Dict<'a>>().take(MAX_NAMES));
            }
            let Some(pairs) = node.get::<Array<'a>>("Names") else { continue };
            let mut pairs = pairs.flex_iter();
            while let Some(name) = pairs.next::<PdfString<'a>>() {
                let Some(target) = pairs.next::<Object<'a>>() else { break };
                names.insert(name.as_bytes().to_vec(), target);
                if names.len() > MAX_NAMES {
                    break;
                }
            }
        }
        names
    }
}

/// A text string: UTF-16 or UTF-8 with a byte order mark, else PDFDocEncoding, which is nearly Latin-1.
pub(super) fn text_string(bytes: &[u8]) -> String {
    if let Some(rest) = bytes.strip_prefix(&[0xFE, 0xFF]) {
        let units = rest.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        return char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    }
    if let Some(rest) = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]) {
        return String::from_utf8_lossy(rest).into_owned();
    }
    bytes.iter().map(|&byte| doc_character(byte)).collect()
}

fn doc_character(byte: u8) -> char {
    match byte {
        0x80 => '•',
        0x83 => '…',
        0x84 => '—',
        0x85 => '–',
        0x8D => '“',
        0x8E => '”',
        0x8F => '‘',
        0x90 => '’',
        0x92 => '™',
        0x93 => 'ﬁ',
        0x94 => 'ﬂ',
        0xA0 => '€',
        other => char::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_strings_in_their_encodings() {
        assert_eq!(text_string(b"\xFE\xFF\x54\x11\x91\xCF"), "向量");
        assert_eq!(text_string("\u{FEFF}向量".as_bytes()), "向量");
        assert_eq!(text_string(b"caf\xE9 \x84 x"), "café — x");
    }
}
