//! Picture models: resize and crop, convolutions, average pooling, unit length. Built in, or a file of weights.

mod convolution;
mod efficientnet;
mod preprocess;
mod resnet;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;

use crate::encoder::{EncodeError, Encoded, Encoder, Input, Modality, ModelCard, Prompt};
use crate::math::elementwise::normalise;
use crate::models::ModelError;
use crate::weights::{Weights, map};
use efficientnet::EfficientNet;
use preprocess::{EVEN, IMAGENET};
use resnet::ResNet;

/// A picture model with its preprocessing.
pub(crate) struct PictureEncoder {
    card: ModelCard,
    network: Network,
}

enum Network {
    EfficientNet(EfficientNet),
    ResNet(ResNet),
}

impl PictureEncoder {
    /// EfficientNet-lite0 from a safetensors file.
    pub(crate) fn open(mut card: ModelCard, weights: &'static [u8]) -> Result<PictureEncoder, ModelError> {
        let id = card.id.clone();
        let network = EfficientNet::read(&Weights::read(&id, &Bytes::from_static(weights))?)?;
        card.bytes = network.bytes();
        Ok(PictureEncoder { card, network: Network::EfficientNet(network) })
    }

    /// One picture's unit vector; `shared` lets the other threads help.
    fn encode_one(&self, picture: &crate::Picture, shared: bool) -> Vec<f32> {
        let mut vector = match &self.network {
            Network::EfficientNet(network) => network.features(&preprocess::tensor(picture, EVEN), shared),
            Network::ResNet(network) => network.features(&preprocess::tensor(picture, IMAGENET), shared),
        };
        normalise(&mut vector);
        vector
    }
}

/// Opens a file of weights (safetensors, or of `torch.save`), whose tensors tell which network they are for. Its id is the
/// file's full path.
pub(crate) fn open_file(path: &Path) -> Result<Arc<dyn Encoder>, ModelError> {
    let id = path.to_string_lossy().into_owned();
    let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
    let bytes = map(path).map_err(broken)?;
    let weights = Weights::read(&id, &bytes)?;
    if !ResNet::is(&weights) {
        return Err(broken(
            "its tensors are not those of a torchvision ResNet, the only network read from a file".to_owned(),
        ));
    }
    let network = ResNet::read(&weights)?;
    let revision = blake3::hash(&bytes).to_hex().to_string();
    let card = ModelCard {
        space: format!("resnet{}@{revision:.8}/average", network.depth()),
        id: id.clone(),
        revision,
        dim: network.dim(),
        modality: Modality::Image,
        max_tokens: None,
        query_prompt: String::new(),
        document_prompt: String::new(),
        licence: String::new(),
        bytes: network.bytes(),
    };
    Ok(Arc::new(PictureEncoder { card, network: Network::ResNet(network) }))
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

    fn token_ids(&self, _: &str, _: Prompt) -> Vec<u32> {
        Vec::new()
    }

    fn count_tokens(&self, _: &str) -> usize {
        0
    }
}
