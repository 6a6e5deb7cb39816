//! A disk that is really full: 507 with a hint for what adds, 200 for reads and deletes, and adds again once there is room.

use crate::mounted::{Mounted, fill};
use crate::service::Service;
use axum::http::Method;
use serde_json::{Value, json};
use std::fs;

const DIM: usize = 256;
const MIB: usize = 1 << 20;

fn documents(first: usize, count: usize) -> Value {
    let vector = |number: usize| (0..DIM).map(|at| ((number + at) % 17) as f32 + 0.5).collect::<Vec<_>>();
    let new =
        (first..first + count).map(|number| json!({"id": number.to_string(), "vector": vector(number)}));
    json!({"documents": new.collect::<Vec<_>>()})
}

/// Searches, and counts: what was answered with 200, less what was deleted.
async fn is_whole(service: &Service, count: usize) {
    let info = service.get("/v1/collections/notes").await.expect(200);
    assert_eq!((&info["count"], &info["health"]), (&json!(count), &json!("ok")), "{info}");
    let query = json!({"vector": vec![0.5; DIM], "top_k": 5});
    let found = service.post("/v1/collections/notes/search", &query).await.expect(200);
    assert_eq!(found["results"].as_array().map(Vec::len), Some(5), "{found}");
}

#[tokio::test]
async fn a_full_disk_refuses_what_adds_and_serves_the_rest() {
    let service = Service::new();
    let place = service.folder.path().join("data");
    let (mut mounted, at) = (None, place.clone());
    let service = service.reopened(|| mounted = Some(Mounted::tmpfs(&at, 28)));
    let filler = place.join("filler");
    fs::write(&filler, vec![7; 4 * MIB]).unwrap();
    service.put("/v1/collections/notes", &json!({"dim": DIM, "metric": "l2"})).await.expect(201);
    let add = "/v1/collections/notes/documents";
    let mut count = 0;
    for batch in [200, 20, 1] {
        loop {
            let answer = service.post(add, &documents(count, batch)).await;
            if answer.status != 200 {
                let message = answer.refused(507, "no_space");
                assert!(message.contains("notes"), "{message}");
                break;
            }
            count += batch;
        }
    }
    fill(&filler);
    assert!(count > 1_000, "{count} fitted");
    is_whole(&service, count).await;
    let merge = json!({"sources": ["notes"]});
    service.post("/v1/collections/copy/merge", &merge).await.refused(507, "no_space");
    service.get("/v1/collections/copy").await.refused(404, "not_found");
    service.post("/v1/backups", &json!({"collection": "notes"})).await.refused(507, "no_space");

    for number in 0..20 {
        let gone = service.call(Method::DELETE, &format!("{add}/{number}"), None).await;
        assert_eq!(gone.expect(200)["deleted"], json!(1));
    }
    is_whole(&service, count - 20).await;
    service.post(add, &documents(count, 200)).await.refused(507, "no_space");
    let service = service.reopened(|| {});
    is_whole(&service, count - 20).await;

    fs::remove_file(&filler).unwrap();
    service.post(add, &documents(count, 20)).await.expect(200);
    is_whole(&service, count).await;
    let verified = service.post("/v1/collections/notes/verify", &json!({"deep": true})).await;
    verified.expect(200);
    drop(service);
    drop(mounted);
}
