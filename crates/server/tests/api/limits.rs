//! Sizes, times and counts: what goes over them is refused, and the service goes on.

use crate::service::Service;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request, header};
use bilin_server::http::{Limits, StateOptions};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

fn small() -> StateOptions {
    let limits = Limits {
        max_body_bytes: 10_000,
        request_timeout: Duration::from_millis(400),
        max_concurrent_requests: 2,
        ..Limits::default()
    };
    StateOptions { limits, ..StateOptions::default() }
}

/// A body that announces no length.
fn chunked(chunks: usize, chunk: &'static str, pause: Duration) -> Body {
    let chunks = (0..chunks).map(move |_| chunk);
    let stream = futures_util::stream::unfold(chunks, move |mut chunks| async move {
        let chunk = chunks.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(chunk.as_bytes())), chunks))
    });
    Body::from_stream(stream)
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_announced_or_chunked() {
    let service = Service::with(small());
    let long = json!({"query": "x".repeat(20_000)});
    let message = service.post("/text-search", &long).await.refused(413, "body_too_large");
    assert!(message.contains("10000"), "{message}");

    let announced = Request::post("/text-search")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, "99999999999")
        .body(Body::empty());
    let message = service.send(announced.unwrap()).await.refused(413, "body_too_large");
    assert!(message.contains("10000") && message.contains("99999999999"), "{message}");

    for content_type in ["application/json", "multipart/form-data; boundary=EDGE"] {
        let path = if content_type.starts_with("multipart") { "/image-search" } else { "/text-search" };
        let start = "--EDGE\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
        let chunk: &'static str = Box::leak(format!("{start}{}", "y".repeat(1_000)).into_boxed_str());
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, content_type)
            .body(chunked(50, chunk, Duration::ZERO))
            .unwrap();
        service.send(request).await.refused(413, "body_too_large");
    }
    service.get("/livez").await.expect(200);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let service = Service::with(small());
    let request = Request::post("/text-search")
        .header(header::CONTENT_TYPE, "application/json")
        .body(chunked(100, " ", Duration::from_millis(50)))
        .unwrap();
    service.send(request).await.refused(408, "request_timeout");
}

#[tokio::test]
async fn more_searches_than_may_wait_are_told_to_come_back_and_the_rest_are_answered() {
    let service = Service::with(StateOptions {
        limits: Limits { max_concurrent_requests: 1, ..Limits::default() },
        ..StateOptions::default()
    })
    .with_sentences()
    .await;
    let long = "向量检索把文本变成向量。".repeat(40);
    let one = |i: usize| {
        let body = json!({"text": format!("{i} {long}")}).to_string();
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/collections/course/search")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        service.send(request)
    };
    let answers = futures_util::future::join_all((0..40).map(one)).await;
    let (good, busy): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status.as_u16() == 200);
    assert!(good.len() >= 5, "1 inside and 4 waiting at least: {}", good.len());
    assert!(!busy.is_empty(), "40 at once are more than 5");
    for answer in busy {
        answer.refused(503, "busy");
        assert_eq!(answer.header("retry-after"), "1");
    }
    service.get("/health").await.expect(200);
}
