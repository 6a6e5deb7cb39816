//! Searching collections, and encoding texts.

use crate::service::{Service, picture};
use base64::Engine as _;
use serde_json::{Value, json};

fn ids(body: &Value) -> Vec<&str> {
    body["results"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn text_search_answers_with_scores_timings_and_commit() {
    let service = Service::new().with_sentences().await;
    let body = service
        .post("/v1/collections/course/search", &json!({"text": "FAISS的架构包含哪些模块?", "mode": "dense"}))
        .await
        .expect(200);
    assert_eq!(
        body.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["results", "degraded", "reranked", "seq", "mode", "timings_ms", "cached"]
    );
    assert_eq!(body["results"].as_array().unwrap().len(), 3, "default top_k is 10, and there are 3");
    let first = &body["results"][0];
    assert_eq!(first["id"], "text_corpus.txt/5");
    assert_eq!(first["metadata"]["total_sentences"], 6, "numbers stay numbers here");
    assert_eq!(first["score"], first["similarity"], "cosine collection");
    let timings = &body["timings_ms"];
    let sum = ["encode", "search", "fetch"].iter().map(|k| timings[*k].as_f64().unwrap()).sum::<f64>();
    assert!(timings["total"].as_f64().unwrap() >= sum - 0.01, "{timings}");
    assert_eq!((&body["cached"], &body["degraded"], &body["seq"]), (&json!(false), &json!([]), &json!(1)));
}

#[tokio::test]
async fn words_are_found_in_either_script_with_snippets_and_the_best_of_each_document() {
    let service = Service::new().with_sentences().await;
    let path = "/v1/collections/course/search";
    let body =
        service.post(path, &json!({"text": "架構包含", "mode": "lexical", "top_k": 1})).await.expect(200);
    assert_eq!((&body["mode"], ids(&body)), (&json!("lexical"), vec!["text_corpus.txt/5"]));
    let first = &body["results"][0];
    assert_eq!(first["score"], first["lexical"]);
    assert!(first["similarity"].as_f64().is_some_and(|cosine| cosine > 0.5), "{first}");
    let snippet: Vec<char> = first["snippet"]["text"].as_str().unwrap().chars().collect();
    let marks: Vec<[usize; 2]> = serde_json::from_value(first["snippet"]["highlights"].clone()).unwrap();
    let marked: Vec<String> =
        marks.iter().map(|[start, end]| snippet[*start..*end].iter().collect()).collect();
    assert!(marked.iter().any(|mark| mark.contains("架构")), "{marked:?}");
    let body =
        service.post(path, &json!({"text": "「架构主要包含」模块", "mode": "hybrid"})).await.expect(200);
    let text = |result: &Value| result["text"].as_str().unwrap().contains("架构");
    assert!(body["results"].as_array().unwrap().iter().all(text), "{body}");
    for per in ["item", "section", "document"] {
        let body = service.post(path, &json!({"text": "FAISS", "per": per})).await.expect(200);
        assert_eq!(ids(&body).len(), 3, "three documents of one item");
    }
    let pictures = service.with_pictures().await;
    let refused =
        pictures.post("/v1/collections/pictures/search", &json!({"text": "red", "mode": "lexical"})).await;
    assert!(refused.refused(422, "invalid_input").contains("lexical"));
}

#[tokio::test]
async fn like_finds_neighbours_without_itself_and_filters_hold() {
    let service = Service::new().with_sentences().await;
    let path = "/v1/collections/course/search";
    let body = service.post(path, &json!({"like": "text_corpus.txt/5"})).await.expect(200);
    assert_eq!(body["results"].as_array().unwrap().len(), 2);
    assert!(!ids(&body).contains(&"text_corpus.txt/5"));
    let body =
        service.post(path, &json!({"text": "架构", "filter": "sentence_id = \"3\""})).await.expect(200);
    assert_eq!(ids(&body), ["text_corpus.txt/3"]);
    let body =
        service.post(path, &json!({"text": "架构", "filter": "sentence_id = \"99\""})).await.expect(200);
    assert_eq!(body["results"], json!([]));
}

#[tokio::test]
async fn bare_vectors_are_found_by_squared_l2() {
    let service = Service::new();
    service.put("/v1/collections/points", &json!({"dim": 2, "metric": "l2"})).await.expect(201);
    let documents = json!({"documents": [{"id": "near", "vector": [1, 1]}, {"id": "far", "vector": [5, 1]}]});
    service.post("/v1/collections/points/documents", &documents).await.expect(200);
    let body = service.post("/v1/collections/points/search", &json!({"vector": [1, 2]})).await.expect(200);
    assert_eq!(ids(&body), ["near", "far"]);
    assert_eq!((&body["results"][0]["score"], &body["results"][1]["score"]), (&json!(1.0), &json!(17.0)));
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_base64() {
    let service = Service::new();
    let input = json!(["向量检索", "a small red bird"]);
    let numbers = service.post("/v1/embeddings", &json!({"input": input})).await.expect(200);
    assert_eq!((&numbers["object"], &numbers["model"]), (&json!("list"), &json!("e5-small-zh-en")));
    assert_eq!(numbers["data"].as_array().unwrap().len(), 2);
    let first: Vec<f32> = serde_json::from_value(numbers["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(first.len(), 384);
    let norm: f32 = first.iter().map(|x| x * x).sum();
    assert!((norm - 1.0).abs() < 1e-4, "{norm}");

    let body = json!({"input": input, "encoding_format": "base64", "user": "someone"});
    let packed = service.post("/v1/embeddings", &body).await.expect(200);
    let bytes =
        base64::prelude::BASE64_STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let unpacked: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let worst = first.iter().zip(&unpacked).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{worst}");
}

#[tokio::test]
async fn examples_stand_together_and_against_others() {
    let service = Service::new().with_pictures().await;
    let path = "/v1/collections/pictures/search";
    let base64 = |bytes: &[u8]| base64::prelude::BASE64_STANDARD.encode(bytes);
    let (red, checks) = (base64(&picture([220, 30, 30], false)), base64(&picture([0; 3], true)));
    let one = service.post(path, &json!({"image": red})).await.expect(200);
    let listed = service.post(path, &json!({"image": [red]})).await.expect(200);
    assert_eq!((&one["results"], ids(&one)[0]), (&listed["results"], "red.png"));
    let body = service.post(path, &json!({"image": [red, checks], "like": ["blue.png"]})).await.expect(200);
    assert_eq!(ids(&body).len(), 2, "blue.png was named");
    let body = service.post(path, &json!({"like": "red.png", "unlike": ["checks.png"]})).await.expect(200);
    assert_eq!(ids(&body), ["blue.png"]);
    let body = service.post(path, &json!({"like": "red.png", "unlike_image": checks})).await.expect(200);
    assert_eq!(ids(&body), ["blue.png", "checks.png"]);
    let part = json!({"image": checks, "region": [0.0, 0.0, 0.125, 0.125]});
    let body = service.post(path, &part).await.expect(200);
    assert_ne!(ids(&body)[0], "checks.png", "one white square is no checker board");
    for (wrong, word) in [
        (json!({"unlike": "red.png"}), "beside text, image or like"),
        (json!({"text": "x", "region": [0, 0, 1, 1]}), "region beside image"),
        (json!({"vector": [1], "like": "red.png"}), "either vector"),
        // Words stand beside pictures where one model reads both, and this one does not.
        (json!({"text": "a red square", "image": red}), "e5-small-zh-en@"),
        (json!({"text": "a red square", "unlike": "red.png"}), "efficientnet-lite0@"),
        (json!({"text": "??", "image": red}), "only punctuation"),
        (json!({"image": [], "like": []}), "should be like"),
        (json!({"image": vec![&red; 9]}), "at most 8"),
        (json!({"like": 7}), "a text or a list of texts"),
        (json!({"image": red, "region": [0, 0, 1]}), "region"),
        (json!({"image": red, "region": [0.5, 0, 0.6, 1]}), "within the picture"),
        (json!({"image": [red, checks], "region": [0, 0, 1, 1]}), "exactly one picture"),
        (json!({"image": [red, "?"]}), "base64"),
    ] {
        let told = service.post(path, &wrong).await.refused(422, "invalid_input");
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[tokio::test]
async fn words_stand_beside_documents_of_a_text_collection() {
    let service = Service::new().with_sentences().await;
    let path = "/v1/collections/course/search";
    let like = json!({"like": "text_corpus.txt/5", "text": "FAISS"});
    let body = service.post(path, &like).await.expect(200);
    assert!(!ids(&body).contains(&"text_corpus.txt/5"), "what was named is not answered");
    assert_eq!((&body["mode"], ids(&body).len()), (&json!("dense"), 2));
    let alone = service.post(path, &json!({"like": "text_corpus.txt/5"})).await.expect(200);
    assert_ne!(body["results"][0]["similarity"], alone["results"][0]["similarity"], "another query");
    let away = service.post(path, &json!({"text": "FAISS", "unlike": "text_corpus.txt/5"})).await.expect(200);
    assert_eq!(ids(&away).len(), 2);
}

#[tokio::test]
async fn values_of_a_field_come_with_their_counts() {
    let service = Service::new().with_pictures().await;
    let path = "/v1/collections/pictures/facets";
    let body = service.get(&format!("{path}?field=category")).await.expect(200);
    let plain = json!([{"value": "plain", "count": 3}]);
    assert_eq!(body, json!({"field": "category", "values": plain, "others": 0}));
    let some = service.get(&format!("{path}?field=product_id&filter=price%20%3E%205")).await.expect(200);
    assert_eq!(some["values"], json!([]));
    for wrong in ["", "?field=", "?field=a%22b", "?field=a&filter=%3D", "?field=a&more=1"] {
        service.get(&format!("{path}{wrong}")).await.refused(422, "invalid_input");
    }
    service.get("/v1/collections/nowhere/facets?field=a").await.refused(404, "not_found");
}

#[tokio::test]
async fn duplicates_are_grouped_and_archives_of_pictures_taken_in() {
    let service = Service::new().with_pictures().await;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in
        [("reds/again.png", picture([220, 30, 30], false)), ("other.png", picture([9, 200, 9], false))]
    {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, &content).unwrap();
    }
    let archive = writer.finish().unwrap().into_inner();
    let form = [("file", Some("more.zip"), archive.as_slice()), ("metadata", None, br#"{"price": 8}"#)];
    let added = service.form("/v1/collections/pictures/documents", &form).await.expect(200);
    assert_eq!(added["ids"], json!(["more.zip/reds/again.png", "more.zip/other.png"]));
    let document =
        service.get("/v1/collections/pictures/documents/more.zip/reds/again.png").await.expect(200);
    let metadata = &document["items"][0]["metadata"];
    assert_eq!((&metadata["category"], &metadata["price"]), (&json!("reds"), &json!(8)));
    let path = "/v1/collections/pictures/duplicates";
    let body = service.get(path).await.expect(200);
    assert_eq!((&body["examined"], &body["complete"]), (&json!(5), &json!(true)));
    let groups = body["groups"].as_array().unwrap();
    assert_eq!((groups.len(), &groups[0]["kind"], &groups[0]["count"]), (1, &json!("exact"), &json!(2)));
    let items: Vec<&str> =
        groups[0]["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect();
    assert_eq!(items, ["red.png", "more.zip/reds/again.png"]);
    let near = service.get(&format!("{path}?similarity=0.1&limit=1")).await.expect(200);
    assert_eq!(near["groups"][0]["kind"], "near", "{near}");
    for wrong in ["similarity=0", "similarity=2", "similarity=x", "limit=0", "limit=99999", "more=1"] {
        service.get(&format!("{path}?{wrong}")).await.refused(422, "invalid_input");
    }
    service.get("/v1/collections/nowhere/duplicates").await.refused(404, "not_found");
}
