//! Running heads, running feet and page numbers: lines at the edge of pages that say nothing about the text between them.
//!
//! A line goes if, digits aside, the same words stand at the same height on several pages; or if it stands alone at a height
//! where most pages have a line that stands alone (heads that name the section at hand). Titles of slides stand at one height
//! as well: what is larger than running text stays.

use super::lines::Line;
use std::collections::{HashMap, HashSet};

/// Part of the page's height at the top and at the bottom in which heads and feet stand.
const EDGE: f64 = 0.14;
/// Lines from the edge that may be heads or feet.
const EDGE_LINES: usize = 3;
/// Pages that must share a line.
const MIN_PAGES: usize = 3;
/// Heights within so many points are one.
const BAND: f64 = 4.0;
/// Part of the pages that have a lone line at one height.
const MOST: f64 = 0.5;
/// A line stands alone if the next one is so many of its sizes away.
const ALONE_EM: f64 = 1.9;
/// Larger than running text by this is a title.
const TITLE: f64 = 1.2;

/// One page's lines with its height.
pub(super) struct PageLines {
    pub(super) lines: Vec<Line>,
    pub(super) height: f64,
}

/// A line near an edge.
struct Candidate {
    page: usize,
    line: usize,
    is_top: bool,
    band: i64,
    words: String,
    is_alone: bool,
}

/// Takes heads, feet and page numbers out.
pub(super) fn remove(pages: &mut [PageLines], usual_size: f64) {
    let candidates: Vec<Candidate> =
        pages.iter().enumerate().flat_map(|(at, page)| candidates(at, page, usual_size)).collect();
    let mut shared: HashMap<(bool, i64, &str), usize> = HashMap::new();
    let mut alone: HashMap<(bool, i64), HashSet<usize>> = HashMap::new();
    for candidate in &candidates {
        *shared.entry((candidate.is_top, candidate.band, &candidate.words)).or_default() += 1;
        if candidate.is_alone {
            alone.entry((candidate.is_top, candidate.band)).or_default().insert(candidate.page);
        }
    }
    let with_text = pages.iter().filter(|page| !page.lines.is_empty()).count();
    let goes = |candidate: &Candidate| {
        let near = [candidate.band - 1, candidate.band, candidate.band + 1];
        let same = near.map(|band| {
            shared.get(&(candidate.is_top, band, candidate.words.as_str())).copied().unwrap_or(0)
        });
        let lone = near.map(|band| alone.get(&(candidate.is_top, band)).map_or(0, HashSet::len));
        same.iter().sum::<usize>() >= MIN_PAGES
            || candidate.is_alone
                && with_text > MIN_PAGES
                && lone.iter().sum::<usize>() as f64 >= MOST * with_text as f64
    };
    let gone: HashSet<(usize, usize)> = candidates
        .iter()
        .filter(|candidate| goes(candidate))
        .map(|candidate| (candidate.page, candidate.line))
        .collect();
    for (at, page) in pages.iter_mut().enumerate() {
        let mut line = 0;
        page.lines.retain(|_| {
            line += 1;
            !gone.contains(&(at, line - 1))
        });
    }
}

fn candidates(at: usize, page: &PageLines, usual_size: f64) -> Vec<Candidate> {
    let mut order: Vec<usize> = (0..page.lines.len()).collect();
    let base = |line: usize| page.lines.get(line).map_or(0.0, Line::base);
    order.sort_by(|&a, &b| base(a).total_cmp(&base(b)));
    let mut found = Vec::new();
    for is_top in [true, false] {
        if !is_top {
            order.reverse();
        }
        for (place, &line) in order.iter().take(EDGE_LINES).enumerate() {
            let Some(shown) = page.lines.get(line) else { continue };
            let height = shown.base();
            let is_edge =
                if is_top { height < EDGE * page.height } else { height > (1.0 - EDGE) * page.height };
            if !is_edge || shown.size() > TITLE * usual_size {
                break;
            }
            let next = order.get(place + 1).map_or(f64::MAX, |&next| (base(next) - height).abs());
            found.push(Candidate {
                page: at,
                line,
                is_top,
                band: (height / BAND).round() as i64,
                words: words(&shown.text()),
                is_alone: place == 0 && next > ALONE_EM * shown.size(),
            });
        }
    }
    found
}

/// The letters of a line, every number one mark: what its repetitions share.
fn words(text: &str) -> String {
    let is_roman = |word: &str| !word.is_empty() && word.chars().all(|c| "ivxlcIVXLC".contains(c));
    if is_roman(text.trim()) {
        return "#".into();
    }
    let mut words = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_numeric() {
            if !words.ends_with('#') {
                words.push('#');
            }
        } else if character.is_alphabetic() {
            words.push(character);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::pdf::lines::Piece;

    fn line(text: &str, base: f64, size: f64) -> Line {
        let piece = Piece {
            text: text.into(),
            left: 50.0,
            right: 300.0,
            base,
            size,
            fixed: 0,
            characters: text.chars().count(),
        };
        Line { pieces: vec![piece], column: (50.0, 300.0), block: 0 }
    }

    #[test]
    fn heads_and_numbers_go_and_titles_stay() {
        let mut pages: Vec<PageLines> = (1..=6)
            .map(|page| PageLines {
                lines: vec![
                    line(&format!("第 {page} 章 检索"), 30.0, 9.0),
                    line("同一个标题", 60.0, 24.0),
                    line(&format!("正文第一行，各页不同 {}", "甲".repeat(page)), 110.0, 10.0),
                    line("正文", 400.0, 10.0),
                    line(&format!("{page}"), 780.0, 10.0),
                ],
                height: 800.0,
            })
            .collect();
        remove(&mut pages, 10.0);
        for page in &pages {
            let texts: Vec<String> = page.lines.iter().map(Line::text).collect();
            assert_eq!(texts.len(), 3, "{texts:?}");
            assert_eq!(texts[0], "同一个标题");
        }
    }

    #[test]
    fn heads_that_change_go_by_their_place() {
        let mut pages: Vec<PageLines> = ["甲", "乙", "丙", "丁", "戊"]
            .iter()
            .map(|name| PageLines {
                lines: vec![line(name, 30.0, 9.0), line(&format!("{name}正文"), 70.0, 10.0)],
                height: 800.0,
            })
            .collect();
        remove(&mut pages, 10.0);
        assert!(pages.iter().all(|page| page.lines.len() == 1 && page.lines[0].base() == 70.0));
    }

    #[test]
    fn numbers_are_one_mark() {
        assert_eq!(words("- 12 / 340 -"), "#");
        assert_eq!(words("xii"), "#");
        assert_eq!(words("Page 3 of 9"), words("Page 10 of 9"));
    }
}
