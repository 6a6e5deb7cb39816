//! Encoding without a data folder: what `bilin encode` and `bilin model` need, also while a service holds the folder.

use crate::error::{Error, ErrorKind};
use bilin_encode::{
    CrossEncoder, Encoded, Encoder, Input, Inspected, ModelCard, Picture, PictureLimits, Precision, Prompt,
    Quantized, Reference,
};
use std::path::Path;
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

/// Opens the cross-encoder in the folder at `path`.
///
/// # Errors
/// No folder, or one of something else.
pub fn open_cross_encoder(path: &str) -> Result<CrossEncoder, Error> {
    Ok(bilin_encode::open_cross_encoder(path)?)
}

/// Vectors of texts, `[n, dim]`, in their order.
///
/// # Errors
/// A picture model, or a text without content.
pub fn encode_texts(encoder: &dyn Encoder, texts: &[String], prompt: Prompt) -> Result<Encoded, Error> {
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text { text, prompt }).collect();
    Ok(encoder.encode(&inputs)?)
}

/// What the files of the model at `path` tell without opening it.
///
/// # Errors
/// The path cannot be read.
pub fn inspect_model(path: &Path) -> Result<Inspected, Error> {
    bilin_encode::inspect(path).map_err(|error| {
        Error::new(
            ErrorKind::Io,
            format!("cannot look at the model {:?}: {error}", path.display().to_string()),
        )
        .with_source(error)
    })
}

/// Writes the model at `source` to `destination` with its weights in another precision; `done` is told bytes as they are
/// written.
///
/// # Errors
/// No model, something at `destination`, too little space, or vectors too far from what they were: nothing is left then.
pub fn quantize_model(
    source: &str,
    destination: &Path,
    precision: Precision,
    done: &dyn Fn(u64),
) -> Result<Quantized, Error> {
    Ok(bilin_encode::quantize(source, destination, precision, done)?)
}

/// Vectors `[n, dim]` of the texts or pictures that have references; a picture is one of the binary, or a path below
/// `folder`.
///
/// # Errors
/// What does not fit the model, or a picture that cannot be read.
pub fn encode_references(
    encoder: &dyn Encoder,
    references: &[Reference],
    folder: &Path,
) -> Result<Encoded, Error> {
    let mut pictures = Vec::new();
    for name in references.iter().filter_map(|reference| reference.picture.as_deref()) {
        pictures.push(picture(name, folder)?);
    }
    let mut next = pictures.iter();
    let mut inputs = Vec::new();
    for reference in references {
        match (&reference.text, &reference.picture) {
            (Some(text), None) => {
                let told = reference.prompt.as_deref();
                let prompt = bilin_encode::side(told).ok_or_else(|| {
                    Error::invalid(format!("prompt {told:?} is none"))
                        .with_hint("expected query, document or none")
                })?;
                inputs.push(Input::Text { text, prompt });
            }
            (None, Some(_)) => inputs.extend(next.next().map(Input::Picture)),
            _ => return Err(Error::invalid("a reference has a text or a picture, and not both")),
        }
    }
    Ok(encoder.encode(&inputs)?)
}

fn picture(name: &str, folder: &Path) -> Result<Picture, Error> {
    if let Some(picture) = bilin_encode::sample_picture(name) {
        return Ok(picture);
    }
    let (path, limits) = (folder.join(name), PictureLimits::default());
    let told = |error: std::io::Error| {
        Error::new(ErrorKind::NotFound, format!("picture {:?}: {error}", path.display().to_string()))
    };
    let bytes = path.metadata().map_err(told)?.len();
    if bytes > limits.max_bytes as u64 {
        let most = limits.max_bytes;
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("picture {name:?} has {bytes} bytes, at most {most}"),
        ));
    }
    Ok(Picture::decode(&std::fs::read(&path).map_err(told)?, &limits)?)
}
