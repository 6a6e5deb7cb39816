//! JSON Lines: one JSON object per line (<https://jsonlines.org>); blank lines are passed over. Values keep their JSON types.

use crate::formats::record::Records;
use crate::read::ReadFile;
use crate::split::{Budget, Split};
use crate::{Found, Metadata};
use serde_json::Value;

/// The objects of a file, each with its line; and what is wrong with other lines.
pub(crate) fn rows(text: &str) -> (Vec<(u64, Metadata)>, Vec<String>) {
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (line, content) in (1u64..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        match serde_json::from_str::<Metadata>(content) {
            Ok(fields) => rows.push((line, fields)),
            Err(_) => problems.push(format!("line {line}: not a JSON object")),
        }
    }
    (rows, problems)
}

pub(crate) fn read(text: &str, found: &Found, split: Split, budget: Budget<'_>) -> ReadFile {
    const HINT: &str =
        "each line is one JSON object, such as {\"id\": \"a1\", \"text\": \"...\", \"year\": 2024}";
    let mut records = Records::new(found, split, budget);
    for (line, content) in (1u64..).zip(text.lines()) {
        if content.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Value>(content) {
            Ok(Value::Object(fields)) => records.push(line, fields),
            Ok(_) => records.problem(line, "not a JSON object", HINT),
            Err(error) => {
                // The parser saw one line only; its own line number would mislead.
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                records.problem(line, &format!("not JSON: {message} at column {}", error.column()), HINT);
            }
        }
    }
    records.finish()
}
