//! EfficientNet-lite0 (Tan and Le, 2019; the "lite" form has ReLU6 and no squeeze-and-excitation), features only.
//!
//! Shapes: activations are `[side, side, channels]`, from 224 x 224 x 3 down to 7 x 7 x 1280, whose mean over the
//! pixels is the vector. Batch norms (epsilon 1e-3) are folded into the convolution before them. Tensor names are those of
//! `efficientnet_lite_pytorch`; a 1 x 1 convolution is a matrix product.

use super::convolution::{Convolution, Padding, average_pool};
use super::inverted::{Block, Names, Shape, Style};
use super::preprocess::SIDE;
use crate::math::linear::Finish;
use crate::models::ModelError;
use crate::weights::Weights;

const STYLE: Style = Style { padding: Padding::Same, epsilon: 1e-3, activation: Finish::Relu6 };
const STEM_CHANNELS: usize = 32;
const FEATURES: usize = 1280;

/// A run of equal blocks: repeats, kernel, stride of the first, expansion, output channels.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// A loaded network.
pub(crate) struct EfficientNet {
    stem: Convolution,
    blocks: Vec<Block>,
    head: Convolution,
}

impl EfficientNet {
    /// Whether the tensors are those of a network of the lite family: the others have the same names and weigh channels besides.
    pub(crate) fn is(weights: &Weights) -> bool {
        weights.has("_conv_stem.weight")
            && weights.has("_blocks.0._depthwise_conv.weight")
            && !weights.has("_blocks.0._se_reduce.weight")
    }

    pub(crate) fn read(weights: &Weights) -> Result<EfficientNet, ModelError> {
        let pair = |conv: &str, norm: &str| [conv.to_owned(), norm.to_owned()];
        let stem = STYLE.convolution(weights, &pair("_conv_stem", "_bn0"), (3, STEM_CHANNELS), (3, 2))?;
        let mut blocks = Vec::new();
        let mut inputs = STEM_CHANNELS;
        for (repeats, kernel, stride, expansion, outputs) in STAGES {
            for repeat in 0..repeats {
                let stride = if repeat == 0 { stride } else { 1 };
                let wide = inputs * expansion;
                let shape = Shape { inputs, wide, outputs, kernel, stride, squeezed: None };
                blocks.push(Block::read(weights, &names(blocks.len()), shape, STYLE)?);
                inputs = outputs;
            }
        }
        let head = STYLE.convolution(weights, &pair("_conv_head", "_bn1"), (inputs, FEATURES), (1, 1))?;
        Ok(EfficientNet { stem, blocks, head })
    }

    /// Numbers in a vector.
    pub(crate) fn dim(&self) -> usize {
        FEATURES
    }

    /// Weights in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.stem.bytes() + self.head.bytes() + self.blocks.iter().map(Block::bytes).sum::<usize>()
    }

    /// `[224, 224, 3]` pixels from -1 to 1 to `[1280]` features; `shared` lets the other threads help.
    pub(crate) fn features(&self, pixels: &[f32], shared: bool) -> Vec<f32> {
        let (mut x, mut side) = self.stem.apply(pixels, SIDE, shared);
        for block in &self.blocks {
            (x, side) = block.forward(&x, side, shared);
        }
        let (x, _) = self.head.apply(&x, side, shared);
        average_pool(&x, FEATURES)
    }
}

/// Of a block's tensors.
fn names(block: usize) -> Names {
    let pair = |conv: &str, norm: &str| [conv, norm].map(|part| format!("_blocks.{block}.{part}"));
    Names {
        expand: pair("_expand_conv", "_bn0"),
        depthwise: pair("_depthwise_conv", "_bn1"),
        weigh: String::new(),
        project: pair("_project_conv", "_bn2"),
    }
}

#[cfg(test)]
mod tests {
    use crate::math::elementwise::normalise;
    use crate::picture::{Picture, PictureLimits};
    use crate::weights::Weights;

    /// `fixtures/tensor.png` reaches the network pixel by pixel, in PyTorch as here.
    #[test]
    fn features_equal_those_of_pytorch_from_equal_pixels() {
        let bytes = include_bytes!("../../fixtures/tensor.png");
        let picture = Picture::decode(bytes, &PictureLimits::default()).expect("a PNG");
        let pixels: Vec<f32> =
            picture.rgb.iter().map(|byte| (f32::from(*byte) / 255.0 - 0.5) / 0.5).collect();
        let weights = include_bytes!("../../../../models/efficientnet-lite0/model.f16.safetensors");
        let weights =
            Weights::read("efficientnet-lite0", &bytes::Bytes::from_static(weights)).expect("weights");
        let network = super::EfficientNet::read(&weights).expect("a network");
        let expected: Vec<f32> =
            serde_json::from_slice(include_bytes!("../../fixtures/tensor.json")).expect("numbers");
        for shared in [false, true] {
            let mut received = network.features(&pixels, shared);
            normalise(&mut received);
            let largest = received.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{largest:e}");
            assert!(received.len() == 1280 && largest < 1e-5, "{largest}");
        }
    }
}
