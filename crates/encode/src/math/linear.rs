//! A fully connected layer, `y = finish(x * transpose(W) + b)`, over packed weights.
//!
//! Shapes: `x [rows, inputs]`, `y [rows, outputs]`. Many rows are cut into blocks that threads take from one another;
//! a few rows (one query) share out the weights instead, since reading those is what costs.

use std::ops::Range;

use rayon::prelude::*;

use super::panels::{Activations, Panels};
pub(crate) use super::tile::Finish;
use super::tile::Job;
use crate::weights::{Matrix, Q8_BLOCK};

/// Rows one thread works on at a time: their activations stay in its second-level cache.
const ROW_BLOCK: usize = 256;
/// Multiply-adds below which handing work to another thread costs more than it saves.
const SHARE_ABOVE: usize = 1 << 20;

/// Weights and bias of a layer.
pub(crate) struct Linear {
    panels: Panels,
    /// Padded to whole panels.
    bias: Vec<f32>,
    finish: Finish,
}

/// What a layer multiplies, `[rows, inputs]`: made ready once for all threads.
pub(crate) struct Input<'a> {
    x: &'a [f32],
    activations: Activations,
}

impl Linear {
    /// From f32 weights `[outputs, inputs]` and `[outputs]` biases.
    pub(crate) fn full(weights: &[f32], inputs: usize, bias: Vec<f32>, finish: Finish) -> Linear {
        let panels = Panels::full(weights, inputs, bias.len());
        Linear::new(panels, bias, finish)
    }

    /// From matrices of `inputs` columns stacked along their outputs, which stay in 4 or 8 bits if all of them are.
    pub(crate) fn stacked(parts: Vec<Matrix>, inputs: usize, bias: Vec<f32>, finish: Finish) -> Linear {
        let packed: Vec<_> = parts.iter().filter_map(Matrix::as_q4).cloned().collect();
        if packed.len() == parts.len() {
            return Linear::new(Panels::q4(&packed), bias, finish);
        }
        let packed: Vec<_> = parts.iter().filter_map(Matrix::as_q8).cloned().collect();
        if packed.len() == parts.len() && inputs.is_multiple_of(Q8_BLOCK) {
            return Linear::new(Panels::q8(&packed), bias, finish);
        }
        let weights: Vec<f32> = parts.into_iter().flat_map(Matrix::into_full).collect();
        Linear::full(&weights, inputs, bias, finish)
    }

    fn new(panels: Panels, mut bias: Vec<f32>, finish: Finish) -> Linear {
        bias.resize(panels.count() * panels.width, 0.0);
        Linear { panels, bias, finish }
    }

    /// Numbers in a row of the result.
    pub(crate) fn outputs(&self) -> usize {
        self.panels.outputs
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.panels.bytes() + size_of_val(self.bias.as_slice())
    }

    /// `x [rows, inputs]` as [`Linear::some`] takes it.
    pub(crate) fn input<'a>(&self, x: &'a [f32]) -> Input<'a> {
        Input { x, activations: self.panels.activations(x, self.panels.inputs) }
    }

    /// Whether activations are rounded: then a number that differs in its last bit may become another one, so sums must be
    /// worked out in one order, however many threads there are.
    pub(crate) fn rounds(&self) -> bool {
        self.panels.round()
    }

    /// `shared`: with the help of the pool's other threads where that pays; else on the calling thread alone. `out` is
    /// overwritten.
    pub(crate) fn run(&self, x: &[f32], out: &mut [f32], shared: bool) {
        if shared { self.apply_shared(x, out) } else { self.apply(x, out) }
    }

    /// On the calling thread alone. `out` is overwritten.
    pub(crate) fn apply(&self, x: &[f32], out: &mut [f32]) {
        self.columns(&self.input(x), 0..self.panels.count(), out);
    }

    /// Shared with the other threads of the pool where that pays. `out` is overwritten.
    fn apply_shared(&self, x: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.panels.inputs, self.outputs());
        let rows = out.len() / outputs;
        let threads = rayon::current_num_threads();
        if threads == 1 || rows * inputs * outputs < SHARE_ABOVE {
            return self.apply(x, out);
        }
        let block = ROW_BLOCK.min(rows.div_ceil(threads));
        if block >= 32 {
            out.par_chunks_mut(block * outputs)
                .zip(x.par_chunks(block * inputs))
                .for_each(|(out, x)| self.apply(x, out));
            return;
        }
        // Threads may not write into one row at once, so each fills columns of its own and they are put together.
        let (count, width) = (self.panels.count(), self.panels.width);
        let per_thread = count.div_ceil(threads);
        let input = self.input(x);
        let parts: Vec<(usize, Vec<f32>)> = (0..count.div_ceil(per_thread))
            .into_par_iter()
            .map(|part| {
                let panels = part * per_thread..count.min((part + 1) * per_thread);
                let columns = (outputs - panels.start * width).min(panels.len() * width);
                let mut out = vec![0.0; rows * columns];
                self.columns(&input, panels, &mut out);
                (columns, out)
            })
            .collect();
        for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
            let mut rest = out;
            for (columns, part) in &parts {
                let (head, tail) = rest.split_at_mut(*columns);
                head.copy_from_slice(&part[row * columns..][..*columns]);
                rest = tail;
            }
        }
    }

    /// The columns of some panels, `out` being exactly as wide as these.
    fn columns(&self, input: &Input<'_>, range: Range<usize>, out: &mut [f32]) {
        let Panels { outputs, width, inputs, .. } = self.panels;
        let stride = (outputs - range.start * width).min(range.len() * width);
        self.product(input, 0..inputs, range, true, &mut Place { out, stride, column: 0 });
    }

    /// Columns `range` of the result, to `place`; the range begins and ends at multiples of [`Linear::width`].
    pub(crate) fn some(&self, x: &Input<'_>, range: Range<usize>, place: &mut Place<'_>) {
        let width = self.panels.width;
        self.product(x, 0..self.panels.inputs, range.start / width..range.end.div_ceil(width), true, place);
    }

    /// What inputs `depth` alone, which are `x [rows, depth]`, add to the result, without bias and finish. The range begins and
    /// ends at multiples of [`Linear::depth_step`]. `out [rows, outputs]` is overwritten.
    pub(crate) fn share(&self, x: &[f32], depth: Range<usize>, out: &mut [f32]) {
        let stride = self.outputs();
        let input = Input { x, activations: self.panels.activations(x, depth.len()) };
        self.product(&input, depth, 0..self.panels.count(), false, &mut Place { out, stride, column: 0 });
    }

    /// Columns that go together: whole panels.
    pub(crate) fn width(&self) -> usize {
        self.panels.width
    }

    /// Inputs that go together.
    pub(crate) fn depth_step(&self) -> usize {
        self.panels.depth_step()
    }

    /// The bias of every output.
    pub(crate) fn bias(&self) -> &[f32] {
        &self.bias[..self.outputs()]
    }

    /// `x [rows, depth]` times those rows and these panels of the weights; `finished`: with bias and finish.
    fn product(
        &self,
        input: &Input<'_>,
        depth: Range<usize>,
        range: Range<usize>,
        finished: bool,
        place: &mut Place<'_>,
    ) {
        let Linear { panels, bias, finish } = self;
        let Panels { outputs, width, .. } = *panels;
        let columns = (outputs - range.start * width).min(range.len() * width);
        let Input { x, activations } = input;
        let mut scratch = Vec::new();
        for (position, panel) in range.enumerate() {
            let column = position * width;
            let job = Job {
                x,
                x_stride: depth.len(),
                panel: &[],
                bias: if finished { &bias[panel * width..] } else { &[] },
                finish: if finished { *finish } else { Finish::Keep },
                rows: x.len() / depth.len(),
                depth: depth.len(),
                columns: width.min(columns - column),
                out_stride: place.stride,
                out_column: place.column + column,
            };
            panels.multiply(activations, (panel, depth.clone()), &job, &mut scratch, place.out);
        }
    }
}

/// Where columns of a result go: rows of `stride` numbers, from `column` on.
pub(crate) struct Place<'a> {
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) column: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        (0..count as u32)
            .map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0)
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_the_plain_triple_loop(rows in 1usize..80, inputs in 1usize..70, outputs in 1usize..140, seed: u32) {
            let seed = seed >> 8;
            let (x, weights) = (numbers(rows * inputs, seed), numbers(outputs * inputs, seed + 7));
            let bias = numbers(outputs, seed + 11);
            let layer = Linear::full(&weights, inputs, bias.clone(), Finish::Relu6);
            let mut out = vec![f32::NAN; rows * outputs];
            layer.apply(&x, &mut out);
            let mut shared = vec![f32::NAN; rows * outputs];
            layer.apply_shared(&x, &mut shared);
            for row in 0..rows {
                for output in 0..outputs {
                    let sum: f64 = (0..inputs)
                        .map(|k| f64::from(x[row * inputs + k]) * f64::from(weights[output * inputs + k]))
                        .sum();
                    let expected = (sum + f64::from(bias[output])).clamp(0.0, 6.0);
                    let received = out[row * outputs + output];
                    prop_assert!((f64::from(received) - expected).abs() < 1e-4, "{received} {expected}");
                    prop_assert_eq!(received, shared[row * outputs + output]);
                }
            }
        }
    }

    #[test]
    fn a_query_shares_out_the_weights() {
        let (rows, inputs, outputs) = (12, 384, 1152 + 5);
        let layer = Linear::full(&numbers(outputs * inputs, 3), inputs, numbers(outputs, 4), Finish::Keep);
        let x = numbers(rows * inputs, 5);
        let (mut alone, mut shared) = (vec![0.0; rows * outputs], vec![1.0; rows * outputs]);
        layer.apply(&x, &mut alone);
        layer.apply_shared(&x, &mut shared);
        assert_eq!(alone, shared);
    }
}
