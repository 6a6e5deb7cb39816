//! Front matter: a YAML mapping between two `---` lines at the very start of a Markdown file (as Jekyll and Hugo have it).
//!
//! Its scalars and lists of scalars become metadata of every item of the file, with their JSON types. What does not parse as
//! a mapping is no front matter but text, so that nothing is lost.

use crate::Metadata;
use serde_json::Value;

/// Longer front matter is text: it would be stored with every item.
const MAX_BYTES: usize = 16 * 1024;

/// Metadata of the front matter, and the text after it.
pub(crate) fn split_off(text: &str) -> (Metadata, &str) {
    parse(text).unwrap_or_else(|| (Metadata::new(), text))
}

fn parse(text: &str) -> Option<(Metadata, &str)> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next()?;
    if first.trim_end() != "---" {
        return None;
    }
    let start = first.len();
    let mut end = start;
    for line in lines {
        if matches!(line.trim_end(), "---" | "...") {
            let fields = mapping(text.get(start..end)?)?;
            return Some((fields, text.get(end + line.len()..)?));
        }
        end += line.len();
        if end - start > MAX_BYTES {
            break;
        }
    }
    None
}

fn mapping(yaml: &str) -> Option<Metadata> {
    if yaml.trim().is_empty() {
        return Some(Metadata::new());
    }
    let Value::Object(fields) = serde_saphyr::from_str::<Value>(yaml).ok()? else { return None };
    Some(fields.into_iter().filter(|(_, value)| is_plain(value)).collect())
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::Null | Value::Object(_) => false,
        Value::Array(values) => values.iter().all(|value| !value.is_array() && !value.is_object()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_metadata() {
        let text = "---\ntitle: 向量检索\ntags: [faiss, \"索引\"]\ndraft: false\nweight: 3\nmenu:\n  main: {}\n---\n# 正文\n";
        let (fields, rest) = split_off(text);
        assert_eq!(rest, "# 正文\n");
        let json = serde_json::to_value(&fields).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"title": "向量检索", "tags": ["faiss", "索引"], "draft": false, "weight": 3})
        );
    }

    #[test]
    fn anything_else_is_text() {
        for text in [
            "---\n\n正文\n\n---\n",
            "---\n- a\n- b\n---\n",
            "正文\n---\na: b\n---\n",
            "---\na: b\n",
            "---\na: [\n---\nx",
        ] {
            assert_eq!(split_off(text), (Metadata::new(), text));
        }
        assert_eq!(
            split_off("---\r\na: b\r\n---\r\nx"),
            (Metadata::from_iter([("a".into(), "b".into())]), "x")
        );
    }
}
