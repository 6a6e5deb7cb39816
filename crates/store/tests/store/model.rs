//! Seeded random operations on a collection and on a plain map, compared again and again, with reopening at random places.
use std::sync::Arc;

use bilin_index::{Codec, IndexSpec, Metric};
use bilin_store::{Applied, Batch, Collection, DataDir, MaintainOptions, NewDocument, Snapshot};

use crate::sample::{Model, Random, compare, document, item, settings};

const OPERATIONS: usize = 400;
const DIM: usize = 5;
const IDS: usize = 60;
const FILES: usize = 8;

fn random_batch(random: &mut Random, step: usize) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..random.below(3) {
        batch.delete.push(format!("文-{}", random.below(IDS)));
    }
    if random.below(8) == 0 {
        batch.delete_files.push(format!("/docs/{}", random.below(FILES)));
    }
    for number in 0..random.below(6) {
        let items = (0..random.below(5))
            .map(|at| {
                let mut item =
                    item(random.vector(DIM), &format!("step {step}, document {number}, item {at}"));
                if random.below(3) == 0 {
                    item.thumbnail = Some(random.next().to_le_bytes().to_vec());
                }
                item
            })
            .collect();
        let mut new = document(&format!("文-{}", random.below(IDS)), items);
        if random.below(2) == 0 {
            new.file = Some(format!("/docs/{}", random.below(FILES)));
        }
        batch.upsert.push(new);
    }
    batch
}

/// What `batch` does to the map.
fn apply(model: &mut Model, batch: &Batch) -> Applied {
    let before = model.clone();
    for id in &batch.delete {
        model.remove(id);
    }
    for file in &batch.delete_files {
        model.retain(|_, document| document.file.as_ref() != Some(file));
    }
    for new in &batch.upsert {
        model.insert(new.id.clone(), new.clone());
    }
    let written = |id: &String| batch.upsert.iter().any(|document: &NewDocument| document.id == *id);
    Applied {
        seq: 0,
        added: model.keys().filter(|id| !before.contains_key(*id)).count(),
        updated: before.keys().filter(|id| written(id)).count(),
        deleted: before.keys().filter(|id| !model.contains_key(*id)).count(),
    }
}

fn run(seed: u64, metric: Metric, index: IndexSpec) {
    println!("seed {seed}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut data = DataDir::open(folder.path()).unwrap();
    let mut collection: Arc<Collection> =
        data.create_with_segments("模型", &settings(DIM, metric, index), 32).unwrap();
    let mut model = Model::new();
    let mut kept: Vec<(Arc<Snapshot>, Model)> = Vec::new();
    let mut seq = 0;
    for step in 0..OPERATIONS {
        let batch = random_batch(&mut random, step);
        let expected = apply(&mut model, &batch);
        let applied = collection.apply(batch).unwrap();
        let changed = expected.added + expected.updated + expected.deleted > 0;
        seq += u64::from(changed);
        assert_eq!(applied, Applied { seq, ..expected }, "step {step}");
        match random.below(20) {
            0 => {
                kept.clear();
                drop(collection);
                drop(data);
                data = DataDir::open(folder.path()).unwrap();
                collection = data.open_collection("模型").unwrap();
                assert_eq!(collection.status().warnings, Vec::<String>::new());
                collection.verify(true).unwrap();
            }
            1 => kept.push((collection.snapshot(), model.clone())),
            2 => {
                collection
                    .maintain(&MaintainOptions {
                        force: random.below(2) == 0,
                        threads: 1,
                        memory_bytes: None,
                        progress: None,
                    })
                    .unwrap();
            }
            3..8 => compare(&collection.snapshot(), &model, metric, &mut random),
            _ => {}
        }
        if let Some(at) =
            (!kept.is_empty()).then(|| random.below(kept.len() * 10)).filter(|at| *at < kept.len())
        {
            let (snapshot, model) = kept.swap_remove(at);
            compare(&snapshot, &model, metric, &mut random);
        }
    }
    for (snapshot, model) in &kept {
        compare(snapshot, model, metric, &mut random);
    }
    compare(&collection.snapshot(), &model, metric, &mut random);
}

#[test]
fn a_collection_behaves_like_a_map_l2() {
    run(1, Metric::L2, IndexSpec::FLAT);
}

#[test]
fn a_collection_behaves_like_a_map_inner_product() {
    run(2, Metric::InnerProduct, IndexSpec::FLAT);
}

#[test]
fn a_collection_behaves_like_a_map_cosine() {
    run(3, Metric::Cosine, IndexSpec::FLAT);
}

#[test]
fn a_collection_behaves_like_a_map_hnsw() {
    run(4, Metric::L2, IndexSpec::hnsw(8));
}

#[test]
fn a_collection_behaves_like_a_map_ivf() {
    run(5, Metric::Cosine, IndexSpec::ivf(4, Codec::Flat));
}
