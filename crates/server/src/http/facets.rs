//! `GET /v1/collections/{collection}/facets`: the values of a field, with how many items have them.

use super::error::{ApiError, ErrorBody};
use super::extract::{PathParts, QueryString};
use super::search::filter;
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Which field, of which items.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FacetsQuery {
    /// A field of the metadata.
    #[param(example = "category")]
    field: String,
    /// Only items whose metadata satisfy this.
    #[param(example = "price < 10")]
    filter: Option<String>,
}

/// The values of a field.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FacetsResponse {
    field: String,
    /// Most frequent first, at most 50.
    values: Vec<FacetView>,
    /// Items that have another value.
    others: usize,
}

/// A value, and how many items have it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FacetView {
    /// A text, a number, true or false.
    value: Value,
    count: usize,
}

/// Count the values of a field
///
/// How many items have each value of a field of their metadata; lists and objects are no values.
#[utoipa::path(get, path = "/v1/collections/{collection}/facets", operation_id = "facets", tag = "search",
    params(("collection" = String, Path, description = "name of the collection"), FacetsQuery),
    responses((status = 200, body = FacetsResponse), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn facets(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    QueryString(asked): QueryString<FacetsQuery>,
) -> Result<Answer<FacetsResponse>, ApiError> {
    let filter = filter(asked.filter.as_deref())?;
    let field = asked.field.clone();
    let facets = state
        .crossing
        .search(&state.engine, move |engine, _| engine.facets(&name, &field, filter.as_ref()))
        .await?;
    let values = facets.values.into_iter().map(|(value, count)| FacetView { value, count });
    Ok(Answer(FacetsResponse { field: asked.field, values: values.collect(), others: facets.others }))
}
