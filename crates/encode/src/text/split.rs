//! A layer of BERT shared out among threads: each has some of the heads and some of the wide numbers (Shoeybi et al., 2019,
//! "Megatron-LM", there among devices).
//!
//! A part makes queries, keys and values of its heads, attends with them, and multiplies by those rows of the next matrix that
//! take them in; and likewise through the feed-forward network. So threads meet twice in a layer, where their shares are
//! added up, and not after each of its five steps: for one query, whose steps take some hundred microseconds, waking a thread
//! costs as much as its help is worth.
//!
//! How a sum is cut shows in its last bits. Where activations are rounded that could turn a number into its neighbour, so there
//! the parts are as many on every machine, and one thread works out all of them where no other helps.

use std::ops::Range;

use rayon::prelude::*;

use super::bert::Layer;
use crate::math::attention::{Attention, Scratch};
use crate::math::linear::{Input, Place};

/// What one part works on, and its memory.
pub(super) struct Part {
    heads: Range<usize>,
    wide: Range<usize>,
    /// `[tokens, 3 * heads * head]` or `[tokens, wide]`.
    numbers: Vec<f32>,
    /// `[tokens, heads * head]`.
    attended: Vec<f32>,
    /// `[tokens, dim]`: what this part adds.
    share: Vec<f32>,
    scratch: Scratch,
}

/// Parts of a layer that rounds its activations.
const ROUNDED_PARTS: usize = 4;

impl Part {
    /// Parts of nearly equal size for `threads` threads; one if the layer's shape cannot be cut.
    pub(super) fn of(layer: &Layer, heads: usize, threads: usize) -> Vec<Part> {
        let most = if layer.qkv.rounds() { ROUNDED_PARTS } else { threads };
        let head = layer.dim() / heads;
        let step = layer.qkv.width().max(layer.attended.depth_step()).max(layer.narrow.depth_step());
        // A part's columns must be whole panels, and its rows of the next matrix whole blocks.
        let heads_step = (1..=heads).find(|count| (count * head).is_multiple_of(step)).unwrap_or(heads);
        let can_be_cut = heads.is_multiple_of(heads_step) && layer.dim().is_multiple_of(step);
        let wide = layer.wide.outputs();
        let (heads_units, wide_units) = (heads / heads_step, wide / step);
        let parts = match can_be_cut && wide.is_multiple_of(step) {
            true => most.min(heads_units).min(wide_units).max(1),
            false => 1,
        };
        let range = |units: usize, unit: usize, part: usize| {
            units * part / parts * unit..units * (part + 1) / parts * unit
        };
        let part = |part: usize| match parts {
            1 => Part::new(0..heads, 0..wide),
            _ => Part::new(range(heads_units, heads_step, part), range(wide_units, step, part)),
        };
        (0..parts).map(part).collect()
    }

    fn new(heads: Range<usize>, wide: Range<usize>) -> Part {
        let (numbers, attended, share) = (Vec::new(), Vec::new(), Vec::new());
        Part { heads, wide, numbers, attended, share, scratch: Scratch::default() }
    }

    /// This part's share of the attention's result.
    fn attend(&mut self, layer: &Layer, x: &Input<'_>, texts: &[Vec<u32>], head: usize) {
        let dim = layer.dim();
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let columns = self.heads.start * head..self.heads.end * head;
        let width = columns.len();
        self.numbers.resize(tokens * 3 * width, 0.0);
        self.attended.resize(tokens * width, 0.0);
        self.share.resize(tokens * dim, 0.0);
        if width == dim {
            let mut place = Place { out: &mut self.numbers, stride: 3 * width, column: 0 };
            layer.qkv.some(x, 0..3 * dim, &mut place);
        } else {
            for kind in 0..3 {
                let mut place = Place { out: &mut self.numbers, stride: 3 * width, column: kind * width };
                layer.qkv.some(x, kind * dim + columns.start..kind * dim + columns.end, &mut place);
            }
        }
        let (mut qkv_rest, mut out_rest) = (self.numbers.as_slice(), self.attended.as_mut_slice());
        for text in texts {
            let (qkv, qkv_after) = qkv_rest.split_at(text.len() * 3 * width);
            let (out, out_after) = out_rest.split_at_mut(text.len() * width);
            Attention { qkv, heads: self.heads.len(), head, causal: false, out, scratch: &mut self.scratch }
                .run();
            (qkv_rest, out_rest) = (qkv_after, out_after);
        }
        layer.attended.share(&self.attended, columns, &mut self.share);
    }

    /// This part's share of the feed-forward network's result.
    fn feed(&mut self, layer: &Layer, x: &Input<'_>, tokens: usize) {
        let width = self.wide.len();
        self.numbers.resize(tokens * width, 0.0);
        layer.wide.some(
            x,
            self.wide.clone(),
            &mut Place { out: &mut self.numbers, stride: width, column: 0 },
        );
        layer.narrow.share(&self.numbers, self.wide.clone(), &mut self.share);
    }
}

/// `x [tokens, dim]` through attention and feed-forward, in place; `shared`: each part by a thread of its own.
pub(super) fn forward(
    layer: &Layer,
    x: &mut [f32],
    texts: &[Vec<u32>],
    heads: usize,
    parts: &mut [Part],
    shared: bool,
) {
    let (head, tokens) = (layer.dim() / heads, x.len() / layer.dim());
    let input = layer.qkv.input(x);
    each(parts, shared, |part| part.attend(layer, &input, texts, head));
    add(x, layer.attended.bias(), parts);
    layer.attention_norm.apply(x);
    let input = layer.wide.input(x);
    each(parts, shared, |part| part.feed(layer, &input, tokens));
    add(x, layer.narrow.bias(), parts);
    layer.norm.apply(x);
}

fn each(parts: &mut [Part], shared: bool, work: impl Fn(&mut Part) + Send + Sync) {
    match shared {
        true => parts.par_iter_mut().with_max_len(1).for_each(work),
        false => parts.iter_mut().for_each(work),
    }
}

/// `x [tokens, dim] += bias + every part's share`.
fn add(x: &mut [f32], bias: &[f32], parts: &[Part]) {
    let [first, others @ ..] = parts else { return };
    let rows = x.chunks_exact_mut(bias.len()).zip(first.share.chunks_exact(bias.len()));
    for (x, share) in rows {
        x.iter_mut().zip(bias).zip(share).for_each(|((x, bias), share)| *x += bias + share);
    }
    for part in others {
        x.iter_mut().zip(&part.share).for_each(|(x, share)| *x += share);
    }
}
