//! More than can be done: who is answered, who is turned away, what is left out, and how it ends.

use crate::service::{Answer, Service};
use bilin_server::http::{AdmissionOptions, Limits, StateOptions};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

async fn load(service: &Service) -> Value {
    service.get("/health").await.expect(200)["load"].clone()
}

async fn ask(service: &Service, text: &str) -> Answer {
    service.post("/v1/collections/course/search", &json!({"text": text, "top_k": 20})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_answered_as_far_as_it_can_be_and_passes() {
    let admission = AdmissionOptions { queue: Duration::from_millis(1), ..AdmissionOptions::default() };
    let limits = Limits { max_concurrent_requests: 1, admission, ..Limits::default() };
    let service = Service::with(StateOptions { limits, ..StateOptions::default() }).with_sentences().await;
    assert_eq!(load(&service).await["level"], "whole");
    ask(&service, "哪种索引最省内存?").await.expect(200);

    let (mut number, mut answered, mut restrained, started) = (0, 0, 0, Instant::now());
    let (mut refused, mut ids) = (0, BTreeSet::new());
    while load(&service).await["level"] != "cached_only" {
        assert!(started.elapsed() < Duration::from_secs(120), "it never got to the end of the ladder");
        let texts: Vec<String> = (0..30).map(|at| format!("问题 {number} {at}: 什么是向量?")).collect();
        number += 1;
        for answer in futures_util::future::join_all(texts.iter().map(|text| ask(&service, text))).await {
            match answer.status.as_u16() {
                200 => {
                    let body = answer.json();
                    answered += 1;
                    restrained += usize::from(body["degraded"] == json!(["load: fewer results"]));
                }
                _ => {
                    answer.refused(503, "busy");
                    assert_eq!(answer.header("retry-after"), "1");
                    ids.insert(answer.header("x-request-id").to_owned());
                    refused += 1;
                }
            }
        }
    }
    assert!(answered > 0 && restrained > 0, "{answered} {restrained}");
    assert_eq!(ids.len(), refused, "each has an id of its own");
    // What is in memory is answered whole, and as quickly as ever.
    let body = ask(&service, "哪种索引最省内存?").await.expect(200);
    assert_eq!((&body["cached"], &body["degraded"]), (&json!(true), &json!([])));
    let metrics = String::from_utf8(service.get("/metrics").await.bytes).unwrap();
    let figure = |sample: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{sample} is not in:\n{metrics}")).parse().unwrap()
    };
    assert!(figure("bilin_degrade_level") >= 3.0);
    assert!(figure("bilin_shed_total{reason=\"queue\"}") > 0.0);
    let handler = "/v1/collections/{collection}/search";
    let counted =
        figure(&format!("http_requests_total{{handler=\"{handler}\",method=\"POST\",status=\"503\"}}"));
    assert_eq!(counted as usize, refused);
    assert_eq!(figure("bilin_concurrency_limit"), 1.0);

    let calm = Instant::now();
    while load(&service).await["level"] != "whole" {
        assert!(calm.elapsed() < Duration::from_secs(60), "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let body = ask(&service, "问题 0 0: 什么是向量?").await.expect(200);
    assert_eq!(body["degraded"], json!([]), "what was left out was not kept");
}

#[tokio::test]
async fn a_request_of_many_counts_for_many_and_is_still_answered_when_it_is_alone() {
    let limits = Limits { max_concurrent_requests: 2, ..Limits::default() };
    let service = Service::with(StateOptions { limits, ..StateOptions::default() });
    let texts: Vec<String> = (0..100).map(|at| format!("text {at}")).collect();
    let body = service.post("/v1/embeddings", &json!({"input": texts})).await.expect(200);
    assert_eq!(body["data"].as_array().unwrap().len(), 100);
    assert_eq!(load(&service).await["inside"], 0);
}
