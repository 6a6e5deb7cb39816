//! Everything wrong that a client may send: the right status, a sentence that helps, and nothing changed.

use crate::service::{Service, claimed_png, picture};
use axum::http::Method;
use serde_json::{Value, json};

/// The collections without the count of searches, which refused ones are part of.
async fn stored(service: &Service) -> Value {
    let mut list = service.get("/v1/collections").await.expect(200);
    for collection in list["collections"].as_array_mut().unwrap() {
        collection.as_object_mut().unwrap().remove("cache");
    }
    list
}

/// Sends what must be refused and checks that nothing changed by it.
async fn unchanged(service: &Service, before: &Value) {
    assert_eq!(&stored(service).await, before);
}

#[tokio::test]
async fn queries_that_are_empty_blank_or_too_long() {
    let service = Service::new().with_sentences().await;
    let before = stored(&service).await;
    for query in ["", "   ", "\n\t\u{3000}"] {
        let message =
            service.post("/text-search", &json!({ "query": query })).await.refused(422, "invalid_input");
        assert!(message.contains("8000"), "says what is expected: {message}");
        service
            .post("/v1/collections/course/search", &json!({ "text": query }))
            .await
            .refused(422, "invalid_input");
    }
    let longest = "搜".repeat(8_000);
    service.post("/text-search", &json!({ "query": longest })).await.expect(200);
    let message = service
        .post("/text-search", &json!({ "query": format!("{longest}x") }))
        .await
        .refused(422, "invalid_input");
    assert!(message.contains("8000") && message.contains("8001"), "{message}");
    unchanged(&service, &before).await;
}

#[tokio::test]
async fn queries_of_punctuation_symbols_or_emoji_alone() {
    let service = Service::new().with_sentences().await;
    for query in ["?", "。", "??!! ……", "《》", "😀", "+-*/", "\u{200b}", "→"] {
        for (path, field) in [("/text-search", "query"), ("/v1/collections/course/search", "text")] {
            let answer = service.post(path, &json!({ field: query })).await;
            let hint = answer.expect(422)["hint"].clone();
            let message = answer.refused(422, "invalid_input");
            assert!(message.contains("only punctuation, symbols or emoji"), "{query}: {message}");
            assert!(hint.as_str().is_some_and(|hint| hint.contains("ask in words")), "{hint}");
        }
    }
    for query in ["鸟", "7", "a", "C++", "?FAISS?"] {
        service.post("/text-search", &json!({ "query": query })).await.expect(200);
        service.post("/v1/collections/course/search", &json!({ "text": query })).await.expect(200);
    }
}

#[tokio::test]
async fn a_query_longer_than_the_model_reads_is_told_or_refused() {
    let service = Service::new().with_sentences().await;
    let search = "/v1/collections/course/search";
    let long = "how does an inverted index find its lists? ".repeat(90);
    let answer = service.post(search, &json!({ "text": long })).await.expect(200);
    let told = |answer: &Value| {
        answer["degraded"].as_array().is_some_and(|told| told.contains(&json!("query_truncated")))
    };
    assert!(told(&answer), "{answer}");
    let answer = service.post(search, &json!({ "text": "how does an index work?" })).await.expect(200);
    assert!(!told(&answer), "{answer}");
}

#[tokio::test]
async fn reranking_without_a_reranker() {
    let service = Service::new().with_sentences().await;
    let search = "/v1/collections/course/search";
    let body = json!({ "text": "FAISS", "rerank": true });
    let message = service.post(search, &body).await.refused(422, "invalid_input");
    assert!(message.contains("no reranker"), "{message}");
    let answer = service.post(search, &json!({ "text": "FAISS", "rerank": false })).await.expect(200);
    assert_eq!(answer["reranked"], Value::Null);
}

#[tokio::test]
async fn top_k_out_of_range_or_no_number() {
    let service = Service::new().with_sentences().await;
    for top_k in ["0", "-1", "1001", "2.5", "\"three\"", "[]", "true", "99999999999999999999", "1e999"] {
        for (path, rest) in [("/text-search", "\"query\""), ("/v1/collections/course/search", "\"text\"")] {
            let body = format!("{{{rest}: \"x\", \"top_k\": {top_k}}}");
            let message = service.post_raw(path, &body).await.refused(422, "invalid_input");
            assert!(message.contains("top_k"), "names the field: {message}");
        }
    }
    let png = picture([9, 9, 9], false);
    let service = service.with_pictures().await;
    for top_k in ["0", "-1", "1001", "x", ""] {
        let message = service
            .form("/image-search", &[("file", Some("a.png"), &png), ("top_k", None, top_k.as_bytes())])
            .await
            .refused(422, "invalid_input");
        assert!(message.contains("from 1 to 1000"), "{message}");
    }
}

#[tokio::test]
async fn unknown_missing_doubled_and_mistyped_fields() {
    let service = Service::new().with_sentences().await;
    let search = "/v1/collections/course/search";
    for (path, body, word) in [
        ("/text-search", r#"{"query": "x", "topk": 3}"#, "topk"),
        ("/text-search", r#"{}"#, "query"),
        ("/text-search", r#"{"query": 3}"#, "query"),
        ("/text-search", r#"{"query": "x", "query": "y"}"#, "query"),
        ("/text-search", r#"[1]"#, "object"),
        ("/text-search", r#"["a question", 3]"#, "object"),
        ("/v1/collections/course/documents", r#"{"documents": [["id", "text"]]}"#, "documents[0]"),
        (search, r#"{"text": "x", "limit": 3}"#, "limit"),
        (search, r#"{}"#, "either vector"),
        (search, r#"{"text": "x", "vector": [1]}"#, "either vector"),
        (search, r#"{"like": "a", "mode": "hybrid"}"#, "hybrid"),
        (search, r#"{"text": "x", "mode": "fuzzy"}"#, "`dense`, `lexical`, `hybrid`"),
        (search, r#"{"text": "x", "per": "page"}"#, "`item`, `section`, `document`"),
        (search, r#"{"text": "x", "effort": 0}"#, "effort"),
        (search, r#"{"text": "x", "filter": "category = "}"#, "filter"),
        (search, r#"{"image": "§§"}"#, "base64"),
        (
            "/v1/collections/course/documents",
            r#"{"documents": [{"text": "x", "vektor": [1]}]}"#,
            "documents[0]",
        ),
        ("/v1/collections/course/documents", r#"{"documents": [{"id": "a"}]}"#, "documents[0]"),
        ("/v1/collections/course/documents", r#"{"documents": []}"#, "documents"),
        ("/v1/embeddings", r#"{"input": 3}"#, "string"),
        ("/v1/embeddings", r#"{"input": []}"#, "at least one"),
    ] {
        let message = service.post_raw(path, body).await.refused(422, "invalid_input");
        assert!(message.contains(word), "{body}: {message}");
    }
}

#[tokio::test]
async fn json_that_is_broken_and_bodies_that_are_not_json() {
    let service = Service::new().with_sentences().await;
    for body in ["", "{", "{\"query\": \"x\"", "query=x", "{'query': 'x'}", "{\"query\": \"x\"} y", "\u{0}"] {
        service.post_raw("/text-search", body).await.refused(400, "malformed_request");
    }
    let answer = service
        .call(Method::POST, "/text-search", Some(("application/json", b"{\"query\": \"\xff\"}".to_vec())))
        .await;
    answer.refused(400, "malformed_request");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        let body = Some((content_type, b"{\"query\": \"x\"}".to_vec()));
        let message =
            service.call(Method::POST, "/text-search", body).await.refused(415, "unsupported_media_type");
        assert!(message.contains("application/json"), "{message}");
    }
    service.call(Method::POST, "/text-search", None).await.refused(415, "unsupported_media_type");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!("{{\"documents\": [{{\"text\": \"x\", \"metadata\": {{\"a\": {deep}}}}}]}}");
    service.post_raw("/v1/collections/course/documents", &body).await.refused(400, "malformed_request");
}

#[tokio::test]
async fn forms_that_are_not_what_they_say() {
    let service = Service::new().with_pictures().await;
    let png = picture([1, 2, 3], false);
    service.post("/image-search", &json!({"file": "x"})).await.refused(415, "unsupported_media_type");
    let no_boundary = Some(("multipart/form-data", b"x".to_vec()));
    service.call(Method::POST, "/image-search", no_boundary).await.refused(400, "malformed_request");
    let cut = Some((
        "multipart/form-data; boundary=EDGE",
        b"--EDGE\r\nContent-Disposition: form-data; na".to_vec(),
    ));
    service.call(Method::POST, "/image-search", cut).await.refused(400, "malformed_request");
    service.form("/image-search", &[("top_k", None, b"3")]).await.refused(422, "invalid_input");
    service
        .form("/image-search", &[("file", Some("a"), &png), ("x", None, b"3")])
        .await
        .refused(422, "invalid_input");
    service.form("/image-search?limit=3", &[("file", Some("a"), &png)]).await.refused(422, "invalid_input");
}

#[tokio::test]
async fn files_that_are_no_pictures_and_pictures_that_are_too_large() {
    let service = Service::new().with_pictures().await;
    let before = stored(&service).await;
    let mut broken = picture([1, 2, 3], true);
    broken.truncate(broken.len() / 2);
    for bytes in [b"".as_slice(), b"hello", b"%PDF-1.4", &broken] {
        service.form("/image-search", &[("file", Some("a.png"), bytes)]).await.refused(422, "invalid_input");
        service
            .form("/v1/collections/pictures/documents", &[("file", Some("a.png"), bytes)])
            .await
            .refused(422, "invalid_input");
    }
    let huge = claimed_png(20_000, 20_000);
    let answer = service.form("/image-search", &[("file", Some("huge.png"), &huge)]).await;
    assert!(matches!(answer.status.as_u16(), 413 | 422), "{}", answer.status);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("20000") || message.contains("20 000"), "names the size: {message}");
    unchanged(&service, &before).await;
}

#[tokio::test]
async fn vectors_of_the_wrong_dimension_or_without_finite_numbers() {
    let service = Service::new();
    service.put("/v1/collections/v", &json!({"dim": 3, "metric": "l2"})).await.expect(201);
    service
        .post("/v1/collections/v/documents", &json!({"documents": [{"id": "a", "vector": [1, 2, 3]}]}))
        .await
        .expect(200);
    let before = stored(&service).await;
    for vector in
        ["[1, 2]", "[1, 2, 3, 4]", "[]", "[NaN, 1, 2]", "[1e999, 1, 2]", "[1, -Infinity, 2]", "[1e39, 1, 2]"]
    {
        let message = service
            .post_raw("/v1/collections/v/search", &format!("{{\"vector\": {vector}}}"))
            .await
            .refused(422, "invalid_input");
        assert!(message.contains("vector"), "{vector}: {message}");
        let body = format!("{{\"documents\": [{{\"id\": \"b\", \"vector\": {vector}}}]}}");
        service.post_raw("/v1/collections/v/documents", &body).await.refused(422, "invalid_input");
    }
    let message = service
        .post_raw("/v1/collections/v/search", "{\"vector\": [1, 2]}")
        .await
        .refused(422, "invalid_input");
    assert!(message.contains('2') && message.contains('3'), "names both dimensions: {message}");
    unchanged(&service, &before).await;
}

#[tokio::test]
async fn content_of_the_wrong_kind_names_what_the_collection_holds() {
    let service = Service::new().with_sentences().await.with_pictures().await;
    let png = {
        use base64::Engine as _;
        base64::prelude::BASE64_STANDARD.encode(picture([1, 2, 3], false))
    };
    for (collection, body) in [("course", json!({ "image": png })), ("pictures", json!({"text": "a bird"}))] {
        let path = format!("/v1/collections/{collection}/search");
        let message = service.post(&path, &body).await.refused(422, "invalid_input");
        assert!(message.contains(collection), "{message}");
        let path = format!("/v1/collections/{collection}/documents");
        service.post(&path, &json!({"documents": [body]})).await.refused(422, "invalid_input");
    }
}

#[tokio::test]
async fn unknown_routes_methods_collections_models_and_documents() {
    let service = Service::new().with_sentences().await;
    for path in
        ["/nothing", "/v1", "/v1/collections/course/documents/", "/assets/none.js", "/assets/../mod.rs"]
    {
        service.get(path).await.refused(404, "not_found");
    }
    let answer = service.get("/text-search").await;
    answer.refused(405, "method_not_allowed");
    assert!(answer.header("allow").contains("POST"), "{:?}", answer.headers);
    service.delete("/v1/collections").await.refused(405, "method_not_allowed");

    service.get("/v1/collections/none").await.refused(404, "not_found");
    service.delete("/v1/collections/none").await.refused(404, "not_found");
    service.post("/v1/collections/none/search", &json!({"text": "x"})).await.refused(404, "not_found");
    service
        .post("/v1/collections/none/documents", &json!({"documents": [{"text": "x"}]}))
        .await
        .refused(404, "not_found");
    service.get("/v1/collections/course/documents/none").await.refused(404, "not_found");
    service.delete("/v1/collections/course/documents/none").await.refused(404, "not_found");
    service.get("/v1/collections/course/thumbnails/none").await.refused(404, "not_found");
    service.post("/v1/collections/course/search", &json!({"like": "none"})).await.refused(404, "not_found");
    service.get("/v1/collections/%ff").await.refused(400, "malformed_request");

    let answer = service.put("/v1/collections/other", &json!({"model": "no-such-model"})).await;
    assert!(matches!(answer.status.as_u16(), 404 | 422), "{}", answer.status);
    assert!(answer.json()["message"].as_str().unwrap().contains("no-such-model"));
    let answer = service.post("/v1/embeddings", &json!({"input": "x", "model": "no-such-model"})).await;
    assert!(matches!(answer.status.as_u16(), 404 | 422), "{}", answer.status);
}

#[tokio::test]
async fn collections_that_cannot_be_made() {
    let service = Service::new();
    for (name, body) in [
        ("a", json!({"kind": "music"})),
        ("a", json!({"dims": 3})),
        ("a", json!({"dim": 0})),
        ("a", json!({"dim": -1})),
        ("a", json!({"dim": 100_000_000})),
        ("a", json!({"kind": "vector"})),
        ("a", json!({"dim": 3, "metric": "manhattan"})),
        ("a", json!({"dim": 3, "index": "IVF,Flat"})),
        ("a", json!({"target_recall": 2})),
        ("..", json!({})),
        ("a%2Fb", json!({})),
        ("a%00b", json!({})),
        ("%20", json!({})),
    ] {
        service.put(&format!("/v1/collections/{name}"), &body).await.refused(422, "invalid_input");
    }
    assert_eq!(service.get("/v1/collections").await.expect(200)["collections"], json!([]));
}
