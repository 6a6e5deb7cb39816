//! Seeded randomness that never changes: the same seed gives the same index in every release and on every machine.
//!
//! SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"); its statistics suffice for
//! samples and levels, and a general random crate may change its algorithms between versions.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random { state: seed }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`, `bound >= 1`, by multiplication; the bias is below 2^-32 for any bound in use here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Uniform in `(0, 1]`.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// `count` different positions of `0..n` (all of them when there are fewer), ascending; Floyd's method.
    pub(crate) fn sample(&mut self, n: usize, count: usize) -> Vec<usize> {
        if count >= n {
            return (0..n).collect();
        }
        let mut chosen = std::collections::BTreeSet::new();
        for last in n - count..n {
            let candidate = self.below(last + 1);
            if !chosen.insert(candidate) {
                chosen.insert(last);
            }
        }
        chosen.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_distinct_and_repeatable() {
        for (n, count) in [(0, 3), (5, 9), (1000, 100), (100, 99)] {
            let sample = Random::new(7).sample(n, count);
            assert_eq!(sample.len(), count.min(n));
            assert!(sample.windows(2).all(|pair| pair[0] < pair[1]) && sample.iter().all(|&i| i < n));
            assert_eq!(sample, Random::new(7).sample(n, count));
        }
    }

    #[test]
    fn the_stream_is_fixed() {
        // First output of SplitMix64 for seed 0, as published with it.
        assert_eq!(Random::new(0).next_u64(), 0xe220_a839_7b1d_cdaf);
        let mut random = Random::new(3);
        assert!((0..1000).all(|_| {
            let x = random.unit();
            x > 0.0 && x <= 1.0
        }));
        assert!((0..1000).all(|_| random.below(3) < 3));
    }
}
