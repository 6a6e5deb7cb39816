//! A question and what answers it.
//!
//! An [`Expectation`] names a place or a content: all of its fields must hold for a result to be right, and of the values
//! of one field any. A question is answered by a result that satisfies any of its expectations.

use serde::{Deserialize, Serialize};

/// A question with its accepted answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What is asked.
    pub question: String,
    /// Any of them answers it; never empty.
    pub expect: Vec<Expectation>,
    /// Its own name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which half of the questions it belongs to (`tune`, `held-out`...), for figures by group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half: Option<String>,
    /// Labels, for figures by group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Drafted by a program and not yet looked at by a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
    /// Line of its file, from 1; 0 where it came from no file.
    #[serde(default)]
    pub line: usize,
}

/// What a right result looks like: every field that is given must hold, of its values any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Ids of documents, or `id#ordinal` for one item of a document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Files; leading folders may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// Outermost headings; a heading's number stands for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chapter: Vec<String>,
    /// Headings, or runs of headings joined by ` > `, anywhere on the way down to the item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub section: Vec<String>,
    /// Pages, from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub page: Vec<String>,
    /// Slides, from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slide: Vec<String>,
    /// Parts of the text; width, case and blanks do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
}

impl Expectation {
    /// Whether it says nothing, which every result would satisfy.
    pub fn is_empty(&self) -> bool {
        self.fields().iter().all(|(_, values)| values.is_empty())
    }

    /// Every field by its name.
    pub fn fields(&self) -> [(&'static str, &[String]); 7] {
        [
            ("ids", &self.ids),
            ("source", &self.source),
            ("chapter", &self.chapter),
            ("section", &self.section),
            ("page", &self.page),
            ("slide", &self.slide),
            ("contains", &self.contains),
        ]
    }
}

impl std::fmt::Display for Expectation {
    /// As a person would say it: `section 1.10, page 3 or 4`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = self.fields().into_iter().filter(|(_, values)| !values.is_empty());
        let said: Vec<String> = said.map(|(name, values)| format!("{name} {}", values.join(" | "))).collect();
        formatter.write_str(&said.join(", "))
    }
}

/// The questions of one evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// In the order of the file.
    pub list: Vec<Question>,
    /// Fields of the file that mean nothing here, each once; they were passed over.
    pub unknown_fields: Vec<String>,
}

impl Questions {
    /// Names the questions and what they expect: equal for equal questions in equal order, whatever file they stand in.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for question in &self.list {
            hasher.update(&fingerprint(question));
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// What matters of a question, as bytes. Lengths stand before texts, so that no two questions give the same.
pub(super) fn fingerprint(question: &Question) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    part(&question.question);
    for expectation in &question.expect {
        for (name, values) in expectation.fields() {
            for value in values {
                part(name);
                part(value);
            }
        }
        part("");
    }
    *hasher.finalize().as_bytes()
}
