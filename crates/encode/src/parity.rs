//! Vectors compared with reference vectors: of PyTorch, or of the same model in another precision.
//!
//! Both sides at unit length, in the same space; the two figures that tell how near they are: the largest difference of any
//! one number, and the smallest cosine. References of the built-in models are part of the binary
//! (`fixtures/make_fixtures.py` computed them with PyTorch).

use serde::{Deserialize, Serialize};

use crate::encoder::{EncodeError, Encoder, Input, Modality, Prompt};
use crate::math::elementwise::normalise;
use crate::models::{DEFAULT_IMAGE_MODEL, DEFAULT_TEXT_MODEL};
use crate::picture::{Picture, PictureLimits};

const TEXTS: &str = include_str!("../fixtures/text.json");
const PICTURES: &str = include_str!("../fixtures/pictures.json");
/// Pictures of the binary by name. Those without loss decode to the same pixels everywhere.
const FILES: [(&str, &[u8]); 4] = [
    ("astronaut.png", include_bytes!("../fixtures/pictures/astronaut.png")),
    ("rocket.webp", include_bytes!("../fixtures/pictures/rocket.webp")),
    ("cat.jpg", include_bytes!("../fixtures/pictures/cat.jpg")),
    ("coffee.jpg", include_bytes!("../fixtures/pictures/coffee.jpg")),
];
/// Of the above, the files whose pixels depend on the decoder: they have no reference vectors here.
const LOSSY: &str = ".jpg";
/// Texts of many kinds beside those that have references: short and long, Chinese, English and mixed, questions and passages.
const MORE_TEXTS: [&str; 12] = [
    "cat",
    "向量",
    "How do I reset my password?",
    "怎样让检索更快又更省内存?",
    "The mitochondrion is the powerhouse of the cell.",
    "《红楼梦》共一百二十回,前八十回的作者是曹雪芹。",
    "Order #4711 was shipped on 2024-05-17 and costs 39.90 EUR.",
    "def search(query, k=10): return index.search(encode(query), k)",
    "用 FAISS 建 IVF-PQ index 时,nlist 和 nprobe 怎么选?",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.",
    "上海明天多云转小雨,最高气温二十三度。",
    "naïve café, jalapeño, Zürich, smörgåsbord",
];

/// What has a reference vector.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Of a text model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// `query`, `document` or `none`: which of the model's prompts stands before the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Of a picture model: one of the binary, or a path that the reader makes something of.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "file")]
    pub picture: Option<String>,
    /// Tokens that the model reads, for people.
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "written by the fixtures, for people")]
    tokens: Option<usize>,
    /// `[dim]`, of any length but zero.
    pub vector: Vec<f32>,
}

/// How near two sets of vectors are.
#[derive(Clone, Debug, PartialEq)]
pub struct Parity {
    /// Vectors compared.
    pub compared: usize,
    /// Of any one number of unit vectors.
    pub largest_difference: f32,
    /// Of any pair.
    pub smallest_cosine: f32,
    /// Position of the pair with the smallest cosine, from 0.
    pub worst: usize,
}

impl Default for Parity {
    /// Of nothing yet.
    fn default() -> Parity {
        Parity { compared: 0, largest_difference: 0.0, smallest_cosine: 1.0, worst: 0 }
    }
}

impl Parity {
    /// Takes in vectors `[n, dim]` and what they should be, both row-major; the latter need not be of unit length.
    pub fn compare(&mut self, vectors: &[f32], expected: &[f32], dim: usize) {
        for (vector, expected) in vectors.chunks_exact(dim).zip(expected.chunks_exact(dim)) {
            let mut unit = expected.to_vec();
            normalise(&mut unit);
            let differences = vector.iter().zip(&unit).map(|(a, b)| (a - b).abs());
            self.largest_difference = differences.fold(self.largest_difference, f32::max);
            // In f64: the cosine of equal vectors is to be 1.
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let length = (dot(vector, vector) * dot(&unit, &unit)).sqrt();
            let cosine = (dot(vector, &unit) / length.max(f64::MIN_POSITIVE)) as f32;
            if cosine < self.smallest_cosine {
                (self.smallest_cosine, self.worst) = (cosine, self.compared);
            }
            self.compared += 1;
        }
    }
}

/// The references of a built-in model: PyTorch's vectors from the same weights.
pub fn references(id: &str) -> Option<Vec<Reference>> {
    let json = match id {
        DEFAULT_TEXT_MODEL => TEXTS,
        DEFAULT_IMAGE_MODEL => PICTURES,
        _ => return None,
    };
    // A constant of the binary: a test reads it.
    let mut references: Vec<Reference> = serde_json::from_str(json).unwrap_or_default();
    references.retain(|reference| reference.picture.as_ref().is_none_or(|name| !name.ends_with(LOSSY)));
    Some(references)
}

/// A picture of the binary by name, decoded.
pub fn sample_picture(name: &str) -> Option<Picture> {
    let (_, bytes) = FILES.iter().find(|(known, _)| *known == name)?;
    Picture::decode(bytes, &PictureLimits::default()).ok()
}

/// What two forms of a model are compared on, or references are written for: without vectors.
pub fn samples(modality: Modality) -> Vec<Reference> {
    let empty = Reference { text: None, prompt: None, picture: None, tokens: None, vector: Vec::new() };
    if modality == Modality::Image {
        let picture =
            |(name, _): &(&str, &[u8])| Reference { picture: Some((*name).to_owned()), ..empty.clone() };
        return FILES.iter().map(picture).collect();
    }
    let mut samples = references(DEFAULT_TEXT_MODEL).unwrap_or_default();
    samples.iter_mut().for_each(|sample| sample.vector.clear());
    let prompts = ["query", "document", "none"];
    samples.extend(MORE_TEXTS.iter().zip(prompts.iter().cycle()).map(|(text, prompt)| Reference {
        text: Some((*text).to_owned()),
        prompt: Some((*prompt).to_owned()),
        ..empty.clone()
    }));
    samples
}

/// Vectors `[n, dim]` of [`samples`].
pub(crate) fn encode_samples(encoder: &dyn Encoder) -> Result<Vec<f32>, EncodeError> {
    let samples = samples(encoder.card().modality);
    let pictures: Vec<Picture> =
        samples.iter().filter_map(|sample| sample_picture(sample.picture.as_deref()?)).collect();
    let mut inputs: Vec<Input<'_>> = pictures.iter().map(Input::Picture).collect();
    for sample in &samples {
        if let Some(text) = &sample.text {
            inputs.push(Input::Text { text, prompt: side(sample.prompt.as_deref()).unwrap_or(Prompt::None) });
        }
    }
    Ok(encoder.encode(&inputs)?.vectors)
}

/// The prompt of that name; none is [`Prompt::None`].
pub fn side(name: Option<&str>) -> Option<Prompt> {
    match name {
        Some("query") => Some(Prompt::Query),
        Some("document") => Some(Prompt::Document),
        Some("none") | None => Some(Prompt::None),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_models_have_references_and_samples() {
        let texts = references(DEFAULT_TEXT_MODEL).expect("references");
        let pictures = references(DEFAULT_IMAGE_MODEL).expect("references");
        assert_eq!((texts.len(), pictures.len()), (11, 2));
        assert!(pictures.iter().all(|one| sample_picture(one.picture.as_deref().expect("a name")).is_some()));
        assert!(references("other").is_none());
        assert_eq!(samples(Modality::Text).len(), 11 + MORE_TEXTS.len());
        assert!(samples(Modality::Text).iter().all(|sample| side(sample.prompt.as_deref()).is_some()));
        assert_eq!(samples(Modality::Image).len(), FILES.len());
    }

    #[test]
    fn the_worst_pair_is_found_and_lengths_do_not_matter() {
        let mut parity = Parity::default();
        parity.compare(&[1.0, 0.0, 0.6, 0.8], &[5.0, 0.0, 0.8, 0.6], 2);
        assert_eq!((parity.compared, parity.worst), (2, 1));
        assert!(
            (parity.smallest_cosine - 0.96).abs() < 1e-6 && (parity.largest_difference - 0.2).abs() < 1e-6
        );
        let before = parity.clone();
        parity.compare(&[0.0, 1.0], &[0.0, 0.1], 2);
        assert_eq!(parity, Parity { compared: 3, ..before });
    }
}
