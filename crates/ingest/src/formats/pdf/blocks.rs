//! Lines as blocks: headings, paragraphs, list items, tables and listings, each on its page.
//!
//! Headings come from the document's bookmarks where it has them, matched to the lines that print them; else from lines that
//! are set larger than the running text. A paragraph ends where the space between lines grows, a line is indented, or a short
//! line ends a sentence; it goes on over columns and pages while its sentence does. Words that were divided at a line's end
//! are joined, unless the document writes them with a hyphen elsewhere.

use super::bookmarks::Bookmark;
use super::furniture::PageLines;
use super::headings::Headings;
use super::lines::Line;
use crate::outline::{Block, Outline, PAGE_BREAK};
use crate::split::{is_cjk, joins_without_space};
use std::collections::HashSet;

/// Lines of a paragraph are no further apart than this, in parts of the usual distance.
const SPREAD: f64 = 1.3;
/// Indentation that begins a paragraph, in sizes.
const INDENT_EM: f64 = 0.9;
/// A line that ends so many sizes before its column's side is a short one.
const SHORT_EM: f64 = 3.0;
/// Sizes that differ by more are not one paragraph.
const SAME_SIZE: f64 = 0.12;
/// Rows of cells that make a table.
const MIN_TABLE_ROWS: usize = 3;
/// Width of a character of a listing, in sizes.
const FIXED_EM: f64 = 0.6;
/// Most words with hyphens that are remembered.
const MAX_COMPOUNDS: usize = 50_000;

/// Pushes the text of all pages into an outline.
pub(super) fn outline(pages: &[PageLines], bookmarks: &[Bookmark], usual_size: f64) -> Outline {
    let headings = Headings::new(pages, bookmarks, usual_size);
    let mut writer = Writer {
        outline: Outline::default(),
        compounds: compounds(pages),
        pitch: usual_pitch(pages),
        paragraph: None,
        code: Vec::new(),
        code_page: 0,
        table: Vec::new(),
        table_page: 0,
    };
    for (page, content) in pages.iter().enumerate() {
        writer.page(page, content, &headings);
    }
    writer.flush();
    writer.outline
}

/// A paragraph in the making.
struct Paragraph {
    text: String,
    marker: Option<String>,
    page: usize,
    /// Page of the last line, and that line.
    last_page: usize,
    last: Line,
    lines: usize,
    /// Where the text of a list item begins.
    hang: Option<f64>,
}

struct Writer {
    outline: Outline,
    compounds: HashSet<String>,
    /// Usual distance of lines, in sizes.
    pitch: f64,
    paragraph: Option<Paragraph>,
    code: Vec<Line>,
    code_page: usize,
    table: Vec<Line>,
    table_page: usize,
}

impl Writer {
    fn page(&mut self, page: usize, content: &PageLines, headings: &Headings) {
        let mut position = 0;
        while let Some(line) = content.lines.get(position) {
            for heading in headings.before(page, position) {
                self.heading(page, heading.level, &heading.title);
            }
            if let Some(end) = headings.printed(page, position) {
                position = end;
                continue;
            }
            self.line(page, line);
            position += 1;
        }
        for heading in headings.before(page, content.lines.len()) {
            self.heading(page, heading.level, &heading.title);
        }
    }

    fn heading(&mut self, page: usize, level: u8, title: &str) {
        self.flush();
        self.outline.page(page as u32 + 1);
        self.outline.push(Block::heading(level, title));
    }

    fn line(&mut self, page: usize, line: &Line) {
        if line.is_fixed() {
            self.end_table();
            self.end_paragraph();
            if self.code_page != page || self.code.last().is_some_and(|last| last.block != line.block) {
                self.end_code();
            }
            self.code_page = page;
            self.code.push(line.clone());
            return;
        }
        self.end_code();
        let is_row = line.pieces.len() > 1 && marker_of(line).is_none();
        if self.table_page != page
            || !is_row
            || self.table.last().is_some_and(|last| last.block != line.block)
        {
            self.end_table();
        }
        if is_row {
            self.table_page = page;
            self.table.push(line.clone());
        } else {
            self.text(page, line);
        }
    }

    /// A line of running text.
    fn text(&mut self, page: usize, line: &Line) {
        let item = marker_of(line);
        let goes_on = item.is_none()
            && self.paragraph.as_ref().is_some_and(|paragraph| goes_on(paragraph, page, line, self.pitch));
        if !goes_on {
            self.end_paragraph();
            let (marker, text, hang) = match item {
                Some(item) => (Some(item.marker), item.text, Some(item.left)),
                None => (None, line.text(), None),
            };
            self.paragraph =
                Some(Paragraph { text, marker, page, last_page: page, last: line.clone(), lines: 1, hang });
            return;
        }
        if let Some(paragraph) = &mut self.paragraph {
            let turns = page.saturating_sub(paragraph.last_page);
            join(&mut paragraph.text, &line.text(), turns, &self.compounds);
            paragraph.last = line.clone();
            paragraph.last_page = page;
            paragraph.lines += 1;
        }
    }

    fn end_paragraph(&mut self) {
        let Some(paragraph) = self.paragraph.take() else { return };
        self.outline.page(paragraph.page as u32 + 1);
        let depth = usize::from(paragraph.marker.is_some());
        self.outline.push(Block::Text { text: paragraph.text, depth, marker: paragraph.marker });
    }

    /// Few rows with gaps are text with gaps.
    fn end_table(&mut self) {
        let rows = std::mem::take(&mut self.table);
        if rows.len() >= MIN_TABLE_ROWS {
            self.end_paragraph();
            self.outline.page(self.table_page as u32 + 1);
            let rows = rows
                .into_iter()
                .map(|row| row.pieces.into_iter().map(|piece| piece.text).collect())
                .collect();
            self.outline.push(Block::Table { rows, header_rows: 0, depth: 0 });
            return;
        }
        for row in &rows {
            self.text(self.table_page, row);
        }
    }

    /// A listing, indented by its places.
    fn end_code(&mut self) {
        let lines = std::mem::take(&mut self.code);
        let Some(first) = lines.first() else { return };
        let left = lines.iter().map(Line::left).fold(f64::MAX, f64::min);
        let step = (FIXED_EM * first.size()).max(1.0);
        let mut text = String::new();
        let mut before: Option<&Line> = None;
        for line in &lines {
            if before.is_some_and(|before| line.base() - before.base() > 1.8 * self.pitch * line.size()) {
                text.push('\n');
            }
            text.push_str(&" ".repeat((((line.left() - left) / step).round() as usize).min(80)));
            text.push_str(&line.text());
            text.push('\n');
            before = Some(line);
        }
        self.outline.page(self.code_page as u32 + 1);
        self.outline.push(Block::Code { text, depth: 0 });
    }

    fn flush(&mut self) {
        // Rows that are no table join the paragraph before them.
        self.end_table();
        self.end_paragraph();
        self.end_code();
    }
}

/// Whether a line goes on with the paragraph before it.
fn goes_on(paragraph: &Paragraph, page: usize, line: &Line, pitch: f64) -> bool {
    let last = &paragraph.last;
    let size = last.size();
    if (line.size() - size).abs() > SAME_SIZE * size.max(line.size()) {
        return false;
    }
    let text = line.text();
    if page != paragraph.last_page || line.block != last.block {
        // Over a turn of the page or a column only an open sentence goes on.
        let is_next = page <= paragraph.last_page + 2;
        return is_next && is_open(&paragraph.text) && begins_within(&text) && !is_short(last);
    }
    let distance = line.base() - last.base();
    if distance > SPREAD * pitch * size || distance < -0.5 * size {
        return false;
    }
    let shift = line.left() - last.left();
    let is_hanging = paragraph.hang.is_some_and(|hang| line.left() > hang - INDENT_EM * size);
    if shift > INDENT_EM * size && !is_hanging && !(paragraph.lines == 1 && paragraph.marker.is_some()) {
        return false;
    }
    if shift < -INDENT_EM * size && (paragraph.lines > 1 || paragraph.marker.is_some()) {
        return false;
    }
    !is_short(last) || is_open(&paragraph.text)
}

fn is_short(line: &Line) -> bool {
    line.right() < line.column.1 - (SHORT_EM * line.size()).max(0.1 * (line.column.1 - line.column.0))
}

/// Whether a text does not end with its sentence.
fn is_open(text: &str) -> bool {
    let last = text
        .trim_end()
        .trim_end_matches(['”', '’', '"', '\'', ')', '）', '」', '』', '》'])
        .chars()
        .next_back();
    last.is_some_and(|last| {
        !matches!(last, '.' | '!' | '?' | '。' | '！' | '？' | '；' | ';' | ':' | '：' | '…')
    })
}

/// Whether a line begins as the rest of a sentence does.
fn begins_within(text: &str) -> bool {
    text.chars().next().is_some_and(|first| {
        first.is_lowercase() || is_cjk(first) || first.is_ascii_digit() || "([“‘\"".contains(first)
    })
}

/// A list item's marker, the text behind it and where that begins.
struct ListItem {
    marker: String,
    text: String,
    left: f64,
}

fn marker_of(line: &Line) -> Option<ListItem> {
    let first = line.pieces.first()?;
    let (marker, in_piece) = match first.text.split_once(' ') {
        Some((marker, rest)) => (marker, Some(rest)),
        None => (first.text.as_str(), None),
    };
    let mut marker = marker.to_owned();
    let rest: Vec<&str> =
        in_piece.into_iter().chain(line.pieces.iter().skip(1).map(|piece| piece.text.as_str())).collect();
    let mut text = rest.join(" ");
    if !is_marker(&marker) {
        // A bullet that touches its text.
        let bullet = first.text.chars().next().filter(|&c| is_bullet(c))?;
        marker = bullet.into();
        text = line.text().trim_start_matches(bullet).trim_start().to_owned();
    }
    if text.is_empty() {
        return None;
    }
    let left = match line.pieces.get(1) {
        Some(second) if in_piece.is_none() => second.left,
        _ => first.left + first.size,
    };
    let shown = if marker.chars().all(|c| is_bullet(c) || matches!(c, '-' | '–' | '*')) {
        "-".into()
    } else {
        marker
    };
    Some(ListItem { marker: shown, text, left })
}

fn is_bullet(character: char) -> bool {
    matches!(
        character,
        '•' | '‣'
            | '◦'
            | '▪'
            | '■'
            | '□'
            | '●'
            | '○'
            | '◆'
            | '◇'
            | '➢'
            | '✓'
            | '❖'
            | '∙'
            | '⋄'
            | '▶'
            | '►'
    )
}

fn is_marker(text: &str) -> bool {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => is_bullet(only) || matches!(only, '-' | '–' | '*' | '①'..='⑳'),
        (Some(_), Some(_)) => {
            let inner = text.strip_prefix(['(', '（']).unwrap_or(text);
            let digits = inner.trim_end_matches(['.', ')', '）', '、']);
            let is_closed = digits.len() < inner.len();
            let is_number =
                digits.len() <= 3 && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
            let is_letter = digits.chars().count() == 1 && digits.chars().all(|c| c.is_ascii_lowercase());
            is_closed && (is_number || is_letter)
        }
        _ => false,
    }
}

/// Puts a line behind a text: a divided word is joined, Chinese goes on without a space. `turns` page breaks stand between.
fn join(text: &mut String, line: &str, turns: usize, compounds: &HashSet<String>) {
    let breaks = PAGE_BREAK.to_string().repeat(turns);
    let before = text.chars().next_back();
    let hyphenated = before.is_some_and(|c| matches!(c, '-' | '\u{AD}' | '\u{2010}'));
    let after = line.chars().next();
    if hyphenated && after.is_some_and(char::is_alphabetic) {
        let head = text.trim_end_matches(['-', '\u{AD}', '\u{2010}']);
        let first = word_at_end(head);
        let rest: String = line.chars().take_while(|c| c.is_alphanumeric()).collect();
        let is_soft = before == Some('\u{AD}');
        let kept = !is_soft
            && (after.is_some_and(char::is_uppercase)
                || first.is_empty()
                || compounds.contains(&format!("{first}-{rest}").to_lowercase()));
        if !kept {
            text.truncate(head.len());
        }
        text.push_str(&breaks);
    } else {
        let spaced = match (before, after) {
            (Some(before), Some(after)) => !joins_without_space(before, after),
            _ => false,
        };
        if spaced {
            text.push(' ');
        }
        text.push_str(&breaks);
    }
    text.push_str(line);
}

/// Puts the next line of a heading behind the ones before.
pub(super) fn join_heading(title: &mut String, line: &str) {
    join(title, line, 0, &HashSet::new());
}

fn word_at_end(text: &str) -> &str {
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric())
        .last()
        .map_or(text.len(), |(at, _)| at);
    text.get(start..).unwrap_or_default()
}

/// Words that the document writes with a hyphen within a line.
fn compounds(pages: &[PageLines]) -> HashSet<String> {
    let mut found = HashSet::new();
    for piece in pages.iter().flat_map(|page| &page.lines).flat_map(|line| &line.pieces) {
        for word in piece.text.split_whitespace() {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric());
            if word.contains('-') && found.len() < MAX_COMPOUNDS {
                found.insert(word.to_lowercase());
            }
        }
    }
    found
}

/// The usual distance of neighbouring lines, in sizes.
fn usual_pitch(pages: &[PageLines]) -> f64 {
    let mut distances: Vec<f64> = Vec::new();
    for page in pages {
        for pair in page.lines.windows(2) {
            let [a, b] = pair else { continue };
            let distance = (b.base() - a.base()) / a.size().max(1.0);
            if a.block == b.block && (0.8..2.5).contains(&distance) {
                distances.push(distance);
            }
        }
    }
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied().unwrap_or(1.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(before: &str, after: &str, turns: usize) -> String {
        let mut text = before.to_owned();
        join(&mut text, after, turns, &HashSet::from(["well-known".to_owned()]));
        text
    }

    #[test]
    fn divided_words_are_joined() {
        assert_eq!(joined("the em-", "bedding of", 0), "the embedding of");
        assert_eq!(joined("a well-", "known fact", 0), "a well-known fact");
        assert_eq!(joined("soft\u{AD}", "hyphen", 0), "softhyphen");
        assert_eq!(joined("Jean-", "Paul", 0), "Jean-Paul");
        assert_eq!(joined("向量检", "索很快", 0), "向量检索很快");
        assert_eq!(joined("使用 GPU", "加速", 1), "使用 GPU \u{c}加速");
        assert_eq!(joined("two", "words", 2), "two \u{c}\u{c}words");
    }

    #[test]
    fn markers_of_lists() {
        for marker in ["•", "1.", "12)", "(3)", "a)", "①", "-", "2、", "（4）"] {
            assert!(is_marker(marker), "{marker}");
        }
        for text in ["1", "1.2", "the", "2024.", "（见", "A."] {
            assert!(!is_marker(text), "{text}");
        }
    }

    #[test]
    fn open_sentences() {
        assert!(is_open("向量检索的") && is_open("and, so") && is_open("（见图）的"));
        assert!(!is_open("完了。") && !is_open("“Done.”") && !is_open(""));
    }
}
