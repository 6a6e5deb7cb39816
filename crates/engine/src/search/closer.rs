//! A second look at the best candidates: a part of the passage's cosine gives way to that of its best sentence.
//!
//! `score += weight * (best sentence's cosine - the cosine within the score)`, for the first [`LOOKED_AT`] alone, as late
//! interaction is done for a few candidates (Khattab and Zaharia 2020), with sentences in place of tokens (decision 0110). Invariant: scores
//! fall from first to last; candidates behind those looked at keep their order and score no more than the last of them.

use super::fuse::Ranked;
use crate::error::Error;
use crate::sentences::nearest;
use crate::storage::{ItemKey, View};

/// Candidates whose sentences are looked at.
const LOOKED_AT: usize = 50;

/// Puts the best candidates in order anew; scores without a cosine are left as they are.
pub(super) fn look_closer(
    view: &dyn View,
    query: &[f32],
    weight: f32,
    ranked: &mut [Ranked],
) -> Result<(), Error> {
    let counts = weight > 0.0 && ranked.first().is_some_and(|ranked| ranked.cosine.is_some());
    if !counts {
        return Ok(());
    }
    let keys: Vec<ItemKey> = ranked.iter().take(LOOKED_AT).map(|ranked| ranked.key).collect();
    let best: Vec<Option<f64>> =
        view.sentences(&keys)?.into_iter().map(|blob| blob.and_then(|blob| nearest(query, &blob))).collect();
    reorder(ranked, &best, f64::from(weight));
    Ok(())
}

/// `best`: of each of the first candidates the cosine of its best sentence, where it has several.
fn reorder(ranked: &mut [Ranked], best: &[Option<f64>], weight: f64) {
    let (first, rest) = ranked.split_at_mut(best.len().min(ranked.len()));
    for (ranked, best) in first.iter_mut().zip(best) {
        if let (Some(score), Some(cosine), Some(best)) = (&mut ranked.score, ranked.cosine, best) {
            *score += weight * (best - cosine);
        }
    }
    let score = |ranked: &Ranked| ranked.score.unwrap_or(f64::MIN);
    first.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let Some(last) = first.last().and_then(|last| last.score) else { return };
    for score in rest.iter_mut().filter_map(|ranked| ranked.score.as_mut()) {
        *score = score.min(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(key: ItemKey, score: f64, cosine: Option<f64>) -> Ranked {
        Ranked { key, score: Some(score), cosine, lexical: None }
    }

    #[test]
    fn a_better_sentence_moves_a_passage_up_and_scores_keep_falling() {
        let list = [(1, 0.90), (2, 0.86), (3, 0.84), (4, 0.839), (5, 0.80)];
        let mut list = list.map(|(key, score)| ranked(key, score, Some(score)));
        reorder(&mut list, &[Some(0.80), Some(0.94), None], 0.5);
        // 0.90 and 0.80 make 0.85; 0.86 and 0.94 make 0.90; a passage of one sentence stays where it was.
        assert_eq!(list.map(|ranked| ranked.key), [2, 1, 3, 4, 5]);
        let scores = list.map(|ranked| ranked.score.expect("a score"));
        assert!((scores[0] - 0.90).abs() < 1e-9 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        // Who was looked at may fall below those behind; these follow with no more than that score.
        let mut list = [ranked(1, 0.75, Some(0.75)), ranked(2, 0.5, Some(0.5))];
        reorder(&mut list, &[Some(0.25)], 1.0);
        assert_eq!(list.map(|ranked| (ranked.key, ranked.score)), [(1, Some(0.25)), (2, Some(0.25))]);
    }
}
