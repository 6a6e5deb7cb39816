//! Markdown (CommonMark with GitHub's tables, task lists and footnotes, and maths): sections by heading, blocks as units.
//!
//! Shown text is the source's words without its markup: links show their text, pictures their description, code its lines,
//! tables their rows as `a | b`, list items their marker; comments and tags are dropped. A passage never crosses a heading.
//! `#` inside code is no heading, since the parser says what is code.

pub(crate) mod blocks;

use crate::formats::front_matter;
use crate::passages;
use crate::read::{Item, Source};
use crate::split::{Budget, Split};

pub(crate) fn read(text: &str, source: &Source<'_>, split: Split, budget: Budget<'_>) -> Vec<Item> {
    let (front_matter, body) = front_matter::split_off(text);
    passages::items(blocks::sections(body), &front_matter, source, split, budget)
}

#[cfg(test)]
mod tests;
