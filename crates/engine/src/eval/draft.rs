//! Questions made of headings: a first list that a person rewrites in a reader's words.
//!
//! A question that repeats its heading is too easy, for the search meets the same words; so each is marked as a draft, and
//! the marks are told of when it is evaluated.

use super::judge::Place;
use super::read::MAX_QUESTIONS;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::storage::View;
use serde::Serialize;
use std::collections::BTreeMap;

/// Items read at a time.
const CHUNK_ITEMS: usize = 256;
/// Pages or slides named of one section.
const MAX_PAGES: usize = 50;
/// Between the headings of a section.
const HEADING_SEPARATOR: &str = " > ";

/// In which language questions are drafted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftLanguage {
    /// 中文
    Chinese,
    /// English
    English,
}

/// A drafted question, in the form of a line of a questions file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drafted {
    /// What is asked.
    pub question: String,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The outermost heading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chapter: Option<String>,
    /// The headings below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// Its pages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub page: Vec<String>,
    /// Its slides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slide: Vec<String>,
    /// Always set: a person is to look at it.
    pub draft: bool,
}

pub(super) fn draft(
    view: &dyn View,
    collection: &str,
    language: Option<DraftLanguage>,
    token: &CancelToken,
) -> Result<Vec<Drafted>, Error> {
    let mut positions: BTreeMap<[Option<String>; 3], usize> = BTreeMap::new();
    let mut drafts: Vec<Drafted> = Vec::new();
    for chunk in view.keys().chunks(CHUNK_ITEMS) {
        token.check()?;
        for item in view.items(chunk)? {
            let Place { source, chapter, section, page, slide } = Place::of(&item.metadata);
            let Some(heading) = heading(chapter.as_deref(), section.as_deref()) else { continue };
            let place = [source.clone(), chapter.clone(), section.clone()];
            let at = match positions.get(&place) {
                Some(at) => *at,
                None if drafts.len() == MAX_QUESTIONS => continue,
                None => {
                    let question = question(&heading, language, drafts.len());
                    let (page, slide) = (Vec::new(), Vec::new());
                    drafts.push(Drafted { question, source, chapter, section, page, slide, draft: true });
                    positions.insert(place, drafts.len() - 1);
                    drafts.len() - 1
                }
            };
            push(&mut drafts[at].page, page);
            push(&mut drafts[at].slide, slide);
        }
    }
    if drafts.is_empty() {
        let told = format!("no item of collection {collection:?} has a heading to make a question of");
        return Err(Error::new(ErrorKind::NotFound, told).with_hint(
            "headings come from documents that have them, such as Markdown and slides; write the questions by hand: \
             {\"question\": \"...\", \"contains\": \"...\"}",
        ));
    }
    Ok(drafts)
}

fn push(pages: &mut Vec<String>, page: Option<String>) {
    if let Some(page) = page
        && pages.len() < MAX_PAGES
        && !pages.contains(&page)
    {
        pages.push(page);
    }
}

/// The innermost heading without its number.
fn heading(chapter: Option<&str>, section: Option<&str>) -> Option<String> {
    let innermost = section.and_then(|section| section.rsplit(HEADING_SEPARATOR).next()).or(chapter)?;
    let bare = without_number(innermost.trim());
    (!bare.is_empty()).then(|| bare.to_owned())
}

fn without_number(heading: &str) -> &str {
    if let Some((first, rest)) = heading.split_once([' ', '\u{3000}', '、', ':', '：']) {
        let is_number = first.chars().all(|c| c.is_ascii_digit() || c == '.');
        let is_chinese = first.starts_with('第') || first.chars().all(|c| "一二三四五六七八九十".contains(c));
        if (is_number || is_chinese) && !rest.trim().is_empty() {
            return rest.trim();
        }
    }
    heading
}

fn question(heading: &str, language: Option<DraftLanguage>, turn: usize) -> String {
    // What is asked already stays as it is.
    if heading.ends_with(['?', '？']) {
        return heading.to_owned();
    }
    let is_chinese = match language {
        Some(language) => language == DraftLanguage::Chinese,
        None => heading.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)),
    };
    match (is_chinese, turn % 3) {
        (true, 0) => format!("关于“{heading}”，讲义是怎么说的？"),
        (true, 1) => format!("“{heading}”主要包括哪些内容？"),
        (true, _) => format!("怎样理解“{heading}”？"),
        (false, 0) => format!("What does the course say about \"{heading}\"?"),
        (false, 1) => format!("What are the main points of \"{heading}\"?"),
        (false, _) => format!("How should one understand \"{heading}\"?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_left_out_and_language_follows_the_heading() {
        for (chapter, section, expected) in [
            (Some("第一章 向量检索"), Some("1.10 架构 > 1.10.2 模块"), Some("模块")),
            (Some("第一章 向量检索"), None, Some("向量检索")),
            (Some("三、评测"), None, Some("评测")),
            (Some("2.9 HNSW"), None, Some("HNSW")),
            (Some("HNSW parameters"), None, Some("HNSW parameters")),
            (Some("3.14"), None, Some("3.14")),
            (None, None, None),
        ] {
            assert_eq!(heading(chapter, section).as_deref(), expected, "{chapter:?} {section:?}");
        }
        assert!(question("模块", None, 0).contains("讲义"));
        assert!(question("HNSW", None, 0).starts_with("What"));
        assert!(question("HNSW", Some(DraftLanguage::Chinese), 1).contains("哪些"));
        assert_eq!(question("什么是召回率？", None, 0), "什么是召回率？");
    }
}
