//! Tags and text into blocks.
//!
//! Running text is collected until a block element ends it. A table's cells are collected as rows; one that holds headings,
//! lists, listings or other tables is only layout, and its cells are read as running text.

use super::elements::{
    attribute, closes, heading_level, is_barrier, is_block, is_furniture, is_hidden, is_main, is_silent,
    is_void,
};
use crate::outline::{Block, Outline, Section};
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{Tag, TagKind, TokenSinkResult};

/// Characters of a heading that is shown before the paragraph sign of its own link.
const LINK_SIGNS: &[char] = &['¶', '§', '🔗', '#'];

/// What of a page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Everything,
    WithoutFurniture,
    /// Only what is marked as the main part.
    Main,
}

/// An open element.
struct Open {
    name: Box<str>,
    /// Nothing within is read.
    is_silent: bool,
    is_furniture: bool,
    is_main: bool,
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
    header_rows: usize,
    in_head: bool,
    only_headers: bool,
    /// Its cells are running text.
    is_layout: bool,
}

pub(super) struct Writer {
    scope: Scope,
    max_depth: usize,
    pub(super) is_too_deep: bool,
    /// Characters that are read, those of them in the main part, and those that would be read with all furniture.
    pub(super) characters: usize,
    pub(super) main_characters: usize,
    pub(super) all_characters: usize,
    outline: Outline,
    open: Vec<Open>,
    silent: usize,
    furniture: usize,
    main: usize,
    inline: String,
    pending_space: bool,
    heading: Option<u8>,
    headings: usize,
    title: String,
    in_title: bool,
    pre: Option<String>,
    /// The next number of open lists, none for bullets.
    lists: Vec<Option<u64>>,
    marker: Option<String>,
    tables: Vec<Table>,
    in_cell: bool,
    /// Whether a link leads into the page itself, and what of `inline` such links show.
    inner_link: bool,
    inner_link_bytes: usize,
    in_link: bool,
}

impl Writer {
    pub(super) fn new(scope: Scope, max_depth: usize) -> Self {
        Self {
            scope,
            max_depth,
            is_too_deep: false,
            characters: 0,
            main_characters: 0,
            all_characters: 0,
            outline: Outline::default(),
            open: Vec::new(),
            silent: 0,
            furniture: 0,
            main: 0,
            inline: String::new(),
            pending_space: false,
            heading: None,
            headings: 0,
            title: String::new(),
            in_title: false,
            pre: None,
            lists: Vec::new(),
            marker: None,
            tables: Vec::new(),
            in_cell: false,
            inner_link: false,
            inner_link_bytes: 0,
            in_link: false,
        }
    }

    pub(super) fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        if self.is_too_deep {
            return TokenSinkResult::Continue;
        }
        match tag.kind {
            TagKind::StartTag => self.start(tag),
            TagKind::EndTag => {
                self.end(&tag.name);
                TokenSinkResult::Continue
            }
        }
    }

    /// What is read of the place at hand.
    fn is_read(&self) -> bool {
        self.silent == 0
            && match self.scope {
                Scope::Everything => true,
                Scope::WithoutFurniture => self.furniture == 0,
                Scope::Main => self.furniture == 0 && self.main > 0,
            }
    }

    fn start(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        if is_void(name) {
            self.void(tag);
            return TokenSinkResult::Continue;
        }
        let (closed, barriers) = closes(name);
        if !closed.is_empty() {
            self.close_implied(closed, barriers);
        }
        let open = Open {
            name: name.into(),
            is_silent: is_silent(name) || is_hidden(tag),
            is_furniture: is_furniture(tag),
            is_main: is_main(tag),
        };
        if self.open.len() >= self.max_depth {
            self.is_too_deep = true;
            return TokenSinkResult::Continue;
        }
        if is_block(name) && self.is_read() {
            self.flush();
        }
        self.silent += usize::from(open.is_silent);
        self.furniture += usize::from(open.is_furniture);
        self.main += usize::from(open.is_main);
        self.open.push(open);
        self.opened(tag);
        match name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "iframe" | "noframes" | "noscript" | "xmp" => {
                TokenSinkResult::RawData(RawKind::Rawtext)
            }
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            _ => TokenSinkResult::Continue,
        }
    }

    fn opened(&mut self, tag: &Tag) {
        let name: &str = &tag.name;
        if name == "title" && self.title.is_empty() {
            self.in_title = true;
        }
        if !self.is_read() {
            return;
        }
        if let Some(level) = heading_level(name) {
            self.layout();
            self.heading = Some(level);
        }
        match name {
            "ul" | "menu" | "dir" => self.begin_list(None),
            "ol" => {
                let first = attribute(tag, "start").and_then(|start| start.parse().ok()).unwrap_or(1);
                self.begin_list(Some(first));
            }
            "li" => {
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number = number.saturating_add(1);
                        format!("{}.", *number - 1)
                    }
                    _ => "-".into(),
                });
            }
            "pre" if self.pre.is_none() => {
                self.layout();
                self.pre = Some(String::new());
            }
            "table" => {
                self.layout();
                self.tables.push(Table::default());
            }
            "thead" => self.with_table(|table| table.in_head = true),
            "tr" => self.with_table(|table| {
                table.rows.push(Vec::new());
                table.only_headers = true;
            }),
            "td" | "th" => {
                self.in_cell = true;
                let is_header = name == "th";
                self.with_table(|table| table.only_headers &= is_header || table.in_head);
            }
            "a" => {
                self.in_link = true;
                self.inner_link = attribute(tag, "href").is_some_and(|target| target.starts_with('#'));
            }
            _ => {}
        }
    }

    fn with_table(&mut self, change: impl FnOnce(&mut Table)) {
        if let Some(table) = self.tables.last_mut() {
            change(table);
        }
    }

    fn begin_list(&mut self, first: Option<u64>) {
        self.layout();
        if self.lists.is_empty() {
            self.outline.begin_list();
        }
        self.lists.push(first);
    }

    /// Something that no cell of a table of data holds begins.
    fn layout(&mut self) {
        let Some(table) = self.tables.last_mut().filter(|table| !table.is_layout) else { return };
        table.is_layout = true;
        for row in std::mem::take(&mut table.rows) {
            for cell in row.into_iter().filter(|cell| !cell.is_empty()) {
                self.outline.push(Block::paragraph(cell));
            }
        }
        self.flush();
    }

    fn void(&mut self, tag: &Tag) {
        if !self.is_read() {
            return;
        }
        match &*tag.name {
            "br" => match &mut self.pre {
                Some(pre) => pre.push('\n'),
                None if self.in_cell => self.pending_space = true,
                None => {
                    self.inline.push('\n');
                    self.pending_space = false;
                }
            },
            "hr" => self.flush(),
            "img" if !self.in_link => {
                if let Some(description) = attribute(tag, "alt").filter(|text| text.trim().contains(' ')) {
                    self.text(description);
                }
            }
            _ => {}
        }
    }

    /// Closes what an opening tag ends without saying so.
    fn close_implied(&mut self, closed: &[&str], barriers: &[&str]) {
        let mut last = None;
        for (place, open) in self.open.iter().enumerate().rev() {
            if closed.contains(&&*open.name) {
                last = Some(place);
            } else if barriers.contains(&&*open.name) {
                break;
            }
        }
        if let Some(place) = last {
            self.close_down_to(place);
        }
    }

    fn end(&mut self, name: &str) {
        let mut found = None;
        for (place, open) in self.open.iter().enumerate().rev() {
            if &*open.name == name {
                found = Some(place);
                break;
            }
            if is_barrier(&open.name, name) {
                break;
            }
        }
        match found {
            Some(place) => self.close_down_to(place),
            None if name == "p" => self.flush(),
            None => {}
        }
    }

    fn close_down_to(&mut self, place: usize) {
        while self.open.len() > place {
            let was_read = self.is_read();
            if let Some(open) = self.open.last().filter(|_| was_read) {
                let name = open.name.clone();
                self.closing(&name);
            }
            let Some(open) = self.open.pop() else { break };
            self.in_title &= &*open.name != "title";
            self.silent -= usize::from(open.is_silent);
            self.furniture -= usize::from(open.is_furniture);
            self.main -= usize::from(open.is_main);
        }
    }

    /// An element that was read ends.
    fn closing(&mut self, name: &str) {
        if heading_level(name).is_some() {
            return self.end_heading();
        }
        match name {
            "pre" => {
                if let Some(text) = self.pre.take() {
                    let depth = self.lists.len();
                    self.outline.push(Block::Code { text, depth });
                }
            }
            "td" | "th" => self.end_cell(),
            "tr" => self.with_table(|table| {
                if table.only_headers && table.header_rows + 1 == table.rows.len() {
                    table.header_rows += 1;
                }
            }),
            "thead" => self.with_table(|table| table.in_head = false),
            "table" => self.end_table(),
            "ul" | "ol" | "menu" | "dir" => {
                self.flush();
                self.lists.pop();
            }
            "li" => {
                self.flush();
                self.marker = None;
            }
            "a" => (self.in_link, self.inner_link) = (false, false),
            _ if is_block(name) => self.flush(),
            _ => {}
        }
    }

    fn end_heading(&mut self) {
        let text = self.take_inline();
        let text = text.trim_end_matches(LINK_SIGNS).trim();
        if let Some(level) = self.heading.take()
            && !text.is_empty()
        {
            self.headings += 1;
            self.outline.push(Block::heading(level, text));
        }
    }

    fn end_cell(&mut self) {
        self.in_cell = false;
        if self.tables.last().is_some_and(|table| table.is_layout) {
            return self.flush();
        }
        let cell = self.take_inline().trim().to_owned();
        self.with_table(|table| match table.rows.last_mut() {
            Some(row) => row.push(cell),
            None => table.rows.push(vec![cell]),
        });
    }

    /// A table of one column is a frame around text.
    fn end_table(&mut self) {
        self.flush();
        self.in_cell = false;
        let Some(table) = self.tables.pop() else { return };
        let filled = |row: &Vec<String>| row.iter().filter(|cell| !cell.is_empty()).count();
        if table.rows.iter().all(|row| filled(row) < 2) {
            for cell in table.rows.into_iter().flatten().filter(|cell| !cell.is_empty()) {
                self.outline.push(Block::paragraph(cell));
            }
            return;
        }
        let depth = self.lists.len();
        self.outline.push(Block::Table { rows: table.rows, header_rows: table.header_rows, depth });
    }

    pub(super) fn text(&mut self, text: &str) {
        if self.in_title {
            self.title.push_str(text);
            return;
        }
        if self.silent > 0 {
            return;
        }
        let characters = text.chars().filter(|c| !c.is_whitespace()).count();
        self.all_characters += characters;
        if !self.is_read() {
            return;
        }
        self.characters += characters;
        self.main_characters += if self.main > 0 { characters } else { 0 };
        if let Some(pre) = &mut self.pre {
            pre.push_str(text);
            return;
        }
        let before = self.inline.len();
        for character in text.chars() {
            if character.is_whitespace() && character != '\u{3000}' {
                self.pending_space = true;
                continue;
            }
            if std::mem::take(&mut self.pending_space)
                && !self.inline.is_empty()
                && !self.inline.ends_with('\n')
            {
                self.inline.push(' ');
            }
            if character != '\u{AD}' && character != '\u{200B}' {
                self.inline.push(character);
            }
        }
        if self.inner_link {
            self.inner_link_bytes += self.inline.len() - before;
        }
    }

    fn take_inline(&mut self) -> String {
        self.pending_space = false;
        self.inner_link_bytes = 0;
        std::mem::take(&mut self.inline)
    }

    /// Ends the running text at hand.
    fn flush(&mut self) {
        if self.in_cell && self.tables.last().is_some_and(|table| !table.is_layout) || self.heading.is_some()
        {
            self.pending_space = true;
            return;
        }
        let inner = self.inner_link_bytes;
        let text = self.take_inline();
        let text = text.trim();
        // An entry of a table of contents repeats a heading, and would be found in its place.
        if text.is_empty() || !self.lists.is_empty() && inner > 0 && inner + 1 >= text.len() {
            return;
        }
        let (depth, marker) = (self.lists.len(), self.marker.take());
        self.outline.push(Block::Text { text: text.to_owned(), depth, marker });
    }

    /// The sections; a page without headings stands under its title.
    pub(super) fn finish(mut self) -> Vec<Section> {
        self.close_down_to(0);
        self.flush();
        let mut sections = self.outline.finish();
        let title = self.title.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.headings == 0 && !title.is_empty() {
            for section in &mut sections {
                section.path = vec![title.clone()];
                section.chapters = 1;
            }
        }
        sections
    }
}
