//! Scores of a result, computed from the vectors themselves in f64, so that they do not depend on which index answered.

use bilin_index::Metric;

/// The three figures of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scores {
    /// By the collection's metric.
    pub(super) score: f32,
    /// Cosine; 0 where a vector has no direction.
    pub(super) similarity: f32,
    /// Squared L2.
    pub(super) l2_distance: f32,
}

/// Scores of `item` for `query`, both of one length.
pub(super) fn scores(metric: Metric, query: &[f32], item: &[f32]) -> Scores {
    let (mut dot, mut query_squared, mut item_squared, mut l2) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for (&a, &b) in query.iter().zip(item) {
        let (a, b) = (f64::from(a), f64::from(b));
        dot += a * b;
        query_squared += a * a;
        item_squared += b * b;
        l2 += (a - b) * (a - b);
    }
    let norms = (query_squared * item_squared).sqrt();
    let similarity = if norms > 0.0 { (dot / norms).clamp(-1.0, 1.0) } else { 0.0 };
    let score = match metric {
        Metric::L2 => l2,
        Metric::InnerProduct => dot,
        Metric::Cosine => similarity,
    };
    Scores { score: score as f32, similarity: similarity as f32, l2_distance: l2 as f32 }
}

/// Cosine of two vectors of one length; 0 where one has no direction.
pub(crate) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    scores(Metric::Cosine, one, other).similarity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_its_own_score() {
        let (query, item) = ([3.0, 4.0], [4.0, 3.0]);
        let expected = [(Metric::L2, 2.0), (Metric::InnerProduct, 24.0), (Metric::Cosine, 0.96)];
        for (metric, score) in expected {
            let scores = scores(metric, &query, &item);
            assert_eq!(scores, Scores { score, similarity: 0.96, l2_distance: 2.0 }, "{metric:?}");
        }
    }

    #[test]
    fn no_direction_is_similar_to_nothing() {
        assert_eq!(scores(Metric::L2, &[0.0, 0.0], &[1.0, 0.0]).similarity, 0.0);
    }
}
