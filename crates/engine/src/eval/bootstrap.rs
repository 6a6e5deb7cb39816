//! Confidence intervals of means by the bootstrap (Efron 1979; percentile method, Efron and Tibshirani 1993, chapter 13).
//!
//! Questions are drawn with replacement, as many as there are, `resamples` times; the interval lies between the percentiles
//! of the means of these draws. All columns of a table share the draws, so that paired differences are drawn in pairs. The
//! draws come from one seeded stream, so that a seed gives the same ends everywhere.

use crate::cancel::CancelToken;
use crate::error::Error;
use crate::random::Random;

/// Two-sided.
pub(super) const CONFIDENCE: f64 = 0.95;

/// The lower and the upper end for each of `columns` columns of `rows`, row-major. No rows: the whole range of a share.
pub(super) fn intervals(
    rows: &[f64],
    columns: usize,
    resamples: usize,
    seed: u64,
    token: &CancelToken,
) -> Result<Vec<(f64, f64)>, Error> {
    let count = rows.len() / columns.max(1);
    if count == 0 || resamples == 0 {
        return Ok(vec![(0.0, 1.0); columns]);
    }
    let mut random = Random::new(seed);
    let mut means: Vec<Vec<f64>> = vec![Vec::with_capacity(resamples); columns];
    let mut sums = vec![0.0; columns];
    for _ in 0..resamples {
        token.check()?;
        sums.fill(0.0);
        for _ in 0..count {
            let row = random.below(count) * columns;
            for (sum, value) in sums.iter_mut().zip(&rows[row..row + columns]) {
                *sum += value;
            }
        }
        for (means, sum) in means.iter_mut().zip(&sums) {
            means.push(sum / count as f64);
        }
    }
    Ok(means.into_iter().map(ends).collect())
}

fn ends(mut means: Vec<f64>) -> (f64, f64) {
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let cut = (tail * means.len() as f64).floor() as usize;
    let last = means.len() - 1;
    (means[cut.min(last)], means[last - cut.min(last)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(rows: &[f64], columns: usize, seed: u64) -> Vec<(f64, f64)> {
        intervals(rows, columns, 2_000, seed, &CancelToken::new()).expect("intervals")
    }

    #[test]
    fn nothing_asked_says_nothing_and_all_alike_says_all() {
        assert_eq!(of(&[], 2, 1), [(0.0, 1.0), (0.0, 1.0)]);
        assert_eq!(of(&[0.5; 9], 1, 1), [(0.5, 0.5)]);
    }

    #[test]
    fn a_share_has_about_the_normal_interval() {
        let rows: Vec<f64> = (0..400).map(|at| f64::from(u8::from(at % 5 != 0))).collect();
        let (low, high) = of(&rows, 1, 7)[0];
        // 0.8 +- 1.96 * sqrt(0.8 * 0.2 / 400)
        assert!((low - 0.7608).abs() < 0.006 && (high - 0.8392).abs() < 0.006, "{low} {high}");
    }

    #[test]
    fn a_cancelled_evaluation_stops() {
        let token = CancelToken::new();
        token.cancel();
        assert!(intervals(&[1.0], 1, 10, 1, &token).is_err());
    }

    proptest! {
        #[test]
        fn the_mean_lies_inside_and_a_seed_repeats(
            values in prop::collection::vec(0.0f64..=1.0, 1..60),
            seed in any::<u64>(),
        ) {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let (low, high) = of(&values, 1, seed)[0];
            prop_assert!(low <= mean + 1e-12 && mean <= high + 1e-12, "{} {} {}", low, mean, high);
            prop_assert_eq!(of(&values, 1, seed), [(low, high)]);
            let doubled: Vec<f64> = values.iter().flat_map(|value| [*value, 1.0 - value]).collect();
            let pair = of(&doubled, 2, seed);
            prop_assert_eq!(pair[0], (low, high), "columns share the draws");
            prop_assert!((pair[1].0 - (1.0 - high)).abs() < 1e-9);
        }
    }
}
