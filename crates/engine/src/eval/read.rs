//! Reading a questions file: JSON Lines, a JSON list, or CSV with a header line, told apart by their first character.
//!
//! CSV written by a spreadsheet may be GB18030 and may have semicolons or tabs. A row whose question is empty adds one
//! more accepted answer to the question above it; `;` separates several ids, tags or pages in a cell.
//!
//! Every error names the line and what was expected there. Sizes are bounded before memory is taken.

use super::fields::{EXPECTED, Field, cell, question};
use super::question::{Question, Questions};
use crate::error::{Error, ErrorKind};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Largest questions file, bytes.
pub const MAX_QUESTIONS_FILE_BYTES: usize = 16 << 20;
/// Most questions of one evaluation.
pub const MAX_QUESTIONS: usize = 10_000;

const HINT: &str = "a line of JSON looks like {\"question\": \"...\", \"section\": \"1.10\"}; a CSV file begins with the \
                    names question,section,page,contains; bilin eval --questions-from COLLECTION drafts one";

/// Reads the questions of a file.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] naming the line, [`ErrorKind::TooLarge`] over a limit.
pub fn read_questions(bytes: Vec<u8>) -> Result<Questions, Error> {
    if bytes.len() > MAX_QUESTIONS_FILE_BYTES {
        let message =
            format!("the questions take {} bytes, the limit is {MAX_QUESTIONS_FILE_BYTES}", bytes.len());
        return Err(Error::new(ErrorKind::TooLarge, message).with_hint("evaluate them in several files"));
    }
    let text = bilin_ingest::decode_text(bytes)
        .map_err(|error| Error::invalid(error.to_string()).with_hint("save the questions as UTF-8"))?;
    let mut reading = Reading::default();
    match text.trim_start().chars().next() {
        None => {}
        Some('{') => reading.json_lines(&text)?,
        Some('[') => reading.json_list(&text)?,
        Some(_) => reading.csv(&text)?,
    }
    reading.finish()
}

/// The questions of a list of JSON objects, such as a request carries.
///
/// # Errors
/// As [`read_questions`].
pub fn questions_of(records: &[Map<String, Value>]) -> Result<Questions, Error> {
    let mut reading = Reading::default();
    for (at, record) in records.iter().enumerate() {
        reading.take(record, 0, || format!("question {}", at + 1))?;
    }
    reading.finish()
}

#[derive(Default)]
struct Reading {
    list: Vec<Question>,
    unknown: BTreeSet<String>,
}

impl Reading {
    fn json_lines(&mut self, text: &str) -> Result<(), Error> {
        for (line, content) in (1usize..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty())
        {
            let place = || format!("line {line}");
            let record: Value = serde_json::from_str(content).map_err(|error| {
                // The parser saw one line only; its own line number would mislead.
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                wrong(format!("{}: it is no JSON: {message} at column {}", place(), error.column()))
            })?;
            let Value::Object(record) = record else {
                return Err(wrong(format!("{}: expected a JSON object", place())));
            };
            self.take(&record, line, place)?;
        }
        Ok(())
    }

    fn json_list(&mut self, text: &str) -> Result<(), Error> {
        let list: Vec<Map<String, Value>> = serde_json::from_str(text)
            .map_err(|error| wrong(format!("expected a list of JSON objects: {error}")))?;
        for (at, record) in list.iter().enumerate() {
            self.take(record, 0, || format!("question {}", at + 1))?;
        }
        Ok(())
    }

    fn csv(&mut self, text: &str) -> Result<(), Error> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter(text))
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut header: Option<Vec<String>> = None;
        for row in reader.records() {
            let row = row.map_err(|error| wrong(format!("it is no CSV: {error}")))?;
            let line = row.position().map_or(0, |position| line_of(text, position));
            let Some(names) = &header else {
                header = Some(header_of(&row)?);
                continue;
            };
            if row.len() > names.len() {
                let told = format!("line {line}: expected {} cells, found {}", names.len(), row.len());
                return Err(wrong(told).with_hint("put a cell that holds the delimiter in quotes"));
            }
            let cells = names.iter().zip(&row).filter(|(name, cell)| !name.is_empty() && !cell.is_empty());
            let record: Map<String, Value> =
                cells.map(|(name, text)| (name.clone(), cell(Field::named(name), text))).collect();
            if record.is_empty() {
                continue;
            }
            self.row(record, line)?;
        }
        Ok(())
    }

    /// A row of its own, or one more answer to the question above.
    fn row(&mut self, mut record: Map<String, Value>, line: usize) -> Result<(), Error> {
        let place = || format!("line {line}");
        let has_question = record.keys().any(|name| Field::named(name) == Some(Field::Question));
        let Some(above) = self.list.last_mut().filter(|_| !has_question) else {
            return self.take(&record, line, place);
        };
        record.insert("question".to_owned(), Value::String(above.question.clone()));
        let more =
            question(&record, &mut self.unknown).map_err(|reason| wrong(format!("{}: {reason}", place())))?;
        above.expect.extend(more.expect);
        Ok(())
    }

    fn take(
        &mut self,
        record: &Map<String, Value>,
        line: usize,
        place: impl Fn() -> String,
    ) -> Result<(), Error> {
        if self.list.len() == MAX_QUESTIONS {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("there are more than {MAX_QUESTIONS} questions"),
            )
            .with_hint("evaluate them in several files"));
        }
        let mut taken =
            question(record, &mut self.unknown).map_err(|reason| wrong(format!("{}: {reason}", place())))?;
        taken.line = line;
        self.list.push(taken);
        Ok(())
    }

    fn finish(self) -> Result<Questions, Error> {
        if self.list.is_empty() {
            return Err(wrong("there are no questions".to_owned()));
        }
        Ok(Questions { list: self.list, unknown_fields: self.unknown.into_iter().collect() })
    }
}

fn wrong(message: String) -> Error {
    Error::invalid(message).with_hint(HINT)
}

fn header_of(row: &csv::StringRecord) -> Result<Vec<String>, Error> {
    let names: Vec<String> = row.iter().map(str::to_owned).collect();
    if !names.iter().any(|name| Field::named(name) == Some(Field::Question)) {
        let found: Vec<String> = names
            .iter()
            .take(20)
            .map(|name| format!("{:?}", name.chars().take(40).collect::<String>()))
            .collect();
        let told = format!("line 1: expected the names of columns ({EXPECTED}), found {}", found.join(", "));
        return Err(wrong(told));
    }
    Ok(names)
}

/// The delimiter that stands most often in the first line.
fn delimiter(text: &str) -> u8 {
    let first = text.trim_start().lines().next().unwrap_or_default();
    let count = |delimiter: u8| first.bytes().filter(|byte| *byte == delimiter).count();
    // The first of equals is the usual one.
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

/// Where a record begins, counted from 1: the reader tells where the blank lines before it do.
fn line_of(text: &str, position: &csv::Position) -> usize {
    let before = text.get(position.byte() as usize..).unwrap_or_default();
    let blank = before.chars().take_while(|character| matches!(character, '\n' | '\r'));
    position.line() as usize + blank.filter(|character| *character == '\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Expectation;

    fn read(text: &str) -> Questions {
        read_questions(text.as_bytes().to_vec()).expect("questions")
    }

    fn refused(text: &str) -> String {
        read_questions(text.as_bytes().to_vec()).expect_err("refused").message
    }

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn every_shape_says_the_same() {
        let expected =
            Expectation { section: strings(&["1.10"]), page: strings(&["3", "4"]), ..Expectation::default() };
        for text in [
            "{\"question\": \"架构?\", \"section\": \"1.10\", \"page\": [3, \"4\"]}\n\n",
            "[{\"query\": \"架构?\", \"expected_section\": [\"1.10\"], \"expected_page\": \"3-4\"}]",
            "\u{feff}question,section,page\n架构?,1.10,3;4\n",
            "问题;节;页码\n架构?;1.10;3-4\n",
            "{\"question\": \"架构?\", \"expect\": {\"section\": 1.10, \"pages\": [3, 4]}}"
                .replace("1.10", "\"1.10\"")
                .as_str(),
        ] {
            let read = read(text);
            assert_eq!((read.list.len(), read.list[0].question.as_str()), (1, "架构?"), "{text}");
            assert_eq!(read.list[0].expect, std::slice::from_ref(&expected), "{text}");
            assert!(read.unknown_fields.is_empty());
        }
    }

    #[test]
    fn alternatives_stand_in_lists_or_in_rows_below() {
        let json = "{\"question\": \"q\", \"source\": \"a.md\", \"expect\": [{\"page\": 1}, {\"contains\": \"x, y\"}]}";
        let csv = "question,source,page,contains,half,tags,note\nq,a.md,1,,b,x; y,mine\n,a.md,,\"x, y\",,,\n";
        let (json, csv) = (read(json), read(csv));
        assert_eq!(json.list[0].expect, csv.list[0].expect);
        assert_eq!(json.list[0].expect[1].contains, ["x, y"]);
        assert_eq!(json.list[0].expect[1].source, ["a.md"], "what stands beside holds for each");
        assert_eq!((csv.list[0].half.as_deref(), &csv.list[0].tags), (Some("b"), &strings(&["x", "y"])));
        assert_eq!((csv.unknown_fields, csv.list[0].line), (strings(&["note"]), 2));
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        let good = "{\"question\": \"q\", \"page\": 1}\n";
        for (text, words) in [
            (format!("{good}{{\"question\": \"q\"}}"), ["line 2", "section"]),
            (format!("{good}\n{{\"page\": 1}}"), ["line 3", "no question"]),
            (format!("{good}{{\"question\": \"q\", }}"), ["line 2", "column"]),
            (format!("{good}[1]"), ["line 2", "object"]),
            ("{\"question\": \"q\", \"page\": {\"is\": 1}}".to_owned(), ["line 1", "an object"]),
            ("{\"question\": \"q\", \"expect\": [{\"sectoin\": 1}]}".to_owned(), ["line 1", "sectoin"]),
            ("{\"question\": \"q\", \"page\": \"9-3\"}".to_owned(), ["line 1", "9-3"]),
            ("name,page\na,1\n".to_owned(), ["line 1", "question"]),
            ("question,page\nq,1\nr,1,2\n".to_owned(), ["line 3", "cells"]),
            ("question,page\n\nq,\n".to_owned(), ["line 3", "nothing of the answer"]),
            (" \n".to_owned(), ["no questions", "there"]),
            ("[3]".to_owned(), ["list", "objects"]),
        ] {
            let message = refused(&text);
            assert!(words.iter().all(|word| message.contains(word)), "{text}: {message}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let error = read_questions(vec![b' '; MAX_QUESTIONS_FILE_BYTES + 1]).expect_err("too large");
        assert_eq!(error.kind, ErrorKind::TooLarge);
        let many = "{\"question\": \"q\", \"page\": 1}\n".repeat(MAX_QUESTIONS + 1);
        assert_eq!(read_questions(many.into_bytes()).expect_err("too many").kind, ErrorKind::TooLarge);
    }

    #[test]
    fn a_spreadsheet_in_gb18030_is_read() {
        let (bytes, _, _) =
            encoding_rs::GB18030.encode("问题,页码\n倒排索引的结构是怎样的?,3\n乘积量化为什么节省内存,4\n");
        let questions = read_questions(bytes.into_owned()).expect("questions");
        assert_eq!(questions.list[0].question, "倒排索引的结构是怎样的?");
    }
}
