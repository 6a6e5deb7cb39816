//! Seeded draws: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), so that a
//! seed gives the same on every machine.

/// A stream of draws.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`, `bound >= 1`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Moves `count` drawn values to the front (the beginning of a Fisher-Yates shuffle).
    pub(crate) fn draw<T>(&mut self, values: &mut [T], count: usize) {
        let len = values.len();
        for at in 0..count.min(len.saturating_sub(1)) {
            values.swap(at, at + self.below(len - at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_a_part_of_the_values_and_repeats() {
        let drawn = |seed| {
            let mut values: Vec<u32> = (0..100).collect();
            Random::new(seed).draw(&mut values, 10);
            let front = values[..10].to_vec();
            values.sort_unstable();
            assert_eq!(values, (0..100).collect::<Vec<u32>>(), "nothing is lost or doubled");
            front
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        assert_ne!(drawn(7), (0..10).collect::<Vec<u32>>());
        let mut two = [1, 2];
        Random::new(1).draw(&mut two, 9);
        assert_eq!(two.iter().sum::<i32>(), 3, "more than there are");
    }
}
