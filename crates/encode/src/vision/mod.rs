//! Picture models: resize and crop, convolutions, average pooling, unit length. Built in, or a file of weights.

mod buffer;
mod convolution;
mod efficientnet;
mod inverted;
mod mobilenet;
pub(crate) mod preprocess;
mod resnet;
mod winograd;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;

use crate::encoder::{EncodeError, Encoded, Encoder, Input, Modality, ModelCard, Prompt};
use crate::math::elementwise::normalise;
use crate::models::ModelError;
use crate::weights::{Map, Weights};
use efficientnet::EfficientNet;
use mobilenet::{Kind, MobileNet};
use preprocess::{EVEN, IMAGENET};
use resnet::ResNet;

/// A picture model with its preprocessing.
pub(crate) struct PictureEncoder {
    card: ModelCard,
    network: Network,
}

enum Network {
    Efficient(EfficientNet),
    Mobile(MobileNet),
    Residual(ResNet),
}

impl Network {
    /// The network that the tensors of a file are for, and its name.
    fn read(weights: &Weights) -> Result<(Network, String), ModelError> {
        if ResNet::is(weights) {
            let network = ResNet::read(weights)?;
            let name = format!("resnet{}", network.depth());
            return Ok((Network::Residual(network), name));
        }
        if let Some(kind) = Kind::of(weights) {
            return Ok((Network::Mobile(MobileNet::read(kind, weights)?), kind.name().to_owned()));
        }
        if EfficientNet::is(weights) {
            return Ok((Network::Efficient(EfficientNet::read(weights)?), "efficientnet-lite0".to_owned()));
        }
        Err(weights.broken(
            "its tensors are those of no network that is read from a file: torchvision's ResNet, MobileNetV2 and MobileNetV3, and efficientnet_lite_pytorch's EfficientNet-lite0"
                .to_owned(),
        ))
    }

    fn dim(&self) -> usize {
        match self {
            Network::Efficient(network) => network.dim(),
            Network::Mobile(network) => network.dim(),
            Network::Residual(network) => network.dim(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Network::Efficient(network) => network.bytes(),
            Network::Mobile(network) => network.bytes(),
            Network::Residual(network) => network.bytes(),
        }
    }

    /// The features of a picture; `shared` lets the other threads help.
    fn features(&self, picture: &crate::Picture, shared: bool) -> Vec<f32> {
        match self {
            Network::Efficient(network) => network.features(&preprocess::tensor(picture, &EVEN), shared),
            Network::Mobile(network) => network.features(&preprocess::tensor(picture, &IMAGENET), shared),
            Network::Residual(network) => network.features(&preprocess::tensor(picture, &IMAGENET), shared),
        }
    }
}

impl PictureEncoder {
    /// EfficientNet-lite0 from a safetensors file.
    pub(crate) fn open(mut card: ModelCard, weights: &'static [u8]) -> Result<PictureEncoder, ModelError> {
        let id = card.id.clone();
        let network = EfficientNet::read(&Weights::read(&id, &Bytes::from_static(weights))?)?;
        card.bytes = network.bytes();
        Ok(PictureEncoder { card, network: Network::Efficient(network) })
    }

    /// One picture's unit vector; `shared` lets the other threads help.
    fn encode_one(&self, picture: &crate::Picture, shared: bool) -> Vec<f32> {
        let mut vector = self.network.features(picture, shared);
        normalise(&mut vector);
        vector
    }
}

/// Opens a file of weights (safetensors, or of `torch.save`), whose tensors tell which network they are for. Its id is the
/// file's full path.
pub(crate) fn open_file(path: &Path) -> Result<Arc<dyn Encoder>, ModelError> {
    let id = path.to_string_lossy().into_owned();
    let broken = |reason: String| ModelError::Broken { id: id.clone(), reason };
    let bytes = Map::open(path).map_err(broken)?.bytes();
    let (network, name) = Network::read(&Weights::read(&id, &bytes)?)?;
    let revision = blake3::hash(&bytes).to_hex().to_string();
    let card = ModelCard {
        space: format!("{name}@{revision:.8}/average"),
        id: id.clone(),
        revision,
        dim: network.dim(),
        modality: Modality::Image,
        also_reads: None,
        max_tokens: None,
        query_prompt: String::new(),
        document_prompt: String::new(),
        licence: String::new(),
        bytes: network.bytes(),
    };
    Ok(Arc::new(PictureEncoder { card, network }))
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
            // Into the pool once, and not anew for each layer.
            rayon::scope(|_| pictures.iter().map(|picture| self.encode_one(picture, true)).collect())
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
