//! Which route leads where, and in which order the layers lie around them.
//!
//! From outside in: observe (id, headers, log line; within it a panic is caught, other origins are answered, host, origin, key and role are
//! looked at, then the length), compression, handler. So every answer, refused or not, carries an id and the security headers, and leaves a
//! line in the log, or is counted in one.

use super::error::ApiError;
use super::state::AppState;
use super::{
    backups, collections, documents, duplicates, embeddings, errors, eval, facets, history, keeping, merge,
    openapi, page, probes, reencode, replica, requests, search, tune, tutorial,
};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::ApiDescription::openapi())
        .routes(routes!(tutorial::text_search))
        .routes(routes!(tutorial::image_search))
        .routes(routes!(tutorial::health))
        .routes(routes!(search::search))
        .routes(routes!(facets::facets))
        .routes(routes!(duplicates::duplicates))
        .routes(routes!(eval::evaluate, eval::under_way))
        .routes(routes!(history::get, history::forget))
        .routes(routes!(embeddings::embeddings))
        .routes(routes!(documents::add))
        .routes(routes!(documents::get, documents::delete))
        .routes(routes!(documents::thumbnail))
        .routes(routes!(documents::delete_many))
        .routes(routes!(collections::list))
        .routes(routes!(collections::get, collections::create, collections::remove))
        .routes(routes!(merge::merge))
        .routes(routes!(reencode::begin, reencode::cancel))
        .routes(routes!(replica::make))
        .routes(routes!(replica::piece))
        .routes(routes!(tune::begin, tune::get, tune::cancel))
        .routes(routes!(tune::report))
        .routes(routes!(errors::list))
        .routes(routes!(keeping::verify))
        .routes(routes!(keeping::maintain))
        .routes(routes!(keeping::acknowledge))
        .routes(routes!(backups::list, backups::make))
        .routes(routes!(backups::restore))
        .routes(routes!(backups::prune))
        .routes(routes!(backups::verify))
        .routes(routes!(backups::remove))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::version))
        .routes(routes!(probes::metrics))
}

/// The API description as `/openapi.json` gives it.
pub fn description() -> utoipa::openapi::OpenApi {
    openapi::finish(api().into_openapi())
}

/// All routes, for `serve` and for tests that call it without a socket.
pub fn router(state: AppState) -> Router {
    let (routes, _) = api().split_for_parts();
    let limit = state.limits.max_body_bytes;
    routes
        .route("/", get(page::index))
        .route("/assets/{*path}", get(page::asset))
        .route("/favicon.ico", get(page::favicon))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", description()))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        // As one, from outside in: each `layer` by itself has every request clone boxes of all layers below it.
        .layer((
            from_fn_with_state(state.clone(), requests::observe),
            DefaultBodyLimit::max(limit),
            CompressionLayer::new(),
        ))
        .with_state(state)
}

async fn unknown_route() -> ApiError {
    ApiError::not_found("there is no such route", "/docs lists the routes, / is the page")
}

async fn wrong_method(method: Method) -> ApiError {
    let shown: String = method.as_str().chars().take(20).collect();
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this route does not take the method {shown}"),
        "the Allow header of this answer names the methods it takes; /docs lists the routes",
    )
}
