//! From a filter to a condition in SQL over the JSON column `metadata`.
//!
//! Invariant: the text of the condition holds only our own words and numbers of parameters; every field and value is bound.
//! Chains are nested as balanced trees, because SQLite bounds the depth of an expression.
//!
//! Numbers: comparing with a `CAST(.. AS NUMERIC)` gives the other side numeric affinity, so that a string that spells a
//! number becomes one; other strings sort above every number, which the bound at infinity excludes
//! (<https://sqlite.org/datatype3.html#comparison_expressions>).
use std::collections::HashMap;

use rusqlite::types::Value as Sql;

use super::{Comparison, Node, Value};

const INFINITY: &str = "CAST(9e999 AS REAL)";

pub(super) fn translate(root: &Node) -> (String, Vec<Sql>) {
    let mut writer = Writer { parameters: Vec::new(), paths: HashMap::new() };
    let condition = writer.condition(root);
    (condition, writer.parameters)
}

struct Writer {
    parameters: Vec<Sql>,
    /// Parameter of each field's JSON path.
    paths: HashMap<String, String>,
}

impl Writer {
    fn condition(&mut self, node: &Node) -> String {
        match node {
            Node::Or(parts) => {
                let parts = parts.iter().map(|part| self.condition(part)).collect();
                balanced(parts, "OR")
            }
            Node::And(parts) => {
                let parts = parts.iter().map(|part| self.condition(part)).collect();
                balanced(parts, "AND")
            }
            Node::Not(inner) => format!("(NOT {})", self.condition(inner)),
            Node::Compare { field, comparison: Comparison::NotEqual, value } => {
                format!("(NOT {})", self.compare(field, Comparison::Equal, value))
            }
            Node::Compare { field, comparison, value } => self.compare(field, *comparison, value),
            Node::In { field, values } => {
                let parts =
                    values.iter().map(|value| self.compare(field, Comparison::Equal, value)).collect();
                balanced(parts, "OR")
            }
            Node::Like { field, pattern } => {
                let (kind, content) = self.access(field);
                let pattern = self.bind(Sql::Text(pattern.clone()));
                format!("(({kind} = 'text' AND {content} LIKE {pattern} ESCAPE '\\') IS TRUE)")
            }
            Node::Exists { field } => {
                let (kind, _) = self.access(field);
                format!("(({kind} <> 'null') IS TRUE)")
            }
        }
    }

    /// Never NULL, so that NOT is its exact opposite.
    fn compare(&mut self, field: &str, comparison: Comparison, value: &Value) -> String {
        let (kind, content) = self.access(field);
        let sign = comparison.symbol();
        let test = match value {
            Value::Integer(number) => self.compare_number(&kind, &content, sign, Sql::Integer(*number), true),
            Value::Real(number) => self.compare_number(&kind, &content, sign, Sql::Real(*number), true),
            Value::Text(text) => {
                let bound = self.bind(Sql::Text(text.clone()));
                let as_text = format!("{kind} = 'text' AND {content} {sign} {bound}");
                match spelled_number(text) {
                    Some(number) => {
                        let as_number = self.compare_number(&kind, &content, sign, number, false);
                        format!("({as_text}) OR ({as_number})")
                    }
                    None if comparison == Comparison::Equal && matches!(text.as_str(), "true" | "false") => {
                        format!("({as_text}) OR {kind} = {bound}")
                    }
                    None => as_text,
                }
            }
            Value::Boolean(value) => {
                let bound = self.bind(Sql::Text(value.to_string()));
                format!("{kind} = {bound} OR ({kind} = 'text' AND {content} = {bound})")
            }
            Value::Null => format!("{kind} IS NULL OR {kind} = 'null'"),
        };
        format!("(({test}) IS TRUE)")
    }

    fn compare_number(
        &mut self,
        kind: &str,
        content: &str,
        sign: &str,
        number: Sql,
        with_text: bool,
    ) -> String {
        let bound = self.bind(number);
        let text = if with_text { ", 'text'" } else { "" };
        format!(
            "{kind} IN ('integer', 'real'{text}) AND {content} {sign} CAST({bound} AS NUMERIC) AND {content} < {INFINITY}"
        )
    }

    /// SQL for the JSON type and the content of a field.
    fn access(&mut self, field: &str) -> (String, String) {
        let path = match self.paths.get(field) {
            Some(path) => path.clone(),
            None => {
                // The parser lets no quotation mark or backslash into a field.
                let path = self.bind(Sql::Text(format!("$.\"{field}\"")));
                self.paths.insert(field.to_owned(), path.clone());
                path
            }
        };
        (format!("json_type(metadata, {path})"), format!("json_extract(metadata, {path})"))
    }

    fn bind(&mut self, value: Sql) -> String {
        self.parameters.push(value);
        format!("?{}", self.parameters.len() + 1)
    }
}

fn spelled_number(text: &str) -> Option<Sql> {
    let spelled = text.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'+' | b'-' | b'e' | b'E'));
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Sql::Integer(integer));
    }
    text.parse::<f64>().ok().filter(|real| spelled && real.is_finite()).map(Sql::Real)
}

fn balanced(mut parts: Vec<String>, word: &str) -> String {
    while parts.len() > 1 {
        let mut pairs = Vec::with_capacity(parts.len().div_ceil(2));
        let mut rest = parts.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => format!("({left} {word} {right})"),
                None => left,
            });
        }
        parts = pairs;
    }
    parts.pop().unwrap_or_else(|| "1".to_owned())
}
