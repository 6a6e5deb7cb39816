//! What every structured format is read into: headings, running text, list items, tables and listings, in reading order, each
//! with the page or the slide that it stands on; and the sections that these make.
//!
//! A format pushes [`Block`]s into an [`Outline`]; [`crate::passages`] cuts the sections into items. Invariants: a section has
//! one heading path and lies in one part (a slide, a sheet), so that no passage crosses a heading or spans two slides. Units
//! are numbered from 1 through the document. A heading that nothing stands under (no text and no deeper heading) becomes the
//! only unit of its section, so that it can be found.
//!
//! Pages: [`Outline::page`] says on which page the next block begins. A [`PAGE_BREAK`] within a block's text begins the next
//! page there, so that a sentence which runs on is known to stand on both.

use crate::Metadata;
use crate::split::{Gap, Pages, Unit, UnitKind, ranged_units};

/// Stands in the text of a block where the next page begins; it is not shown. Without a page it is text like any other.
pub(crate) const PAGE_BREAK: char = '\u{000C}';
/// Longest heading kept in metadata, in characters.
const MAX_HEADING_CHARS: usize = 200;
/// Indentation of a list item's marker per level.
const INDENT: &str = "  ";
/// Levels that are indented; lists nested deeper are shown at this level.
const MAX_INDENT_LEVELS: usize = 16;
/// Between the cells of a table's row.
const CELL_SEPARATOR: &str = " | ";

/// Where a heading's words are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// In metadata; as text only where nothing else stands under it.
    WhenEmpty,
    /// In metadata, and as the first line of its section: the title of a slide.
    InText,
    /// In metadata only: a name that is not printed where it counts.
    Never,
}

/// One block of a document. Line ends within running text are kept as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Level 1 is the outermost.
    Heading { level: u8, text: String, show: Show },
    /// Running text at a depth of list nesting (0 outside of lists). A marker (`-`, `3.`, `[2]`) makes it the first of its item.
    Text { text: String, depth: usize, marker: Option<String> },
    /// A listing: its lines are kept together and as they are.
    Code { text: String, depth: usize },
    /// Rows of cells; the first `header_rows` are repeated where the table must be cut.
    Table { rows: Vec<Vec<String>>, header_rows: usize, depth: usize },
}

impl Block {
    /// A heading that is shown in metadata.
    pub(crate) fn heading(level: u8, text: impl Into<String>) -> Self {
        Self::Heading { level, text: text.into(), show: Show::WhenEmpty }
    }

    /// A paragraph outside of lists.
    pub(crate) fn paragraph(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), depth: 0, marker: None }
    }
}

/// What stands between two headings, or on one slide.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// Headings from the outermost down to the section's own, none of them empty.
    pub(crate) path: Vec<String>,
    /// How many of `path` make the chapter: 1, or 0 where the outermost heading lies below the level of chapters.
    pub(crate) chapters: usize,
    /// Fields of the part it lies in (`slide`, `sheet`).
    pub(crate) fields: Metadata,
    pub(crate) units: Vec<Unit>,
}

/// A heading above the section at hand.
#[derive(Debug)]
struct Above {
    level: u8,
    title: String,
    show: Show,
    pages: Option<Pages>,
}

/// Collects blocks into sections.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    done: Vec<Section>,
    current: Section,
    fields: Metadata,
    /// From the outermost to the innermost; titles may be empty.
    headings: Vec<Above>,
    /// Headings deeper than this are sections even where nothing stands above them; none: the outermost is the chapter.
    chapter_level: Option<u8>,
    units: usize,
    /// The list at hand has shown an item.
    list_begun: bool,
    page: Option<u32>,
}

impl Outline {
    /// An outline in which headings down to `level` are chapters, and deeper ones sections even without a chapter.
    pub(crate) fn with_chapters_at(level: u8) -> Self {
        Self { chapter_level: Some(level), ..Self::default() }
    }

    /// What follows stands on this page, counted from 1.
    pub(crate) fn page(&mut self, page: u32) {
        self.page = Some(page);
    }

    /// A part begins (a slide, a sheet) that shares no section with what came before; it has its own headings.
    pub(crate) fn part(&mut self, fields: Metadata) {
        self.close_section(false);
        self.headings.clear();
        self.list_begun = false;
        self.fields = fields;
    }

    /// What comes next is the first item of a list, even after an item of another one.
    pub(crate) fn begin_list(&mut self) {
        self.list_begun = false;
    }

    pub(crate) fn push(&mut self, block: Block) {
        match block {
            Block::Heading { level, text, show } => self.open_section(level, &text, show),
            Block::Text { text, depth, marker } => self.text(text, depth, marker.as_deref()),
            Block::Code { text, depth } => {
                let text = text.trim_end().trim_start_matches(['\n', '\r']);
                let (text, pages) = self.paged(text);
                self.lines(text, 0, depth, pages);
            }
            Block::Table { rows, header_rows, depth } => self.table(&rows, header_rows, depth),
        }
    }

    /// The sections in order; those without units are left out.
    pub(crate) fn finish(mut self) -> Vec<Section> {
        self.close_section(false);
        self.done
    }

    /// The sentences of running text become units.
    fn text(&mut self, text: String, depth: usize, marker: Option<&str>) {
        if text.trim().is_empty() {
            self.paged(&text);
            return;
        }
        let first = self.page;
        let breaks = self.breaks(&text);
        let text = if breaks.is_empty() { text } else { text.replace(PAGE_BREAK, "") };
        let units = ranged_units(&text, self.units + 1);
        self.units += units.len();
        for (position, (mut unit, range)) in units.into_iter().enumerate() {
            if position == 0 {
                (unit.gap, unit.marker) = self.lead(depth, marker);
            } else if unit.gap >= Gap::Line {
                unit.marker = indent_of(depth);
            }
            // A break at a sentence's end is before the next one.
            let on = |page: u32, place: usize| {
                page.saturating_add(breaks.partition_point(|&at| at <= place) as u32)
            };
            unit.pages = first.map(|page| (on(page, range.start), on(page, range.end.saturating_sub(1))));
            self.current.units.push(unit);
        }
        self.list_begun &= depth > 0 || marker.is_some();
    }

    /// Where the page breaks of a text would stand without them; the page at hand moves on past them.
    fn breaks(&mut self, text: &str) -> Vec<usize> {
        let Some(page) = &mut self.page else { return Vec::new() };
        let breaks: Vec<usize> = text.match_indices(PAGE_BREAK).map(|(place, _)| place).collect();
        *page = page.saturating_add(breaks.len() as u32);
        breaks.into_iter().enumerate().map(|(before, place)| place - before * PAGE_BREAK.len_utf8()).collect()
    }

    /// A text without its page breaks, with the pages that it begins and ends on.
    fn paged(&mut self, text: &str) -> (String, Option<Pages>) {
        let Some(first) = self.page else { return (text.to_owned(), None) };
        let breaks = self.breaks(text).len() as u32;
        let shown = text.replace(PAGE_BREAK, "");
        // Breaks before its first word and after its last move it or its follower.
        let leading =
            text.chars().take_while(|c| c.is_whitespace()).filter(|&c| c == PAGE_BREAK).count() as u32;
        let trailing =
            text.chars().rev().take_while(|c| c.is_whitespace()).filter(|&c| c == PAGE_BREAK).count() as u32;
        let begin = first.saturating_add(leading);
        (shown, Some((begin, first.saturating_add(breaks.saturating_sub(trailing)).max(begin))))
    }

    /// Gap and marker of a block's first unit.
    fn lead(&mut self, depth: usize, marker: Option<&str>) -> (Gap, String) {
        match marker {
            Some(marker) => {
                // The first item of a list stands off from the paragraph before it, unless that introduces it.
                let introduced =
                    self.current.units.last().is_some_and(|unit| unit.text.ends_with(['：', ':']));
                let begun = std::mem::replace(&mut self.list_begun, depth > 0);
                let gap = if begun || introduced { Gap::Line } else { Gap::Paragraph };
                (gap, format!("{}{marker} ", indent_of(depth.saturating_sub(1))))
            }
            None if depth == 0 => (Gap::Paragraph, String::new()),
            None => (Gap::Line, indent_of(depth)),
        }
    }

    /// A table's rows, one line each; on every page that it runs over a unit of its own, under the same header.
    fn table(&mut self, rows: &[Vec<String>], header_rows: usize, depth: usize) {
        let mut lines: Vec<String> = Vec::new();
        let mut header: Vec<String> = Vec::new();
        let mut begin = self.page;
        for (position, row) in rows.iter().enumerate() {
            let mut on = None;
            let mut cells: Vec<String> = Vec::with_capacity(row.len());
            for cell in row {
                let (cell, pages) = self.paged(cell);
                cells.push(cell.split_whitespace().collect::<Vec<_>>().join(" "));
                on = on.or(pages.filter(|_| !cell.trim().is_empty()).map(|(begin, _)| begin));
            }
            // A header may be blank, and a row may hold nothing but pictures.
            if cells.iter().all(String::is_empty) {
                continue;
            }
            let line = cells.join(CELL_SEPARATOR);
            if position < header_rows {
                header.push(line.clone());
            }
            if lines.is_empty() {
                begin = on;
            } else if on != begin && lines.len() > header.len() && position >= header_rows {
                let full = std::mem::replace(&mut lines, header.clone());
                self.lines(full.join("\n"), header.len(), depth, begin.map(|page| (page, page)));
                begin = on;
            }
            lines.push(line);
        }
        let end = self.page.max(begin);
        self.lines(lines.join("\n"), header.len(), depth, begin.zip(end));
    }

    /// A listing or table as one unit.
    fn lines(&mut self, text: String, header_lines: usize, depth: usize, pages: Option<Pages>) {
        if text.trim().is_empty() {
            return;
        }
        let gap = if depth > 0 { Gap::Line } else { Gap::Paragraph };
        self.list_begun &= depth > 0;
        self.push_unit(text, UnitKind::Lines { header_lines }, gap, pages);
    }

    fn push_unit(&mut self, text: String, kind: UnitKind, gap: Gap, pages: Option<Pages>) {
        self.units += 1;
        let unit = Unit { text, kind, gap, marker: String::new(), sentence: self.units, pages };
        self.current.units.push(unit);
    }

    /// Ends the section at hand and begins the one under this heading.
    fn open_section(&mut self, level: u8, text: &str, show: Show) {
        let (text, pages) = self.paged(text);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let title: String = text.chars().take(MAX_HEADING_CHARS).collect();
        let deeper = self.headings.last().is_some_and(|above| level > above.level);
        self.close_section(deeper);
        while self.headings.last().is_some_and(|above| above.level >= level) {
            self.headings.pop();
        }
        self.headings.push(Above { level, title, show, pages });
        self.list_begun = false;
        if show == Show::InText && !text.is_empty() {
            self.push_unit(text, UnitKind::Sentence, Gap::Paragraph, pages);
        }
    }

    /// Puts the section at hand away; `continued` says that a deeper heading follows, which keeps an empty one's heading.
    fn close_section(&mut self, continued: bool) {
        if self.current.units.is_empty()
            && !continued
            && let Some(Above { title, show: Show::WhenEmpty, pages, .. }) = self.headings.last()
            && !title.is_empty()
        {
            let (title, pages) = (title.clone(), *pages);
            self.push_unit(title, UnitKind::Sentence, Gap::Paragraph, pages);
        }
        let mut section = std::mem::take(&mut self.current);
        if section.units.is_empty() {
            return;
        }
        let titled = || self.headings.iter().filter(|above| !above.title.is_empty());
        let is_chapter = |above: &Above| self.chapter_level.is_none_or(|level| above.level <= level);
        section.chapters = usize::from(titled().next().is_some_and(is_chapter));
        section.path = titled().map(|above| above.title.clone()).collect();
        section.fields = self.fields.clone();
        self.done.push(section);
    }
}

fn indent_of(levels: usize) -> String {
    INDENT.repeat(levels.min(MAX_INDENT_LEVELS))
}

#[cfg(test)]
mod tests;
