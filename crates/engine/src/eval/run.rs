//! The way of an evaluation: count what is right, ask, judge, look at the failures, resample, compare.
//!
//! Only searches that a user could make are timed; what explains a failure is searched for afterwards.

use super::analysis::analyse;
use super::bootstrap::{CONFIDENCE, intervals};
use super::census::{self, Relevant};
use super::compare::compare;
use super::judge::{Facts, Judge, Place, nearness};
use super::measure::Measure;
use super::outcome::{
    Answered, Estimate, Evaluation, Figures, Group, Latency, NearMiss, Run, Shown, VERSION,
};
use super::question::{Question, Questions};
use super::setting::{EvalSetting, MAX_SETTINGS};
use super::{EvalOptions, EvalProgress, EvalStage};
use crate::Engine;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::search::{Answer, Found, Timings};
use bilin_store::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Results that a report shows of each question.
const SHOWN_RESULTS: usize = 5;
/// Characters of a text that a report shows.
const EXCERPT_CHARS: usize = 240;
/// Searches of one evaluation: questions times settings.
const MAX_SEARCHES: usize = 200_000;
/// Resamples behind an interval at most.
const MAX_RESAMPLES: usize = 100_000;

/// See [`Engine::evaluate`].
pub(crate) fn evaluate(
    engine: &Engine,
    questions: &Questions,
    options: &EvalOptions,
    token: &CancelToken,
    progress: &(dyn Fn(EvalProgress) + Sync),
) -> Result<Evaluation, Error> {
    check(engine, questions, options)?;
    let list = &questions.list;
    let judge = Judge::new(list);
    let mut relevant = BTreeMap::new();
    for EvalSetting { collection, .. } in &options.settings {
        if !relevant.contains_key(collection) {
            let counted = count(engine, collection, &judge, list.len(), token, progress)?;
            relevant.insert(collection.clone(), counted);
        }
    }
    let is_nowhere = |at: &usize| relevant.values().all(|counted| counted.relevant[*at].count == 0);
    let nowhere: Vec<usize> = (0..list.len()).filter(is_nowhere).collect();
    let mut asking = Asking { engine, list, judge: &judge, nowhere: &nowhere, options, token, progress };
    let mut runs = Vec::with_capacity(options.settings.len());
    let mut warnings = Vec::new();
    for (at, setting) in options.settings.iter().enumerate() {
        runs.push(asking.run(at, setting, &relevant[&setting.collection], &mut warnings)?);
    }
    let resampling = (options.resamples, options.seed);
    let counts = |question: usize| !nowhere.contains(&question);
    let mut comparisons = Vec::new();
    if let Some((baseline, candidates)) = runs.split_first() {
        for candidate in candidates {
            let (before, after) =
                ((baseline, baseline.label.as_str()), (candidate, candidate.label.as_str()));
            comparisons.push(compare(before, after, &counts, resampling, token)?);
        }
    }
    Ok(Evaluation {
        version: VERSION,
        bilin: env!("CARGO_PKG_VERSION").to_owned(),
        questions_blake3: questions.fingerprint(),
        questions: list.clone(),
        nowhere,
        seed: options.seed,
        resamples: options.resamples,
        confidence: CONFIDENCE,
        runs,
        comparisons,
        warnings,
    })
}

fn check(engine: &Engine, questions: &Questions, options: &EvalOptions) -> Result<(), Error> {
    let too_large =
        |message: String| Err(Error::new(ErrorKind::TooLarge, message).with_hint("evaluate less in one run"));
    if questions.list.is_empty() || options.settings.is_empty() {
        return Err(Error::invalid("there is nothing to evaluate: expected questions and a setting"));
    }
    if options.settings.len() > MAX_SETTINGS {
        return too_large(format!("{} settings, the limit is {MAX_SETTINGS}", options.settings.len()));
    }
    let searches = questions.list.len() * options.settings.len();
    if searches > MAX_SEARCHES {
        return too_large(format!(
            "{searches} searches (questions times settings), the limit is {MAX_SEARCHES}"
        ));
    }
    if options.resamples > MAX_RESAMPLES {
        return too_large(format!("{} resamples, the limit is {MAX_RESAMPLES}", options.resamples));
    }
    for EvalSetting { k, .. } in &options.settings {
        if *k == 0 || *k > engine.config.max_top_k {
            return Err(Error::invalid(format!("k must be 1 to {}, got {k}", engine.config.max_top_k)));
        }
    }
    Ok(())
}

/// What a collection holds for the questions.
struct Counted {
    relevant: Vec<Relevant>,
    seq: u64,
    items: usize,
}

fn count(
    engine: &Engine,
    collection: &str,
    judge: &Judge,
    questions: usize,
    token: &CancelToken,
    progress: &(dyn Fn(EvalProgress) + Sync),
) -> Result<Counted, Error> {
    engine.reading(collection, |store| {
        let view = store.view();
        let told = |done, total| progress(EvalProgress { stage: EvalStage::Counting, done, total });
        let relevant = census::count(&*view, judge, questions, token, &told)?;
        Ok(Counted { relevant, seq: view.seq(), items: view.count() })
    })
}

/// What all settings share.
struct Asking<'a> {
    engine: &'a Engine,
    list: &'a [Question],
    judge: &'a Judge,
    nowhere: &'a [usize],
    options: &'a EvalOptions,
    token: &'a CancelToken,
    progress: &'a (dyn Fn(EvalProgress) + Sync),
}

impl Asking<'_> {
    fn run(
        &mut self,
        at: usize,
        setting: &EvalSetting,
        counted: &Counted,
        warnings: &mut Vec<String>,
    ) -> Result<Run, Error> {
        let settings = &self.options.settings;
        let info = self.engine.collection(&setting.collection)?;
        // A full text that is not whole yet would make hybrid search look like dense search.
        if info.settings.kind == Kind::Text {
            let wanted = |_: usize, _: usize| !self.token.is_cancelled();
            self.engine.fill_full_text(&setting.collection, &wanted)?;
        }
        // The first search unpacks the model, which no later one pays for.
        let mode = match self.list.first() {
            Some(first) => self.ask(setting, first)?.mode.to_string(),
            None => String::new(),
        };
        let mut answers = Vec::with_capacity(self.list.len());
        let mut times = Vec::with_capacity(self.list.len());
        let mut changed = false;
        let mut lacking = BTreeSet::new();
        for (position, question) in self.list.iter().enumerate() {
            let done = at * self.list.len() + position;
            let total = settings.len() * self.list.len();
            (self.progress)(EvalProgress { stage: EvalStage::Asking, done, total });
            let answer = self.ask(setting, question)?;
            changed |= answer.seq != counted.seq;
            lacking.extend(answer.degraded.iter().map(ToString::to_string));
            times.push(answer.timings);
            answers.push(self.judge(position, &answer.results, &counted.relevant[position]));
        }
        if changed {
            warnings.push(format!(
                "collection {:?} changed during the evaluation: counts of right passages are those of commit {}",
                setting.collection, counted.seq
            ));
        }
        if !lacking.is_empty() {
            let label = setting.label(settings);
            let lacking: Vec<String> = lacking.into_iter().collect();
            warnings.push(format!("{label}: some answers lack {}", lacking.join(", ")));
        }
        self.explain(setting, &mut answers)?;
        let measures = Measure::all(setting.k);
        let everyone: Vec<usize> = (0..self.list.len()).filter(|at| !self.nowhere.contains(at)).collect();
        let figures = self.figures(&answers, &everyone, &measures)?;
        Ok(Run {
            label: setting.label(settings),
            setting: setting.clone(),
            mode,
            seq: counted.seq,
            items: counted.items,
            model: info.settings.model.as_ref().map(|model| model.id.clone()),
            index: info.settings.index.to_string(),
            figures,
            groups: self.groups(&answers, &measures)?,
            latency: if self.options.timings { latency(&times) } else { Vec::new() },
            answers,
        })
    }

    fn ask(&self, setting: &EvalSetting, question: &Question) -> Result<Answer, Error> {
        self.token.check()?;
        let query = setting.query(&question.question);
        let answer = self.engine.search_cancellable(&setting.collection, &query, self.token);
        answer.map_err(|error| match question.line {
            0 => error.within(&format!("question {:?}", question.question)),
            line => error.within(&format!("question of line {line}")),
        })
    }

    fn judge(&self, question: usize, found: &[Found], relevant: &Relevant) -> Answered {
        let is_right = |found: &Found| {
            let facts = Facts::of(&found.id, found.ordinal, found.text.as_deref(), &found.metadata);
            self.judge.is_right(question, &facts)
        };
        let right: Vec<usize> =
            found.iter().filter(|found| is_right(found)).map(|found| found.rank).collect();
        let rank = right.first().copied();
        let wrong = found.iter().take_while(|found| rank.is_none_or(|rank| found.rank < rank));
        let near = |found: &Found| {
            let place = Place::of(&found.metadata);
            relevant.places.iter().filter_map(|expected| nearness(&place, expected)).min()
        };
        // The nearest one, of equals the first.
        let near_miss = wrong
            .take(SHOWN_RESULTS)
            .filter_map(|found| Some(NearMiss { rank: found.rank, nearness: near(found)? }))
            .min_by_key(|near| (near.nearness, near.rank));
        let shown = found.iter().take(SHOWN_RESULTS).map(|found| Shown {
            rank: found.rank,
            id: found.id.clone(),
            ordinal: found.ordinal,
            is_right: right.contains(&found.rank),
            similarity: found.similarity,
            lexical: found.lexical,
            place: Place::of(&found.metadata),
            excerpt: excerpt(found.text.as_deref().unwrap_or_default()),
        });
        Answered {
            rank,
            relevant: relevant.count,
            results: shown.collect(),
            near_miss,
            right,
            analysis: None,
        }
    }

    /// Looks at the questions that were not answered first.
    fn explain(&self, setting: &EvalSetting, answers: &mut [Answered]) -> Result<(), Error> {
        let failed: Vec<usize> = (0..answers.len())
            .filter(|at| answers[*at].rank != Some(1) && !self.nowhere.contains(at))
            .take(self.options.explained)
            .collect();
        for (done, &at) in failed.iter().enumerate() {
            (self.progress)(EvalProgress { stage: EvalStage::Explaining, done, total: failed.len() });
            let asked = (at, self.list[at].question.as_str());
            let analysis = analyse(self.engine, setting, asked, self.judge, &answers[at], self.token)?;
            answers[at].analysis = Some(analysis);
        }
        Ok(())
    }

    /// Means over the questions at these positions.
    fn figures(
        &self,
        answers: &[Answered],
        positions: &[usize],
        measures: &[Measure],
    ) -> Result<Figures, Error> {
        let value = |at: usize, measure: &Measure| measure.of(&answers[at].right, answers[at].relevant);
        let rows: Vec<f64> =
            positions.iter().flat_map(|at| measures.iter().map(move |measure| value(*at, measure))).collect();
        let EvalOptions { resamples, seed, .. } = *self.options;
        let ends = intervals(&rows, measures.len(), resamples, seed, self.token)?;
        let figures = measures.iter().zip(ends).enumerate().map(|(column, (measure, (low, high)))| {
            let sum: f64 = rows.iter().skip(column).step_by(measures.len()).sum();
            (*measure, Estimate { value: sum / positions.len().max(1) as f64, low, high })
        });
        Ok(figures.collect())
    }

    fn groups(&self, answers: &[Answered], measures: &[Measure]) -> Result<Vec<Group>, Error> {
        let mut positions: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, question) in self.list.iter().enumerate().filter(|(at, _)| !self.nowhere.contains(at)) {
            let half = question.half.iter().map(|half| format!("half={half}"));
            let tags = question.tags.iter().map(|tag| format!("tag={tag}"));
            for name in half.chain(tags) {
                let members = positions.entry(name).or_default();
                if members.last() != Some(&at) {
                    members.push(at);
                }
            }
        }
        positions
            .into_iter()
            .map(|(name, members)| {
                let figures = self.figures(answers, &members, measures)?;
                Ok(Group { name, questions: members.len(), figures })
            })
            .collect()
    }
}

/// The beginning of a text on one line.
pub(super) fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn latency(times: &[Timings]) -> Vec<Latency> {
    let stage = |stage: &str, of: fn(&Timings) -> f64| {
        let mut values: Vec<f64> = times.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        // The nearest rank, so that every figure is a time that was measured.
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            let value = values.get(rank.saturating_sub(1)).copied().unwrap_or_default();
            (value * 1e3).round() / 1e3
        };
        Latency { stage: stage.to_owned(), p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) }
    };
    // Only where there was any.
    let is_reranked = times.iter().any(|times| times.rerank_ms > 0.0);
    let rerank = is_reranked.then(|| stage("rerank", |times| times.rerank_ms));
    let stages = [
        stage("encode", |times| times.encode_ms),
        stage("search", |times| times.search_ms),
        stage("fetch", |times| times.fetch_ms),
    ];
    stages.into_iter().chain(rerank).chain([stage("total", |times| times.total_ms)]).collect()
}
