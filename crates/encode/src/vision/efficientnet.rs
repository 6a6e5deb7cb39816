//! EfficientNet-lite0 (Tan and Le, 2019; the "lite" form has ReLU6 and no squeeze-and-excitation), features only.
//!
//! Shapes: activations are `[side, side, channels]`, from 224 x 224 x 3 down to 7 x 7 x 1280, whose mean over the
//! pixels is the vector. Batch norms (epsilon 1e-3) are folded into the convolution before them. Tensor names are those of
//! `efficientnet_lite_pytorch`; a 1 x 1 convolution is a matrix product.

use super::convolution::{Convolution, Depthwise, Padding, Plan, average_pool};
use super::preprocess::SIDE;
use crate::math::linear::Finish;
use crate::models::ModelError;
use crate::weights::Weights;

/// Added to a batch norm's variance.
const EPSILON: f32 = 1e-3;
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

/// Widen, filter each channel, narrow; added to its input where the shapes agree.
struct Block {
    expand: Option<Convolution>,
    depthwise: Depthwise,
    project: Convolution,
    residual: bool,
}

impl EfficientNet {
    pub(crate) fn read(weights: &Weights) -> Result<EfficientNet, ModelError> {
        let stem = convolution(weights, "_conv_stem", "_bn0", (3, STEM_CHANNELS), (3, 2), Finish::Relu6)?;
        let mut blocks = Vec::new();
        let mut inputs = STEM_CHANNELS;
        for (repeats, kernel, stride, expansion, outputs) in STAGES {
            for repeat in 0..repeats {
                let stride = if repeat == 0 { stride } else { 1 };
                let name = format!("_blocks.{}", blocks.len());
                blocks.push(Block::read(weights, &name, inputs, kernel, stride, expansion, outputs)?);
                inputs = outputs;
            }
        }
        let head = convolution(weights, "_conv_head", "_bn1", (inputs, FEATURES), (1, 1), Finish::Relu6)?;
        Ok(EfficientNet { stem, blocks, head })
    }

    /// Weights in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.stem.bytes() + self.head.bytes() + self.blocks.iter().map(Block::bytes).sum::<usize>()
    }

    /// `[224, 224, 3]` pixels from -1 to 1 to `[1280]` features; `shared` lets the other threads help.
    pub(crate) fn features(&self, pixels: &[f32], shared: bool) -> Vec<f32> {
        let (mut x, mut side) = self.stem.apply(pixels, SIDE, shared);
        for block in &self.blocks {
            (x, side) = block.forward(x, side, shared);
        }
        let (x, _) = self.head.apply(&x, side, shared);
        average_pool(&x, FEATURES)
    }
}

impl Block {
    fn read(
        weights: &Weights,
        name: &str,
        inputs: usize,
        kernel: usize,
        stride: usize,
        expansion: usize,
        outputs: usize,
    ) -> Result<Block, ModelError> {
        let wide = inputs * expansion;
        let expand = match expansion {
            1 => None,
            _ => {
                let (conv, norm) = (format!("{name}._expand_conv"), format!("{name}._bn0"));
                Some(convolution(weights, &conv, &norm, (inputs, wide), (1, 1), Finish::Relu6)?)
            }
        };
        let (scale, bias) = weights.batch_norm(&format!("{name}._bn1"), wide, EPSILON)?;
        let filters = weights.dense(&format!("{name}._depthwise_conv.weight"), &[wide, 1, kernel, kernel])?;
        let depthwise = Depthwise::new(&filters, &scale, bias, kernel, stride);
        let (conv, norm) = (format!("{name}._project_conv"), format!("{name}._bn2"));
        let project = convolution(weights, &conv, &norm, (wide, outputs), (1, 1), Finish::Keep)?;
        Ok(Block { expand, depthwise, project, residual: stride == 1 && inputs == outputs })
    }

    fn bytes(&self) -> usize {
        self.expand.as_ref().map_or(0, Convolution::bytes) + self.depthwise.bytes() + self.project.bytes()
    }

    /// `x [side, side, channels]` to the next activations and their side.
    fn forward(&self, x: Vec<f32>, side: usize, shared: bool) -> (Vec<f32>, usize) {
        let expanded = self.expand.as_ref().map(|expand| expand.apply(&x, side, shared).0);
        let wide = expanded.as_deref().unwrap_or(&x);
        let next = self.depthwise.outputs(side);
        let mut filtered = vec![0.0; next * next * self.depthwise.channels];
        self.depthwise.apply(wide, side, &mut filtered, shared);
        let (mut out, _) = self.project.apply(&filtered, next, shared);
        if self.residual {
            out.iter_mut().zip(&x).for_each(|(out, x)| *out += x);
        }
        (out, next)
    }
}

/// A convolution of a kernel and a stride, and the batch norm after it.
fn convolution(
    weights: &Weights,
    conv: &str,
    norm: &str,
    (inputs, outputs): (usize, usize),
    (kernel, stride): (usize, usize),
    finish: Finish,
) -> Result<Convolution, ModelError> {
    let plan = Plan { inputs, outputs, kernel, stride, padding: Padding::Same, finish };
    Convolution::read(weights, conv, norm, EPSILON, plan)
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
