//! One ranking from two: candidates by meaning and candidates by words.
//!
//! Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009) needs no scale: an item gets `1 / (k + rank)` from each
//! ranking that has it. The weighted sum brings both scores to 0..1 first, by the best and the worst of the candidates. The share
//! is added to the cosine as it is: a question that shares few words with all that there is is left to its meaning.
//! Invariant: the same rankings give the same order; ties go to the nearer item, then to the older one.

use super::Fusion;
use crate::storage::{ItemKey, Near};
use bilin_index::Metric;
use std::collections::BTreeMap;

/// A candidate in its ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ranked {
    pub(super) key: ItemKey,
    /// What decides its rank, higher is better; `None` = the collection's own score does.
    pub(super) score: Option<f64>,
    /// The cosine within the score, where there is one: what its best sentence is weighed against.
    pub(super) cosine: Option<f64>,
    /// BM25, where words were found in it.
    pub(super) lexical: Option<f32>,
}

/// What is known of one candidate.
#[derive(Clone, Copy, Default)]
struct Both {
    dense: Option<(usize, f32)>,
    lexical: Option<(usize, f32)>,
}

/// Fuses candidates by meaning, nearest first by `metric`, with those by words, best first, which could get `most_possible`.
pub(super) fn fuse(
    (near, metric): (&[Near], Metric),
    (words, most_possible): (&[(ItemKey, f32)], f32),
    fusion: Fusion,
) -> Vec<Ranked> {
    let mut known: BTreeMap<ItemKey, Both> = BTreeMap::new();
    for (rank, near) in near.iter().enumerate() {
        known.entry(near.key).or_default().dense = Some((rank, near.distance));
    }
    for (rank, (key, score)) in words.iter().enumerate() {
        known.entry(*key).or_default().lexical = Some((rank, *score));
    }
    let nearest = near.first().map_or(0.0, |near| f64::from(near.distance));
    let farthest = near.last().map_or(0.0, |near| f64::from(near.distance));
    let most = words.first().map_or(0.0, |(_, score)| f64::from(*score));
    // The cosine that a score counts; who is not among the nearest is no nearer than the last of them.
    let counted = |both: &Both| match fusion {
        Fusion::Share { .. } => Some(cosine(metric, both.dense.map_or(farthest, |(_, far)| f64::from(far)))),
        Fusion::Rrf { .. } | Fusion::Weighted { .. } => None,
    };
    let score = |both: &Both| match fusion {
        Fusion::Rrf { k } => {
            let part = |rank: usize| 1.0 / (f64::from(k) + (rank + 1) as f64);
            both.dense.map_or(0.0, |(rank, _)| part(rank)) + both.lexical.map_or(0.0, |(rank, _)| part(rank))
        }
        Fusion::Weighted { dense } => {
            let dense = f64::from(dense);
            let near = both.dense.map_or(0.0, |(_, distance)| match farthest - nearest {
                range if range > 0.0 => (farthest - f64::from(distance)) / range,
                _ => 1.0,
            });
            let words = both.lexical.map_or(0.0, |(_, score)| match most > 0.0 {
                true => f64::from(score) / most,
                false => 0.0,
            });
            dense * near + (1.0 - dense) * words
        }
        Fusion::Share { words } => {
            let share = both.lexical.map_or(0.0, |(_, score)| match most_possible > 0.0 {
                true => f64::from(score) / f64::from(most_possible),
                false => 0.0,
            });
            counted(both).unwrap_or(0.0) + f64::from(words) * share * share
        }
    };
    let mut fused: Vec<(f64, usize, Ranked)> = known
        .iter()
        .map(|(key, both)| {
            let score = score(both);
            let place = both.dense.map_or(usize::MAX, |(rank, _)| rank);
            let lexical = both.lexical.map(|(_, score)| score);
            (score, place, Ranked { key: *key, score: Some(score), cosine: counted(both), lexical })
        })
        .collect();
    fused.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.key.cmp(&b.2.key)));
    fused.into_iter().map(|(_, _, ranked)| ranked).collect()
}

/// The cosine of unit vectors at an internal distance.
fn cosine(metric: Metric, distance: f64) -> f64 {
    match metric {
        Metric::Cosine | Metric::InnerProduct => -distance,
        Metric::L2 => 1.0 - distance / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(distances: &[(ItemKey, f32)]) -> Vec<Near> {
        distances.iter().map(|&(key, distance)| Near { key, distance }).collect()
    }

    fn keys(fused: &[Ranked]) -> Vec<ItemKey> {
        fused.iter().map(|ranked| ranked.key).collect()
    }

    fn of(near: &[Near], words: &[(ItemKey, f32)], fusion: Fusion) -> Vec<Ranked> {
        fuse((near, Metric::Cosine), (words, 10.0), fusion)
    }

    #[test]
    fn ranks_of_both_lists_are_added() {
        let fused = of(&near(&[(1, 0.1), (2, 0.2), (3, 0.3)]), &[(3, 9.0), (4, 1.0)], Fusion::Rrf { k: 60 });
        assert_eq!(keys(&fused), [3, 1, 2, 4]);
        assert_eq!(fused[0].score, Some(1.0 / 63.0 + 1.0 / 61.0));
        assert_eq!((fused[0].lexical, fused[1].lexical), (Some(9.0), None));
        // 2 and 4 are both second: the nearer one first.
        assert_eq!(fused[2].score, fused[3].score);
    }

    #[test]
    fn weights_move_between_the_two() {
        let (dense, words) = (near(&[(1, 0.1), (2, 0.5)]), [(2, 8.0), (3, 2.0)]);
        let order = |dense_weight| keys(&of(&dense, &words, Fusion::Weighted { dense: dense_weight }));
        assert_eq!(order(1.0), [1, 2, 3]);
        assert_eq!(order(0.0), [2, 3, 1]);
        let fused = of(&dense, &words, Fusion::Weighted { dense: 0.25 });
        assert_eq!(
            fused.iter().map(|ranked| ranked.score).collect::<Vec<_>>(),
            [Some(0.75), Some(0.25), Some(0.1875)]
        );
        // One candidate, or all at one distance: nothing is divided by.
        assert_eq!(of(&near(&[(7, 0.3)]), &[], Fusion::Weighted { dense: 0.5 })[0].score, Some(0.5));
        assert!(of(&[], &[], Fusion::Rrf { k: 60 }).is_empty());
    }

    #[test]
    fn words_count_by_the_share_of_the_question_that_they_found() {
        // Cosines 0.9, 0.85 and 0.8.
        let dense = near(&[(1, -0.9), (2, -0.85), (3, -0.8)]);
        let order = |words: &[(ItemKey, f32)], most| {
            keys(&fuse((&dense, Metric::Cosine), (words, most), Fusion::Share { words: 0.8 }))
        };
        // A tenth of the question moves nobody, half of it does: 0.8 + 0.8 / 4.
        assert_eq!(order(&[(3, 1.0)], 10.0), [1, 2, 3]);
        assert_eq!(order(&[(3, 5.0)], 10.0), [3, 1, 2]);
        // One that meaning did not find is taken to be as far as the last, and comes after it.
        assert_eq!(order(&[(4, 5.0), (3, 5.0)], 10.0), [3, 4, 1, 2]);
        assert_eq!(order(&[(3, 5.0)], 0.0), [1, 2, 3]);
        let far = [Near { key: 1, distance: 0.2 }];
        let one = fuse((&far, Metric::L2), (&[(1, 5.0)], 10.0), Fusion::Share { words: 0.4 });
        assert!((one[0].score.expect("a score") - 1.0).abs() < 1e-6);
    }
}
