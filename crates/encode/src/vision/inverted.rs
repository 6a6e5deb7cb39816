//! The inverted residual block that MobileNets and EfficientNets are made of (Sandler et al., 2018): widen, filter each channel,
//! weigh the channels, narrow; added to the input where the shapes agree.
//!
//! Shapes: `[side, side, inputs]` to `[side', side', outputs]`, `wide` channels between. Weighing them, squeeze-and-excitation
//! (Hu et al., 2018), is a network of two layers over the mean of each channel; not every block has it, nor does one widen that
//! is as wide as its input. Batch norms are folded into the convolution before them.

use super::buffer::Buffer;
use super::convolution::{Convolution, Depthwise, Padding, Plan, average_pool};
use crate::math::linear::{Finish, Linear};
use crate::models::ModelError;
use crate::weights::Weights;

/// The straight line from (-3, 0) to (3, 1), and 0 and 1 outside.
fn hard_sigmoid(x: f32) -> f32 {
    (x + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0)
}

/// What the convolutions of one network have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) padding: Padding,
    /// Added to a batch norm's variance.
    pub(super) epsilon: f32,
    pub(super) activation: Finish,
}

impl Style {
    /// A full convolution of a kernel and a stride with its batch norm (tensors `names`), followed by the activation.
    pub(super) fn convolution(
        self,
        weights: &Weights,
        [conv, norm]: &[String; 2],
        (inputs, outputs): (usize, usize),
        (kernel, stride): (usize, usize),
    ) -> Result<Convolution, ModelError> {
        let Style { padding, epsilon, activation } = self;
        let plan = Plan { inputs, outputs, kernel, stride, padding, finish: activation };
        Convolution::read(weights, conv, norm, epsilon, plan)
    }
}

/// Channels, and how the filters move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) inputs: usize,
    pub(super) wide: usize,
    pub(super) outputs: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Numbers between the two layers that weigh the channels, if there are such layers.
    pub(super) squeezed: Option<usize>,
}

/// Names of a block's tensors: of each convolution and of its batch norm, and what those of the weighing begin with.
pub(super) struct Names {
    pub(super) expand: [String; 2],
    pub(super) depthwise: [String; 2],
    pub(super) weigh: String,
    pub(super) project: [String; 2],
}

/// A loaded block.
pub(super) struct Block {
    expand: Option<Convolution>,
    depthwise: Depthwise,
    weigh: Option<Weigh>,
    project: Convolution,
    is_residual: bool,
}

impl Block {
    pub(super) fn read(
        weights: &Weights,
        names: &Names,
        shape: Shape,
        style: Style,
    ) -> Result<Block, ModelError> {
        let Shape { inputs, wide, outputs, kernel, stride, squeezed } = shape;
        let Style { padding, epsilon, activation } = style;
        let expand = match wide == inputs {
            true => None,
            false => Some(style.convolution(weights, &names.expand, (inputs, wide), (1, 1))?),
        };
        let [conv, norm] = &names.depthwise;
        let plan = Plan { inputs: wide, outputs: wide, kernel, stride, padding, finish: activation };
        let depthwise = Depthwise::read(weights, conv, norm, epsilon, plan)?;
        let weigh = match squeezed {
            None => None,
            Some(squeezed) => Some(Weigh::read(weights, &names.weigh, wide, squeezed)?),
        };
        let [conv, norm] = &names.project;
        let plan = Plan { inputs: wide, outputs, kernel: 1, stride: 1, padding, finish: Finish::Keep };
        let project = Convolution::read(weights, conv, norm, epsilon, plan)?;
        let is_residual = stride == 1 && inputs == outputs;
        Ok(Block { expand, depthwise, weigh, project, is_residual })
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.expand.as_ref().map_or(0, Convolution::bytes)
            + self.depthwise.bytes()
            + self.weigh.as_ref().map_or(0, |weigh| weigh.down.bytes() + weigh.up.bytes())
            + self.project.bytes()
    }

    /// `x [side, side, inputs]` to the next activations and their side; `shared` lets the other threads help.
    pub(super) fn forward(&self, x: &[f32], side: usize, shared: bool) -> (Buffer, usize) {
        let expanded = self.expand.as_ref().map(|expand| expand.apply(x, side, shared).0);
        let (mut filtered, next) = self.depthwise.apply(expanded.as_deref().unwrap_or(x), side, shared);
        if let Some(weigh) = &self.weigh {
            weigh.apply(&mut filtered);
        }
        let (mut out, _) = self.project.apply(&filtered, next, shared);
        if self.is_residual {
            out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
        }
        (out, next)
    }
}

/// Squeeze-and-excitation, as MobileNetV3 has it: a hard sigmoid at the end.
struct Weigh {
    down: Linear,
    up: Linear,
}

impl Weigh {
    /// The layers are stored as 1 x 1 convolutions.
    fn read(weights: &Weights, name: &str, channels: usize, squeezed: usize) -> Result<Weigh, ModelError> {
        let layer = |part: &str, inputs: usize, outputs: usize, finish: Finish| {
            let matrix = weights.dense(&format!("{name}.{part}.weight"), &[outputs, inputs, 1, 1])?;
            let bias = weights.dense(&format!("{name}.{part}.bias"), &[outputs])?;
            Ok::<Linear, ModelError>(Linear::full(&matrix, inputs, bias, finish))
        };
        Ok(Weigh {
            down: layer("fc1", channels, squeezed, Finish::Relu)?,
            up: layer("fc2", squeezed, channels, Finish::Keep)?,
        })
    }

    /// Multiplies each channel of `x [pixels, channels]` by its weight, from 0 to 1.
    fn apply(&self, x: &mut [f32]) {
        let channels = self.up.outputs();
        let mean = average_pool(x, channels);
        let (mut squeezed, mut factors) = (vec![0.0; self.down.outputs()], vec![0.0; channels]);
        self.down.apply(&mean, &mut squeezed);
        self.up.apply(&squeezed, &mut factors);
        factors.iter_mut().for_each(|factor| *factor = hard_sigmoid(*factor));
        for pixel in x.chunks_exact_mut(channels) {
            pixel.iter_mut().zip(&factors).for_each(|(x, factor)| *x *= factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_activations_are_pytorchs() {
        for (x, sigmoid) in [(-4.0f32, 0.0), (-3.0, 0.0), (-1.5, 0.25), (0.0, 0.5), (3.0, 1.0), (7.0, 1.0)] {
            assert!((hard_sigmoid(x) - sigmoid).abs() < 1e-6, "{x}");
            let line = Linear::full(&[1.0], 1, vec![0.0], Finish::HardSwish);
            let mut swish = [f32::NAN];
            line.apply(&[x], &mut swish);
            assert!((swish[0] - x * sigmoid).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn channels_are_weighed_by_their_means() {
        // Two channels, of means 2 and -1; squeezed to their sum, 1, from which 3 and -3 are made.
        let down = Linear::full(&[1.0, 1.0], 2, vec![0.0], Finish::Relu);
        let up = Linear::full(&[3.0, -3.0], 1, vec![0.0; 2], Finish::Keep);
        let mut x = [1.0, -1.5, 3.0, -0.5];
        Weigh { down, up }.apply(&mut x);
        assert_eq!(x, [1.0, 0.0, 3.0, 0.0]);
    }
}
