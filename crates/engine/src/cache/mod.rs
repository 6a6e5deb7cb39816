//! Answers that were given already, and answers that are being made.
//!
//! An answer is kept as the bytes that its caller rendered it to, in a bounded number of bytes and for a bounded time, under a
//! [`key`](key::Key) of everything that it depends on: the edition of the view (the collection itself, its commit, its index), the query with all
//! parameters, the configuration, and the form in which it was rendered. So a write, a rebuilt index, a restored backup or a
//! collection made anew under an old name are other keys: nothing has to be thrown away for an answer never to be of the past.
//! What ages out is chosen by S3-FIFO (Yang et al. 2023; the `quick_cache` crate).
//!
//! The same query asked several times at once is worked on once ([`flight`]). Vectors of queries are kept apart ([`vectors`]), since they
//! outlive commits. A cache that several processes share stands behind this one and gets its values in an envelope ([`envelope`]); who
//! talks to it is no matter of the engine's, for that is waiting on a network.
//!
//! Invariants: an answer that lacks something for a passing reason (time was over, a model or the full text was not there, the service
//! was crowded) is told to those who wait for it and never kept; an answer of another edition than the one that it was asked of is
//! not kept either.

mod envelope;
mod flight;
mod key;
mod vectors;

pub use envelope::Unfit;
pub use flight::{Ended, Follow};
pub(crate) use vectors::QueryVectors;

use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::error::Error;
use crate::search::{Answer, PHRASES, QUERY_TRUNCATED, Query, TERM_LEFT_OUT};
use flight::Flight;
use key::Key;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// What an entry costs beside its body, in bytes.
const ENTRY_BYTES: usize = 192;
/// What an answer is expected to take; a hint for the tables alone.
const USUAL_BYTES: usize = 4 << 10;

/// How much is kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes of answers kept in memory at most; 0 = none are.
    pub answer_bytes: usize,
    /// How long an answer is kept at most.
    pub ttl: Duration,
    /// Bytes of vectors of queries kept in memory at most; 0 = none are.
    pub vector_bytes: usize,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig { answer_bytes: 64 << 20, ttl: Duration::from_secs(300), vector_bytes: 16 << 20 }
    }
}

/// Where the answer to a query is.
pub enum Asked {
    /// It was given before; as it was rendered then.
    Hit(Arc<[u8]>),
    /// Nowhere: the caller makes it, and tells by the [`Lead`] those who ask meanwhile.
    Lead(Lead),
    /// Somebody makes it now.
    Follow(Follow),
    /// It cannot be kept: the store does not tell its views apart.
    Alone,
}

/// How often answers of one collection were there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Answered from memory.
    pub hits: u64,
    /// Answered with what was being made for another.
    pub joined: u64,
    /// Not there, so that work (or a shared cache) had to be asked.
    pub misses: u64,
}

impl CacheUse {
    /// Share of all that were asked for that needed no work of their own; `None` before the first.
    pub fn ratio(&self) -> Option<f64> {
        let free = self.hits + self.joined;
        let all = free + self.misses;
        (all > 0).then(|| free as f64 / all as f64)
    }
}

/// What the caches hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Answers in memory.
    pub answers: usize,
    /// Bytes that they take.
    pub answer_bytes: u64,
    /// Bytes that they may take.
    pub answer_bytes_max: u64,
    /// Vectors of queries in memory.
    pub vectors: usize,
    /// Bytes that they take.
    pub vector_bytes: u64,
    /// Queries whose vector was there.
    pub vector_hits: u64,
    /// Queries that had to be encoded.
    pub vector_misses: u64,
}

#[derive(Clone)]
struct Entry {
    body: Arc<[u8]>,
    until: Instant,
}

#[derive(Clone)]
struct Weigh;
impl Weighter<Key, Entry> for Weigh {
    fn weight(&self, _key: &Key, entry: &Entry) -> u64 {
        (entry.body.len() + ENTRY_BYTES) as u64
    }
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    joined: AtomicU64,
    misses: AtomicU64,
}

/// Answers in memory, and those on their way.
pub(crate) struct AnswerCache {
    /// `None`: nothing is kept, but what is asked at once is still worked on once.
    kept: Option<Cache<Key, Entry, Weigh>>,
    ttl: Duration,
    /// Of what the configuration says about answers.
    configured: [u8; 32],
    flights: Mutex<HashMap<Key, Arc<Flight>>>,
    counts: RwLock<BTreeMap<String, Arc<Counts>>>,
}

impl AnswerCache {
    pub(crate) fn new(config: &EngineConfig) -> AnswerCache {
        let CacheConfig { answer_bytes, ttl, .. } = config.cache;
        let kept = (answer_bytes > 0).then(|| {
            Cache::with_weighter((answer_bytes / USUAL_BYTES).clamp(16, 1 << 20), answer_bytes as u64, Weigh)
        });
        AnswerCache {
            kept,
            ttl,
            configured: key::configured(config),
            flights: Mutex::default(),
            counts: RwLock::default(),
        }
    }

    fn get(&self, key: &Key) -> Option<Arc<[u8]>> {
        let kept = self.kept.as_ref()?;
        let entry = kept.get(key)?;
        if Instant::now() < entry.until {
            return Some(entry.body);
        }
        kept.remove(key);
        None
    }

    fn keep(&self, key: Key, body: &Arc<[u8]>) {
        if let (Some(kept), Some(until)) = (&self.kept, Instant::now().checked_add(self.ttl)) {
            kept.insert(key, Entry { body: Arc::clone(body), until });
        }
    }

    fn counts(&self, collection: &str) -> Arc<Counts> {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = counts.get(collection) {
            return Arc::clone(counts);
        }
        drop(counts);
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counts.entry(collection.to_owned()).or_default())
    }

    /// How answers of a collection were found.
    pub(crate) fn used(&self, collection: &str) -> CacheUse {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        counts.get(collection).map_or_else(CacheUse::default, |counts| CacheUse {
            hits: read(&counts.hits),
            joined: read(&counts.joined),
            misses: read(&counts.misses),
        })
    }

    /// A collection is gone, and its counts with it; its answers age out.
    pub(crate) fn forget(&self, collection: &str) {
        self.counts.write().unwrap_or_else(PoisonError::into_inner).remove(collection);
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to make an answer. Dropped without a word (its caller went away), another of those who wait gets it.
pub struct Lead {
    cache: Arc<AnswerCache>,
    key: Key,
    edition: [u8; 32],
    flight: Arc<Flight>,
    is_told: bool,
}

impl Lead {
    /// Name of the answer in a cache that several processes share.
    pub fn shared_key(&self) -> String {
        self.key.to_string()
    }

    /// The answer as it is put into a shared cache.
    pub fn seal(&self, body: &[u8]) -> Vec<u8> {
        envelope::seal(&self.key, body)
    }

    /// Takes what a shared cache held under [`Lead::shared_key`], if it is whole and of this answer, keeps it in memory and tells it.
    ///
    /// # Errors
    /// [`Unfit`] with the lead, whose answer has to be made.
    pub fn open(mut self, value: &[u8]) -> Result<Arc<[u8]>, (Lead, Unfit)> {
        let body: Arc<[u8]> = match envelope::open(&self.key, value) {
            Ok(body) => body.into(),
            Err(unfit) => return Err((self, unfit)),
        };
        self.cache.keep(self.key, &body);
        self.tell(Ended::Answered(Arc::clone(&body)));
        Ok(body)
    }

    /// Tells the answer to those who wait, and keeps it where it is worth keeping; `is_as_asked`: nothing was left out of
    /// what the query asks for. Says whether it may be kept.
    pub fn answered(mut self, answer: &Answer, body: &Arc<[u8]>, is_as_asked: bool) -> bool {
        let is_kept = is_as_asked && answer.edition == Some(self.edition) && is_whole(answer);
        if is_kept {
            self.cache.keep(self.key, body);
        }
        self.tell(Ended::Answered(Arc::clone(body)));
        is_kept
    }

    /// There is no answer; who waits asks for himself.
    pub fn failed(mut self) {
        self.tell(Ended::Failed);
    }

    fn tell(&mut self, ended: Ended) {
        self.is_told = true;
        // Out of the table first: who asks from now on finds the answer, or begins anew.
        self.cache.flights().remove(&self.key);
        self.flight.end(ended);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Ended::Abandoned);
        }
    }
}

/// Whether the same query would be answered alike a moment later.
fn is_whole(answer: &Answer) -> bool {
    let always = |lack: &String| {
        [QUERY_TRUNCATED, PHRASES].contains(&lack.as_str()) || lack.starts_with(TERM_LEFT_OUT)
    };
    answer.degraded.iter().all(always)
}

impl Engine {
    /// Where the answer to a query is; `form` names how the caller renders it. Quick, and never waits for a search or a writer.
    ///
    /// # Errors
    /// No such collection, or one that cannot be used.
    pub fn ask(&self, collection: &str, query: &Query, form: &str) -> Result<Asked, Error> {
        let Some(edition) = self.stores.get(collection)?.view().edition() else { return Ok(Asked::Alone) };
        let cache = &self.answers;
        let key = Key::of(&edition, &cache.configured, form, query);
        let counts = cache.counts(collection);
        if let Some(body) = cache.get(&key) {
            counts.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Asked::Hit(body));
        }
        let mut flights = cache.flights();
        if let Some(flight) = flights.get(&key) {
            counts.joined.fetch_add(1, Ordering::Relaxed);
            return Ok(Asked::Follow(Follow::of(Arc::clone(flight))));
        }
        // It may have been kept between the look and the lock.
        if let Some(body) = cache.get(&key) {
            counts.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Asked::Hit(body));
        }
        let flight = Arc::new(Flight::default());
        flights.insert(key, Arc::clone(&flight));
        counts.misses.fetch_add(1, Ordering::Relaxed);
        Ok(Asked::Lead(Lead { cache: Arc::clone(cache), key, edition, flight, is_told: false }))
    }

    /// What the caches hold.
    pub fn cache_status(&self) -> CacheStatus {
        let kept = self.answers.kept.as_ref();
        CacheStatus {
            answers: kept.map_or(0, Cache::len),
            answer_bytes: kept.map_or(0, Cache::weight),
            answer_bytes_max: kept.map_or(0, Cache::capacity),
            ..self.query_vectors.status()
        }
    }
}
