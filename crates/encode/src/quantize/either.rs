//! What is quantized: a model that makes vectors, or a cross-encoder.
//!
//! Two forms of the first are compared by their vectors; two of the second by what the label is read off, at unit length, since a
//! logit alone would hide what cancels out.

use std::sync::Arc;

use crate::encoder::{EncodeError, Encoder, Modality};
use crate::models::{ModelError, open, open_cross_encoder};
use crate::parity::{Parity, encode_samples, samples};
use crate::text::cross::{self, CrossEncoder};

pub(super) enum Either {
    Vectors(Arc<dyn Encoder>),
    CrossEncoder(Box<CrossEncoder>),
}

impl Either {
    pub(super) fn open(id: &str) -> Result<Either, ModelError> {
        match cross::is_in(std::path::Path::new(id)) {
            true => Ok(Either::CrossEncoder(Box::new(open_cross_encoder(id)?))),
            false => open(id).map(Either::Vectors),
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Either::Vectors(encoder) => &encoder.card().id,
            Either::CrossEncoder(model) => &model.card().id,
        }
    }

    pub(super) fn revision(&self) -> &str {
        match self {
            Either::Vectors(encoder) => &encoder.card().revision,
            Either::CrossEncoder(model) => &model.card().revision,
        }
    }

    /// `[samples, dim]` at unit length, and `dim`.
    fn samples(&self) -> Result<(Vec<f32>, usize), EncodeError> {
        match self {
            Either::Vectors(encoder) => Ok((encode_samples(encoder.as_ref())?, encoder.card().dim)),
            Either::CrossEncoder(model) => {
                let texts: Vec<String> =
                    samples(Modality::Text).into_iter().filter_map(|sample| sample.text).collect();
                let pairs: Vec<_> = texts.iter().zip(&texts[1..]).map(|(a, b)| model.pair(a, b)).collect();
                Ok(model.unit_features(&pairs))
            }
        }
    }

    /// How far this model is from the one that it was made from.
    pub(super) fn compare(&self, original: &Either) -> Result<Parity, EncodeError> {
        let mut parity = Parity::default();
        let ((own, _), (expected, dim)) = (self.samples()?, original.samples()?);
        parity.compare(&own, &expected, dim);
        Ok(parity)
    }
}
