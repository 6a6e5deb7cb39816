//! The inner kernel of a depthwise convolution: one output row, every channel with its own filter (Howard et al., 2017).
//!
//! Shapes: `x [rows, side, channels]`, weights `[kernel, kernel, channels]`, `out [outputs, channels]`. Sums of four neighbouring
//! pixels and two registers of channels stay in registers over all taps, so that a weight is loaded once for four of them; pixels at
//! the border, of whose taps some lie outside, are taken one at a time.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::tile::{Finish, finished};

/// Neighbouring pixels of a row that are worked out together.
const PIXELS: usize = 4;

/// One row of a depthwise convolution.
pub(crate) struct DepthwiseRow<'a> {
    /// The input's rows from `first` on, as far as they are needed: `[rows, side, channels]`.
    pub(crate) x: &'a [f32],
    pub(crate) first: usize,
    pub(crate) side: usize,
    pub(crate) channels: usize,
    /// `[kernel, kernel, weights_stride]`, of which the first `channels` are used.
    pub(crate) weights: &'a [f32],
    pub(crate) weights_stride: usize,
    /// `[channels]`.
    pub(crate) bias: &'a [f32],
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Width of the border in front.
    pub(crate) before: usize,
    /// What happens to a sum.
    pub(crate) finish: Finish,
    /// Which row.
    pub(crate) y: usize,
}

impl DepthwiseRow<'_> {
    /// Fills `out [outputs, channels]`.
    pub(crate) fn run(&self, out: &mut [f32]) {
        Arch::new().dispatch(Run { row: self, out });
    }

    /// The taps of output `at` that lie inside, and the input under the first of these.
    #[inline(always)]
    fn taps(&self, at: usize) -> (Range<usize>, usize) {
        let start = at * self.stride;
        let first = self.before.saturating_sub(start).min(self.kernel);
        let last = (self.side + self.before).saturating_sub(start).min(self.kernel);
        (first..last.max(first), (start + first).saturating_sub(self.before))
    }
}

struct Run<'a> {
    row: &'a DepthwiseRow<'a>,
    out: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    /// Channels outside, pixels inside: what a group of channels reads of a row of pixels fits into first-level cache.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Run { row, out } = self;
        let (lanes, channels) = (S::F32_LANES, row.channels);
        let mut channel = 0;
        while channel < channels {
            let left = channels - channel;
            if left >= 2 * lanes {
                pixels::<S, 2>(simd, row, channel, out, Whole);
            } else if left >= lanes {
                pixels::<S, 1>(simd, row, channel, out, Whole);
            } else {
                pixels::<S, 1>(simd, row, channel, out, Part(left));
            }
            channel += if left >= 2 * lanes { 2 * lanes } else { lanes };
        }
        if row.finish.range().is_none() {
            let (whole, rest) = S::as_mut_simd_f32s(out);
            for sum in whole {
                *sum = finished(simd, row.finish, *sum);
            }
            let sum = finished(simd, row.finish, simd.partial_load_f32s(rest));
            simd.partial_store_f32s(rest, sum);
        }
    }
}

/// All pixels of the row, `V` registers of channels from `channel` on.
#[inline(always)]
fn pixels<S: Simd, const V: usize>(
    simd: S,
    row: &DepthwiseRow<'_>,
    channel: usize,
    out: &mut [f32],
    access: impl Access,
) {
    let outputs = out.len() / row.channels;
    let is_inside = |column: usize| row.taps(column).0.len() == row.kernel;
    let mut column = 0;
    while column < outputs {
        let last = column + PIXELS - 1;
        if last < outputs && is_inside(column) && is_inside(last) {
            channels_of::<S, PIXELS, V>(simd, row, At { column, channel }, out, access);
            column += PIXELS;
        } else {
            channels_of::<S, 1, V>(simd, row, At { column, channel }, out, access);
            column += 1;
        }
    }
}

/// The first of the pixels and channels that are worked out together.
#[derive(Clone, Copy)]
struct At {
    column: usize,
    channel: usize,
}

/// How `V` registers come from and go to the beginning of a slice.
trait Access: Copy {
    /// Numbers that are read or written.
    fn count<S: Simd, const V: usize>(self) -> usize;
    fn load<S: Simd, const V: usize>(self, simd: S, from: &[f32]) -> [S::f32s; V];
    fn store<S: Simd, const V: usize>(self, simd: S, vectors: [S::f32s; V], to: &mut [f32]);
}

/// All lanes.
#[derive(Clone, Copy)]
struct Whole;

/// The first lanes of one register.
#[derive(Clone, Copy)]
struct Part(usize);

impl Access for Whole {
    #[inline(always)]
    fn count<S: Simd, const V: usize>(self) -> usize {
        V * S::F32_LANES
    }

    #[inline(always)]
    fn load<S: Simd, const V: usize>(self, simd: S, from: &[f32]) -> [S::f32s; V] {
        let (vectors, _) = S::as_simd_f32s(&from[..V * S::F32_LANES]);
        let mut loaded = [simd.splat_f32s(0.0); V];
        loaded.copy_from_slice(vectors);
        loaded
    }

    #[inline(always)]
    fn store<S: Simd, const V: usize>(self, _: S, vectors: [S::f32s; V], to: &mut [f32]) {
        let (slots, _) = S::as_mut_simd_f32s(&mut to[..V * S::F32_LANES]);
        slots.copy_from_slice(&vectors);
    }
}

impl Access for Part {
    #[inline(always)]
    fn count<S: Simd, const V: usize>(self) -> usize {
        self.0
    }

    #[inline(always)]
    fn load<S: Simd, const V: usize>(self, simd: S, from: &[f32]) -> [S::f32s; V] {
        [simd.partial_load_f32s(&from[..self.0]); V]
    }

    #[inline(always)]
    fn store<S: Simd, const V: usize>(self, simd: S, vectors: [S::f32s; V], to: &mut [f32]) {
        simd.partial_store_f32s(&mut to[..self.0], vectors[0]);
    }
}

/// `N` neighbouring pixels, whose taps are alike, in `V` registers of channels. Of what finishes a sum, only clamping is done here.
#[inline(always)]
fn channels_of<S: Simd, const N: usize, const V: usize>(
    simd: S,
    row: &DepthwiseRow<'_>,
    At { column, channel }: At,
    out: &mut [f32],
    access: impl Access,
) {
    let channels = row.channels;
    let count = access.count::<S, V>();
    let step = row.stride * channels;
    let mut sums = [access.load::<S, V>(simd, &row.bias[channel..]); N];
    let ((rows, iy), (columns, ix)) = (row.taps(row.y), row.taps(column));
    for (ky, iy) in rows.zip(iy..) {
        let line = &row.x[((iy - row.first) * row.side + ix) * channels + channel..];
        let weights = &row.weights[(ky * row.kernel + columns.start) * row.weights_stride + channel..];
        for tap in 0..columns.len() {
            let weights = access.load::<S, V>(simd, &weights[tap * row.weights_stride..][..count]);
            let line = &line[tap * channels..][..(N - 1) * step + count];
            for n in 0..N {
                let pixel = access.load::<S, V>(simd, &line[n * step..][..count]);
                for v in 0..V {
                    sums[n][v] = simd.mul_add_e_f32s(pixel[v], weights[v], sums[n][v]);
                }
            }
        }
    }
    let (least, most) = row.finish.range().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    let (least, most) = (simd.splat_f32s(least), simd.splat_f32s(most));
    for (n, mut sums) in sums.into_iter().enumerate() {
        for sum in &mut sums {
            *sum = simd.min_f32s(simd.max_f32s(*sum, least), most);
        }
        access.store(simd, sums, &mut out[(column + n) * channels + channel..][..count]);
    }
}
