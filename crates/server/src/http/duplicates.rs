//! `GET /v1/collections/{collection}/duplicates`: the same thing twice, or nearly.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{PathParts, QueryString};
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use bilin_engine::{DuplicateGroup, DuplicateItem, DuplicateOptions, Duplicates, Metadata};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// Groups when `limit` is left out.
const DEFAULT_LIMIT: usize = 100;
/// Longest that one request looks; `bilin duplicates` looks through everything.
const BUDGET: Duration = Duration::from_secs(20);

/// How alike, and how many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DuplicatesQuery {
    /// Least cosine of two items that count as nearly the same; left out: only items of the same content.
    #[param(example = 0.98, exclusive_minimum = 0.0, maximum = 1.0)]
    similarity: Option<f32>,
    /// Most groups; default 100.
    #[param(minimum = 1, maximum = 10000, default = 100)]
    limit: Option<usize>,
}

/// What was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DuplicatesResponse {
    /// The largest first.
    groups: Vec<DuplicateGroupView>,
    /// Items that were looked at.
    examined: usize,
    /// Whether these are all items and all groups; a request looks at most 20 seconds.
    complete: bool,
}

/// Items that are the same, or nearly.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DuplicateGroupView {
    kind: DuplicateKind,
    /// How many there are.
    count: usize,
    /// They, in the order in which they were added; at most 100.
    items: Vec<DuplicateItemView>,
}

/// How alike the items of a group are.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DuplicateKind {
    /// The same content: the same bytes of a picture, the same text, the same vector.
    Exact,
    /// At least as similar as was asked for, each to one of the others.
    Near,
}

/// One of a group.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DuplicateItemView {
    /// Its document.
    id: String,
    /// Position in its document, from 0.
    ordinal: u32,
    /// Cosine to the first of the group.
    similarity: f32,
    #[schema(value_type = Object)]
    metadata: Metadata,
}

impl From<DuplicateItem> for DuplicateItemView {
    fn from(item: DuplicateItem) -> DuplicateItemView {
        let DuplicateItem { id, ordinal, similarity, metadata } = item;
        DuplicateItemView { id, ordinal, similarity, metadata }
    }
}

impl From<DuplicateGroup> for DuplicateGroupView {
    fn from(group: DuplicateGroup) -> DuplicateGroupView {
        DuplicateGroupView {
            kind: if group.is_exact { DuplicateKind::Exact } else { DuplicateKind::Near },
            count: group.count,
            items: group.items.into_iter().map(DuplicateItemView::from).collect(),
        }
    }
}

impl From<Duplicates> for DuplicatesResponse {
    fn from(found: Duplicates) -> DuplicatesResponse {
        DuplicatesResponse {
            groups: found.groups.into_iter().map(DuplicateGroupView::from).collect(),
            examined: found.examined,
            complete: found.complete,
        }
    }
}

/// Find duplicates
///
/// Items of the same content, and with `similarity` those that are nearly the same by their vectors. Changes nothing.
#[utoipa::path(get, path = "/v1/collections/{collection}/duplicates", operation_id = "duplicates", tag = "search",
    params(("collection" = String, Path, description = "name of the collection"), DuplicatesQuery),
    responses((status = 200, body = DuplicatesResponse), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn duplicates(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    QueryString(asked): QueryString<DuplicatesQuery>,
) -> Result<Answer<DuplicatesResponse>, ApiError> {
    let options = DuplicateOptions {
        similarity: asked.similarity,
        limit: asked.limit.unwrap_or(DEFAULT_LIMIT),
        budget: Some(BUDGET.min(state.limits.request_timeout / 2)),
    };
    let look = move |engine: &bilin_engine::Engine| engine.duplicates(&name, &options, &|_, _| true);
    let found = state.crossing.run(Lane::Upkeep, &state.engine, look).await?;
    Ok(Answer(found.into()))
}
