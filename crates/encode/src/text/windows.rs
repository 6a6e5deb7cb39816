//! One vector of the windows over a long text: their mean, weighted by how many tokens of the text each holds, at unit length.
//!
//! Windows come from [`super::tokens`]; each is encoded as a text of its own, so a text that fits one has the vector it always had.

use crate::math::elementwise::normalise;

/// Vectors `[texts, dim]` of unit vectors `[pieces, dim]` that weigh `weights`; `counts` says how many pieces each text has.
pub(super) fn average(pieces: &[f32], weights: &[usize], counts: &[usize], dim: usize) -> Vec<f32> {
    let mut vectors = vec![0.0; counts.len() * dim];
    let (mut pieces, mut weights) = (pieces, weights);
    for (vector, count) in vectors.chunks_exact_mut(dim).zip(counts) {
        let (these, pieces_after) = pieces.split_at(count * dim);
        let (weigh, weights_after) = weights.split_at(*count);
        (pieces, weights) = (pieces_after, weights_after);
        if *count == 1 {
            vector.copy_from_slice(these);
            continue;
        }
        for (piece, weight) in these.chunks_exact(dim).zip(weigh) {
            vector.iter_mut().zip(piece).for_each(|(sum, number)| *sum += *weight as f32 * number);
        }
        normalise(vector);
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_weigh_by_their_tokens_and_single_pieces_stay() {
        let pieces = [0.6, 0.8, 1.0, 0.0, 0.0, 1.0, 0.0, -1.0];
        let received = average(&pieces, &[9, 3, 4, 1], &[1, 2, 1], 2);
        assert_eq!(received, [0.6, 0.8, 0.6, 0.8, 0.0, -1.0]);
    }
}
