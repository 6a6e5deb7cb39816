//! Seeded data that every test uses, and the plain map that the store is compared with.
use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bilin_index::{IndexSpec, Metric, Rows};
use bilin_store::{DataDir, Kind, Metadata, NewDocument, NewItem, Settings, Snapshot, StoreError};
use serde_json::json;

use crate::words::compare_words;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn vector(&mut self, dim: usize) -> Vec<f32> {
        // Never all zeros, so that it has a direction.
        (0..dim).map(|_| (self.below(2000) as f32 - 999.5) / 100.0).collect()
    }
}

/// Opens a data folder that this process has just closed. A test beside this one that starts a process holds every open file
/// of ours, the lock among them, for the moment between its fork and its exec.
pub fn reopen(folder: &Path) -> DataDir {
    let started = Instant::now();
    loop {
        match DataDir::open(folder) {
            Err(StoreError::Locked { .. }) if started.elapsed() < Duration::from_secs(5) => {
                thread::yield_now()
            }
            opened => return opened.unwrap(),
        }
    }
}

pub fn settings(dim: usize, metric: Metric, index: IndexSpec) -> Settings {
    Settings { kind: Kind::Text, model: None, dim, metric, index, target_recall: 0.95 }
}

pub fn item(vector: Vec<f32>, text: &str) -> NewItem {
    let mut metadata = Metadata::new();
    metadata.insert("text".to_owned(), json!(text));
    metadata.insert("first".to_owned(), json!(vector[0]));
    NewItem { vector, text: Some(text.to_owned()), metadata, thumbnail: None, sentences: None }
}

pub fn document(id: &str, items: Vec<NewItem>) -> NewDocument {
    NewDocument { id: id.to_owned(), file: None, items }
}

/// What a collection should hold: documents by id.
pub type Model = BTreeMap<String, NewDocument>;

/// Compares everything that a snapshot can be asked for with the model.
pub fn compare(snapshot: &Snapshot, model: &Model, metric: Metric, random: &mut Random) {
    let dim = snapshot.settings().dim;
    let items: usize = model.values().map(|document| document.items.len()).sum();
    assert_eq!((snapshot.documents(), snapshot.count()), (model.len(), items));
    assert_eq!(snapshot.live().count(), items);
    for (id, document) in model {
        compare_document(snapshot, id, Some(document), metric);
    }
    let query = random.vector(dim);
    let k = 1 + random.below(20);
    let hits = snapshot.search(Rows::new(&query, dim).unwrap(), k, None, None).unwrap().remove(0);
    let query = stored_form(metric, &query);
    let mut expected: Vec<(f32, u32)> =
        snapshot.live().iter().map(|slot| (metric.distance(&query, snapshot.vector(slot)), slot)).collect();
    expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    expected.truncate(k);
    let found: Vec<(f32, u32)> = hits.iter().map(|hit| (hit.distance, hit.row)).collect();
    if snapshot.settings().index == IndexSpec::FLAT {
        assert_eq!(found, expected);
    } else {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().all(|(_, slot)| snapshot.live().contains(*slot)));
    }
    compare_words(snapshot, random);
}

/// Compares one document with what it should be, or not be.
pub fn compare_document(snapshot: &Snapshot, id: &str, expected: Option<&NewDocument>, metric: Metric) {
    let stored = snapshot.document(id).unwrap();
    let Some(document) = expected else { return assert!(stored.is_empty(), "{id} was deleted") };
    assert_eq!(stored.len(), document.items.len(), "{id}");
    for (ordinal, (stored, item)) in stored.iter().zip(&document.items).enumerate() {
        assert_eq!((stored.document.as_str(), stored.ordinal as usize), (id, ordinal));
        assert_eq!((&stored.text, &stored.metadata), (&item.text, &item.metadata));
        assert!(snapshot.live().contains(stored.slot));
        let vector = stored_form(metric, &item.vector);
        assert_eq!(snapshot.vector(stored.slot), vector, "{id}");
    }
    let slots: Vec<u32> = stored.iter().map(|stored| stored.slot).collect();
    let sentences: Vec<Option<Vec<u8>>> = document.items.iter().map(|item| item.sentences.clone()).collect();
    assert_eq!(snapshot.sentences(&slots).unwrap(), sentences, "{id}");
    let thumbnail = document.items.first().and_then(|item| item.thumbnail.clone());
    assert_eq!(snapshot.thumbnail(id).unwrap(), thumbnail);
}

/// A whole number from the environment; what makes a test long, or different, is set there.
pub fn number_from(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, expected a whole number"))
        }
        Err(_) => default,
    }
}

/// Unit length under cosine, as the store keeps it.
pub fn stored_form(metric: Metric, vector: &[f32]) -> Vec<f32> {
    if metric != Metric::Cosine {
        return vector.to_vec();
    }
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    vector.iter().map(|value| (f64::from(*value) / length) as f32).collect()
}
