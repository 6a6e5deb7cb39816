//! Markdown's blocks: a walk over the parser's events into an [`Outline`].

use crate::formats::html;
use crate::outline::{Block, Outline, Section};
use crate::split::{is_cjk, joins_without_space};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Sections of a document in order; those without units are left out.
pub(super) fn sections(text: &str) -> Vec<Section> {
    read_into(Outline::default(), text).finish()
}

/// Reads a text behind what an outline already holds.
pub(crate) fn read_into(outline: Outline, text: &str) -> Outline {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM;
    let mut builder = Builder { outline, ..Builder::default() };
    for event in Parser::new_ext(text, options) {
        builder.event(event);
    }
    builder.finish()
}

#[derive(Default)]
struct Builder {
    outline: Outline,
    /// Running text of the block at hand.
    inline: String,
    /// A soft line end is waiting for the text after it.
    soft_break: bool,
    /// Where in `inline` the source's line at hand begins.
    line_start: usize,
    /// Open lists: the next number of an ordered one.
    lists: Vec<Option<u64>>,
    /// Marker of an item whose first block has not come yet.
    marker: Option<String>,
    /// Quotes, items and footnotes that are open: a heading within is none of the document's.
    containers: usize,
    heading: Option<HeadingLevel>,
    code: Option<String>,
    html: Option<String>,
    table: Option<Vec<Vec<String>>>,
    cells: Vec<String>,
    header_rows: usize,
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
                self.marker = Some(format!("[{name}]"));
            }
            Tag::List(first) => {
                self.flush();
                if self.lists.is_empty() {
                    self.outline.begin_list();
                }
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush();
                self.containers += 1;
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}.");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => "-".to_owned(),
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
                Some(level) => {
                    let title = self.take_inline();
                    self.outline.push(Block::heading(level_of(level), title));
                }
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
                if let Some(text) = self.code.take() {
                    self.marker = None;
                    self.outline.push(Block::Code { text, depth: self.lists.len() });
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
                self.cells.push(cell);
            }
            TagEnd::TableHead | TagEnd::TableRow => {
                self.header_rows += usize::from(tag == TagEnd::TableHead);
                if let Some(rows) = &mut self.table {
                    rows.push(std::mem::take(&mut self.cells));
                }
            }
            TagEnd::Table => {
                if let Some(rows) = self.table.take() {
                    self.marker = None;
                    let header_rows = std::mem::take(&mut self.header_rows);
                    self.outline.push(Block::Table { rows, header_rows, depth: self.lists.len() });
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

    /// Ends the running text at hand.
    fn flush(&mut self) {
        let inner_link_bytes = self.inner_link_bytes;
        let inline = self.take_inline();
        if !self.lists.is_empty() && inner_link_bytes > 0 && inner_link_bytes >= inline.trim().len() {
            // An entry of a table of contents repeats a heading, and would be found in its place.
            return;
        }
        if !inline.trim().is_empty() {
            let (depth, marker) = (self.lists.len(), self.marker.take());
            self.outline.push(Block::Text { text: inline, depth, marker });
        }
    }

    fn finish(mut self) -> Outline {
        self.flush();
        self.outline
    }
}

fn level_of(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// Chinese is seldom wrapped by hand: a line end after a short line of it was meant.
fn ends_short_chinese_line(line: &str) -> bool {
    const SHORT_LINE_CHARS: usize = 25;
    line.ends_with(is_cjk) && line.chars().take(SHORT_LINE_CHARS).count() < SHORT_LINE_CHARS
}
