//! `POST /v1/embeddings`: texts to vectors, in the shape of OpenAI's API.
//!
//! Numbers, or base64 of little-endian f32, as its clients ask for by default. `input_type` is ours: models such as E5
//! want questions and passages marked differently. Token counts are not known here, so `usage` is left out.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::Json;
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use base64::Engine as _;
use bilin_engine::Prompt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One text or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
pub enum TextInput {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
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
    let named = request.model.clone();
    let (vectors, dim) = state
        .crossing
        .run(Lane::Search, &state.engine, move |engine| {
            engine.check_offered(named.as_deref())?;
            engine.encode_texts(named.as_deref(), &texts, prompt)
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
    Ok(Answer(EmbeddingsResponse { object: "list", data, model }))
}
