//! Whether a result answers a question, from its id, its fields and its text; and how near a wrong one is.
//!
//! The expectations of all questions are folded once ([`Judge`]), an item once ([`Facts`]); after that a judgement compares
//! strings. Metadata may be of any origin, so numbers and texts count alike.

use super::fold::{fold, fold_heading, fold_path};
use super::question::{Expectation, Question};
use bilin_store::Metadata;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Between the headings of a section.
const HEADING_SEPARATOR: char = '>';

/// Where an item stands, as a person reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The outermost heading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chapter: Option<String>,
    /// The headings below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The page, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The slide, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slide: Option<String>,
}

impl Place {
    /// The place that an item's fields tell.
    pub fn of(metadata: &Metadata) -> Place {
        let field = |name| metadata.get(name).and_then(text_of).filter(|text| !text.is_empty());
        Place {
            source: field("source"),
            chapter: field("chapter"),
            section: field("section"),
            page: field("page"),
            slide: field("slide"),
        }
    }
}

/// How near a wrong result is to a right one, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// Of the same page or slide of the same document.
    SamePage,
    /// Of the same section.
    SameSection,
    /// A page or slide before or behind, in the same document.
    NextPage,
    /// Of the same chapter.
    SameChapter,
    /// Of the same document.
    SameDocument,
}

/// Compares with `expected`, a place that answers.
pub(super) fn nearness(found: &Place, expected: &Place) -> Option<Nearness> {
    let same = |a: &Option<String>, b: &Option<String>| {
        a.as_deref().zip(b.as_deref()).is_some_and(|(a, b)| fold(a) == fold(b))
    };
    let same_document = same(&found.source, &expected.source);
    let same_chapter = same(&found.chapter, &expected.chapter);
    let leaf = |found: &Option<String>, expected: &Option<String>| -> Option<u64> {
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.trim().parse::<u64>().ok());
        Some(number(found)?.abs_diff(number(expected)?))
    };
    let apart = leaf(&found.page, &expected.page).or_else(|| leaf(&found.slide, &expected.slide));
    if same_document && apart == Some(0) {
        return Some(Nearness::SamePage);
    }
    if same_chapter && same(&found.section, &expected.section) {
        return Some(Nearness::SameSection);
    }
    if same_document && apart == Some(1) {
        return Some(Nearness::NextPage);
    }
    if same_chapter {
        return Some(Nearness::SameChapter);
    }
    same_document.then_some(Nearness::SameDocument)
}

/// An item in the form in which it is compared.
pub(super) struct Facts {
    id: String,
    ordinal: u32,
    source: Option<String>,
    /// Chapter first, then the headings below it.
    path: Vec<String>,
    has_chapter: bool,
    page: Option<String>,
    slide: Option<String>,
    text: String,
}

impl Facts {
    pub(super) fn of(id: &str, ordinal: u32, text: Option<&str>, metadata: &Metadata) -> Facts {
        let place = Place::of(metadata);
        let chapter = place.chapter.as_deref().map(fold_heading);
        let has_chapter = chapter.is_some();
        let below = place.section.as_deref().unwrap_or_default().split(HEADING_SEPARATOR).map(fold_heading);
        let path = chapter.into_iter().chain(below.filter(|heading| !heading.is_empty())).collect();
        Facts {
            id: id.to_owned(),
            ordinal,
            source: place.source.as_deref().map(fold_path),
            path,
            has_chapter,
            page: place.page.as_deref().map(fold),
            slide: place.slide.as_deref().map(fold),
            text: text.map(fold).unwrap_or_default(),
        }
    }
}

/// The expectations of all questions, folded.
pub(super) struct Judge {
    questions: Vec<Vec<Folded>>,
}

/// An [`Expectation`] in the form in which it is compared.
struct Folded {
    ids: Vec<String>,
    source: Vec<String>,
    chapter: Vec<String>,
    section: Vec<Vec<String>>,
    page: Vec<String>,
    slide: Vec<String>,
    contains: Vec<String>,
}

impl Folded {
    fn of(expectation: &Expectation) -> Folded {
        let each = |values: &[String], form: fn(&str) -> String| values.iter().map(|v| form(v)).collect();
        let headings = |section: &String| {
            let parts = section.split(HEADING_SEPARATOR).map(fold_heading);
            parts.filter(|heading| !heading.is_empty()).collect()
        };
        Folded {
            ids: expectation.ids.clone(),
            source: each(&expectation.source, fold_path),
            chapter: each(&expectation.chapter, fold_heading),
            section: expectation.section.iter().map(headings).collect(),
            page: each(&expectation.page, fold),
            slide: each(&expectation.slide, fold),
            contains: each(&expectation.contains, fold),
        }
    }

    /// Cheap comparisons first.
    fn holds(&self, facts: &Facts) -> bool {
        let any = |values: &[String], fits: &dyn Fn(&str) -> bool| {
            values.is_empty() || values.iter().any(|value| fits(value))
        };
        let is = |fact: &Option<String>, value: &str| {
            fact.as_deref().is_some_and(|fact| fact == value || same_number(fact, value))
        };
        any(&self.page, &|page| is(&facts.page, page))
            && any(&self.slide, &|slide| is(&facts.slide, slide))
            && any(&self.ids, &|id| names(id, facts))
            && any(&self.source, &|path| {
                facts.source.as_deref().is_some_and(|source| same_path(source, path))
            })
            && any(&self.chapter, &|chapter| {
                facts.has_chapter && facts.path.first().is_some_and(|own| is_heading(own, chapter))
            })
            && (self.section.is_empty() || self.section.iter().any(|run| holds_run(&facts.path, run)))
            && any(&self.contains, &|part| facts.text.contains(part))
    }
}

impl Judge {
    pub(super) fn new(questions: &[Question]) -> Judge {
        let folded = |question: &Question| question.expect.iter().map(Folded::of).collect();
        Judge { questions: questions.iter().map(folded).collect() }
    }

    /// Whether the item answers the question at this position.
    pub(super) fn is_right(&self, question: usize, facts: &Facts) -> bool {
        self.questions.get(question).is_some_and(|accepted| accepted.iter().any(|one| one.holds(facts)))
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `03` is page 3.
fn same_number(a: &str, b: &str) -> bool {
    a.parse::<u64>().ok().zip(b.parse::<u64>().ok()).is_some_and(|(a, b)| a == b)
}

/// A document's id, or `id#ordinal`.
fn names(id: &str, facts: &Facts) -> bool {
    let of_item = || {
        let (document, ordinal) = id.rsplit_once('#')?;
        Some(document == facts.id && ordinal.parse() == Ok(facts.ordinal))
    };
    id == facts.id || of_item().unwrap_or(false)
}

/// One may have more leading folders than the other.
fn same_path(a: &str, b: &str) -> bool {
    let ends_with = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|folders| folders.is_empty() || folders.ends_with('/'))
    };
    !a.is_empty() && !b.is_empty() && (ends_with(a, b) || ends_with(b, a))
}

/// Whether the headings of `run` stand one below the other somewhere in `path`.
fn holds_run(path: &[String], run: &[String]) -> bool {
    !run.is_empty()
        && path.windows(run.len()).any(|part| part.iter().zip(run).all(|(own, asked)| is_heading(own, asked)))
}

/// The heading itself, blanks aside, or its number alone (`1.10`, `第三章`, `chapter 3`).
fn is_heading(own: &str, asked: &str) -> bool {
    if own == asked || fold(own) == fold(asked) {
        return true;
    }
    let Some(rest) = own.strip_prefix(asked).filter(|_| is_number(asked)) else { return false };
    let mut rest = rest.chars();
    match rest.next() {
        None => true,
        // 1.1 is neither 1.10 nor 1.1.2, and 3 is not 3d.
        Some('.') => !rest.next().is_some_and(|next| next.is_ascii_digit()),
        Some(next) => !next.is_ascii_alphanumeric(),
    }
}

fn is_number(heading: &str) -> bool {
    const NUMBERED: [&str; 8] =
        ["chapter", "section", "lecture", "part", "unit", "module", "lesson", "appendix"];
    let is_digits = |text: &str| {
        text.ends_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let is_chinese = heading.starts_with('第')
        && heading.chars().count() <= 8
        && heading.ends_with(['章', '节', '讲', '课', '编', '篇', '部', '单', '元']);
    let is_word = heading.split_once(' ').is_some_and(|(word, number)| {
        NUMBERED.contains(&word) && number.chars().count() <= 4 && !number.contains(' ')
    });
    is_digits(heading) || is_chinese || is_word
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(value: Value) -> Metadata {
        value.as_object().expect("an object").clone()
    }

    fn judged(expectation: Value, item: Value, text: &str) -> bool {
        let question = Question {
            expect: vec![serde_json::from_value(expectation).expect("an expectation")],
            ..Question::default()
        };
        let facts = Facts::of("zh/a.md", 2, Some(text), &metadata(item));
        Judge::new(&[question]).is_right(0, &facts)
    }

    #[test]
    fn headings_are_named_by_number_by_words_and_by_path() {
        let item = json!({"chapter": "第一章 向量检索", "section": "1.10 FAISS 的架构 > 模块"});
        for (section, right) in [
            ("1.10", true),
            ("1.1", false),
            ("1.10 FAISS的架构", true),
            ("１．１０　faiss 的架构", true),
            ("模块", true),
            ("模", false),
            ("1.10 > 模块", true),
            ("第一章 > 1.10 FAISS 的架构", true),
            ("第一章 > 模块", false),
            ("架构", false),
        ] {
            assert_eq!(judged(json!({"section": [section]}), item.clone(), ""), right, "{section}");
        }
        assert!(judged(json!({"chapter": ["第一章"]}), item.clone(), ""));
        assert!(judged(json!({"chapter": ["第一章 向量检索"]}), item.clone(), ""));
        assert!(!judged(json!({"chapter": ["1.10"]}), item, ""), "a section is no chapter");
        let item = json!({"section": "3D 模型"});
        assert!(!judged(json!({"section": ["3"]}), item.clone(), ""));
        assert!(!judged(json!({"chapter": ["3D 模型"]}), item, ""), "an item without a chapter");
        assert!(judged(json!({"section": ["Chapter 3"]}), json!({"section": "chapter 3: trees"}), ""));
    }

    #[test]
    fn all_fields_must_hold_and_of_each_any_value() {
        let item = json!({"source": "course/zh/a.md", "page": "03"});
        assert!(judged(json!({"source": ["a.md"], "page": ["2", "3"]}), item.clone(), ""));
        assert!(judged(json!({"source": ["/home/me/course/zh/a.md"]}), item.clone(), ""));
        assert!(!judged(json!({"source": ["aa.md"]}), item.clone(), ""));
        assert!(!judged(json!({"source": ["md"]}), item.clone(), ""));
        assert!(!judged(json!({"source": ["a.md"], "page": ["4"]}), item.clone(), ""));
        assert!(!judged(json!({"slide": ["3"]}), item, ""));
        assert!(judged(json!({"page": ["3"]}), json!({"page": 3}), ""));
    }

    #[test]
    fn ids_and_parts_of_the_text() {
        let text = "FAISS的架构包含\n三个模块";
        assert!(judged(json!({"contains": ["ＦＡＩＳＳ 的架构包含三个"]}), json!({}), text));
        assert!(judged(json!({"contains": ["nothing", "三个模块"]}), json!({}), text));
        assert!(!judged(json!({"contains": ["四个模块"]}), json!({}), text));
        for (id, right) in
            [("zh/a.md", true), ("zh/a.md#2", true), ("zh/a.md#1", false), ("a.md", false), ("#2", false)]
        {
            assert_eq!(judged(json!({"ids": [id]}), json!({}), text), right, "{id}");
        }
    }

    #[test]
    fn what_is_near_is_named() {
        let place = |value: Value| Place::of(&metadata(value));
        let expected = place(json!({"source": "a.pdf", "chapter": "1", "section": "1.2", "page": "7"}));
        for (found, near) in [
            (
                json!({"source": "a.pdf", "chapter": "1", "section": "1.3", "page": 7}),
                Some(Nearness::SamePage),
            ),
            (json!({"source": "b.md", "chapter": "1", "section": "1.2"}), Some(Nearness::SameSection)),
            (json!({"source": "a.pdf", "chapter": "2", "page": "8"}), Some(Nearness::NextPage)),
            (
                json!({"source": "a.pdf", "chapter": "1", "section": "1.9", "page": "12"}),
                Some(Nearness::SameChapter),
            ),
            (json!({"source": "a.pdf", "chapter": "3", "page": "40"}), Some(Nearness::SameDocument)),
            (json!({"source": "b.pdf", "chapter": "3", "page": "7"}), None),
            (json!({}), None),
        ] {
            assert_eq!(nearness(&place(found.clone()), &expected), near, "{found}");
        }
    }
}
