//! Convolutions over `[height, width, channels]` with TensorFlow's "SAME" padding and the batch norm folded in.
//!
//! A 1 x 1 convolution is a matrix product over pixels (`math::linear`); here are the two others: depthwise, one filter
//! per channel, and the stem, whose 3 x 3 x 3 neighbourhoods are gathered into rows for a matrix product.
//! "SAME": outputs = ceil(inputs / stride), padding shared equally, the odd row and column at the end.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// How a window moves along one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Same {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    kernel: usize,
    stride: usize,
    before: usize,
}

impl Same {
    pub(crate) fn new(inputs: usize, kernel: usize, stride: usize) -> Same {
        let outputs = inputs.div_ceil(stride);
        let padding = ((outputs.max(1) - 1) * stride + kernel).saturating_sub(inputs);
        Same { inputs, outputs, kernel, stride, before: padding / 2 }
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

/// One filter per channel, followed by ReLU6.
pub(crate) struct Depthwise {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) channels: usize,
    /// `[kernel, kernel, channels]`.
    weights: Vec<f32>,
    /// `[channels]`.
    bias: Vec<f32>,
}

impl Depthwise {
    /// From PyTorch's `[channels, 1, kernel, kernel]`, a factor and a bias per channel.
    pub(crate) fn new(
        weights: &[f32],
        scale: &[f32],
        bias: Vec<f32>,
        kernel: usize,
        stride: usize,
    ) -> Depthwise {
        let (channels, taps) = (bias.len(), kernel * kernel);
        let mut turned = vec![0.0; weights.len()];
        for (channel, (filter, scale)) in weights.chunks_exact(taps).zip(scale).enumerate() {
            for (tap, weight) in filter.iter().enumerate() {
                turned[tap * channels + channel] = weight * scale;
            }
        }
        Depthwise { kernel, stride, channels, weights: turned, bias }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice()) + size_of_val(self.bias.as_slice())
    }

    /// Side of the result for a square input.
    pub(crate) fn outputs(&self, side: usize) -> usize {
        side.div_ceil(self.stride)
    }

    /// `x [side, side, channels]` to `out [outputs, outputs, channels]`, row by row.
    pub(crate) fn apply(&self, x: &[f32], side: usize, out: &mut [f32], shared: bool) {
        let same = Same::new(side, self.kernel, self.stride);
        let row = |(y, out): (usize, &mut [f32])| Arch::new().dispatch(Row { filter: self, x, same, y, out });
        let length = same.outputs * self.channels;
        if shared {
            out.par_chunks_exact_mut(length).enumerate().for_each(row);
        } else {
            out.chunks_exact_mut(length).enumerate().for_each(row);
        }
    }
}

/// One output row of a depthwise convolution.
struct Row<'a> {
    filter: &'a Depthwise,
    x: &'a [f32],
    same: Same,
    y: usize,
    out: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Row { filter, x, same, y, out } = self;
        let channels = filter.channels;
        let lanes = S::F32_LANES;
        let whole = channels / lanes * lanes;
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            for channel in (0..whole).step_by(lanes) {
                let at = |numbers: &[f32], start: usize| -> S::f32s {
                    let vectors: &[S::f32s] = bytemuck::cast_slice(&numbers[start + channel..][..lanes]);
                    vectors[0]
                };
                let mut sum = at(&filter.bias, 0);
                for (ky, iy) in same.taps(y) {
                    for (kx, ix) in same.taps(column) {
                        let pixel = at(x, (iy * same.inputs + ix) * channels);
                        let weight = at(&filter.weights, (ky * filter.kernel + kx) * channels);
                        sum = simd.mul_add_e_f32s(pixel, weight, sum);
                    }
                }
                sum = simd.min_f32s(simd.max_f32s(sum, simd.splat_f32s(0.0)), simd.splat_f32s(6.0));
                out[channel..][..lanes].copy_from_slice(bytemuck::cast_slice(&[sum]));
            }
            for channel in whole..channels {
                let mut sum = filter.bias[channel];
                for (ky, iy) in same.taps(y) {
                    for (kx, ix) in same.taps(column) {
                        sum += x[(iy * same.inputs + ix) * channels + channel]
                            * filter.weights[(ky * filter.kernel + kx) * channels + channel];
                    }
                }
                out[channel] = sum.clamp(0.0, 6.0);
            }
        }
    }
}

/// Neighbourhoods of `x [side, side, channels]` as rows `[outputs * outputs, kernel * kernel * channels]`.
pub(crate) fn gather(x: &[f32], side: usize, channels: usize, kernel: usize, stride: usize) -> Vec<f32> {
    let same = Same::new(side, kernel, stride);
    let depth = kernel * kernel * channels;
    let mut rows = vec![0.0; same.outputs * same.outputs * depth];
    for (pixel, row) in rows.chunks_exact_mut(depth).enumerate() {
        for (ky, iy) in same.taps(pixel / same.outputs) {
            for (kx, ix) in same.taps(pixel % same.outputs) {
                row[(ky * kernel + kx) * channels..][..channels]
                    .copy_from_slice(&x[(iy * side + ix) * channels..][..channels]);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_tensorflows() {
        let same = Same::new(224, 3, 2);
        assert_eq!((same.outputs, same.before), (112, 0));
        assert_eq!(same.taps(111).collect::<Vec<_>>(), [(0, 222), (1, 223)]);
        let same = Same::new(7, 5, 1);
        assert_eq!((same.outputs, same.before), (7, 2));
        assert_eq!(same.taps(0).collect::<Vec<_>>(), [(2, 0), (3, 1), (4, 2)]);
    }

    #[test]
    fn depthwise_equals_the_plain_loops() {
        for (side, kernel, stride, channels) in [(7, 3, 1, 32), (8, 5, 2, 19), (5, 3, 2, 1), (9, 5, 1, 48)] {
            let number = |i: usize| ((i * 7919) % 101) as f32 / 101.0 - 0.3;
            let x: Vec<f32> = (0..side * side * channels).map(number).collect();
            let weights: Vec<f32> = (0..channels * kernel * kernel).map(|i| number(i + 5)).collect();
            let scale: Vec<f32> = (0..channels).map(|i| number(i + 11) + 1.0).collect();
            let bias: Vec<f32> = (0..channels).map(number).collect();
            let layer = Depthwise::new(&weights, &scale, bias.clone(), kernel, stride);
            let outputs = layer.outputs(side);
            let mut out = vec![f32::NAN; outputs * outputs * channels];
            layer.apply(&x, side, &mut out, true);
            let padding = ((outputs - 1) * stride + kernel).saturating_sub(side) / 2;
            for (i, received) in out.iter().enumerate() {
                let (y, column, channel) = (i / channels / outputs, i / channels % outputs, i % channels);
                let mut sum = bias[channel];
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let (iy, ix) = (y * stride + ky, column * stride + kx);
                        let inside = |i: usize| i >= padding && i - padding < side;
                        if inside(iy) && inside(ix) {
                            let pixel = x[((iy - padding) * side + ix - padding) * channels + channel];
                            sum += pixel * weights[(channel * kernel + ky) * kernel + kx] * scale[channel];
                        }
                    }
                }
                assert!((received - sum.clamp(0.0, 6.0)).abs() < 1e-5, "{received} {sum}");
            }
        }
    }
}
