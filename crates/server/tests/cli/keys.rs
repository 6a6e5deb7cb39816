//! `bilin key`, beside a server that runs: what is made counts within a second, what is taken back counts no more.

use crate::client;
use crate::workspace::Workspace;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(address: SocketAddr, key: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: search.example\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_running_server_takes_keys_over_within_a_second() {
    let workspace = Workspace::new();
    let key = |name: &str, more: &[&str]| {
        let made = workspace.run(&[&["key", "create", name, "--json"], more].concat()).exits(0).json();
        assert_eq!((&made[0]["type"], &made[0]["name"]), (&"key".into(), &name.into()));
        (made[0]["id"].as_str().unwrap().to_owned(), made[0]["key"].as_str().unwrap().to_owned())
    };
    let (_, first) = key("first", &[]);
    // A key in the file is one: other machines may be listened to.
    let mut child = workspace.command(&["serve", "--listen", "0.0.0.0:0", "--json"]).spawn().unwrap();
    let address = client::listening(&mut child);
    let _serving = Serving(child);
    let address = SocketAddr::from(([127, 0, 0, 1], address.port()));
    assert_eq!((status(address, &first, "/version"), status(address, "no", "/version")), (200, 401));
    let within_a_second = |key: &str, path: &str, wanted: u16| {
        let started = Instant::now();
        while status(address, key, path) != wanted {
            assert!(started.elapsed() < Duration::from_secs(1), "{path} never answered {wanted}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // Rotation: both are good until the first is taken back.
    let (id, second) = key("second", &["--role", "admin"]);
    within_a_second(&second, "/v1/backups", 200);
    assert_eq!(status(address, &first, "/version"), 200);
    workspace.run(&["key", "revoke", "first"]).exits(0);
    within_a_second(&first, "/version", 401);
    assert_eq!(status(address, &second, "/version"), 200);
    workspace.run(&["key", "revoke", &id]).exits(0);
    within_a_second(&second, "/version", 401);
    assert_eq!(status(address, "", "/version"), 401, "with no key left nobody comes in");
    let audit = std::fs::read_to_string(workspace.path("bilin-data/audit/audit.jsonl")).unwrap();
    assert_eq!(audit.matches("\"key revoke\"").count(), 2, "{audit}");
}

#[test]
fn secrets_are_shown_once() {
    let workspace = Workspace::new();
    let made =
        workspace.run(&["key", "create", "site", "--collection", "notes", "--expires-in", "90d"]).exits(0);
    let secret = made.text().trim().to_owned();
    assert!(secret.starts_with("bilin_") && !made.stderr.contains(&secret), "{}", made.stderr);
    for arguments in [&["key", "list"][..], &["key", "list", "--all", "--json"]] {
        let run = workspace.run(arguments).exits(0);
        assert!(run.text().contains("site") && run.text().contains("notes"), "{}", run.text());
        assert!(!run.text().contains(&secret), "{}", run.text());
    }
    assert!(workspace.run(&["key", "list", "--json"]).json()[0]["expires"].is_string());
    workspace.run(&["key", "create", "site"]).exits(1).complains(&["\"site\"", "already"]);
    workspace.run(&["key", "create", "x", "--role", "king"]).exits(2);
    workspace.run(&["key", "revoke", "nobody"]).exits(1).complains(&["\"nobody\""]);
    workspace.run(&["key", "revoke", "site"]).exits(0);
    assert!(workspace.run(&["key", "list", "--json"]).exits(0).text().is_empty());
}

#[test]
fn a_damaged_key_file_stops_a_start() {
    let workspace = Workspace::new();
    workspace.run(&["key", "create", "site"]).exits(0);
    let path = workspace.path("bilin-data/keys.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"read\"", "\"admin\"");
    std::fs::write(&path, text).unwrap();
    let run = workspace.run(&["serve", "--listen", "127.0.0.1:0"]).exits(1);
    run.complains(&["keys.json", "checksum"]);
    run.hints("bilin key create");
    workspace.run(&["key", "create", "other"]).exits(1).complains(&["keys.json"]);
}
