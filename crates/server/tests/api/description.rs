//! The API description: OpenAPI 3.1, equal to its committed copy, and true to the routes.

use crate::service::Service;
use serde_json::Value;

const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[tokio::test]
async fn the_committed_copy_is_what_the_service_answers() {
    let served = Service::new().get("/openapi.json").await.expect(200);
    let served = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    if std::env::var_os("BILIN_UPDATE_OPENAPI").is_some() {
        std::fs::write(COPY, &served).unwrap();
    }
    let copy = std::fs::read_to_string(COPY).unwrap_or_default();
    assert!(
        copy == served,
        "docs/openapi.json is not what the handlers say; run BILIN_UPDATE_OPENAPI=1 cargo test -p bilin --test api description"
    );
}

#[tokio::test]
async fn it_is_openapi_3_1_with_whole_parameters_and_references() {
    let body = Service::new().get("/openapi.json").await.expect(200);
    assert!(body["openapi"].as_str().unwrap().starts_with("3.1."), "{}", body["openapi"]);
    for (path, item) in body["paths"].as_object().unwrap() {
        let wanted: Vec<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        for (method, operation) in item.as_object().unwrap() {
            let given: Vec<&str> = operation["parameters"]
                .as_array()
                .map(|all| {
                    all.iter().filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str()).collect()
                })
                .unwrap_or_default();
            assert_eq!(given, wanted, "{method} {path}");
            assert!(operation["operationId"].is_string() && operation["responses"].is_object());
        }
    }
    let mut references = Vec::new();
    collect_references(&body, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("references stay inside");
        assert!(body.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids: Vec<&str> = body["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
}

fn collect_references<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match inner.as_str() {
                    Some(text) if key == "$ref" => out.push(text),
                    _ => collect_references(inner, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_references(inner, out)),
        _ => {}
    }
}
