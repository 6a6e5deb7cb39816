//! `POST /v1/collections/{collection}/merge`: unites collections of one vector space.

use super::access::within_scope;
use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{Json, PathParts};
use super::state::AppState;
use crate::access::Caller;
use axum::extract::State;
use axum::{Extension, Json as Answer};
use bilin_engine::{Clash, Engine, Merged};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which of two documents counts that are in both, by id or by file.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Nothing is merged; the error names some of them.
    #[default]
    Fail,
    /// That of the target.
    Keep,
    /// That of the source.
    Replace,
}

/// What to merge.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeCollections {
    /// Collections whose documents the target gets; they stay as they are.
    #[schema(min_items = 1)]
    sources: Vec<String>,
    /// `fail` (default), `keep` or `replace`.
    #[serde(default)]
    on_conflict: OnConflict,
}

/// What a merge did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MergedView {
    /// The target was made by it, with the settings of the first source.
    created: bool,
    /// Documents that are new.
    added: usize,
    /// Documents that took the place of one in both.
    updated: usize,
    /// Documents left out, since the target has them.
    kept: usize,
    /// Items that came with the documents.
    items: usize,
    /// Number of the target's newest commit.
    seq: u64,
}

/// Take all documents of other collections into this one
///
/// Each source comes in as a whole or not at all, durable when answered. The target is made when it is not there.
#[utoipa::path(post, path = "/v1/collections/{collection}/merge", operation_id = "mergeCollections", tag = "collections",
    params(("collection" = String, Path, description = "name of the target")), request_body = MergeCollections,
    responses((status = 200, body = MergedView), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn merge(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    PathParts(name): PathParts<String>,
    Json(wish): Json<MergeCollections>,
) -> Result<Answer<MergedView>, ApiError> {
    wish.sources.iter().try_for_each(|source| within_scope(&caller, source))?;
    let clash = match wish.on_conflict {
        OnConflict::Fail => Clash::Fail,
        OnConflict::Keep => Clash::Keep,
        OnConflict::Replace => Clash::Replace,
    };
    let merge = move |engine: &Engine| engine.merge(&name, &wish.sources, clash);
    let Merged { created, added, updated, kept, items, seq, .. } =
        state.crossing.run(Lane::Upkeep, &state.engine, merge).await?;
    Ok(Answer(MergedView { created, added, updated, kept, items, seq }))
}
