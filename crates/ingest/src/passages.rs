//! Sections into items: the last step that Markdown, HTML, PDF and office documents share.
//!
//! A section's units are packed into passages within the token budget (`split`), and each passage gets the section's place:
//! `chapter`, `section`, the fields of its part (`slide`, `sheet`), its page, its number in the document. Headings are metadata:
//! what is shown is never changed by them.

use crate::Metadata;
use crate::outline::Section;
use crate::read::{Item, Source};
use crate::split::{Budget, Split, items_of};
use serde_json::Value;

/// Between the headings of `section`.
const PATH_SEPARATOR: &str = " > ";

/// The items of a document, in order. `shared` metadata is given to all; what this crate says of a passage wins over it.
pub(crate) fn items(
    sections: Vec<Section>,
    shared: &Metadata,
    source: &Source<'_>,
    split: Split,
    budget: Budget<'_>,
) -> Vec<Item> {
    let total = sections.iter().map(|section| section.units.len()).sum();
    let split = if split == Split::Auto { Split::Passage } else { split };
    let mut items = Vec::new();
    for section in sections {
        let metadata = metadata_of(shared, &section);
        let budget = beside_heading(budget, &metadata);
        for piece in items_of(section.units, split, budget) {
            let mut item = source.text_item(piece, total, metadata.clone());
            if split == Split::Passage {
                item.metadata.insert("passage".into(), (items.len() + 1).to_string().into());
            }
            items.push(item);
        }
    }
    items
}

/// The headings above an item, outermost first, joined by ` > `: what an encoder may be given before the item's text.
#[must_use]
pub fn heading_path(metadata: &Metadata) -> Option<String> {
    let of = |name: &str| metadata.get(name).and_then(Value::as_str);
    match (of("chapter"), of("section")) {
        (Some(chapter), Some(section)) if chapter != section => {
            Some(format!("{chapter}{PATH_SEPARATOR}{section}"))
        }
        (chapter, section) => chapter.or(section).map(str::to_owned),
    }
}

fn metadata_of(shared: &Metadata, section: &Section) -> Metadata {
    let mut metadata = shared.clone();
    if !section.path.is_empty() {
        metadata.shift_remove("chapter");
        metadata.shift_remove("section");
    }
    let (chapters, below) = section.path.split_at(section.chapters.min(section.path.len()));
    if let Some(chapter) = chapters.first() {
        metadata.insert("chapter".into(), chapter.clone().into());
    }
    if !below.is_empty() {
        metadata.insert("section".into(), below.join(PATH_SEPARATOR).into());
    }
    for (name, value) in &section.fields {
        metadata.insert(name.clone(), value.clone());
    }
    metadata
}

/// The budget that the heading path leaves, at least half of the whole: both together shall fit a model's input.
fn beside_heading<'a>(budget: Budget<'a>, metadata: &Metadata) -> Budget<'a> {
    let Some(path) = heading_path(metadata) else { return budget };
    let half = budget.tokens.div_ceil(2);
    // One token for the line end between them.
    let left = budget.tokens.saturating_sub((budget.count)(&path) + 1);
    Budget { tokens: left.max(half), ..budget }
}
