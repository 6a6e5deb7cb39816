//! PowerPoint presentations (ECMA-376 part 1, PresentationML): one part of the outline per slide, in the order shown.
//!
//! The order is that of the presentation's list, not of the file names. `slide` is the position in it from 1; the slide's title
//! is its `section` and the first line of its text; `chapter` is the named section it lies in, else the title of the last
//! section header or of the title slide. Notes of the speaker are passages of their own with `notes`, and slides that are
//! hidden are read and marked `hidden`. Footers, dates and slide numbers are left out: they repeat on every slide.

mod places;
mod shapes;

use crate::Metadata;
use crate::error::IngestError;
use crate::limits::Limits;
use crate::outline::{Block, Outline, Section, Show};
use crate::package::Package;
use crate::package::relations::Relations;
use crate::xml;
use places::Places;
use roxmltree::Node;
use shapes::Slide;
use std::collections::HashMap;

/// Named in messages.
pub(crate) const FORMAT: &str = "PowerPoint";
/// Names that programs give to a section that nobody named.
const UNNAMED_SECTIONS: &[&str] =
    &["default section", "untitled section", "默认节", "无标题节", "預設章節", "未命名的章節"];

/// The sections of a presentation.
pub(crate) fn sections(package: &mut Package<'_>, limits: &Limits) -> Result<Vec<Section>, IngestError> {
    let root = Relations::of(package, "", FORMAT, limits)?;
    let presentation = root.of_kind("officeDocument").unwrap_or("ppt/presentation.xml").to_owned();
    let Some(text) = package.text_part(&presentation)? else {
        return Err(IngestError::Damaged { format: FORMAT, reason: "it holds no presentation".into() });
    };
    let tree = xml::parse(&text, FORMAT, limits)?;
    let relations = Relations::of(package, &presentation, FORMAT, limits)?;
    let named = named_sections(tree.root_element());
    let list = xml::child(tree.root_element(), "sldIdLst");
    let ids: Vec<Node<'_, '_>> = list.into_iter().flat_map(xml::children).collect();
    if ids.len() > limits.pages {
        return Err(IngestError::Unfolds { unit: "slides", limit: limits.pages as u64 });
    }
    let mut deck = Deck {
        package,
        limits,
        layouts: HashMap::new(),
        outline: Outline::with_chapters_at(1),
        chapter: None,
    };
    for (position, id) in ids.into_iter().enumerate() {
        let Some(part) = xml::relation(id, "id").and_then(|id| relations.target(id)) else { continue };
        let section = xml::attribute(id, "id").and_then(|id| named.get(id));
        deck.slide(position + 1, part, section.map(String::as_str))?;
    }
    Ok(deck.outline.finish())
}

/// Names of sections by the ids of their slides.
fn named_sections(presentation: Node<'_, '_>) -> HashMap<String, String> {
    let mut named = HashMap::new();
    for section in xml::below(presentation, "section") {
        let Some(name) = xml::attribute(section, "name").map(str::trim) else { continue };
        let unnamed = UNNAMED_SECTIONS.contains(&name.to_lowercase().as_str());
        if name.is_empty() || unnamed {
            continue;
        }
        for slide in xml::below(section, "sldId") {
            if let Some(id) = xml::attribute(slide, "id") {
                named.insert(id.to_owned(), name.to_owned());
            }
        }
    }
    named
}

/// What a slide takes from its layout.
#[derive(Clone, Default)]
struct Layout {
    /// `title`, `secHead` and others.
    kind: String,
    places: Places,
}

struct Deck<'d, 'p> {
    package: &'d mut Package<'p>,
    limits: &'d Limits,
    /// Layouts by their parts.
    layouts: HashMap<String, Layout>,
    outline: Outline,
    /// Title of the last slide that opens a chapter.
    chapter: Option<String>,
}

impl Deck<'_, '_> {
    fn slide(&mut self, number: usize, part: &str, section: Option<&str>) -> Result<(), IngestError> {
        let Some(text) = self.package.text_part(part)? else { return Ok(()) };
        let tree = xml::parse(&text, FORMAT, self.limits)?;
        let relations = Relations::of(self.package, part, FORMAT, self.limits)?;
        let layout = match relations.of_kind("slideLayout") {
            Some(layout) => self.layout(layout)?,
            None => Layout::default(),
        };
        let Layout { kind: layout, places } = layout;
        let mut slide = Slide::new(layout == "title" || layout == "secHead", places);
        if let Some(shapes) = xml::at(tree.root_element(), &["cSld", "spTree"]) {
            slide.read(shapes);
        }
        for (position, id) in std::mem::take(&mut slide.diagrams) {
            if let Some(part) = relations.target(&id).map(str::to_owned) {
                let words = self.diagram(&part)?;
                slide.insert(position, words);
            }
        }
        let opens_chapter = layout == "secHead" || layout == "title" && number == 1;
        let mut fields = Metadata::new();
        fields.insert("slide".into(), number.to_string().into());
        if xml::is_off(xml::attribute(tree.root_element(), "show")) {
            fields.insert("hidden".into(), "true".into());
        }
        let title = slide.title();
        if opens_chapter && section.is_none() {
            self.chapter = title.clone();
        }
        let chapter = section.map(str::to_owned).or_else(|| self.chapter.clone());
        self.open(&fields, chapter.as_deref());
        if let Some(title) = &title {
            self.outline.push(Block::Heading { level: 2, text: title.clone(), show: Show::InText });
        }
        for block in slide.blocks() {
            self.outline.push(block);
        }
        if let Some(notes) = relations.of_kind("notesSlide").map(str::to_owned) {
            self.notes(&notes, fields, chapter.as_deref(), title)?;
        }
        Ok(())
    }

    fn open(&mut self, fields: &Metadata, chapter: Option<&str>) {
        self.outline.part(fields.clone());
        if let Some(chapter) = chapter {
            self.outline.push(Block::Heading { level: 1, text: chapter.to_owned(), show: Show::Never });
        }
    }

    /// What the speaker says to a slide, marked as such: it is not printed there.
    fn notes(
        &mut self,
        part: &str,
        mut fields: Metadata,
        chapter: Option<&str>,
        title: Option<String>,
    ) -> Result<(), IngestError> {
        let Some(text) = self.package.text_part(part)? else { return Ok(()) };
        let tree = xml::parse(&text, FORMAT, self.limits)?;
        let Some(shapes) = xml::at(tree.root_element(), &["cSld", "spTree"]) else { return Ok(()) };
        fields.insert("notes".into(), "true".into());
        self.open(&fields, chapter);
        if let Some(text) = title {
            self.outline.push(Block::Heading { level: 2, text, show: Show::Never });
        }
        for block in shapes::notes(shapes) {
            self.outline.push(block);
        }
        Ok(())
    }

    fn layout(&mut self, part: &str) -> Result<Layout, IngestError> {
        if let Some(layout) = self.layouts.get(part) {
            return Ok(layout.clone());
        }
        let mut layout = Layout::default();
        if let Some(text) = self.package.text_part(part)? {
            let tree = xml::parse(&text, FORMAT, self.limits)?;
            layout.kind = xml::attribute(tree.root_element(), "type").unwrap_or_default().to_owned();
            let relations = Relations::of(self.package, part, FORMAT, self.limits)?;
            let above = match relations.of_kind("slideMaster") {
                Some(master) => self.master(master)?,
                None => Places::default(),
            };
            layout.places = Places::of(xml::at(tree.root_element(), &["cSld", "spTree"]), &above);
        }
        self.layouts.insert(part.to_owned(), layout.clone());
        Ok(layout)
    }

    fn master(&mut self, part: &str) -> Result<Places, IngestError> {
        let Some(text) = self.package.text_part(part)? else { return Ok(Places::default()) };
        let tree = xml::parse(&text, FORMAT, self.limits)?;
        Ok(Places::of(xml::at(tree.root_element(), &["cSld", "spTree"]), &Places::default()))
    }

    /// The words of a diagram (SmartArt): the texts of its points, in the order of its data.
    fn diagram(&mut self, part: &str) -> Result<Vec<Block>, IngestError> {
        let Some(text) = self.package.text_part(part)? else { return Ok(Vec::new()) };
        let tree = xml::parse(&text, FORMAT, self.limits)?;
        let mut words = Vec::new();
        for point in xml::below(tree.root_element(), "pt") {
            // Placeholders and connectors are points too, of other types.
            let is_node = matches!(xml::attribute(point, "type"), None | Some("node" | "asst"));
            if let (true, Some(body)) = (is_node, xml::child(point, "t")) {
                words.extend(shapes::paragraphs(body, true));
            }
        }
        Ok(words)
    }
}
