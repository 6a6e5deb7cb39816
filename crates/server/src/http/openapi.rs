//! The API description: OpenAPI 3.1, generated from the handlers, at `/openapi.json`.
//!
//! `docs/openapi.json` is its committed copy; a test compares the two.

use crate::access::{ROUTES, Role, Route};
use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
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

/// Last touches: what [`ROUTES`] says of each route; a wildcard part is an ordinary parameter to readers of the description.
pub(super) fn finish(mut description: Description) -> Description {
    let mut paths = std::mem::take(&mut description.paths.paths);
    for Route { method, template, role, .. } in ROUTES {
        let Some(item) = paths.get_mut(*template) else { continue };
        let operation = match *method {
            "GET" => &mut item.get,
            "POST" => &mut item.post,
            "PUT" => &mut item.put,
            "DELETE" => &mut item.delete,
            _ => continue,
        };
        if let (Some(operation), Some(role)) = (operation, role) {
            ask(operation, *role);
        }
    }
    description.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    description
}

/// Where there are keys, a route asks for one; and what the layers around every route may answer is told with it.
fn ask(operation: &mut Operation, role: Role) {
    operation.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    let forbidden = format!(
        "a key of another role or for other collections, or a page of another site; needs the role {role}"
    );
    tell(operation, "401", "no key, or one that is not good");
    tell(operation, "403", &forbidden);
    tell(operation, "429", "more requests than the key may make");
    tell(operation, "500", "something went wrong inside, or the disk failed; the log has the id");
    tell(operation, "503", "busy, late, or shutting down: try again after the seconds in Retry-After");
    if operation.request_body.is_some() || operation.parameters.is_some() {
        tell(operation, "400", "a path, a query string or a body that cannot be read");
        tell(operation, "404", "there is no such collection, document or model");
        tell(
            operation,
            "409",
            "what is there already, is under way or leaves open which is meant does not allow it",
        );
        tell(operation, "422", "a value that cannot be taken");
    }
    if role != Role::Read {
        tell(operation, "507", "the disk is full");
    }
    if operation.request_body.is_some() {
        tell(operation, "408", "the body did not arrive in time");
        tell(operation, "413", "a body, or something in it, that is too large");
        tell(operation, "415", "a body of another content type");
    }
}

/// An error that an operation may answer with, unless it says so itself.
fn tell(operation: &mut Operation, status: &str, about: &str) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    let response = ResponseBuilder::new().description(about).content("application/json", body).build();
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
}
