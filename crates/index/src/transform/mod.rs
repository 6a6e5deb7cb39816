//! [`Chain`]: what is done to vectors before they are indexed: unit length, or a linear map `y = A x + b`.
//!
//! All of PCA, random rotation and OPQ are linear maps whose matrix has orthonormal rows (or columns, where it has more
//! rows than columns), so that distances stay (or lose only what is left out) and `A^T (y - b)` takes the map back. Learned
//! from a sample in [`learn`]; FAISS's `VectorTransform` family, behind its `IndexPreTransform`.
//!
//! Under inner product and cosine PCA does not take off the mean, which would change the order of products.

mod learn;

use crate::error::IndexError;
use crate::kernels::kernels;
use crate::metric::{Metric, normalise};
use crate::spec::Transform;
use rayon::prelude::*;
use std::borrow::Cow;

/// Multiply-adds from which rows are transformed on several threads.
const PARALLEL_FROM_OPERATIONS: usize = 8 << 20;

/// One step, ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// To unit length; a vector of zeros stays.
    Normalise,
    /// `y = A x + b`.
    Linear(Linear),
}

/// `y = A x + b`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    dim_in: usize,
    dim_out: usize,
    /// `[dim_out, dim_in]`.
    matrix: Vec<f32>,
    /// `[dim_out]`.
    offset: Vec<f32>,
}

impl Linear {
    /// `None` when the shapes do not agree.
    pub(crate) fn new(dim_in: usize, dim_out: usize, matrix: Vec<f32>, offset: Vec<f32>) -> Option<Self> {
        let is_valid = matrix.len() == dim_in * dim_out && offset.len() == dim_out;
        is_valid.then_some(Linear { dim_in, dim_out, matrix, offset })
    }

    /// Values per vector afterwards.
    pub(crate) fn dim_out(&self) -> usize {
        self.dim_out
    }

    /// `A`, `[dim_out, dim_in]`, and `b`.
    pub(crate) fn parts(&self) -> (&[f32], &[f32]) {
        (&self.matrix, &self.offset)
    }

    fn apply_one(&self, vector: &[f32], out: &mut [f32]) {
        let kernels = kernels();
        let dim = self.dim_in;
        let mut fours = self.matrix.chunks_exact(4 * dim);
        let mut at = 0;
        for four in &mut fours {
            let rows = [&four[..dim], &four[dim..2 * dim], &four[2 * dim..3 * dim], &four[3 * dim..]];
            out[at..at + 4].copy_from_slice(&kernels.dot4(vector, rows));
            at += 4;
        }
        for (row, out) in fours.remainder().chunks_exact(dim).zip(&mut out[at..]) {
            *out = kernels.dot(vector, row);
        }
        out.iter_mut().zip(&self.offset).for_each(|(out, offset)| *out += offset);
    }

    /// `A^T (y - b)`.
    fn invert(&self, vector: &[f32]) -> Vec<f32> {
        let mut back = vec![0.0; self.dim_in];
        for ((row, value), offset) in self.matrix.chunks_exact(self.dim_in).zip(vector).zip(&self.offset) {
            back.iter_mut().zip(row).for_each(|(back, a)| *back += a * (value - offset));
        }
        back
    }
}

/// Steps in the order they are applied in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Chain {
    steps: Vec<Step>,
    dim_in: usize,
}

impl Chain {
    /// Steps whose dimensions follow each other; `None` else.
    pub(crate) fn new(dim_in: usize, steps: Vec<Step>) -> Option<Self> {
        let mut dim = dim_in;
        for step in &steps {
            if let Step::Linear(linear) = step {
                if linear.dim_in != dim {
                    return None;
                }
                dim = linear.dim_out;
            }
        }
        Some(Chain { steps, dim_in })
    }

    /// The steps, in the order they are applied in.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Values per vector that `transforms` make of `dim`.
    ///
    /// # Errors
    /// A transform that cannot follow.
    pub(crate) fn dim_out_of(transforms: &[Transform], dim: usize) -> Result<usize, IndexError> {
        let mut dim = dim;
        for transform in transforms {
            let (name, wanted) = match *transform {
                Transform::L2Norm => continue,
                Transform::Pca { dim, .. } => ("PCA dimension", dim),
                Transform::RandomRotation { dim: to } => {
                    dim = to;
                    continue;
                }
                Transform::Opq { m, dim: to } => {
                    let to = to.unwrap_or(dim);
                    if !to.is_multiple_of(m) {
                        let nearest = crate::codes::nearest_divisor(to, m);
                        let expected = format!("a divisor of the dimension {to}; the nearest is {nearest}");
                        return Err(IndexError::Parameter {
                            name: "OPQ parts",
                            expected,
                            received: m.to_string(),
                        });
                    }
                    ("OPQ dimension", to)
                }
            };
            if wanted > dim {
                let expected = format!("at most {dim}, the values of a vector");
                return Err(IndexError::Parameter { name, expected, received: wanted.to_string() });
            }
            dim = wanted;
        }
        Ok(dim)
    }

    /// Rows that learning the transforms makes use of.
    pub(crate) fn useful_rows(transforms: &[Transform]) -> usize {
        let learned = transforms
            .iter()
            .filter(|transform| matches!(transform, Transform::Pca { .. } | Transform::Opq { .. }));
        learned.map(|_| learn::USEFUL_ROWS).max().unwrap_or(0)
    }

    /// Learns each step from the sample, `[n, dim]`, as the steps before it leave it.
    pub(crate) fn train(
        transforms: &[Transform],
        metric: Metric,
        dim: usize,
        sample: &[f32],
        seed: u64,
    ) -> Result<Self, IndexError> {
        Chain::dim_out_of(transforms, dim)?;
        let mut chain = Chain { steps: Vec::new(), dim_in: dim };
        let mut sample = Cow::Borrowed(sample);
        let mut dim = dim;
        for (i, &transform) in transforms.iter().enumerate() {
            let seed = seed.wrapping_add(0x7472_616e + i as u64);
            let step = learn::step(transform, metric, dim, &sample, seed)?;
            let next = Chain { steps: vec![step], dim_in: dim };
            sample = Cow::Owned(next.apply(&sample).into_owned());
            dim = next.dim_out();
            chain.steps.extend(next.steps);
        }
        Ok(chain)
    }

    /// Values per vector afterwards.
    pub(crate) fn dim_out(&self) -> usize {
        let last = self.steps.iter().rev().find_map(|step| match step {
            Step::Linear(linear) => Some(linear.dim_out),
            Step::Normalise => None,
        });
        last.unwrap_or(self.dim_in)
    }

    /// `[n, dim]` rows to `[n, dim_out]`.
    pub(crate) fn apply<'a>(&self, rows: &'a [f32]) -> Cow<'a, [f32]> {
        let mut rows = Cow::Borrowed(rows);
        for step in &self.steps {
            match step {
                Step::Normalise => {
                    let dim = self.dim_at(step);
                    for row in rows.to_mut().chunks_exact_mut(dim) {
                        normalise(row);
                    }
                }
                Step::Linear(linear) => {
                    let count = rows.len() / linear.dim_in;
                    let mut out = vec![0.0; count * linear.dim_out];
                    if linear.matrix.len().saturating_mul(count) < PARALLEL_FROM_OPERATIONS {
                        let pairs =
                            rows.chunks_exact(linear.dim_in).zip(out.chunks_exact_mut(linear.dim_out));
                        pairs.for_each(|(row, out)| linear.apply_one(row, out));
                    } else {
                        let pairs = rows
                            .par_chunks_exact(linear.dim_in)
                            .zip(out.par_chunks_exact_mut(linear.dim_out));
                        pairs.for_each(|(row, out)| linear.apply_one(row, out));
                    }
                    rows = Cow::Owned(out);
                }
            }
        }
        rows
    }

    /// Values per vector when `step`, one of this chain's, comes.
    fn dim_at(&self, step: &Step) -> usize {
        let mut dim = self.dim_in;
        for before in self.steps.iter().take_while(|before| !std::ptr::eq(*before, step)) {
            if let Step::Linear(linear) = before {
                dim = linear.dim_out;
            }
        }
        dim
    }

    /// A vector of which `apply` makes `vector`, as near as there is one (lengths are lost).
    pub(crate) fn invert(&self, vector: Vec<f32>) -> Vec<f32> {
        self.steps.iter().rev().fold(vector, |vector, step| match step {
            Step::Normalise => vector,
            Step::Linear(linear) => linear.invert(&vector),
        })
    }

    /// Matrices and offsets, step after step.
    pub(crate) fn learned(&self) -> Vec<f32> {
        let mut learned = Vec::new();
        for step in &self.steps {
            if let Step::Linear(linear) = step {
                learned.extend_from_slice(&linear.matrix);
                learned.extend_from_slice(&linear.offset);
            }
        }
        learned
    }

    /// Numbers that the steps of `transforms` hold, `None` when that is beyond any file.
    pub(crate) fn learned_len(transforms: &[Transform], dim: usize) -> Option<usize> {
        let (mut total, mut dim) = (0_usize, dim);
        for transform in transforms {
            let to = match *transform {
                Transform::L2Norm => continue,
                Transform::Pca { dim, .. } | Transform::RandomRotation { dim } => dim,
                Transform::Opq { dim: to, .. } => to.unwrap_or(dim),
            };
            total = total.checked_add(to.checked_mul(dim)?)?.checked_add(to)?;
            dim = to;
        }
        Some(total)
    }

    /// The chain of learned numbers, of which there are [`Chain::learned_len`]; `None` when they are not.
    pub(crate) fn open(transforms: &[Transform], dim: usize, learned: &[f32]) -> Option<Self> {
        let (mut rest, mut dim_in) = (learned, dim);
        let mut steps = Vec::new();
        for transform in transforms {
            let to = match *transform {
                Transform::L2Norm => {
                    steps.push(Step::Normalise);
                    continue;
                }
                Transform::Pca { dim, .. } | Transform::RandomRotation { dim } => dim,
                Transform::Opq { dim, .. } => dim.unwrap_or(dim_in),
            };
            let (matrix, after) = rest.split_at_checked(to.checked_mul(dim_in)?)?;
            let (offset, after) = after.split_at_checked(to)?;
            steps.push(Step::Linear(Linear::new(dim_in, to, matrix.to_vec(), offset.to_vec())?));
            (rest, dim_in) = (after, to);
        }
        if rest.is_empty() { Chain::new(dim, steps) } else { None }
    }
}

#[cfg(test)]
mod tests;
