//! A service in operation: signals, logs, recent errors and traces of the real binary.

use crate::client;
use crate::workspace::Workspace;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service whose log is kept.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Running {
    pub fn start(workspace: &Workspace, variables: &[(&str, &str)]) -> Running {
        Running::start_at(workspace, "127.0.0.1:0", variables)
    }

    pub fn start_at(workspace: &Workspace, listen: &str, variables: &[(&str, &str)]) -> Running {
        let mut command = workspace.command(&["serve", "--listen", listen, "--json"]);
        let mut child = command.envs(variables.iter().copied()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let address = client::listening(&mut child);
        Running { child, address, log }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has a line with all these words, and gives it.
    #[track_caller]
    pub fn tells(&self, words: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "no line with {words:?}:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        client::request(self.address, method, path, body)
    }

    /// Its exit code.
    pub fn ended(mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request whose body is sent in two parts.
struct HalfSent {
    stream: TcpStream,
    rest: &'static str,
}

impl HalfSent {
    fn begin(address: SocketAddr, path: &str, body: &'static str) -> HalfSent {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (half, rest) = body.split_at(body.len() / 2);
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        // The server asks for the body once the handler reads it, so the request is under way from here on.
        let mut asked = [0; 25];
        stream.read_exact(&mut asked).unwrap();
        assert!(asked.starts_with(b"HTTP/1.1 100 Continue"), "{}", String::from_utf8_lossy(&asked));
        stream.write_all(half.as_bytes()).unwrap();
        HalfSent { stream, rest }
    }

    fn finish(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

const DOCUMENT: &str = r#"{"documents": [{"id": "late", "vector": [1, 0, 0, 0]}]}"#;

#[test]
fn sigterm_finishes_what_is_under_way_and_takes_nothing_new() {
    let workspace = Workspace::new();
    let service = Running::start(&workspace, &[]);
    assert_eq!(service.request("PUT", "/v1/collections/points", r#"{"dim": 4}"#).0, 201);
    let under_way = HalfSent::begin(service.address, "/v1/collections/points/documents", DOCUMENT);
    service.signal("TERM");
    service.tells(&["stopping"]);
    let started = Instant::now();
    while TcpStream::connect(service.address).is_ok() {
        assert!(started.elapsed() < PATIENCE, "it still takes connections");
        std::thread::sleep(Duration::from_millis(10));
    }
    let answer = under_way.finish();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(service.ended(), Some(0));
    let listed = workspace.run(&["collections", "points", "--json"]).exits(0).json();
    assert_eq!(listed[0]["count"], 1, "what was answered is there");
}

/// One search over a connection that stays open: its status, or `None` where the connection ended before an answer began.
fn searched(connection: &mut BufReader<TcpStream>, body: &str) -> Option<u16> {
    let length = body.len();
    let head =
        "POST /v1/collections/points/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    write!(connection.get_mut(), "{head}\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
    let mut line = String::new();
    if connection.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let (status, mut length) = (line.split(' ').nth(1)?.parse().unwrap(), None);
    while line != "\r\n" {
        line.clear();
        connection.read_line(&mut line).unwrap();
        length = line.strip_prefix("content-length: ").map(|told| told.trim().parse().unwrap()).or(length);
    }
    connection.read_exact(&mut vec![0; length.unwrap()]).expect("an answer that has begun comes whole");
    Some(status)
}

#[test]
fn sigterm_under_load_cuts_no_answer_short() {
    let workspace = Workspace::new();
    let service = Running::start(&workspace, &[]);
    assert_eq!(service.request("PUT", "/v1/collections/points", r#"{"dim": 4}"#).0, 201);
    assert_eq!(service.request("POST", "/v1/collections/points/documents", DOCUMENT).0, 200);
    let (address, answered) = (service.address, Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let answered = Arc::clone(&answered);
            std::thread::spawn(move || {
                // Until nobody takes connections any more.
                while let Ok(stream) = TcpStream::connect(address) {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    let mut connection = BufReader::new(stream);
                    let body = || {
                        let number = answered.fetch_add(1, Ordering::Relaxed);
                        json!({"vector": [1, client, number, 0]}).to_string()
                    };
                    while let Some(status) = searched(&mut connection, &body()) {
                        assert_eq!(status, 200);
                    }
                }
            })
        })
        .collect();
    let started = Instant::now();
    while answered.load(Ordering::Relaxed) < 200 {
        assert!(started.elapsed() < PATIENCE, "it does not answer");
        std::thread::sleep(Duration::from_millis(1));
    }
    service.signal("TERM");
    assert_eq!(service.ended(), Some(0));
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn a_lame_duck_says_that_it_is_not_ready_and_still_answers_until_its_time_is_over() {
    let workspace = Workspace::new();
    let service = Running::start(&workspace, &[("BILIN_LAME_DUCK_SECONDS", "600")]);
    assert_eq!(service.request("GET", "/readyz", "").0, 200);
    service.signal("TERM");
    service.tells(&["leaving"]);
    let (status, told) = service.request("GET", "/readyz", "");
    assert!(status == 503 && told.contains("draining"), "{status} {told}");
    assert_eq!(service.request("PUT", "/v1/collections/points", r#"{"dim": 4}"#).0, 201);
    assert_eq!(service.request("POST", "/v1/collections/points/documents", DOCUMENT).0, 200);
    // Who asks twice does not want to wait.
    service.signal("TERM");
    assert_eq!(service.ended(), Some(0));
    let service = Running::start(&workspace, &[("BILIN_LAME_DUCK_SECONDS", "1")]);
    let started = Instant::now();
    service.signal("TERM");
    assert_eq!(service.ended(), Some(0));
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

#[test]
fn only_what_failed_is_logged_where_that_is_wanted() {
    let workspace = Workspace::new();
    let service = Running::start(&workspace, &[("BILIN_LOG_REQUESTS", "failed")]);
    assert_eq!(service.request("GET", "/version", "").0, 200);
    assert_eq!(service.request("GET", "/v1/collections/none", "").0, 404);
    service.tells(&["404", "/v1/collections/{collection}"]);
    assert!(!service.log().contains("/version"), "{}", service.log());
    let run = workspace.run_with(("BILIN_LOG_REQUESTS", "some"), &["config"]).exits(1);
    run.complains(&["log_requests", "all or failed", "some"]);
}

#[test]
fn in_a_flood_a_line_of_a_refusal_counts_those_that_have_none() {
    let workspace = Workspace::new();
    workspace.write("bilin.toml", "[serve]\napi_key = \"key\"\nrate_limit_per_s = 1\n");
    let service = Running::start(&workspace, &[]);
    let mut stream = TcpStream::connect(service.address).unwrap();
    let mut refused = 0;
    let mut flood = |count: usize| {
        let request = "GET /version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer key\r\n\r\n";
        stream.write_all(request.repeat(count).as_bytes()).unwrap();
        let (mut told, mut piece) = (String::new(), [0; 4_096]);
        // Each answer has one such header.
        while told.matches("x-request-id: ").count() < count || !told.ends_with('}') {
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "the connection ends: {told}");
            told.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        refused += told.matches("HTTP/1.1 429").count();
    };
    (0..10).for_each(|_| flood(100));
    std::thread::sleep(Duration::from_millis(50));
    flood(2);
    let total = refused as u64;
    assert!(total > 900, "{total}");
    let started = Instant::now();
    loop {
        let log = service.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("rate_limited")).collect();
        let untold = |line: &&str| {
            serde_json::from_str::<Value>(line).unwrap()["fields"]["untold"].as_u64().unwrap_or(0)
        };
        let counted = lines.len() as u64 + lines.iter().map(untold).sum::<u64>();
        // The last one may be left for a line to come.
        if counted + 1 >= total {
            assert!(
                counted <= total && 2 * (lines.len() as u64) < total,
                "{counted} of {total} in {} lines",
                lines.len()
            );
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{counted} of {total}:\n{log}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_log_for_people_tells_why_and_what_was_behind_it() {
    let workspace = Workspace::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let primary = format!("http://{nobody}");
    let variables = [("BILIN_LOG_FORMAT", "pretty"), ("BILIN_FOLLOW", &primary)];
    let service = Running::start(&workspace, &variables);
    let line = service.tells(&["WARN", "Connection refused"]);
    assert!(serde_json::from_str::<Value>(&line).is_err() && !line.contains('\u{1b}'), "{line}");
}

#[test]
fn a_request_that_does_not_end_is_not_waited_for_without_end() {
    let workspace = Workspace::new();
    let service = Running::start(&workspace, &[("BILIN_DRAIN_SECONDS", "1")]);
    assert_eq!(service.request("PUT", "/v1/collections/points", r#"{"dim": 4}"#).0, 201);
    let _never = HalfSent::begin(service.address, "/v1/collections/points/documents", DOCUMENT);
    let started = Instant::now();
    service.signal("TERM");
    assert_eq!(service.ended(), Some(0));
    let took = started.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[test]
fn sighup_takes_over_what_may_change_and_names_what_needs_a_restart() {
    let workspace = Workspace::new();
    let settings = |log: &str, threads: u32, rate: u32| {
        let text = format!(
            "log = \"{log}\"\nthreads = {threads}\n[serve]\napi_key = \"first key\"\nrate_limit_per_s = {rate}\n"
        );
        workspace.write("bilin.toml", text);
    };
    settings("info", 1, 0);
    let service = Running::start(&workspace, &[]);
    let status = |key: &str| {
        let mut stream = TcpStream::connect(service.address).unwrap();
        let head = "GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer";
        write!(stream, "{head} {key}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert!((0..20).all(|_| status("first key") == 200), "no bound");
    settings("info", 2, 1);
    service.signal("HUP");
    service.tells(&["rate_limit_per_s has changed and counts from now on"]);
    service.tells(&["threads has changed, which counts after a restart only"]);
    service.tells(&["reloaded"]);
    assert!((0..20).any(|_| status("first key") == 429), "the bound counts");
    // A file that cannot be used changes nothing.
    workspace.write("bilin.toml", "[serve]\napi_kye = \"x\"\n");
    service.signal("HUP");
    service.tells(&["not read anew", "api_kye"]);
    assert_ne!(status("first key"), 401);
    workspace.write("bilin.toml", "log = \"debug\"\n[serve]\napi_key = \"second key\"\n");
    service.signal("HUP");
    service.tells(&["serve.api_key has changed"]);
    assert!(!service.log().contains("second key") && !service.log().contains("first key"));
    let started = Instant::now();
    while (status("first key"), status("second key")) != (401, 200) {
        assert!(started.elapsed() < PATIENCE, "the new key does not count");
    }
    service.signal("TERM");
    assert_eq!(service.ended(), Some(0));
}

#[test]
fn a_line_tells_where_a_searchs_time_went_and_of_its_text_only_its_length() {
    let workspace = Workspace::with_notes();
    let question = "索引模块是什么?";
    let body = json!({"query": question}).to_string();
    let ask = |service: &Running, id: &str| {
        let mut stream = TcpStream::connect(service.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST /text-search HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    };
    let variables = [("BILIN_LOG_FORMAT", "json"), ("BILIN_LOG_SLOW_MS", "1")];
    let service = Running::start(&workspace, &variables);
    assert!(ask(&service, "from-the-client.1").contains("x-request-id: from-the-client.1\r\n"));
    let line: Value = serde_json::from_str(&service.tells(&["from-the-client.1", "/text-search"])).unwrap();
    let fields = &line["fields"];
    for name in ["ms", "queue_ms", "encode_ms", "search_ms", "fetch_ms"] {
        assert!(fields[name].is_f64(), "{name}: {line}");
    }
    assert_eq!((&fields["status"], &fields["query_chars"]), (&json!(200), &json!(8)), "{line}");
    // An id that could forge a line is not taken over.
    assert!(!ask(&service, "a b\"c").contains("a b"));
    service.tells(&["a slow search"]);
    assert!(!service.log().contains(question), "{}", service.log());
    let (status, errors) = service.request("GET", "/v1/errors", "");
    let errors: Value = serde_json::from_str(&errors).unwrap();
    let slow = errors["errors"].as_array().unwrap().iter().find(|e| e["request"] == "from-the-client.1");
    let slow = slow.unwrap_or_else(|| panic!("{status}: {errors}"));
    assert_eq!((&slow["level"], &slow["message"]), (&json!("WARN"), &json!("a slow search")), "{errors}");
    drop(service);
    let service = Running::start(&workspace, &[("BILIN_LOG_QUERIES", "yes"), ("BILIN_LOG_FORMAT", "json")]);
    ask(&service, "with-text");
    service.tells(&["with-text", question]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_allocator_is_one_that_gives_memory_back_by_itself() {
    let told = Workspace::new().run_with(("MALLOC_CONF", "stats_print:true"), &["--version"]).exits(0).stderr;
    assert!(told.contains("Begin jemalloc statistics"), "{told}");
    let gives_back = told.lines().find(|line| line.trim_start().starts_with("opt.background_thread:"));
    assert!(gives_back.is_some_and(|line| line.contains("true")), "{gives_back:?}");
}

#[test]
fn a_reader_of_the_log_that_stops_stops_no_request() {
    let workspace = Workspace::new();
    let mut command = workspace.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
    let variables = [("BILIN_LOG_FORMAT", "json"), ("BILIN_LOG_QUERIES", "yes")];
    let mut child = command.envs(variables).spawn().unwrap();
    // It stays open, and nobody reads it.
    let unread = child.stderr.take().unwrap();
    let address = client::listening(&mut child);
    let service = Running { child, address, log: Arc::default() };
    assert_eq!(service.request("PUT", "/v1/collections/notes", r#"{"kind": "text"}"#).0, 201);
    // A line of it takes some 900 bytes, and a pipe 64 KiB.
    let body = json!({"text": "检".repeat(200), "mode": "lexical"}).to_string();
    let answered =
        (0..200).filter(|_| service.request("POST", "/v1/collections/notes/search", &body).0 == 200);
    assert_eq!(answered.count(), 200);
    let (status, metrics) = service.request("GET", "/metrics", "");
    assert!(status == 200 && metrics.contains("bilin_log_lines_lost_total 0\n"), "{metrics}");
    service.signal("TERM");
    assert_eq!(service.ended(), Some(0), "its end does not wait either");
    let log = std::io::read_to_string(unread).unwrap();
    assert!(log.len() >= 30_000 && log.contains("检"), "the pipe was full: {} bytes", log.len());
}

/// A stand-in for a collector: the bodies that it gets.
fn collector() -> (SocketAddr, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            loop {
                let mut length = 0;
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap() > 2 {
                    if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = text.trim().parse().unwrap();
                    }
                    line.clear();
                }
                if length == 0 {
                    break;
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                if tell.send(serde_json::from_slice(&body).unwrap()).is_err() {
                    return;
                }
            }
        }
    });
    (address, told)
}

#[test]
fn traces_reach_a_collector_and_go_on_from_the_callers() {
    let workspace = Workspace::with_notes();
    let (collector, told) = collector();
    let url = format!("http://{collector}/v1/traces");
    let service = Running::start(&workspace, &[("BILIN_OTLP_URL", &url), ("BILIN_TRACES_SAMPLE", "0")]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let body = json!({"query": "量化"}).to_string();
    let mut stream = TcpStream::connect(service.address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /text-search HTTP/1.1\r\nHost: localhost\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let message = told.recv_timeout(PATIENCE).unwrap();
    let resource = &message["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "bilin");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    let root = &spans[0];
    assert_eq!(root["name"], "POST /text-search");
    assert_eq!((&root["traceId"], &root["parentSpanId"]), (&json!(trace), &json!("b7ad6b7169203331")));
    let nanos = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u128>().unwrap();
    let names: Vec<_> = spans[1..].iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"encode") && names.contains(&"search"), "{names:?}");
    for span in &spans[1..] {
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(trace), &root["spanId"]));
        assert!(nanos(span, "startTimeUnixNano") >= nanos(root, "startTimeUnixNano"));
        assert!(nanos(span, "endTimeUnixNano") <= nanos(root, "endTimeUnixNano"));
    }
    assert!(!message.to_string().contains("量化"), "no text leaves");
    // What no caller traces is sampled, here not at all.
    assert_eq!(service.request("GET", "/version", "").0, 200);
    assert!(told.recv_timeout(Duration::from_millis(1_500)).is_err());
}
