//! Text into items: sentences, pieces of over-long sentences, and passages of neighbouring sentences.
//!
//! Everything goes through [`Unit`]s: a sentence, a table or a code listing, with the gap that stood before it. A format
//! makes the units of one section; [`items_of`] turns them into items. Token counts come from a callback that may be a real
//! tokenizer: each unit is counted once, each passage once more as proof that it fits, and only what is too long is probed.

mod characters;
mod cut;
mod english;
mod lines;
mod pack;
mod pairs;
mod sentences;

pub(crate) use characters::{is_cjk, joins_without_space};
pub(crate) use sentences::sentences;
use std::ops::Range;

/// How text is cut into items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Split {
    /// Sentences for plain text (as the tutorial does), passages for Markdown; records and texts that come by API are kept
    /// whole where they fit, else passages.
    #[default]
    Auto,
    /// One sentence per item.
    Sentence,
    /// Neighbouring sentences of one section, up to the token budget.
    Passage,
}

/// A budget in tokens and the function that counts them.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'a> {
    /// At least 1.
    pub(crate) tokens: usize,
    pub(crate) count: &'a (dyn Fn(&str) -> usize + Sync),
    /// Tokens of the passage before that a passage may repeat, where it begins within a paragraph or a list.
    pub(crate) overlap: usize,
}

impl Budget<'_> {
    pub(crate) fn fits(&self, text: &str) -> bool {
        (self.count)(text) <= self.tokens
    }
}

/// What stood between a unit and the one before it, and stands there again in a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gap {
    /// Nothing: Chinese sentences follow each other without a space.
    None,
    /// A space, as between English sentences.
    Space,
    /// A line end, as between the items of a list.
    Line,
    /// A blank line, as between paragraphs.
    Paragraph,
}

impl Gap {
    /// The gap that white space `between` two sentences amounts to.
    fn of(between: &str) -> Self {
        let line_ends =
            between.chars().filter(|&c| c == '\n').count().max(between.lines().count().saturating_sub(1));
        match (line_ends, between.is_empty()) {
            (0, true) => Self::None,
            (0, false) => Self::Space,
            (1, _) => Self::Line,
            _ => Self::Paragraph,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Space => " ",
            Self::Line => "\n",
            Self::Paragraph => "\n\n",
        }
    }
}

/// What a unit is, which decides how it is cut when it is longer than the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitKind {
    /// A sentence: cut at the best place within.
    Sentence,
    /// A listing or a table: cut at line ends; the first `header_lines` are repeated in every piece.
    Lines { header_lines: usize },
}

/// The smallest thing that is kept together.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) text: String,
    pub(crate) kind: UnitKind,
    /// What stands before it, when it is not the first of its passage.
    pub(crate) gap: Gap,
    /// A list marker with its indentation (`"- "`, `"  2. "`), shown before the text in a passage.
    pub(crate) marker: String,
    /// 1-based number within the document.
    pub(crate) sentence: usize,
    /// The pages that it begins and ends on, where the format knows them.
    pub(crate) pages: Option<Pages>,
}

/// The first and the last page of something, counted from 1.
pub(crate) type Pages = (u32, u32);

/// An item's text, the number of its first sentence, and its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) sentence: usize,
    pub(crate) pages: Option<Pages>,
}

/// The units of running text; sentences are numbered from `first_sentence` on.
pub(crate) fn units_of_text(text: &str, first_sentence: usize) -> Vec<Unit> {
    ranged_units(text, first_sentence).into_iter().map(|(unit, _)| unit).collect()
}

/// [`units_of_text`], each with the bytes of `text` that it was made of.
pub(crate) fn ranged_units(text: &str, first_sentence: usize) -> Vec<(Unit, Range<usize>)> {
    let mut end = 0;
    let mut units = Vec::new();
    for (position, range) in sentences(text).into_iter().enumerate() {
        let gap = Gap::of(text.get(end..range.start).unwrap_or_default());
        end = range.end;
        let unit = Unit {
            text: lines::unwrapped(text.get(range.clone()).unwrap_or_default()).into_owned(),
            kind: UnitKind::Sentence,
            gap,
            marker: String::new(),
            sentence: first_sentence + position,
            pages: None,
        };
        units.push((unit, range));
    }
    units
}

/// Items of one section: every unit for itself, or packed into passages. No item is over budget.
pub(crate) fn items_of(units: Vec<Unit>, split: Split, budget: Budget<'_>) -> Vec<Piece> {
    let fitted = cut::fit(units, budget);
    if split == Split::Sentence {
        let piece = |unit: Unit| Piece { text: unit.text, sentence: unit.sentence, pages: unit.pages };
        fitted.into_iter().map(|(unit, _)| piece(unit)).collect()
    } else {
        pack::passages(&fitted, budget)
    }
}

/// A text that is wanted whole: as it is where it fits, else cut as `split` says.
pub(crate) fn items_of_whole(text: &str, split: Split, budget: Budget<'_>) -> Vec<Piece> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    if split != Split::Sentence && cut::may_fit(text, budget) && budget.fits(text) {
        return vec![Piece { text: text.to_owned(), sentence: 1, pages: None }];
    }
    items_of(units_of_text(text, 1), split, budget)
}
