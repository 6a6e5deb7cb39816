//! Who may come in: the key, host names, foreign pages; and what every answer carries.

use crate::service::Service;
use axum::body::Body;
use axum::http::{Method, Request, header};
use base64::Engine as _;
use bilin_server::access::{Access, AccessOptions};
use bilin_server::http::StateOptions;
use std::sync::Arc;

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn keyed(key: &str) -> StateOptions {
    let options = AccessOptions { api_key: Some(key.to_owned()), ..AccessOptions::default() };
    StateOptions { access: Arc::new(Access::open(options).unwrap()), ..StateOptions::default() }
}

#[tokio::test]
async fn with_a_key_every_route_but_livez_asks_for_it() {
    let service = Service::with(keyed("secret key"));
    service.get("/livez").await.expect(200);
    for path in [
        "/",
        "/health",
        "/readyz",
        "/metrics",
        "/version",
        "/openapi.json",
        "/docs/",
        "/v1/collections",
        "/nothing",
        "/assets/css/shell.css",
    ] {
        let answer = service.get(path).await;
        answer.refused(401, "unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
    }
    let basic = |credentials: &str| format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(credentials));
    for value in
        ["Bearer secret key", "bearer secret key", &basic("anyone:secret key"), &basic(":secret key")]
    {
        service.send(request(Method::GET, "/v1/collections", &[("authorization", value)])).await.expect(200);
    }
    for value in
        ["Bearer secret", "Bearer", "secret key", "Bearer secret key2", &basic("secret key"), "Basic %%"]
    {
        let answer = service.send(request(Method::GET, "/v1/collections", &[("authorization", value)])).await;
        answer.refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn on_a_loopback_address_only_names_of_this_machine_are_served() {
    let service = Service::new();
    for host in ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"] {
        service.send(request(Method::GET, "/livez", &[("host", host)])).await.expect(200);
    }
    for host in ["rebound.example:8000", "127.0.0.1.rebound.example"] {
        service
            .send(request(Method::GET, "/livez", &[("host", host)]))
            .await
            .refused(403, "host_not_allowed");
    }
    let open = Service::with(StateOptions { loopback_only: false, ..StateOptions::default() });
    open.send(request(Method::GET, "/livez", &[("host", "search.example")])).await.expect(200);
}

#[tokio::test]
async fn pages_of_other_sites_may_not_change_anything() {
    let service = Service::new().with_sentences().await;
    let path = "/v1/collections/course";
    let host = ("host", "localhost:8000");
    for origin in ["https://evil.example", "http://localhost:9999", "null"] {
        service
            .send(request(Method::DELETE, path, &[host, ("origin", origin)]))
            .await
            .refused(403, "foreign_origin");
    }
    let own = service.send(request(Method::DELETE, path, &[host, ("origin", "http://localhost:8000")])).await;
    own.expect(204);
    let answer =
        service.send(request(Method::GET, "/health", &[host, ("origin", "https://evil.example")])).await;
    assert_eq!(answer.header("access-control-allow-origin"), "", "CORS is off");
}

#[tokio::test]
async fn every_answer_carries_an_id_and_the_security_headers() {
    let service = Service::new();
    let mut seen = std::collections::BTreeSet::new();
    for path in ["/", "/livez", "/nothing", "/docs/", "/text-search", "/openapi.json"] {
        let answer = service.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        let policy = answer.header(header::CONTENT_SECURITY_POLICY.as_str());
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}: {policy}");
        assert_eq!(policy.contains("unsafe-inline"), path.starts_with("/docs"), "{path}: {policy}");
        assert!(seen.insert(answer.header("x-request-id").to_owned()), "{path} repeats an id");
    }
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_with_a_key_and_others_may_not() {
    let allowed = "https://site.example";
    let options = AccessOptions {
        api_key: Some("k".to_owned()),
        allowed_origins: vec![allowed.to_owned()],
        ..AccessOptions::default()
    };
    let service = Service::with(StateOptions {
        access: Arc::new(Access::open(options).unwrap()),
        ..StateOptions::default()
    });
    let path = "/v1/collections/course";
    let first = |origin| {
        request(Method::OPTIONS, path, &[("origin", origin), ("access-control-request-method", "PUT")])
    };
    let answer = service.send(first(allowed)).await;
    assert_eq!(answer.status.as_u16(), 204);
    assert_eq!(answer.header("access-control-allow-origin"), allowed);
    assert!(answer.header("access-control-allow-methods").contains("PUT"));
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        "",
        "what a browser sends by itself does not count"
    );
    for foreign in ["https://site.example.evil.example", "http://site.example", "null"] {
        let answer = service.send(first(foreign)).await;
        answer.refused(401, "unauthorized");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{foreign}");
    }
    let delete = |origin, key| request(Method::DELETE, path, &[("origin", origin), ("authorization", key)]);
    let answer = service.send(delete(allowed, "Bearer k")).await;
    answer.refused(404, "not_found");
    assert_eq!(answer.header("access-control-allow-origin"), allowed);
    assert!(answer.headers.get_all("vary").iter().any(|value| value == "origin"));
    service.send(delete(allowed, "Bearer x")).await.refused(401, "unauthorized");
    service.send(delete("https://evil.example", "Bearer k")).await.refused(403, "foreign_origin");
}

#[tokio::test]
async fn a_service_on_its_way_out_is_not_ready_and_lives() {
    let telemetry = Arc::new(bilin_server::http::Telemetry::default());
    let service =
        Service::with(StateOptions { telemetry: Arc::clone(&telemetry), ..StateOptions::default() });
    service.get("/readyz").await.expect(200);
    telemetry.drain();
    service.get("/readyz").await.refused(503, "draining");
    service.get("/livez").await.expect(200);
    service.get("/v1/collections").await.expect(200);
}
