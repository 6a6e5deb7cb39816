//! The door: this machine's own names on a loopback address, no requests from foreign pages, keys with their roles and
//! scopes, rates, CORS, and a line in the audit log for what changes something.
//!
//! What a route asks for stands in [`crate::access::ROUTES`] alone.

use super::error::ApiError;
use super::state::AppState;
use super::telemetry::request_id;
use crate::access::{Caller, Entry, Reach, Refusal, Role, Route, route};
use axum::RequestExt;
use axum::extract::{MatchedPath, RawPathParams, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;

/// Status in the audit log of a request whose client went away before it was answered; what it asked for may be done.
const CLIENT_WENT_AWAY: u16 = 499;
/// How long a browser may remember what a page of another origin may do.
const PREFLIGHT_MAX_AGE_S: &str = "600";

/// Who may come in, and what is written down of it.
pub(super) async fn admit<F: Future<Output = Response>>(
    state: &AppState,
    mut request: Request,
    then: impl FnOnce(Request) -> F,
) -> Response {
    let template = request.extensions().get::<MatchedPath>().cloned();
    let template = template.as_ref().map(MatchedPath::as_str);
    let asked = route(request.method().as_str(), template);
    let caller = match check_access(state, &request, &asked) {
        Ok(caller) => caller,
        Err(refused) => return refused.into_response(),
    };
    let is_written_down = asked.role.is_some_and(|role| role >= Role::Write);
    let collection = match template {
        Some(template)
            if (is_written_down || caller.scope.is_some()) && template.contains("{collection}") =>
        {
            named_collection(&mut request).await
        }
        _ => None,
    };
    let mut note = None;
    if is_written_down {
        let what = format!("{} {}", request.method(), template.unwrap_or_default());
        let (id, who, on) = (request_id(), caller.id.to_string(), collection.clone());
        note = Some(Note { state: state.clone(), id, who, what, on, status: CLIENT_WENT_AWAY });
    }
    let who = caller.clone();
    let mut response =
        match permit(&caller, &asked, collection.as_deref()).and_then(|()| may_change(state, &asked)) {
            Ok(()) => {
                request.extensions_mut().insert(caller);
                then(request).await
            }
            Err(refused) => refused.into_response(),
        };
    response.extensions_mut().insert(who);
    if let Some(note) = note {
        note.written(response.status()).await;
    }
    response
}

async fn named_collection(request: &mut Request) -> Option<String> {
    let parts = request.extract_parts::<RawPathParams>().await.ok()?;
    parts.iter().find(|(name, _)| *name == "collection").map(|(_, value)| value.to_owned())
}

fn check_access(state: &AppState, request: &Request, asked: &Route) -> Result<Caller, ApiError> {
    let headers = request.headers();
    let host = headers
        .get(header::HOST)
        .and_then(|h| h.to_str().ok())
        .map(str::to_owned)
        .or_else(|| request.uri().authority().map(|a| a.to_string()));
    if state.loopback_only
        && !state.access.asks()
        && let Some(host) = host.as_deref().filter(|host| !is_loopback_name(host))
    {
        let shown: String = host.chars().take(80).collect();
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            format!(
                "expected a Host header that names this machine (localhost, 127.0.0.1), received \"{shown}\""
            ),
            "use http://127.0.0.1, or set an API key when another name or a proxy stands before the server",
        ));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && is_foreign_page(headers, host.as_deref()) && allowed_origin(state, headers).is_none() {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "a page of another site may not send requests here",
            "call the API from a program, from a page that this server serves, or allow the site's origin in the configuration",
        ));
    }
    if asked.role.is_none() {
        return Ok(Caller::nobody());
    }
    state.access.admit(credential(headers).as_deref()).map_err(refused)
}

fn refused(why: Refusal) -> ApiError {
    let unauthorized = |message: String| {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            message,
            "send the key; a browser may give it as the password of its login dialog, with any user name",
        )
    };
    match why {
        Refusal::Unknown => unauthorized(
            "expected the header \"authorization: Bearer KEY\" with a key of this server, received none or another"
                .to_owned(),
        ),
        Refusal::Expired(unix_s) => {
            let end = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix_s);
            let end = humantime::format_rfc3339_seconds(end);
            unauthorized(format!("expected a key that is good now; this one was until {end}"))
        }
        Refusal::Revoked => {
            unauthorized("expected a key that is good now; this one was taken back".to_owned())
        }
        Refusal::TooMany(wait) => ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "more requests came with this key than it may make in a second",
            "try again after the seconds in the Retry-After header, and send fewer at a time",
        )
        .retry_after(wait.as_secs_f64().ceil().max(1.0) as u64),
    }
}

/// Role and scope.
fn permit(caller: &Caller, asked: &Route, collection: Option<&str>) -> Result<(), ApiError> {
    if let Some(role) = asked.role.filter(|role| *role > caller.role) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!(
                "expected a key with the role {role} for this route, received one with the role {}",
                caller.role
            ),
            "use another key; bilin key create --role makes one",
        ));
    }
    match asked.reach {
        Reach::Free | Reach::Handler => Ok(()),
        // A name that cannot be read is the handler's to refuse; no collection has it.
        Reach::Collection => collection.map_or(Ok(()), |name| within_scope(caller, name)),
        Reach::Server if caller.scope.is_none() => Ok(()),
        Reach::Server => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this route is about all collections; this key is for some of them",
            "use a key that is not bound to collections",
        )),
    }
}

/// A replica's changes are those of the server that it follows.
fn may_change(state: &AppState, asked: &Route) -> Result<(), ApiError> {
    let Some(following) = state.following.as_ref().filter(|_| asked.changes) else { return Ok(()) };
    let primary = following.from();
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "read_only",
        format!("this server is a replica of {primary} and takes no changes of its own"),
        format!("send changes to {primary}; they are here within seconds"),
    ))
}

/// Refuses a collection that the caller's key is not for.
pub(super) fn within_scope(caller: &Caller, collection: &str) -> Result<(), ApiError> {
    if caller.may_use(collection) {
        return Ok(());
    }
    let shown: String = collection.chars().take(80).collect();
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!("this key is not for the collection \"{shown}\""),
        "use a key that is, or one that is not bound to collections",
    ))
}

/// An entry of the audit log that is written also when the request is dropped half-way.
struct Note {
    state: AppState,
    id: String,
    who: String,
    what: String,
    on: Option<String>,
    status: u16,
}

impl Note {
    /// On disk when this returns: an answer is not given before.
    async fn written(mut self, status: StatusCode) {
        self.status = status.as_u16();
        if self.state.access.audit().is_some() {
            // Writing is done by the drop, on a thread that may block.
            let _ = tokio::task::spawn_blocking(move || drop(self)).await;
        }
    }

    fn write(&self) {
        let Some(audit) = self.state.access.audit() else { return };
        let entry = Entry {
            time: Entry::now(),
            request: &self.id,
            who: &self.who,
            what: self.what.clone(),
            on: self.on.clone(),
            status: self.status,
        };
        if let Err(error) = audit.write(&entry) {
            tracing::error!(%error, "cannot write the audit log");
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.write();
    }
}

/// `Bearer KEY`, or the password of `Basic`, which is what a browser can send for a page and its pictures.
fn credential(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::prelude::BASE64_STANDARD.decode(rest.trim()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

fn is_loopback_name(host: &str) -> bool {
    let name = if let Some(rest) = host.strip_prefix('[') {
        rest.split(']').next().unwrap_or_default()
    } else {
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    };
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Browsers send `Origin` with every request that changes something; programs rarely do.
fn is_foreign_page(headers: &HeaderMap, host: Option<&str>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, authority)| authority);
    match (authority, host) {
        (Some(authority), Some(host)) => !authority.eq_ignore_ascii_case(host),
        _ => true,
    }
}

/// The request's origin, when the configuration allows its pages.
fn allowed_origin(state: &AppState, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    origin.to_str().is_ok_and(|origin| state.access.allows_origin(origin)).then(|| origin.clone())
}

/// Answers browsers that ask whether a page of another origin may call (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
/// Only origins of the configuration get an answer; credentials that browsers send by themselves are never allowed.
pub(super) async fn cross_origin<F: Future<Output = Response>>(
    state: &AppState,
    request: Request,
    then: impl FnOnce(Request) -> F,
) -> Response {
    let Some(origin) = allowed_origin(state, request.headers()) else { return then(request).await };
    let asks_first = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_first { StatusCode::NO_CONTENT.into_response() } else { then(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let more: &[(header::HeaderName, &'static str)] = if asks_first {
        &[
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, x-request-id"),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_S),
        ]
    } else {
        &[(header::ACCESS_CONTROL_EXPOSE_HEADERS, "x-request-id, retry-after")]
    };
    for (name, value) in more {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "localhost."]
        {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "10.0.0.1", "", "[::2]"]
        {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
