//! `/metrics`: which names there are, what is counted, and that labels stay few.

use crate::service::Service;
use axum::http::Method;
use serde_json::json;
use std::fs;

async fn scraped(service: &Service) -> String {
    let answer = service.get("/metrics").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    String::from_utf8(answer.bytes).unwrap()
}

/// The value of a sample, named as in the text.
fn value(text: &str, sample: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

#[tokio::test]
async fn requests_are_counted_by_template_and_probes_are_not() {
    let service = Service::new().with_sentences().await;
    for name in ["course", "course", "nots"] {
        service.get(&format!("/v1/collections/{name}")).await;
    }
    for path in ["/health", "/livez", "/readyz", "/metrics", "/no/such/route", "/nor/this"] {
        service.get(path).await;
    }
    service
        .call(Method::from_bytes(b"BREW").unwrap(), "/v1/collections", None)
        .await
        .refused(405, "method_not_allowed");
    let search = json!({"text": "架构"});
    service.post("/v1/collections/course/search", &search).await.expect(200);
    let text = scraped(&service).await;
    let one = "handler=\"/v1/collections/{collection}\",method=\"GET\"";
    assert_eq!(value(&text, &format!("http_requests_total{{{one},status=\"200\"}}")), Some(2.0), "{text}");
    assert_eq!(value(&text, &format!("http_requests_total{{{one},status=\"404\"}}")), Some(1.0));
    assert_eq!(value(&text, &format!("http_request_duration_seconds_count{{{one}}}")), Some(3.0));
    assert_eq!(value(&text, &format!("http_request_duration_seconds_bucket{{{one},le=\"0.5\"}}")), Some(3.0));
    assert_eq!(value(&text, &format!("http_requests_inprogress{{{one}}}")), Some(0.0));
    assert_eq!(
        value(&text, "http_requests_total{handler=\"none\",method=\"GET\",status=\"404\"}"),
        Some(2.0)
    );
    for word in ["handler=\"/health\"", "livez", "readyz", "/metrics", "BREW", "nots", "such"] {
        assert!(!text.contains(word), "{word} is a label:\n{text}");
    }
}

#[tokio::test]
async fn the_names_of_the_tutorial_and_of_the_process_are_there() {
    let service = Service::new();
    service.get("/v1/collections").await.expect(200);
    let text = scraped(&service).await;
    for name in ["http_requests_total", "http_request_duration_seconds", "process_cpu_usage"] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not in:\n{text}");
    }
    if cfg!(target_os = "linux") {
        for name in
            ["process_memory_usage_bytes", "process_resident_memory_bytes", "process_start_time_seconds"]
        {
            assert!(value(&text, name).is_some_and(|value| value > 1e6), "{name}:\n{text}");
        }
        for name in ["process_cpu_seconds_total", "process_open_fds", "process_threads"] {
            assert!(value(&text, name).is_some(), "{name}:\n{text}");
        }
    }
    assert!(value(&text, "process_cpu_usage").is_some_and(|usage| (0.0..=1.0).contains(&usage)));
}

#[tokio::test]
async fn collections_tell_what_they_hold_and_how_they_do() {
    let service = Service::new();
    service.put("/v1/collections/points", &json!({"dim": 2, "metric": "l2"})).await.expect(201);
    let documents: Vec<_> = (0..10).map(|at| json!({"id": at.to_string(), "vector": [at, 1]})).collect();
    service.post("/v1/collections/points/documents", &json!({"documents": documents})).await.expect(200);
    service.delete("/v1/collections/points/documents/3").await.expect(200);
    service.post("/v1/backups", &json!({})).await.expect(200);
    let text = scraped(&service).await;
    let of = |name: &str| value(&text, &format!("{name}{{collection=\"points\"}}"));
    for (name, expected) in [
        ("bilin_collection_items", 9.0),
        ("bilin_collection_documents", 9.0),
        ("bilin_collection_rows", 10.0),
        ("bilin_collection_deleted_rows", 1.0),
        ("bilin_collection_tail_rows", 10.0),
        ("bilin_collection_commit_seq", 2.0),
        ("bilin_collection_degraded", 0.0),
        ("bilin_collection_incident", 0.0),
        ("bilin_collection_quarantined_files", 0.0),
        ("bilin_index_recall", 1.0),
        ("bilin_backups", 1.0),
        ("bilin_fail_overs_total", 0.0),
        ("bilin_backups_bad", 0.0),
    ] {
        assert_eq!(of(name), Some(expected), "{name}:\n{text}");
    }
    let builds = "bilin_upkeep_runs_total{collection=\"points\",job=\"build\",outcome=\"failed\"}";
    assert_eq!(value(&text, builds), Some(0.0), "{text}");
    assert!(of("bilin_collection_disk_bytes").is_some_and(|bytes| bytes > 4096.0));
    assert!(of("bilin_backup_newest_bytes").is_some_and(|bytes| bytes > 4096.0));
    assert!(of("bilin_backup_newest_timestamp_seconds").is_some_and(|at| at > 1.7e9));
    assert_eq!((of("bilin_index_generation"), value(&text, "bilin_degraded")), (None, Some(0.0)));

    // One that is gone leaves nothing behind but its backups.
    service.delete("/v1/collections/points").await.expect(204);
    let text = scraped(&service).await;
    assert!(
        !text.contains("bilin_collection_items{") && text.contains("bilin_backups{collection=\"points\"} 1")
    );
}

#[tokio::test]
async fn a_damaged_collection_is_told_and_the_service_stays_ready_for_the_others() {
    let service = Service::new();
    for name in ["good", "bad"] {
        service.put(&format!("/v1/collections/{name}"), &json!({"dim": 2})).await.expect(201);
    }
    let data = service.folder.path().join("data");
    let service = service.reopened(|| {
        fs::write(
            data.join("collections/bad/catalog.sqlite"),
            b"not a database, and long enough to be looked at",
        )
        .unwrap();
    });
    let health = service.get("/health").await.expect(200);
    assert_eq!(
        (&health["status"], health["broken"]["bad"].is_string()),
        (&json!("degraded"), true),
        "{health}"
    );
    let text = scraped(&service).await;
    assert_eq!(value(&text, "bilin_collection_broken{collection=\"bad\"}"), Some(1.0), "{text}");
    assert_eq!(value(&text, "bilin_degraded"), Some(1.0));
    service.get("/readyz").await.expect(200);
    service.delete("/v1/collections/good").await.expect(204);
    service.get("/readyz").await.refused(503, "not_ready");
    service.get("/livez").await.expect(200);
}
