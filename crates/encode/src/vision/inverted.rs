//! The inverted residual block that MobileNets and EfficientNets are made of (Sandler et al., 2018): widen, filter each channel,
//! weigh the channels, narrow; added to the input where the shapes agree.
//!
//! Shapes: `[side, side, inputs]` to `[side', side', outputs]`, `wide` channels between. Weighing them, squeeze-and-excitation
//! (Hu et al., 2018), is a network of two layers over the mean of each channel; not every block has it, nor does one widen that
//! is as wide as its input. Batch norms are folded into the convolution before them.

use std::ops::Range;

use rayon::prelude::*;

use super::buffer::Buffer;
use super::convolution::{Convolution, Depthwise, Padding, Plan, average_pool};
use crate::math::linear::{Finish, Linear, Place};
use crate::models::ModelError;
use crate::weights::Weights;

/// Numbers between the layers that are made before they are used: 384 KiB.
const BAND_NUMBERS: usize = 96 << 10;
/// Sides below which threads share out channels and not rows.
const SMALL_SIDE: usize = 20;

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
        let next = self.depthwise.plan().next(side);
        let threads = if shared { rayon::current_num_threads() } else { 1 };
        let mut out = Buffer::take(next * next * self.project.of_pixels().outputs());
        match &self.weigh {
            Some(weigh) => {
                // The weights come from all pixels, so all of them are filtered first.
                let mut filtered = Buffer::take(next * next * self.wide());
                self.by_rows(x, side, threads, &mut filtered, |_, filtered, out| {
                    out.copy_from_slice(filtered)
                });
                weigh.apply(&mut filtered);
                self.project.of_pixels().run(&filtered, &mut out, shared);
                self.add_residual(x, &mut out);
            }
            None if threads > 1 && next < SMALL_SIDE => self.by_channels(x, side, threads, &mut out),
            None => self.by_rows(x, side, threads, &mut out, |rows, filtered, out| {
                self.project.of_pixels().apply(filtered, out);
                let width = next * self.project.of_pixels().outputs();
                self.add_residual(x.get(rows.start * width..).unwrap_or_default(), out);
            }),
        }
        (out, next)
    }

    fn wide(&self) -> usize {
        self.depthwise.plan().inputs
    }

    fn add_residual(&self, x: &[f32], out: &mut [f32]) {
        if self.is_residual {
            out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
        }
    }

    /// Every thread makes rows of its own, `finish`ed band by band: `finish(rows, filtered [rows, side', wide], out)`.
    fn by_rows(
        &self,
        x: &[f32],
        side: usize,
        threads: usize,
        out: &mut [f32],
        finish: impl Fn(Range<usize>, &[f32], &mut [f32]) + Sync,
    ) {
        let next = self.depthwise.plan().next(side);
        let (share, length) = (next.div_ceil(threads), out.len() / next);
        let part = |(at, out): (usize, &mut [f32])| {
            let rows = at * share..at * share + out.len() / length;
            self.bands(x, side, rows, out, &finish);
        };
        match threads {
            1 => part((0, out)),
            _ => out.par_chunks_mut(share * length).enumerate().for_each(part),
        }
    }

    /// Widens and filters a band of rows at a time, so that what lies between stays in cache; what the next band reads again is kept.
    fn bands(
        &self,
        x: &[f32],
        side: usize,
        rows: Range<usize>,
        out: &mut [f32],
        finish: &(impl Fn(Range<usize>, &[f32], &mut [f32]) + Sync),
    ) {
        let (plan, wide) = (self.depthwise.plan(), self.wide());
        let (next, inputs) = (plan.next(side), x.len() / (side * side));
        let length = out.len() / rows.len();
        let height = band_height(plan, side, rows.len(), if self.expand.is_some() { wide } else { 0 });
        let most_read = (height - 1) * plan.stride + plan.kernel;
        let mut widened = Buffer::take(if self.expand.is_some() { most_read * side * wide } else { 0 });
        let mut filtered = Buffer::take(height * next * wide);
        let mut kept = 0..0;
        for (at, out) in out.chunks_mut(height * length).enumerate() {
            let first = rows.start + at * height;
            let band = first..first + out.len() / length;
            let filtered = &mut filtered[..band.len() * next * wide];
            let read = plan.rows_read(side, band.clone());
            if let Some(expand) = &self.expand {
                let line = side * wide;
                let done = kept.end.max(read.start);
                if done > read.start {
                    widened.copy_within((read.start - kept.start) * line..(done - kept.start) * line, 0);
                }
                let fresh = &mut widened[(done - read.start) * line..(read.end - read.start) * line];
                expand.of_pixels().apply(&x[done * side * inputs..read.end * side * inputs], fresh);
                kept = read.clone();
                self.depthwise.rows((&widened, read.start, side), &(0..wide), band.clone(), filtered);
            } else {
                self.depthwise.rows((x, 0, side), &(0..wide), band.clone(), filtered);
            }
            finish(band, filtered, out);
        }
    }

    /// Every thread makes the wide channels of its own and what they add to the result, which is summed in the end: where there are
    /// few rows, threads that share out rows would widen many of them twice.
    fn by_channels(&self, x: &[f32], side: usize, threads: usize, out: &mut [f32]) {
        let (wide, next, project) = (self.wide(), self.depthwise.plan().next(side), self.project.of_pixels());
        let unit = project.depth_step().max(project.width());
        let share = wide.div_ceil(unit).div_ceil(threads) * unit;
        let part = |first: usize| {
            let some = first..wide.min(first + share);
            let mut filtered = Buffer::take(next * next * some.len());
            let mut widened = Buffer::take(side * side * some.len());
            match &self.expand {
                Some(expand) => {
                    let stride = some.len();
                    let expand = expand.of_pixels();
                    let mut place = Place { out: &mut widened, stride, column: 0 };
                    expand.some(&expand.input(x), some.clone(), &mut place);
                }
                None => {
                    for (to, from) in widened.chunks_exact_mut(some.len()).zip(x.chunks_exact(wide)) {
                        to.copy_from_slice(&from[some.clone()]);
                    }
                }
            }
            self.depthwise.rows((&widened, 0, side), &some, 0..next, &mut filtered);
            let mut added = Buffer::take(next * next * project.outputs());
            project.share(&filtered, some, &mut added);
            added
        };
        let parts: Vec<Buffer> = (0..wide).into_par_iter().step_by(share).map(part).collect();
        for row in out.chunks_exact_mut(project.outputs()) {
            row.copy_from_slice(project.bias());
        }
        for part in parts {
            out.iter_mut().zip(&*part).for_each(|(out, part)| *out += part);
        }
        self.add_residual(x, out);
    }
}

/// Rows of the result to make at a time: as many as keep what is widened for them, and what is filtered, within a part of the
/// second-level cache, in bands of equal height.
fn band_height(plan: &Plan, side: usize, rows: usize, widened: usize) -> usize {
    let (next, overlap) = (plan.next(side), plan.kernel.saturating_sub(plan.stride));
    let per_row = plan.stride * side * widened + next * plan.inputs;
    let most = (BAND_NUMBERS.saturating_sub(overlap * side * widened) / per_row).clamp(1, rows);
    rows.div_ceil(rows.div_ceil(most))
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
