//! Moving a collection to another model over HTTP.

use crate::service::{SENTENCES, Service};
use crate::small_model::small_model;
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const JOB: &str = "/v1/collections/course/reencode";

/// A service that is configured with a small model, and that model's name.
async fn service() -> (Service, String) {
    let folder = tempfile::tempdir().unwrap();
    let small = small_model(&folder.path().join("small"), 24, 3).to_str().unwrap().to_owned();
    let config = bilin_engine::EngineConfig {
        default_text_model: small.clone(),
        ..bilin_engine::EngineConfig::new(folder.path().join("data"))
    };
    let engine = Arc::new(bilin_engine::Engine::open(config).unwrap());
    let state = bilin_server::http::AppState::new(engine, Default::default());
    let service = Service { router: bilin_server::http::router(state), folder };
    service.put("/v1/collections/course", &json!({"model": "e5-small-zh-en"})).await.expect(201);
    let documents: Vec<Value> = SENTENCES.iter().map(|(id, text)| json!({"id": id, "text": text})).collect();
    service.post("/v1/collections/course/documents", &json!({"documents": documents})).await.expect(200);
    (service, small)
}

/// The collection once its job has ended.
async fn ended(service: &Service) -> Value {
    let started = Instant::now();
    loop {
        let course = service.get("/v1/collections/course").await.expect(200);
        if !course["reencode"]["ended_unix_s"].is_null() {
            return course;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{course}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_collection_moves_while_it_is_served() {
    let (service, small) = service().await;
    let course = service.get("/v1/collections/course").await.expect(200);
    assert_eq!((&course["dim"], &course["reencode"]), (&json!(384), &Value::Null));
    let begun = service.post(JOB, &json!({"model": small})).await.expect(202);
    assert_eq!((&begun["from"], &begun["model"]), (&json!("e5-small-zh-en"), &json!(small)));
    let course = ended(&service).await;
    assert_eq!(course["reencode"]["stage"], "done", "{course}");
    assert_eq!((&course["dim"], &course["model"], &course["count"]), (&json!(24), &json!(small), &json!(3)));
    assert_eq!(course["reencode"]["items_done"], 3);
    let found =
        service.post("/v1/collections/course/search", &json!({"text": SENTENCES[1].1, "top_k": 1})).await;
    assert_eq!(found.expect(200)["results"][0]["id"], SENTENCES[1].0);
    let metrics = service.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    for line in [
        r#"bilin_reencode_running{collection="course"} 0"#,
        r#"bilin_reencode_encoded_items{collection="course"} 3"#,
        r#"bilin_reencode_failed{collection="course"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_job_is_stopped_and_what_makes_no_sense_is_refused() {
    let (service, small) = service().await;
    service.delete(JOB).await.refused(404, "not_found");
    service.post(JOB, &json!({"model": "e5-small-zh-en"})).await.refused(409, "conflict");
    service.post(JOB, &json!({"model": "/etc"})).await.refused(404, "not_found");
    service.post(JOB, &json!({"model": "efficientnet-lite0"})).await.refused(422, "invalid_input");
    service.post(JOB, &json!({})).await.refused(422, "invalid_input");
    service.post(JOB, &json!({"model": small, "wait": true})).await.refused(422, "invalid_input");
    let other = "/v1/collections/nots/reencode";
    service.post(other, &json!({"model": small})).await.refused(404, "not_found");
    service.call(Method::DELETE, other, None).await.refused(404, "not_found");
    let texts: Vec<Value> =
        (0..600).map(|at| json!({"id": format!("n{at}"), "text": format!("note {at}")})).collect();
    service.post("/v1/collections/course/documents", &json!({"documents": texts})).await.expect(200);
    service.post(JOB, &json!({"model": "e5-small-zh-en", "force": true})).await.expect(202);
    service.post(JOB, &json!({"model": small})).await.refused(409, "conflict");
    service.delete(JOB).await.expect(202);
    let course = ended(&service).await;
    assert_eq!(course["reencode"]["stage"], "cancelled", "{course}");
    assert_eq!((&course["dim"], &course["count"]), (&json!(384), &json!(603)));
}
