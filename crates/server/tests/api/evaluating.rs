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

#[tokio::test]
async fn a_run_tells_how_far_it_is_and_stays_in_the_history() {
    let service = Service::new().with_sentences().await;
    let history = "/v1/collections/course/history";
    assert_eq!(service.get(history).await.expect(200), json!({"evaluations": [], "studies": []}));
    assert_eq!(service.get(PATH).await.expect(200), json!({"under_way": []}));
    let questions: Vec<_> =
        (0..60).map(|number| json!({"question": format!("FAISS支持哪些索引类型?{number}"), "contains": "IndexFlatL2"})).collect();
    let asked =
        json!({"questions": questions, "settings": [{"k": 1}, {"k": 3}], "run": "mine", "resamples": 50});
    let run = service.post(PATH, &asked);
    let look = async {
        let mut seen = Vec::new();
        for _ in 0..20_000 {
            let body = service.get(PATH).await.expect(200);
            seen.extend(body["under_way"].as_array().unwrap().iter().cloned());
            if seen.last().is_some_and(|last| last["stage"] == "asking" && last["done"].as_u64().unwrap() > 0)
            {
                break;
            }
            tokio::task::yield_now().await;
        }
        seen
    };
    let (answer, seen) = tokio::join!(run, look);
    answer.expect(200);
    let last = seen.last().expect("it was under way");
    assert_eq!((&last["run"], &last["total"]), (&json!("mine"), &json!(120)), "{last}");
    assert_eq!(service.get(PATH).await.expect(200), json!({"under_way": []}), "it was answered");
    let body = service.get(history).await.expect(200);
    let past = &body["evaluations"][0];
    assert_eq!((&past["questions"], past["runs"].as_array().unwrap().len()), (&json!(60), 2), "{past}");
    assert!(
        past["runs"][1]["figures"]["hit_at_3"].is_f64()
            && past["at_unix_s"].as_u64().unwrap() > 1_700_000_000,
        "{past}"
    );
    service.delete(history).await.expect(204);
    assert_eq!(service.get(history).await.expect(200)["evaluations"], json!([]));
    service.get("/v1/collections/none/history").await.refused(404, "not_found");
    let long = json!({"questions": questions, "run": "x".repeat(65)});
    assert!(service.post(PATH, &long).await.refused(422, "invalid_input").contains("run"));
}
