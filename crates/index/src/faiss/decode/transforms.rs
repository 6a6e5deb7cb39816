//! Transforms applied backwards, from an indexed vector to the one that was given.
//!
//! A rotation is undone by its transpose; so is a projection with orthonormal rows, except for what it left out. Whether a
//! matrix is one is asked of it with a few random vectors, which costs a few products of matrix and vector instead of one
//! of matrices; another matrix passes with no probability worth naming.

use crate::faiss::FaissError;
use crate::faiss::tree::{Transform, TransformKind};
use crate::random::Random;

/// Random vectors that a matrix is asked with.
const PROBES: usize = 4;
/// Largest part of a vector's length that may go wrong there and back; FAISS stores matrices in f32.
const TOLERANCE: f32 = 1e-3;

/// One transform, ready to be undone.
pub(super) enum Backward {
    /// `x = Aᵀ (y - b)`; the matrix is `[dim_out, dim_in]`.
    Transposed { matrix: Vec<f32>, bias: Vec<f32>, dim_in: usize },
    /// Column `i` goes to `map[i]`.
    Remap { map: Vec<i32>, dim_in: usize },
    /// This is added.
    Centre(Vec<f32>),
    /// Length one stays length one: under the cosine nothing is lost.
    Normalise,
}

impl Backward {
    pub(super) fn new(transform: &Transform<'_>) -> Result<Self, FaissError> {
        let refuse = |what, why: &str| {
            Err(FaissError::Decode {
                what,
                why: format!(
                    "{why}, so the original vectors cannot be recovered; the transformed ones can be had instead"
                ),
            })
        };
        if !transform.is_trained {
            return refuse("the transform", "it is not trained");
        }
        let Transform { dim_in, dim_out, .. } = *transform;
        match &transform.kind {
            TransformKind::Linear { matrix, bias } => {
                let matrix = matrix.to_vec();
                if !is_orthonormal(&matrix, dim_in, dim_out) {
                    return refuse("the linear transform", "its matrix is no rotation");
                }
                let bias = bias.as_ref().map(|bias| bias.to_vec()).unwrap_or_default();
                Ok(Backward::Transposed { matrix, bias, dim_in })
            }
            TransformKind::Remap(map) => {
                let map = map.to_vec();
                let mut is_kept = vec![false; dim_in];
                for &from in &map {
                    if let Some(kept) = is_kept.get_mut(from as usize) {
                        *kept = true;
                    }
                }
                if is_kept.contains(&false) {
                    return refuse("the choice of columns", "it leaves some out");
                }
                Ok(Backward::Remap { map, dim_in })
            }
            TransformKind::Centre(mean) => Ok(Backward::Centre(mean.to_vec())),
            TransformKind::Normalise(_) => Ok(Backward::Normalise),
            TransformKind::Hadamard(_) => refuse("the Hadamard rotation", "it is drawn by FAISS from a seed"),
            TransformKind::Itq { .. } => refuse("the ITQ transform", "it scales each vector by itself"),
        }
    }

    /// True when nothing is lost but rounding.
    pub(super) fn is_exact(&self) -> bool {
        match self {
            Backward::Transposed { matrix, dim_in, .. } => matrix.len() >= dim_in * dim_in,
            _ => true,
        }
    }

    pub(super) fn apply(&self, vector: Vec<f32>) -> Vec<f32> {
        match self {
            Backward::Transposed { matrix, bias, dim_in } => {
                let centred: Vec<f32> =
                    vector.iter().enumerate().map(|(i, y)| y - bias.get(i).unwrap_or(&0.0)).collect();
                transposed(matrix, *dim_in, &centred)
            }
            Backward::Remap { map, dim_in } => {
                let mut out = vec![0.0; *dim_in];
                for (&to, value) in map.iter().zip(vector) {
                    if let Some(place) = out.get_mut(to as usize) {
                        *place = value;
                    }
                }
                out
            }
            Backward::Centre(mean) => vector.iter().zip(mean).map(|(y, mean)| y + mean).collect(),
            Backward::Normalise => vector,
        }
    }
}

/// `Aᵀ y`; `matrix` is `[y.len(), dim]`.
fn transposed(matrix: &[f32], dim: usize, y: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; dim];
    for (row, y) in matrix.chunks_exact(dim).zip(y) {
        out.iter_mut().zip(row).for_each(|(out, a)| *out += a * y);
    }
    out
}

/// `A x`.
fn applied(matrix: &[f32], x: &[f32]) -> Vec<f32> {
    matrix.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect()
}

/// True when the shorter side of the matrix is made of orthonormal vectors, so that its transpose undoes it.
fn is_orthonormal(matrix: &[f32], dim_in: usize, dim_out: usize) -> bool {
    let mut random = Random::new(0);
    (0..PROBES).all(|_| {
        let probe: Vec<f32> = (0..dim_in.min(dim_out)).map(|_| random.unit() as f32 - 0.5).collect();
        let back = if dim_out <= dim_in {
            applied(matrix, &transposed(matrix, dim_in, &probe))
        } else {
            transposed(matrix, dim_in, &applied(matrix, &probe))
        };
        let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        let wrong = length(&mut probe.iter().zip(&back).map(|(a, b)| a - b));
        wrong <= TOLERANCE * length(&mut probe.iter().copied())
    })
}
