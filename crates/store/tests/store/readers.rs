//! Readers beside a writer and builds: every view is one commit.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bilin_index::{Codec, IndexSpec, Metric, Rows};
use bilin_store::{Batch, DataDir, MaintainOptions, Snapshot};

use crate::sample::{Random, document, item, settings};

const DIM: usize = 4;
const DOCUMENTS: usize = 40;
const ITEMS: usize = 3;
const DURATION: Duration = Duration::from_secs(3);

/// Commit `n` replaces every document; all items of a commit carry `n` in vector, text and metadata.
fn commit(version: u64) -> Batch {
    let upsert = (0..DOCUMENTS)
        .map(|id| {
            let items = (0..ITEMS)
                .map(|at| item(vec![version as f32, id as f32, at as f32, 0.0], &version.to_string()))
                .collect();
            document(&id.to_string(), items)
        })
        .collect();
    Batch { upsert, ..Batch::default() }
}

fn check(snapshot: &Snapshot, random: &mut Random) {
    let version = snapshot.seq().to_string();
    assert_eq!((snapshot.documents(), snapshot.count()), (DOCUMENTS, DOCUMENTS * ITEMS));
    let query = [snapshot.seq() as f32, random.below(DOCUMENTS) as f32, 1.0, 0.0];
    let k = 1 + random.below(DOCUMENTS * ITEMS + 10);
    let hits = snapshot.search(Rows::new(&query, DIM).unwrap(), k, None, None).unwrap().remove(0);
    assert_eq!(hits.len(), k.min(DOCUMENTS * ITEMS));
    let slots: Vec<u32> = hits.iter().map(|hit| hit.row).collect();
    for item in snapshot.items(&slots).unwrap() {
        assert_eq!(item.text.as_ref(), Some(&version));
        assert_eq!(snapshot.vector(item.slot)[0], snapshot.seq() as f32);
    }
    let id = random.below(DOCUMENTS).to_string();
    let items = snapshot.document(&id).unwrap();
    assert_eq!(items.len(), ITEMS);
    assert!(items.iter().all(|item| item.text.as_ref() == Some(&version)));
    let filter = format!("text = \"{version}\" AND first = {version}").parse().unwrap();
    assert_eq!(snapshot.select(&filter).unwrap().count(), DOCUMENTS * ITEMS);
    let other = format!("text != \"{version}\"").parse().unwrap();
    assert_eq!(snapshot.select(&other).unwrap().count(), 0);
}

fn run(index: IndexSpec) {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let collection = data.create_with_segments("notes", &settings(DIM, Metric::L2, index), 256).unwrap();
    collection.apply(commit(1)).unwrap();
    let stop = AtomicBool::new(false);
    let views = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..4 {
            let (collection, stop, views) = (&collection, &stop, &views);
            scope.spawn(move || {
                let mut random = Random(seed);
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    let snapshot = collection.snapshot();
                    assert!(snapshot.seq() >= last, "a newer view never goes back");
                    last = snapshot.seq();
                    // Held while commits and builds go on.
                    for _ in 0..3 {
                        check(&snapshot, &mut random);
                    }
                    views.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                collection
                    .maintain(&MaintainOptions {
                        force: true,
                        threads: 1,
                        memory_bytes: None,
                        progress: None,
                    })
                    .unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        });
        let started = Instant::now();
        let mut version = 1;
        while started.elapsed() < DURATION {
            version += 1;
            assert_eq!(collection.apply(commit(version)).unwrap().seq, version);
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{} views of {} commits", views.load(Ordering::Relaxed), collection.snapshot().seq());
    assert!(views.load(Ordering::Relaxed) > 10);
    assert!(collection.status().warnings.is_empty());
    collection.verify(true).unwrap();
}

#[test]
fn every_view_is_one_commit_exact() {
    run(IndexSpec::FLAT);
}

#[test]
fn every_view_is_one_commit_hnsw() {
    run(IndexSpec::hnsw(8));
}

#[test]
fn every_view_is_one_commit_ivf() {
    run(IndexSpec::ivf(4, Codec::Flat));
}
