//! Live recall: how many of the true ten nearest the searches of real users find.
//!
//! A small sample of queries, taken where they are answered and measured later, one at a time, on a thread of its own: the
//! same query is answered exactly on the same view of the collection, and an item counts as found when it is no farther
//! than the tenth nearest (so ties count however they are broken, as in ann-benchmarks, Aumüller et al. 2020). Only what
//! is answered approximately, with the effort that the collection is served with, is sampled: who asks for another effort
//! has chosen another recall.
//!
//! Invariants: a query waits for nothing but a short lock; the queue is bounded and what does not fit is dropped and
//! counted; measuring takes a bounded share of one core. The figure is of one generation with one effort and starts anew
//! with the next.

mod interval;
mod raise;

pub(crate) use raise::raise;

use crate::error::Error;
use crate::storage::{Approximate, ItemKey, Nearest, View};
use crate::upkeep::UpkeepPolicy;
use bilin_store::{Filter, LowRecall};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Neighbours that recall is taken over.
const K: usize = 10;
/// Samples that wait at most; each holds a view, and with it the files of that view.
const QUEUE: usize = 32;
/// Samples that the figure is taken over.
const WINDOW: usize = 1_000;
/// While fewer samples than these are known of what is served now, every query is one: after a build, or with another effort,
/// it should not take ten thousand queries to find out that real ones need more. Enough to tell 0.93 from 0.95.
const FIRST_SAMPLES: usize = 200;
/// Such queries leave so much of the queue to those that are sampled in any case.
const FIRST_QUEUE: usize = QUEUE / 2;
/// Queries kept to find an effort with.
const KEPT_QUERIES: usize = 100;
/// With fewer samples the figure proves nothing.
const MIN_EVIDENCE: usize = 50;

/// recall@10 of live queries, with a 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveRecall {
    /// Mean over the sampled queries.
    pub recall_at_10: f32,
    /// Lower end of the interval.
    pub low: f32,
    /// Upper end of the interval.
    pub high: f32,
    /// Queries sampled, at most the newest 1 000.
    pub samples: usize,
}

/// A query as it was answered.
pub(crate) struct Sample {
    pub(crate) collection: String,
    pub(crate) view: Arc<dyn View>,
    pub(crate) vector: Vec<f32>,
    pub(crate) filter: Option<Filter>,
    pub(crate) exclude: Vec<ItemKey>,
    pub(crate) top_k: usize,
    /// Distances of the answer, nearest first.
    pub(crate) served: Vec<f32>,
}

/// A query to find an effort with.
#[derive(Clone)]
struct LiveQuery {
    vector: Vec<f32>,
    filter: Option<Filter>,
}

/// Takes samples and keeps the figures.
#[derive(Default)]
pub(crate) struct Recorder {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    is_active: bool,
    queue: VecDeque<(Approximate, Sample)>,
    collections: BTreeMap<String, Live>,
}

/// What is known of one collection.
#[derive(Default)]
struct Live {
    /// Queries seen.
    seen: u64,
    sampled: u64,
    dropped: u64,
    /// What the figure is of.
    of: Option<Approximate>,
    recalls: VecDeque<f32>,
    /// Of the same queries with the effort of [`lower`].
    lower: VecDeque<f32>,
    queries: VecDeque<LiveQuery>,
}

impl Recorder {
    pub(crate) fn start(&self) {
        self.lock().is_active = true;
    }

    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.is_active = false;
        inner.queue.clear();
        drop(inner);
        self.changed.notify_all();
    }

    /// Takes one query in `every` (and each of the first ones), as `sample` describes it, if there is room.
    pub(crate) fn offer(
        &self,
        collection: &str,
        view: &dyn View,
        every: usize,
        sample: impl FnOnce() -> Sample,
    ) {
        if every == 0 {
            return;
        }
        let Some(approximate) = view.approximate() else { return };
        let mut inner = self.lock();
        if !inner.is_active {
            return;
        }
        let waiting = inner.queue.len();
        let live = match inner.collections.get_mut(collection) {
            Some(live) => live,
            None => inner.collections.entry(collection.to_owned()).or_default(),
        };
        live.seen += 1;
        let is_new = live.of != Some(approximate) || live.recalls.len() < FIRST_SAMPLES;
        match is_sampled(live.seen, every) {
            true if waiting >= QUEUE => {
                live.dropped += 1;
                return;
            }
            false if !is_new || waiting >= FIRST_QUEUE => return,
            true | false => {}
        }
        inner.queue.push_back((approximate, sample()));
        drop(inner);
        self.changed.notify_all();
    }

    /// Measures what was sampled until stopped; rests after each, so that it takes its share of one core and no more.
    pub(crate) fn work(&self, policy: &UpkeepPolicy) {
        // A pool of one thread, so that an exact search does not spread over the threads of the searches.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "bilin-recall".to_owned());
        let pool = match pool.build() {
            Ok(pool) => pool,
            Err(error) => {
                tracing::error!(%error, "cannot start a thread to measure recall");
                return;
            }
        };
        while let Some((approximate, sample)) = self.next() {
            let started = Instant::now();
            match pool.install(|| measure(&sample)) {
                Ok(Some(recalls)) => self.record(approximate, sample, recalls),
                Ok(None) => {}
                // A collection that was removed meanwhile, or damage that searches report themselves.
                Err(error) => tracing::debug!(collection = sample.collection, %error, "recall not measured"),
            }
            let share = f64::from(policy.recall_cpu_percent.clamp(1, 100)) / 100.0;
            self.rest(started.elapsed().mul_f64(1.0 / share - 1.0));
        }
    }

    fn next(&self) -> Option<(Approximate, Sample)> {
        let mut inner = self.lock();
        while inner.is_active {
            if let Some(next) = inner.queue.pop_front() {
                return Some(next);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn rest(&self, duration: Duration) {
        let until = Instant::now() + duration;
        let mut inner = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !inner.is_active {
                return;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn record(&self, of: Approximate, sample: Sample, (recall, with_less): (f32, f32)) {
        let mut inner = self.lock();
        let live = inner.collections.entry(sample.collection).or_default();
        live.sampled += 1;
        if live.of != Some(of) {
            // Late samples of what was served before do not displace those of what is served now.
            if live.of.is_some_and(|newer| newer.built_unix_s > of.built_unix_s) {
                return;
            }
            live.of = Some(of);
            live.recalls.clear();
            live.lower.clear();
            live.queries.clear();
        }
        push(&mut live.recalls, recall, WINDOW);
        push(&mut live.lower, with_less, WINDOW);
        push(&mut live.queries, LiveQuery { vector: sample.vector, filter: sample.filter }, KEPT_QUERIES);
    }

    /// The figure of what a collection is served by now.
    pub(crate) fn live(&self, collection: &str, now: Option<Approximate>) -> Option<LiveRecall> {
        let inner = self.lock();
        let live = inner.collections.get(collection)?;
        if now.is_none() || live.of != now || live.recalls.is_empty() {
            return None;
        }
        let recalls: Vec<f32> = live.recalls.iter().copied().collect();
        drop(inner);
        let samples = recalls.len();
        let (mean, low, high) = interval::of(&recalls);
        Some(LiveRecall { recall_at_10: mean as f32, low: low as f32, high: high as f32, samples })
    }

    /// The figure as the policy wants it, once there are samples enough.
    pub(crate) fn evidence(&self, collection: &str, now: Option<Approximate>) -> Option<LowRecall> {
        let live = self.live(collection, now).filter(|live| live.samples >= MIN_EVIDENCE)?;
        Some(LowRecall {
            generation: now?.generation,
            recall_at_10: live.recall_at_10,
            high: live.high,
            samples: live.samples,
        })
    }

    /// Less effort than the collection is served with, where enough live queries have shown that its recall is at least `floor`.
    pub(crate) fn lower_effort(&self, collection: &str, now: Approximate, floor: f32) -> Option<usize> {
        let inner = self.lock();
        let live = inner.collections.get(collection).filter(|live| live.of == Some(now))?;
        if live.lower.len() < MIN_EVIDENCE {
            return None;
        }
        let recalls: Vec<f32> = live.lower.iter().copied().collect();
        drop(inner);
        let (_, low, _) = interval::of(&recalls);
        let less = lower(now.effort);
        (less < now.effort && low as f32 >= floor).then_some(less)
    }

    fn queries(&self, collection: &str) -> Vec<LiveQuery> {
        let inner = self.lock();
        inner.collections.get(collection).map_or_else(Vec::new, |live| live.queries.iter().cloned().collect())
    }

    /// Vectors of the queries sampled last that had no filter.
    pub(crate) fn unfiltered(&self, collection: &str) -> Vec<Vec<f32>> {
        let kept = self.queries(collection).into_iter().filter(|query| query.filter.is_none());
        kept.map(|query| query.vector).collect()
    }

    /// Samples measured and samples dropped.
    pub(crate) fn counts(&self, collection: &str) -> (u64, u64) {
        self.lock().collections.get(collection).map_or((0, 0), |live| (live.sampled, live.dropped))
    }

    /// What was measured says nothing any more.
    pub(crate) fn forget(&self, collection: &str) {
        if let Some(live) = self.lock().collections.get_mut(collection) {
            live.of = None;
            live.recalls.clear();
            live.lower.clear();
            live.queries.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push<T>(window: &mut VecDeque<T>, value: T, longest: usize) {
    if window.len() == longest {
        window.pop_front();
    }
    window.push_back(value);
}

/// One in `every`, by the bits of SplitMix64 (Steele, Lea and Flood 2014): a plain counter would meet the same query each
/// time where clients ask in rounds.
fn is_sampled(seen: u64, every: usize) -> bool {
    let mut z = seen.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).is_multiple_of(every as u64)
}

/// The effort that a crowded service falls back to.
fn lower(effort: usize) -> usize {
    (effort / 2).max(1)
}

/// The recall of one answer, and that of the same query with less effort; `None` where there was nothing to find.
fn measure(sample: &Sample) -> Result<Option<(f32, f32)>, Error> {
    let nearest = Nearest {
        vector: &sample.vector,
        k: K,
        effort: None,
        filter: sample.filter.as_ref(),
        exclude: &sample.exclude,
        only: None,
    };
    let truth = sample.view.nearest_exactly(&nearest)?;
    let Some(last) = truth.last().map(|near| near.distance) else { return Ok(None) };
    let again;
    let served = match sample.top_k >= K {
        true => &sample.served,
        // Fewer were asked for; the figure is of ten.
        false => {
            again = sample.view.nearest(&nearest)?.iter().map(|near| near.distance).collect();
            &again
        }
    };
    let share = |found: &[f32]| {
        let found = found.iter().take(K).filter(|distance| **distance <= last).count();
        found.min(truth.len()) as f32 / truth.len() as f32
    };
    let effort = sample.view.approximate().map(|now| lower(now.effort));
    let with_less = sample.view.nearest(&Nearest { effort, ..nearest })?;
    let with_less: Vec<f32> = with_less.iter().map(|near| near.distance).collect();
    Ok(Some((share(served), share(&with_less))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_in_every_is_sampled() {
        let sampled = (1..=100_000).filter(|seen| is_sampled(*seen, 100)).count();
        assert!((850..1_150).contains(&sampled), "{sampled}");
        assert!((1..=1_000).all(|seen| is_sampled(seen, 1)));
        // No period that a client could fall in step with.
        let of_round: Vec<bool> = (0..50).map(|round| is_sampled(round * 100 + 7, 10)).collect();
        assert!(of_round.contains(&true) && of_round.contains(&false));
    }
}
