//! What a server does with open collections: replacing damaged ones, reading at a pace, searching with another effort.
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bilin_index::{Effort, IndexSpec, Metric, Rows};
use bilin_store::{Batch, BuildPolicy, DataDir, Due, LowRecall, MaintainOptions, Pace, StoreError};

use crate::sample::{Model, Random, compare, document, item, settings};

const DIM: usize = 8;
const BY_HAND: MaintainOptions<'_> =
    MaintainOptions { force: false, threads: 1, memory_bytes: None, progress: None };

fn batch(from: usize, to: usize, random: &mut Random) -> Batch {
    let upsert = (from..to).map(|at| document(&at.to_string(), vec![item(random.vector(DIM), "text")]));
    Batch { upsert: upsert.collect(), ..Batch::default() }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    // A copy in its place: the file that is mapped stays as it is.
    let aside = path.with_extension("damaged");
    fs::write(&aside, bytes).unwrap();
    fs::rename(aside, path).unwrap();
}

#[test]
fn a_backup_takes_the_place_of_an_open_collection() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
    let mut random = Random(21);
    let first = batch(0, 100, &mut random);
    let model: Model = first.upsert.iter().map(|document| (document.id.clone(), document.clone())).collect();
    notes.apply(first).unwrap();
    data.backup(&notes).unwrap();
    for round in 1..4 {
        notes.apply(batch(round * 100, round * 100 + 50, &mut random)).unwrap();
    }
    flip(&folder.path().join("collections/notes/vectors/000000.rows"), 4096 + 9);
    let damage = notes.verify(false).unwrap_err();
    let before = notes.snapshot();
    // Other collections are made while the copy is.
    let done = AtomicBool::new(false);
    let (restored, fail_over) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Ordering::Relaxed) || number == 0 {
                let settings = settings(DIM, Metric::L2, IndexSpec::FLAT);
                data.create(&format!("other-{number}"), &settings).unwrap();
                number += 1;
            }
        });
        let replaced = data.fail_over(&notes, damage).unwrap();
        done.store(true, Ordering::Relaxed);
        replaced
    });
    assert_eq!(fail_over.missing, "commits 2 to 4 are missing");
    assert!(restored.incident().unwrap().contains("commits 2 to 4 are missing"));
    compare(&restored.snapshot(), &model, Metric::L2, &mut random);
    assert!(fail_over.quarantined.join("vectors/000000.rows").is_file());
    // The one before takes nothing new; who reads it goes on.
    let late = notes.apply(batch(0, 1, &mut random));
    assert!(notes.is_closed() && matches!(late, Err(StoreError::Replaced { .. })), "{late:?}");
    assert_eq!((before.count(), before.items(&[0]).unwrap().len()), (250, 1));
    assert!(Arc::ptr_eq(&data.open_collection("notes").unwrap(), &restored));
    restored.apply(batch(0, 1, &mut random)).unwrap();
}

#[test]
fn damage_that_no_backup_mends_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("collections/notes/damaged.txt");
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
    let mut random = Random(22);
    notes.apply(batch(0, 100, &mut random)).unwrap();
    let damage = || StoreError::Corrupt { what: "000000.rows".to_owned(), detail: "a test".to_owned() };
    assert!(matches!(data.fail_over(&notes, damage()), Err(StoreError::Corrupt { .. })));
    assert!(matches!(notes.apply(batch(1, 2, &mut random)), Err(StoreError::WritesStopped { .. })));
    assert!(fs::read_to_string(&mark).unwrap().contains("a test"));
    drop((notes, data));
    // Nothing is wrong with it after all: it was read whole, and the mark goes.
    let data = DataDir::open(folder.path()).unwrap();
    let (notes, fail_over) = data.open_or_fail_over("notes").unwrap();
    assert!(fail_over.is_none() && !mark.exists());
    notes.apply(batch(1, 2, &mut random)).unwrap();
}

#[test]
fn a_backup_whose_files_rotted_is_passed_over_and_not_linked_to() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
    let mut random = Random(23);
    notes.apply(batch(0, 100, &mut random)).unwrap();
    let pace = Arc::new(Pace::new(None));
    let first = data.backup(&notes).unwrap();
    data.verify_backup_paced(&first, &pace).unwrap();
    let file = first.path.join("vectors/000000.rows");
    flip(&file, 4096 + 9);
    assert!(matches!(data.verify_backup_paced(&first, &pace), Err(StoreError::Corrupt { .. })));
    // The rows are the same, so they would be linked.
    let second = data.backup(&notes).unwrap();
    data.verify_backup(&second).unwrap();
    // One that lost a file is passed over, too.
    fs::remove_file(second.path.join("vectors/000000.rows")).unwrap();
    fs::remove_file(&file).unwrap();
    let damage = StoreError::Corrupt { what: "000000.rows".to_owned(), detail: "a test".to_owned() };
    let error = data.fail_over(&notes, damage).map(drop).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { detail, .. } if detail == "a test"), "{error}");
}

#[test]
fn reading_back_keeps_its_pace_and_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.create("notes", &settings(64, Metric::L2, IndexSpec::FLAT)).unwrap();
    let mut random = Random(24);
    let upsert = (0..2_000).map(|at| document(&at.to_string(), vec![item(random.vector(64), "text")]));
    notes.apply(Batch { upsert: upsert.collect(), ..Batch::default() }).unwrap();
    // Eight blocks of 64 KiB at 1 MiB/s.
    let started = Instant::now();
    notes.verify_paced(false, &Arc::new(Pace::new(Some(1 << 20)))).unwrap();
    assert!(started.elapsed() > Duration::from_millis(400), "{:?}", started.elapsed());
    let slow = Arc::new(Pace::new(Some(1)));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| notes.verify_paced(false, &slow));
        std::thread::sleep(Duration::from_millis(50));
        slow.stop();
        assert!(matches!(reading.join().unwrap(), Err(StoreError::Cancelled)));
    });
    let stopped = Arc::new(Pace::new(None));
    stopped.stop();
    assert!(matches!(data.backup_paced(&notes, &stopped), Err(StoreError::Cancelled)));
    assert!(data.list_backups("notes").unwrap().good.is_empty());
    assert_eq!(notes.scrubbed_unix_s().unwrap(), None);
    notes.note_scrubbed().unwrap();
    assert!(notes.scrubbed_unix_s().unwrap().is_some());
    assert_eq!(notes.snapshot().seq(), 1, "no commit of its own");
}

#[test]
fn another_effort_serves_until_the_next_build() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::hnsw(8))).unwrap();
    let mut random = Random(25);
    notes.apply(batch(0, 500, &mut random)).unwrap();
    notes.maintain(&BY_HAND).unwrap();
    let low = LowRecall { generation: 1, recall_at_10: 0.5, high: 0.6, samples: 60 };
    let policy = BuildPolicy { low_recall: Some(low), ..BuildPolicy::default() };
    assert!(matches!(notes.due(&policy), Due::Effort(_)));
    assert!(notes.maintain_by(&policy, &BY_HAND).unwrap().built.is_none(), "it would be the same again");
    assert!(!notes.set_effort(7, Effort::Ef(99), None).unwrap(), "no such generation");
    assert!(notes.set_effort(1, Effort::Ef(99), None).unwrap());
    let served = |notes: &bilin_store::Collection| notes.status().generation.unwrap().effort;
    assert_eq!((notes.snapshot().effort(), served(&notes)), (Some(Effort::Ef(99)), Effort::Ef(99)));
    drop((notes, data));
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.open_collection("notes").unwrap();
    assert_eq!(served(&notes), Effort::Ef(99), "also after a restart");
    notes.apply(batch(500, 560, &mut random)).unwrap();
    assert!(matches!(notes.due(&policy), Due::Build(_)), "rows changed by a tenth");
    notes.maintain_by(&policy, &BY_HAND).unwrap();
    assert_ne!(served(&notes), Effort::Ef(99));
}

#[test]
fn a_refine_depth_serves_until_the_next_build_and_changes_what_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let spec: IndexSpec = "IVF4,RaBitQ,RFlat".parse().unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, spec)).unwrap();
    let mut random = Random(26);
    notes.apply(batch(0, 2_000, &mut random)).unwrap();
    notes.maintain(&BY_HAND).unwrap();
    let queries: Vec<Vec<f32>> = (0..50).map(|_| random.vector(DIM)).collect();
    let found = |notes: &bilin_store::Collection, effort| -> usize {
        let snapshot = notes.snapshot();
        let search = |query: &[f32], effort| {
            let hits = snapshot.search(Rows::new(query, DIM).unwrap(), 10, effort, None).unwrap();
            hits[0].iter().map(|hit| hit.row).collect::<Vec<_>>()
        };
        let right = |query: &Vec<f32>| {
            let truth = search(query, Some(Effort::Exact));
            search(query, effort).iter().filter(|row| truth.contains(row)).count()
        };
        queries.iter().map(right).sum()
    };
    let as_built = found(&notes, Some(Effort::Nprobe(4)));
    let edition = notes.snapshot().edition();
    assert!(notes.set_effort(1, Effort::Nprobe(4), Some(1)).unwrap());
    assert_ne!(notes.snapshot().edition(), edition, "cached answers are of another edition");
    let shallow = found(&notes, None);
    // Of one bit a value, the ten best are seldom the ten nearest.
    assert!(shallow + 50 < as_built, "{shallow} beside {as_built}");
    drop((notes, data));
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.open_collection("notes").unwrap();
    let status = notes.status().generation.unwrap();
    assert_eq!((status.effort, status.refine), (Effort::Nprobe(4), Some(1)), "also after a restart");
    assert_eq!(found(&notes, None), shallow);
    notes.maintain(&MaintainOptions { force: true, ..BY_HAND }).unwrap();
    assert_eq!(notes.status().generation.unwrap().refine, None);
}
