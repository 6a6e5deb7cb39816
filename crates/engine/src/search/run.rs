//! The way of one search, with the time of each stage.
//!
//! What is wanted is settled ([`super::plan`]), encoded where meaning counts, ranked by meaning, words or both, and the best
//! are picked and fetched. Whatever decided a rank, the scores of a result come from the vectors themselves.

use super::check::check;
use super::closer::look_closer;
use super::fuse::{Ranked, fuse};
use super::pick::{Picked, Words, pick};
use super::plan::Plan;
use super::restraint::{LESS_EFFORT, Manner, NOT_RERANKED};
use super::score::scores;
use super::target::{Asked, QueryVector, query_vector};
use super::{
    Answer, Found, Mode, Per, QUERY_TRUNCATED, Query, RERANK_BUDGET, TERM_LEFT_OUT, Target, Timings,
};
use crate::Engine;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::recall::Sample;
use crate::rerank::{Reranked, Reranker, Reranking, none_configured};
use crate::storage::{ByWords, ItemKey, Near, Nearest, VectorStore, View};
use bilin_index::Metric;
use bilin_store::{Kind, Settings};
use std::sync::Arc;
use std::time::Instant;

/// How often more candidates are asked for when groups are few or passages overlap, and how many times as many.
const DEEPER_TIMES: usize = 4;
const DEEPER_BY: usize = 4;
/// Candidates that are ever ranked for one query.
const MOST_CANDIDATES: usize = 20_000;

/// See [`Engine::search`].
pub(crate) fn search(
    engine: &Engine,
    store: &dyn VectorStore,
    query: &Query,
    manner: &Manner,
    token: &CancelToken,
) -> Result<Answer, Error> {
    let started = Instant::now();
    let settings = store.settings();
    check(query, &settings, &engine.config)?;
    let mut degraded = Vec::new();
    let restrained = manner.restraint.apply(query, &mut degraded);
    let query = &restrained;
    let mut reranker = reranker(engine, &settings, query)?;
    if manner.restraint.no_rerank && reranker.take().is_some() {
        degraded.push(NOT_RERANKED.to_owned());
    }
    let plan = Plan::of(engine, store, &settings, query, token)?;
    // Candidates for the reranker, or what is answered.
    let most = reranker.as_ref().map_or(query.top_k, |_| query.top_k.max(engine.config.rerank.candidates));
    // One view for everything, so that a result's text is of the commit that was searched.
    let view = store.view();

    let encode_started = Instant::now();
    let target = target(engine, &settings, &view, query, &plan, manner.remembers, token)?;
    token.check()?;
    let encode_ms = milliseconds(encode_started);

    let metric = settings.metric;
    let lower = manner.restraint.effort(engine, store.name(), &*view, query.effort);
    if lower.is_some() && plan.mode != Mode::Lexical {
        degraded.push(LESS_EFFORT.to_owned());
    }
    let effort = query.effort.or(lower);
    let mut run =
        Run { engine, view: &view, query, effort, plan: &plan, metric, target: target.as_ref(), token };
    let mut times = Timings::default();
    let (mut ranking, mut picked) = run.deepen(most, &mut times)?;
    let loosened = plan.without_phrases().filter(|_| picked.is_empty());
    if let Some(loosened) = &loosened {
        run.plan = loosened;
        (ranking, picked) = run.deepen(most, &mut times)?;
    }
    degraded.extend(run.plan.degraded.iter().cloned());
    if target.is_none() {
        degraded.push("similarity".to_owned());
    }
    // Words count wherever they stand.
    if run.plan.mode != Mode::Lexical && target.as_ref().is_some_and(|target| target.truncated) {
        degraded.push(QUERY_TRUNCATED.to_owned());
    }
    run.sample(&ranking.near);
    degraded.extend(ranking.left_out.iter().map(|term| format!("{TERM_LEFT_OUT}{term:?}")));
    let mut results: Vec<Found> =
        picked.into_iter().map(|picked| found(picked, &settings, target.as_ref())).collect();
    let rerank_started = Instant::now();
    let reranked = match (reranker, &query.target) {
        (Some(reranker), Target::Text(text)) => Some(rerank(engine, &reranker, text, &mut results, token)?),
        _ => None,
    };
    let rerank_ms = reranked.map_or(0.0, |_| milliseconds(rerank_started));
    if reranked.is_some_and(|reranked| !reranked.is_complete()) {
        degraded.push(RERANK_BUDGET.to_owned());
    }
    results.truncate(query.top_k);
    results.iter_mut().zip(1..).for_each(|(found, rank)| found.rank = rank);
    let timings = Timings { encode_ms, rerank_ms, total_ms: milliseconds(started), ..times };
    let (seq, edition) = (view.seq(), view.edition());
    Ok(Answer { results, reranked, timings, seq, edition, mode: plan.mode, degraded })
}

/// The vector of the query; `None` where words alone decide and the model cannot be had.
fn target(
    engine: &Engine,
    settings: &Settings,
    view: &Arc<dyn View>,
    query: &Query,
    plan: &Plan,
    remembers: bool,
    token: &CancelToken,
) -> Result<Option<QueryVector>, Error> {
    let asked = Asked { engine, collection: &plan.collection, settings, view: &**view, remembers, token };
    match query_vector(&asked, &query.target) {
        Err(error) if plan.mode == Mode::Lexical && error.kind != ErrorKind::Cancelled => {
            tracing::debug!(collection = plan.collection, %error, "a search by words goes without its cosine");
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// A ranking of candidates.
#[derive(Default)]
struct Ranking {
    ranked: Vec<Ranked>,
    /// Those found by meaning.
    near: Vec<Near>,
    words: Option<Words>,
    /// Terms too common to be counted.
    left_out: Vec<String>,
    /// There are no more candidates.
    is_exhausted: bool,
}

/// One search at work.
struct Run<'a> {
    engine: &'a Engine,
    view: &'a Arc<dyn View>,
    query: &'a Query,
    effort: Option<usize>,
    plan: &'a Plan,
    metric: Metric,
    target: Option<&'a QueryVector>,
    token: &'a CancelToken,
}

impl Run<'_> {
    /// The best of what is found, picked: so deep that `most` results come of it, or all that there are. Adds the times.
    fn deepen(&self, most: usize, times: &mut Timings) -> Result<(Ranking, Vec<Picked>), Error> {
        let mut depth = self.plan.depth.max(most);
        let mut deeper = 0;
        loop {
            let search_started = Instant::now();
            let ranking = self.rank(depth)?;
            times.search_ms += milliseconds(search_started);
            let fetch_started = Instant::now();
            let picked = pick(&**self.view, &ranking.ranked, self.plan.per, most, ranking.words.as_ref())?;
            times.fetch_ms += milliseconds(fetch_started);
            let is_all = picked.len() >= self.query.top_k || ranking.is_exhausted || self.plan.is_plain();
            if is_all || deeper == DEEPER_TIMES || depth == MOST_CANDIDATES {
                return Ok((ranking, picked));
            }
            self.token.check()?;
            deeper += 1;
            depth = (depth * DEEPER_BY).min(MOST_CANDIDATES);
        }
    }

    /// The best `depth` candidates of each kind that counts.
    fn rank(&self, depth: usize) -> Result<Ranking, Error> {
        let mut ranking = Ranking::default();
        let (mut hits, mut most) = (Vec::new(), 0.0);
        let asks_words = self.plan.mode != Mode::Dense;
        if let (true, Some(wanted)) = (asks_words, &self.plan.wanted) {
            // Every item that has the phrases, since no other may be found.
            let limit = if wanted.phrases.is_empty() { depth } else { depth.max(MOST_CANDIDATES) };
            let filter = self.query.filter.as_ref();
            let request = ByWords { wanted, limit, filter, token: self.token };
            let found = self.engine.foreground.install(|| self.view.by_words(&request))?;
            (hits, most) = (found.hits, found.most);
            ranking.left_out = found.left_out;
            ranking.words = Some(Words { wanted: wanted.clone(), weights: found.weights });
        }
        if let (true, Some(target)) = (self.plan.mode != Mode::Lexical, self.target) {
            let only: Option<Vec<ItemKey>> =
                self.plan.has_phrases().then(|| hits.iter().map(|(key, _)| *key).collect());
            let nearest = Nearest {
                vector: &target.vector,
                k: depth,
                effort: self.effort,
                filter: self.query.filter.as_ref(),
                exclude: &target.exclude,
                only: only.as_deref(),
            };
            ranking.near = self.engine.foreground.install(|| self.view.nearest(&nearest))?;
        }
        ranking.is_exhausted = ranking.near.len() < depth && hits.len() < depth;
        ranking.ranked = match self.plan.mode {
            Mode::Dense => {
                let near = ranking.near.iter();
                near.map(|near| Ranked { key: near.key, score: None, cosine: None, lexical: None }).collect()
            }
            Mode::Lexical => {
                let ranked = |&(key, score): &(ItemKey, f32)| Ranked {
                    key,
                    score: Some(f64::from(score)),
                    cosine: None,
                    lexical: Some(score),
                };
                hits.iter().map(ranked).collect()
            }
            Mode::Hybrid => fuse((&ranking.near, self.metric), (&hits, most), self.plan.fusion),
        };
        if let (Mode::Hybrid, Some(target)) = (self.plan.mode, self.target) {
            look_closer(&**self.view, &target.vector, self.plan.sentences, &mut ranking.ranked)?;
        }
        Ok(ranking)
    }

    /// Lets the answer be measured later, if it is one of the few that are.
    fn sample(&self, near: &[Near]) {
        // Within a phrase only some items may be found; grouped, deeper searches stand for the one that was asked for.
        let (Some(target), None, Per::Item, false) =
            (self.target, self.effort, self.plan.per, self.plan.has_phrases() || near.is_empty())
        else {
            return;
        };
        let every = self.engine.config.upkeep.recall_sample_every;
        self.engine.recall.offer(&self.plan.collection, &**self.view, every, || Sample {
            collection: self.plan.collection.clone(),
            view: Arc::clone(self.view),
            vector: target.vector.clone(),
            filter: self.query.filter.clone(),
            exclude: target.exclude.clone(),
            top_k: self.query.top_k,
            served: near.iter().take(self.query.top_k).map(|near| near.distance).collect(),
        });
    }
}

/// A result as it is answered; its rank is set when all are in order.
fn found(picked: Picked, settings: &Settings, target: Option<&QueryVector>) -> Found {
    let Picked { ranked, item, snippet } = picked;
    let scores = target.map(|target| scores(settings.metric, &target.vector, &item.vector));
    Found {
        rank: 0,
        id: item.document,
        ordinal: item.ordinal,
        score: ranked.score.map_or_else(|| scores.map_or(0.0, |scores| scores.score), |score| score as f32),
        similarity: scores.map_or(0.0, |scores| scores.similarity),
        l2_distance: scores.map_or(0.0, |scores| scores.l2_distance),
        reranked: None,
        text: item.text,
        metadata: item.metadata,
        lexical: ranked.lexical,
        snippet,
    }
}

/// The reranker for a query, if it is to be reranked.
fn reranker(engine: &Engine, settings: &Settings, query: &Query) -> Result<Option<Arc<Reranker>>, Error> {
    let config = &engine.config.rerank;
    let is_text = matches!(query.target, Target::Text(_)) && settings.kind == Kind::Text;
    match (query.rerank, &config.model) {
        (Some(true), _) if !is_text => Err(Error::invalid(
            "a reranker reads a text for a query and texts for answers, and this search has others",
        )
        .with_hint("leave rerank out, or search a text collection by text")),
        (Some(true), None) => Err(none_configured()),
        (Some(true), Some(model)) => engine.rerankers.get(model).map(Some),
        (None, Some(model)) if config.by_default && is_text => engine.rerankers.get(model).map(Some),
        (None | Some(false), _) => Ok(None),
    }
}

/// Puts the best of `results` in order.
fn rerank(
    engine: &Engine,
    reranker: &Reranker,
    text: &str,
    results: &mut [Found],
    token: &CancelToken,
) -> Result<Reranked, Error> {
    let config = &engine.config.rerank;
    let candidates = results.len().min(config.candidates);
    let reranking = Reranking {
        reranker,
        passes: &engine.passes,
        pool: &engine.foreground,
        token,
        budget: config.budget,
    };
    reranking.run(text, &mut results[..candidates])
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
