//! What a collection is: kind, model, shape of its vectors, metric and index policy.
//!
//! Kept as one JSON text in the catalog's `settings` table, so that any SQLite tool can read it.
use bilin_index::{IndexSpec, Metric};
use serde_json::{Value, json};

use crate::error::StoreError;

/// Fields of an item: name to JSON value.
pub type Metadata = serde_json::Map<String, Value>;

/// Most dimensions of a vector.
pub const MAX_DIM: usize = 65_536;
/// Longest prompt in bytes.
pub const MAX_PROMPT_BYTES: usize = 8 << 10;

/// What a collection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Passages of text.
    Text,
    /// Pictures.
    Image,
    /// Vectors whose origin only the caller knows.
    Vector,
}

/// Fixed at creation, except `index` and `target_recall`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What the collection holds.
    pub kind: Kind,
    /// Model id, revision and vector space; `None` for bare vectors.
    pub model: Option<ModelRef>,
    /// Length of every vector, 1..=[`MAX_DIM`].
    pub dim: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// Which index `maintain` builds.
    pub index: IndexSpec,
    /// recall@10 that a built index is calibrated to, above 0 and at most 1.
    pub target_recall: f32,
}

/// The encoder that made the vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// Its name.
    pub id: String,
    /// Its revision.
    pub revision: String,
    /// Vectors of one space can be compared with each other; other prompts make another space.
    pub space: String,
    /// How it reads texts here.
    pub reading: Reading,
}

impl ModelRef {
    /// Whether vectors of both may stand in one collection, however long texts are read. Vectors of texts with their headings
    /// would win over those without wherever a question names its topic, so they may not.
    pub fn is_comparable(&self, other: &ModelRef) -> bool {
        self.id == other.id
            && self.revision == other.revision
            && self.space == other.space
            && self.reading.headings == other.reading.headings
    }
}

/// How texts are read, where that is not as the model itself says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Put before a query, at most [`MAX_PROMPT_BYTES`]; `None`: the model's own.
    pub query_prompt: Option<String>,
    /// Put before a document, at most [`MAX_PROMPT_BYTES`]; `None`: the model's own.
    pub document_prompt: Option<String>,
    /// Texts longer than the model reads are read in windows, not cut off.
    pub windows: bool,
    /// Chapter and section are read with a text, in front of it.
    pub headings: bool,
}

impl Settings {
    /// Bounds of every field.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.dim == 0 || self.dim > MAX_DIM {
            return Err(StoreError::Setting {
                name: "dim",
                expected: format!("1 to {MAX_DIM}"),
                received: self.dim.to_string(),
            });
        }
        if !(self.target_recall > 0.0 && self.target_recall <= 1.0) {
            return Err(StoreError::Setting {
                name: "target_recall",
                expected: "a number above 0 and at most 1".to_owned(),
                received: self.target_recall.to_string(),
            });
        }
        let reading = self.model.as_ref().map(|model| &model.reading);
        let prompts = reading.map(|reading| {
            [("query_prompt", &reading.query_prompt), ("document_prompt", &reading.document_prompt)]
        });
        for (name, prompt) in prompts.into_iter().flatten() {
            let bytes = prompt.as_ref().map_or(0, String::len);
            if bytes > MAX_PROMPT_BYTES {
                return Err(StoreError::Setting {
                    name,
                    expected: format!("at most {MAX_PROMPT_BYTES} bytes"),
                    received: format!("{bytes} bytes"),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn to_json(&self) -> String {
        let kind = match self.kind {
            Kind::Text => "text",
            Kind::Image => "image",
            Kind::Vector => "vector",
        };
        let model = self.model.as_ref().map(|model| {
            let mut told = json!({"id": model.id, "revision": model.revision, "space": model.space});
            let Reading { query_prompt, document_prompt, windows, headings } = &model.reading;
            // Only what is not the model's own, so that most settings read as they always did.
            for (name, prompt) in [("query_prompt", query_prompt), ("document_prompt", document_prompt)] {
                if let Some(prompt) = prompt {
                    told[name] = json!(prompt);
                }
            }
            if *windows {
                told["long_texts"] = json!("window");
            }
            if *headings {
                told["headings"] = json!(true);
            }
            told
        });
        json!({
            "kind": kind,
            "model": model,
            "dim": self.dim,
            "metric": self.metric.to_string(),
            "index": self.index.to_string(),
            // Through its decimal form, so that 0.95f32 is written as 0.95.
            "target_recall": self.target_recall.to_string(),
        })
        .to_string()
    }

    /// `None` when any field is missing or out of bounds: the catalog is then not one of ours.
    pub(crate) fn from_json(text: &str) -> Option<Settings> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |field: &Value, name: &str| Some(field.get(name)?.as_str()?.to_owned());
        let model = match value.get("model")? {
            Value::Null => None,
            model => Some(ModelRef {
                id: text(model, "id")?,
                revision: text(model, "revision")?,
                space: text(model, "space")?,
                reading: Reading::from_json(model)?,
            }),
        };
        let settings = Settings {
            kind: match value.get("kind")?.as_str()? {
                "text" => Kind::Text,
                "image" => Kind::Image,
                "vector" => Kind::Vector,
                _ => return None,
            },
            model,
            dim: usize::try_from(value.get("dim")?.as_u64()?).ok()?,
            metric: text(&value, "metric")?.parse().ok()?,
            index: text(&value, "index")?.parse().ok()?,
            target_recall: text(&value, "target_recall")?.parse().ok()?,
        };
        settings.check().ok().map(|()| settings)
    }
}

impl Reading {
    /// Of a model's settings; `None` when a field is of another type or value.
    fn from_json(model: &Value) -> Option<Reading> {
        let prompt = |name: &str| match model.get(name) {
            None => Some(None),
            Some(prompt) => prompt.as_str().map(|prompt| Some(prompt.to_owned())),
        };
        let windows = match model.get("long_texts") {
            None => false,
            Some(word) if word == "window" => true,
            Some(_) => return None,
        };
        let headings = match model.get("headings") {
            None => false,
            Some(headings) => headings.as_bool()?,
        };
        Some(Reading {
            query_prompt: prompt("query_prompt")?,
            document_prompt: prompt("document_prompt")?,
            windows,
            headings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_json() {
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
            let settings = Settings {
                kind: Kind::Image,
                model: Some(ModelRef {
                    id: "m".into(),
                    revision: "r".into(),
                    space: "空间".into(),
                    reading: Reading::default(),
                }),
                dim: 384,
                metric,
                index: IndexSpec::hnsw(16),
                target_recall: 0.95,
            };
            assert_eq!(Settings::from_json(&settings.to_json()), Some(settings));
        }
        assert_eq!(Settings::from_json("{}"), None);
    }

    #[test]
    fn prompts_and_windows_survive_their_json() {
        let reading = Reading {
            query_prompt: Some("query: ".into()),
            document_prompt: Some(String::new()),
            windows: true,
            headings: true,
        };
        let model = ModelRef { id: "m".into(), revision: "r".into(), space: "s".into(), reading };
        let settings = Settings {
            kind: Kind::Text,
            model: Some(model),
            dim: 4,
            metric: Metric::Cosine,
            index: IndexSpec::FLAT,
            target_recall: 0.95,
        };
        let json = settings.to_json();
        assert_eq!(Settings::from_json(&json), Some(settings.clone()));
        // As folders of before have it.
        let before = json.replace(
            r#","query_prompt":"query: ","document_prompt":"","long_texts":"window","headings":true"#,
            "",
        );
        assert_ne!(before, json);
        let read = Settings::from_json(&before).and_then(|settings| settings.model).expect("a model");
        assert_eq!(read.reading, Reading::default());
        assert_eq!(Settings::from_json(&json.replace("\"window\"", "\"folded\"")), None);
        let mut long = settings;
        if let Some(model) = &mut long.model {
            model.reading.query_prompt = Some("x".repeat(MAX_PROMPT_BYTES + 1));
        }
        assert!(long.check().is_err_and(|error| error.to_string().contains("query_prompt")));
    }

    #[test]
    fn what_is_no_settings_is_refused() {
        assert_eq!(Settings::from_json("["), None);
    }
}
