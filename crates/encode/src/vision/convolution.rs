//! Convolutions over `[height, width, channels]`, the batch norm folded in.
//!
//! Depthwise ones have one filter per channel. Full ones are matrix products (`math::linear`): of the pixels themselves where
//! the kernel is 1 x 1, else of their neighbourhoods, which are gathered into rows for a matrix product, a block of pixels at a time so that the
//! rows stay in cache. Padding is TensorFlow's "SAME" (outputs = ceil(inputs / stride), shared equally, the odd row and column
//! at the end) or PyTorch's, half a kernel on every side.

use std::ops::Range;

use super::buffer::{Buffer, in_pieces};
use super::winograd::Winograd;
use crate::math::depthwise::DepthwiseRow;
use crate::math::linear::{Finish, Linear};
use crate::models::ModelError;
use crate::weights::{Weights, permuted};

/// Pixels whose neighbourhoods are gathered at a time.
const PIXEL_BLOCK: usize = 256;

/// How a window moves along one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    before: usize,
}

impl Window {
    /// TensorFlow's "SAME".
    fn same(inputs: usize, kernel: usize, stride: usize) -> Window {
        let outputs = inputs.div_ceil(stride);
        let padding = ((outputs.max(1) - 1) * stride + kernel).saturating_sub(inputs);
        Window { inputs, outputs, kernel, stride, before: padding / 2 }
    }

    /// PyTorch's with `padding = kernel / 2`.
    fn centred(inputs: usize, kernel: usize, stride: usize) -> Window {
        let before = kernel / 2;
        let outputs = (inputs + 2 * before).saturating_sub(kernel) / stride + 1;
        Window { inputs, outputs, kernel, stride, before }
    }

    /// Input rows that these output rows read, without those outside.
    fn read_by(self, outputs: Range<usize>) -> Range<usize> {
        let inside = |row: usize| row.saturating_sub(self.before).min(self.inputs);
        inside(outputs.start * self.stride)..inside((outputs.end.max(1) - 1) * self.stride + self.kernel)
    }

    /// Whether some taps of some outputs lie outside.
    fn has_border(self) -> bool {
        self.before > 0 || (self.outputs.max(1) - 1) * self.stride + self.kernel > self.inputs
    }

    /// (tap, input position) pairs of output `at` that lie inside.
    #[inline(always)]
    fn taps(self, at: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
        let start = at * self.stride;
        (0..self.kernel).filter_map(move |tap| {
            let position = (start + tap).checked_sub(self.before)?;
            (position < self.inputs).then_some((tap, position))
        })
    }
}

/// One filter per channel.
pub(crate) struct Depthwise {
    /// As many channels out as in.
    plan: Plan,
    /// `[kernel, kernel, channels]`.
    weights: Vec<f32>,
    /// `[channels]`.
    bias: Vec<f32>,
}

impl Depthwise {
    /// The tensor `conv`, which has no bias of its own, and the batch norm `norm` after it.
    pub(crate) fn read(
        weights: &Weights,
        conv: &str,
        norm: &str,
        epsilon: f32,
        plan: Plan,
    ) -> Result<Depthwise, ModelError> {
        let Plan { inputs, kernel, .. } = plan;
        let (scale, bias) = weights.batch_norm(norm, inputs, epsilon)?;
        let filters = weights.dense(&format!("{conv}.weight"), &[inputs, 1, kernel, kernel])?;
        Ok(Depthwise::new(&filters, &scale, bias, plan))
    }

    /// From PyTorch's `[channels, 1, kernel, kernel]`, a factor and a bias per channel.
    fn new(weights: &[f32], scale: &[f32], bias: Vec<f32>, plan: Plan) -> Depthwise {
        let (channels, taps) = (plan.inputs, plan.kernel * plan.kernel);
        let mut turned = permuted(weights, weights.len(), |at| at % taps * channels + at / taps);
        for tap in turned.chunks_exact_mut(channels) {
            tap.iter_mut().zip(scale).for_each(|(weight, scale)| *weight *= scale);
        }
        Depthwise { plan, weights: turned, bias }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice()) + size_of_val(self.bias.as_slice())
    }

    /// What its kernel, stride and padding are.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Rows `rows` of the result and of its channels only `some`: `out [rows, side', some]`. `x [.., side, some]` holds the input's
    /// rows from `first` on, as far as they are [needed](Plan::rows_read).
    pub(crate) fn rows(
        &self,
        (x, first, side): (&[f32], usize, usize),
        some: &Range<usize>,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let Plan { inputs: weights_stride, kernel, stride, finish, .. } = self.plan;
        let window = self.plan.window(side);
        let (channels, before) = (some.len(), window.before);
        let (weights, bias) = (&self.weights[some.start..], &self.bias[some.clone()]);
        for (y, out) in rows.zip(out.chunks_exact_mut(window.outputs * channels)) {
            let row = DepthwiseRow {
                x,
                first,
                side,
                channels,
                weights,
                weights_stride,
                bias,
                kernel,
                stride,
                before,
                finish,
                y,
            };
            row.run(out);
        }
    }
}

/// Neighbourhoods of some output pixels of `x [side, side, channels]`, row by row, as rows `[pixels, kernel * kernel * channels]`.
fn gather(x: &[f32], channels: usize, window: Window, pixels: Range<usize>) -> Buffer {
    let (side, kernel) = (window.inputs, window.kernel);
    let depth = kernel * kernel * channels;
    let mut rows = Buffer::take(pixels.len() * depth);
    if window.has_border() {
        rows.fill(0.0);
    }
    for (pixel, row) in pixels.zip(rows.chunks_exact_mut(depth)) {
        for (ky, iy) in window.taps(pixel / window.outputs) {
            for (kx, ix) in window.taps(pixel % window.outputs) {
                row[(ky * kernel + kx) * channels..][..channels]
                    .copy_from_slice(&x[(iy * side + ix) * channels..][..channels]);
            }
        }
    }
    rows
}

/// Where the border goes that a window needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// TensorFlow's "SAME".
    Same,
    /// Half a kernel on every side, as PyTorch's networks have it.
    Centred,
}

/// What a convolution is like, apart from its weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Channels in and out.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: Padding,
    pub(crate) finish: Finish,
}

impl Plan {
    /// The side of the result for an input of side `side`.
    pub(crate) fn next(&self, side: usize) -> usize {
        self.window(side).outputs
    }

    /// Rows of an input of side `side` that rows `outputs` of the result are made of.
    pub(crate) fn rows_read(&self, side: usize, outputs: Range<usize>) -> Range<usize> {
        self.window(side).read_by(outputs)
    }

    fn window(&self, side: usize) -> Window {
        match self.padding {
            Padding::Same => Window::same(side, self.kernel, self.stride),
            Padding::Centred => Window::centred(side, self.kernel, self.stride),
        }
    }
}

/// A full convolution.
pub(crate) struct Convolution {
    plan: Plan,
    form: Form,
}

enum Form {
    /// A matrix product of pixels or of their neighbourhoods.
    Plain(Linear),
    /// Fewer products, for 3 x 3 at stride 1.
    Winograd(Winograd),
}

impl Convolution {
    /// The tensor `conv`, which has no bias of its own, and the batch norm `norm` after it.
    pub(crate) fn read(
        weights: &Weights,
        conv: &str,
        norm: &str,
        epsilon: f32,
        plan: Plan,
    ) -> Result<Convolution, ModelError> {
        let Plan { inputs, outputs, kernel, .. } = plan;
        let (scale, bias) = weights.batch_norm(norm, outputs, epsilon)?;
        let filters = weights.dense(&format!("{conv}.weight"), &[outputs, inputs, kernel, kernel])?;
        Ok(Convolution::new(&filters, &scale, bias, plan))
    }

    /// From PyTorch's `[outputs, inputs, kernel, kernel]`, a factor and a bias per output.
    fn new(weights: &[f32], scale: &[f32], bias: Vec<f32>, plan: Plan) -> Convolution {
        let (taps, channels) = (plan.kernel * plan.kernel, plan.inputs);
        let mut turned = permuted(weights, taps * channels, |at| at % taps * channels + at / taps);
        for (filter, scale) in turned.chunks_exact_mut(taps * channels).zip(scale) {
            filter.iter_mut().for_each(|weight| *weight *= scale);
        }
        let is_centred = (plan.kernel, plan.stride, plan.padding) == (3, 1, Padding::Centred);
        let form = match is_centred && Winograd::suits(plan.inputs, plan.outputs) {
            true => Form::Winograd(Winograd::new(&turned, plan.inputs, bias, plan.finish)),
            false => Form::Plain(Linear::full(&turned, taps * channels, bias, plan.finish)),
        };
        Convolution { plan, form }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.form {
            Form::Plain(linear) => linear.bytes(),
            Form::Winograd(winograd) => winograd.bytes(),
        }
    }

    /// The matrix product that a convolution of 1 x 1 at stride 1 is, pixel by pixel.
    pub(crate) fn of_pixels(&self) -> &Linear {
        match &self.form {
            Form::Plain(linear) if (self.plan.kernel, self.plan.stride) == (1, 1) => linear,
            _ => unreachable!("asked of convolutions of 1 x 1 only"),
        }
    }

    /// `x [side, side, channels]` to `[side', side', outputs]` and that side; `shared` lets the other threads help.
    pub(crate) fn apply(&self, x: &[f32], side: usize, shared: bool) -> (Buffer, usize) {
        let Plan { inputs, kernel, stride, .. } = self.plan;
        let window = self.plan.window(side);
        let linear = match &self.form {
            Form::Winograd(winograd) => return (winograd.apply(x, side, shared), window.outputs),
            Form::Plain(linear) => linear,
        };
        let (pixels, outputs) = (window.outputs * window.outputs, linear.outputs());
        let mut out = Buffer::take(pixels * outputs);
        let threads = if shared { rayon::current_num_threads() } else { 1 };
        if (kernel, stride) == (1, 1) {
            linear.run(x, &mut out, shared);
        } else if pixels < PIXEL_BLOCK * threads {
            // Too few pixels to share out: the outputs are.
            linear.run(&gather(x, inputs, window, 0..pixels), &mut out, shared);
        } else {
            in_pieces(&mut out, PIXEL_BLOCK * outputs, shared, |at, out| {
                let first = at * PIXEL_BLOCK;
                linear.apply(&gather(x, inputs, window, first..first + out.len() / outputs), out);
            });
        }
        (out, window.outputs)
    }
}

/// The largest of each channel in windows of 3 x 3 at stride 2, with a border of 1 that counts as nothing.
pub(crate) fn max_pool(x: &[f32], side: usize, channels: usize, shared: bool) -> (Buffer, usize) {
    let window = Window::centred(side, 3, 2);
    let mut out = Buffer::take(window.outputs * window.outputs * channels);
    in_pieces(&mut out, window.outputs * channels, shared, |y, out| {
        out.fill(f32::NEG_INFINITY);
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            for (_, iy) in window.taps(y) {
                for (_, ix) in window.taps(column) {
                    let x = &x[(iy * side + ix) * channels..][..channels];
                    // Not `max`, which minds what is no number and is no vector instruction.
                    out.iter_mut().zip(x).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
                }
            }
        }
    });
    (out, window.outputs)
}

/// The mean of each channel of `x [pixels, channels]`.
pub(crate) fn average_pool(x: &[f32], channels: usize) -> Vec<f32> {
    let mut mean = vec![0.0; channels];
    for pixel in x.chunks_exact(channels) {
        mean.iter_mut().zip(pixel).for_each(|(sum, number)| *sum += number);
    }
    let pixels = (x.len() / channels).max(1) as f32;
    mean.iter_mut().for_each(|sum| *sum /= pixels);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_tensorflows() {
        let same = Window::same(224, 3, 2);
        assert_eq!((same.outputs, same.before), (112, 0));
        assert_eq!(same.taps(111).collect::<Vec<_>>(), [(0, 222), (1, 223)]);
        let same = Window::same(7, 5, 1);
        assert_eq!((same.outputs, same.before), (7, 2));
        assert_eq!(same.taps(0).collect::<Vec<_>>(), [(2, 0), (3, 1), (4, 2)]);
    }

    #[test]
    fn full_equals_the_plain_loops() {
        for (side, kernel, stride, channels, outputs) in [
            (40, 3, 1, 5, 7),
            (9, 3, 2, 4, 33),
            (30, 7, 2, 3, 6),
            (8, 1, 2, 6, 5),
            (7, 1, 1, 3, 4),
            (7, 3, 1, 16, 32),
            (30, 3, 1, 32, 16),
        ] {
            let number = |i: usize| ((i * 7919) % 101) as f32 / 101.0 - 0.3;
            let x: Vec<f32> = (0..side * side * channels).map(number).collect();
            let weights: Vec<f32> =
                (0..outputs * channels * kernel * kernel).map(|i| number(i + 5)).collect();
            let scale: Vec<f32> = (0..outputs).map(|i| number(i + 11) + 1.0).collect();
            let bias: Vec<f32> = (0..outputs).map(number).collect();
            let (inputs, padding, finish) = (channels, Padding::Centred, Finish::Relu);
            let plan = Plan { inputs, outputs, kernel, stride, padding, finish };
            let layer = Convolution::new(&weights, &scale, bias.clone(), plan);
            let (out, next) = layer.apply(&x, side, true);
            let (alone, alone_next) = layer.apply(&x, side, false);
            assert_eq!((next, &*out), (alone_next, &*alone));
            assert_eq!(next, (side + 2 * (kernel / 2) - kernel) / stride + 1);
            for (i, received) in out.iter().enumerate() {
                let (y, column, output) = (i / outputs / next, i / outputs % next, i % outputs);
                let mut sum = bias[output];
                for (tap, weight) in weights[output * channels * kernel * kernel..].iter().enumerate() {
                    let (channel, ky, kx) = (tap / kernel / kernel, tap / kernel % kernel, tap % kernel);
                    if channel == channels {
                        break;
                    }
                    let (iy, ix) = (y * stride + ky, column * stride + kx);
                    let inside = |i: usize| i >= kernel / 2 && i - kernel / 2 < side;
                    if inside(iy) && inside(ix) {
                        let pixel = x[((iy - kernel / 2) * side + ix - kernel / 2) * channels + channel];
                        sum += pixel * weight * scale[output];
                    }
                }
                assert!((received - sum.max(0.0)).abs() < 1e-4, "{received} {sum}");
            }
        }
    }

    #[test]
    fn pools_take_the_largest_and_the_mean() {
        let x: Vec<f32> = (0..16).map(|x| x as f32 - 20.0).collect();
        let (pooled, side) = max_pool(&x, 4, 1, true);
        assert_eq!((&*pooled, side), ([-15.0, -13.0, -7.0, -5.0].as_slice(), 2));
        assert_eq!(average_pool(&[1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
    }

    #[test]
    fn depthwise_equals_the_plain_loops() {
        use Finish::{Keep, Relu, Relu6};
        use Padding::{Centred, Same};
        for (side, kernel, stride, channels, padding, finish) in [
            (7, 3, 1, 32, Same, Relu6),
            (8, 5, 2, 19, Same, Relu6),
            (5, 3, 2, 1, Same, Relu),
            (9, 5, 1, 48, Centred, Keep),
            (8, 3, 2, 17, Centred, Relu),
            (8, 5, 2, 33, Centred, Relu6),
        ] {
            let number = |i: usize| ((i * 7919) % 101) as f32 / 101.0 - 0.3;
            let x: Vec<f32> = (0..side * side * channels).map(number).collect();
            let weights: Vec<f32> = (0..channels * kernel * kernel).map(|i| number(i + 5)).collect();
            let scale: Vec<f32> = (0..channels).map(|i| number(i + 11) + 1.0).collect();
            let bias: Vec<f32> = (0..channels).map(number).collect();
            let plan = Plan { inputs: channels, outputs: channels, kernel, stride, padding, finish };
            let layer = Depthwise::new(&weights, &scale, bias.clone(), plan);
            let outputs = plan.next(side);
            let mut out = vec![f32::NAN; outputs * outputs * channels];
            layer.rows((&x, 0, side), &(0..channels), 0..outputs, &mut out);
            // The same from the rows that it needs alone, and of the channels a part.
            let (some, rows) = (channels / 3..channels, outputs / 2..outputs);
            let needed = plan.rows_read(side, rows.clone());
            let part = x[needed.start * side * channels..needed.end * side * channels].chunks_exact(channels);
            let part: Vec<f32> = part.flat_map(|pixel| &pixel[some.clone()]).copied().collect();
            let mut received = vec![f32::NAN; rows.len() * outputs * some.len()];
            layer.rows((&part, needed.start, side), &some, rows.clone(), &mut received);
            let expected = out[rows.start * outputs * channels..].chunks_exact(channels);
            let expected: Vec<f32> = expected.flat_map(|pixel| &pixel[some.clone()]).copied().collect();
            assert_eq!(received, expected);
            let before = match padding {
                Same => ((outputs - 1) * stride + kernel).saturating_sub(side) / 2,
                Centred => kernel / 2,
            };
            assert_eq!(outputs, side.div_ceil(stride), "an odd kernel, either way");
            for (i, received) in out.iter().enumerate() {
                let (y, column, channel) = (i / channels / outputs, i / channels % outputs, i % channels);
                let mut sum = bias[channel];
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let (iy, ix) = (y * stride + ky, column * stride + kx);
                        let inside = |i: usize| i >= before && i - before < side;
                        if inside(iy) && inside(ix) {
                            let pixel = x[((iy - before) * side + ix - before) * channels + channel];
                            sum += pixel * weights[(channel * kernel + ky) * kernel + kx] * scale[channel];
                        }
                    }
                }
                let expected = match finish {
                    Keep => sum,
                    Relu => sum.max(0.0),
                    Relu6 => sum.clamp(0.0, 6.0),
                    other => unreachable!("{other:?} is not among the cases"),
                };
                assert!((received - expected).abs() < 1e-5, "{received} {expected}");
            }
        }
    }
}
