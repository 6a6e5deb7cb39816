//! The tutorial's contract: field names, types, order and defaults.

use crate::service::{Service, picture};
use serde_json::{Value, json};

#[tokio::test]
async fn the_architecture_sentence_comes_first_in_the_tutorials_shape() {
    let service = Service::new().with_sentences().await;
    let body = service
        .post("/text-search", &json!({"query": "FAISS的架构包含哪些模块?", "top_k": 3}))
        .await
        .expect(200);
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["query", "results"]);
    assert_eq!(body["query"], "FAISS的架构包含哪些模块?");
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["metadata"]["sentence_id"], "5", "{body}");
    for (i, result) in results.iter().enumerate() {
        assert_eq!(
            result.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["rank", "similarity", "text", "metadata"]
        );
        assert_eq!(result["rank"], i + 1);
        let similarity = result["similarity"].as_f64().unwrap();
        assert!((-1.0..=1.0).contains(&similarity));
        assert_eq!(
            format!("{similarity}"),
            format!("{}", (similarity * 1e4).round() / 1e4),
            "rounded to 4 places"
        );
        assert!(result["metadata"].as_object().unwrap().values().all(Value::is_string), "{result}");
        assert_eq!(result["metadata"]["total_sentences"], "6", "a number became a string");
    }
}

#[tokio::test]
async fn three_results_are_the_default_and_more_than_there_is_gives_what_there_is() {
    let service = Service::new().with_sentences().await;
    let body = service.post("/text-search", &json!({"query": "索引"})).await.expect(200);
    assert_eq!(body["results"].as_array().unwrap().len(), 3);
    let body = service.post("/text-search", &json!({"query": "索引", "top_k": 1000})).await.expect(200);
    assert_eq!(body["results"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn pictures_are_found_by_a_form() {
    let service = Service::new().with_pictures().await;
    let red = picture([220, 30, 30], false);
    let body = service
        .form("/image-search", &[("file", Some("query.png"), &red), ("top_k", None, b"2")])
        .await
        .expect(200);
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    let first = &results[0];
    assert_eq!(first["rank"], 1);
    assert_eq!(first["product_id"], "red");
    assert_eq!(first["image_path"], "red.png");
    assert_eq!(first["category"], "plain");
    assert_eq!(first["price"], 3);
    assert!(first["similarity"].as_f64().unwrap() > 0.999, "{first}");
    assert!(first["l2_distance"].as_f64().unwrap() < 0.001, "{first}");
    assert_eq!(first["metadata"]["price"], 3);
    let body = service.form("/image-search?top_k=1", &[("file", Some("q.png"), &red)]).await.expect(200);
    assert_eq!(body["results"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn health_reports_the_default_text_collection() {
    let service = Service::new();
    let body = service.get("/health").await.expect(200);
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["index_vector_count"], 0);
    assert_eq!(body["corpus_source"], "");
    assert_eq!(body["collections"], json!([]));

    let service = service.with_sentences().await;
    let body = service.get("/health").await.expect(200);
    assert_eq!(body["index_vector_count"], 3);
    assert_eq!(body["total_sentences"], 3);
    assert_eq!(body["model_path"], "e5-small-zh-en");
    assert!(body["corpus_source"].as_str().unwrap().ends_with("collections/course"), "{body}");
    assert_eq!(body["collections"][0]["name"], "course");
}

#[tokio::test]
async fn without_a_collection_the_search_says_how_to_make_one() {
    let service = Service::new();
    let message = service.post("/text-search", &json!({"query": "x"})).await.refused(404, "not_found");
    assert!(message.contains("no collection"), "{message}");
}
