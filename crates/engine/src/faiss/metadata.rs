//! The list of metadata beside a FAISS index: reading its shapes, writing ours.

use crate::add::{MAX_METADATA_BYTES, MAX_TEXT_BYTES, check_id};
use crate::error::{Error, ErrorKind};
use crate::storage::ViewItem;
use bilin_store::{Kind, Metadata};
use serde_json::{Value, json};
use std::path::Path;

/// What the list says of one vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    /// The document's id.
    pub(super) id: Option<String>,
    pub(super) text: Option<String>,
    pub(super) metadata: Metadata,
}

/// Reads a list; errors name the file and the entry.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, Error> {
    let context = || format!("metadata file {:?}", path.display().to_string());
    let bytes = super::import::read_file(path, "metadata file")?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("{}: it is no JSON: {error}", context())))?;
    let Value::Array(list) = value else {
        return Err(Error::invalid(format!("{}: expected a list, one entry per vector", context()))
            .with_hint("it should look like [{\"text\": \"..\", \"metadata\": {..}}, ..]"));
    };
    list.into_iter()
        .enumerate()
        .map(|(at, value)| entry(value).map_err(|error| error.within(&format!("{}, entry {at}", context()))))
        .collect()
}

/// One entry in any of the shapes.
fn entry(value: Value) -> Result<Entry, Error> {
    let mut fields = match value {
        Value::Object(fields) => fields,
        Value::String(text) => return checked(Entry { text: Some(text), ..Entry::default() }),
        other => return Err(Error::invalid(format!("expected an object, received {}", shortened(&other)))),
    };
    let text = match fields.shift_remove("text") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => {
            return Err(Error::invalid(format!("its text is {}, expected a string", shortened(&other))));
        }
    };
    let id = match fields.get("id") {
        Some(Value::String(id)) => Some(id.clone()),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    if id.is_some() {
        fields.shift_remove("id");
    }
    let metadata = match fields.shift_remove("metadata") {
        // What stands beside it belongs to it too, but what stands inside counts more.
        Some(Value::Object(mut inner)) => {
            for (key, value) in fields {
                inner.entry(key).or_insert(value);
            }
            inner
        }
        None | Some(Value::Null) => fields,
        Some(other) => {
            return Err(Error::invalid(format!("its metadata is {}, expected an object", shortened(&other))));
        }
    };
    checked(Entry { id, text: text.filter(|text| !text.is_empty()), metadata })
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

fn checked(entry: Entry) -> Result<Entry, Error> {
    let too_large = |what: &str, bytes: usize, limit: usize| {
        let message = format!("its {what} takes {bytes} bytes, the limit is {limit}");
        Err(Error::new(ErrorKind::TooLarge, message))
    };
    if let Some(id) = &entry.id {
        check_id(id)?;
    }
    let text = entry.text.as_ref().map_or(0, String::len);
    if text > MAX_TEXT_BYTES {
        return too_large("text", text, MAX_TEXT_BYTES);
    }
    let metadata = serde_json::to_vec(&entry.metadata).map_or(0, |json| json.len());
    if metadata > MAX_METADATA_BYTES {
        return too_large("metadata", metadata, MAX_METADATA_BYTES);
    }
    Ok(entry)
}

/// The entry of an item in an export.
pub(super) fn written(kind: Kind, item: ViewItem) -> Value {
    let ViewItem { document, text, mut metadata, .. } = item;
    if kind != Kind::Image {
        let mut entry = json!({"id": document});
        if let Some(text) = text {
            entry["text"] = Value::String(text);
        }
        entry["metadata"] = Value::Object(metadata);
        return entry;
    }
    // What a program about pictures looks for is there under its names, as in answers of `/image-search`.
    let source = metadata.get("source").and_then(Value::as_str).unwrap_or(&document).to_owned();
    let file_name = source.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem).to_owned();
    metadata.entry("image_path").or_insert(Value::String(source));
    metadata.entry("product_id").or_insert(Value::String(stem));
    metadata.insert("id".to_owned(), Value::String(document));
    Value::Object(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(value: Value) -> Entry {
        entry(value).expect("an entry")
    }

    #[test]
    fn every_shape_is_understood() {
        let plain = read_one(json!({"source": "维基百科", "text": "FAISS"}));
        assert_eq!((plain.text.as_deref(), plain.id), (Some("FAISS"), None));
        assert_eq!(Value::Object(plain.metadata), json!({"source": "维基百科"}));

        let nested = read_one(json!({"text": "a", "metadata": {"id": "doc_001", "page": 3}}));
        assert_eq!(nested.id, None, "an id inside the metadata is a field like any other");
        assert_eq!(Value::Object(nested.metadata), json!({"id": "doc_001", "page": 3}));

        let picture =
            read_one(json!({"image_path": "shop/1.jpg", "product_id": "1", "category": "electronics"}));
        assert_eq!((picture.text, picture.metadata.len()), (None, 3));

        let exported =
            read_one(json!({"id": 7, "text": "", "metadata": {"page": 1}, "page": 2, "note": "x"}));
        assert_eq!((exported.id.as_deref(), exported.text), (Some("7"), None));
        assert_eq!(Value::Object(exported.metadata), json!({"page": 1, "note": "x"}));
        assert_eq!(read_one(json!("only text")).text.as_deref(), Some("only text"));
    }

    #[test]
    fn bad_entries_say_what_is_wrong() {
        for (value, word) in [
            (json!(3), "expected an object"),
            (json!({"text": 5}), "text is 5"),
            (json!({"metadata": []}), "metadata is []"),
            (json!({"id": ""}), "empty"),
            (json!({"note": "x".repeat(MAX_METADATA_BYTES)}), "limit"),
        ] {
            let error = entry(value).expect_err(word);
            assert!(error.message.contains(word), "{error}");
        }
    }
}
