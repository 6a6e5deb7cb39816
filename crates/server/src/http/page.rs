//! Serves the console's files, which are embedded in the binary, with their hash as `ETag`.

use super::error::ApiError;
use crate::console;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// `GET /`.
pub(super) async fn index(headers: HeaderMap) -> Response {
    serve("index.html", &headers)
}

/// `GET /assets/{*path}`.
pub(super) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    serve(&path, &headers)
}

/// Browsers ask for it whatever the page says.
pub(super) async fn favicon(headers: HeaderMap) -> Response {
    serve("icon.svg", &headers)
}

fn serve(path: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = console::asset(path) else {
        return ApiError::not_found("the page has no such file", "open / for the page").into_response();
    };
    let common = [(header::ETAG, asset.etag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    if has(headers, &asset.etag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response()
}

/// Whether the client has what this tag names (RFC 9110, 13.1.2).
pub(super) fn has(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag))
}
