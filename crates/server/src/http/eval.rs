//! `POST /v1/collections/{collection}/eval`: questions with known answers, asked in one or several ways.
//!
//! An evaluation is many searches in one request, so it stands among the searches, within their deadline, and its size is
//! bounded; `bilin eval` takes more.

use super::crossing::Weight;
use super::error::{ApiError, ErrorBody};
use super::extract::{Json, PathParts};
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use bilin_engine::eval::{EvalOptions, EvalProgress, EvalSetting, EvalStage, Evaluation, questions_of};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use utoipa::ToSchema;

/// Questions times settings of one request.
const MAX_SEARCHES: usize = 1_000;
/// Failures that are explained, of each setting.
const EXPLAINED: usize = 50;
/// Resamples behind an interval at most.
const MAX_RESAMPLES: usize = 10_000;
/// Longest name of a run, characters.
const MAX_RUN_CHARS: usize = 64;

/// What to ask, and how.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvalRequest {
    /// Each as a line of a questions file: `question` and one or more of `section`, `chapter`, `page`, `slide`, `source`,
    /// `contains` and `ids`; `expect` lists alternatives, `half` and `tags` group the figures.
    #[schema(value_type = Vec<Object>, min_items = 1,
        example = json!([{"question": "FAISS的架构包含哪些模块?", "section": "1.10"}]))]
    questions: Vec<Map<String, Value>>,
    /// Ways of asking by name and value, such as `{"k": 10}`; the first is what the others are compared with. Default: one,
    /// as users get it.
    #[serde(default)]
    #[schema(value_type = Vec<Object>, example = json!([{"k": 3}, {"k": 10}]))]
    settings: Vec<Map<String, Value>>,
    /// Seed of the resamples behind the intervals; default 1.
    #[serde(default)]
    seed: Option<u64>,
    /// How many, 1 to 10 000 (default).
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10000)]
    resamples: Option<usize>,
    /// A name for this run, at most 64 characters: `GET` of the same address tells under it how far the run is.
    #[serde(default)]
    #[schema(max_length = 64)]
    run: Option<String>,
}

/// Evaluations of a collection that are not answered yet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EvaluationsUnderWay {
    /// Oldest first.
    under_way: Vec<EvaluationProgress>,
}

/// How far an evaluation is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EvaluationProgress {
    /// As it was named; null when it was not.
    run: Option<String>,
    /// `waiting` (for its turn), `counting` (right passages in the collection), `asking` (the questions) or `explaining` (failures).
    #[schema(example = "asking")]
    stage: &'static str,
    /// How much of the stage is done: questions times settings while asking.
    done: usize,
    /// Of how much; 0 while it is not known.
    total: usize,
}

/// All of them, each with its collection, in the order they came.
#[derive(Default)]
pub struct UnderWay(Mutex<BTreeMap<u64, (String, EvaluationProgress)>>);

impl UnderWay {
    /// Figures are whole at any time, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (String, EvaluationProgress)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, collection: &str, run: Option<String>) -> Told {
        let mut all = self.lock();
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        let progress = EvaluationProgress { run, stage: "waiting", done: 0, total: 0 };
        all.insert(number, (collection.to_owned(), progress));
        Told { number, under_way: Arc::clone(self) }
    }

    fn of(&self, collection: &str) -> Vec<EvaluationProgress> {
        let all = self.lock();
        all.values().filter(|(of, _)| of == collection).map(|(_, progress)| progress.clone()).collect()
    }
}

/// One of them, until it is answered or given up.
struct Told {
    number: u64,
    under_way: Arc<UnderWay>,
}

impl Told {
    fn tell(&self, now: EvalProgress) {
        if let Some((_, progress)) = self.under_way.lock().get_mut(&self.number) {
            progress.stage = match now.stage {
                EvalStage::Counting => "counting",
                EvalStage::Asking => "asking",
                EvalStage::Explaining => "explaining",
            };
            (progress.done, progress.total) = (now.done, now.total);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.number);
    }
}

/// What was found: `questions`, `nowhere` (positions of questions that nothing in the collection answers), `runs` (each with
/// `setting`, `figures` by measure with interval, `groups`, `latency` and `answers`) and `comparisons`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct EvaluationView(Evaluation);

impl EvalRequest {
    fn options(&self, collection: &str) -> Result<EvalOptions, ApiError> {
        let mut options = EvalOptions::new(EvalSetting::new(collection));
        if !self.settings.is_empty() {
            let settings = self.settings.iter().enumerate().map(|(at, wish)| {
                setting(collection, wish).map_err(|told| {
                    ApiError::invalid(format!("settings[{at}]: {told}"), "write it like {\"k\": 10}")
                })
            });
            options.settings = settings.collect::<Result<_, ApiError>>()?;
        }
        let searches = options.settings.len().saturating_mul(self.questions.len());
        if searches > MAX_SEARCHES {
            return Err(ApiError::invalid(
                format!("expected at most {MAX_SEARCHES} questions times settings, received {searches}"),
                "evaluate less in one request, or use bilin eval",
            ));
        }
        options.seed = self.seed.unwrap_or(options.seed);
        options.resamples = self.resamples.unwrap_or(MAX_RESAMPLES);
        if options.resamples == 0 || options.resamples > MAX_RESAMPLES {
            return Err(ApiError::invalid(
                format!("resamples: expected 1 to {MAX_RESAMPLES}, received {}", options.resamples),
                "leave it out for the usual number",
            ));
        }
        if self.run.as_ref().is_some_and(|run| run.chars().count() > MAX_RUN_CHARS) {
            return Err(ApiError::invalid(
                format!("run: expected at most {MAX_RUN_CHARS} characters"),
                "a random number is name enough",
            ));
        }
        options.explained = EXPLAINED;
        Ok(options)
    }
}

/// Its values may be numbers, switches or texts, as the command line has them.
fn setting(collection: &str, wish: &Map<String, Value>) -> Result<EvalSetting, String> {
    let mut setting = EvalSetting::new(collection);
    for (key, value) in wish {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            other => return Err(format!("{key}: expected a text or a number, received {other}")),
        };
        setting.set(key, &value)?;
    }
    Ok(setting)
}

/// Evaluate a collection
///
/// Asks questions whose answers are known and tells hit@k, MRR, recall@k and nDCG@10 with intervals, question by question,
/// with the reasons of failures. Changes nothing.
#[utoipa::path(post, path = "/v1/collections/{collection}/eval", operation_id = "evaluateCollection", tag = "search",
    params(("collection" = String, Path, description = "name of the collection")),
    request_body = EvalRequest,
    responses((status = 200, body = EvaluationView), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn evaluate(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    Json(request): Json<EvalRequest>,
) -> Result<Answer<EvaluationView>, ApiError> {
    let options = request.options(&name)?;
    let told = state.evaluations.begin(&name, request.run.clone());
    let evaluation = state
        .crossing
        .search_for(Weight::LONG, &state.engine, move |engine, token| {
            let questions = questions_of(&request.questions)?;
            engine.evaluate(&questions, &options, token, &|now| told.tell(now))
        })
        .await?;
    Ok(Answer(EvaluationView(evaluation)))
}

/// Evaluations under way
///
/// Of this collection: how far each is that was asked for and is not answered yet.
#[utoipa::path(get, path = "/v1/collections/{collection}/eval", operation_id = "evaluationsUnderWay", tag = "search",
    params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 200, body = EvaluationsUnderWay)))]
pub(super) async fn under_way(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Answer<EvaluationsUnderWay> {
    Answer(EvaluationsUnderWay { under_way: state.evaluations.of(&name) })
}
