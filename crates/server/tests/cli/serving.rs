//! `bilin serve`: what it refuses, that it answers, and that it owns the data folder while it runs.

use crate::client;
use crate::workspace::Workspace;
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::time::Duration;

/// A service of a workspace; ended when dropped.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    fn start(workspace: &Workspace) -> Service {
        Service::start_with(workspace, &[])
    }

    fn start_with(workspace: &Workspace, variables: &[(&str, &str)]) -> Service {
        let mut command = workspace.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
        let mut child = command.envs(variables.iter().copied()).spawn().unwrap();
        let address = client::listening(&mut child);
        Service { child, address }
    }

    /// Status and body of one request.
    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        client::request(self.address, method, path, body)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_search_is_answered_and_the_folder_is_owned() {
    let workspace = Workspace::with_notes();
    let mut service = Service::start(&workspace);
    let (status, body) =
        service.request("POST", "/text-search", r#"{"query": "FAISS的架构包含哪些模块?", "top_k": 3}"#);
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert!(answer["results"][0]["text"].as_str().unwrap().contains("三个模块"), "{answer}");

    for arguments in [
        &["search", "notes", "FAISS"][..],
        &["collections"],
        &["add", "notes", "corpus.txt"],
        &["demo", "--no-serve"],
    ] {
        let run = workspace.run(arguments).exits(1);
        assert!(run.stderr.contains("error: ") && run.stderr.contains("bilin-data"), "{}", run.stderr);
        run.hints("HTTP");
    }
    // What needs no data folder goes on working.
    workspace.run_on(b"words\n", &["encode"]).exits(0);
    workspace.run(&["config"]).exits(0);
    workspace.run(&["model", "list"]).exits(0);

    let pid = service.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(service.child.wait().unwrap().code(), Some(0), "a stopped service has done its work");
    workspace.run(&["search", "notes", "FAISS"]).exits(0);
}

#[test]
fn the_lock_outlives_no_process() {
    let workspace = Workspace::with_notes();
    let mut service = Service::start(&workspace);
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    workspace.run(&["search", "notes", "FAISS"]).exits(0);
}

#[test]
fn other_machines_need_a_key() {
    let workspace = Workspace::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let run = workspace.run(&["serve", "--listen", address]).exits(1);
        run.complains(&["API key", address]);
        run.hints("BILIN_API_KEY");
    }
    assert!(!workspace.path("bilin-data").exists(), "refused before anything was made");
    workspace.run(&["serve", "--listen", "8000"]).exits(2).complains(&["--listen", "8000"]);
}

#[test]
fn a_taken_port_is_told_before_the_work() {
    let workspace = Workspace::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in ["serve", "demo"] {
        let run = workspace.run(&[command, "--listen", &address]).exits(1);
        run.complains(&[&address]);
        run.hints("--listen");
    }
    assert!(!workspace.path("bilin-data").exists());
}

#[test]
fn a_served_collection_gets_its_index_and_its_backup_by_itself() {
    let workspace = Workspace::new();
    let variables = [("BILIN_BACKUPS_EVERY", "1s"), ("BILIN_SETTLE", "0s"), ("BILIN_BACKUPS_KEPT", "2")];
    let mut service = Service::start_with(&workspace, &variables);
    let (status, body) =
        service.request("PUT", "/v1/collections/points", r#"{"dim": 4, "index": "HNSW8", "metric": "l2"}"#);
    assert_eq!(status, 201, "{body}");
    let documents: Vec<String> = (0..400)
        .map(|number| {
            let (a, b) = (number % 20, number / 20);
            format!(r#"{{"id": "{number}", "vector": [{a}, {b}, {}, 1]}}"#, (a * b) % 7)
        })
        .collect();
    let body = format!(r#"{{"documents": [{}]}}"#, documents.join(","));
    let (status, body) = service.request("POST", "/v1/collections/points/documents", &body);
    assert_eq!(status, 200, "{body}");
    let look = || -> Value {
        let (status, body) = service.request("GET", "/v1/collections/points", "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    let backups = || {
        let folder = std::fs::read_dir(workspace.path("bilin-data/backups/points")).into_iter().flatten();
        folder.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count()
    };
    let started = std::time::Instant::now();
    while look()["index"]["generation"].is_null() || backups() == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain: {} {}", look(), backups());
        std::thread::sleep(Duration::from_millis(50));
    }
    let view = look();
    assert_eq!((&view["index"]["current"], &view["health"]), (&"HNSW8".into(), &"ok".into()), "{view}");
    assert!(view["live_recall"].is_null() && view.get("live_recall").is_some(), "{view}");

    let pid = service.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
    let listed = workspace.run(&["collections", "points", "--json"]).exits(0).json();
    assert_eq!((&listed[0]["generation"], &listed[0]["live_recall"]), (&1.into(), &Value::Null));
}
