//! The API description: OpenAPI 3.1, generated from the handlers, at `/openapi.json`.
//!
//! `docs/openapi.json` is its committed copy; a test compares the two.

use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "bilin 比邻",
        description = "Makes a folder of documents or pictures searchable by meaning, and keeps serving it. Every error is \
            JSON with code, message and hint."
    ),
    tags(
        (name = "tutorial", description = "the tutorial's routes, unchanged"),
        (name = "search", description = "searching and encoding"),
        (name = "documents", description = "adding, reading and deleting documents"),
        (name = "collections", description = "making, listing and removing collections"),
        (name = "keeping", description = "backups, restoring, verifying, maintaining"),
        (name = "probes", description = "for supervisors and load balancers")
    ),
    components(schemas(super::error::ErrorBody)),
    modifiers(&Key)
)]
pub(super) struct ApiDescription;

/// Names the key as bearer token; without a configured key it is not needed.
struct Key;

impl Modify for Key {
    fn modify(&self, description: &mut Description) {
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// Last touches: a wildcard part is an ordinary parameter to readers of the description.
pub(super) fn finish(mut description: Description) -> Description {
    let paths = std::mem::take(&mut description.paths.paths);
    description.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    description
}
