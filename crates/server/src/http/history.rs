//! `/v1/collections/{collection}/history`: what evaluations and studies of a collection came to, the same for every browser.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::PathParts;
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use bilin_engine::{Engine, History};
use serde::Serialize;
use utoipa::ToSchema;

/// Oldest first, the newest 40 of each: `evaluations` (`at_unix_s`, `questions`, `questions_blake3`, `runs` with `label` and `figures` by
/// measure) and `studies` (`at_unix_s`, `target_recall`, `index`, `setting`, `recall_at_10`, `qps`, `p99_us`, `applied`).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct HistoryView(History);

/// Past evaluations and studies
///
/// Of this collection, by whichever way they were asked for.
#[utoipa::path(get, path = "/v1/collections/{collection}/history", operation_id = "collectionHistory", tag = "keeping",
    params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 200, body = HistoryView), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Result<Answer<HistoryView>, ApiError> {
    let look = move |engine: &Engine| engine.history(&name);
    Ok(Answer(HistoryView(state.crossing.run(Lane::Look, &state.engine, look).await?)))
}

/// Forget past evaluations and studies
#[utoipa::path(delete, path = "/v1/collections/{collection}/history", operation_id = "forgetCollectionHistory", tag = "keeping",
    params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 204, description = "Forgotten."), (status = 404, body = ErrorBody)))]
pub(super) async fn forget(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Result<StatusCode, ApiError> {
    let forget = move |engine: &Engine| engine.forget_history(&name);
    state.crossing.run(Lane::Write, &state.engine, forget).await?;
    Ok(StatusCode::NO_CONTENT)
}
