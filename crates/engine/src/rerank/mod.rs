//! The best of what was found, put in order anew by a cross-encoder that reads the query and each text together.
//!
//! Bounded in time: candidates are scored batch by batch in the order in which they were found, until all are or the budget ends.
//! What is scored stands first, by its score; what is not keeps its order behind that, and the answer says how many were. A batch
//! is made no larger than what the time left is worth, as batches before it have shown.
//!
//! Invariant: reranking changes the order of the candidates and their field `reranked`, nothing else; `similarity` stays the
//! cosine. Of one reranker one batch is under way at a time, and queries take turns ([`turns`]), so that none waits for all
//! candidates of another.

mod turns;

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::passes::Passes;
use crate::search::Found;
use bilin_encode::{CrossEncoder, Pair, Relevance};
use rayon::ThreadPool;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use turns::Turns;

/// Reranking as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RerankConfig {
    /// Folder of the cross-encoder; `None` = there is none.
    pub model: Option<String>,
    /// Whether searches by text are reranked that do not say.
    pub by_default: bool,
    /// How many of the best found are looked at.
    pub candidates: usize,
    /// How long that may take.
    pub budget: Duration,
}

impl Default for RerankConfig {
    fn default() -> RerankConfig {
        RerankConfig { model: None, by_default: false, candidates: 50, budget: Duration::from_secs(1) }
    }
}

/// How far reranking came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reranked {
    /// How many there were to look at.
    pub candidates: usize,
    /// How many were scored before the time was over.
    pub scored: usize,
}

impl Reranked {
    /// Whether the time was enough.
    pub fn is_complete(&self) -> bool {
        self.scored == self.candidates
    }
}

/// A cross-encoder that is open.
pub(crate) struct Reranker {
    model: CrossEncoder,
    turns: Turns,
    /// Of the batches so far, a moving mean; 0 before the first.
    nanoseconds_per_token: AtomicU64,
}

/// Rerankers by the path they were asked for by.
#[derive(Default)]
pub(crate) struct Rerankers {
    open: Mutex<BTreeMap<String, Arc<Reranker>>>,
}

impl Rerankers {
    /// Opens one when it is first needed. Never called from inside a thread pool.
    pub(crate) fn get(&self, path: &str) -> Result<Arc<Reranker>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reranker) = open.get(path) {
            return Ok(Arc::clone(reranker));
        }
        let model =
            bilin_encode::open_cross_encoder(path).map_err(|error| Error::from(error).with_hint(HINT))?;
        let reranker = Arc::new(Reranker::new(model));
        open.insert(path.to_owned(), Arc::clone(&reranker));
        Ok(reranker)
    }
}

const HINT: &str = "a reranker is the unchanged folder of a cross-encoder with one label, BERT or XLM-RoBERTa (such as ms-marco-MiniLM or bge-reranker), or the name of one that was pulled";

/// What is told where none is configured.
pub(crate) fn none_configured() -> Error {
    Error::new(ErrorKind::InvalidInput, "there is no reranker to rerank with").with_hint(
        "name the folder of a cross-encoder by rerank.model (BILIN_RERANK_MODEL), or leave rerank out",
    )
}

/// One reranking: for whom, and how long at most.
pub(crate) struct Reranking<'a> {
    pub(crate) reranker: &'a Reranker,
    pub(crate) passes: &'a Passes,
    pub(crate) pool: &'a ThreadPool,
    pub(crate) token: &'a CancelToken,
    pub(crate) budget: Duration,
}

impl Reranking<'_> {
    /// Puts `found` in order; items without a text are never scored.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when nobody waits any more.
    pub(crate) fn run(&self, query: &str, found: &mut [Found]) -> Result<Reranked, Error> {
        let deadline = Instant::now() + self.budget;
        let texts: Vec<&str> = found.iter().map_while(|found| found.text.as_deref()).collect();
        let mut reranked = Reranked { candidates: texts.len(), scored: 0 };
        let _first = self.passes.precedence().enter();
        let pairs = self.pool.install(|| self.reranker.model.pairs(query.trim(), &texts));
        let mut relevance: Vec<Relevance> = Vec::with_capacity(pairs.len());
        while let Some(rest) = pairs.get(relevance.len()..).filter(|rest| !rest.is_empty()) {
            self.token.check()?;
            let Some(_turn) = self.reranker.turns.wait(deadline) else { break };
            let count = self.reranker.fitting(rest, deadline, self.pool.current_num_threads());
            if count == 0 {
                break;
            }
            let batch = &rest[..count];
            let started = Instant::now();
            relevance.extend(self.pool.install(|| self.reranker.model.score(batch)));
            self.reranker.learn(batch, started.elapsed());
        }
        reranked.scored = relevance.len();
        order(found, &relevance);
        Ok(reranked)
    }
}

/// Sorts the scored ones, which are the first, by logit; equals keep their order. A logit that is no number is the worst.
fn order(found: &mut [Found], relevance: &[Relevance]) {
    let logit =
        |relevance: &Relevance| if relevance.logit.is_nan() { f32::NEG_INFINITY } else { relevance.logit };
    let mut scored: Vec<(f32, Found)> = Vec::with_capacity(relevance.len());
    for (found, relevance) in found.iter().zip(relevance) {
        scored.push((logit(relevance), Found { reranked: Some(relevance.score), ..found.clone() }));
    }
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    for (place, (_, scored)) in found.iter_mut().zip(scored) {
        *place = scored;
    }
}

impl Reranker {
    fn new(model: CrossEncoder) -> Reranker {
        Reranker { model, turns: Turns::default(), nanoseconds_per_token: AtomicU64::new(0) }
    }

    /// How many of `pairs`, from the first on, make a batch that is over by `deadline`.
    fn fitting(&self, pairs: &[Pair], deadline: Instant, threads: usize) -> usize {
        let left = deadline.saturating_duration_since(Instant::now());
        let affordable = match (left.is_zero(), self.nanoseconds_per_token.load(Ordering::Relaxed)) {
            (true, _) => return 0,
            (false, 0) => usize::MAX,
            (false, each) => usize::try_from(left.as_nanos() / u128::from(each)).unwrap_or(usize::MAX),
        };
        let most = affordable.min(self.model.batch_tokens(threads));
        let mut tokens = 0;
        let fit = pairs.iter().take_while(|pair| {
            tokens += pair.tokens();
            tokens <= most
        });
        match (fit.count(), pairs.first()) {
            // A pair longer than a batch is one of its own, if there is time for it.
            (0, Some(pair)) if pair.tokens() <= affordable => 1,
            (count, _) => count,
        }
    }

    fn learn(&self, batch: &[Pair], took: Duration) {
        let tokens = batch.iter().map(Pair::tokens).sum::<usize>().max(1);
        let each = u64::try_from(took.as_nanos() / tokens as u128).unwrap_or(u64::MAX).max(1);
        let before = self.nanoseconds_per_token.load(Ordering::Relaxed);
        // Two queries at once may lose one of their figures, which is no harm.
        let mean = if before == 0 { each } else { before - before / 4 + each / 4 };
        self.nanoseconds_per_token.store(mean.max(1), Ordering::Relaxed);
    }
}
