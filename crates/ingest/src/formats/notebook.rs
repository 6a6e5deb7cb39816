//! Jupyter notebooks (nbformat 3 and 4): Markdown cells with their headings, code cells as listings, text outputs in short.
//!
//! Pictures and widgets among the outputs are left out, and so are the details of errors: their last line says it.

use crate::error::IngestError;
use crate::formats::markdown::blocks;
use crate::outline::{Block, Outline, Section};
use serde_json::Value;

/// Longest output of a cell that is kept, in lines and in characters.
const MAX_OUTPUT_LINES: usize = 40;
const MAX_OUTPUT_CHARS: usize = 2000;

/// The sections of a notebook.
pub(crate) fn sections(text: &str) -> Result<Vec<Section>, IngestError> {
    let damaged = |reason: String| IngestError::Damaged { format: "Jupyter notebook", reason };
    let notebook: Value =
        serde_json::from_str(text).map_err(|error| damaged(format!("not JSON: {error}")))?;
    let sheets = notebook.get("worksheets").and_then(Value::as_array).into_iter().flatten();
    let lists = sheets.filter_map(|sheet| sheet.get("cells")).chain(notebook.get("cells"));
    let cells: Vec<&Value> = lists.filter_map(Value::as_array).flatten().collect();
    if cells.is_empty() && notebook.get("cells").is_none() {
        return Err(damaged("it has no cells".into()));
    }
    let mut outline = Outline::default();
    for cell in cells {
        let source = text_of(cell.get("source").or_else(|| cell.get("input")));
        match cell.get("cell_type").and_then(Value::as_str) {
            Some("markdown") => outline = blocks::read_into(outline, &source),
            Some("heading") => {
                let level =
                    cell.get("level").and_then(Value::as_u64).and_then(|level| u8::try_from(level).ok());
                outline.push(Block::heading(level.unwrap_or(1), source));
            }
            Some("code") => {
                outline.push(Block::Code { text: source, depth: 0 });
                for output in cell.get("outputs").and_then(Value::as_array).into_iter().flatten() {
                    outline.push(Block::Code { text: output_text(output), depth: 0 });
                }
            }
            _ => {}
        }
    }
    Ok(outline.finish())
}

/// A text that may be given as a list of its lines.
fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

fn output_text(output: &Value) -> String {
    let data = |name: &str| output.get("data").and_then(|data| data.get(name));
    let text = match output.get("output_type").and_then(Value::as_str) {
        Some("error" | "pyerr") => {
            let field = |name: &str| output.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("{}: {}", field("ename"), field("evalue"))
        }
        _ => text_of(output.get("text").or_else(|| data("text/plain")).or_else(|| data("text/markdown"))),
    };
    shortened(&text)
}

fn shortened(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let cut = lines.len() > MAX_OUTPUT_LINES;
    lines.truncate(MAX_OUTPUT_LINES);
    let mut kept: String = lines.join("\n");
    let end = kept.char_indices().nth(MAX_OUTPUT_CHARS).map(|(end, _)| end);
    if let Some(end) = end {
        kept.truncate(end);
    }
    if cut || end.is_some() {
        kept.push_str("\n...");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_sections_listings_and_short_outputs() {
        let long: Vec<String> = (0..100).map(|line| format!("第 {line} 行\n")).collect();
        let notebook = json!({"nbformat": 4, "cells": [
            {"cell_type": "markdown", "source": ["# 向量检索\n", "\n", "第一段。"]},
            {"cell_type": "code", "source": "import faiss\n# 不是标题", "outputs": [
                {"output_type": "stream", "text": long},
                {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": "<Figure>"}},
                {"output_type": "error", "ename": "ValueError", "evalue": "维度不对", "traceback": ["…"]}]},
            {"cell_type": "markdown", "source": "## 小结\n完。"}]});
        let sections = sections(&notebook.to_string()).unwrap();
        assert_eq!(sections[0].path, ["向量检索"]);
        assert_eq!(sections[1].path, ["向量检索", "小结"]);
        let units: Vec<&str> = sections[0].units.iter().map(|unit| unit.text.as_str()).collect();
        assert_eq!((units[0], units[1]), ("第一段。", "import faiss\n# 不是标题"));
        assert!(units[2].ends_with("第 39 行\n...") && units[3] == "<Figure>", "{units:?}");
        assert_eq!(units[4], "ValueError: 维度不对");
    }

    #[test]
    fn what_is_no_notebook_says_so() {
        assert!(matches!(sections("{"), Err(IngestError::Damaged { .. })));
        assert!(matches!(sections("{}"), Err(IngestError::Damaged { .. })));
        assert!(sections("{\"cells\": []}").unwrap().is_empty());
    }
}
