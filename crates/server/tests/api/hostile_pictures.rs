//! Pictures, archives and names that mean harm: refused with a reason, or harmless; and nothing is written where they point.

use crate::service::{Service, claimed_png, picture};
use base64::Engine as _;
use bilin_server::http::{Limits, StateOptions};
use serde_json::json;
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;

fn base64(bytes: &[u8]) -> String {
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Names of everything in and below a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.push(path.file_name().unwrap().to_string_lossy().into_owned());
        if path.is_dir() {
            all.extend(names(&path));
        }
    }
    all
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_only_names() {
    let service = Service::new().with_pictures().await;
    let png = picture([9, 99, 200], false);
    let path = "/v1/collections/pictures/documents";
    let wish = json!({"documents": [{"id": "../../escaped.png", "image": base64(&png),
        "metadata": {"image_path": "/etc/passwd", "source": "../../../etc/passwd"}}]});
    service.post(path, &wish).await.expect(200);
    let found = service.get("/v1/collections/pictures/thumbnails/..%2F..%2Fescaped.png").await;
    assert_eq!((found.status.as_u16(), found.header("content-type")), (200, "image/jpeg"));
    let form = [("file", Some("..\\..\\windows\\..\\evil.png"), png.as_slice())];
    assert_eq!(service.form(path, &form).await.expect(200)["ids"], json!(["evil.png"]));
    let zip = archive(&[("../../../slip.png".to_owned(), png.clone()), ("/abs.png".to_owned(), png.clone())]);
    let added = service.form(path, &[("file", Some("../x.zip"), &zip)]).await.expect(200);
    assert_eq!(added["ids"], json!(["x.zip/slip.png", "x.zip/abs.png"]));
    for id in [
        "..%2F..%2F..%2Fetc%2Fpasswd",
        "../../catalog.sqlite",
        "%2Fetc%2Fpasswd",
        "..%5C..%5Cx",
        "red.png%00.jpg",
    ] {
        for kind in ["thumbnails", "documents"] {
            let answer = service.get(&format!("/v1/collections/pictures/{kind}/{id}")).await;
            assert!(matches!(answer.status.as_u16(), 400 | 404 | 422), "{kind} {id}: {}", answer.status);
            assert!(!String::from_utf8_lossy(&answer.bytes).contains("root:"), "{kind} {id}");
        }
    }
    let written = names(service.folder.path());
    for name in ["escaped.png", "evil.png", "slip.png", "abs.png"] {
        assert!(!written.iter().any(|file| file == name), "{name} was written: {written:?}");
    }
    assert!(!service.folder.path().parent().unwrap().join("escaped.png").exists());
}

#[tokio::test]
async fn huge_and_malformed_pictures_are_refused_wherever_they_come_in() {
    let service = Service::new().with_pictures().await;
    let good = base64(&picture([1, 2, 3], false));
    let whole = picture([1, 2, 3], true);
    let (search, path) = ("/v1/collections/pictures/search", "/v1/collections/pictures/documents");
    let before = service.get("/v1/collections/pictures").await.expect(200)["seq"].clone();
    for (bytes, status, code) in [
        (claimed_png(60_000, 60_000), 413, "too_large"),
        (claimed_png(0, 5), 422, "invalid_input"),
        (whole[..whole.len() / 2].to_vec(), 422, "invalid_input"),
        (b"GIF89a".to_vec(), 422, "invalid_input"),
        (b"<svg onload=alert(1)>".to_vec(), 422, "invalid_input"),
        (Vec::new(), 422, "invalid_input"),
    ] {
        let bad = base64(&bytes);
        for wish in [
            json!({"image": bad}),
            json!({"image": [good, bad]}),
            json!({"image": good, "unlike_image": [bad]}),
            json!({"image": bad, "region": [0, 0, 1, 1]}),
        ] {
            service.post(search, &wish).await.refused(status, code);
        }
        let wish = json!({"documents": [{"id": "bad", "image": bad}, {"id": "good", "image": good}]});
        service.post(path, &wish).await.refused(status, code);
        service.form(path, &[("file", Some("bad.png"), &bytes)]).await.refused(status, code);
        let zip = archive(&[("bad.png".to_owned(), bytes)]);
        service.form(path, &[("file", Some("bad.zip"), &zip)]).await.refused(status, code);
    }
    let after = service.get("/v1/collections/pictures").await.expect(200)["seq"].clone();
    assert_eq!(before, after, "nothing of it is in");
}

#[tokio::test]
async fn archives_that_unfold_without_end_are_refused() {
    let limits = Limits { max_body_bytes: 4 << 20, ..Limits::default() };
    let service = Service::with(StateOptions { limits, ..StateOptions::default() });
    service.put("/v1/collections/pictures", &json!({"kind": "image"})).await.expect(201);
    let path = "/v1/collections/pictures/documents";
    // 64 MiB of nothing in some ten thousand bytes, more than its length allows.
    let bomb = archive(&[("zeros.bmp".to_owned(), vec![0; 64 << 20])]);
    assert!(bomb.len() < 1 << 20);
    let told = service.form(path, &[("file", Some("bomb.zip"), &bomb)]).await;
    assert!(matches!(told.status.as_u16(), 413 | 422), "{}", told.status);
    let message = told.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("bomb.zip") && message.contains("unfold"), "{message}");
    let many: Vec<(String, Vec<u8>)> =
        (0..20_100).map(|number| (format!("{number}.png"), Vec::new())).collect();
    let told = service.form(path, &[("file", Some("many.zip"), &archive(&many))]).await;
    assert!(matches!(told.status.as_u16(), 413 | 422), "{}", told.status);
    service
        .form(path, &[("file", Some("no.zip"), b"PK\x03\x04 and then nothing")])
        .await
        .refused(422, "invalid_input");
    let long = vec![0; 5 << 20];
    service.form(path, &[("file", Some("long.png"), &long)]).await.refused(413, "body_too_large");
    assert_eq!(service.get("/v1/collections/pictures").await.expect(200)["count"], 0);
}
