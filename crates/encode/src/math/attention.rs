//! Self-attention of one text: `softmax(Q * transpose(K) / sqrt(head)) * V` for every head (Vaswani et al., 2017).
//!
//! Texts of a batch are never padded: each is attended over its own tokens only, so no mask is needed. Queries are
//! taken in blocks, so the score matrix stays in cache for a text of any length.

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
    /// `[tokens, heads * head]`.
    pub(crate) out: &'a mut [f32],
    pub(crate) scratch: &'a mut Scratch,
}

impl Attention<'_> {
    /// Fills `out`.
    pub(crate) fn run(self) {
        let Attention { qkv, heads, head, out, scratch } = self;
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
