//! `bilin doctor`, and what a service tells systemd.

use crate::client;
use crate::operating::Running;
use crate::workspace::Workspace;
use serde_json::Value;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The checks by name, and the exit code.
fn examined(workspace: &Workspace, variables: &[(&str, &str)]) -> (Vec<Value>, Option<i32>) {
    let mut command = workspace.command(&["doctor", "--json"]);
    command.env("BILIN_LISTEN", "127.0.0.1:0").envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let checks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(checks.iter().all(|check| check["type"] == "check"), "{text}");
    (checks, output.status.code())
}

fn check<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {checks:#?}"))
}

fn state(checks: &[Value], name: &str) -> String {
    check(checks, name)["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_well_machine_is_told_as_one_and_nothing_is_changed() {
    let workspace = Workspace::new();
    let (checks, code) = examined(&workspace, &[]);
    assert_eq!(code, Some(0), "{checks:#?}");
    for name in
        ["cpu", "memory", "open files", "clock", "data folder", "collections", "port", "access", "models"]
    {
        assert_ne!(state(&checks, name), "failure", "{checks:#?}");
    }
    assert!(!workspace.path("bilin-data").exists(), "looking makes nothing");
    let workspace = Workspace::with_notes();
    let before = workspace.on_disk();
    let (checks, code) = examined(&workspace, &[]);
    assert_eq!(code, Some(0), "{checks:#?}");
    assert!(
        check(&checks, "collections")["found"].as_str().unwrap().contains("1 with 3 items"),
        "{checks:#?}"
    );
    assert_eq!(state(&checks, "durable writes"), "ok");
    let backups = check(&checks, "backups");
    assert_eq!(
        (&backups["state"], backups["found"].as_str()),
        (&"warning".into(), Some("\"notes\" has none"))
    );
    assert!(backups["advice"].as_str().unwrap().contains("bilin backup"), "{backups}");
    workspace.is_as_before(&before);
    workspace.run(&["backup", "notes"]).exits(0);
    assert_eq!(state(&examined(&workspace, &[]).0, "backups"), "ok");
    let text = workspace.run_with(("BILIN_LISTEN", "127.0.0.1:0"), &["doctor"]).exits(0).text();
    assert!(text.contains("collections") && text.contains("ok"), "{text}");
}

#[test]
fn what_keeps_bilin_from_working_is_a_failure_with_advice() {
    let workspace = Workspace::with_notes();
    for (variables, name, advice) in [
        (vec![("BILIN_LISTEN", "0.0.0.0:0")], "access", "BILIN_API_KEY"),
        (vec![("BILIN_LISTEN", "192.0.2.1:80"), ("BILIN_API_KEY", "k")], "port", "BILIN_LISTEN"),
        (vec![("BILIN_TEXT_MODEL", "/no/such/model")], "models", "bilin model"),
    ] {
        let (checks, code) = examined(&workspace, &variables);
        let found = check(&checks, name);
        assert_eq!((code, &found["state"]), (Some(1), &"failure".into()), "{checks:#?}");
        assert!(found["advice"].as_str().unwrap().contains(advice), "{found}");
    }
    let catalog = workspace.path("bilin-data/collections/notes/catalog.sqlite");
    std::fs::write(&catalog, vec![7; 8_192]).unwrap();
    let (checks, code) = examined(&workspace, &[]);
    let found = check(&checks, "collections");
    assert_eq!((code, &found["state"]), (Some(1), &"failure".into()), "{checks:#?}");
    assert!(found["found"].as_str().unwrap().contains("notes"), "{found}");
}

/// A `redis-server` until it is dropped.
struct Redis(Child);

impl Redis {
    fn start(port: u16, more: &[&str]) -> Redis {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]).args(more);
        let redis = Redis(command.stdout(Stdio::null()).spawn().expect("redis-server: ./check installs it"));
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_redis_is_asked_for_its_version_its_password_and_its_bounds() {
    let workspace = Workspace::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let with = |user: &str| {
        let url = format!("redis://{user}127.0.0.1:{port}");
        let (checks, _) = examined(&workspace, &[("BILIN_CACHE_REDIS_URL", &url)]);
        check(&checks, "shared cache").clone()
    };
    assert!(
        examined(&workspace, &[]).0.iter().all(|check| check["name"] != "shared cache"),
        "none is configured"
    );
    let told = with("");
    assert_eq!(told["state"], "failure", "{told}");
    assert!(told["found"].as_str().unwrap().contains("does not answer"), "{told}");
    let redis = Redis::start(port, &[]);
    let told = with("");
    assert_eq!(told["state"], "warning", "{told}");
    assert!(told["advice"].as_str().unwrap().contains("maxmemory"), "{told}");
    drop(redis);
    let redis = Redis::start(port, &["--maxmemory", "64mb", "--requirepass", "sesame"]);
    let told = with(":sesame@");
    assert_eq!(told["state"], "warning", "noeviction: {told}");
    assert!(told["advice"].as_str().unwrap().contains("allkeys-lru"), "{told}");
    for wrong in ["", ":open@"] {
        let told = with(wrong);
        assert_eq!(told["state"], "failure", "{told}");
        assert!(
            told["found"].as_str().unwrap().contains("password") && !told.to_string().contains("open@"),
            "{told}"
        );
    }
    drop(redis);
    let _redis = Redis::start(port, &["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let told = with("");
    assert_eq!((&told["state"], &told["advice"]), (&"ok".into(), &Value::Null), "{told}");
    assert!(told["found"].as_str().unwrap().contains("at most 64.00 MiB, allkeys-lru"), "{told}");
}

#[test]
fn a_primary_and_a_place_for_backups_are_tried() {
    let workspace = Workspace::new();
    let told =
        |variables: &[(&str, &str)], name: &str| check(&examined(&workspace, variables).0, name).clone();
    let primary = Running::start(&Workspace::with_notes(), &[("BILIN_API_KEY", "sesame")]);
    let url = format!("http://{}", primary.address);
    let follow = told(&[("BILIN_FOLLOW", &url), ("BILIN_FOLLOW_KEY", "sesame")], "follow");
    assert_eq!(follow["state"], "ok", "{follow}");
    assert!(follow["found"].as_str().unwrap().contains("with 1 collections"), "{follow}");
    let follow = told(&[("BILIN_FOLLOW", &url)], "follow");
    assert_eq!(follow["state"], "failure", "{follow}");
    assert!(follow["advice"].as_str().unwrap().contains("BILIN_FOLLOW_KEY"), "{follow}");
    assert_eq!(told(&[("BILIN_FOLLOW", "http://127.0.0.1:1")], "follow")["state"], "failure");
    assert_eq!(told(&[("BILIN_FOLLOW", "/no/such/folder")], "follow")["state"], "failure");

    let place = workspace.path("elsewhere");
    let url = format!("file://{}", place.display());
    let backups = told(&[("BILIN_BACKUP_URL", &url)], "backups elsewhere");
    assert!(backups["state"] == "warning" && !place.exists(), "looking makes nothing: {backups}");
    std::fs::create_dir(&place).unwrap();
    assert_eq!(told(&[("BILIN_BACKUP_URL", &url)], "backups elsewhere")["state"], "ok");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "what was tried with is gone");
    std::fs::remove_dir(&place).unwrap();
    std::fs::write(&place, "a file").unwrap();
    assert_eq!(told(&[("BILIN_BACKUP_URL", &url)], "backups elsewhere")["state"], "failure");
}

#[test]
fn a_running_service_is_found_alive_and_tells_systemd_how_it_is() {
    let workspace = Workspace::with_notes();
    let socket = workspace.path("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let heard = || {
        let mut message = [0; 1_024];
        let length = systemd.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let mut command = workspace.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
    let mut child = command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000").spawn().unwrap();
    let address = client::listening(&mut child);
    let ready = heard();
    assert!(ready.contains("READY=1") && ready.contains(&format!("STATUS=serving {address}")), "{ready}");
    for _ in 0..3 {
        assert_eq!(heard().trim(), "WATCHDOG=1");
    }
    let url = format!("http://{address}");
    let alive = workspace.run(&["doctor", "--server", &url]).exits(0).text();
    assert!(alive.contains("answers"), "{alive}");
    let listen = address.to_string();
    let (checks, code) = examined(&workspace, &[("BILIN_LISTEN", &listen)]);
    assert_eq!(code, Some(0), "{checks:#?}");
    for (name, words) in [("collections", "a running bilin"), ("port", "as it should be")] {
        assert!(check(&checks, name)["found"].as_str().unwrap().contains(words), "{checks:#?}");
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let stopping = std::iter::repeat_with(heard).find(|message| message.trim() != "WATCHDOG=1").unwrap();
    assert!(stopping.contains("STOPPING=1"), "{stopping}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    workspace.run(&["doctor", "--server", &url]).exits(1);
}
