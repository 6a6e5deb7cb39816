//! Making, listing, looking at and removing collections.

use crate::service::Service;
use serde_json::json;

#[tokio::test]
async fn a_collection_is_made_listed_and_removed() {
    let service = Service::new();
    let made = service.put("/v1/collections/points", &json!({"dim": 8, "metric": "l2"})).await.expect(201);
    for (field, value) in [
        ("name", json!("points")),
        ("kind", json!("vector")),
        ("count", json!(0)),
        ("dim", json!(8)),
        ("metric", json!("l2")),
        ("model", json!(null)),
        ("health", json!("ok")),
    ] {
        assert_eq!(made[field], value, "{field} of {made}");
    }
    service.put("/v1/collections/points", &json!({"dim": 8})).await.refused(409, "conflict");
    service.put("/v1/collections/notes", &json!({})).await.expect(201);
    let list = service.get("/v1/collections").await.expect(200);
    let names: Vec<_> = list["collections"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["notes", "points"]);
    let notes = service.get("/v1/collections/notes").await.expect(200);
    assert_eq!((&notes["kind"], &notes["dim"]), (&json!("text"), &json!(384)));

    service.delete("/v1/collections/points").await.expect(204);
    service.get("/v1/collections/points").await.refused(404, "not_found");
}

#[tokio::test]
async fn the_list_shows_what_an_add_did() {
    let service = Service::new().with_sentences().await;
    let course = service.get("/v1/collections/course").await.expect(200);
    assert_eq!((&course["count"], &course["documents"]), (&json!(3), &json!(3)));
    assert_eq!(course["seq"], 1);
    assert_eq!(course["index"]["requested"], "auto");
    assert_eq!(course["index"]["current"], "Flat");
    assert_eq!(course["recall"], 1.0);
    assert!(course["disk_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn collections_are_merged_and_clashes_refused() {
    let service = Service::new();
    for name in ["a", "b"] {
        service.put(&format!("/v1/collections/{name}"), &json!({"dim": 2, "metric": "l2"})).await.expect(201);
        let documents = json!({"documents": [
            {"id": "both", "vector": [1, 2], "metadata": {"of": name}}, {"id": name, "vector": [3, 4]}]});
        service.post(&format!("/v1/collections/{name}/documents"), &documents).await.expect(200);
    }
    let route = "/v1/collections/a/merge";
    let message = service.post(route, &json!({"sources": ["b"]})).await.refused(409, "conflict");
    assert!(message.contains("\"both\""), "{message}");
    service.post(route, &json!({"sources": []})).await.refused(422, "invalid_input");
    service.post(route, &json!({"sources": ["a"]})).await.refused(422, "invalid_input");
    service.post(route, &json!({"sources": ["c"]})).await.refused(404, "not_found");
    service.post(route, &json!({"sources": ["b"], "rule": "keep"})).await.refused(422, "invalid_input");
    service.put("/v1/collections/wide", &json!({"dim": 3, "metric": "l2"})).await.expect(201);
    let message = service.post(route, &json!({"sources": ["wide"]})).await.refused(409, "conflict");
    assert!(message.contains("dimension"), "{message}");
    let merged = service.post(route, &json!({"sources": ["b"], "on_conflict": "replace"})).await.expect(200);
    assert_eq!(
        (&merged["created"], &merged["added"], &merged["updated"]),
        (&json!(false), &json!(1), &json!(1))
    );
    let both = service.get("/v1/collections/a/documents/both").await.expect(200);
    assert!(both.to_string().contains("\"of\":\"b\""), "{both}");
    let made = service.post("/v1/collections/new/merge", &json!({"sources": ["a"]})).await.expect(200);
    assert_eq!((&made["created"], &made["added"], &made["kept"]), (&json!(true), &json!(3), &json!(0)));
}
