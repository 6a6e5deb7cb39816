//! Tuning over HTTP: begun, watched, stopped, told as JSON and as a page.

use crate::service::Service;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TUNE: &str = "/v1/collections/points/tune";
const REPORT: &str = "/v1/collections/points/tune/report";

/// 400 vectors of 8 values in a collection `points`.
async fn service() -> Service {
    let service = Service::new();
    service.put("/v1/collections/points", &json!({"dim": 8, "metric": "l2"})).await.expect(201);
    let value = |number: u64, at: u64| ((number * 7919 + at * 104_729) % 1_000) as f64 / 1e3;
    let documents: Vec<Value> = (0..400)
        .map(|number| {
            let vector: Vec<f64> = (0..8).map(|at| value(number * number + 1, at + 1)).collect();
            json!({"id": number.to_string(), "vector": vector})
        })
        .collect();
    service.post("/v1/collections/points/documents", &json!({"documents": documents})).await.expect(200);
    service
}

/// The state once it is not running any more.
async fn ended(service: &Service) -> Value {
    let started = Instant::now();
    loop {
        let view = service.get(TUNE).await.expect(200);
        let progress = view["progress"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&progress), "{view}");
        if view["state"] != "running" {
            return view;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{view}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_study_runs_in_the_background_and_is_told_as_json_and_as_a_page() {
    let service = service().await;
    assert_eq!(service.get(TUNE).await.expect(200)["state"], "none");
    service.get(REPORT).await.refused(404, "not_found");
    let wish = json!({"index": ["IVF8,Flat"], "nprobe": [1, 2, 4, 8], "target_recall": 0.8});
    let begun = service.post(TUNE, &wish).await.expect(202);
    assert!(begun["started_unix_s"].is_number(), "{begun}");
    let view = ended(&service).await;
    assert_eq!((&view["state"], &view["progress"]), (&json!("done"), &json!(1.0)), "{view}");
    let points = view["study"]["indexes"][1]["points"].as_array().unwrap();
    assert_eq!((points.len(), &points[3]["recall_at_10"]), (4, &json!(1.0)));
    assert_eq!(view["study"]["target_recall"], json!(0.8));
    assert_eq!(service.get("/v1/collections/points").await.expect(200)["index"]["requested"], "auto");
    for (path, words, tag) in [
        (REPORT.to_owned(), "Study of index parameters — points", "lang=\"en\""),
        (format!("{REPORT}?language=zh"), "索引参数调优报告 — points", "lang=\"zh-CN\""),
    ] {
        let page = service.get(&path).await;
        let text = String::from_utf8(page.bytes.clone()).unwrap();
        assert!(page.status == 200 && text.contains(words) && text.contains(tag), "{text}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        let policy = page.header("content-security-policy");
        let own = policy.strip_suffix("; frame-ancestors 'none'").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-") && text.contains(own),
            "{policy}"
        );
    }
    assert!(service.get(TUNE).await.header("content-security-policy").contains("script-src 'self'"));
    service.get(&format!("{REPORT}?language=fr")).await.refused(422, "invalid_input");
    // Another one that changes the collection; the first one's study is there until it ends.
    let begun =
        service.post(TUNE, &json!({"sweep": false, "apply": true, "target_recall": 0.9})).await.expect(202);
    assert!(begun["study"].is_object(), "{begun}");
    let view = ended(&service).await;
    assert_eq!((&view["state"], &view["choice"]["index"]), (&json!("done"), &json!("Flat")), "{view}");
    assert_eq!(service.get("/v1/collections/points").await.expect(200)["index"]["requested"], "Flat");
}

#[tokio::test]
async fn a_run_is_stopped_and_a_second_one_waits() {
    let service = service().await;
    service.delete(TUNE).await.refused(404, "not_found");
    service
        .post(TUNE, &json!({"index": vec!["HNSW64"; 1], "ef": (10..70).collect::<Vec<_>>()}))
        .await
        .expect(202);
    service.post(TUNE, &json!({})).await.refused(409, "conflict");
    service.delete(TUNE).await.expect(202);
    assert_eq!(ended(&service).await["state"], "cancelled");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_begins() {
    let service = service().await;
    for wish in [
        json!({"target_recall": 0}),
        json!({"target_recall": "high"}),
        json!({"index": ["IVF8,Flot"]}),
        json!({"nprobe": [0]}),
        json!({"ef": [-1]}),
        json!({"max_queries": 0}),
        json!({"seconds": 4_000}),
        json!({"rows": 2_000_000}),
        json!({"rows": 3}),
        json!({"speed": true}),
    ] {
        service.post(TUNE, &wish).await.refused(422, "invalid_input");
    }
    service.post(TUNE, &json!({"nprobe": vec![1; 65]})).await.refused(413, "too_large");
    service.post("/v1/collections/nobody/tune", &json!({})).await.refused(404, "not_found");
    service.get("/v1/collections/nobody/tune").await.refused(404, "not_found");
    service.get("/v1/collections/nobody/tune/report").await.refused(404, "not_found");
    assert_eq!(service.get(TUNE).await.expect(200)["state"], "none");
    // What only shows while it runs is told there.
    service.post(TUNE, &json!({"queries": ["a text"]})).await.expect(202);
    let view = ended(&service).await;
    assert_eq!(view["state"], "failed");
    assert!(view["error"].as_str().unwrap().contains("no model"), "{view}");
}
