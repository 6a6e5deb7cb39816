//! Reading requests: JSON bodies, path parts, query strings and multipart forms, each with errors that say what was
//! expected and what came.
//!
//! JSON that cannot be parsed is 400, JSON of the wrong shape is 422 with the path to the fault. A body must arrive within
//! the request timeout and may never grow past the body limit, also when no length was announced.

use super::error::ApiError;
use super::state::AppState;
use axum::RequestExt;
use axum::body::{Bytes, HttpBody};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, FromRequestParts, Multipart, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// The media type of a request without its parameters, lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// A JSON body of a known shape.
pub(super) struct Json<T>(pub(super) T);

/// Parsing a longer body takes milliseconds, during which a thread that serves connections would serve none.
const PARSED_INLINE_BYTES: usize = 256 << 10;

impl<T: DeserializeOwned + Send + 'static> FromRequest<AppState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let received = media_type(request.headers());
        let is_json = received.as_deref().is_some_and(|t| {
            t == "application/json" || (t.starts_with("application/") && t.ends_with("+json"))
        });
        if !is_json {
            return Err(ApiError::content_type("application/json", received.as_deref()));
        }
        let bytes = body(request, state).await?;
        if bytes.len() <= PARSED_INLINE_BYTES {
            return parse::<Object<T>>(&bytes).map(|Object(value)| Json(value));
        }
        let parsing = tokio::task::spawn_blocking(move || parse::<Object<T>>(&bytes));
        match parsing.await {
            Ok(parsed) => parsed.map(|Object(value)| Json(value)),
            Err(failed) if failed.is_panic() => Err(ApiError::panicked(&*failed.into_panic())),
            Err(_) => Err(ApiError::stopping()),
        }
    }
}

/// A JSON body of a known shape, all of whose fields have defaults: no body at all means them.
pub(super) struct JsonOrNothing<T>(pub(super) T);

impl<T: DeserializeOwned + Default + Send + 'static> FromRequest<AppState> for JsonOrNothing<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let is_empty = request.body().is_end_stream();
        if is_empty && media_type(request.headers()).is_none() {
            return Ok(JsonOrNothing(T::default()));
        }
        let Json(value) = Json::<T>::from_request(request, state).await?;
        Ok(JsonOrNothing(value))
    }
}

/// A value that is written as a JSON object. Serde's derived structs also take arrays, field by position; a client that
/// sends one is mistaken, and would go unnoticed.
#[derive(Clone, Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        reader.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// The whole body, within the limits of size and time.
pub(super) async fn body(request: Request, state: &AppState) -> Result<Bytes, ApiError> {
    let reading = request.with_limited_body().extract::<Bytes, _>();
    match tokio::time::timeout(state.limits.request_timeout, reading).await {
        Err(_) => Err(slow_body(state)),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(ApiError::too_large(state.limits.max_body_bytes, None))
        }
        Ok(Err(rejection)) => Err(ApiError::malformed(
            format!("the body could not be read: {}", rejection.body_text()),
            "send the request again, complete",
        )),
    }
}

fn slow_body(state: &AppState) -> ApiError {
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        format!("the body did not arrive within {} ms", state.limits.request_timeout.as_millis()),
        "send less at a time, or over a faster connection",
    )
}

/// Parses JSON; see the head of this file for which fault gets which status.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::malformed(
            "expected a JSON object, received an empty body",
            "send a JSON object; /docs shows its fields",
        ));
    }
    // Following the path to a fault takes longer than parsing itself, so it is done only where there is one.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        json_error(bytes, &path, &e.into_inner())
    })?;
    reader.end().map_err(|e| json_error(bytes, ".", &e))?;
    Ok(value)
}

fn json_error(bytes: &[u8], path: &str, error: &serde_json::Error) -> ApiError {
    use serde_json::error::Category;
    let at = if path == "." { String::new() } else { format!("{path}: ") };
    if let Some(token) = not_finite_token(bytes, error) {
        return ApiError::invalid(
            format!(
                "{at}expected a finite number, received {token} (line {}, column {})",
                error.line(),
                error.column()
            ),
            "JSON knows neither NaN nor infinity; send finite 32-bit numbers only",
        );
    }
    match error.classify() {
        Category::Data => ApiError::invalid(
            format!("{at}{error}"),
            "correct the field that the message names; /docs shows every field and its type",
        ),
        Category::Syntax | Category::Eof | Category::Io => ApiError::malformed(
            format!("the body is not valid JSON: {error}"),
            "check quotes, commas and brackets, and that the text is UTF-8",
        ),
    }
}

/// The word at fault when it is a number that JSON or 64-bit floats cannot hold: `NaN`, `Infinity`, `1e999`.
fn not_finite_token(bytes: &[u8], error: &serde_json::Error) -> Option<String> {
    let line = bytes.split(|b| *b == b'\n').nth(error.line().checked_sub(1)?)?;
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let at = error.column().checked_sub(1)?.min(line.len().checked_sub(1)?);
    // serde_json points at the fault's first byte, or just behind the token.
    let at = if line.get(at).is_some_and(is_part) { at } else { at.checked_sub(1)? };
    let start = line[..at].iter().rposition(|b| !is_part(b)).map_or(0, |i| i + 1);
    let end = line[at..].iter().position(|b| !is_part(b)).map_or(line.len(), |i| at + i);
    let token = std::str::from_utf8(line.get(start..end)?).ok()?;
    let word = token.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let named = matches!(word.as_str(), "nan" | "inf" | "infinity");
    let out_of_range = error.to_string().starts_with("number out of range");
    (named || out_of_range).then(|| token.chars().take(40).collect())
}

/// Parts of the path, percent-decoded.
pub(super) struct PathParts<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for PathParts<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(PathParts(value)),
            Err(rejection) => Err(ApiError::malformed(
                format!("the path cannot be read: {}", rejection.body_text()),
                "percent-encode names and ids as UTF-8",
            )),
        }
    }
}

/// The query string of a known shape.
pub(super) struct QueryString<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for QueryString<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(QueryString(value)),
            Err(rejection) => Err(ApiError::invalid(
                rejection.body_text(),
                "correct the part of the query string that the message names; /docs shows what there is",
            )),
        }
    }
}

/// One part of a multipart form, read completely.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) bytes: Bytes,
}

impl Part {
    /// A part that is a form field and not a file.
    pub(super) fn text(&self) -> Result<&str, ApiError> {
        std::str::from_utf8(&self.bytes).map_err(|_| {
            ApiError::invalid(
                format!("field \"{}\" is not UTF-8 text", self.name),
                "send form fields as UTF-8",
            )
        })
    }
}

/// Parts that one form may have; each is counted before it is read.
const MAX_PARTS: usize = 1_000;

/// Reads a multipart form; the sum of its parts is bounded by the body limit.
pub(super) async fn multipart(request: Request, state: &AppState) -> Result<Vec<Part>, ApiError> {
    let received = media_type(request.headers());
    if received.as_deref() != Some("multipart/form-data") {
        return Err(ApiError::content_type("multipart/form-data", received.as_deref()));
    }
    let form = Multipart::from_request(request, state).await.map_err(|rejection| {
        ApiError::malformed(
            rejection.body_text(),
            "let the HTTP client write the content-type header with its boundary, do not set it by hand",
        )
    })?;
    match tokio::time::timeout(state.limits.request_timeout, parts(form, state)).await {
        Ok(parts) => parts,
        Err(_) => Err(slow_body(state)),
    }
}

async fn parts(mut form: Multipart, state: &AppState) -> Result<Vec<Part>, ApiError> {
    let wrong = |e: MultipartError| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(state.limits.max_body_bytes, None),
        _ => ApiError::malformed(
            format!("the multipart form cannot be read: {}", e.body_text()),
            "send the form again, complete",
        ),
    };
    let mut out = Vec::new();
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        if out.len() == MAX_PARTS {
            return Err(ApiError::invalid(
                format!("expected at most {MAX_PARTS} parts in a form, received more"),
                "send the files in several requests",
            ));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let file_name = file_name(&field);
        out.push(Part { name, file_name, bytes: field.bytes().await.map_err(wrong)? });
    }
    Ok(out)
}

fn file_name(field: &Field<'_>) -> Option<String> {
    field.file_name().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(json: &str) -> (u16, String) {
        let error = parse::<Vec<f32>>(json.as_bytes()).err().unwrap();
        (error.status.as_u16(), error.message)
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_named() {
        for word in ["NaN", "-Infinity", "1e999", "-1e999", "nan"] {
            for json in [format!("[1, {word}]"), format!("[1,{word},2]"), format!("[\n{word}\n]")] {
                let (status, message) = code(&json);
                assert_eq!(status, 422, "{json}: {message}");
                assert!(message.contains(word), "{json}: {message}");
            }
        }
    }

    #[test]
    fn broken_json_is_400_and_a_wrong_shape_is_422() {
        for json in ["", "  ", "[1,", "[1] x", "nul", "\u{0}"] {
            assert_eq!(code(json).0, 400, "{json:?}");
        }
        for json in ["{}", "[\"a\"]", "null", "3"] {
            assert_eq!(code(json).0, 422, "{json:?}");
        }
    }
}
