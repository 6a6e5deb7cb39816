//! What is there after a kill, compared with the record: by the engine in this process, or over HTTP by a new server.
use crate::client::Client;
use crate::house::{Expected, Figures, House};
use crate::process::Process;
use crate::record::{DIM, Documents, Random, metadata, text, vector};
use bilin_engine::{Engine, Metadata, Prompt, Query, Target};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Results asked of a search.
const K: usize = 10;
/// Of the documents that are never written again, so many are read over HTTP.
const RESIDENTS_SAMPLED: u64 = 20;
/// Largest difference of a value of a text's vector, whose encoder may sum in another order in another batch.
const ENCODED_TOLERANCE: f32 = 1e-4;

/// Versions by id, by writer: the whole of a collection.
type State = BTreeMap<String, Documents>;

/// A document as found.
struct Found {
    text: Option<String>,
    metadata: Metadata,
    vector: Vec<f32>,
}

/// By the engine, which reads everything back too.
pub fn inside(house: &mut House, random: &mut Random) {
    let engine = house.engine();
    let health = engine.health();
    assert_eq!((health.status.as_str(), health.broken.len()), ("healthy", 0), "{health:?}");
    let mut figures = Figures::default();
    for expected in &mut house.collections {
        let name = expected.name.clone();
        let ids = ids(expected, None, random);
        let found = ids.iter().filter_map(|id| {
            let document = engine.document(&name, id).unwrap()?;
            assert_eq!(document.items.len(), 1, "{name}: {id}");
            let item = document.items.into_iter().next().unwrap();
            Some((
                id.clone(),
                Found { text: item.text, metadata: item.metadata, vector: item.vector.unwrap() },
            ))
        });
        let versions = versions(expected, found.collect(), Some(&engine));
        settle(expected, &versions, &mut figures);
        let all = all(expected);
        let info = engine.collection(&name).unwrap();
        assert_eq!((info.status.documents, info.status.items), (all.len(), all.len()), "{name}");
        let verified = engine.verify(&name, true).unwrap();
        assert_eq!((verified.documents, verified.items), (all.len(), all.len()), "{name}");
        if !expected.is_text {
            let query: Vec<f32> = (0..DIM).map(|_| random.below(201) as f32 - 100.0).collect();
            let answer = engine
                .search(&name, &Query { top_k: K, ..Query::new(Target::Vector(query.clone())) })
                .unwrap();
            let results = answer.results.iter().map(|found| (found.id.clone(), found.l2_distance));
            check_search(expected, &query, &results.collect::<Vec<_>>());
        }
    }
    house.figures = house.figures + figures;
}

/// Over HTTP, as a client sees it.
pub fn over_http(house: &mut House, random: &mut Random) {
    let mut server = Process::serve(house.data(), false);
    let mut client = Client::connect(server.address().expect("a server that starts")).unwrap();
    let mut ask = |method: &str, path: &str, body: Option<&Value>| client.ask(method, path, body).unwrap();
    let mut figures = Figures::default();
    for expected in &mut house.collections {
        let path = format!("/v1/collections/{}", expected.name);
        let ids = ids(expected, Some(RESIDENTS_SAMPLED), random);
        let mut found = BTreeMap::new();
        for id in ids {
            let (status, mut answer) = ask("GET", &format!("{path}/documents/{id}"), None);
            if status == 404 {
                continue;
            }
            assert_eq!((status, answer["items"].as_array().map(Vec::len)), (200, Some(1)), "{answer}");
            let item = answer["items"][0].take();
            let document = Found {
                text: item["text"].as_str().map(str::to_owned),
                metadata: serde_json::from_value(item["metadata"].clone()).unwrap(),
                vector: serde_json::from_value(item["vector"].clone()).unwrap(),
            };
            found.insert(id, document);
        }
        let mut versions = versions(expected, found, None);
        // Those that were not read are taken as they should be; their number is checked below, they themselves by `inside`.
        if let Some(residents) = expected.writers.iter().find(|writer| writer.name == "resident") {
            let sampled = versions.insert(residents.name.clone(), residents.documents.clone());
            assert_eq!(sampled.map(|sampled| sampled.len() as u64), Some(RESIDENTS_SAMPLED));
        }
        settle(expected, &versions, &mut figures);
        let all = all(expected);
        let (_, info) = ask("GET", &path, None);
        assert_eq!((&info["count"], &info["documents"]), (&json!(all.len()), &json!(all.len())), "{info}");
        assert_eq!((&info["health"], &info["warnings"]), (&json!("ok"), &json!([])), "{info}");
        if !expected.is_text {
            let query: Vec<f32> = (0..DIM).map(|_| random.below(201) as f32 - 100.0).collect();
            let body = json!({"vector": query, "top_k": K});
            let (status, answer) = ask("POST", &format!("{path}/search"), Some(&body));
            assert_eq!((status, &answer["degraded"]), (200, &json!([])), "{answer}");
            let results = answer["results"].as_array().unwrap().iter().map(|found| {
                let distance = found["l2_distance"].as_f64().unwrap() as f32;
                (found["id"].as_str().unwrap().to_owned(), distance)
            });
            check_search(expected, &query, &results.collect::<Vec<_>>());
        }
    }
    house.figures = house.figures + figures;
}

/// Every id that a writer may have written; of the residents all, or so many.
fn ids(expected: &Expected, residents: Option<u64>, random: &mut Random) -> Vec<String> {
    let mut ids = Vec::new();
    for writer in &expected.writers {
        match residents {
            Some(wanted) if writer.name == "resident" => {
                let first = random.below(writer.ids - wanted);
                ids.extend((first..first + wanted).map(|number| writer.id(number)));
            }
            _ => ids.extend((0..writer.ids).map(|number| writer.id(number))),
        }
    }
    ids
}

/// The version of each document, which is the same in all of its parts.
fn versions(expected: &Expected, found: BTreeMap<String, Found>, engine: Option<&Engine>) -> State {
    let mut state: State =
        expected.writers.iter().map(|writer| (writer.name.clone(), Documents::new())).collect();
    let mut texts = Vec::new();
    for (id, document) in &found {
        let version = document.metadata["version"].as_u64().unwrap();
        assert_eq!(document.metadata, metadata(id, version), "{}: {id}", expected.name);
        if expected.is_text {
            assert_eq!(document.text, Some(text(id, version)), "{}: {id}", expected.name);
            texts.push(text(id, version));
        } else {
            assert_eq!(document.vector, vector(id, version), "{}: {id}", expected.name);
        }
        let (writer, _) = id.rsplit_once('-').unwrap();
        state.get_mut(writer).unwrap().insert(id.clone(), version);
    }
    if let Some(engine) = engine.filter(|_| expected.is_text) {
        let (vectors, dim) = engine.encode_texts(None, &texts, Prompt::Document).unwrap();
        for ((id, document), vector) in found.iter().zip(vectors.chunks_exact(dim)) {
            let differs = document
                .vector
                .iter()
                .zip(vector)
                .any(|(stored, encoded)| (stored - encoded).abs() > ENCODED_TOLERANCE);
            assert!(!differs, "{}: the vector of {id} is not that of its text", expected.name);
        }
    }
    state
}

/// Holds what was found against the record, which then goes on from what was found.
fn settle(expected: &mut Expected, found: &State, figures: &mut Figures) {
    figures.compared += found.values().map(|documents| documents.len() as u64).sum::<u64>();
    if let Some(restored) = expected.restored.take() {
        let is_back = expected
            .writers
            .iter()
            .zip(&restored.held)
            .all(|(writer, held)| writer.was(&found[&writer.name], held));
        assert!(is_back || restored.was_killed, "{}: not what its backup holds: {found:?}", expected.name);
        if is_back {
            for writer in &mut expected.writers {
                writer.go_on_from(&found[&writer.name]);
            }
            return;
        }
    }
    for writer in &mut expected.writers {
        if let Some(is_there) = writer.settle(&found[&writer.name], &expected.name) {
            figures.unanswered += 1;
            figures.unanswered_there += u64::from(is_there);
        }
    }
}

fn all(expected: &Expected) -> Documents {
    expected.writers.iter().flat_map(|writer| writer.documents.clone()).collect()
}

/// Distances are those of the documents; exact search finds the nearest ones.
fn check_search(expected: &Expected, query: &[f32], results: &[(String, f32)]) {
    let all = all(expected);
    let distance = |id: &str, version: u64| -> f32 {
        vector(id, version).iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let name = &expected.name;
    assert_eq!(results.len(), K.min(all.len()), "{name}");
    let mut once = std::collections::BTreeSet::new();
    for (id, found) in results {
        let version = all.get(id).unwrap_or_else(|| panic!("{name}: {id} was deleted, and was found"));
        assert_eq!(*found, distance(id, *version), "{name}: {id}");
        assert!(once.insert(id), "{name}: {id} was found twice");
    }
    let found: Vec<f32> = results.iter().map(|(_, distance)| *distance).collect();
    assert!(found.is_sorted(), "{name}: {found:?}");
    if expected.is_exact {
        let mut nearest: Vec<f32> = all.iter().map(|(id, version)| distance(id, *version)).collect();
        nearest.sort_by(f32::total_cmp);
        nearest.truncate(K);
        assert_eq!(found, nearest, "{name}");
    }
}
