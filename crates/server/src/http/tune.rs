//! `/v1/collections/{collection}/tune`: which index suits a collection, measured in the background, one collection at a time.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{JsonOrNothing, PathParts, QueryString};
use super::state::AppState;
use crate::report::{self, Language};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bilin_engine::{
    Candidate, Engine, GivenQueries, IndexSpec, Study, StudyOptions, TuneJob, TuneOptions, TuneOutcome,
    TuneStatus, Tuned,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Longest study over HTTP, in seconds.
const MAX_SECONDS: u64 = 3_600;
/// Most rows of a study over HTTP.
const MAX_ROWS: usize = 1_000_000;

/// What to look for; everything has a default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TuneCollection {
    /// Recall at 10 to reach; default: the collection's own.
    #[schema(example = 0.95, exclusive_minimum = 0, maximum = 1)]
    target_recall: Option<f32>,
    /// Most bytes that the served index may need, vectors included; default: the configured budget.
    memory_bytes: Option<u64>,
    /// `true` (default): build indexes and measure every setting. `false`: the quick way, a choice carried over from a small
    /// sample; then only `target_recall`, `memory_bytes` and `apply` count.
    sweep: Option<bool>,
    /// Build the chosen index and serve from it.
    apply: bool,
    /// Indexes to build, in FAISS's words, at most 16; default: Flat, IVF, IVF with codes and HNSW, sized to the items.
    #[schema(example = json!(["IVF16,Flat"]))]
    index: Vec<String>,
    /// Lists to visit (IVF); default: doubled from 1 until nothing is missed, and closer around the target.
    #[schema(example = json!([1, 2, 4, 8, 16]))]
    nprobe: Vec<usize>,
    /// Candidates kept (HNSW); default: likewise from 10.
    ef: Vec<usize>,
    /// Candidates that are measured again behind codes, in multiples of ten.
    refine: Vec<usize>,
    /// Texts to ask; default: queries sampled from live searches where there are enough, else items held out.
    queries: Vec<String>,
    /// Most queries; default 1000.
    #[schema(minimum = 1, maximum = 10000)]
    max_queries: Option<usize>,
    /// Items to build over; default: all, up to 100 000 and 256 MiB of vectors.
    #[schema(minimum = 20, maximum = 1000000)]
    rows: Option<usize>,
    /// No new index or setting is begun after so many seconds; default 600.
    #[schema(minimum = 1, maximum = 3600)]
    seconds: Option<u64>,
}

impl TuneCollection {
    fn job(self) -> Result<TuneJob, ApiError> {
        let TuneCollection { target_recall, memory_bytes, apply, .. } = self;
        if self.sweep == Some(false) {
            return Ok(TuneJob::Quick(TuneOptions { target_recall, memory_bytes, apply }));
        }
        let bounded = |name: &str, most: u64, value: Option<u64>| match value {
            Some(value) if value > most => Err(ApiError::invalid(
                format!("{name}: expected at most {most}, received {value}"),
                "study less in one run, or use bilin tune",
            )),
            _ => Ok(()),
        };
        bounded("seconds", MAX_SECONDS, self.seconds)?;
        bounded("rows", MAX_ROWS as u64, self.rows.map(|rows| rows as u64))?;
        let spec = |word: &String| {
            word.parse::<IndexSpec>().map_err(|error| {
                ApiError::invalid(format!("index: {error}"), "write it as FAISS does, such as IVF16,Flat")
            })
        };
        let usual = StudyOptions::default();
        Ok(TuneJob::Study(StudyOptions {
            target_recall,
            memory_bytes,
            specs: self.index.iter().map(spec).collect::<Result<_, ApiError>>()?,
            nprobe: self.nprobe,
            ef: self.ef,
            refine: self.refine,
            queries: match self.queries.is_empty() {
                true => GivenQueries::None,
                false => GivenQueries::Texts(self.queries),
            },
            max_queries: self.max_queries.unwrap_or(usual.max_queries),
            rows: self.rows,
            seconds: self.seconds.unwrap_or(usual.seconds),
            apply,
        }))
    }
}

/// A choice of the quick way.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChoiceView {
    /// What suits.
    index: String,
    /// The index that the collection was set to before.
    before: String,
    /// Why.
    reason: String,
    /// What was built, when it was to be applied.
    applied: Option<String>,
    /// Items of the collection.
    rows: usize,
    /// Items of the sample.
    pilot_rows: usize,
    /// What it was chosen from.
    candidates: Vec<CandidateView>,
}

/// A kind of index on the sample, time, build and memory carried over to all items.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CandidateView {
    /// Its spec.
    index: String,
    /// Recall at 10 on the sample.
    pilot_recall_at_10: f32,
    /// Microseconds of a query.
    query_us: f64,
    /// Seconds to build it.
    build_s: f64,
    /// Bytes to serve it.
    bytes: u64,
}

impl From<&Tuned> for ChoiceView {
    fn from(tuned: &Tuned) -> ChoiceView {
        let candidate = |candidate: &Candidate| CandidateView {
            index: candidate.spec.to_string(),
            pilot_recall_at_10: candidate.pilot_recall_at_10,
            query_us: candidate.query_us,
            build_s: candidate.build_s,
            bytes: candidate.bytes,
        };
        ChoiceView {
            index: tuned.choice.spec.to_string(),
            before: tuned.before.to_string(),
            reason: tuned.choice.reason.clone(),
            applied: tuned.applied.clone(),
            rows: tuned.choice.rows,
            pilot_rows: tuned.choice.pilot_rows,
            candidates: tuned.choice.candidates.iter().map(candidate).collect(),
        }
    }
}

/// Tuning of a collection: under way, or the last one since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TuneView {
    /// `none` (never since the start), `running`, `done`, `failed` or `cancelled`.
    #[schema(example = "running")]
    state: String,
    /// What is done now, in words.
    step: String,
    /// Share that is done, 0 to 1.
    progress: f64,
    /// Seconds since 1970; null when there was none.
    started_unix_s: Option<u64>,
    /// Seconds since 1970; null while it runs.
    ended_unix_s: Option<u64>,
    /// Why it failed; null unless it did.
    error: Option<String>,
    /// The newest study of indexes and settings: `indexes`, each with `points` (`nprobe`, `ef`, `refine`, `recall_at_10`, `qps`, `mean_us`,
    /// `p50_us`, `p99_us`, `pareto`, `chosen`), `build_s` and `bytes`; `reason`, `target_recall`, `queries`, `left_out`. Null when the newest
    /// outcome is a choice, or there is none.
    #[schema(value_type = Option<Object>)]
    study: Option<Study>,
    /// The newest choice of the quick way; null when the newest outcome is a study, or there is none.
    choice: Option<ChoiceView>,
}

impl From<Option<TuneStatus>> for TuneView {
    fn from(status: Option<TuneStatus>) -> TuneView {
        let Some(status) = status else {
            return TuneView {
                state: "none".to_owned(),
                step: String::new(),
                progress: 0.0,
                started_unix_s: None,
                ended_unix_s: None,
                error: None,
                study: None,
                choice: None,
            };
        };
        let (study, choice) = match status.outcome.as_deref() {
            Some(TuneOutcome::Study(study)) => (Some(study.clone()), None),
            Some(TuneOutcome::Quick(tuned)) => (None, Some(tuned.into())),
            None => (None, None),
        };
        TuneView {
            state: status.state.name().to_owned(),
            step: status.progress.step,
            progress: status.progress.permille as f64 / 1e3,
            started_unix_s: Some(status.started_unix_s),
            ended_unix_s: status.ended_unix_s,
            error: status.error,
            study,
            choice,
        }
    }
}

/// Tune a collection
///
/// Answered when it has begun; `GET` tells how it goes and what came of it. Indexes are built aside and measured one query at a time; searches and
/// writes go on meanwhile. One collection is tuned at a time. Nothing is changed unless `apply` says so.
#[utoipa::path(post, path = "/v1/collections/{collection}/tune", operation_id = "tuneCollection", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection")), request_body = TuneCollection,
    responses((status = 202, body = TuneView), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn begin(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    JsonOrNothing(wish): JsonOrNothing<TuneCollection>,
) -> Result<(StatusCode, Answer<TuneView>), ApiError> {
    let job = wish.job()?;
    let shared = Arc::clone(&state.engine);
    let begin = move |_: &Engine| shared.start_tune(&name, job);
    let status = state.crossing.run(Lane::Look, &state.engine, begin).await?;
    Ok((StatusCode::ACCEPTED, Answer(Some(status).into())))
}

/// How tuning a collection goes, and what came of it
///
/// The outcome is kept until the next one, or the end of the server.
#[utoipa::path(get, path = "/v1/collections/{collection}/tune", operation_id = "getTuning", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 200, body = TuneView), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Result<Answer<TuneView>, ApiError> {
    let look = move |engine: &Engine| engine.tune_status(&name);
    Ok(Answer(state.crossing.run(Lane::Look, &state.engine, look).await?.into()))
}

/// Stop tuning a collection
///
/// It ends within moments; nothing was changed, unless the chosen index was in place already.
#[utoipa::path(delete, path = "/v1/collections/{collection}/tune", operation_id = "cancelTuning", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 202, body = TuneView), (status = 404, body = ErrorBody)))]
pub(super) async fn cancel(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Result<(StatusCode, Answer<TuneView>), ApiError> {
    let cancel = move |engine: &Engine| engine.cancel_tune(&name);
    let status = state.crossing.run(Lane::Look, &state.engine, cancel).await?;
    Ok((StatusCode::ACCEPTED, Answer(Some(status).into())))
}

/// How to show a report.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReportWish {
    /// `en` (default) or `zh`.
    #[param(example = "en", pattern = "^(en|zh)$")]
    language: Option<String>,
}

/// The newest study of a collection as a page
///
/// One HTML file that needs nothing else: setting, conclusion in words, plots, every setting, how it was measured.
#[utoipa::path(get, path = "/v1/collections/{collection}/tune/report", operation_id = "getTuningReport", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection"), ReportWish),
    responses((status = 200, body = String, content_type = "text/html"), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(super) async fn report(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    QueryString(wish): QueryString<ReportWish>,
) -> Result<Response, ApiError> {
    let language = match wish.language.as_deref() {
        None | Some("en") => Language::En,
        Some("zh") => Language::Zh,
        Some(other) => {
            let shown: String = other.chars().take(20).collect();
            return Err(ApiError::invalid(
                format!("language: expected en or zh, received \"{shown}\""),
                "leave it out for English",
            ));
        }
    };
    let told = name.clone();
    let look = move |engine: &Engine| engine.tune_status(&name);
    let status = state.crossing.run(Lane::Look, &state.engine, look).await?;
    let outcome = status.and_then(|status| status.outcome);
    let Some(TuneOutcome::Study(study)) = outcome.as_deref() else {
        return Err(ApiError::not_found(
            format!("collection \"{told}\" has not been studied since the start"),
            "POST its tune, and wait until the state is done",
        ));
    };
    let page = report::study(study, language, &told).map_err(|error| ApiError::internal(&error))?;
    let policy = format!("{}; frame-ancestors 'none'", report::policy());
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    Ok((headers, page).into_response())
}
