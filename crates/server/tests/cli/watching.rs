//! `bilin add --watch` and the sources of `bilin serve`: what happens to files is searchable within seconds.

use crate::client;
use crate::small_model::small_model;
use crate::workspace::Workspace;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Within seconds, on a machine that does much else: what is promised is five.
const SOON: Duration = Duration::from_secs(30);

/// A running process, ended when dropped.
struct Running {
    child: Child,
}

impl Running {
    /// As a terminal does it.
    fn stops(mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < SOON, "it goes on after {signal}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service that watches `course` for the collection `notes`, which a small model reads.
struct Service {
    running: Running,
    address: SocketAddr,
    workspace: Workspace,
}

impl Service {
    fn start() -> Service {
        Service::start_with("500ms")
    }

    /// Files must rest for `settle` before they are read.
    fn start_with(settle: &str) -> Service {
        let workspace = Workspace::new();
        small_model(&workspace.path("small"), 16, 3);
        fs::create_dir(workspace.path("course")).unwrap();
        Service::in_workspace(workspace, settle)
    }

    fn in_workspace(workspace: Workspace, settle: &str) -> Service {
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--json", "--model", "small", "--watch", "notes=course"];
        let mut child = workspace.command(&arguments).env("BILIN_WATCH_SETTLE", settle).spawn().unwrap();
        let address = client::listening(&mut child);
        Service { running: Running { child }, address, workspace }
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Value {
        let (_, body) = client::request(self.address, method, path, body);
        serde_json::from_str(&body).unwrap()
    }

    /// Every text inside with the file that it is from, sorted; nothing where there is no collection yet.
    fn inside(&self) -> Vec<(String, String)> {
        let body = json!({"text": "a", "top_k": 1_000}).to_string();
        let answer = self.request("POST", "/v1/collections/notes/search", &body);
        let results = answer["results"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut inside: Vec<(String, String)> = results
            .iter()
            .map(|found| {
                let source = text(&found["metadata"]["source"]);
                (source.rsplit('/').next().unwrap_or_default().to_owned(), text(&found["text"]))
            })
            .collect();
        inside.sort();
        inside
    }

    /// Waits until exactly these files with these texts are inside; how long that took.
    #[track_caller]
    fn soon_holds(&self, expected: &[(&str, &str)]) -> Duration {
        let mut expected: Vec<(String, String)> =
            expected.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        expected.sort();
        self.soon(|inside| inside == expected)
    }

    #[track_caller]
    fn soon(&self, is_so: impl Fn(&[(String, String)]) -> bool) -> Duration {
        let started = Instant::now();
        loop {
            let inside = self.inside();
            if is_so(&inside) {
                return started.elapsed();
            }
            assert!(started.elapsed() < SOON, "it holds {inside:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn soon_tells(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        loop {
            let health = self.request("GET", "/health", "");
            let watching = &health["watching"]["notes"];
            if is_so(watching) {
                return;
            }
            assert!(started.elapsed() < SOON, "{what}: {watching}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.workspace.path("course").join(name)
    }
}

#[test]
fn created_changed_renamed_replaced_and_deleted_files() {
    let service = Service::start();
    let write = |name: &str, text: &str| fs::write(service.file(name), text).unwrap();
    write("a.txt", "alpha");
    write("b.txt", "beta");
    let mut slowest = service.soon_holds(&[("a.txt", "alpha"), ("b.txt", "beta")]);
    write("a.txt", "alpha two");
    slowest = slowest.max(service.soon_holds(&[("a.txt", "alpha two"), ("b.txt", "beta")]));
    fs::rename(service.file("b.txt"), service.file("c.txt")).unwrap();
    slowest = slowest.max(service.soon_holds(&[("a.txt", "alpha two"), ("c.txt", "beta")]));
    // As editors write: aside, then over the old one.
    write(".a.txt.tmp", "alpha three");
    fs::rename(service.file(".a.txt.tmp"), service.file("a.txt")).unwrap();
    slowest = slowest.max(service.soon_holds(&[("a.txt", "alpha three"), ("c.txt", "beta")]));
    // Or removed first, and written anew.
    fs::remove_file(service.file("a.txt")).unwrap();
    write("a.txt", "alpha four");
    slowest = slowest.max(service.soon_holds(&[("a.txt", "alpha four"), ("c.txt", "beta")]));
    fs::create_dir(service.file("deep")).unwrap();
    write("deep/d.txt", "delta");
    slowest =
        slowest.max(service.soon_holds(&[("a.txt", "alpha four"), ("c.txt", "beta"), ("d.txt", "delta")]));
    fs::remove_file(service.file("c.txt")).unwrap();
    slowest = slowest.max(service.soon_holds(&[("a.txt", "alpha four"), ("d.txt", "delta")]));
    fs::remove_dir_all(service.file("deep")).unwrap();
    slowest = slowest.max(service.soon_holds(&[("a.txt", "alpha four")]));
    println!("the slowest change took {slowest:?}");
    assert_eq!(service.running.stops("-TERM").code(), Some(0));
}

#[test]
fn a_burst_of_files_and_what_happened_while_nobody_watched() {
    let service = Service::start();
    for at in 0..200 {
        fs::write(service.file(&format!("f{at}.txt")), format!("text {at}")).unwrap();
    }
    let took = service.soon(|inside| inside.len() == 200);
    println!("200 files took {took:?}");
    service.soon_tells("all are known", |watching| watching["files"] == 200 && watching["waiting"] == 0);
    let Service { running, workspace, .. } = service;
    assert_eq!(running.stops("-INT").code(), Some(0));
    for at in 0..190 {
        fs::remove_file(workspace.path("course").join(format!("f{at}.txt"))).unwrap();
    }
    workspace.write("course/new.txt", "new");
    let service = Service::in_workspace(workspace, "500ms");
    service.soon(|inside| inside.len() == 11 && inside.contains(&("new.txt".into(), "new".into())));
}

#[test]
fn a_folder_that_vanishes_takes_nothing_with_it() {
    let service = Service::start();
    fs::write(service.file("a.txt"), "alpha").unwrap();
    service.soon_holds(&[("a.txt", "alpha")]);
    let (course, aside) = (service.workspace.path("course"), service.workspace.path("aside"));
    fs::rename(&course, &aside).unwrap();
    service.soon_tells("that it is not there", |watching| watching["missing"]["course"] == "it is not there");
    std::thread::sleep(Duration::from_secs(3));
    service.soon_holds(&[("a.txt", "alpha")]);
    fs::write(aside.join("b.txt"), "beta").unwrap();
    fs::rename(&aside, &course).unwrap();
    service.soon_holds(&[("a.txt", "alpha"), ("b.txt", "beta")]);
    service.soon_tells("that it is back", |watching| watching["missing"] == json!({}));
    // What is deleted while it is there goes.
    fs::remove_file(service.file("a.txt")).unwrap();
    service.soon_holds(&[("b.txt", "beta")]);
}

#[test]
fn a_file_is_not_read_while_it_is_written() {
    let service = Service::start_with("3s");
    fs::write(service.file("a.txt"), "alpha").unwrap();
    service.soon_holds(&[("a.txt", "alpha")]);
    let mut file = fs::File::create(service.file("b.txt")).unwrap();
    // Always less between two writes than a file must rest.
    for part in 0..20 {
        write!(file, "part {part} ").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let inside = service.inside();
        assert!(inside.len() == 1, "half a file is inside: {inside:?}");
    }
    drop(file);
    service.soon(|inside| inside.len() == 2 && inside[1].1.ends_with("part 19"));
}

#[test]
fn adding_goes_on_until_it_is_stopped_and_lets_others_search() {
    let workspace = Workspace::new();
    small_model(&workspace.path("small"), 16, 3);
    workspace.write("course/a.txt", "alpha");
    let arguments = ["add", "notes", "course", "--model", "small", "--watch", "--json"];
    let mut running = Running { child: workspace.command(&arguments).spawn().unwrap() };
    let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["files_added"], 1);
    // The data folder is free between two passes.
    let search = |text: &str| workspace.run(&["search", "notes", text, "-k", "10", "--json"]).exits(0).json();
    let found = |answer: &Vec<Value>| answer[0]["count"].as_u64();
    assert_eq!(found(&search("alpha")), Some(1));
    workspace.write("course/b.txt", "beta");
    assert_eq!(next()["files_added"], 1);
    assert_eq!(found(&search("beta")), Some(2));
    workspace.write("course/bad.jsonl", "{\"text\": \"good\"}\n{bad\n");
    let mut told = Vec::new();
    while told.last().is_none_or(|line: &Value| line["type"] != "added") {
        told.push(next());
    }
    assert_eq!(told[0]["type"], "problem");
    // Its problem is not told again with the next file.
    workspace.write("course/c.txt", "gamma");
    assert_eq!(next()["type"], "added");
    fs::remove_file(workspace.path("course/a.txt")).unwrap();
    assert_eq!(next()["files_removed"], 1);
    let status = {
        let pid = running.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        running.child.wait().unwrap()
    };
    assert_eq!(status.code(), Some(0));
    let stderr = running.stderr();
    assert!(stderr.contains("watching ") && stderr.contains("stopped"), "{stderr}");
    assert_eq!(stderr.matches("problem:").count(), 1, "{stderr}");
}

#[test]
fn a_path_that_is_not_there_is_refused_before_anything_is_made() {
    let workspace = Workspace::new();
    workspace.run(&["add", "notes", "nowhere", "--watch"]).exits(1).complains(&["nowhere"]);
    let run = workspace.run(&["serve", "--watch", "nowhere"]).exits(1);
    run.complains(&["watch.sources", "hint: expected COLLECTION=FOLDER"]);
    assert!(!workspace.path("bilin-data").exists());
}
