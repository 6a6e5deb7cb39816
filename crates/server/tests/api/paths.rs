//! No path that a caller chooses reaches the file system: a folder is watched that every field and every part of a path
//! names in turn, and nothing in it is opened, read, made or removed.

use crate::service::{Service, multipart, picture};
use axum::http::Method;
use bilin_server::access::ROUTES;
use inotify::{Inotify, WatchMask};
use serde_json::{Value, json};
use std::path::Path;

/// What happened in the folder since the last look.
fn events(inotify: &mut Inotify) -> Vec<String> {
    let mut buffer = [0; 4096];
    match inotify.read_events(&mut buffer) {
        Ok(events) => events.map(|event| format!("{:?} {:?}", event.mask, event.name)).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Ways to say where the folder is, from wherever a name might be put behind.
fn spellings(canary: &Path) -> Vec<String> {
    let absolute = canary.display().to_string();
    let mut all = vec![
        absolute.clone(),
        format!("file://{absolute}"),
        format!("{absolute}/a"),
        format!("x/{absolute}"),
    ];
    for ups in ["../", "../../", "../../../", "../../../../"] {
        all.push(format!("{ups}canary"));
        all.push(format!("a/{ups}{ups}canary"));
        all.push(format!("{ups}canary/model.safetensors"));
        all.push(format!("{ups}canary\0"));
    }
    all.push("..\\canary".to_owned());
    all
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn bodies(path: &str) -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("PUT", "/v1/collections/c1", json!({"model": path})),
        ("PUT", "/v1/collections/c2", json!({"model": path, "kind": "image"})),
        ("PUT", "/v1/collections/c3", json!({"dim": 2, "index": path, "metric": path})),
        ("POST", "/v1/collections/points/reencode", json!({"model": path})),
        ("POST", "/v1/collections/points/merge", json!({"sources": [path]})),
        ("POST", "/v1/collections/points/delete", json!({"ids": [path]})),
        ("POST", "/v1/collections/points/search", json!({"like": path})),
        ("POST", "/v1/collections/points/search", json!({"image": path})),
        (
            "POST",
            "/v1/collections/points/search",
            json!({"vector": [1, 0], "filter": format!("a = \"{path}\"")}),
        ),
        (
            "POST",
            "/v1/collections/points/documents",
            json!({"documents": [{"id": path, "vector": [1, 0], "metadata": {"image_path": path, "source": path, path: path}}]}),
        ),
        ("POST", "/v1/embeddings", json!({"model": path, "input": path})),
        ("POST", "/text-search", json!({"query": path})),
        ("POST", "/v1/backups", json!({"collection": path})),
        ("POST", "/v1/backups/restore", json!({"collection": path, "at": path})),
        ("POST", "/v1/backups/restore", json!({"collection": "points", "at": path, "remote": true})),
        ("POST", "/v1/backups/verify", json!({"collection": path, "time": path})),
        ("POST", "/v1/backups/prune", json!({"collection": path, "keep": 1})),
    ]
}

#[tokio::test]
async fn no_path_of_a_callers_choice_reaches_the_file_system() {
    let service = Service::new();
    let canary = service.folder.path().join("canary");
    std::fs::create_dir_all(canary.join("a")).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "a/1"] {
        std::fs::write(canary.join(file), "{}").unwrap();
    }
    service.put("/v1/collections/points", &json!({"dim": 2})).await.expect(201);
    let mut inotify = Inotify::init().unwrap();
    for folder in [canary.clone(), canary.join("a")] {
        inotify.watches().add(folder, WatchMask::ALL_EVENTS).unwrap();
    }
    // The watch sees what it is for.
    std::fs::read(canary.join("config.json")).unwrap();
    assert!(events(&mut inotify).iter().any(|event| event.contains("OPEN")));
    for path in spellings(&canary) {
        for (method, route, body) in bodies(&path) {
            let method: Method = method.parse().unwrap();
            let body = body.to_string().into_bytes();
            let answer = service.call(method, route, Some(("application/json", body))).await;
            assert!(answer.status.as_u16() < 500, "{route} with {path:?}: {}", answer.status);
            assert_eq!(events(&mut inotify), [""; 0], "{route} with {path:?}");
        }
        for route in ROUTES.iter().filter(|route| route.template.contains('{')) {
            let mut at = route.template.to_owned();
            for part in ["{collection}", "{*id}", "{time}", "{taken}", "{file}", "{*path}", "{*rest}"] {
                at = at.replace(part, &encoded(&path));
            }
            let body = Some(("application/json", b"{}".to_vec()));
            let answer = service.call(route.method.parse().unwrap(), &at, body).await;
            assert!(answer.status.as_u16() < 500, "{route:?} with {path:?}: {}", answer.status);
            assert_eq!(events(&mut inotify), [""; 0], "{route:?} with {path:?}");
        }
        if !path.contains('\0') {
            let png = picture([1, 2, 3], true);
            let form = multipart(&[("file", Some(&path), &png), ("metadata", None, b"{}")]);
            for at in
                ["/v1/collections/points/documents", "/v1/collections/pictures/documents", "/image-search"]
            {
                let body = Some(("multipart/form-data; boundary=EDGE", form.clone()));
                let answer = service.call(Method::POST, at, body).await;
                assert!(answer.status.as_u16() < 500, "{at} with {path:?}: {}", answer.status);
                assert_eq!(events(&mut inotify), [""; 0], "{at} with {path:?}");
            }
        }
    }
    let left: Vec<_> =
        std::fs::read_dir(service.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "only data and canary: {left:?}");
}
