//! Encoding without a data folder: what `bilin encode` and `bilin model` need, also while a service holds the folder.

use crate::error::Error;
use bilin_encode::{Encoded, Encoder, Input, ModelCard, Prompt};
use std::sync::Arc;

/// The models of this build.
pub fn builtin_models() -> Vec<ModelCard> {
    bilin_encode::builtin()
}

/// Opens a model by id.
///
/// # Errors
/// An unknown id, with the ones there are.
pub fn open_model(id: &str) -> Result<Arc<dyn Encoder>, Error> {
    Ok(bilin_encode::open(id)?)
}

/// Vectors of texts, `[n, dim]`, in their order.
///
/// # Errors
/// A picture model, or a text without content.
pub fn encode_texts(encoder: &dyn Encoder, texts: &[String], prompt: Prompt) -> Result<Encoded, Error> {
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text { text, prompt }).collect();
    Ok(encoder.encode(&inputs)?)
}
