//! Self-attention of one text: `softmax(Q * transpose(K) / sqrt(head)) * V` for every head (Vaswani et al., 2017).
//!
//! Texts of a batch are never padded: each is attended over its own tokens only, so no mask is needed but that of a causal
//! network, whose tokens see none behind them. Queries are taken in blocks, so the score matrix stays in cache for a text of
//! any length.

use super::elementwise::softmax_rows;
use super::panels::native_width;
use super::tile::{Finish, Job, multiply};

/// Queries scored at a time.
const QUERY_BLOCK: usize = 48;

/// Buffers reused from text to text.
#[derive(Default)]
pub(crate) struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

/// One text's attention.
pub(crate) struct Attention<'a> {
    /// `[tokens, 3 * heads * head]`: queries, keys and values side by side.
    pub(crate) qkv: &'a [f32],
    pub(crate) heads: usize,
    /// Numbers per head.
    pub(crate) head: usize,
    /// Whether a token attends only to itself and to those before it.
    pub(crate) causal: bool,
    /// `[tokens, heads * head]`.
    pub(crate) out: &'a mut [f32],
    pub(crate) scratch: &'a mut Scratch,
}

impl Attention<'_> {
    /// Fills `out`.
    pub(crate) fn run(self) {
        let Attention { qkv, heads, head, causal, out, scratch } = self;
        let (dim, stride) = (heads * head, 3 * heads * head);
        let tokens = out.len() / dim;
        let width = native_width();
        let padded = tokens.next_multiple_of(width);
        let scale = 1.0 / (head as f32).sqrt();
        scratch.keys.clear();
        scratch.keys.resize(padded * head, 0.0);
        scratch.values.clear();
        scratch.values.resize(tokens * head.next_multiple_of(width), 0.0);
        scratch.scores.resize(QUERY_BLOCK.min(tokens) * tokens, 0.0);
        for h in 0..heads {
            pack_keys(&qkv[dim + h * head..], stride, head, width, tokens, &mut scratch.keys);
            pack_values(&qkv[2 * dim + h * head..], stride, head, width, tokens, &mut scratch.values);
            for start in (0..tokens).step_by(QUERY_BLOCK) {
                let rows = QUERY_BLOCK.min(tokens - start);
                let scores = &mut scratch.scores[..rows * tokens];
                for column in (0..tokens).step_by(width) {
                    let job = Job {
                        x: &qkv[start * stride + h * head..],
                        x_stride: stride,
                        panel: &scratch.keys[column * head..],
                        bias: &[],
                        finish: Finish::Keep,
                        rows,
                        depth: head,
                        columns: width.min(tokens - column),
                        out_stride: tokens,
                        out_column: column,
                    };
                    multiply(&job, scores);
                }
                if causal {
                    for (row, scores) in scores.chunks_exact_mut(tokens).enumerate() {
                        scores[start + row + 1..].fill(f32::NEG_INFINITY);
                    }
                }
                softmax_rows(scores, tokens, scale);
                for column in (0..head).step_by(width) {
                    let job = Job {
                        x: scores,
                        x_stride: tokens,
                        panel: &scratch.values[column * tokens..],
                        bias: &[],
                        finish: Finish::Keep,
                        rows,
                        depth: tokens,
                        columns: width.min(head - column),
                        out_stride: dim,
                        out_column: h * head + column,
                    };
                    multiply(&job, &mut out[start * dim..]);
                }
            }
        }
    }
}

/// Panels `[head, width]` of keys as columns; padding stays zero.
fn pack_keys(keys: &[f32], stride: usize, head: usize, width: usize, tokens: usize, out: &mut [f32]) {
    for (token, key) in keys.chunks(stride).take(tokens).enumerate() {
        let lane = &mut out[token / width * width * head + token % width..];
        for (slot, number) in lane.iter_mut().step_by(width).zip(&key[..head]) {
            *slot = *number;
        }
    }
}

/// Panels `[tokens, width]` of values; padding stays zero.
fn pack_values(values: &[f32], stride: usize, head: usize, width: usize, tokens: usize, out: &mut [f32]) {
    for (token, value) in values.chunks(stride).take(tokens).enumerate() {
        for (panel, numbers) in value[..head].chunks(width).enumerate() {
            out[(panel * tokens + token) * width..][..numbers.len()].copy_from_slice(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Softmax of scaled products, as the formula reads; `[tokens, heads * head]`.
    fn plain(qkv: &[f32], heads: usize, head: usize, causal: bool) -> Vec<f32> {
        let dim = heads * head;
        let tokens = qkv.len() / (3 * dim);
        let part =
            |token: usize, part: usize, h: usize| &qkv[token * 3 * dim + part * dim + h * head..][..head];
        let mut out = vec![0.0; tokens * dim];
        for (token, h) in (0..tokens).flat_map(|token| (0..heads).map(move |h| (token, h))) {
            let seen = if causal { token + 1 } else { tokens };
            let weights: Vec<f64> = (0..seen)
                .map(|other| {
                    let pairs = part(token, 0, h).iter().zip(part(other, 1, h));
                    let score: f64 = pairs.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                    (score / (head as f64).sqrt()).exp()
                })
                .collect();
            let total: f64 = weights.iter().sum();
            for (other, weight) in weights.iter().enumerate() {
                let values = part(other, 2, h);
                for (out, value) in out[token * dim + h * head..][..head].iter_mut().zip(values) {
                    *out += (weight / total) as f32 * value;
                }
            }
        }
        out
    }

    #[test]
    fn equals_the_formula_with_and_without_a_mask() {
        let (heads, head) = (2, 20);
        for tokens in [1, 7, 48, 77, 130] {
            let number = |i: usize| ((i * 7919) % 1009) as f32 / 504.5 - 1.0;
            let qkv: Vec<f32> = (0..tokens * 3 * heads * head).map(number).collect();
            for causal in [false, true] {
                let mut out = vec![f32::NAN; tokens * heads * head];
                let mut scratch = Scratch::default();
                Attention { qkv: &qkv, heads, head, causal, out: &mut out, scratch: &mut scratch }.run();
                for (received, expected) in out.iter().zip(plain(&qkv, heads, head, causal)) {
                    assert!((received - expected).abs() < 1e-5, "{tokens} {causal}: {received} {expected}");
                }
            }
        }
    }
}
