//! Evaluating a collection over HTTP.

use crate::service::Service;
use serde_json::json;

const PATH: &str = "/v1/collections/course/eval";

#[tokio::test]
async fn questions_are_asked_judged_and_compared() {
    let service = Service::new().with_sentences().await;
    let questions = json!([
        {"question": "FAISS的架构包含哪些模块?", "ids": ["text_corpus.txt/5"], "tags": ["zh"]},
        {"question": "FAISS支持哪些索引类型?", "contains": "indexflatip、INDEXFLATL2"},
        {"question": "GPU 有几块?", "page": 9}
    ]);
    let body = service
        .post(PATH, &json!({"questions": questions, "settings": [{"k": 1}, {"k": 3}], "resamples": 500}))
        .await
        .expect(200);
    assert_eq!((&body["nowhere"], &body["resamples"]), (&json!([2]), &json!(500)));
    assert_eq!(body["runs"][0]["figures"]["hit_at_1"]["value"], 1.0, "{body}");
    assert_eq!(body["runs"][1]["label"], "k=3");
    assert_eq!(body["runs"][1]["groups"][0]["name"], "tag=zh");
    assert_eq!(body["comparisons"][0]["differences"]["hit_at_1"]["value"], 0.0);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let service = Service::new().with_sentences().await;
    let one = json!({"question": "q", "page": 1});
    let refused = async |body: serde_json::Value| service.post(PATH, &body).await;
    let message = refused(json!({"questions": [one, {"question": "q"}]})).await.refused(422, "invalid_input");
    assert!(message.contains("question 2") && message.contains("section"), "{message}");
    let message = refused(json!({"questions": []})).await.refused(422, "invalid_input");
    assert!(message.contains("no questions"), "{message}");
    let message = refused(json!({"questions": [one], "settings": [{"k": 3}, {"k": []}]}))
        .await
        .refused(422, "invalid_input");
    assert!(message.contains("settings[1]: k"), "{message}");
    let many = vec![one.clone(); 501];
    let message = refused(json!({"questions": many, "settings": [{}, {"k": 1}]})).await;
    assert!(message.refused(422, "invalid_input").contains("1002"));
    refused(json!({"questions": [one], "resamples": 0})).await.refused(422, "invalid_input");
    service.post("/v1/collections/none/eval", &json!({"questions": [one]})).await.refused(404, "not_found");
}
