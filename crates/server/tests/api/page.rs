//! The page and its files, and the documentation page.

use crate::service::Service;
use axum::body::Body;
use axum::http::{Request, header};

#[tokio::test]
async fn the_page_and_every_file_it_names_are_served() {
    let service = Service::new();
    let page = service.get("/").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    let text = String::from_utf8(page.bytes).unwrap();
    let named: Vec<&str> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(named.len() >= 4, "{named:?}");
    for path in named {
        let file = service.get(path).await;
        assert_eq!(file.status.as_u16(), 200, "{path}");
        let etag = file.header("etag").to_owned();
        let again = Request::get(path).header(header::IF_NONE_MATCH, &etag).body(Body::empty()).unwrap();
        assert_eq!(service.send(again).await.status.as_u16(), 304, "{path}");
    }
}

#[tokio::test]
async fn the_documentation_page_loads_nothing_from_elsewhere() {
    let service = Service::new();
    let page = service.get("/docs/").await;
    assert_eq!(page.status.as_u16(), 200);
    let text = String::from_utf8(page.bytes).unwrap();
    assert!(!text.contains("//cdn") && !text.contains("https://"), "{text}");
    let script = service.get("/docs/swagger-ui-bundle.js").await;
    assert!(script.status.as_u16() == 200 && script.bytes.len() > 100_000);
    let start = service.get("/docs/swagger-initializer.js").await;
    assert!(String::from_utf8(start.bytes).unwrap().contains("/openapi.json"));
}
