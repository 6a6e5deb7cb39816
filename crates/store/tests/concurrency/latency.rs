//! How long searches took, near a swap of the generation and otherwise.
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A search counts as near a swap when it overlaps this much before or after it.
const NEAR: Duration = Duration::from_millis(50);

/// Searches and swaps of one collection.
pub struct Latencies {
    started: Instant,
    searches: Mutex<Vec<(u32, u32)>>,
    swaps: Mutex<Vec<u32>>,
}

impl Latencies {
    pub fn new() -> Latencies {
        Latencies { started: Instant::now(), searches: Mutex::default(), swaps: Mutex::default() }
    }

    /// Times are microseconds since the start; a `u32` holds more than an hour of them.
    fn micros(&self, at: Instant) -> u32 {
        u32::try_from(at.duration_since(self.started).as_micros()).expect("a run of less than an hour")
    }

    pub fn searched(&self, began: Instant) {
        let (began, took) = (self.micros(began), began.elapsed().as_micros() as u32);
        self.searches.lock().unwrap().push((began, took));
    }

    pub fn swapped(&self) {
        let now = self.micros(Instant::now());
        self.swaps.lock().unwrap().push(now);
    }

    /// Microseconds of searches near a swap, and of the others; both sorted.
    pub fn split(&self) -> (Vec<u32>, Vec<u32>) {
        let near = NEAR.as_micros() as u32;
        let swaps = self.swaps.lock().unwrap();
        let is_near = |began: u32, took: u32| {
            let first = swaps.partition_point(|swap| swap.saturating_add(near) < began);
            swaps.get(first).is_some_and(|swap| swap.saturating_sub(near) <= began.saturating_add(took))
        };
        let (mut at_swaps, mut others): (Vec<_>, Vec<_>) =
            self.searches.lock().unwrap().iter().partition(|(began, took)| is_near(*began, *took));
        at_swaps.sort_unstable_by_key(|(_, took)| *took);
        others.sort_unstable_by_key(|(_, took)| *took);
        let took = |of: Vec<(u32, u32)>| of.into_iter().map(|(_, took)| took).collect();
        (took(at_swaps), took(others))
    }

    pub fn swaps(&self) -> usize {
        self.swaps.lock().unwrap().len()
    }
}

/// Milliseconds at a quantile of sorted microseconds.
pub fn quantile_ms(sorted: &[u32], quantile: f64) -> f64 {
    let at = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
}
