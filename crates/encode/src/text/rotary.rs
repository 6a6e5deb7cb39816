//! Transformers of the newer kind, forward only: normalised before each part and not after it, positions turned into queries and
//! keys, gated feed-forward. Qwen3 ([`super::qwen3`]) and ModernBERT ([`super::modernbert`]) are this network with other
//! norms, reaches and gates; each reads its own config and tensors.
//!
//! Shapes: the texts of a group lie one behind the other, `[tokens, dim]`; only attention and positions know where one ends.

use crate::math::elementwise::LayerNorm;
use crate::math::gate::Gate;
use crate::math::grouped::{Grouped, Heads, Reach, Scratch};
use crate::math::linear::{Finish, Linear};
use crate::math::rms::RmsNorm;
use crate::math::rotation::{Frequencies, Rotation};
use crate::models::ModelError;
use crate::weights::{Table, Weights};

/// Most of any size a config may name: products of three stay far from the end of the numbers.
const MAX_SIZE: usize = 1 << 20;

/// A loaded model.
pub(super) struct Rotary {
    pub(super) words: Table,
    pub(super) dim: usize,
    /// Of the word embeddings, before the first layer.
    pub(super) embedded: Option<Norm>,
    /// How each kind of layer turns its queries and keys.
    pub(super) frequencies: Vec<Frequencies>,
    pub(super) heads: Heads,
    pub(super) gate: Gate,
    pub(super) layers: Vec<Layer>,
    /// Behind the last layer.
    pub(super) norm: Norm,
}

pub(super) struct Layer {
    /// Absent from a first layer whose input is normalised already.
    pub(super) attention_norm: Option<Norm>,
    /// Queries, keys and values stacked.
    pub(super) qkv: Linear,
    /// Of each head of queries, and of keys.
    pub(super) head_norms: Option<[RmsNorm; 2]>,
    /// Which of the network's frequencies.
    pub(super) frequencies: usize,
    pub(super) reach: Reach,
    pub(super) attended: Linear,
    pub(super) norm: Norm,
    /// Gate and what it is multiplied with, stacked.
    pub(super) gated: Linear,
    pub(super) narrow: Linear,
}

pub(super) enum Norm {
    Layer(LayerNorm),
    Rms(RmsNorm),
}

impl Norm {
    fn apply(&self, x: &mut [f32]) {
        match self {
            Norm::Layer(norm) => norm.apply(x),
            Norm::Rms(norm) => norm.apply(x),
        }
    }
}

/// Says which of `sizes`, with their names in `config.json`, is none that a network can have.
pub(super) fn check_sizes(sizes: &[(&str, usize)]) -> Result<(), String> {
    match sizes.iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
        Some((name, size)) => Err(format!("its {name} is {size}, expected 1 to {MAX_SIZE}")),
        None => Ok(()),
    }
}

/// Says why heads cannot be divided as `heads` says.
pub(super) fn check_heads(heads: Heads) -> Result<(), String> {
    let Heads { queries, groups, head } = heads;
    if !queries.is_multiple_of(groups) {
        return Err(format!("its {queries} attention heads cannot share {groups} heads of keys evenly"));
    }
    if !head.is_multiple_of(2) {
        return Err(format!("its heads have {head} numbers, which cannot be turned in pairs"));
    }
    Ok(())
}

/// A layer over matrices named `parts`, of `inputs` columns and as many rows as each says, stacked; with biases or none.
pub(super) fn read_linear(
    weights: &Weights,
    parts: &[(String, usize)],
    inputs: usize,
    has_bias: bool,
) -> Result<Linear, ModelError> {
    let (mut matrices, mut bias) = (Vec::new(), Vec::new());
    for (name, outputs) in parts {
        matrices.push(weights.matrix(&format!("{name}.weight"), *outputs, inputs)?);
        match has_bias {
            true => bias.extend(weights.dense(&format!("{name}.bias"), &[*outputs])?),
            false => bias.resize(bias.len() + outputs, 0.0),
        }
    }
    Ok(Linear::stacked(matrices, inputs, bias, Finish::Keep))
}

impl Rotary {
    /// Weights in memory, bytes; the word embeddings are part of their file and not counted.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum()
    }

    /// Last states `[tokens, dim]` of token ids; `shared` lets the other threads help.
    pub(super) fn encode(&self, texts: &[Vec<u32>], shared: bool) -> Vec<f32> {
        let mut x = vec![0.0; texts.iter().map(Vec::len).sum::<usize>() * self.dim];
        for (row, id) in x.chunks_exact_mut(self.dim).zip(texts.iter().flatten()) {
            self.words.row(*id as usize, row);
        }
        if let Some(norm) = &self.embedded {
            norm.apply(&mut x);
        }
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let rotations: Vec<Rotation> = self.frequencies.iter().map(|kind| kind.turns(longest)).collect();
        let mut buffers = Buffers::default();
        for layer in &self.layers {
            let pass =
                Pass { heads: self.heads, gate: self.gate, rotation: &rotations[layer.frequencies], shared };
            layer.forward(&mut x, texts, &pass, &mut buffers);
        }
        self.norm.apply(&mut x);
        x
    }
}

/// What a layer is told besides its input.
struct Pass<'a> {
    heads: Heads,
    gate: Gate,
    rotation: &'a Rotation,
    shared: bool,
}

/// Activations reused from layer to layer.
#[derive(Default)]
struct Buffers {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gated: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    scratch: Scratch,
}

impl Layer {
    fn bytes(&self) -> usize {
        [&self.qkv, &self.attended, &self.gated, &self.narrow].iter().map(|linear| linear.bytes()).sum()
    }

    /// `x [tokens, dim]` through attention and feed-forward, in place.
    fn forward(&self, x: &mut [f32], texts: &[Vec<u32>], pass: &Pass<'_>, buffers: &mut Buffers) {
        let Buffers { normed, qkv, attended, gated, wide, narrow, scratch } = buffers;
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let linear = |linear: &Linear, x: &[f32], out: &mut Vec<f32>| {
            out.resize(tokens * linear.outputs(), 0.0);
            linear.run(x, out, pass.shared);
        };
        copy(x, normed);
        if let Some(norm) = &self.attention_norm {
            norm.apply(normed);
        }
        linear(&self.qkv, normed, qkv);
        attended.resize(tokens * pass.heads.dim(), 0.0);
        self.attend(qkv, attended, texts, pass, scratch);
        linear(&self.attended, attended, narrow);
        add(x, narrow);
        copy(x, normed);
        self.norm.apply(normed);
        linear(&self.gated, normed, gated);
        let half = self.gated.outputs() / 2;
        wide.resize(tokens * half, 0.0);
        pass.gate.apply(gated, half, wide);
        linear(&self.narrow, wide, narrow);
        add(x, narrow);
    }

    /// Attention of every text over its own tokens; `qkv` is turned in place.
    fn attend(
        &self,
        qkv: &mut [f32],
        out: &mut [f32],
        texts: &[Vec<u32>],
        pass: &Pass<'_>,
        scratch: &mut Scratch,
    ) {
        let Pass { heads, rotation, shared, .. } = *pass;
        let Heads { queries, groups, head } = heads;
        if let Some([query, key]) = &self.head_norms {
            for row in qkv.chunks_exact_mut(heads.stride()) {
                let (queries, rest) = row.split_at_mut(queries * head);
                query.apply(queries);
                key.apply(&mut rest[..groups * head]);
            }
        }
        let (mut qkv_rest, mut out_rest) = (qkv, out);
        for text in texts {
            let (qkv, qkv_after) = qkv_rest.split_at_mut(text.len() * heads.stride());
            let (out, out_after) = out_rest.split_at_mut(text.len() * heads.dim());
            // Queries and keys lie side by side, so they are turned as one run of heads.
            rotation.apply(qkv, heads.stride(), queries + groups);
            Grouped { qkv, heads, reach: self.reach, out, scratch: &mut *scratch, shared }.run();
            (qkv_rest, out_rest) = (qkv_after, out_after);
        }
    }
}

fn copy(from: &[f32], to: &mut Vec<f32>) {
    to.clear();
    to.extend_from_slice(from);
}

fn add(x: &mut [f32], more: &[f32]) {
    x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
}
