//! Which lines are headings, and of which level.
//!
//! A document's bookmarks name its headings; each is looked for among the lines of the page that it leads to, and where it is
//! printed the line is the heading. One that is printed nowhere stands before the line that it leads to. Without bookmarks,
//! lines that are set larger than running text are headings, the largest size being the outermost level.

use super::bookmarks::Bookmark;
use super::furniture::PageLines;
use super::lines::Line;
use std::collections::HashMap;

/// Fewer bookmarks than this say nothing of a document's structure.
const MIN_BOOKMARKS: usize = 2;
/// A heading is set larger than running text by this.
const LARGER: f64 = 1.12;
/// Longest heading, in characters.
const MAX_HEADING_CHARS: usize = 120;
/// Lines that one heading may run over.
const MAX_LINES: usize = 3;
/// Levels that sizes make.
const MAX_LEVELS: usize = 6;
/// Lines of one size differ by less points.
const SIZE_STEP: f64 = 0.5;

/// A heading and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heading {
    pub(super) level: u8,
    pub(super) title: String,
}

/// The headings of all pages by the line that they stand before.
pub(super) struct Headings {
    before: HashMap<(usize, usize), Vec<Heading>>,
    /// Lines that print a heading, with the line after it.
    printed: HashMap<(usize, usize), usize>,
}

impl Headings {
    pub(super) fn new(pages: &[PageLines], bookmarks: &[Bookmark], usual_size: f64) -> Self {
        let mut headings = Self { before: HashMap::new(), printed: HashMap::new() };
        if bookmarks.len() >= MIN_BOOKMARKS {
            headings.by_bookmarks(pages, bookmarks);
        } else {
            headings.by_size(pages, usual_size);
        }
        headings
    }

    /// Headings that begin before a line of a page, the line itself among them.
    pub(super) fn before(&self, page: usize, line: usize) -> &[Heading] {
        self.before.get(&(page, line)).map_or(&[], Vec::as_slice)
    }

    /// The line after a heading that is printed at this one.
    pub(super) fn printed(&self, page: usize, line: usize) -> Option<usize> {
        self.printed.get(&(page, line)).copied()
    }

    fn by_bookmarks(&mut self, pages: &[PageLines], bookmarks: &[Bookmark]) {
        let (mut page, mut from) = (0, 0);
        for bookmark in bookmarks {
            if bookmark.page != page {
                (page, from) = (bookmark.page, 0);
            }
            let Some(lines) = pages.get(page).map(|page| page.lines.as_slice()) else { continue };
            let title = title_of(&bookmark.title);
            if title.is_empty() {
                continue;
            }
            let found = (from..lines.len()).find_map(|at| Some((at, printed_at(&title, lines, at)?)));
            let at = match found {
                Some((at, end)) => {
                    self.printed.insert((page, at), end);
                    from = end;
                    at
                }
                // Its line was a running head, or it is a picture.
                None => match bookmark.top {
                    Some(top) => {
                        lines.iter().position(|line| line.base() > top).unwrap_or(lines.len()).max(from)
                    }
                    None => from,
                },
            };
            self.before.entry((page, at)).or_default().push(Heading { level: bookmark.level, title });
        }
    }

    fn by_size(&mut self, pages: &[PageLines], usual_size: f64) {
        let mut found: Vec<(usize, usize, usize, f64, String)> = Vec::new();
        for (page, content) in pages.iter().enumerate() {
            let mut at = 0;
            while let Some(line) = content.lines.get(at) {
                let mut end = at + 1;
                if !is_large(line, usual_size) {
                    at = end;
                    continue;
                }
                let mut title = line.text();
                while let Some(next) = content.lines.get(end)
                    && end - at < MAX_LINES
                    && is_large(next, usual_size)
                    && (next.size() - line.size()).abs() < SIZE_STEP
                    && (0.0..2.0 * line.size())
                        .contains(&(next.base() - content.lines.get(end - 1).map_or(0.0, Line::base)))
                {
                    super::blocks::join_heading(&mut title, &next.text());
                    end += 1;
                }
                if is_heading(&title) {
                    found.push((page, at, end, line.size(), title));
                }
                at = end;
            }
        }
        let mut sizes: Vec<f64> = found.iter().map(|heading| heading.3).collect();
        sizes.sort_by(|a, b| b.total_cmp(a));
        sizes.dedup_by(|a, b| (*a - *b).abs() < SIZE_STEP);
        for (page, at, end, size, title) in found {
            let level = sizes
                .iter()
                .position(|&other| (other - size).abs() < SIZE_STEP)
                .unwrap_or(0)
                .min(MAX_LEVELS - 1);
            self.printed.insert((page, at), end);
            self.before.entry((page, at)).or_default().push(Heading { level: level as u8 + 1, title });
        }
    }
}

fn is_large(line: &Line, usual_size: f64) -> bool {
    line.size() >= LARGER * usual_size && line.pieces.len() <= 2 && !line.is_fixed()
}

fn is_heading(title: &str) -> bool {
    let letters = title.chars().filter(|c| c.is_alphabetic()).count();
    let is_sentence = title.ends_with(['。', '，', ',', '；', ';', '：', ':']);
    letters >= 2 && !is_sentence && title.chars().count() <= MAX_HEADING_CHARS
}

/// A bookmark's title without what programs put before it.
fn title_of(title: &str) -> String {
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    for prefix in ["Slide ", "幻灯片 ", "幻灯片"] {
        if let Some(rest) = title.strip_prefix(prefix) {
            let named =
                rest.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches([':', '：', ' ']);
            if named.len() < rest.len() {
                return if named.is_empty() { title } else { named.to_owned() };
            }
        }
    }
    title
}

/// The line after the title, if it is printed from line `at` on.
fn printed_at(title: &str, lines: &[Line], at: usize) -> Option<usize> {
    let wanted = letters(title);
    let bare = without_number(&wanted);
    if bare.is_empty() {
        return None;
    }
    let mut printed = String::new();
    for (count, line) in lines.get(at..)?.iter().take(MAX_LINES).enumerate() {
        printed.push_str(&letters(&line.text()));
        if printed == wanted || without_number(&printed) == bare {
            return Some(at + count + 1);
        }
        // "Chapter 3. Title" for "Title", and no line that merely has the title in it.
        let extra = printed.chars().count().saturating_sub(bare.chars().count());
        if printed.ends_with(bare) && extra <= 12 && count == 0 {
            return Some(at + 1);
        }
        if printed.len() > wanted.len() + 40 {
            break;
        }
    }
    None
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn without_number(letters: &str) -> &str {
    letters.trim_start_matches(|c: char| c.is_ascii_digit())
}
