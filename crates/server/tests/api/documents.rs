//! Adding, reading back and deleting documents.

use crate::service::{Service, picture};
use bilin_engine::{DocumentLimits, EngineConfig};
use bilin_server::http::StateOptions;
use serde_json::json;

#[tokio::test]
async fn documents_are_added_replaced_read_and_deleted() {
    let service = Service::new();
    service.put("/v1/collections/notes", &json!({})).await.expect(201);
    let path = "/v1/collections/notes/documents";
    let added = service
        .post(
            path,
            &json!({"documents": [{"id": "a", "text": "first"}, {"text": "second", "metadata": {"n": 2}}]}),
        )
        .await
        .expect(200);
    assert_eq!((&added["added"], &added["updated"], &added["seq"]), (&json!(2), &json!(0), &json!(1)));
    assert_eq!(added["ids"][0], "a");
    let made = added["ids"][1].as_str().unwrap();
    assert_eq!(
        service.get(&format!("{path}/{made}")).await.expect(200)["items"][0]["metadata"],
        json!({"n": 2})
    );

    let again = service.post(path, &json!({"documents": [{"id": "a", "text": "third"}]})).await.expect(200);
    assert_eq!((&again["added"], &again["updated"], &again["seq"]), (&json!(0), &json!(1), &json!(2)));
    let read = service.get(&format!("{path}/a")).await.expect(200);
    assert_eq!(read["items"][0]["text"], "third");
    assert_eq!(read["items"][0]["vector"].as_array().unwrap().len(), 384);

    let deleted = service.delete(&format!("{path}/a")).await.expect(200);
    assert_eq!((&deleted["deleted"], &deleted["seq"]), (&json!(1), &json!(3)));
    service.get(&format!("{path}/a")).await.refused(404, "not_found");
    service.delete(&format!("{path}/a")).await.refused(404, "not_found");
}

#[tokio::test]
async fn ids_may_hold_slashes_spaces_and_chinese() {
    let service = Service::new();
    service.put("/v1/collections/points", &json!({"dim": 2})).await.expect(201);
    let path = "/v1/collections/points/documents";
    for (id, plain, encoded) in [
        ("course/chapter1.md", "course/chapter1.md", "course%2Fchapter1.md"),
        ("/home/a b.txt", "%2Fhome/a%20b.txt", "%2Fhome%2Fa%20b.txt"),
        (
            "第一章/thumbnail",
            "%E7%AC%AC%E4%B8%80%E7%AB%A0/thumbnail",
            "%E7%AC%AC%E4%B8%80%E7%AB%A0%2Fthumbnail",
        ),
        ("100%?#", "100%25%3F%23", "100%25%3f%23"),
    ] {
        service.post(path, &json!({"documents": [{"id": id, "vector": [1, 2]}]})).await.expect(200);
        for written in [plain, encoded] {
            assert_eq!(service.get(&format!("{path}/{written}")).await.expect(200)["id"], id);
        }
        service.delete(&format!("{path}/{encoded}")).await.expect(200);
        service.get(&format!("{path}/{plain}")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn an_add_with_one_bad_document_adds_nothing() {
    let service = Service::new().with_sentences().await;
    let path = "/v1/collections/course/documents";
    let body = json!({"documents": [{"id": "good", "text": "fine"}, {"id": "bad", "text": "  "}]});
    let message = service.post(path, &body).await.refused(422, "invalid_input");
    assert!(message.contains("bad"), "names the document: {message}");
    service.get(&format!("{path}/good")).await.refused(404, "not_found");
    let twice = json!({"documents": [{"id": "x", "text": "a"}, {"id": "x", "text": "b"}]});
    service.post(path, &twice).await.refused(422, "invalid_input");
}

#[tokio::test]
async fn files_of_a_form_become_documents_named_after_them() {
    let service = Service::new().with_pictures().await.with_sentences().await;
    let read = service.get("/v1/collections/pictures/documents/red.png").await.expect(200);
    let metadata = &read["items"][0]["metadata"];
    assert_eq!((&metadata["product_id"], &metadata["price"]), (&json!("red"), &json!(3)));
    let thumbnail = service.get("/v1/collections/pictures/thumbnails/red.png").await;
    assert_eq!((thumbnail.status.as_u16(), thumbnail.header("content-type")), (200, "image/jpeg"));
    assert!(image::load_from_memory(&thumbnail.bytes).is_ok());
    assert_eq!(thumbnail.header("x-content-type-options"), "nosniff");
    assert!(thumbnail.header("cache-control").contains("max-age"), "{:?}", thumbnail.headers);
    let etag = thumbnail.header("etag");
    let again =
        axum::http::Request::get("/v1/collections/pictures/thumbnails/red.png").header("if-none-match", etag);
    let again = service.send(again.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((again.status.as_u16(), again.bytes.len(), again.header("etag")), (304, 0, etag));
    let other = service.get("/v1/collections/pictures/thumbnails/blue.png").await;
    assert_ne!(other.header("etag"), etag);

    let path = "/v1/collections/course/documents";
    let text = "\u{feff}# 索引\n倒排索引先聚类。";
    let added = service.form(path, &[("file", Some("C:\\notes\\ivf.md"), text.as_bytes())]).await.expect(200);
    assert_eq!(added["ids"], json!(["ivf.md"]));
    let png = picture([1, 1, 1], false);
    let message = service.form(path, &[("file", Some("a.png"), &png)]).await.refused(422, "invalid_input");
    assert!(message.contains("a.png"), "{message}");
    service.form(path, &[("file", Some("a.txt"), b"\xff\xfe")]).await.refused(422, "invalid_input");
    service.form(path, &[("metadata", None, b"{}")]).await.refused(422, "invalid_input");
    service
        .form(path, &[("file", Some("a.txt"), b"x"), ("metadata", None, b"{")])
        .await
        .refused(400, "malformed_request");
}

#[tokio::test]
async fn pictures_come_as_base64_too() {
    use base64::Engine as _;
    let service = Service::new().with_pictures().await;
    let encoded = base64::prelude::BASE64_STANDARD.encode(picture([0, 200, 0], false));
    for image in [
        encoded.clone(),
        encoded.trim_end_matches('=').to_owned(),
        format!("data:image/png;base64,{encoded}"),
    ] {
        let body = json!({"documents": [{"id": "green", "image": image}]});
        service.post("/v1/collections/pictures/documents", &body).await.expect(200);
        let found = service
            .post("/v1/collections/pictures/search", &json!({"image": image, "top_k": 1}))
            .await
            .expect(200);
        assert_eq!(found["results"][0]["id"], "green");
    }
}

#[tokio::test]
async fn a_deck_of_a_form_is_read_slide_by_slide() {
    let service = Service::new().with_sentences().await;
    let path = "/v1/collections/course/documents";
    let fixture = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../ingest/fixtures/office/");
        std::fs::read(format!("{folder}{name}")).expect("a fixture")
    };
    let (deck, archive) = (fixture("deck.pptx"), fixture("archive.zip"));
    let parts =
        [("file", Some("deck.pptx"), deck.as_slice()), ("file", Some("archive.zip"), archive.as_slice())];
    let added = service.form(path, &parts).await.expect(200);
    assert_eq!(added["ids"], json!(["deck.pptx", "archive.zip/资料/讲义.docx", "archive.zip/越界.txt"]));
    assert_eq!(added["problems"][1], "archive.zip: 资料/旧.doc: files of Word 97-2003 (.doc) cannot be read");
    let read = service.get(&format!("{path}/deck.pptx")).await.expect(200);
    let metadata = &read["items"][1]["metadata"];
    assert_eq!((&metadata["slide"], &metadata["section"]), (&json!("2"), &json!("为什么要索引")));
    let message = service.form(path, &[("file", Some("b.ppt"), b"x")]).await.refused(422, "invalid_input");
    assert!(message.contains("b.ppt") && message.contains("PowerPoint 97-2003"), "{message}");
}

#[tokio::test]
async fn limits_on_documents_hold_for_what_is_sent() {
    let fixture = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../ingest/fixtures/office/");
        std::fs::read(format!("{folder}{name}")).expect("a fixture")
    };
    let document_limits = DocumentLimits { pages: 5, rows: 2, ..DocumentLimits::default() };
    let limited = |config| EngineConfig { document_limits, max_file_bytes: 40_000, ..config };
    let service = Service::over(limited, StateOptions::default()).with_sentences().await;
    let path = "/v1/collections/course/documents";
    let long = "一句话。".repeat(5_000).into_bytes();
    for (name, bytes, told) in [
        ("deck.pptx", fixture("deck.pptx"), "more than 5 slides"),
        ("grades.xlsx", fixture("grades.xlsx"), "more than 2 rows"),
        ("long.txt", long, "60000 bytes, more than the limit of 40000"),
    ] {
        let message = service.form(path, &[("file", Some(name), &bytes)]).await.refused(422, "invalid_input");
        assert!(message.contains(name) && message.contains(told), "{message}");
        assert_eq!(service.get(&format!("{path}/{name}")).await.status.as_u16(), 404, "{name}");
    }
    let handout = fixture("handout.docx");
    service.form(path, &[("file", Some("handout.docx"), &handout)]).await.expect(200);
}
