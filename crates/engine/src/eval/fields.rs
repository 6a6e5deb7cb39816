//! One record of a questions file becomes a [`Question`].
//!
//! People write the same thing under several names, in both languages and with `expected_` in front; all of them are
//! understood. A field that is not is passed over and told of, for a misspelt one must not go unnoticed.

use super::question::{Expectation, Question};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Accepted answers of one question.
const MAX_EXPECTATIONS: usize = 100;
/// Values of one field.
const MAX_VALUES: usize = 1_000;
/// Characters of one value.
const MAX_VALUE_CHARS: usize = 8_000;

/// What a record must look like, for messages.
pub(super) const EXPECTED: &str =
    "question, and one or more of section, chapter, page, slide, source, contains, ids";

/// What a field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Question,
    Expect,
    Ids,
    Source,
    Chapter,
    Section,
    Page,
    Slide,
    Contains,
    Id,
    Half,
    Tags,
    Draft,
}

impl Field {
    /// `None`: it means nothing here.
    pub(super) fn named(name: &str) -> Option<Field> {
        let name = name.trim().to_lowercase().replace([' ', '-'], "_");
        let bare = name.strip_prefix("expected_").or_else(|| name.strip_prefix("expect_")).unwrap_or(&name);
        Some(match bare {
            "question" | "query" | "问题" | "提问" => Field::Question,
            "expect" | "expected" | "expects" | "期望" => Field::Expect,
            "ids" | "id" if bare != name => Field::Ids,
            "ids" | "document_ids" | "文档" => Field::Ids,
            "source" | "file" | "document" | "来源" | "文件" => Field::Source,
            "chapter" | "章" | "章节" => Field::Chapter,
            "section" | "heading" | "节" | "小节" => Field::Section,
            "page" | "pages" | "页" | "页码" => Field::Page,
            "slide" | "slides" | "幻灯片" => Field::Slide,
            "contains" | "substring" | "包含" => Field::Contains,
            "id" | "编号" => Field::Id,
            "half" | "split" => Field::Half,
            "tags" | "tag" | "标签" => Field::Tags,
            "draft" | "草稿" => Field::Draft,
            _ => return None,
        })
    }
}

/// Reads a record. Names of fields that mean nothing go to `unknown`. The error is the rest of a sentence about it.
pub(super) fn question(
    record: &Map<String, Value>,
    unknown: &mut BTreeSet<String>,
) -> Result<Question, String> {
    let mut question = Question::default();
    let mut whole = Expectation::default();
    for (name, value) in record {
        if matches!(value, Value::Null) {
            continue;
        }
        match Field::named(name) {
            None => drop(unknown.insert(name.trim().chars().take(60).collect())),
            Some(Field::Question) => question.question = single(name, value)?,
            Some(Field::Expect) => question.expect = alternatives(name, value)?,
            Some(Field::Id) => question.id = Some(single(name, value)?),
            Some(Field::Half) => question.half = Some(single(name, value)?),
            Some(Field::Tags) => question.tags = values(name, value)?,
            Some(Field::Draft) => question.draft = is_true(value),
            Some(field) => take(&mut whole, field, name, value)?,
        }
    }
    if !whole.is_empty() {
        // What stands beside `expect` must hold in each of its alternatives as well.
        match question.expect.is_empty() {
            true => question.expect.push(whole),
            false => question.expect.iter_mut().for_each(|one| add_missing(one, &whole)),
        }
    }
    if question.question.trim().is_empty() {
        return Err(format!("it has no question (expected {EXPECTED})"));
    }
    if question.expect.is_empty() {
        return Err(format!("it says nothing of the answer (expected {EXPECTED})"));
    }
    Ok(question)
}

/// What `text` of a CSV cell means under this field: several values where the field takes lists.
pub(super) fn cell(field: Option<Field>, text: &str) -> Value {
    match field {
        Some(Field::Ids | Field::Tags | Field::Page | Field::Slide) => {
            text.split([';', '；']).map(str::trim).filter(|part| !part.is_empty()).collect()
        }
        _ => Value::String(text.trim().to_owned()),
    }
}

fn alternatives(name: &str, value: &Value) -> Result<Vec<Expectation>, String> {
    let list = match value {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    if list.len() > MAX_EXPECTATIONS {
        return Err(format!("{name:?} has {} alternatives, the limit is {MAX_EXPECTATIONS}", list.len()));
    }
    list.into_iter()
        .map(|one| {
            let mut expectation = Expectation::default();
            match one {
                Value::Object(fields) => {
                    for (inner, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                        match Field::named(inner) {
                            Some(Field::Id) => take(&mut expectation, Field::Ids, inner, value)?,
                            Some(field) => take(&mut expectation, field, inner, value)?,
                            None => return Err(told(inner)),
                        }
                    }
                }
                Value::String(text) => expectation.contains.push(text.clone()),
                other => return Err(format!("{name:?} holds {}, expected objects", kind(other))),
            }
            match expectation.is_empty() {
                true => Err(format!("{name:?} holds an alternative that says nothing")),
                false => Ok(expectation),
            }
        })
        .collect()
}

fn told(name: &str) -> String {
    let name: String = name.chars().take(60).collect();
    format!(
        "its expectation has the field {name:?}; expected section, chapter, page, slide, source, contains or ids"
    )
}

fn take(into: &mut Expectation, field: Field, name: &str, value: &Value) -> Result<(), String> {
    let values = values(name, value)?;
    match field {
        Field::Ids => into.ids.extend(values),
        Field::Source => into.source.extend(values),
        Field::Chapter => into.chapter.extend(values),
        Field::Section => into.section.extend(values),
        Field::Page => into.page.extend(pages(name, values)?),
        Field::Slide => into.slide.extend(pages(name, values)?),
        Field::Contains => into.contains.extend(values),
        Field::Question | Field::Expect | Field::Id | Field::Half | Field::Tags | Field::Draft => {
            return Err(told(name));
        }
    }
    Ok(())
}

fn add_missing(into: &mut Expectation, more: &Expectation) {
    let add = |into: &mut Vec<String>, more: &Vec<String>| {
        if into.is_empty() {
            into.clone_from(more);
        }
    };
    add(&mut into.ids, &more.ids);
    add(&mut into.source, &more.source);
    add(&mut into.chapter, &more.chapter);
    add(&mut into.section, &more.section);
    add(&mut into.page, &more.page);
    add(&mut into.slide, &more.slide);
    add(&mut into.contains, &more.contains);
}

/// Page numbers; `3-5` means each of them.
fn pages(name: &str, values: Vec<String>) -> Result<Vec<String>, String> {
    let mut pages = Vec::new();
    for value in values {
        let ends = value.split_once(['-', '–', '~']);
        let ends = ends.and_then(|(first, last)| Some((number(first)?, number(last)?)));
        match ends {
            Some((first, last)) if first <= last && last - first < MAX_VALUES as u64 => {
                pages.extend((first..=last).map(|page| page.to_string()));
            }
            Some(_) => return Err(format!("{name:?} has the range {value:?}, expected such as 3-5")),
            None => pages.push(value),
        }
    }
    Ok(pages)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn single(name: &str, value: &Value) -> Result<String, String> {
    let mut values = values(name, value)?;
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => Ok(value),
        (None, _) => Ok(String::new()),
        _ => Err(format!("{name:?} holds {}, expected one text", kind(value))),
    }
}

/// The texts of a value: itself, or those of a list. Blank ones count as not given.
fn values(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) if text.chars().count() > MAX_VALUE_CHARS => {
            Err(format!("{name:?} holds a text of more than {MAX_VALUE_CHARS} characters"))
        }
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("{name:?} holds {}, expected a text or a number", kind(other))),
    };
    let texts: Vec<String> = match value {
        Value::Array(list) if list.len() > MAX_VALUES => {
            return Err(format!("{name:?} has {} values, the limit is {MAX_VALUES}", list.len()));
        }
        Value::Array(list) => list.iter().map(one).collect::<Result<_, String>>()?,
        value => vec![one(value)?],
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => {
            !matches!(text.trim().to_lowercase().as_str(), "" | "0" | "no" | "false" | "否")
        }
        _ => false,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
