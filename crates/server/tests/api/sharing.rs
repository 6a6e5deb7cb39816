//! Queries that come together, and queries whose clients go away: a real listener, real connections, the real model, and the
//! metrics as witness of what was encoded.

use axum::Router;
use bilin_engine::{Engine, EngineConfig};
use bilin_server::http::{AdmissionOptions, AppState, Limits, StateOptions, router};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Texts of about 200 characters that fill a pass of two threads, so that no other fits beside them.
const FULL_PASS: usize = 4;
/// Passes that stand in line before the requests a test is about: what the test sees takes one request each, they take many.
const PASSES_AHEAD: usize = 16;

/// No deadline that a busy machine could meet.
fn patient() -> Limits {
    let hours = Duration::from_secs(3_600);
    let admission = AdmissionOptions { target: hours, queue: hours, ..AdmissionOptions::default() };
    Limits { request_timeout: hours, max_concurrent_requests: 64, admission, ..Limits::default() }
}

struct Listening {
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Listening {
    async fn new(limits: Limits) -> Listening {
        let folder = tempfile::tempdir().unwrap();
        let config = EngineConfig { threads: 2, ..EngineConfig::new(folder.path().join("data")) };
        let engine = Arc::new(Engine::open(config).unwrap());
        let router: Router =
            router(AppState::new(engine, StateOptions { limits, ..StateOptions::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Listening { address, _folder: folder }
    }

    /// A request on a connection of its own that is not answered yet.
    async fn begin(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        stream
    }

    async fn embed(&self, texts: &[String]) -> TcpStream {
        self.begin("POST", "/v1/embeddings", &json!({"input": texts}).to_string()).await
    }

    /// The value of a sample in `/metrics`.
    async fn figure(&self, sample: &str) -> f64 {
        let (status, text) = end(self.begin("GET", "/metrics", "").await).await;
        assert_eq!(status, 200, "{text}");
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{sample} is not in:\n{text}")).parse().unwrap()
    }

    async fn encoded(&self) -> f64 {
        self.figure("bilin_encode_batch_size_sum{modality=\"text\"}").await
    }

    async fn in_progress(&self) -> f64 {
        self.figure("http_requests_inprogress{handler=\"/v1/embeddings\",method=\"POST\"}").await
    }

    async fn wait_until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let started = Instant::now();
        while !is_so().await {
            assert!(started.elapsed() < Duration::from_secs(600), "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Status and body of the answer.
async fn end(mut stream: TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        false => body.to_owned(),
        true => unchunked(body),
    };
    (status, body)
}

/// The pieces of a chunked body (RFC 9112, section 7.1), put together.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole += &rest[..length];
        body = rest[length..].strip_prefix("\r\n").unwrap_or_default();
    }
    whole
}

fn long_texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number} {}", "向量检索把文本变成向量并比较方向。".repeat(12))).collect()
}

fn vectors(body: &str) -> Vec<Vec<f32>> {
    let body: Value = serde_json::from_str(body).unwrap();
    let data = body["data"].as_array().unwrap();
    data.iter().map(|one| serde_json::from_value(one["embedding"].clone()).unwrap()).collect()
}

/// Opens the model, so that what follows is encoded at once.
async fn warm(service: &Listening) {
    let (status, body) = end(service.embed(&["warm".to_owned()]).await).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(service.encoded().await, 1.0);
}

/// A crowd that keeps the encoder busy for [`PASSES_AHEAD`] passes more: the first is over, the others stand in line.
async fn crowd(service: &Listening) -> Vec<TcpStream> {
    let before = service.encoded().await;
    let mut crowd = Vec::new();
    for _ in 0..=PASSES_AHEAD {
        crowd.push(service.embed(&long_texts(FULL_PASS)).await);
    }
    service.wait_until("the crowd", async || service.encoded().await > before).await;
    crowd
}

const CROWD_TEXTS: usize = (PASSES_AHEAD + 1) * FULL_PASS;

/// All of a crowd are answered.
async fn disperse(crowd: Vec<TcpStream>) {
    for long in crowd {
        let (status, body) = end(long).await;
        assert_eq!((status, vectors(&body).len()), (200, FULL_PASS), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_come_while_the_encoder_is_busy_share_a_pass_and_get_what_they_would_alone() {
    let service = Listening::new(patient()).await;
    warm(&service).await;
    let texts: Vec<String> = (0..8).map(|number| format!("第{number}个问题: 哪种索引最省内存?")).collect();
    let mut alone = Vec::new();
    for text in &texts {
        let (status, body) = end(service.embed(std::slice::from_ref(text)).await).await;
        assert_eq!(status, 200, "{body}");
        alone.push(vectors(&body).remove(0));
    }
    let passes = "bilin_encode_batch_size_count{modality=\"text\"}";
    assert_eq!(service.figure(passes).await, 9.0, "one each while nobody else is there");

    let crowd = crowd(&service).await;
    let mut sent = Vec::new();
    for text in &texts {
        sent.push(service.embed(std::slice::from_ref(text)).await);
    }
    let mut bad = service.embed(&["向量".to_owned(), " ".to_owned()]).await;
    bad.flush().await.unwrap();
    for (sent, alone) in sent.into_iter().zip(&alone) {
        let (status, body) = end(sent).await;
        assert_eq!(status, 200, "{body}");
        let together = vectors(&body).remove(0);
        let worst = together.iter().zip(alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-6, "{worst}");
    }
    let (status, body) = end(bad).await;
    assert!(status == 422 && body.contains("text 1 is empty"), "{status} {body}");
    disperse(crowd).await;
    // All texts of single requests counted, the passes are fewer than they would be alone.
    assert_eq!(service.encoded().await, (1 + 8 + 8 + CROWD_TEXTS) as f64);
    let alone_in_passes = service.figure("bilin_encode_batch_size_bucket{modality=\"text\",le=\"1\"}").await;
    assert!(alone_in_passes < 9.0 + 8.0, "none of the eight shared a pass: {alone_in_passes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_clients_that_hang_up_are_not_encoded() {
    const HANGING_UP: usize = 6;
    let service = Listening::new(patient()).await;
    warm(&service).await;
    let crowd = crowd(&service).await;
    let mut sent = Vec::new();
    for number in 0..HANGING_UP {
        sent.push(service.embed(&[format!("{number}: nobody waits for this")]).await);
    }
    let staying = service.embed(&["somebody waits for this".to_owned()]).await;
    // All have arrived, while at least half of the crowd is before them.
    let all_there = (PASSES_AHEAD / 2 + HANGING_UP + 1) as f64;
    service.wait_until("the requests", async || service.in_progress().await >= all_there).await;
    drop(sent);
    let only_others = async || {
        let in_progress = service.in_progress().await;
        // Asked second: the crowd can only have shrunk meanwhile, which makes this stricter.
        let crowd_left = ((1 + CROWD_TEXTS) as f64 - service.encoded().await) / FULL_PASS as f64;
        in_progress <= crowd_left.max(0.0) + 2.0
    };
    service.wait_until("the hangings up", only_others).await;
    let (status, body) = end(staying).await;
    assert_eq!(status, 200, "{body}");
    disperse(crowd).await;

    let encoded = service.encoded().await;
    assert_eq!(encoded, (1 + CROWD_TEXTS + 1) as f64, "texts that nobody waited for were encoded");
    let dropped = service.figure("bilin_encode_dropped_total{modality=\"text\"}").await;
    assert_eq!(dropped, HANGING_UP as f64);
    // And the line goes on.
    assert_eq!(end(service.embed(&["after".to_owned()]).await).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_many_ask_at_once_is_encoded_once_also_when_the_first_hangs_up() {
    const MANY: usize = 5;
    let service = Listening::new(patient()).await;
    warm(&service).await;
    assert_eq!(end(service.begin("PUT", "/v1/collections/course", "{}").await).await.0, 201);
    let documents = json!({"documents": [{"id": "1", "text": "倒排索引把词映射到文档"}]}).to_string();
    let added = service.begin("POST", "/v1/collections/course/documents", &documents).await;
    assert_eq!(end(added).await.0, 200);
    let crowd = crowd(&service).await;
    let ask = async || {
        service.begin("POST", "/v1/collections/course/search", "{\"text\": \"什么是倒排索引?\"}").await
    };
    let count = async |outcome: &str| {
        let sample = format!("bilin_cache_requests_total{{collection=\"course\",outcome=\"{outcome}\"}}");
        service.figure(&sample).await
    };
    let first = ask().await;
    service.wait_until("the first", async || count("miss").await == 1.0).await;
    let mut others = Vec::new();
    for _ in 0..MANY {
        others.push(ask().await);
    }
    service.wait_until("the others", async || count("joined").await == MANY as f64).await;
    drop(first);
    service.wait_until("one of them to take its place", async || count("miss").await == 2.0).await;
    let mut cached = 0;
    for other in others {
        let (status, body) = end(other).await;
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["results"][0]["id"], "1");
        cached += usize::from(body["cached"] == true);
    }
    disperse(crowd).await;
    assert_eq!(cached, MANY - 1);
    let encoded = service.encoded().await;
    assert_eq!(encoded, (1 + CROWD_TEXTS + 1) as f64, "the query was encoded more than once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_request_that_is_hung_up_stops_between_its_passes() {
    let service = Listening::new(patient()).await;
    warm(&service).await;
    let all = 1 + PASSES_AHEAD * FULL_PASS;
    let long = service.embed(&long_texts(PASSES_AHEAD * FULL_PASS)).await;
    service.wait_until("its first pass", async || service.encoded().await > 1.0).await;
    drop(long);
    let dropped = "bilin_encode_dropped_total{modality=\"text\"}";
    service.wait_until("its rest to be dropped", async || service.figure(dropped).await > 0.0).await;
    let encoded = service.encoded().await;
    assert!(encoded < all as f64, "{encoded}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(service.encoded().await, encoded, "nothing goes on for nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_deadline_is_told_so_and_leaves_the_line() {
    let service =
        Listening::new(Limits { request_timeout: Duration::from_secs(2), ..Limits::default() }).await;
    // Opening the model may take longer than a request may.
    let warmed = async || end(service.embed(&["warm".to_owned()]).await).await.0 == 200;
    service.wait_until("the model", warmed).await;
    let many = long_texts(4_000);
    let (status, body) = end(service.embed(&many).await).await;
    assert!(status == 503 && body.contains("deadline_exceeded"), "{status} {body}");
    let dropped = "bilin_encode_dropped_total{modality=\"text\"}";
    service.wait_until("its rest to be dropped", async || service.figure(dropped).await > 0.0).await;
    service.wait_until("the line to go on", warmed).await;
}
