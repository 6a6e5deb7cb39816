//! Tables beside pictures: a row of a CSV, TSV or JSONL file tells the fields of a picture.
//!
//! A row names its picture by the first of [`PATHS`] that it has (a path relative to the table's folder; where that leads
//! nowhere, its last steps count, as a list made on another machine has them), else by one of [`STEMS`] (the file's name without
//! ending). Every other column is a field. A table without such a column, or whose ids name no picture, is none of ours and
//! passed over. Of two tables that tell the same field, the one in the deeper folder counts. Names are compared, never opened:
//! `../../secret` names no picture, and nothing else happens.

use crate::error::Problem;
use crate::formats::{csv, json_lines};
use crate::walk::Walk;
use crate::{Metadata, encoding};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Columns that name a picture by its path.
const PATHS: &[&str] = &["file_name", "filename", "image_path", "image", "file", "path", "文件名", "图片"];
/// Columns that name it by its file's name without ending.
const STEMS: &[&str] = &["product_id", "id"];
/// The field that is a name and stays text, whatever it looks like.
const PRODUCT_ID: &str = "product_id";
/// Fields that say where a picture lies, which a table cannot know better.
const OURS: &[&str] = &["source", "image_path"];
/// Longest table that is read.
const MAX_TABLE_BYTES: u64 = 64 << 20;
/// Longest fields of one row as JSON, in bytes.
const MAX_ROW_BYTES: usize = 64 << 10;
/// Problems told of one table; the rest is counted.
const MAX_PROBLEMS: usize = 20;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableFormat {
    Csv,
    Tsv,
    JsonLines,
    /// One list of objects: `metadata.json`, as the tutorial's programs write it.
    Json,
}

impl TableFormat {
    /// Of a file of that name.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "json" if path.file_stem()?.to_str()?.ends_with("metadata") => Some(Self::Json),
            _ => None,
        }
    }
}

/// What a table says.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Lines that could not be read, and why.
    problems: Vec<String>,
}

#[derive(Debug)]
struct Row {
    line: u64,
    name: String,
    by_path: bool,
    fields: Metadata,
}

impl Table {
    /// `None`: its columns name no pictures.
    pub(crate) fn read(format: TableFormat, bytes: Vec<u8>) -> Result<Option<Self>, String> {
        let text = encoding::decode(bytes).map_err(|error| error.to_string())?;
        let (rows, problems) = match format {
            TableFormat::Csv => csv::rows(&text, None),
            TableFormat::Tsv => csv::rows(&text, Some(b'\t')),
            TableFormat::JsonLines => json_lines::rows(&text),
            TableFormat::Json => {
                let list: Vec<Metadata> = serde_json::from_str(&text)
                    .map_err(|error| format!("expected a list of JSON objects: {error}"))?;
                ((1..).zip(list).collect(), Vec::new())
            }
        };
        let mut table = Self { rows: Vec::with_capacity(rows.len()), problems };
        for (line, mut fields) in rows {
            let Some((name, by_path)) = take_name(&mut fields) else { continue };
            fields.retain(|field, value| !OURS.contains(&field.as_str()) && !value.is_null());
            match serde_json::to_vec(&fields).map_or(usize::MAX, |json| json.len()) {
                bytes if bytes > MAX_ROW_BYTES => table.problems.push(format!(
                    "line {line}: its fields take {bytes} bytes, the limit is {MAX_ROW_BYTES}"
                )),
                _ => table.rows.push(Row { line, name, by_path, fields }),
            }
        }
        Ok((!table.rows.is_empty()).then_some(table))
    }

    /// Gives fields to pictures; `names` are their `/`-separated names relative to the table's folder. Returns problems, or
    /// `None` where the table is of something else.
    pub(crate) fn assign(
        &self,
        names: &[&str],
        mut give: impl FnMut(usize, &Metadata),
    ) -> Option<Vec<String>> {
        let by_name: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let mut by_stem: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, name) in names.iter().enumerate() {
            by_stem.entry(stem(name)).or_default().push(at);
        }
        let mut missing: Vec<&Row> = Vec::new();
        for row in &self.rows {
            let path = row.name.replace('\\', "/");
            let found = by_path(&by_name, &path);
            match (found, by_stem.get(row.name.as_str())) {
                (Some(at), _) => give(at, &row.fields),
                (None, Some(all)) => all.iter().for_each(|at| give(*at, &row.fields)),
                (None, None) => missing.push(row),
            }
        }
        if missing.len() == self.rows.len() && !self.rows.iter().any(|row| row.by_path) {
            return None;
        }
        let mut problems: Vec<String> = self.problems.iter().take(MAX_PROBLEMS).cloned().collect();
        if self.problems.len() > MAX_PROBLEMS {
            problems.push(format!("{} more lines could not be read", self.problems.len() - MAX_PROBLEMS));
        }
        if let Some(Row { line, name, .. }) = missing.first() {
            let (missing, rows) = (missing.len(), self.rows.len());
            let shown: String = name.chars().take(80).collect();
            problems.push(format!(
                "{missing} of its {rows} rows name pictures that are not there, the first {shown:?} (line {line})"
            ));
        }
        Some(problems)
    }
}

/// The picture that a path means: the path itself, or its last steps.
fn by_path(by_name: &HashMap<&str, usize>, path: &str) -> Option<usize> {
    let mut rest = path.trim_start_matches("./");
    loop {
        if let Some(at) = by_name.get(rest) {
            return Some(*at);
        }
        rest = rest.split_once('/')?.1;
    }
}

fn stem(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// The picture that a row names, and whether by its path. A path is no field of its own.
fn take_name(fields: &mut Metadata) -> Option<(String, bool)> {
    let column = |wanted: &[&str], fields: &Metadata| {
        let named = |name: &&str| fields.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        wanted.iter().find_map(named)
    };
    let path = column(PATHS, fields);
    if let Some(Value::Number(number)) = fields.get(PRODUCT_ID) {
        let text = number.to_string();
        fields.insert(PRODUCT_ID.to_owned(), text.into());
    }
    let name = path.clone().or_else(|| column(STEMS, fields))?;
    let told = match fields.get(&name)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    if path.is_some() {
        fields.shift_remove(&name);
    }
    (!told.is_empty()).then_some((told, path.is_some()))
}

/// Reads the tables that a walk for pictures met, and gives their fields to its pictures.
pub fn read_tables(walk: &mut Walk) {
    let mut tables = std::mem::take(&mut walk.tables);
    // Deeper folders last, so that what they say counts.
    tables.sort_by_key(|path| (path.components().count(), path.clone()));
    for path in tables {
        let read = TableFormat::of_path(&path).map_or(Ok(None), |format| Table::read(format, load(&path)?));
        match read {
            Ok(Some(table)) => assign_in_folder(walk, &path, &table),
            Ok(None) => walk.passed_over += 1,
            Err(reason) => {
                let hint = Some("a table beside pictures tells their fields, a row each".to_owned());
                walk.problems.push(Problem { path, reason, hint, is_partial: false });
            }
        }
    }
}

fn load(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(MAX_TABLE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    match bytes.len() as u64 > MAX_TABLE_BYTES {
        true => Err(format!("it is longer than {MAX_TABLE_BYTES} bytes")),
        false => Ok(bytes),
    }
}

fn assign_in_folder(walk: &mut Walk, path: &Path, table: &Table) {
    let folder = path.parent().unwrap_or(path);
    let below: Vec<(usize, String)> = walk
        .found
        .iter()
        .enumerate()
        .filter_map(|(at, found)| {
            let relative = found.path.strip_prefix(folder).ok()?.to_str()?;
            Some((at, relative.replace(std::path::MAIN_SEPARATOR, "/")))
        })
        .collect();
    let names: Vec<&str> = below.iter().map(|(_, name)| name.as_str()).collect();
    let told = table.assign(&names, |at, fields| {
        let given = below.get(at).and_then(|(at, _)| walk.found.get_mut(*at));
        if let Some(found) = given {
            found.fields.extend(fields.clone());
        }
    });
    match told {
        None => walk.passed_over += 1,
        Some(problems) => walk.problems.extend(problems.into_iter().map(|reason| Problem {
            path: path.to_path_buf(),
            reason,
            hint: Some("a row names its picture by file_name, relative to the table".to_owned()),
            is_partial: false,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given(format: TableFormat, text: &str, names: &[&str]) -> (Vec<Metadata>, Option<Vec<String>>) {
        let table = Table::read(format, text.into()).expect("readable").expect("it names pictures");
        let mut all = vec![Metadata::new(); names.len()];
        let problems = table.assign(names, |at, fields| all[at].extend(fields.clone()));
        (all, problems)
    }

    #[test]
    fn rows_name_pictures_by_path_by_its_end_or_by_stem() {
        let names = ["1.jpg", "birds/2.jpg", "birds/3.b.png"];
        let csv = "file_name,price,category\n./1.jpg,9.5,shoes\nC:\\photos\\birds\\2.jpg,007,birds\n";
        let (all, problems) = given(TableFormat::Csv, csv, &names);
        assert_eq!(problems, Some(Vec::new()));
        assert_eq!(Value::from(all[0].clone()), json!({"price": 9.5, "category": "shoes"}));
        assert_eq!(Value::from(all[1].clone()), json!({"price": "007", "category": "birds"}));
        let lines =
            "{\"product_id\": \"3.b\", \"tags\": [1], \"source\": \"/etc/passwd\"}\n{\"product_id\": 1}\n";
        let (all, problems) = given(TableFormat::JsonLines, lines, &names);
        assert_eq!(problems, Some(Vec::new()));
        assert_eq!(Value::from(all[2].clone()), json!({"product_id": "3.b", "tags": [1]}));
        assert_eq!(Value::from(all[0].clone()), json!({"product_id": "1"}), "an id stays text");
        let list = r#"[{"image_path": "data/forum/1.jpg", "product_id": "p1", "category": "electronics"}]"#;
        let (all, _) = given(TableFormat::Json, list, &names);
        assert_eq!(Value::from(all[0].clone()), json!({"product_id": "p1", "category": "electronics"}));
    }

    #[test]
    fn names_that_lead_elsewhere_name_nothing() {
        let csv = "file_name,price\n../../etc/passwd,1\n/etc/shadow,2\nbirds/../1.jpg,3\nnone.jpg,4\n";
        let (all, problems) = given(TableFormat::Csv, csv, &["a.jpg", "birds/2.jpg"]);
        assert!(all.iter().all(Metadata::is_empty), "{all:?}");
        let told = problems.expect("a table of pictures");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("4 of its 4 rows name pictures that are not there"), "{told:?}");
    }

    #[test]
    fn other_tables_are_passed_over_and_broken_rows_told() {
        assert!(Table::read(TableFormat::Csv, "name,price\nx,1\n".into()).expect("readable").is_none());
        let (_, problems) = given(TableFormat::Csv, "id,text\nq1,hello\n", &["a.jpg"]);
        assert_eq!(problems, None, "ids of something else");
        let (all, problems) = given(TableFormat::Csv, "file,price\na.jpg,1,2\na.jpg,3\n", &["a.jpg"]);
        assert_eq!(Value::from(all[0].clone()), json!({"price": 3}));
        assert!(problems.expect("told")[0].starts_with("line 2: expected 2 cells"), "the row is named");
        assert!(Table::read(TableFormat::Json, "{".into()).is_err());
        let long = format!("file_name,note\na.jpg,{}\na.jpg,ok\n", "x".repeat(MAX_ROW_BYTES));
        let (_, problems) = given(TableFormat::Csv, &long, &["a.jpg"]);
        assert!(problems.expect("told")[0].contains("the limit is"), "a row that is too long is told");
    }
}
