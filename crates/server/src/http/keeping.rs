//! Looking after one collection: verifying, maintaining, acknowledging what happened to it.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{JsonOrNothing, PathParts};
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use bilin_engine::{Engine, Error, ErrorKind, Verified};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How thoroughly to verify.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyCollection {
    /// Have every entry of the catalog checked, too.
    deep: bool,
}

/// What reading a collection back found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerifiedView {
    /// `ok` or `damaged`.
    #[schema(example = "ok")]
    status: String,
    /// What differs, when it is damaged.
    reason: Option<String>,
    /// What to do about it, when it is damaged.
    hint: Option<String>,
    /// The figures of what was read, when all is well.
    found: Option<VerifiedFigures>,
}

/// What was read and found to be as it was written.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerifiedFigures {
    /// The commit that was looked at.
    seq: u64,
    /// Documents, counted one by one.
    documents: usize,
    /// Items, each with its row and its metadata.
    items: usize,
    /// Blocks of rows.
    row_blocks: usize,
    /// Bytes of the index file; 0 when there is none.
    index_bytes: u64,
}

/// Read a collection back whole and compare it with its checksums
///
/// Searches and writes go on meanwhile. A damaged index is moved to the quarantine folder and built again.
#[utoipa::path(post, path = "/v1/collections/{collection}/verify", operation_id = "verifyCollection", tag = "keeping",
    params(("collection" = String, Path, description = "name of the collection")), request_body = VerifyCollection,
    responses((status = 200, body = VerifiedView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn verify(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    JsonOrNothing(wish): JsonOrNothing<VerifyCollection>,
) -> Result<Answer<VerifiedView>, ApiError> {
    let verify = move |engine: &Engine| match engine.verify(&name, wish.deep) {
        Ok(verified) => Ok(Ok(verified)),
        Err(error) if error.kind == ErrorKind::Damaged => Ok(Err(error)),
        Err(error) => Err(error),
    };
    let found: Result<Verified, Error> = state.crossing.run(Lane::Upkeep, &state.engine, verify).await?;
    Ok(Answer(match found {
        Ok(Verified { seq, documents, items, row_blocks, index_bytes, .. }) => VerifiedView {
            status: "ok".to_owned(),
            reason: None,
            hint: None,
            found: Some(VerifiedFigures { seq, documents, items, row_blocks, index_bytes }),
        },
        Err(error) => VerifiedView {
            status: "damaged".to_owned(),
            reason: Some(error.message),
            hint: error.hint,
            found: None,
        },
    }))
}

/// How to maintain.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaintainCollection {
    /// Give back whatever space there is and build a new index also when neither is due.
    force: bool,
}

/// What maintenance did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MaintainedView {
    /// In words, with the reason.
    done: String,
}

/// Give back the space of what was deleted and bring the index up to date, where that is due
///
/// Answered when it is done. Searches and writes go on meanwhile.
#[utoipa::path(post, path = "/v1/collections/{collection}/maintain", operation_id = "maintainCollection", tag = "keeping",
    params(("collection" = String, Path, description = "name of the collection")), request_body = MaintainCollection,
    responses((status = 200, body = MaintainedView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
pub(super) async fn maintain(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    JsonOrNothing(wish): JsonOrNothing<MaintainCollection>,
) -> Result<Answer<MaintainedView>, ApiError> {
    let maintain = move |engine: &Engine| engine.maintain(&name, wish.force);
    Ok(Answer(MaintainedView { done: state.crossing.run(Lane::Upkeep, &state.engine, maintain).await? }))
}

/// What was acknowledged.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AcknowledgedView {
    /// What had happened to the collection; null when nothing had.
    acknowledged: Option<String>,
}

/// Stop telling of what happened to a collection
///
/// After a damaged collection was replaced by a backup, this is told in `/health` until somebody has read it.
#[utoipa::path(post, path = "/v1/collections/{collection}/acknowledge", operation_id = "acknowledgeIncident",
    tag = "keeping", params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 200, body = AcknowledgedView), (status = 404, body = ErrorBody)))]
pub(super) async fn acknowledge(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Result<Answer<AcknowledgedView>, ApiError> {
    let acknowledge = move |engine: &Engine| engine.acknowledge(&name);
    let acknowledged = state.crossing.run(Lane::Write, &state.engine, acknowledge).await?;
    Ok(Answer(AcknowledgedView { acknowledged }))
}
