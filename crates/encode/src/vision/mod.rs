//! Picture models: resize and crop, convolutions, average pooling, unit length.

mod convolution;
mod efficientnet;
mod preprocess;

use rayon::prelude::*;

use crate::encoder::{EncodeError, Encoded, Encoder, Input, Modality, ModelCard};
use crate::math::elementwise::normalise;
use crate::models::ModelError;
use crate::weights::Weights;
use efficientnet::EfficientNet;

/// A picture model with its preprocessing.
pub(crate) struct PictureEncoder {
    card: ModelCard,
    network: EfficientNet,
}

impl PictureEncoder {
    /// EfficientNet-lite0 from a safetensors file.
    pub(crate) fn open(mut card: ModelCard, weights: &[u8]) -> Result<PictureEncoder, ModelError> {
        let id = card.id.clone();
        let network = EfficientNet::read(&Weights::read(&id, weights)?)?;
        card.bytes = network.bytes();
        Ok(PictureEncoder { card, network })
    }

    /// One picture's unit vector; `shared` lets the other threads help.
    fn encode_one(&self, picture: &crate::Picture, shared: bool) -> Vec<f32> {
        let pixels = preprocess::tensor(picture);
        let mut vector = self.network.features(pixels, shared);
        normalise(&mut vector);
        vector
    }
}

impl Encoder for PictureEncoder {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError> {
        let mut pictures = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            let Input::Picture(picture) = *input else {
                return Err(EncodeError::Modality {
                    model: self.card.id.clone(),
                    expected: Modality::Image,
                    received: input.modality(),
                });
            };
            if !picture.is_whole() {
                let (width, height, bytes) = (picture.width, picture.height, picture.rgb.len());
                return Err(EncodeError::BadPicture { index, width, height, bytes });
            }
            pictures.push(picture);
        }
        let parts: Vec<Vec<f32>> = if pictures.len() < rayon::current_num_threads() {
            pictures.iter().map(|picture| self.encode_one(picture, true)).collect()
        } else {
            pictures.par_iter().map(|picture| self.encode_one(picture, false)).collect()
        };
        Ok(Encoded { vectors: parts.concat(), dim: self.card.dim, truncated: 0 })
    }

    fn count_tokens(&self, _: &str) -> usize {
        0
    }
}
