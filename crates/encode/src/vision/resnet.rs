//! ResNet (He et al., 2015; torchvision's form, with the stride in the 3 x 3 convolution), features before the classifier.
//!
//! Shapes: activations are `[side, side, channels]`, from 224 x 224 x 3 down to 7 x 7 x 512 (18 and 34 layers) or 2048, whose
//! mean over the pixels is the vector. Which of the family it is, the tensors tell: how many blocks each stage has, and whether
//! a block has a third convolution. Batch norms (epsilon 1e-5) are folded into the convolution before them.

use super::buffer::{Buffer, in_pieces};
use super::convolution::{Convolution, Padding, Plan, average_pool, max_pool};
use super::preprocess::SIDE;
use crate::math::linear::Finish;
use crate::models::ModelError;
use crate::weights::Weights;

/// Added to a batch norm's variance.
const EPSILON: f32 = 1e-5;
const STEM_CHANNELS: usize = 64;
const STAGES: usize = 4;
/// Numbers a thread adds before it asks for more.
const ADDED_AT_ONCE: usize = 1 << 16;

/// A loaded network.
pub(crate) struct ResNet {
    stem: Convolution,
    blocks: Vec<Block>,
    features: usize,
}

/// Convolutions whose result is added to the input, which is brought to their shape where it differs.
struct Block {
    convolutions: Vec<Convolution>,
    shortcut: Option<Convolution>,
}

impl ResNet {
    /// Whether the tensors are those of a network of this family.
    pub(crate) fn is(weights: &Weights) -> bool {
        weights.has("conv1.weight")
            && weights.has("layer1.0.conv1.weight")
            && weights.has("layer4.0.conv2.weight")
    }

    pub(crate) fn read(weights: &Weights) -> Result<ResNet, ModelError> {
        let stem = convolution(weights, "conv1", "bn1", (3, STEM_CHANNELS), (7, 2), Finish::Relu)?;
        let (mut blocks, mut channels) = (Vec::new(), STEM_CHANNELS);
        for stage in 1..=STAGES {
            let mut count = 0;
            while weights.has(&format!("layer{stage}.{count}.conv1.weight")) {
                let stride = if count == 0 && stage > 1 { 2 } else { 1 };
                let name = format!("layer{stage}.{count}");
                let (block, outputs) = Block::read(weights, &name, channels, stride)?;
                blocks.push(block);
                (channels, count) = (outputs, count + 1);
            }
            if count == 0 {
                return Err(weights.broken(format!("no tensor \"layer{stage}.0.conv1.weight\"")));
            }
        }
        Ok(ResNet { stem, blocks, features: channels })
    }

    /// Numbers in a vector.
    pub(crate) fn dim(&self) -> usize {
        self.features
    }

    /// How many layers have weights, the classifier included: what the network is called by.
    pub(crate) fn depth(&self) -> usize {
        2 + self.blocks.iter().map(|block| block.convolutions.len()).sum::<usize>()
    }

    /// Weights in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let blocks = self.blocks.iter().flat_map(|block| block.convolutions.iter().chain(&block.shortcut));
        self.stem.bytes() + blocks.map(Convolution::bytes).sum::<usize>()
    }

    /// `[224, 224, 3]` normalised pixels to features; `shared` lets the other threads help.
    pub(crate) fn features(&self, pixels: &[f32], shared: bool) -> Vec<f32> {
        let (x, side) = self.stem.apply(pixels, SIDE, shared);
        let (mut x, mut side) = max_pool(&x, side, STEM_CHANNELS, shared);
        for block in &self.blocks {
            (x, side) = block.forward(&x, side, shared);
        }
        average_pool(&x, self.features)
    }
}

impl Block {
    /// The block, and the channels that leave it.
    fn read(
        weights: &Weights,
        name: &str,
        inputs: usize,
        stride: usize,
    ) -> Result<(Block, usize), ModelError> {
        let outputs_of = |conv: &str| {
            let name = format!("{name}.{conv}.weight");
            weights
                .shape(&name)
                .and_then(|shape| shape.first().copied())
                .filter(|outputs| *outputs > 0)
                .ok_or_else(|| weights.broken(format!("no tensor \"{name}\"")))
        };
        let is_bottleneck = weights.has(&format!("{name}.conv3.weight"));
        // Kernel and stride of each.
        let plan: &[(usize, usize)] =
            if is_bottleneck { &[(1, 1), (3, stride), (1, 1)] } else { &[(3, stride), (3, 1)] };
        let (mut convolutions, mut channels) = (Vec::new(), inputs);
        for (at, shape) in plan.iter().enumerate() {
            let (conv, norm) = (format!("conv{}", at + 1), format!("{name}.bn{}", at + 1));
            let outputs = outputs_of(&conv)?;
            // After the last one the input is added first.
            let finish = if at + 1 == plan.len() { Finish::Keep } else { Finish::Relu };
            let conv = format!("{name}.{conv}");
            convolutions.push(convolution(weights, &conv, &norm, (channels, outputs), *shape, finish)?);
            channels = outputs;
        }
        let shortcut = match stride == 1 && channels == inputs {
            true => None,
            false => {
                let (conv, norm) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
                Some(convolution(weights, &conv, &norm, (inputs, channels), (1, stride), Finish::Keep)?)
            }
        };
        Ok((Block { convolutions, shortcut }, channels))
    }

    fn forward(&self, x: &[f32], side: usize, shared: bool) -> (Buffer, usize) {
        let shortcut = self.shortcut.as_ref().map(|shortcut| shortcut.apply(x, side, shared).0);
        let added = shortcut.as_deref().unwrap_or(x);
        let (mut out, mut at) = (None, side);
        for convolution in &self.convolutions {
            let (next, next_side) = convolution.apply(out.as_deref().unwrap_or(x), at, shared);
            (out, at) = (Some(next), next_side);
        }
        let mut out = out.unwrap_or_else(|| Buffer::take(0));
        // As a threshold, which is a vector instruction.
        let add = |(out, added): (&mut f32, &f32)| *out = if *out + added > 0.0 { *out + added } else { 0.0 };
        in_pieces(&mut out, ADDED_AT_ONCE, shared, |at, out| {
            out.iter_mut().zip(&added[at * ADDED_AT_ONCE..]).for_each(add);
        });
        (out, at)
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
    let plan = Plan { inputs, outputs, kernel, stride, padding: Padding::Centred, finish };
    Convolution::read(weights, conv, norm, EPSILON, plan)
}
