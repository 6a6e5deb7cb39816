//! EPUB books (2 and 3): the documents of the spine in reading order, with the titles of the table of contents.
//!
//! A document's own headings make its sections; one that has none is headed by its title in the navigation document (EPUB 3)
//! or the NCX (EPUB 2). The navigation document itself is no text: it repeats the headings.

mod page;

use crate::error::IngestError;
use crate::limits::Limits;
use crate::outline::{Block, Outline, Section, Show};
use crate::package::Package;
use crate::package::relations::resolved;
use crate::xml;
use roxmltree::Node;
use std::collections::{HashMap, HashSet};

/// Named in messages.
pub(crate) const FORMAT: &str = "EPUB";

/// A part that the book's manifest names.
struct Part {
    name: String,
    media: String,
    is_navigation: bool,
}

/// The sections of a book.
pub(crate) fn sections(package: &mut Package<'_>, limits: &Limits) -> Result<Vec<Section>, IngestError> {
    let damaged = |reason: &str| IngestError::Damaged { format: FORMAT, reason: reason.into() };
    let Some(text) = package.text_part("META-INF/container.xml")? else {
        return Err(damaged("it has no container"));
    };
    let tree = page::parse(&text, limits)?;
    let root = xml::below(tree.root_element(), "rootfile").next();
    let book = root.and_then(|root| xml::attribute(root, "full-path")).unwrap_or_default().to_owned();
    let Some(text) = package.text_part(&book)? else { return Err(damaged("it has no package document")) };
    let tree = page::parse(&text, limits)?;
    let folder = book.rsplit_once('/').map_or("", |(folder, _)| folder);
    let manifest = manifest(tree.root_element(), folder);
    let spine = xml::child(tree.root_element(), "spine");
    let order: Vec<&Part> = spine
        .into_iter()
        .flat_map(xml::children)
        .filter_map(|item| manifest.get(xml::attribute(item, "idref")?))
        .collect();
    if order.len() > limits.pages {
        return Err(IngestError::Unfolds { unit: "chapters", limit: limits.pages as u64 });
    }
    let ncx = spine.and_then(|spine| xml::attribute(spine, "toc")).and_then(|id| manifest.get(id));
    let navigation = manifest.values().find(|part| part.is_navigation).or(ncx);
    let titles = match navigation {
        Some(part) => titles(package, &part.name, limits)?,
        None => HashMap::new(),
    };
    let locked = locked(package, limits)?;
    let mut outline = Outline::default();
    for part in order {
        if part.is_navigation || !part.media.contains("html") {
            continue;
        }
        if locked.contains(&part.name) {
            return Err(IngestError::Encrypted { format: FORMAT });
        }
        let Some(text) = package.text_part(&part.name)? else { continue };
        let blocks = page::blocks(&text, limits)?;
        let headed = blocks.iter().any(|block| matches!(block, Block::Heading { .. }));
        if let (false, Some((level, title))) = (headed, titles.get(&part.name)) {
            outline.push(Block::Heading { level: *level, text: title.clone(), show: Show::Never });
        }
        for block in blocks {
            outline.push(block);
        }
    }
    Ok(outline.finish())
}

fn manifest(package: Node<'_, '_>, folder: &str) -> HashMap<String, Part> {
    let items = xml::child(package, "manifest").into_iter().flat_map(xml::children);
    items
        .filter_map(|item| {
            let (id, href) = (xml::attribute(item, "id")?, xml::attribute(item, "href")?);
            let properties = xml::attribute(item, "properties").unwrap_or_default();
            let part = Part {
                name: resolved(folder, &unescaped(href)),
                media: xml::attribute(item, "media-type").unwrap_or_default().to_owned(),
                is_navigation: properties.split_whitespace().any(|property| property == "nav"),
            };
            Some((id.to_owned(), part))
        })
        .collect()
}

/// Level and title of the documents that a navigation document or an NCX names; the first entry of each counts.
fn titles(
    package: &mut Package<'_>,
    part: &str,
    limits: &Limits,
) -> Result<HashMap<String, (u8, String)>, IngestError> {
    let mut titles = HashMap::new();
    let Some(text) = package.text_part(part)? else { return Ok(titles) };
    let tree = page::parse(&text, limits)?;
    let folder = part.rsplit_once('/').map_or("", |(folder, _)| folder);
    for node in tree.root_element().descendants().filter(Node::is_element) {
        let (target, title, nested_in) = match xml::name(node) {
            "a" => (xml::attribute(node, "href"), words_of(node), "ol"),
            "navPoint" => {
                let target = xml::child(node, "content").and_then(|content| xml::attribute(content, "src"));
                let label = xml::at(node, &["navLabel", "text"]).map(words_of);
                (target, label.unwrap_or_default(), "navPoint")
            }
            _ => continue,
        };
        let Some(target) = target.filter(|_| !title.is_empty()) else { continue };
        let depth = node.ancestors().filter(|above| xml::name(*above) == nested_in).count();
        let level = u8::try_from(depth).unwrap_or(u8::MAX).max(1);
        titles.entry(resolved(folder, &unescaped(target))).or_insert((level, title));
    }
    Ok(titles)
}

/// The parts that are encrypted, but for fonts that are only made hard to copy.
fn locked(package: &mut Package<'_>, limits: &Limits) -> Result<HashSet<String>, IngestError> {
    let Some(text) = package.text_part("META-INF/encryption.xml")? else { return Ok(HashSet::new()) };
    let tree = page::parse(&text, limits)?;
    let references = xml::below(tree.root_element(), "CipherReference");
    let locked = references.filter_map(|reference| xml::attribute(reference, "URI"));
    Ok(locked.map(|uri| resolved("", &unescaped(uri))).collect())
}

fn words_of(node: Node<'_, '_>) -> String {
    let text: String = node.descendants().filter(Node::is_text).filter_map(|text| text.text()).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A reference with its `%E4%B8%AD` as the characters that they stand for.
fn unescaped(reference: &str) -> String {
    let mut bytes = Vec::with_capacity(reference.len());
    let mut rest = reference.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_unescaped() {
        assert_eq!(unescaped("%E4%B8%AD%20a.xhtml"), "中 a.xhtml");
        assert_eq!(unescaped("100%25%"), "100%%");
    }
}
