//! `POST /v1/embeddings`: texts to vectors, in the shape of OpenAI's API.
//!
//! Numbers, or base64 of little-endian f32, as its clients ask for by default. `input_type` is ours: models such as E5
//! want questions and passages marked differently. What its clients may send and this service cannot do (tokens instead of texts,
//! shorter vectors) is refused and not passed over: the vectors would be others than those asked for.

use super::crossing::Weight;
use super::error::{ApiError, ErrorBody};
use super::extract::Json;
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use base64::Engine as _;
use bilin_engine::{Error, Prompt};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Texts that are as much work as a search.
const TEXTS_PER_PLACE: usize = 16;

/// One text or several.
// `Serialize` is there for its attribute, which the API description reads; reading is written by hand for its messages.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TextInput {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for TextInput {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<TextInput, D::Error> {
        reader.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;
impl<'de> Visitor<'de> for InputVisitor {
    type Value = TextInput;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E>(self, text: &str) -> Result<TextInput, E> {
        Ok(TextInput::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextInput, A::Error> {
        let mut texts = Vec::new();
        while let Some(OneText(text)) = items.next_element()? {
            texts.push(text);
        }
        Ok(TextInput::Many(texts))
    }
}

/// An element of `input`: a text. OpenAI's API also takes numbers of tokens, of its own vocabularies.
struct OneText(String);
impl<'de> Deserialize<'de> for OneText {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<OneText, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = OneText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a string (token numbers belong to another model's vocabulary: send the text itself)",
                )
            }

            fn visit_str<E>(self, text: &str) -> Result<OneText, E> {
                Ok(OneText(text.to_owned()))
            }
        }
        reader.deserialize_any(TextVisitor)
    }
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// An array of numbers.
    #[default]
    Float,
    /// Base64 of little-endian 32-bit floats.
    Base64,
}

/// Which side of a search the texts are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Questions.
    Query,
    /// Passages to be found.
    #[default]
    Document,
    /// Texts that are compared with each other.
    None,
}

/// Texts to encode.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsRequest {
    input: TextInput,
    /// A text model of this server; the default one when left out.
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    encoding_format: EncodingFormat,
    #[serde(default)]
    input_type: InputType,
    /// Numbers in a vector, as the model gives them; another count is refused.
    #[serde(default)]
    #[schema(minimum = 1, example = 384)]
    dimensions: Option<usize>,
    /// Taken for the sake of OpenAI's clients, and not used.
    #[serde(default)]
    #[expect(dead_code, reason = "accepted so that clients need no change")]
    user: Option<String>,
}

/// Vectors, in the order of the texts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbeddingsResponse {
    #[schema(example = "list")]
    object: &'static str,
    data: Vec<EmbeddingView>,
    model: String,
    usage: UsageView,
}

/// How much the model read.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct UsageView {
    /// Tokens of all texts, the model's prompt and special tokens included; what it cuts off is not counted.
    prompt_tokens: usize,
    /// The same: nothing is generated.
    total_tokens: usize,
}

/// One vector.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbeddingView {
    #[schema(example = "embedding")]
    object: &'static str,
    index: usize,
    embedding: VectorView,
}

/// A vector as asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum VectorView {
    /// Numbers.
    Float(Vec<f32>),
    /// Base64 of little-endian 32-bit floats.
    Base64(String),
}

/// Vectors of texts
#[utoipa::path(post, path = "/v1/embeddings", operation_id = "createEmbeddings", tag = "search", request_body = EmbeddingsRequest,
    responses((status = 200, body = EmbeddingsResponse), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn embeddings(
    State(state): State<AppState>,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Answer<EmbeddingsResponse>, ApiError> {
    let texts = match request.input {
        TextInput::One(text) => vec![text],
        TextInput::Many(texts) => texts,
    };
    if texts.is_empty() {
        return Err(ApiError::invalid(
            "input: expected at least one text, received none",
            "send a string or several",
        ));
    }
    let prompt = match request.input_type {
        InputType::Query => Prompt::Query,
        InputType::Document => Prompt::Document,
        InputType::None => Prompt::None,
    };
    let (named, wanted) = (request.model.clone(), request.dimensions);
    let (vectors, dim, tokens) = state
        .crossing
        .search_for(Weight::of(texts.len(), TEXTS_PER_PLACE), &state.engine, move |engine, token| {
            let named = named.as_deref();
            engine.check_offered(named)?;
            let card = engine.text_model(named)?;
            if let Some(wanted) = wanted.filter(|wanted| *wanted != card.dim) {
                let told = format!(
                    "dimensions: expected {}, which model {:?} gives, received {wanted}",
                    card.dim, card.id
                );
                return Err(Error::invalid(told).with_hint("leave dimensions out: vectors are not cut short"));
            }
            let (vectors, dim) = engine.encode_texts_cancellable(named, &texts, prompt, token)?;
            Ok((vectors, dim, engine.count_tokens(named, &texts, prompt)?))
        })
        .await?;
    let view = |vector: &[f32]| match request.encoding_format {
        EncodingFormat::Float => VectorView::Float(vector.to_vec()),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            VectorView::Base64(base64::prelude::BASE64_STANDARD.encode(bytes))
        }
    };
    let data = vectors
        .chunks_exact(dim.max(1))
        .enumerate()
        .map(|(index, vector)| EmbeddingView { object: "embedding", index, embedding: view(vector) })
        .collect();
    let model = request.model.unwrap_or_else(|| state.engine.config().default_text_model.clone());
    let usage = UsageView { prompt_tokens: tokens, total_tokens: tokens };
    Ok(Answer(EmbeddingsResponse { object: "list", data, model, usage }))
}
