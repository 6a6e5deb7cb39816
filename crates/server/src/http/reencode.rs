//! `/v1/collections/{collection}/reencode`: moving a collection to another model, beside searches and writes.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{Json, PathParts};
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use bilin_engine::{Engine, ReencodeOptions, ReencodeStatus};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The model to move to, and how.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReencodeCollection {
    /// Model id: one of this build, a configured one, or that of a collection.
    #[schema(example = "e5-small-zh-en")]
    model: String,
    /// Leave out documents that cannot be encoded anew (pictures whose file is gone or changed) rather than stop.
    #[serde(default)]
    drop_missing: bool,
    /// Also when the collection has this very model.
    #[serde(default)]
    force: bool,
}

/// A move to another model: under way, or the last one since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReencodeView {
    /// The model before.
    from: String,
    /// The model it is moved to.
    model: String,
    /// `checking`, `encoding`, `indexing`, `verifying`, `switching`; then `done`, `failed` or `cancelled`.
    #[schema(example = "encoding")]
    stage: String,
    /// Items encoded; those written meanwhile count again.
    items_done: usize,
    /// Items to encode, as far as is known.
    items_total: usize,
    /// Items encoded in a second, on average.
    items_per_s: f64,
    /// Until all items are encoded; null while that cannot be told.
    seconds_left: Option<u64>,
    /// Items longer than the model reads.
    items_truncated: usize,
    /// Documents that cannot be encoded anew.
    missing: usize,
    /// Some of them, each with the reason.
    missing_named: Vec<String>,
    /// Seconds since 1970.
    started_unix_s: u64,
    /// Seconds since 1970; null while it runs.
    ended_unix_s: Option<u64>,
    /// How long writers waited at the switch; null before it.
    writers_waited_ms: Option<u64>,
    /// Why it failed; null unless it did.
    error: Option<String>,
}

impl From<ReencodeStatus> for ReencodeView {
    fn from(status: ReencodeStatus) -> ReencodeView {
        ReencodeView {
            from: status.from,
            model: status.model,
            stage: status.stage.name().to_owned(),
            items_done: status.items_done,
            items_total: status.items_total,
            items_per_s: status.items_per_s,
            seconds_left: status.seconds_left,
            items_truncated: status.items_truncated,
            missing: status.missing,
            missing_named: status.missing_named,
            started_unix_s: status.started_unix_s,
            ended_unix_s: status.ended_unix_s,
            writers_waited_ms: status.writers_waited_ms,
            error: status.error,
        }
    }
}

/// Move a collection to another model
///
/// Answered when it has begun; `reencode` of the collection tells how it goes. Searches and writes go on with the old model
/// until the switch, which is one step; a crash before it leaves the collection as it is. Backups made before bring the old model back.
#[utoipa::path(post, path = "/v1/collections/{collection}/reencode", operation_id = "reencodeCollection", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection")), request_body = ReencodeCollection,
    responses((status = 202, body = ReencodeView), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(super) async fn begin(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    Json(wish): Json<ReencodeCollection>,
) -> Result<(StatusCode, Answer<ReencodeView>), ApiError> {
    let shared = Arc::clone(&state.engine);
    let begin = move |engine: &Engine| {
        engine.check_offered(Some(&wish.model))?;
        let ReencodeCollection { model, drop_missing, force } = wish;
        shared.start_reencode(&name, &ReencodeOptions { model, drop_missing, force })
    };
    let status = state.crossing.run(Lane::Upkeep, &state.engine, begin).await?;
    Ok((StatusCode::ACCEPTED, Answer(status.into())))
}

/// Stop moving a collection to another model
///
/// It ends within moments and the collection stays as it was.
#[utoipa::path(delete, path = "/v1/collections/{collection}/reencode", operation_id = "cancelReencode", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 202, body = ReencodeView), (status = 404, body = ErrorBody)))]
pub(super) async fn cancel(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Result<(StatusCode, Answer<ReencodeView>), ApiError> {
    let cancel = move |engine: &Engine| engine.cancel_reencode(&name);
    let status = state.crossing.run(Lane::Look, &state.engine, cancel).await?;
    Ok((StatusCode::ACCEPTED, Answer(status.into())))
}
