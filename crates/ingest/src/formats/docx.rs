//! Word documents (ECMA-376 part 1, WordprocessingML): headings by outline level, lists, tables, notes, pages where stated.
//!
//! A heading is a paragraph whose style, or own properties, give it an outline level, whatever the style is called in whatever
//! language; in a document without any, a line that is numbered like one (`guessed`). Deleted and moved-away text of tracked changes is left out, inserted text kept; so are hidden text, generated
//! tables of contents (they repeat the headings), comments, headers and footers. `page` is counted from the breaks that the
//! file states: those an author set, and those where Word broke pages when it last laid the document out. A file that states
//! none has no pages.

mod body;
mod guessed;
mod numbering;
mod styles;

use crate::error::IngestError;
use crate::limits::Limits;
use crate::outline::Section;
use crate::package::Package;
use crate::package::relations::Relations;
use crate::xml;
use body::Body;
use numbering::Numbering;
use roxmltree::Node;
use styles::Styles;

/// Named in messages.
pub(crate) const FORMAT: &str = "Word";

/// The sections of a document.
pub(crate) fn sections(package: &mut Package<'_>, limits: &Limits) -> Result<Vec<Section>, IngestError> {
    let root = Relations::of(package, "", FORMAT, limits)?;
    let main = root.of_kind("officeDocument").unwrap_or("word/document.xml").to_owned();
    let Some(text) = package.text_part(&main)? else {
        return Err(IngestError::Damaged { format: FORMAT, reason: "it holds no document".into() });
    };
    let relations = Relations::of(package, &main, FORMAT, limits)?;
    let mut part = |kind: &str| match relations.of_kind(kind) {
        Some(name) => package.text_part(name),
        None => Ok(None),
    };
    let (styles, numbering) = (part("styles")?, part("numbering")?);
    let (footnotes, endnotes) = (part("footnotes")?, part("endnotes")?);

    let tree = xml::parse(&text, FORMAT, limits)?;
    let styles = match &styles {
        Some(text) => Styles::of(xml::parse(text, FORMAT, limits)?.root_element()),
        None => Styles::default(),
    };
    let numbering = match &numbering {
        Some(text) => Numbering::of(xml::parse(text, FORMAT, limits)?.root_element()),
        None => Numbering::default(),
    };
    let footnotes = footnotes.as_deref().map(|text| xml::parse(text, FORMAT, limits)).transpose()?;
    let endnotes = endnotes.as_deref().map(|text| xml::parse(text, FORMAT, limits)).transpose()?;

    package.check_time()?;
    let root = tree.root_element();
    let mut body = Body::new(&styles, numbering, states_pages(root, &styles), !has_headings(root, &styles));
    if let Some(notes) = &footnotes {
        body.add_notes("footnote", notes.root_element());
    }
    if let Some(notes) = &endnotes {
        body.add_notes("endnote", notes.root_element());
    }
    if let Some(content) = xml::child(root, "body") {
        body.read(content);
    }
    Ok(body.finish())
}

/// Whether any paragraph has an outline level.
fn has_headings(document: Node<'_, '_>, styles: &Styles) -> bool {
    document.descendants().filter(Node::is_element).any(|node| match xml::name(node) {
        "pPr" => styles::outline_level(node).is_some_and(|level| (1..=9).contains(&level)),
        "pStyle" => xml::attribute(node, "val").is_some_and(|id| styles.style(Some(id)).level.is_some()),
        _ => false,
    })
}

/// Whether the document says anywhere that a page ends.
fn states_pages(document: Node<'_, '_>, styles: &Styles) -> bool {
    let mut sections = 0;
    document.descendants().filter(Node::is_element).any(|node| match xml::name(node) {
        "lastRenderedPageBreak" => true,
        "br" => xml::attribute(node, "type") == Some("page"),
        "pageBreakBefore" => !xml::is_off(xml::attribute(node, "val")),
        "pStyle" => xml::attribute(node, "val").is_some_and(|id| styles.style(Some(id)).page_break_before),
        // The last section ends with the document.
        "sectPr" => {
            sections += 1;
            sections > 1 && body::begins_page(node)
        }
        _ => false,
    })
}
