//! Markdown (CommonMark with GitHub's tables, task lists and footnotes, and maths): sections by heading, blocks as units.
//!
//! Shown text is the source's words without its markup: links show their text, pictures their description, code its lines,
//! tables their rows as `a | b`, list items their marker; comments and tags are dropped. A passage never crosses a heading.
//! `#` inside code is no heading, since the parser says what is code.

mod blocks;

use crate::Metadata;
use crate::formats::front_matter;
use crate::read::{Item, Source};
use crate::split::{Budget, Split, items_of};
use blocks::Section;
use serde_json::Value;

/// Between the headings of `section`.
const PATH_SEPARATOR: &str = " > ";

pub(crate) fn read(text: &str, source: &Source<'_>, split: Split, budget: Budget<'_>) -> Vec<Item> {
    let (front_matter, body) = front_matter::split_off(text);
    let sections = blocks::sections(body);
    let total = sections.iter().map(|section| section.units.len()).sum();
    let split = if split == Split::Auto { Split::Passage } else { split };
    let mut items = Vec::new();
    for section in sections {
        let metadata = metadata_of(&front_matter, &section);
        let budget = beside_heading(budget, &metadata);
        for piece in items_of(section.units, split, budget) {
            items.push(source.text_item(piece, total, metadata.clone()));
        }
    }
    items
}

/// The headings above an item, outermost first, joined by ` > `: what an encoder may be given before the item's text.
#[must_use]
pub fn heading_path(metadata: &Metadata) -> Option<String> {
    let of = |name: &str| metadata.get(name).and_then(Value::as_str);
    match (of("chapter"), of("section")) {
        (Some(chapter), Some(section)) => Some(format!("{chapter}{PATH_SEPARATOR}{section}")),
        (chapter, section) => chapter.or(section).map(str::to_owned),
    }
}

fn metadata_of(front_matter: &Metadata, section: &Section) -> Metadata {
    let mut metadata = front_matter.clone();
    if let Some((chapter, below)) = section.path.split_first() {
        metadata.insert("chapter".into(), chapter.clone().into());
        metadata.shift_remove("section");
        if !below.is_empty() {
            metadata.insert("section".into(), below.join(PATH_SEPARATOR).into());
        }
    }
    metadata
}

/// The budget that the heading path leaves, at least half of the whole: both together shall fit a model's input.
fn beside_heading<'a>(budget: Budget<'a>, metadata: &Metadata) -> Budget<'a> {
    let Some(path) = heading_path(metadata) else { return budget };
    let half = budget.tokens.div_ceil(2);
    // One token for the line end between them.
    let left = budget.tokens.saturating_sub((budget.count)(&path) + 1);
    Budget { tokens: left.max(half), count: budget.count }
}

#[cfg(test)]
mod tests;
