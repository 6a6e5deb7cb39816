//! The one error of the wire, `{code, message, hint}`, and the one `match` from [`ErrorKind`] to an HTTP status.
//!
//! `code` is stable and for programs; `message` says what was expected and what came; `hint` says what to do.

use super::telemetry::request_span;
use crate::causes::{causes, with_causes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bilin_engine::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// What an error looks like on the wire.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Stable word for programs.
    #[schema(example = "invalid_input")]
    pub code: String,
    /// What was expected and what came.
    #[schema(example = "top_k: invalid value: integer `0`, expected a whole number from 1 to 1000")]
    pub message: String,
    /// What to do about it.
    #[schema(example = "send a top_k between 1 and 1000, or leave it out")]
    pub hint: String,
}

/// An error on its way out.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: String,
    pub(super) retry_after_s: Option<u64>,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> ApiError {
        ApiError { status, code, message: message.into(), hint: hint.into(), retry_after_s: None }
    }

    /// 422: the request was understood and cannot be done as it stands.
    pub(super) fn invalid(message: impl Into<String>, hint: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_input", message, hint)
    }

    pub(super) fn malformed(message: impl Into<String>, hint: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "malformed_request", message, hint)
    }

    pub(super) fn content_type(expected: &str, received: Option<&str>) -> ApiError {
        let received = received.map_or("none".to_owned(), |t| format!("\"{t}\""));
        ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("expected content type {expected}, received {received}"),
            format!("send the header content-type: {expected}"),
        )
    }

    pub(super) fn too_large(limit_bytes: usize, received_bytes: Option<u64>) -> ApiError {
        let received = received_bytes.map_or("more".to_owned(), |n| format!("{n} bytes"));
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("expected a body of at most {limit_bytes} bytes, received {received}"),
            "send less at a time, or raise the body limit of the server",
        )
    }

    pub(super) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message, hint)
    }

    pub(super) fn saturated(waiting: usize) -> ApiError {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            format!("the server is at its limit of requests under way ({waiting} more are waiting)"),
            "try again after the seconds in the Retry-After header",
        )
        .retry_after(1)
    }

    pub(super) fn deadline(timeout: Duration) -> ApiError {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "deadline_exceeded",
            format!("the answer was not ready within {} ms", timeout.as_millis()),
            "try again, ask for fewer results or less effort, or raise the request timeout of the server",
        )
        .retry_after(2)
    }

    pub(super) fn stopping() -> ApiError {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the server is shutting down",
            "try again after the seconds in the Retry-After header",
        )
        .retry_after(5)
    }

    /// Told to balancers, so that they send nothing more here.
    pub(super) fn draining() -> ApiError {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "the server is shutting down; it finishes what it has begun",
            "send requests to another server",
        )
    }

    /// A 500 whose id stands in the log beside what the panic said; the payload itself stays inside.
    pub(super) fn panicked(payload: &(dyn std::any::Any + Send)) -> ApiError {
        let said = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        ApiError::internal(&format!("panic: {said}"))
    }

    /// A 500 with an id; `detail` goes to the log only.
    pub(super) fn internal(detail: &str) -> ApiError {
        let id = super::requests::new_id();
        request_span().in_scope(|| tracing::error!(error_id = %id, detail, "internal error"));
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("something went wrong inside the server (error id {id})"),
            "the server goes on; look for the error id in its log and report both",
        )
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> ApiError {
        self.retry_after_s = Some(seconds);
        self
    }
}

/// Status, code and the hint used when the engine gives none.
fn wire(kind: ErrorKind) -> (StatusCode, &'static str, &'static str) {
    match kind {
        ErrorKind::InvalidInput => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid_input", "change the request as the message says")
        }
        ErrorKind::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "send less, or something smaller")
        }
        ErrorKind::NotFound => {
            (StatusCode::NOT_FOUND, "not_found", "GET /v1/collections lists what there is")
        }
        ErrorKind::Conflict => {
            (StatusCode::CONFLICT, "conflict", "choose another name, or delete the old one first")
        }
        ErrorKind::Locked => (
            StatusCode::CONFLICT,
            "locked",
            "another process holds the data folder; stop it or use another folder",
        ),
        ErrorKind::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "try again shortly"),
        ErrorKind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "cancelled", "try again"),
        ErrorKind::Damaged => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "damaged",
            "run bilin verify on the data folder, and restore a backup if it says so",
        ),
        ErrorKind::NoSpace => (
            StatusCode::INSUFFICIENT_STORAGE,
            "no_space",
            "free some space on the server's disk; searches and deletes go on meanwhile",
        ),
        ErrorKind::Io => {
            (StatusCode::INTERNAL_SERVER_ERROR, "storage", "check the disk's space, health and permissions")
        }
        ErrorKind::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal", "report the error id and the log")
        }
    }
}

/// Code of an error, among the extensions of the answer that tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorCode(pub(super) &'static str);

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        if error.kind == ErrorKind::Internal {
            return ApiError::internal(&with_causes(&error));
        }
        let (status, code, default_hint) = wire(error.kind);
        if status.is_server_error() {
            let tell = || tracing::error!(code, message = %error.message, causes = %causes(&error), "the engine failed");
            request_span().in_scope(tell);
        }
        let mut out =
            ApiError::new(status, code, error.message, error.hint.unwrap_or_else(|| default_hint.to_owned()));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            out = out.retry_after(1);
        }
        out
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { code: self.code.to_owned(), message: self.message, hint: self.hint };
        let mut response = (self.status, axum::Json(body)).into_response();
        response.extensions_mut().insert(ErrorCode(self.code));
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bilin\""));
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"bilin\", charset=\"UTF-8\""),
            );
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_507_with_a_hint() {
        let error = Error::new(ErrorKind::NoSpace, "collection \"a\": no space left for catalog.sqlite");
        let wire = ApiError::from(error);
        assert_eq!((wire.status.as_u16(), wire.code), (507, "no_space"));
        assert!(wire.hint.contains("free some space") && wire.message.contains("catalog.sqlite"), "{wire:?}");
        let own = Error::new(ErrorKind::NoSpace, "no space").with_hint("free some space and try again");
        assert_eq!(ApiError::from(own).hint, "free some space and try again");
    }
}
