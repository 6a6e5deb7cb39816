//! `GET /v1/errors`: the newest warnings and errors of the server.

use crate::recent::{RecentError, recent};
use axum::Json as Answer;
use serde::Serialize;
use utoipa::ToSchema;

/// Warnings and errors, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecentErrors {
    /// At most 200.
    errors: Vec<RecentError>,
}

/// The newest warnings and errors
///
/// Of this process, since its start; the log has all of them.
#[utoipa::path(get, path = "/v1/errors", operation_id = "recentErrors", tag = "keeping",
    responses((status = 200, body = RecentErrors)))]
pub(super) async fn list() -> Answer<RecentErrors> {
    Answer(RecentErrors { errors: recent() })
}
