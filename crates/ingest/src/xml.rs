//! XML of office documents as a read-only tree.
//!
//! Names are compared without their namespace: documents by other programs choose other prefixes, and strict OOXML other
//! namespaces. Safe by construction: a document type is refused, so no entity can be defined or expanded; nodes, nesting and
//! attributes are bounded.

use crate::error::IngestError;
use crate::limits::Limits;
use roxmltree::{Document, Node, ParsingOptions};

/// Nodes of one part, at most: the tree takes about 100 bytes for each.
const MAX_NODES: u32 = 20_000_000;
/// Quotes in one tag, at most: attributes are compared with each other.
const MAX_QUOTES_IN_TAG: usize = 2048;

/// Parses a part of a document; `format` names the document in messages.
pub(crate) fn parse<'t>(
    text: &'t str,
    format: &'static str,
    limits: &Limits,
) -> Result<Document<'t>, IngestError> {
    check_tags(text)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let tree = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::NodesLimitReached => {
            IngestError::Unfolds { unit: "XML nodes in one part", limit: u64::from(MAX_NODES) }
        }
        error => IngestError::Damaged { format, reason: format!("its XML is broken: {error}") },
    })?;
    check_depth(&tree, limits.depth)?;
    Ok(tree)
}

fn check_tags(text: &str) -> Result<(), IngestError> {
    let (mut in_tag, mut quotes) = (false, 0);
    for byte in text.bytes() {
        match byte {
            b'<' => (in_tag, quotes) = (true, 0),
            b'>' => in_tag = false,
            b'"' | b'\'' if in_tag => {
                quotes += 1;
                if quotes > MAX_QUOTES_IN_TAG {
                    let limit = MAX_QUOTES_IN_TAG as u64 / 2;
                    return Err(IngestError::Unfolds { unit: "attributes in one XML element", limit });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_depth(tree: &Document<'_>, limit: usize) -> Result<(), IngestError> {
    let mut depth = 0usize;
    let mut node = tree.root();
    // Depth first without a stack: down, else to the side, else up.
    loop {
        if let Some(child) = node.first_child() {
            depth += 1;
            if depth > limit {
                return Err(IngestError::Unfolds { unit: "nested XML elements", limit: limit as u64 });
            }
            node = child;
            continue;
        }
        loop {
            if let Some(next) = node.next_sibling() {
                node = next;
                break;
            }
            let Some(parent) = node.parent() else { return Ok(()) };
            node = parent;
            depth -= 1;
        }
    }
}

/// The element's name without its namespace.
pub(crate) fn name<'a>(node: Node<'a, '_>) -> &'a str {
    node.tag_name().name()
}

/// Child elements.
pub(crate) fn children<'a, 'i: 'a>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

/// The first child element of this name.
pub(crate) fn child<'a, 'i: 'a>(node: Node<'a, 'i>, wanted: &str) -> Option<Node<'a, 'i>> {
    children(node).find(|child| name(*child) == wanted)
}

/// The element at the end of a path of names.
pub(crate) fn at<'a, 'i: 'a>(node: Node<'a, 'i>, path: &[&str]) -> Option<Node<'a, 'i>> {
    path.iter().try_fold(node, |node, wanted| child(node, wanted))
}

/// All elements below of this name, in the order of the document.
pub(crate) fn below<'a, 'i: 'a>(
    node: Node<'a, 'i>,
    wanted: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.descendants().filter(move |below| below.is_element() && name(*below) == wanted)
}

/// An attribute's value, whatever its namespace.
pub(crate) fn attribute<'a>(node: Node<'a, '_>, wanted: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.name() == wanted).map(|attribute| attribute.value())
}

/// An attribute in the namespace of relationships (`r:id`), told from a plain one of the same name.
pub(crate) fn relation<'a>(node: Node<'a, '_>, wanted: &str) -> Option<&'a str> {
    let is_relation = |namespace: &str| namespace.ends_with("/relationships");
    node.attributes()
        .find(|attribute| attribute.name() == wanted && attribute.namespace().is_some_and(is_relation))
        .map(|attribute| attribute.value())
}

/// Whether an on/off element or attribute value says off.
pub(crate) fn is_off(value: Option<&str>) -> bool {
    matches!(value, Some("0" | "false" | "off"))
}

/// Of alternative content (`mc:AlternateContent`), the branch to read: the newest, else the fallback.
pub(crate) fn alternative<'a, 'i: 'a>(node: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
    let chosen = child(node, "Choice").filter(|choice| children(*choice).next().is_some());
    chosen.or_else(|| child(node, "Fallback"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<(), IngestError> {
        parse(text, "docx", &Limits::default()).map(drop)
    }

    #[test]
    fn bombs_are_refused() {
        let entities = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
        assert!(matches!(parse_text(entities), Err(IngestError::Damaged { .. })));
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        assert!(matches!(parse_text(&deep), Err(IngestError::Unfolds { unit: "nested XML elements", .. })));
        let wide: String = (0..100_000).map(|n| format!(" a{n}=\"\"")).collect();
        assert!(matches!(parse_text(&format!("<a{wide}/>")), Err(IngestError::Unfolds { .. })));
        assert!(parse_text("<a>&lt;中文&#x4E2D;</a>").is_ok());
    }

    #[test]
    fn names_without_namespaces() {
        let tree = parse(
            "<x:a xmlns:x=\"u\" xmlns:r=\"o/relationships\" id=\"1\" r:id=\"2\"><x:b/></x:a>",
            "x",
            &Limits::default(),
        );
        let tree = tree.unwrap();
        let root = tree.root_element();
        assert_eq!((name(root), attribute(root, "id"), relation(root, "id")), ("a", Some("1"), Some("2")));
        assert!(at(root, &["b"]).is_some() && at(root, &["b", "c"]).is_none());
    }
}
