//! The confidence interval of a mean of recalls.
//!
//! A query's ten neighbours are found or missed together, so they are no ten independent trials. The spread between queries
//! says how many trials they are worth (effective sample size, Korn and Graubard, "Confidence intervals for proportions with
//! small expected number of positive counts estimated from survey data", Survey Methodology 24, 1998): at least one each,
//! at most ten. With it goes the score interval (Wilson 1927), which stays within 0..1 and does not collapse at 1, as the
//! normal one does (Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16, 2001).

/// Two-sided 95 %.
const Z: f64 = 1.959_964;
/// Neighbours of a query.
const TRIALS: f64 = 10.0;
/// With fewer queries their spread is not known well enough to count them for more than one trial each.
const SPREAD_FROM: usize = 30;

/// Mean, lower and upper end; the whole range for no recalls.
pub(super) fn of(recalls: &[f32]) -> (f64, f64, f64) {
    let count = recalls.len() as f64;
    if recalls.is_empty() {
        return (0.0, 0.0, 1.0);
    }
    let mean = recalls.iter().map(|recall| f64::from(*recall)).sum::<f64>() / count;
    let trials = effective_trials(recalls, mean);
    let z2 = Z * Z;
    let middle = (mean + z2 / (2.0 * trials)) / (1.0 + z2 / trials);
    let half = Z / (1.0 + z2 / trials) * (mean * (1.0 - mean) / trials + z2 / (4.0 * trials * trials)).sqrt();
    // The mean lies inside by construction; rounding must not push an end past it.
    (mean, (middle - half).clamp(0.0, mean), (middle + half).clamp(mean, 1.0))
}

fn effective_trials(recalls: &[f32], mean: f64) -> f64 {
    let count = recalls.len() as f64;
    let binomial = mean * (1.0 - mean);
    if recalls.len() < SPREAD_FROM || binomial <= 0.0 {
        return count;
    }
    let variance =
        recalls.iter().map(|recall| (f64::from(*recall) - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let each = if variance > 0.0 { binomial / variance } else { TRIALS };
    count * each.clamp(1.0, TRIALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64 as 0..1.
    struct Random(u64);
    impl Random {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    #[test]
    fn ends_behave_at_the_edges() {
        assert_eq!(of(&[]), (0.0, 0.0, 1.0));
        let (mean, low, high) = of(&[1.0]);
        assert!(mean == 1.0 && high == 1.0 && (0.15..0.3).contains(&low), "{low}");
        let (_, low, high) = of(&[1.0; 1_000]);
        assert!(high == 1.0 && (0.995..1.0).contains(&low), "{low}");
        let (_, low, high) = of(&[0.0; 60]);
        assert!(low == 0.0 && (0.02..0.1).contains(&high), "{high}");
        // Many queries that all miss one of ten: as ten trials each.
        let (mean, low, high) = of(&[0.9; 100]);
        assert!((mean - 0.9).abs() < 1e-6 && high - low < 0.04, "{low} {high}");
    }

    /// Queries of different difficulty: one in five misses together, the others hardly at all.
    fn coverage(samples: usize, seed: u64) -> f64 {
        const ROUNDS: usize = 2_000;
        let mut random = Random(seed);
        let truth = 0.2 * 0.7 + 0.8 * 0.99;
        let covered = (0..ROUNDS).filter(|_| {
            let recalls: Vec<f32> = (0..samples)
                .map(|_| {
                    let each = if random.unit() < 0.2 { 0.7 } else { 0.99 };
                    (0..10).filter(|_| random.unit() < each).count() as f32 / 10.0
                })
                .collect();
            let (_, low, high) = of(&recalls);
            (low..=high).contains(&truth)
        });
        covered.count() as f64 / ROUNDS as f64
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        for samples in [10, 50, 200, 1_000] {
            let covered = coverage(samples, 7);
            assert!(covered >= 0.93, "{samples} samples: {covered}");
        }
    }
}
