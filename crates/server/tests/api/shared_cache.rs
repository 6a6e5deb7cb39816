//! Answers that servers share by a real Redis: used where it helps, and never missed where it is down, slow, full or says nonsense.

use crate::service::Service;
use bilin_server::http::StateOptions;
use bilin_server::shared_cache::{SharedCache, SharedCacheConfig};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A `redis-server` on a port of its own.
struct Redis {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Redis {
    fn start(port: u16, arguments: &[&str]) -> Redis {
        let folder = tempfile::tempdir().unwrap();
        let plain = port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir"]).arg(folder.path());
        if !arguments.contains(&"--port") {
            command.args(["--port", &plain]);
        }
        command.args(arguments).stdout(Stdio::null());
        let process = command.spawn().expect("redis-server: ./check installs it");
        let redis = Redis { process, port, folder };
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn client(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// The one key that is there, once it is.
    fn key(&self) -> String {
        let (mut client, started) = (self.client(), Instant::now());
        loop {
            let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut client).unwrap();
            if let (Some(key), true) = (keys.pop(), keys.is_empty()) {
                return key;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "one answer is put there: {keys:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn config(url: String) -> SharedCacheConfig {
    SharedCacheConfig { url, ca: None, timeout: Duration::from_secs(2), ttl: Duration::from_secs(600) }
}

fn options(config: &SharedCacheConfig) -> StateOptions {
    StateOptions { shared_cache: Some(SharedCache::new(config).unwrap()), ..StateOptions::default() }
}

async fn with_points(config: &SharedCacheConfig) -> Service {
    let service = Service::with(options(config));
    service.put("/v1/collections/points", &json!({"dim": 2, "metric": "l2"})).await.expect(201);
    add(&service, "a", [1.0, 0.0]).await;
    service
}

async fn add(service: &Service, id: &str, vector: [f32; 2]) {
    let documents = json!({"documents": [{"id": id, "vector": vector}]});
    service.post("/v1/collections/points/documents", &documents).await.expect(200);
}

/// `turn` makes it another query without another answer.
async fn search(service: &Service, turn: usize) -> Value {
    let body = json!({"vector": [0.0, 1.0], "effort": turn + 1});
    service.post("/v1/collections/points/search", &body).await.expect(200)
}

async fn figure(service: &Service, operation: &str, outcome: &str) -> f64 {
    let metrics = String::from_utf8(service.get("/metrics").await.bytes).unwrap();
    let sample =
        format!("bilin_shared_cache_requests_total{{operation=\"{operation}\",outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&sample)).map_or(0.0, |value| value.parse().unwrap())
}

async fn until(service: &Service, operation: &str, outcome: &str, count: f64) {
    let started = Instant::now();
    while figure(service, operation, outcome).await < count {
        assert!(started.elapsed() < Duration::from_secs(60), "{operation} {outcome} stays under {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_finds_what_another_has_answered_and_nothing_of_the_past() {
    let redis = Redis::start(free_port(), &[]);
    let config = config(redis.url());
    let service = with_points(&config).await;
    let first = search(&service, 0).await;
    assert_eq!(first["cached"], false);
    until(&service, "put", "kept", 1.0).await;
    assert!(redis.key().starts_with("bilin:answer:"));
    let ttl: i64 = redis::cmd("PTTL").arg(redis.key()).query(&mut redis.client()).unwrap();
    assert!((1..=600_000).contains(&ttl), "{ttl}");

    // Memory is lost, the collection is the same.
    let service = service.reopened_with(options(&config));
    let again = search(&service, 0).await;
    assert_eq!((&again["cached"], &again["results"]), (&json!(true), &first["results"]));
    assert_eq!(figure(&service, "get", "hit").await, 1.0);
    add(&service, "b", [0.0, 1.0]).await;
    let after = search(&service, 0).await;
    assert_eq!((&after["cached"], &after["results"][0]["id"]), (&json!(false), &json!("b")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_put_there_is_not_trusted() {
    let redis = Redis::start(free_port(), &[]);
    let config = config(redis.url());
    let service = with_points(&config).await;
    let first = search(&service, 0).await;
    until(&service, "put", "kept", 1.0).await;
    let key = redis.key();
    let good: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut redis.client()).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    let mut service = service;
    for nonsense in
        [b"{\"results\":[]}".to_vec(), flipped, good[..good.len() - 1].to_vec(), vec![b'x'; 3 << 20]]
    {
        let () = redis::cmd("SET").arg(&key).arg(nonsense).query(&mut redis.client()).unwrap();
        service = service.reopened_with(options(&config));
        let again = search(&service, 0).await;
        assert_eq!((&again["cached"], &again["results"]), (&json!(false), &first["results"]));
        assert_eq!(figure(&service, "get", "unfit").await, 1.0);
        until(&service, "put", "kept", 1.0).await;
        let mended: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut redis.client()).unwrap();
        assert_eq!(mended, good, "the right one lies there again");
    }
    // Another kind of value altogether.
    let () = redis::pipe()
        .cmd("DEL")
        .arg(&key)
        .cmd("LPUSH")
        .arg(&key)
        .arg("x")
        .ignore()
        .query(&mut redis.client())
        .unwrap();
    let service = service.reopened_with(options(&config));
    assert_eq!(search(&service, 0).await["results"], first["results"]);
    assert_eq!(figure(&service, "get", "failed").await, 1.0);
}

/// Tries that failed, of both kinds: three in a row end them for a while, and how they mix depends on the clock.
async fn failures(service: &Service) -> f64 {
    figure(service, "get", "failed").await + figure(service, "put", "failed").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_down_is_left_out_and_used_again_when_it_is_back() {
    let port = free_port();
    let service = with_points(&config(format!("redis://127.0.0.1:{port}"))).await;
    for turn in 0..20 {
        assert_eq!(search(&service, turn).await["results"][0]["id"], "a");
    }
    assert!(failures(&service).await >= 3.0);
    assert!(figure(&service, "get", "skipped").await >= 1.0, "it is not asked each time");
    let redis = Redis::start(port, &[]);
    let (mut turn, started) = (20, Instant::now());
    while figure(&service, "put", "kept").await == 0.0 {
        assert!(started.elapsed() < Duration::from_secs(60), "it is not used again");
        search(&service, turn).await;
        turn += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(redis);
    for turn in 0..10 {
        assert_eq!(search(&service, 10_000 + turn).await["results"][0]["id"], "a");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_costs_its_timeout_a_few_times_and_no_more() {
    let redis = Redis::start(free_port(), &[]);
    let slow = SharedCacheConfig { timeout: Duration::from_millis(50), ..config(redis.url()) };
    let service = with_points(&slow).await;
    search(&service, 0).await;
    until(&service, "put", "kept", 1.0).await;
    let () = redis::cmd("CLIENT").arg("PAUSE").arg(600_000).arg("ALL").query(&mut redis.client()).unwrap();
    for turn in 1..40 {
        assert_eq!(search(&service, turn).await["results"][0]["id"], "a");
    }
    let (failed, skipped) =
        (figure(&service, "get", "failed").await, figure(&service, "get", "skipped").await);
    assert!(failed > 0.0 && skipped > 0.0 && failed + skipped == 39.0, "{failed} {skipped}");
    assert!(failures(&service).await >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_full_takes_nothing_and_costs_nothing() {
    let redis = Redis::start(free_port(), &["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let service = with_points(&config(redis.url())).await;
    for turn in 0..5 {
        assert_eq!(search(&service, turn).await["results"][0]["id"], "a");
    }
    until(&service, "put", "failed", 5.0).await;
    assert_eq!(figure(&service, "get", "miss").await, 5.0, "it is still asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_used_and_a_wrong_one_fails_no_search() {
    let redis = Redis::start(free_port(), &["--requirepass", "open sesame"]);
    let with = |password: &str| config(format!("redis://:{password}@127.0.0.1:{}", redis.port));
    let service = with_points(&with("open%20sesame")).await;
    search(&service, 0).await;
    until(&service, "put", "kept", 1.0).await;
    let service = with_points(&with("wrong")).await;
    assert_eq!(search(&service, 0).await["results"][0]["id"], "a");
    assert_eq!(figure(&service, "get", "failed").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_a_redis_whose_certificate_fits() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (certificate, key) = (path("redis.pem"), path("redis.key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl").success());
    let port = free_port();
    let tls = ["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"];
    let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &certificate];
    let redis = Redis::start(port, &[tls.as_slice(), files.as_slice()].concat());
    assert!(redis.folder.path().is_dir());
    let url = format!("rediss://127.0.0.1:{port}");
    let trusting = SharedCacheConfig { ca: Some(Path::new(&certificate).into()), ..config(url.clone()) };
    let service = with_points(&trusting).await;
    search(&service, 0).await;
    until(&service, "put", "kept", 1.0).await;
    // Signed by nobody whom the system knows.
    let service = with_points(&config(url)).await;
    assert_eq!(search(&service, 0).await["results"][0]["id"], "a");
    assert_eq!(figure(&service, "get", "failed").await, 1.0);
}

#[test]
fn an_address_that_is_none_is_refused_without_being_repeated() {
    let error = SharedCache::new(&config("http://user:secret@host".to_owned())).err().unwrap().to_string();
    assert!(error.contains("redis://") && !error.contains("secret"), "{error}");
    let missing =
        SharedCacheConfig { ca: Some("/no/such/file.pem".into()), ..config("rediss://127.0.0.1".to_owned()) };
    let error = SharedCache::new(&missing).err().unwrap().to_string();
    assert!(error.contains("/no/such/file.pem") && error.contains("cache.redis_ca"), "{error}");
}
