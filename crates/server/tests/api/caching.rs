//! Answers that come from the cache, as clients see them.

use crate::service::{Service, picture};
use axum::http::StatusCode;
use bilin_engine::{CacheConfig, EngineConfig};
use bilin_server::http::StateOptions;
use serde_json::{Value, json};

async fn add(service: &Service, id: &str, vector: [f32; 2]) {
    let documents = json!({"documents": [{"id": id, "vector": vector}]});
    service.post("/v1/collections/points/documents", &documents).await.expect(200);
}

async fn with_points(service: Service) -> Service {
    service.put("/v1/collections/points", &json!({"dim": 2, "metric": "l2"})).await.expect(201);
    add(&service, "a", [1.0, 0.0]).await;
    service
}

async fn search(service: &Service, more: Value) -> Value {
    let mut body = json!({"vector": [0.0, 1.0]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    service.post("/v1/collections/points/search", &body).await.expect(200)
}

fn ids(body: &Value) -> Vec<&str> {
    body["results"].as_array().unwrap().iter().map(|found| found["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_same_search_again_comes_from_memory_until_something_is_written() {
    let service = with_points(Service::new()).await;
    let first = search(&service, json!({})).await;
    let second = search(&service, json!({})).await;
    assert_eq!((&first["cached"], &second["cached"]), (&json!(false), &json!(true)));
    for part in ["results", "degraded", "reranked", "seq", "mode"] {
        assert_eq!(first[part], second[part]);
    }
    assert_eq!(second["timings_ms"]["search"], 0.0);
    for other in [json!({"top_k": 1}), json!({"filter": "price < 3"}), json!({"effort": 3})] {
        assert_eq!(search(&service, other.clone()).await["cached"], false, "{other}");
    }
    add(&service, "b", [0.0, 1.0]).await;
    let after = search(&service, json!({})).await;
    assert_eq!((ids(&after), &after["cached"]), (vec!["b", "a"], &json!(false)));

    let seen = service.get("/v1/collections/points").await.expect(200)["cache"].clone();
    assert_eq!(seen, json!({"hits": 1, "joined": 0, "misses": 5, "hit_ratio": 1.0 / 6.0}));
    let metrics = String::from_utf8(service.get("/metrics").await.bytes).unwrap();
    for line in [
        "bilin_cache_requests_total{collection=\"points\",outcome=\"hit\"} 1",
        "bilin_cache_requests_total{collection=\"points\",outcome=\"miss\"} 5",
        "bilin_cache_answers 5",
        "bilin_search_stage_seconds_count{stage=\"queue\"} 5",
        "bilin_search_stage_seconds_count{stage=\"search\"} 5",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in:\n{metrics}");
    }
}

#[tokio::test]
async fn a_collection_that_is_gone_or_new_is_not_answered_for_by_the_old_one() {
    let service = with_points(Service::new()).await;
    for _ in 0..2 {
        search(&service, json!({})).await;
    }
    service.delete("/v1/collections/points").await.expect(204);
    let gone = service.post("/v1/collections/points/search", &json!({"vector": [0.0, 1.0]})).await;
    gone.refused(404, "not_found");
    service.put("/v1/collections/points", &json!({"dim": 2, "metric": "l2"})).await.expect(201);
    add(&service, "other", [1.0, 0.0]).await;
    let new = search(&service, json!({})).await;
    assert_eq!((ids(&new), &new["seq"], &new["cached"]), (vec!["other"], &json!(1), &json!(false)));
}

#[tokio::test]
async fn refusals_are_not_kept() {
    let service = with_points(Service::new()).await;
    for _ in 0..2 {
        let wrong = json!({"vector": [0.0, 1.0, 2.0]});
        let answer = service.post("/v1/collections/points/search", &wrong).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let seen = service.get("/v1/collections/points").await.expect(200)["cache"].clone();
    assert_eq!((&seen["hits"], &seen["misses"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn the_tutorials_routes_say_so_in_a_field_of_their_own() {
    let service = Service::new().with_sentences().await.with_pictures().await;
    let ask = json!({"query": "FAISS的架构包含哪些模块?"});
    let first = service.post("/text-search", &ask).await.expect(200);
    let second = service.post("/text-search", &ask).await.expect(200);
    assert!(first.get("cached").is_none());
    assert_eq!(second["cached"], true);
    assert_eq!((&first["query"], &first["results"]), (&second["query"], &second["results"]));
    // The same text asked of the other route is another answer.
    let other =
        service.post("/v1/collections/course/search", &json!({"text": ask["query"], "top_k": 3})).await;
    assert_eq!(other.expect(200)["cached"], false);

    let red = picture([220, 30, 30], false);
    let form = [("file", Some("query.png"), &*red)];
    let first = service.form("/image-search", &form).await.expect(200);
    let second = service.form("/image-search", &form).await.expect(200);
    assert!(first.get("cached").is_none());
    assert_eq!((&second["cached"], &second["results"]), (&json!(true), &first["results"]));
}

#[tokio::test]
async fn memory_may_be_left_out() {
    let off = |config: EngineConfig| EngineConfig {
        cache: CacheConfig { answer_bytes: 0, ..CacheConfig::default() },
        ..config
    };
    let service = with_points(Service::over(off, StateOptions::default())).await;
    for _ in 0..3 {
        assert_eq!(search(&service, json!({})).await["cached"], false);
    }
}
