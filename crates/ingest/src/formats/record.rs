//! Records: what the lines of a JSONL file and the rows of a CSV file have in common.
//!
//! A record's text is the first of these fields that it has: `text`, `content`, `body`, `sentence`, 文本, 内容, 正文; else
//! `question` with `answer` (问题 with 答案), joined by a line end. Names are compared without case. `id` is the document's id.
//! Every other field is metadata, under its own name. A field `metadata` that is an object is laid open: the shape of the
//! tutorial's `metadata.json`; an `id` within it is the document's id if the record has none, and stays metadata.
//! `source` names the file unless the record says otherwise.

use crate::error::Problem;
use crate::read::{Content, Document, Item, ReadFile};
use crate::split::{Budget, Split, items_of_whole, sentences};
use crate::{Found, Metadata};
use serde_json::Value;
use std::collections::HashMap;

/// Fields that hold the text, in order of preference.
const TEXT_FIELDS: &[&str] = &["text", "content", "body", "sentence", "文本", "内容", "正文"];
/// Fields that make a text together.
const PAIRED_FIELDS: &[(&str, &str)] = &[("question", "answer"), ("问题", "答案")];
/// The field that holds a record's id.
pub(crate) const ID_FIELD: &str = "id";
/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 512;
/// Longest metadata of a record as JSON, in bytes: it is stored with every item of the record.
const MAX_METADATA_BYTES: usize = 64 * 1024;
/// Problems reported per file; the rest is counted.
const MAX_PROBLEMS: usize = 100;

/// Names of the fields that are understood as text, for messages.
pub(crate) fn expected_fields() -> String {
    let mut names: Vec<String> = TEXT_FIELDS.iter().map(|name| format!("\"{name}\"")).collect();
    names.extend(PAIRED_FIELDS.iter().map(|(first, second)| format!("\"{first}\" with \"{second}\"")));
    names.join(", ")
}

/// Where a record has its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextField {
    One(String),
    Pair(String, String),
}

impl TextField {
    /// The text field among a record's field names.
    pub(crate) fn among<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<Self> {
        let find =
            |wanted: &str| names.clone().find(|name| name.eq_ignore_ascii_case(wanted)).map(str::to_owned);
        if let Some(name) = TEXT_FIELDS.iter().find_map(|wanted| find(wanted)) {
            return Some(Self::One(name));
        }
        PAIRED_FIELDS.iter().find_map(|(first, second)| Some(Self::Pair(find(first)?, find(second)?)))
    }
}

/// Collects the documents of one file, and the problems of its records.
pub(crate) struct Records<'a> {
    found: &'a Found,
    split: Split,
    budget: Budget<'a>,
    read: ReadFile,
    /// Line of the first record with an id.
    lines: HashMap<String, u64>,
    unreported: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn new(found: &'a Found, split: Split, budget: Budget<'a>) -> Self {
        Self { found, split, budget, read: ReadFile::default(), lines: HashMap::new(), unreported: 0 }
    }

    /// Takes the record that begins at `line`, or reports what is wrong with it.
    pub(crate) fn push(&mut self, line: u64, fields: Metadata) {
        match self.document(line, fields) {
            Ok(document) => {
                self.lines.insert(document.id.clone(), line);
                self.read.documents.push(document);
            }
            Err((reason, hint)) => self.problem(line, &reason, hint),
        }
    }

    pub(crate) fn problem(&mut self, line: u64, reason: &str, hint: &str) {
        if self.read.problems.len() >= MAX_PROBLEMS {
            self.unreported += 1;
            return;
        }
        self.read.problems.push(Problem {
            path: self.found.path.clone(),
            reason: format!("line {line}: {reason}"),
            hint: Some(hint.to_owned()),
            is_partial: false,
        });
    }

    pub(crate) fn finish(mut self) -> ReadFile {
        if self.unreported > 0 {
            self.read.problems.push(Problem {
                path: self.found.path.clone(),
                reason: format!("{} more records could not be read", self.unreported),
                hint: Some(format!("the first {MAX_PROBLEMS} are listed")),
                is_partial: false,
            });
        }
        self.read
    }

    fn document(&self, line: u64, mut fields: Metadata) -> Result<Document, (String, &'static str)> {
        let id = take_id(&mut fields)?;
        let text = take_text(&mut fields)?;
        let mut metadata = fields;
        if let Some(Value::Object(inner)) = metadata.get("metadata").cloned() {
            metadata.remove("metadata");
            for (name, value) in inner {
                metadata.entry(name).or_insert(value);
            }
        }
        let id = match id {
            Some(id) => id,
            // Looked at, not taken: what the record calls metadata stays there.
            None => match metadata.get(ID_FIELD).and_then(|value| id_of(value).ok().flatten()) {
                Some(id) => id,
                None => format!("{}#{line}", self.found.source),
            },
        };
        if let Some(first) = self.lines.get(&id) {
            return Err((
                format!("the id \"{id}\" was already used in line {first}"),
                "give every record an id of its own, or leave the field out",
            ));
        }
        metadata.entry("source").or_insert_with(|| self.found.source.clone().into());
        let bytes = serde_json::to_string(&metadata).map_or(0, |json| json.len());
        if bytes > MAX_METADATA_BYTES {
            return Err((
                format!("the fields beside the text take {bytes} bytes, more than {MAX_METADATA_BYTES}"),
                "keep only what results should show or filters should ask for",
            ));
        }
        Ok(Document { id, items: self.items(&text, &metadata) })
    }

    fn items(&self, text: &str, metadata: &Metadata) -> Vec<Item> {
        let pieces = items_of_whole(text, self.split, self.budget);
        // Parts of a record are numbered; a record that is one item is told from others by its id.
        let total = (pieces.len() > 1).then(|| sentences(text).len());
        pieces
            .into_iter()
            .map(|piece| {
                let mut metadata = metadata.clone();
                if let Some(total) = total {
                    metadata.insert("sentence_id".into(), piece.sentence.to_string().into());
                    metadata.insert("total_sentences".into(), total.to_string().into());
                }
                Item { content: Content::Text(piece.text), metadata }
            })
            .collect()
    }
}

fn take_id(fields: &mut Metadata) -> Result<Option<String>, (String, &'static str)> {
    let Some(name) = fields.keys().find(|name| name.eq_ignore_ascii_case(ID_FIELD)).cloned() else {
        return Ok(None);
    };
    let value = fields.shift_remove(&name).unwrap_or(Value::Null);
    id_of(&value)
}

/// The id in a field; none if it is null or blank.
fn id_of(value: &Value) -> Result<Option<String>, (String, &'static str)> {
    let id = match value {
        Value::Null => return Ok(None),
        Value::String(id) => id.trim().to_owned(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        other => {
            return Err((
                format!("the field \"id\" is {}", kind(other)),
                "an id is a string or a whole number; leave the field out to number records by line",
            ));
        }
    };
    if id.len() > MAX_ID_BYTES {
        return Err((
            format!("the field \"id\" has {} bytes, more than {MAX_ID_BYTES}", id.len()),
            "give the record a shorter id",
        ));
    }
    Ok((!id.is_empty()).then_some(id))
}

fn take_text(fields: &mut Metadata) -> Result<String, (String, &'static str)> {
    const HINT: &str = "every record needs a text that is not blank";
    let Some(field) = TextField::among(fields.keys().map(String::as_str)) else {
        return Err((format!("no field holds a text: expected one of {}", expected_fields()), HINT));
    };
    let mut take = |name: &str| match fields.shift_remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err((format!("the field \"{name}\" is {}, not a string", kind(&other)), HINT)),
        None => Ok(String::new()),
    };
    let (text, name) = match field {
        TextField::One(name) => (take(&name)?, name),
        TextField::Pair(first, second) => {
            (format!("{}\n{}", take(&first)?.trim(), take(&second)?.trim()), first)
        }
    };
    if text.trim().is_empty() {
        return Err((format!("the field \"{name}\" is blank"), HINT));
    }
    Ok(text)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
