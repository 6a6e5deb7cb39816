//! Vectors of queries that were asked before, in a bounded number of bytes.
//!
//! Apart from the answers, since a vector depends on the model and the query alone: it is still right after a write, in another collection of
//! the model, with another filter. A vector is found by a hash of the encoder and of what it read. An encoder is told by where it lies:
//! those that have encoded a query stay there until the engine goes ([`crate::passes`]).

use super::CacheStatus;
use crate::error::Error;
use bilin_encode::Encoder;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry costs beside its numbers, in bytes.
const ENTRY_BYTES: usize = 128;
/// Numbers in a usual vector; a hint for the tables alone.
const USUAL_DIM: usize = 384;

/// A vector, and whether only the beginning of its text was read.
#[derive(Clone)]
struct Known {
    vector: Arc<[f32]>,
    truncated: bool,
}

#[derive(Clone)]
struct Weigh;
impl Weighter<[u8; 32], Known> for Weigh {
    fn weight(&self, _key: &[u8; 32], known: &Known) -> u64 {
        (size_of_val(&*known.vector) + ENTRY_BYTES) as u64
    }
}

/// See the head of this file.
pub(crate) struct QueryVectors {
    kept: Option<Cache<[u8; 32], Known, Weigh>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl QueryVectors {
    /// At most `bytes` of them.
    pub(crate) fn new(bytes: usize) -> QueryVectors {
        let each = size_of::<f32>() * USUAL_DIM + ENTRY_BYTES;
        let kept =
            (bytes > 0).then(|| Cache::with_weighter((bytes / each).clamp(16, 1 << 20), bytes as u64, Weigh));
        QueryVectors { kept, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The vector of what `read` is, encoded by `encode` unless it is known; with whether only its beginning was read.
    /// `kind` tells texts from pictures.
    pub(crate) fn get_or_encode(
        &self,
        encoder: &Arc<dyn Encoder>,
        kind: u8,
        read: &[u8],
        encode: impl FnOnce() -> Result<(Vec<f32>, bool), Error>,
    ) -> Result<(Vec<f32>, bool), Error> {
        let Some(kept) = &self.kept else { return encode() };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(Arc::as_ptr(encoder).cast::<()>() as usize).to_le_bytes());
        hasher.update(&[kind]);
        hasher.update(read);
        let key = *hasher.finalize().as_bytes();
        if let Some(known) = kept.get(&key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok((known.vector.to_vec(), known.truncated));
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let (vector, truncated) = encode()?;
        kept.insert(key, Known { vector: vector.as_slice().into(), truncated });
        Ok((vector, truncated))
    }

    /// The part of a [`CacheStatus`] that is about vectors.
    pub(super) fn status(&self) -> CacheStatus {
        CacheStatus {
            vectors: self.kept.as_ref().map_or(0, Cache::len),
            vector_bytes: self.kept.as_ref().map_or(0, Cache::weight),
            vector_hits: self.hits.load(Ordering::Relaxed),
            vector_misses: self.misses.load(Ordering::Relaxed),
            ..CacheStatus::default()
        }
    }
}
