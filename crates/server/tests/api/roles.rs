//! What each key may do: the one table against every route there is, scopes, rates, and what is written down of it.

use crate::service::{Answer, Service, picture};
use axum::body::Body;
use axum::http::{Request, header};
use bilin_server::access::{Access, AccessOptions, AuditOptions, KeyFile, NewKey, ROUTES, Reach, Role};
use bilin_server::http::StateOptions;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A service with keys of every sort, and a folder of theirs.
struct Keyed {
    service: Service,
    folder: tempfile::TempDir,
    access: Arc<Access>,
}

impl Keyed {
    fn new() -> Keyed {
        let folder = tempfile::tempdir().unwrap();
        let audit = AuditOptions { data: folder.path().to_path_buf(), max_bytes: 1 << 20, kept: 2 };
        let options = AccessOptions {
            keys_in: Some(folder.path().to_path_buf()),
            audit: Some(audit),
            ..AccessOptions::default()
        };
        let access = Arc::new(Access::open(options).unwrap());
        let options = StateOptions { access: Arc::clone(&access), ..StateOptions::default() };
        Keyed { service: Service::with(options), folder, access }
    }

    /// The secret of a new key, which counts at once.
    fn key(&self, name: &str, role: Role, collection: Option<&str>) -> String {
        let collections = collection.map(|name| vec![name.to_owned()]);
        let new = NewKey { name: name.to_owned(), role, collections, expires_unix_s: None, rate_per_s: None };
        let made = KeyFile::of(self.folder.path()).create(new).unwrap();
        self.access.refresh(true).unwrap();
        made.secret
    }

    async fn send(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        self.service.send(request.body(body).unwrap()).await
    }

    fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("audit/audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn every_route_of_the_description_stands_in_the_table_and_the_other_way_round() {
    let body = Service::new().get("/openapi.json").await.expect(200);
    let mut described = BTreeSet::new();
    for (path, item) in body["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((method.to_ascii_uppercase(), path.clone()));
            let asks = !operation["security"].is_null();
            assert_eq!(asks, path != "/livez", "{method} {path}");
            let needs = operation["responses"]["403"]["description"].as_str();
            assert_eq!(needs.is_some_and(|text| text.contains("needs the role")), asks, "{method} {path}");
        }
    }
    // What is not part of the API: the page and the description itself.
    let beside = ["/", "/assets/{path}", "/favicon.ico", "/docs", "/docs/", "/docs/{rest}", "/openapi.json"];
    let listed: BTreeSet<_> = ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), route.template.replace("{*", "{")))
        .filter(|(_, path)| !beside.contains(&path.as_str()))
        .collect();
    let forgotten: Vec<_> = described.difference(&listed).collect();
    assert!(forgotten.is_empty(), "add these to ROUTES in src/access/roles.rs: {forgotten:#?}");
    let gone: Vec<_> = listed.difference(&described).collect();
    assert!(gone.is_empty(), "ROUTES names what there is not: {gone:#?}");
}

#[tokio::test]
async fn each_route_lets_in_its_role_and_refuses_the_ones_below() {
    let keyed = Keyed::new();
    let keys = [
        (Role::Read, keyed.key("reader", Role::Read, None)),
        (Role::Write, keyed.key("writer", Role::Write, None)),
        (Role::Admin, keyed.key("admin", Role::Admin, None)),
    ];
    for route in ROUTES {
        let path = route
            .template
            .replace("{collection}", "nowhere")
            .replace("{*id}", "1")
            .replace("{*path}", "style.css")
            .replace("{*rest}", "")
            .replace("{time}", "20260101T000000Z")
            .replace("{taken}", "1")
            .replace("{file}", "0");
        let without = keyed.service.call(route.method.parse().unwrap(), &path, None).await;
        assert_eq!(without.status.as_u16() == 401, route.role.is_some(), "{route:?}");
        for (role, key) in &keys {
            // Bodies that nothing takes: who is let in is told of the body, or that there is nothing by that name.
            let answer = keyed.send(key, route.method, &path, Some(json!({"nonsense": 1}))).await;
            let refused = answer.status.as_u16() == 403;
            let expected = route.role.is_some_and(|needed| needed > *role);
            assert_eq!(refused, expected, "{role} on {route:?}: {}", answer.status);
            assert!(![401, 429].contains(&answer.status.as_u16()), "{role} on {route:?}");
            if refused {
                let message = answer.refused(403, "forbidden");
                assert!(message.contains(&role.to_string()), "{message}");
            }
        }
    }
    keyed.send(&keys[0].1, "GET", "/no/such/route", None).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_key_for_some_collections_sees_and_changes_those_alone() {
    let keyed = Keyed::new();
    let admin = keyed.key("admin", Role::Admin, None);
    let vectors = json!({"documents": [{"id": "1", "vector": [1.0, 0.0]}]});
    for name in ["mine", "other"] {
        keyed
            .send(&admin, "PUT", &format!("/v1/collections/{name}"), Some(json!({"dim": 2})))
            .await
            .expect(201);
        let path = format!("/v1/collections/{name}/documents");
        keyed.send(&admin, "POST", &path, Some(vectors.clone())).await.expect(200);
    }
    let mine = keyed.key("mine", Role::Admin, Some("mine"));
    let search = Some(json!({"vector": [1.0, 0.0]}));
    keyed.send(&mine, "POST", "/v1/collections/mine/search", search.clone()).await.expect(200);
    keyed.send(&mine, "POST", "/v1/collections/mine/documents", Some(vectors)).await.expect(200);
    for path in ["/v1/collections/other/search", "/v1/collections/%6Fther/search"] {
        let message = keyed.send(&mine, "POST", path, search.clone()).await.refused(403, "forbidden");
        assert!(message.contains("other"), "{message}");
    }
    for (method, path) in [
        ("GET", "/v1/collections/other"),
        ("GET", "/v1/collections/other/documents/1"),
        ("DELETE", "/v1/collections/other"),
        ("PUT", "/v1/collections/new"),
        ("GET", "/metrics"),
        ("GET", "/v1/backups"),
        ("POST", "/v1/backups"),
        ("POST", "/v1/backups/restore"),
    ] {
        let body = Some(json!({"collection": "mine"}));
        keyed.send(&mine, method, path, body).await.refused(403, "forbidden");
    }
    let merge = Some(json!({"sources": ["other"]}));
    keyed.send(&mine, "POST", "/v1/collections/mine/merge", merge).await.refused(403, "forbidden");
    let list = keyed.send(&mine, "GET", "/v1/collections", None).await.expect(200);
    let names: Vec<_> = list["collections"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["mine"]);
    let health = keyed.send(&mine, "GET", "/health", None).await;
    assert!(!String::from_utf8_lossy(&health.bytes).contains("other"), "{:?}", health.json());
    for route in ROUTES.iter().filter(|route| route.reach == Reach::Server) {
        let path = route.template.replace("{collection}", "mine").replace("{time}", "20260101T000000Z");
        let answer = keyed.send(&mine, route.method, &path, Some(json!({}))).await;
        assert_eq!(answer.status.as_u16(), 403, "{route:?}");
    }
}

#[tokio::test]
async fn the_default_collections_are_within_the_scope_or_refused() {
    let keyed = Keyed::new();
    let admin = keyed.key("admin", Role::Admin, None);
    keyed.send(&admin, "PUT", "/v1/collections/course", Some(json!({}))).await.expect(201);
    keyed.send(&admin, "PUT", "/v1/collections/pictures", Some(json!({"kind": "image"}))).await.expect(201);
    let (course, other) =
        (keyed.key("course", Role::Read, Some("course")), keyed.key("other", Role::Read, Some("other")));
    let question = Some(json!({"query": "什么是向量检索?"}));
    keyed.send(&course, "POST", "/text-search", question.clone()).await.expect(200);
    keyed.send(&other, "POST", "/text-search", question).await.refused(403, "forbidden");
    let form = crate::service::multipart(&[("file", Some("a.png"), &picture([1, 2, 3], true))]);
    let request = Request::post("/image-search")
        .header(header::AUTHORIZATION, format!("Bearer {other}"))
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=EDGE")
        .body(Body::from(form));
    keyed.service.send(request.unwrap()).await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_key_over_its_rate_is_told_when_to_come_back_and_others_are_served() {
    let keyed = Keyed::new();
    let new = NewKey {
        name: "slow".to_owned(),
        role: Role::Read,
        collections: None,
        expires_unix_s: None,
        rate_per_s: Some(2),
    };
    let slow = KeyFile::of(keyed.folder.path()).create(new).unwrap().secret;
    let quick = keyed.key("quick", Role::Read, None);
    let started = Instant::now();
    let mut refused = 0;
    for _ in 0..12 {
        let answer = keyed.send(&slow, "GET", "/version", None).await;
        if answer.status.as_u16() == 429 {
            answer.refused(429, "rate_limited");
            assert_eq!(answer.header("retry-after"), "1");
            refused += 1;
        } else {
            answer.expect(200);
        }
        keyed.send(&quick, "GET", "/version", None).await.expect(200);
    }
    let may = 2 + started.elapsed().as_secs() as usize * 2 + 1;
    assert!(refused >= 12_usize.saturating_sub(may), "{refused} of 12 were refused");
}

#[tokio::test]
async fn writes_and_admin_calls_are_written_down_without_texts_or_secrets() {
    let keyed = Keyed::new();
    let writer = keyed.key("writer", Role::Write, None);
    keyed.send(&writer, "PUT", "/v1/collections/notes", Some(json!({"dim": 2}))).await.expect(201);
    let secret_text = "a text that nobody else should read";
    let documents =
        json!({"documents": [{"id": "private-id", "vector": [1, 0], "metadata": {"note": secret_text}}]});
    let answer = keyed.send(&writer, "POST", "/v1/collections/notes/documents", Some(documents)).await;
    answer.expect(200);
    let request_id = answer.header("x-request-id").to_owned();
    keyed.send(&writer, "DELETE", "/v1/collections/notes", None).await.refused(403, "forbidden");
    keyed.send(&writer, "DELETE", "/v1/collections/notes/documents/private-id", None).await.expect(200);
    // What only looks, and who is not known, is not written down: it could fill the log.
    keyed.send(&writer, "GET", "/v1/collections", None).await.expect(200);
    keyed.send("no key at all", "DELETE", "/v1/collections/notes", None).await.refused(401, "unauthorized");
    let lines = keyed.audit();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (line["what"].as_str().unwrap(), line["on"].as_str().unwrap(), line["status"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("PUT /v1/collections/{collection}", "notes", 201),
            ("POST /v1/collections/{collection}/documents", "notes", 200),
            ("DELETE /v1/collections/{collection}", "notes", 403),
            ("DELETE /v1/collections/{collection}/documents/{*id}", "notes", 200),
        ]
    );
    let id = KeyFile::of(keyed.folder.path()).read().unwrap()[0].id.clone();
    assert!(lines.iter().all(|line| line["who"] == id.as_str()), "{lines:?}");
    assert_eq!(lines[1]["request"], request_id.as_str());
    let text = std::fs::read_to_string(keyed.folder.path().join("audit/audit.jsonl")).unwrap();
    for hidden in [secret_text, "private-id", &writer, writer.rsplit('_').next().unwrap()] {
        assert!(!text.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn a_write_whose_client_goes_away_is_written_down() {
    let keyed = Keyed::new();
    let writer = keyed.key("writer", Role::Write, None);
    keyed.send(&writer, "PUT", "/v1/collections/notes", Some(json!({"dim": 2}))).await.expect(201);
    let never = futures_util::stream::pending::<Result<axum::body::Bytes, std::convert::Infallible>>();
    let request = Request::post("/v1/collections/notes/documents")
        .header(header::AUTHORIZATION, format!("Bearer {writer}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(never));
    let left = tokio::time::timeout(Duration::from_millis(50), keyed.service.send(request.unwrap())).await;
    assert!(left.is_err(), "the body never ends");
    let lines = keyed.audit();
    assert_eq!(lines.last().unwrap()["status"], 499, "{lines:?}");
}
