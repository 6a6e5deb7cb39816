//! What is done without being asked for: builds, backups, checks; by schedules of milliseconds on real files.

use crate::support::{config, vectors, wait_until};
use bilin_engine::{
    CollectionUpkeep, DocumentContent, Engine, Job, JobStatus, NewCollection, NewDocument, Outcome, Query,
    Target, UpkeepPolicy,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const DIM: usize = 8;

/// Looks often, samples nothing, makes and checks nothing unless told to.
pub fn quick() -> UpkeepPolicy {
    UpkeepPolicy {
        backup_every: None,
        scrub_every: None,
        scrub_bytes_per_s: None,
        recall_sample_every: 0,
        settle: Duration::from_millis(100),
        look_every: Duration::from_millis(50),
        retry_after: Duration::from_millis(200),
        build_threads: 1,
        ..UpkeepPolicy::default()
    }
}

pub fn open(root: &Path, upkeep: UpkeepPolicy) -> Arc<Engine> {
    let mut config = config(root);
    config.upkeep = upkeep;
    Arc::new(Engine::open(config).expect("an engine"))
}

pub fn create(engine: &Engine, name: &str, index: &str) {
    let new = NewCollection {
        dim: Some(DIM),
        metric: Some(bilin_engine::Metric::L2),
        index: Some(index.parse().expect("a spec")),
        ..NewCollection::default()
    };
    engine.create(name, &new).expect("made");
}

/// Documents `from..to` with a vector each that depends on the number alone.
pub fn add(engine: &Engine, name: &str, from: usize, to: usize) -> u64 {
    let documents = (from..to).map(|number| NewDocument {
        id: Some(number.to_string()),
        content: Some(DocumentContent::Vector(vectors(1, DIM, number as u64).remove(0))),
        ..NewDocument::default()
    });
    engine.add_documents(name, documents.collect()).expect("added").seq
}

pub fn of(engine: &Engine, name: &str) -> CollectionUpkeep {
    let status = engine.upkeep_status();
    status.collections.into_iter().find(|collection| collection.name == name).expect("it is there")
}

pub fn job(engine: &Engine, name: &str, job: Job) -> JobStatus {
    of(engine, name).jobs.into_iter().find(|status| status.job == job).expect("every job")
}

fn generation_rows(engine: &Engine, name: &str) -> usize {
    let info = engine.collection(name).expect("it");
    info.status.generation.map_or(0, |generation| generation.rows)
}

#[test]
fn api_adds_build_indexes_by_themselves_when_rows_grew_by_half() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), quick());
    let _upkeep = engine.start_upkeep();
    create(&engine, "points", "HNSW8");
    add(&engine, "points", 0, 400);
    wait_until("a first index", || generation_rows(&engine, "points") == 400);
    add(&engine, "points", 400, 500);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(generation_rows(&engine, "points"), 400, "a quarter more is no reason");
    add(&engine, "points", 500, 600);
    wait_until("a second index", || generation_rows(&engine, "points") == 600);
    wait_until("the job's end", || job(&engine, "points", Job::Build).ok == 2);
    let build = job(&engine, "points", Job::Build);
    assert!(build.reason.contains("200 rows were added to the 400 indexed ones"), "{build:?}");
    assert_eq!((build.outcome, build.is_running), (Some(Outcome::Ok), false));
    assert!(engine.upkeep_status().is_running);
    engine.remove("points").expect("removed");
    assert!(engine.upkeep_status().collections.is_empty());
}

#[test]
fn what_cannot_be_built_is_not_tried_again_and_again() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), quick());
    let _upkeep = engine.start_upkeep();
    create(&engine, "few", "IVF64,Flat");
    add(&engine, "few", 0, 10);
    wait_until("a first try", || job(&engine, "few", Job::Build).skipped > 0);
    std::thread::sleep(Duration::from_millis(800));
    let build = job(&engine, "few", Job::Build);
    assert_eq!((build.skipped, build.failed), (1, 0), "{build:?}");
    assert!(build.reason.contains("search stays exact"), "{build:?}");
    add(&engine, "few", 10, 3_000);
    wait_until("an index", || generation_rows(&engine, "few") == 3_000);
}

#[test]
fn backups_are_scheduled_kept_to_a_number_and_not_made_of_what_is_saved() {
    let root = tempfile::tempdir().expect("a folder");
    let policy = UpkeepPolicy { backup_every: Some(Duration::from_millis(200)), backups_kept: 2, ..quick() };
    let engine = open(root.path(), policy.clone());
    let upkeep = engine.start_upkeep();
    create(&engine, "points", "Flat");
    create(&engine, "empty", "Flat");
    let backups = |engine: &Engine| engine.backups(Some("points")).expect("listed").remove(0).good;
    for round in 0..4_usize {
        let seq = add(&engine, "points", round * 10, round * 10 + 10);
        wait_until("a backup", || backups(&engine).first().is_some_and(|newest| newest.seq == seq));
    }
    wait_until("the job's end", || job(&engine, "points", Job::Backup).ok >= 4);
    assert_eq!(backups(&engine).len(), 2);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(job(&engine, "points", Job::Backup).ok, 4, "nothing changed, nothing is saved");
    assert!(of(&engine, "points").newest_backup_unix_s.is_some());
    assert!(engine.backups(Some("empty")).expect("listed").remove(0).good.is_empty());
    drop(upkeep);
    drop(engine);
    // A restart repeats nothing.
    let engine = open(root.path(), policy);
    let _upkeep = engine.start_upkeep();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(job(&engine, "points", Job::Backup).ok, 0);
    assert_eq!(engine.health().status, "healthy", "{:?}", engine.health());
}

#[test]
fn a_job_that_fails_waits_longer_each_time_and_is_told_of() {
    let root = tempfile::tempdir().expect("a folder");
    let policy = UpkeepPolicy { backup_every: Some(Duration::from_millis(100)), ..quick() };
    let engine = open(root.path(), policy);
    let _upkeep = engine.start_upkeep();
    create(&engine, "points", "Flat");
    // A file where the folder of backups is to be.
    let place = root.path().join("data/backups");
    std::fs::write(&place, "in the way").expect("a file");
    add(&engine, "points", 0, 10);
    wait_until("two failures", || job(&engine, "points", Job::Backup).failed >= 2);
    std::thread::sleep(Duration::from_millis(500));
    let failed = job(&engine, "points", Job::Backup).failed;
    assert!(failed <= 5, "{failed} times in half a second is a tight loop");
    let info = engine.collection("points").expect("it");
    assert!(info.status.warnings.iter().any(|told| told.contains("backup failed")), "{info:?}");
    assert_eq!((info.health.as_str(), engine.health().status.as_str()), ("degraded", "degraded"));
    std::fs::remove_file(&place).expect("out of the way");
    wait_until("a backup", || job(&engine, "points", Job::Backup).ok == 1);
    assert_eq!(engine.collection("points").expect("it").health, "ok");
}

#[test]
fn checks_are_scheduled_and_remembered() {
    let root = tempfile::tempdir().expect("a folder");
    let policy = UpkeepPolicy { scrub_every: Some(Duration::from_secs(3_600)), ..quick() };
    let engine = open(root.path(), policy.clone());
    let upkeep = engine.start_upkeep();
    create(&engine, "points", "Flat");
    add(&engine, "points", 0, 10);
    wait_until("a check", || job(&engine, "points", Job::Scrub).ok == 1);
    let scrub = job(&engine, "points", Job::Scrub);
    assert!(scrub.reason.contains("10 items"), "{scrub:?}");
    drop(upkeep);
    drop(engine);
    let engine = open(root.path(), policy);
    let _upkeep = engine.start_upkeep();
    wait_until("a plan", || job(&engine, "points", Job::Scrub).next_due_unix_s.is_some());
    std::thread::sleep(Duration::from_millis(400));
    let scrub = job(&engine, "points", Job::Scrub);
    assert_eq!(scrub.ok, 0, "it was checked less than an hour ago");
}

#[test]
fn upkeep_stops_at_once_and_can_be_started_again() {
    let root = tempfile::tempdir().expect("a folder");
    let policy = UpkeepPolicy {
        // A check that would take days.
        scrub_every: Some(Duration::from_millis(100)),
        scrub_bytes_per_s: Some(1),
        ..quick()
    };
    let engine = open(root.path(), policy);
    create(&engine, "points", "HNSW32");
    for part in 0..6 {
        add(&engine, "points", part * 5_000, (part + 1) * 5_000);
    }
    let upkeep = engine.start_upkeep();
    let second = engine.start_upkeep();
    drop(second);
    assert!(engine.upkeep_status().is_running, "one of two that were started goes on");
    wait_until("a job", || of(&engine, "points").jobs.iter().any(|job| job.is_running));
    let started = Instant::now();
    drop(upkeep);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(!engine.upkeep_status().is_running);
    let upkeep = engine.start_upkeep();
    wait_until("a job", || of(&engine, "points").jobs.iter().any(|job| job.is_running));
    drop(upkeep);
    let query = Query::new(Target::Vector(vectors(1, DIM, 1).remove(0)));
    assert_eq!(engine.search("points", &query).expect("an answer").results[0].id, "1");
}

#[test]
fn space_of_what_was_deleted_is_given_back() {
    let root = tempfile::tempdir().expect("a folder");
    let mut config = config(root.path());
    config.upkeep = UpkeepPolicy { compact_every: Some(Duration::from_millis(100)), ..quick() };
    config.rows_per_segment = Some(64);
    let engine = Arc::new(Engine::open(config).expect("an engine"));
    let _upkeep = engine.start_upkeep();
    create(&engine, "points", "Flat");
    // With so much beside the vectors that giving it back is worth the work.
    let note = serde_json::json!("n".repeat(6_000));
    let documents = (0..1_000).map(|number| NewDocument {
        id: Some(number.to_string()),
        content: Some(DocumentContent::Vector(vectors(1, DIM, number).remove(0))),
        metadata: [("note".to_owned(), note.clone())].into_iter().collect(),
    });
    engine.add_documents("points", documents.collect()).expect("added");
    let segments =
        || std::fs::read_dir(root.path().join("data/collections/points/vectors")).expect("a folder").count();
    assert_eq!(segments(), 16);
    let ids: Vec<String> = (0..900).map(|number| number.to_string()).collect();
    engine.delete_documents("points", &ids).expect("deleted");
    wait_until("fewer segments", || segments() < 8);
    wait_until("the job's end", || job(&engine, "points", Job::Compact).ok > 0);
    let query = Query::new(Target::Vector(vectors(1, DIM, 950).remove(0)));
    assert_eq!(engine.search("points", &query).expect("an answer").results[0].id, "950");
    engine.verify("points", true).expect("all as it was written");
}
