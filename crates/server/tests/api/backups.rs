//! Backups over HTTP, restoring beside searches, verifying, maintaining, deleting by filter.

use crate::service::Service;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

async fn with_points(count: usize) -> Service {
    let service = Service::new();
    service.put("/v1/collections/points", &json!({"dim": 2, "metric": "l2"})).await.expect(201);
    add(&service, 0, count).await;
    service
}

async fn add(service: &Service, from: usize, count: usize) {
    let documents: Vec<Value> = (from..from + count)
        .map(|at| {
            json!({"id": at.to_string(), "vector": [at, 1],
                "metadata": {"at": at, "parity": if at % 2 == 0 { "even" } else { "odd" }}})
        })
        .collect();
    service.post("/v1/collections/points/documents", &json!({"documents": documents})).await.expect(200);
}

fn count(collection: &Value) -> u64 {
    collection["count"].as_u64().unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn backups_of(service: &Service) -> PathBuf {
    service.folder.path().join("data/backups/points")
}

#[tokio::test]
async fn backups_are_made_listed_restored_and_removed() {
    let service = with_points(4).await;
    assert_eq!(service.get("/v1/backups").await.expect(200), json!({"backups": [], "bad": []}));
    let first = service.post("/v1/backups", &json!({"collection": "points"})).await.expect(200);
    let first = &first["backups"][0];
    assert_eq!(
        (&first["collection"], &first["items"], &first["seq"]),
        (&json!("points"), &json!(4), &json!(1))
    );
    add(&service, 4, 3).await;
    // No body at all means every collection.
    let second = service.call(axum::http::Method::POST, "/v1/backups", None).await.expect(200);
    assert_eq!(second["backups"][0]["items"], 7);
    let listed = service.get("/v1/backups?collection=points").await.expect(200);
    let times: Vec<&Value> = listed["backups"].as_array().unwrap().iter().map(|one| &one["time"]).collect();
    assert_eq!(times, [&second["backups"][0]["time"], &first["time"]], "newest first");

    // By its name, and as people write times.
    let time = first["time"].as_str().unwrap();
    let restore = json!({"collection": "points", "at": time});
    let restored = service.post("/v1/backups/restore", &restore).await.expect(200);
    assert_eq!((&restored["backup"]["time"], count(&restored["collection"])), (&first["time"], 4));
    assert_eq!(count(&service.get("/v1/collections/points").await.expect(200)), 4);
    service.post("/v1/backups/restore", &json!({"collection": "points"})).await.expect(200);
    assert_eq!(count(&service.get("/v1/collections/points").await.expect(200)), 7);
    let early = json!({"collection": "points", "at": "2020-01-01T00:00:00Z"});
    assert!(service.post("/v1/backups/restore", &early).await.refused(404, "not_found").contains("that old"));

    let gone = service.delete(&format!("/v1/backups/points/{time}")).await.expect(200);
    assert_eq!(gone["time"], first["time"]);
    service.delete(&format!("/v1/backups/points/{time}")).await.refused(404, "not_found");
    service.delete("/v1/backups/points/yesterday").await.refused(422, "invalid_input");
    for _ in 0..2 {
        service.post("/v1/backups", &json!({"keep": 9})).await.expect(200);
    }
    let removed = service.post("/v1/backups/prune", &json!({"keep": 1})).await.expect(200);
    assert_eq!(removed["backups"].as_array().unwrap().len(), 2);
    assert_eq!(service.get("/v1/backups").await.expect(200)["backups"].as_array().unwrap().len(), 1);

    // A collection that was deleted comes back.
    service.delete("/v1/collections/points").await.expect(204);
    service.post("/v1/backups/restore", &json!({"collection": "points"})).await.expect(200);
    assert_eq!(count(&service.get("/v1/collections/points").await.expect(200)), 7);
}

#[tokio::test]
async fn wishes_that_make_no_sense_are_refused() {
    let service = with_points(1).await;
    for (path, body, status, code) in [
        ("/v1/backups", json!({"kep": 3}), 422, "invalid_input"),
        ("/v1/backups", json!({"keep": 0}), 422, "invalid_input"),
        ("/v1/backups", json!({"collection": "nots"}), 404, "not_found"),
        ("/v1/backups/restore", json!({"collection": "points"}), 404, "not_found"),
        ("/v1/backups/restore", json!({"collection": "../x"}), 422, "invalid_input"),
        ("/v1/backups/restore", json!({}), 422, "invalid_input"),
        ("/v1/backups/restore", json!({"collection": "points", "at": "soon"}), 422, "invalid_input"),
        ("/v1/backups/prune", json!({}), 422, "invalid_input"),
        ("/v1/backups/prune", json!({"keep": 0}), 422, "invalid_input"),
        ("/v1/backups/verify", json!({"time": "20200101T000000Z"}), 422, "invalid_input"),
        ("/v1/collections/points/verify", json!({"depp": true}), 422, "invalid_input"),
        ("/v1/collections/nots/verify", json!({}), 404, "not_found"),
        ("/v1/collections/nots/maintain", json!({}), 404, "not_found"),
        ("/v1/collections/nots/acknowledge", json!({}), 404, "not_found"),
    ] {
        service.post(path, &body).await.refused(status, code);
    }
    service.get("/v1/backups?colection=points").await.refused(422, "invalid_input");
    service.get("/v1/backups?collection=..%2Fx").await.refused(422, "invalid_input");
}

#[tokio::test]
async fn damage_is_found_in_backups_and_in_collections() {
    let service = with_points(50).await;
    service.post("/v1/backups", &json!({})).await.expect(200);
    service.post("/v1/backups", &json!({})).await.expect(200);
    let whole = service.post("/v1/backups/verify", &json!({})).await.expect(200);
    assert_eq!((whole["verified"].as_array().unwrap().len(), &whole["damaged"]), (2, &json!([])));
    let time = whole["verified"][0]["time"].as_str().unwrap();
    flip(&backups_of(&service).join(time).join("catalog.sqlite"), 4500);
    let found = service.post("/v1/backups/verify", &json!({"collection": "points"})).await.expect(200);
    assert_eq!(found["verified"].as_array().unwrap().len(), 1);
    assert_eq!(found["damaged"][0]["time"], time);
    assert!(found["damaged"][0]["reason"].as_str().unwrap().contains("catalog.sqlite"), "{found}");
    let one = json!({"collection": "points", "time": time});
    assert_eq!(service.post("/v1/backups/verify", &one).await.expect(200)["verified"], json!([]));
    // It is not restored either, and nothing changes.
    let newest = json!({"collection": "points"});
    service.post("/v1/backups/restore", &newest).await.refused(500, "damaged");
    flip(&backups_of(&service).join(time).join("manifest.json"), 30);
    let listed = service.get("/v1/backups").await.expect(200);
    assert_eq!((listed["backups"].as_array().unwrap().len(), &listed["bad"][0]["time"]), (1, &json!(time)));

    let verified = service.post("/v1/collections/points/verify", &json!({"deep": true})).await.expect(200);
    assert_eq!((&verified["status"], &verified["found"]["items"]), (&json!("ok"), &json!(50)));
    flip(&service.folder.path().join("data/collections/points/vectors/000000.rows"), 4096 + 9);
    let damaged = service.post("/v1/collections/points/verify", &json!({})).await.expect(200);
    assert_eq!(damaged["status"], "damaged");
    assert!(damaged["reason"].as_str().unwrap().contains("block 0"), "{damaged}");
}

#[tokio::test]
async fn maintenance_is_done_on_request_and_told_with_its_reason() {
    let service = with_points(300).await;
    let done = service.post("/v1/collections/points/maintain", &json!({})).await.expect(200);
    assert!(done["done"].as_str().unwrap().contains("exactly"), "{done}");
    let forced = service.post("/v1/collections/points/maintain", &json!({"force": true})).await.expect(200);
    assert!(forced["done"].as_str().is_some_and(|done| !done.is_empty()), "{forced}");
    let nothing = service.post("/v1/collections/points/acknowledge", &json!({})).await.expect(200);
    assert_eq!(nothing, json!({"acknowledged": null}));
}

#[tokio::test]
async fn documents_are_deleted_by_ids_or_by_filter_in_one_commit() {
    let service = with_points(10).await;
    let path = "/v1/collections/points/delete";
    let gone = service.post(path, &json!({"ids": ["0", "1", "nobody"]})).await.expect(200);
    assert_eq!(gone, json!({"seq": 2, "deleted": 2}));
    let gone = service.post(path, &json!({"filter": "parity = \"even\" AND at < 7"})).await.expect(200);
    assert_eq!(gone, json!({"seq": 3, "deleted": 3}));
    let none = service.post(path, &json!({"filter": "at > 100"})).await.expect(200);
    assert_eq!(none, json!({"seq": 3, "deleted": 0}));
    assert_eq!(count(&service.get("/v1/collections/points").await.expect(200)), 5);
    for wrong in [
        json!({}),
        json!({"ids": ["3"], "filter": "at = 3"}),
        json!({"filter": "at ="}),
        json!({"filter": ""}),
        json!({"ids": "3"}),
        json!({"all": true}),
    ] {
        service.post(path, &wrong).await.refused(422, "invalid_input");
    }
    service.post("/v1/collections/nots/delete", &json!({"ids": ["3"]})).await.refused(404, "not_found");
    assert_eq!(count(&service.get("/v1/collections/points").await.expect(200)), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_go_on_while_a_backup_is_restored() {
    let service = with_points(40).await;
    service.post("/v1/backups", &json!({})).await.expect(200);
    add(&service, 40, 40).await;
    service.post("/v1/backups", &json!({})).await.expect(200);
    let times: Vec<Value> = service.get("/v1/backups").await.expect(200)["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["time"].clone())
        .collect();
    let (stop, looks) = (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    let search = async || {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            // Another query each time, so that none is answered from memory.
            let effort = looks.load(std::sync::atomic::Ordering::Relaxed) + 1;
            let body = json!({"vector": [79, 1], "top_k": 1, "effort": effort});
            let found = service.post("/v1/collections/points/search", &body).await.expect(200);
            let (id, at) = (&found["results"][0]["id"], &found["results"][0]["metadata"]["at"]);
            assert!(id == "79" || id == "39", "the one or the other: {found}");
            assert_eq!(id.as_str().unwrap(), at.to_string(), "metadata fits: {found}");
            looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let restores = async {
        for turn in 0..10 {
            let restore = json!({"collection": "points", "at": times[turn % 2]});
            service.post("/v1/backups/restore", &restore).await.expect(200);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    futures_util::future::join4(restores, search(), search(), search()).await;
    assert!(looks.load(std::sync::atomic::Ordering::Relaxed) >= 10, "searches went on meanwhile");
}
