//! `bilin serve --follow`: commits of another server arrive within seconds, verified, and it says honestly how far behind it is.

use crate::client;
use crate::operating::Running;
use crate::workspace::Workspace;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn call(address: SocketAddr, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, text) = client::request(address, method, path, &body);
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ids(address: SocketAddr, collection: &str) -> Vec<String> {
    let path = format!("/v1/collections/{collection}/search");
    let (status, body) = call(address, "POST", &path, &json!({"vector": [1, 0, 0, 0], "top_k": 10}));
    if status != 200 {
        return Vec::new();
    }
    body["results"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

fn add(address: SocketAddr, collection: &str, id: &str, x: f32) {
    let body = json!({"documents": [{"id": id, "vector": [1.0, x, 0, 0]}]});
    let (status, answer) = call(address, "POST", &format!("/v1/collections/{collection}/documents"), &body);
    assert_eq!(status, 200, "{answer}");
}

fn figure(address: SocketAddr, name: &str) -> f64 {
    let (_, text) = client::request(address, "GET", "/metrics", "");
    let line =
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_replica_takes_over_each_commit_refuses_changes_and_tells_its_lag() {
    let (house, copy) = (Workspace::new(), Workspace::new());
    let primary = Running::start(&house, &[]);
    assert_eq!(call(primary.address, "PUT", "/v1/collections/points", &json!({"dim": 4})).0, 201);
    assert_eq!(call(primary.address, "PUT", "/v1/collections/more", &json!({"dim": 4})).0, 201);
    add(primary.address, "points", "a", 0.0);
    let url = format!("http://{}", primary.address);
    let variables = [
        ("BILIN_FOLLOW", url.as_str()),
        ("BILIN_FOLLOW_EVERY", "100ms"),
        ("BILIN_FOLLOW_MAX_LAG_SECONDS", "1"),
        ("BILIN_LOG", "info"),
    ];
    let replica = Running::start(&copy, &variables);
    until("the first commit is there", || ids(replica.address, "points") == ["a"]);
    until("it is ready", || call(replica.address, "GET", "/readyz", &Value::Null).0 == 200);

    for (id, x) in [("b", 0.5), ("c", 1.0)] {
        add(primary.address, "points", id, x);
        let began = Instant::now();
        until("the next commit is there", || ids(replica.address, "points").contains(&id.to_owned()));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    assert_eq!(call(primary.address, "DELETE", "/v1/collections/points/documents/b", &Value::Null).0, 200);
    until("a delete is there", || ids(replica.address, "points") == ["a", "c"]);
    assert_eq!(call(primary.address, "DELETE", "/v1/collections/more", &Value::Null).0, 204);
    until("a removal is there", || {
        call(replica.address, "GET", "/v1/collections/more", &Value::Null).0 == 404
    });
    // The same name anew is another collection, also with the same number of commits.
    assert_eq!(call(primary.address, "PUT", "/v1/collections/more", &json!({"dim": 4})).0, 201);
    add(primary.address, "more", "anew", 0.0);
    until("a collection made anew is there", || ids(replica.address, "more") == ["anew"]);

    for (method, path, body) in [
        ("POST", "/v1/collections/points/documents", json!({"documents": [{"vector": [1, 0, 0, 0]}]})),
        ("DELETE", "/v1/collections/points", Value::Null),
        ("PUT", "/v1/collections/own", json!({"dim": 4})),
        ("POST", "/v1/collections/points/maintain", Value::Null),
    ] {
        let (status, answer) = call(replica.address, method, path, &body);
        assert_eq!((status, &answer["code"]), (403, &json!("read_only")), "{method} {path}");
        assert!(answer["message"].as_str().unwrap().contains(&url), "{answer}");
    }
    assert!(figure(replica.address, "bilin_follow_lag_seconds") < 1.0);
    let health = |address| call(address, "GET", "/health", &Value::Null).1;
    assert_eq!(health(primary.address)["following"], Value::Null);
    let told = health(replica.address);
    assert_eq!((&told["status"], &told["following"]["from"]), (&json!("healthy"), &json!(url)), "{told}");
    assert_eq!((&told["following"]["ready"], &told["following"]["failing"]), (&json!(true), &json!(false)));
    assert!(told["following"]["lag_seconds"].as_f64().unwrap() < 1.0, "{told}");
    // An exchange is seen before it is counted; a look that began after it was seen finds it counted.
    let seen = Instant::now();
    until("a later look has ended", || {
        let since = seen.elapsed().as_secs_f64();
        figure(replica.address, "bilin_follow_lag_seconds") < since
    });
    let switches = figure(replica.address, "bilin_follow_switches_total");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        figure(replica.address, "bilin_follow_switches_total"),
        switches,
        "nothing new, nothing exchanged"
    );
    let quarantine = std::fs::read_dir(copy.path("bilin-data/quarantine"));
    let kept: Vec<_> = quarantine.into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect();
    assert!(kept.is_empty(), "what was replaced is gone: {kept:?}\n{}", replica.log());

    // Without its primary it serves on and says that it is behind; what it has outlives a restart.
    let at = primary.address.to_string();
    drop(primary);
    until("it says that it is behind", || call(replica.address, "GET", "/readyz", &Value::Null).0 == 503);
    assert_eq!(call(replica.address, "GET", "/readyz", &Value::Null).1["code"], "behind");
    assert_eq!(ids(replica.address, "points"), ["a", "c"]);
    assert!(figure(replica.address, "bilin_follow_failing") > 0.0);
    replica.tells(&["cannot follow", &url]);
    let told = health(replica.address);
    assert_eq!((&told["status"], &told["following"]["ready"]), (&json!("degraded"), &json!(false)), "{told}");
    assert!(told["following"]["failing"] == true && told["following"]["lag_seconds"].as_f64().unwrap() > 1.0);
    drop(replica);
    let replica = Running::start(&copy, &variables);
    assert_eq!(ids(replica.address, "points"), ["a", "c"]);
    assert_eq!(call(replica.address, "GET", "/readyz", &Value::Null).0, 503, "nobody knows how old this is");
    let primary = Running::start_at(&house, &at, &[]);
    until("it is in step again", || call(replica.address, "GET", "/readyz", &Value::Null).0 == 200);
    assert_eq!(figure(replica.address, "bilin_follow_switches_total"), 0.0, "it had everything");
    drop((primary, replica));
    // Promoted: without --follow it takes changes, and then it may not be overwritten by following again.
    let promoted = Running::start(&copy, &[]);
    add(promoted.address, "points", "own", 0.1);
    drop(promoted);
    let run = copy.run(&["serve", "--follow", &url, "--listen", "127.0.0.1:0"]).exits(1);
    run.complains(&["collections of its own"]);
    run.hints("--data");
}

#[test]
fn a_folder_of_backups_is_followed_too() {
    let (house, copy) = (Workspace::new(), Workspace::new());
    let shared = house.path("shared");
    let place = format!("file://{}", shared.display());
    let primary = Running::start(&house, &[("BILIN_BACKUP_URL", &place)]);
    assert_eq!(call(primary.address, "PUT", "/v1/collections/points", &json!({"dim": 4})).0, 201);
    let send = || {
        let (status, answer) = call(primary.address, "POST", "/v1/backups", &json!({"remote": true}));
        assert_eq!(status, 200, "{answer}");
    };
    add(primary.address, "points", "a", 0.0);
    send();
    let variables = [("BILIN_FOLLOW", shared.to_str().unwrap()), ("BILIN_FOLLOW_EVERY", "100ms")];
    let replica = Running::start(&copy, &variables);
    until("the backup is there", || ids(replica.address, "points") == ["a"]);
    add(primary.address, "points", "b", 0.5);
    send();
    until("the next one is there", || ids(replica.address, "points") == ["a", "b"]);
    until("it is ready", || call(replica.address, "GET", "/readyz", &Value::Null).0 == 200);
    let answer = call(replica.address, "PUT", "/v1/collections/own", &json!({"dim": 4}));
    assert_eq!((answer.0, &answer.1["code"]), (403, &json!("read_only")));
    drop(replica);
    let run = copy.run(&["serve", "--follow", "nowhere/at/all", "--listen", "127.0.0.1:0"]).exits(1);
    run.complains(&["nowhere/at/all"]);
}
