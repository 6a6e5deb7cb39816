//! MobileNetV2 (Sandler et al., 2018) and MobileNetV3, small and large (Howard et al., 2019), in torchvision's form.
//!
//! Shapes: activations are `[side, side, channels]`, from 224 x 224 x 3 down to 7 x 7, whose mean over the pixels is the
//! vector: what torchvision's `features` and `avgpool` give, 1280 numbers of V2, 576 of V3 small and 960 of V3 large. V3's
//! classifier begins with a layer of its own, which is not part of the vector. Padding is half a kernel; batch norms' epsilon is 1e-5 in
//! V2 and 1e-3 in V3. The tables are those of the papers at width 1, the only width whose weights are published.

use super::convolution::{Convolution, Padding, average_pool};
use super::inverted::{Block, Names, Shape, Style};
use super::preprocess::SIDE;
use crate::math::linear::Finish;
use crate::models::ModelError;
use crate::weights::Weights;

/// One of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    V2,
    V3Small,
    V3Large,
}

/// A run of V2's blocks: expansion, output channels, repeats, stride of the first.
const V2: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// A block of V3: kernel, wide channels, output channels, whether channels are weighed, activation, stride.
type V3Block = (usize, usize, usize, bool, Finish, usize);

const RE: Finish = Finish::Relu;
const HS: Finish = Finish::HardSwish;

const V3_SMALL: [V3Block; 11] = [
    (3, 16, 16, true, RE, 2),
    (3, 72, 24, false, RE, 2),
    (3, 88, 24, false, RE, 1),
    (5, 96, 40, true, HS, 2),
    (5, 240, 40, true, HS, 1),
    (5, 240, 40, true, HS, 1),
    (5, 120, 48, true, HS, 1),
    (5, 144, 48, true, HS, 1),
    (5, 288, 96, true, HS, 2),
    (5, 576, 96, true, HS, 1),
    (5, 576, 96, true, HS, 1),
];

const V3_LARGE: [V3Block; 15] = [
    (3, 16, 16, false, RE, 1),
    (3, 64, 24, false, RE, 2),
    (3, 72, 24, false, RE, 1),
    (5, 72, 40, true, RE, 2),
    (5, 120, 40, true, RE, 1),
    (5, 120, 40, true, RE, 1),
    (3, 240, 80, false, HS, 2),
    (3, 200, 80, false, HS, 1),
    (3, 184, 80, false, HS, 1),
    (3, 184, 80, false, HS, 1),
    (3, 480, 112, true, HS, 1),
    (3, 672, 112, true, HS, 1),
    (5, 672, 160, true, HS, 2),
    (5, 960, 160, true, HS, 1),
    (5, 960, 160, true, HS, 1),
];

/// A loaded network.
pub(super) struct MobileNet {
    kind: Kind,
    stem: Convolution,
    blocks: Vec<Block>,
    head: Convolution,
}

impl Kind {
    /// Which of the family the tensors are of, if they are.
    pub(super) fn of(weights: &Weights) -> Option<Kind> {
        let (has_v2, has_v3) =
            (weights.has("features.1.conv.0.0.weight"), weights.has("features.1.block.0.0.weight"));
        // The last convolution's number tells how many blocks there are.
        match (has_v2, has_v3, weights.has("features.16.0.weight")) {
            (true, false, _) if weights.has("features.18.0.weight") => Some(Kind::V2),
            (false, true, true) => Some(Kind::V3Large),
            (false, true, false) if weights.has("features.12.0.weight") => Some(Kind::V3Small),
            _ => None,
        }
    }

    /// What the network is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::V2 => "mobilenet-v2",
            Kind::V3Small => "mobilenet-v3-small",
            Kind::V3Large => "mobilenet-v3-large",
        }
    }

    /// Numbers in a vector.
    fn features(self) -> usize {
        match self {
            Kind::V2 => 1280,
            Kind::V3Small => 576,
            Kind::V3Large => 960,
        }
    }

    /// What stem and head are like.
    fn style(self) -> Style {
        let (epsilon, activation) = match self {
            Kind::V2 => (1e-5, Finish::Relu6),
            Kind::V3Small | Kind::V3Large => (1e-3, Finish::HardSwish),
        };
        Style { padding: Padding::Centred, epsilon, activation }
    }

    fn stem_channels(self) -> usize {
        if self == Kind::V2 { 32 } else { 16 }
    }

    /// Every block, with its activation.
    fn blocks(self) -> Vec<(Shape, Finish)> {
        let mut inputs = self.stem_channels();
        let mut blocks = Vec::new();
        let mut push = |kernel, wide: Option<usize>, expansion, outputs, squeezes, activation, stride| {
            let wide: usize = wide.unwrap_or(inputs * expansion);
            let squeezed = if squeezes { Some(squeezed(wide)) } else { None };
            blocks.push((Shape { inputs, wide, outputs, kernel, stride, squeezed }, activation));
            inputs = outputs;
        };
        match self {
            Kind::V2 => {
                for (expansion, outputs, repeats, stride) in V2 {
                    for repeat in 0..repeats {
                        let stride = if repeat == 0 { stride } else { 1 };
                        push(3, None, expansion, outputs, false, Finish::Relu6, stride);
                    }
                }
            }
            Kind::V3Small => {
                V3_SMALL.into_iter().for_each(|(kernel, wide, outputs, squeezes, act, stride)| {
                    push(kernel, Some(wide), 1, outputs, squeezes, act, stride);
                })
            }
            Kind::V3Large => {
                V3_LARGE.into_iter().for_each(|(kernel, wide, outputs, squeezes, act, stride)| {
                    push(kernel, Some(wide), 1, outputs, squeezes, act, stride);
                })
            }
        }
        blocks
    }

    /// Names of the block at `features.{at}`, whose parts are numbered without gaps, whichever there are.
    fn names(self, at: usize, shape: Shape) -> Names {
        let widens = usize::from(shape.wide != shape.inputs);
        let pair = |conv: String, norm: String| [conv, norm];
        match self {
            Kind::V2 => {
                let name = |part: String| format!("features.{at}.conv.{part}");
                let both = |part: usize| pair(name(format!("{part}.0")), name(format!("{part}.1")));
                let project = pair(name(format!("{}", widens + 1)), name(format!("{}", widens + 2)));
                Names { expand: both(0), depthwise: both(widens), weigh: String::new(), project }
            }
            Kind::V3Small | Kind::V3Large => {
                let name = |part: usize| format!("features.{at}.block.{part}");
                let both = |part: usize| pair(format!("{}.0", name(part)), format!("{}.1", name(part)));
                let weigh = name(widens + 1);
                let project = both(widens + 1 + usize::from(shape.squeezed.is_some()));
                Names { expand: both(0), depthwise: both(widens), weigh, project }
            }
        }
    }
}

/// A quarter, rounded to a multiple of 8 that is not less than nine tenths of it.
fn squeezed(wide: usize) -> usize {
    let quarter = wide / 4;
    let near = ((quarter + 4) / 8 * 8).max(8);
    if near * 10 < quarter * 9 { near + 8 } else { near }
}

impl MobileNet {
    pub(super) fn read(kind: Kind, weights: &Weights) -> Result<MobileNet, ModelError> {
        let style = kind.style();
        let names = |at: usize| [format!("features.{at}.0"), format!("features.{at}.1")];
        let stem = style.convolution(weights, &names(0), (3, kind.stem_channels()), (3, 2))?;
        let (mut blocks, mut channels) = (Vec::new(), kind.stem_channels());
        for (shape, activation) in kind.blocks() {
            let names = kind.names(blocks.len() + 1, shape);
            blocks.push(Block::read(weights, &names, shape, Style { activation, ..style })?);
            channels = shape.outputs;
        }
        let last = names(blocks.len() + 1);
        let head = style.convolution(weights, &last, (channels, kind.features()), (1, 1))?;
        Ok(MobileNet { kind, stem, blocks, head })
    }

    /// Numbers in a vector.
    pub(super) fn dim(&self) -> usize {
        self.kind.features()
    }

    /// Weights in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.stem.bytes() + self.head.bytes() + self.blocks.iter().map(Block::bytes).sum::<usize>()
    }

    /// `[224, 224, 3]` normalised pixels to features; `shared` lets the other threads help.
    pub(super) fn features(&self, pixels: &[f32], shared: bool) -> Vec<f32> {
        let (mut x, mut side) = self.stem.apply(pixels, SIDE, shared);
        for block in &self.blocks {
            (x, side) = block.forward(&x, side, shared);
        }
        let (x, _) = self.head.apply(&x, side, shared);
        average_pool(&x, self.dim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_between_are_the_papers() {
        for (wide, expected) in
            [(16, 8), (72, 24), (120, 32), (96, 24), (240, 64), (480, 120), (672, 168), (960, 240)]
        {
            assert_eq!(squeezed(wide), expected, "{wide}");
        }
    }

    #[test]
    fn every_network_comes_down_to_7_by_7() {
        for (kind, blocks) in [(Kind::V2, 17), (Kind::V3Small, 11), (Kind::V3Large, 15)] {
            let shapes = kind.blocks();
            let strides: usize = shapes.iter().map(|(shape, _)| shape.stride).product();
            assert_eq!((shapes.len(), 2 * strides), (blocks, 32), "{kind:?}");
        }
    }
}
