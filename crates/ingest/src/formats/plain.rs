//! Plain text: one section, no headings. `Auto` gives one item per sentence, as the tutorial's corpus has it.

use crate::read::{Item, Source};
use crate::split::{Budget, Split, items_of, units_of_text};

pub(crate) fn read(text: &str, source: &Source<'_>, split: Split, budget: Budget<'_>) -> Vec<Item> {
    let units = units_of_text(text, 1);
    let total = units.len();
    let split = if split == Split::Auto { Split::Sentence } else { split };
    items_of(units, split, budget)
        .into_iter()
        .map(|piece| source.text_item(piece, total, crate::Metadata::new()))
        .collect()
}
