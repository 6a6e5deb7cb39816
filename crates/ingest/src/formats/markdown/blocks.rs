//! Markdown's blocks as units of sections: a walk over the parser's events.
//!
//! Invariants: units are numbered from 1 through the document; a heading that nothing stands under (no text and no deeper
//! heading) becomes the only unit of its section, so that it can be found.

use crate::formats::html;
use crate::split::{Gap, Unit, UnitKind, is_cjk, joins_without_space, units_of_text};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Longest heading kept in metadata, in characters.
const MAX_HEADING_CHARS: usize = 200;
/// Indentation of a list item's marker per level.
const INDENT: &str = "  ";
/// Levels that are indented; lists nested deeper are shown at this level.
const MAX_INDENT_LEVELS: usize = 16;

/// What stands between two headings.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// Headings from the outermost down to the section's own.
    pub(super) path: Vec<String>,
    pub(super) units: Vec<Unit>,
}

/// Sections of a document in order; those without units are left out.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM;
    let mut builder = Builder::default();
    for event in Parser::new_ext(text, options) {
        builder.event(event);
    }
    builder.finish()
}

#[derive(Default)]
struct Builder {
    done: Vec<Section>,
    current: Section,
    /// Levels and titles of the headings above; titles may be empty.
    headings: Vec<(HeadingLevel, String)>,
    units: usize,
    /// Running text of the block at hand.
    inline: String,
    /// A soft line end is waiting for the text after it.
    soft_break: bool,
    /// Where in `inline` the source's line at hand begins.
    line_start: usize,
    /// Open lists: the next number of an ordered one.
    lists: Vec<Option<u64>>,
    /// The outermost open list has shown an item.
    list_begun: bool,
    /// Marker of an item whose first block has not come yet.
    marker: Option<String>,
    /// Quotes, items and footnotes that are open: a heading within is none of the document's.
    containers: usize,
    heading: Option<HeadingLevel>,
    code: Option<String>,
    html: Option<String>,
    table: Option<Vec<String>>,
    cells: Vec<String>,
    header_lines: usize,
    links: usize,
    /// Whether the link at hand leads into the same document, and bytes of `inline` that such links show.
    inner_link: bool,
    inner_link_bytes: usize,
    /// Length of `inline` before the picture at hand, if it stands in a link: a badge, whose description is no text.
    badge: Option<usize>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.push_inline(&text),
            },
            Event::Code(text) => self.push_inline(&text),
            Event::InlineMath(text) => self.push_inline(&format!("${text}$")),
            Event::DisplayMath(text) => self.push_inline(&format!("$${}$$", text.trim())),
            Event::Html(text) => match &mut self.html {
                Some(html) => html.push_str(&text),
                None => self.push_inline(&html::text_of(&text)),
            },
            Event::InlineHtml(tag) => {
                if html::is_line_break(&tag) {
                    self.push_line_end();
                }
            }
            Event::FootnoteReference(name) => self.push_inline(&format!("[{name}]")),
            Event::SoftBreak => self.soft_break = true,
            Event::HardBreak => self.push_line_end(),
            Event::Rule => self.flush(),
            Event::TaskListMarker(checked) => {
                self.inline.push_str(if checked { "[x] " } else { "[ ] " });
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.flush();
                self.heading = (self.containers == 0).then_some(level);
            }
            Tag::Paragraph
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition => {
                self.flush();
            }
            Tag::BlockQuote(_) => {
                self.flush();
                self.containers += 1;
            }
            Tag::FootnoteDefinition(name) => {
                self.flush();
                self.containers += 1;
                self.marker = Some(format!("[{name}] "));
            }
            Tag::List(first) => {
                self.flush();
                self.list_begun &= !self.lists.is_empty();
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush();
                self.containers += 1;
                let indent = indent_of(self.lists.len().saturating_sub(1));
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{indent}{number}. ");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => format!("{indent}- "),
                });
            }
            Tag::CodeBlock(_) => {
                self.flush();
                self.code = Some(String::new());
            }
            Tag::HtmlBlock => {
                self.flush();
                self.html = Some(String::new());
            }
            Tag::Table(_) => {
                self.flush();
                self.table = Some(Vec::new());
            }
            Tag::TableHead | Tag::TableRow => self.cells.clear(),
            Tag::TableCell => drop(self.take_inline()),
            Tag::Link { dest_url, .. } => {
                self.links += 1;
                self.inner_link = dest_url.starts_with('#');
            }
            Tag::Image { .. } if self.links > 0 => self.badge = Some(self.inline.len()),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => match self.heading.take() {
                Some(level) => self.open_section(level),
                None => self.flush(),
            },
            TagEnd::Paragraph | TagEnd::DefinitionListTitle | TagEnd::DefinitionListDefinition => {
                self.flush()
            }
            TagEnd::BlockQuote(_) | TagEnd::Item | TagEnd::FootnoteDefinition => {
                self.flush();
                self.marker = None;
                self.containers = self.containers.saturating_sub(1);
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
            }
            TagEnd::CodeBlock => {
                if let Some(code) = self.code.take() {
                    self.push_lines(code, 0);
                }
            }
            TagEnd::HtmlBlock => {
                if let Some(block) = self.html.take() {
                    self.take_inline();
                    self.inline = html::text_of(&block);
                    self.flush();
                }
            }
            TagEnd::TableCell => {
                let cell = self.take_inline();
                self.cells.push(cell.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            TagEnd::TableHead | TagEnd::TableRow => {
                // A header may be blank, and a row may hold nothing but pictures.
                if self.cells.iter().any(|cell| !cell.is_empty())
                    && let Some(rows) = &mut self.table
                {
                    self.header_lines += usize::from(tag == TagEnd::TableHead);
                    rows.push(self.cells.join(" | "));
                }
            }
            TagEnd::Table => {
                if let Some(rows) = self.table.take() {
                    let header_lines = std::mem::take(&mut self.header_lines);
                    self.push_lines(rows.join("\n"), header_lines);
                }
            }
            TagEnd::Link => {
                self.links = self.links.saturating_sub(1);
                self.inner_link = false;
            }
            TagEnd::Image => {
                if let Some(length) = self.badge.take() {
                    self.inline.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Takes the running text at hand.
    fn take_inline(&mut self) -> String {
        self.soft_break = false;
        self.line_start = 0;
        self.inner_link_bytes = 0;
        std::mem::take(&mut self.inline)
    }

    fn push_inline(&mut self, text: &str) {
        if std::mem::take(&mut self.soft_break)
            && let (Some(before), Some(after)) = (self.inline.chars().next_back(), text.chars().next())
            && !before.is_whitespace()
        {
            if ends_short_chinese_line(self.inline.get(self.line_start..).unwrap_or_default()) {
                self.inline.push('\n');
            } else if !joins_without_space(before, after) {
                self.inline.push(' ');
            }
            self.line_start = self.inline.len();
        }
        if self.inner_link {
            self.inner_link_bytes += text.len();
        }
        self.inline.push_str(text);
    }

    fn push_line_end(&mut self) {
        self.soft_break = false;
        self.inline.push('\n');
        self.line_start = self.inline.len();
    }

    /// Ends the running text at hand: its sentences become units.
    fn flush(&mut self) {
        let inner_link_bytes = self.inner_link_bytes;
        let inline = self.take_inline();
        if !self.lists.is_empty() && inner_link_bytes > 0 && inner_link_bytes >= inline.trim().len() {
            // An entry of a table of contents repeats a heading, and would be found in its place.
            return;
        }
        let units = units_of_text(&inline, self.units + 1);
        self.units += units.len();
        for (position, mut unit) in units.into_iter().enumerate() {
            if position == 0 {
                (unit.gap, unit.marker) = self.lead();
            } else if unit.gap >= Gap::Line {
                unit.marker = self.indent();
            }
            self.current.units.push(unit);
        }
    }

    /// Gap and marker of a block's first unit.
    fn lead(&mut self) -> (Gap, String) {
        match self.marker.take() {
            Some(marker) => {
                // The first item of a list stands off from the paragraph before it, unless that introduces it.
                let introduced =
                    self.current.units.last().is_some_and(|unit| unit.text.ends_with(['：', ':']));
                let begun = std::mem::replace(&mut self.list_begun, !self.lists.is_empty());
                (if begun || introduced { Gap::Line } else { Gap::Paragraph }, marker)
            }
            None if self.lists.is_empty() => (Gap::Paragraph, String::new()),
            None => (Gap::Line, self.indent()),
        }
    }

    /// What stands before further lines of a list item.
    fn indent(&self) -> String {
        indent_of(self.lists.len())
    }

    /// A listing or table as one unit.
    fn push_lines(&mut self, text: String, header_lines: usize) {
        let text = text.trim_end().trim_start_matches(['\n', '\r']);
        if text.trim().is_empty() {
            return;
        }
        let (gap, _) = self.lead();
        self.units += 1;
        self.current.units.push(Unit {
            text: text.to_owned(),
            kind: UnitKind::Lines { header_lines },
            gap,
            marker: String::new(),
            sentence: self.units,
        });
    }

    /// Ends the section at hand and begins the one under the heading whose text is at hand.
    fn open_section(&mut self, level: HeadingLevel) {
        let title = self.take_inline().split_whitespace().collect::<Vec<_>>().join(" ");
        let title: String = title.chars().take(MAX_HEADING_CHARS).collect();
        let deeper = self.headings.last().is_some_and(|(above, _)| level > *above);
        self.close_section(deeper);
        while self.headings.last().is_some_and(|(above, _)| *above >= level) {
            self.headings.pop();
        }
        self.headings.push((level, title));
        let titles = self.headings.iter().map(|(_, title)| title);
        self.current.path = titles.filter(|title| !title.is_empty()).cloned().collect();
    }

    /// Puts the section at hand away; `continued` says that a deeper heading follows, which keeps an empty one's heading.
    fn close_section(&mut self, continued: bool) {
        let mut section = std::mem::take(&mut self.current);
        if section.units.is_empty()
            && !continued
            && self.headings.last().is_some_and(|(_, title)| !title.is_empty())
            && let Some(title) = section.path.last()
        {
            self.units += 1;
            section.units.push(Unit {
                text: title.clone(),
                kind: UnitKind::Sentence,
                gap: Gap::Paragraph,
                marker: String::new(),
                sentence: self.units,
            });
        }
        if !section.units.is_empty() {
            self.done.push(section);
        }
    }

    fn finish(mut self) -> Vec<Section> {
        self.flush();
        self.close_section(false);
        self.done
    }
}

fn indent_of(levels: usize) -> String {
    INDENT.repeat(levels.min(MAX_INDENT_LEVELS))
}

/// Chinese is seldom wrapped by hand: a line end after a short line of it was meant.
fn ends_short_chinese_line(line: &str) -> bool {
    const SHORT_LINE_CHARS: usize = 25;
    line.ends_with(is_cjk) && line.chars().take(SHORT_LINE_CHARS).count() < SHORT_LINE_CHARS
}
