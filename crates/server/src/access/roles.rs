//! The one table of what each route asks for. A test compares it with the OpenAPI document, so that no route is forgotten;
//! a route that is not in it asks for an admin key.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a key may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Searching and looking.
    Read,
    /// Adding and deleting documents, making collections.
    Write,
    /// Everything: removing collections, backups, upkeep.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Role::Read => "read",
            Role::Write => "write",
            Role::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(word: &str) -> Result<Role, String> {
        match word {
            "read" => Ok(Role::Read),
            "write" => Ok(Role::Write),
            "admin" => Ok(Role::Admin),
            _ => Err("expected read, write or admin".to_owned()),
        }
    }
}

/// What a key whose scope is some collections may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No collection is involved.
    Free,
    /// The collection that the path names.
    Collection,
    /// The handler looks at the caller's scope: it narrows its answer, or refuses.
    Handler,
    /// All collections together: a key with a scope is refused.
    Server,
}

/// What one route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Method; `HEAD` counts as `GET`.
    pub method: &'static str,
    /// Its template, as the router writes it.
    pub template: &'static str,
    /// The least role; `None`: no key is asked for.
    pub role: Option<Role>,
    /// What a scope means for it.
    pub reach: Reach,
    /// Whether it changes what is stored: a replica refuses it.
    pub changes: bool,
}

const fn asks(role: Role, method: &'static str, template: &'static str, reach: Reach) -> Route {
    Route { method, template, role: Some(role), reach, changes: false }
}

const fn read(method: &'static str, template: &'static str, reach: Reach) -> Route {
    asks(Role::Read, method, template, reach)
}

const fn write(method: &'static str, template: &'static str, reach: Reach) -> Route {
    Route { changes: true, ..asks(Role::Write, method, template, reach) }
}

const fn admin(method: &'static str, template: &'static str, reach: Reach) -> Route {
    asks(Role::Admin, method, template, reach)
}

/// An admin's route that changes what is stored.
const fn rule(method: &'static str, template: &'static str, reach: Reach) -> Route {
    Route { changes: true, ..admin(method, template, reach) }
}

/// Every route.
pub const ROUTES: &[Route] = &[
    Route { role: None, ..read("GET", "/livez", Reach::Free) },
    read("GET", "/readyz", Reach::Free),
    read("GET", "/version", Reach::Free),
    read("GET", "/metrics", Reach::Server),
    read("GET", "/openapi.json", Reach::Free),
    read("GET", "/docs", Reach::Free),
    read("GET", "/docs/", Reach::Free),
    read("GET", "/docs/{*rest}", Reach::Free),
    read("GET", "/", Reach::Free),
    read("GET", "/assets/{*path}", Reach::Free),
    read("GET", "/favicon.ico", Reach::Free),
    read("GET", "/health", Reach::Handler),
    read("POST", "/text-search", Reach::Handler),
    read("POST", "/image-search", Reach::Handler),
    read("POST", "/v1/embeddings", Reach::Free),
    read("GET", "/v1/collections", Reach::Handler),
    read("GET", "/v1/collections/{collection}", Reach::Collection),
    read("POST", "/v1/collections/{collection}/search", Reach::Collection),
    read("GET", "/v1/collections/{collection}/facets", Reach::Collection),
    read("GET", "/v1/collections/{collection}/duplicates", Reach::Collection),
    read("POST", "/v1/collections/{collection}/eval", Reach::Collection),
    read("GET", "/v1/collections/{collection}/eval", Reach::Collection),
    read("GET", "/v1/collections/{collection}/history", Reach::Collection),
    admin("DELETE", "/v1/collections/{collection}/history", Reach::Collection),
    read("GET", "/v1/collections/{collection}/documents/{*id}", Reach::Collection),
    read("GET", "/v1/collections/{collection}/thumbnails/{*id}", Reach::Collection),
    write("PUT", "/v1/collections/{collection}", Reach::Collection),
    write("POST", "/v1/collections/{collection}/documents", Reach::Collection),
    write("DELETE", "/v1/collections/{collection}/documents/{*id}", Reach::Collection),
    write("POST", "/v1/collections/{collection}/delete", Reach::Collection),
    // The target stands in the path, the sources in the body.
    write("POST", "/v1/collections/{collection}/merge", Reach::Collection),
    read("POST", "/v1/collections/{collection}/replica", Reach::Collection),
    read("GET", "/v1/collections/{collection}/replica/{taken}/{file}", Reach::Collection),
    rule("DELETE", "/v1/collections/{collection}", Reach::Collection),
    rule("POST", "/v1/collections/{collection}/reencode", Reach::Collection),
    rule("DELETE", "/v1/collections/{collection}/reencode", Reach::Collection),
    read("GET", "/v1/collections/{collection}/tune", Reach::Collection),
    read("GET", "/v1/collections/{collection}/tune/report", Reach::Collection),
    // It may change the index.
    rule("POST", "/v1/collections/{collection}/tune", Reach::Collection),
    rule("DELETE", "/v1/collections/{collection}/tune", Reach::Collection),
    admin("POST", "/v1/collections/{collection}/verify", Reach::Collection),
    rule("POST", "/v1/collections/{collection}/maintain", Reach::Collection),
    rule("POST", "/v1/collections/{collection}/acknowledge", Reach::Collection),
    admin("GET", "/v1/errors", Reach::Server),
    admin("GET", "/v1/backups", Reach::Server),
    rule("POST", "/v1/backups", Reach::Server),
    rule("POST", "/v1/backups/restore", Reach::Server),
    rule("POST", "/v1/backups/prune", Reach::Server),
    admin("POST", "/v1/backups/verify", Reach::Server),
    rule("DELETE", "/v1/backups/{collection}/{time}", Reach::Server),
];

/// What a request asks for; `template` is that of the route that takes it, `None` where there is none. What the table does
/// not name asks for an admin key.
pub fn route(method: &str, template: Option<&str>) -> Route {
    let method = if method == "HEAD" { "GET" } else { method };
    // No route: the answer is that there is none, which anyone with a key may hear.
    let Some(template) = template else { return read("", "", Reach::Free) };
    let found = ROUTES.iter().find(|route| route.template == template && route.method == method);
    found.copied().unwrap_or(rule("", "", Reach::Server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_stands_twice_and_what_is_not_there_asks_for_the_most() {
        for (at, route) in ROUTES.iter().enumerate() {
            let same = |other: &&Route| (other.method, other.template) == (route.method, route.template);
            assert_eq!(ROUTES.iter().position(|other| same(&other)), Some(at), "{route:?}");
            let names_one = route.template.contains("{collection}");
            assert!(names_one || route.reach != Reach::Collection, "{route:?}");
        }
        let unknown = route("POST", Some("/v1/new"));
        assert_eq!((unknown.role, unknown.reach, unknown.changes), (Some(Role::Admin), Reach::Server, true));
        assert_eq!(route("HEAD", Some("/livez")).role, None);
        assert_eq!(route("GET", None).role, Some(Role::Read));
    }
}
