//! Answers: [`Hit`], [`Hits`] and the bounded collector that keeps the `k` nearest.
//!
//! Order everywhere: by distance, equal distances by row number, so an answer does not depend on the order of a scan or on
//! the number of threads.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// One neighbour: a row number and its internal distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Position of the row.
    pub row: u32,
    /// Internal distance, smaller is closer; see [`crate::Metric::score`].
    pub distance: f32,
}

/// Neighbours of one query, nearest first, ties by row number; at most `k`.
pub type Hits = Vec<Hit>;

/// A hit in the total order of answers: distance, then row number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked(pub(crate) Hit);

impl Eq for Ranked {}

impl Ord for Ranked {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.distance.total_cmp(&other.0.distance).then(self.0.row.cmp(&other.0.row))
    }
}

impl PartialOrd for Ranked {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the `k` nearest of the hits offered to it.
#[derive(Clone, Debug)]
pub(crate) struct TopK {
    heap: BinaryHeap<Ranked>,
    k: usize,
    threshold: f32,
}

impl TopK {
    /// `k >= 1`. Memory is taken as hits arrive, not for `k` at once.
    pub(crate) fn new(k: usize) -> Self {
        TopK::within(k, None)
    }

    /// The `k` nearest of those nearer than `radius`, if there is one.
    pub(crate) fn within(k: usize, radius: Option<f32>) -> Self {
        let threshold = radius.map_or(f32::INFINITY, f32::next_down);
        TopK { heap: BinaryHeap::with_capacity(k.min(1024) + 1), k, threshold }
    }

    /// Nothing above this distance can enter; infinite (or just inside the radius) until `k` hits are held.
    #[inline]
    pub(crate) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Number of hits held.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    #[inline]
    pub(crate) fn offer(&mut self, row: u32, distance: f32) {
        if distance <= self.threshold {
            self.insert(Ranked(Hit { row, distance }));
        }
    }

    fn insert(&mut self, hit: Ranked) {
        if self.heap.len() < self.k {
            self.heap.push(hit);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && hit < *worst
        {
            *worst = hit;
        }
        if self.heap.len() == self.k {
            self.threshold = self.heap.peek().map_or(f32::INFINITY, |worst| worst.0.distance);
        }
    }

    /// Offers every hit of another collector.
    pub(crate) fn merge(&mut self, other: TopK) {
        for hit in other.heap {
            self.offer(hit.0.row, hit.0.distance);
        }
    }

    /// The hits, nearest first.
    pub(crate) fn into_hits(self) -> Hits {
        self.heap.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_what_sorting_keeps(
            k in 1_usize..20,
            distances in prop::collection::vec(0_u8..12, 0..60),
            split in 0_usize..60,
        ) {
            let hits: Vec<Hit> = distances
                .iter()
                .enumerate()
                .map(|(row, &distance)| Hit { row: row as u32, distance: f32::from(distance) })
                .collect();
            let (mut first, mut second) = (TopK::new(k), TopK::new(k));
            for (i, hit) in hits.iter().rev().enumerate() {
                if i < split { first.offer(hit.row, hit.distance) } else { second.offer(hit.row, hit.distance) }
            }
            first.merge(second);
            let mut expected = hits;
            expected.sort_by_key(|&hit| Ranked(hit));
            expected.truncate(k);
            prop_assert_eq!(first.len(), expected.len());
            prop_assert_eq!(first.into_hits(), expected);
        }
    }
}
