//! `/livez`, `/readyz`, `/version` and `/metrics`: for supervisors, load balancers and monitors.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::state::AppState;
use crate::metrics::Load;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bilin_engine::Engine;
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
/// Goes through to the engine: an engine that does not answer in time is not ready. One damaged collection does not keep
/// the others from being served; only when there are collections and none of them can be opened is it not ready.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "probes",
    responses((status = 200, body = Probe), (status = 503, body = ErrorBody)))]
pub(super) async fn readyz(State(state): State<AppState>) -> Result<Answer<Probe>, ApiError> {
    if state.telemetry.is_draining() {
        return Err(ApiError::draining());
    }
    if let Some(why) = state.following.as_ref().and_then(|following| following.not_ready()) {
        let hint = "ask the primary, or wait; bilin_follow_lag_seconds and the log tell how it goes";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "behind", why, hint).retry_after(1));
    }
    let count = |engine: &Engine| Ok((engine.open_count(), engine.broken_count()));
    let (open, broken) = state.crossing.run(Lane::Look, &state.engine, count).await?;
    if open == 0 && broken > 0 {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            format!("none of the {broken} collections can be opened"),
            "GET /health tells the reasons; restore them from backups with POST /v1/backups/restore",
        ));
    }
    Ok(Answer(Probe { status: "ok" }))
}

/// Name and version
#[utoipa::path(get, path = "/version", operation_id = "version", tag = "probes", responses((status = 200, body = VersionView)))]
pub(super) async fn version() -> Answer<VersionView> {
    Answer(VersionView { name: "bilin", version: env!("CARGO_PKG_VERSION") })
}

/// Figures for Prometheus
///
/// Requests by route, the process, and every collection with its index and backups, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "probes",
    responses((status = 200, content_type = "text/plain", body = String, description = "text format 0.0.4")))]
pub(super) async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let own = state.clone();
    let load = Load {
        admission: state.crossing.status(),
        shared_cache: state.shared_cache.as_ref().map(|shared| shared.is_up()),
    };
    let scrape = move |engine: &Engine| {
        let scraped = own.metrics.as_ref().map(|metrics| metrics.scrape(engine, &load));
        Ok(scraped.unwrap_or_else(|| Err(prometheus::Error::Msg("they could not be set up".to_owned()))))
    };
    let text = state.crossing.run(Lane::Look, &state.engine, scrape).await?;
    let mut text = text.map_err(|error| ApiError::internal(&format!("cannot write the metrics: {error}")))?;
    if let Some(following) = &state.following {
        text.push_str(&following.metrics());
    }
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}
