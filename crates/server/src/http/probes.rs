//! `/livez`, `/readyz` and `/version`: for supervisors and load balancers.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// A yes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Probe {
    #[schema(example = "ok")]
    status: &'static str,
}

/// What runs here.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VersionView {
    #[schema(example = "bilin")]
    name: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Whether the process lives; needs no key
#[utoipa::path(get, path = "/livez", operation_id = "livez", tag = "probes", responses((status = 200, body = Probe)))]
pub(super) async fn livez() -> Answer<Probe> {
    Answer(Probe { status: "ok" })
}

/// Whether it can answer searches now
///
/// Goes through to the engine: an engine that does not answer in time is not ready.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "probes",
    responses((status = 200, body = Probe), (status = 503, body = ErrorBody)))]
pub(super) async fn readyz(State(state): State<AppState>) -> Result<Answer<Probe>, ApiError> {
    state.crossing.run(Lane::Look, &state.engine, |engine| Ok(engine.collections().len())).await?;
    Ok(Answer(Probe { status: "ok" }))
}

/// Name and version
#[utoipa::path(get, path = "/version", operation_id = "version", tag = "probes", responses((status = 200, body = VersionView)))]
pub(super) async fn version() -> Answer<VersionView> {
    Answer(VersionView { name: "bilin", version: env!("CARGO_PKG_VERSION") })
}
