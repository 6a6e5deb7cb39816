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
    /// Vectors of one space can be compared with each other.
    pub space: String,
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
        Ok(())
    }

    pub(crate) fn to_json(&self) -> String {
        let kind = match self.kind {
            Kind::Text => "text",
            Kind::Image => "image",
            Kind::Vector => "vector",
        };
        let model = self
            .model
            .as_ref()
            .map(|model| json!({"id": model.id, "revision": model.revision, "space": model.space}));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_json() {
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
            let settings = Settings {
                kind: Kind::Image,
                model: Some(ModelRef { id: "m".into(), revision: "r".into(), space: "空间".into() }),
                dim: 384,
                metric,
                index: IndexSpec::hnsw(16),
                target_recall: 0.95,
            };
            assert_eq!(Settings::from_json(&settings.to_json()), Some(settings));
        }
        assert_eq!(Settings::from_json("{}"), None);
        assert_eq!(Settings::from_json("["), None);
    }
}
