//! A service to test: a real engine over a temporary folder behind the real router.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bilin_engine::{Engine, EngineConfig};
use bilin_server::http::{AppState, StateOptions, router};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

/// The tutorial's sample corpus, by its three sentences about positioning, features and architecture.
pub const SENTENCES: [(&str, &str); 3] = [
    ("1", "FAISS是由Facebook AI研究院开发的高效向量相似性检索库"),
    ("3", "FAISS的核心特点包括支持多种索引类型,比如精确索引IndexFlatIP、IndexFlatL2,以及近似索引IVF、HNSW等"),
    ("5", "FAISS的架构主要包含向量存储模块、距离计算模块和索引优化模块"),
];

pub struct Service {
    pub router: Router,
    pub folder: tempfile::TempDir,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The body after checking the status.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that this is an error as all errors are, and gives its message.
    pub fn refused(&self, status: u16, code: &str) -> String {
        let body = self.expect(status);
        let object = body.as_object().unwrap();
        assert_eq!(object.keys().map(String::as_str).collect::<Vec<_>>(), ["code", "message", "hint"]);
        assert_eq!(body["code"], code, "{body}");
        for key in ["message", "hint"] {
            assert!(body[key].as_str().is_some_and(|text| text.len() > 8), "{key} says nothing: {body}");
        }
        body["message"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Service {
    pub fn new() -> Service {
        Service::with(StateOptions::default())
    }

    pub fn with(options: StateOptions) -> Service {
        Service::over(|config| config, options)
    }

    /// With an engine whose configuration is changed.
    pub fn over(change: impl FnOnce(EngineConfig) -> EngineConfig, options: StateOptions) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let config = change(EngineConfig::new(folder.path().join("data")));
        let engine = Arc::new(Engine::open(config).unwrap());
        let router = router(AppState::new(engine, options));
        Service { router, folder }
    }

    /// The service anew over the same folder, after something happened to it.
    pub fn reopened(self, happened: impl FnOnce()) -> Service {
        let Service { router, folder } = self;
        drop(router);
        happened();
        let engine = Arc::new(Engine::open(EngineConfig::new(folder.path().join("data"))).unwrap());
        let router = bilin_server::http::router(AppState::new(engine, StateOptions::default()));
        Service { router, folder }
    }

    /// The service anew over the same folder, set up otherwise; what was in memory is gone.
    pub fn reopened_with(self, options: StateOptions) -> Service {
        let Service { router, folder } = self;
        drop(router);
        let engine = Arc::new(Engine::open(EngineConfig::new(folder.path().join("data"))).unwrap());
        Service { router: bilin_server::http::router(AppState::new(engine, options)), folder }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some((content_type, _)) = &body {
            request = request.header(header::CONTENT_TYPE, *content_type);
        }
        let body = body.map_or(Body::empty(), |(_, bytes)| Body::from(bytes));
        self.send(request.body(body).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(("application/json", body.to_string().into_bytes()))).await
    }

    /// Posts JSON that `Value` cannot hold.
    pub async fn post_raw(&self, path: &str, body: &str) -> Answer {
        self.call(Method::POST, path, Some(("application/json", body.as_bytes().to_vec()))).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, Some(("application/json", body.to_string().into_bytes()))).await
    }

    /// Posts a multipart form; a part is (name, file name, content).
    pub async fn form(&self, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Answer {
        let body = multipart(parts);
        self.call(Method::POST, path, Some(("multipart/form-data; boundary=EDGE", body))).await
    }

    /// The tutorial's three sentences in a collection `course`.
    pub async fn with_sentences(self) -> Service {
        self.put("/v1/collections/course", &json!({})).await.expect(201);
        let documents: Vec<Value> = SENTENCES
            .iter()
            .map(|(id, text)| {
                json!({"id": format!("text_corpus.txt/{id}"), "text": text,
                    "metadata": {"sentence_id": id, "source": "text_corpus.txt", "total_sentences": 6}})
            })
            .collect();
        self.post("/v1/collections/course/documents", &json!({"documents": documents})).await.expect(200);
        self
    }

    /// Three plain pictures in a collection `pictures`.
    pub async fn with_pictures(self) -> Service {
        self.put("/v1/collections/pictures", &json!({"kind": "image"})).await.expect(201);
        let (red, blue, checks) =
            (picture([220, 30, 30], false), picture([20, 40, 220], false), picture([0; 3], true));
        self.form(
            "/v1/collections/pictures/documents",
            &[
                ("file", Some("red.png"), &red),
                ("file", Some("blue.png"), &blue),
                ("file", Some("checks.png"), &checks),
                ("metadata", None, br#"{"category": "plain", "price": 3}"#),
            ],
        )
        .await
        .expect(200);
        self
    }
}

pub fn multipart(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, content) in parts {
        let file = file_name.map_or(String::new(), |f| format!("; filename=\"{f}\""));
        body.extend(
            format!("--EDGE\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--EDGE--\r\n");
    body
}

/// A small PNG of one colour, or of black and white checks.
pub fn picture(colour: [u8; 3], is_checked: bool) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(96, 96, |x, y| {
        image::Rgb(if is_checked && (x / 12 + y / 12) % 2 == 0 { [255; 3] } else { colour })
    });
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// The header of a PNG that claims these sides, with little behind it.
pub fn claimed_png(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(&chunk);
    png.extend(crc32(&chunk).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    png
}

/// The checksum that PNG chunks carry (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
