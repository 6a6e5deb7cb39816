//! Damage that is found while collections are in use.

use crate::support::{vectors, wait_until};
use crate::upkeep::{DIM, add, create, job, of, open, quick};
use bilin_engine::{Engine, ErrorKind, Job, Outcome, Query, Target, UpkeepPolicy};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// Overwrites one byte in place: the file stays the one that is mapped.
fn damage(path: &Path, at: u64, byte: u8) {
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("a file");
    file.seek(SeekFrom::Start(at)).expect("a place");
    file.write_all(&[byte]).expect("written");
}

fn found(engine: &Engine, name: &str, number: u64) -> bool {
    let query = Query::new(Target::Vector(vectors(1, DIM, number).remove(0)));
    let answer = engine.search(name, &query).expect("an answer");
    answer.results.first().is_some_and(|first| first.id == number.to_string() && first.l2_distance == 0.0)
}

#[test]
fn damaged_rows_give_way_to_the_newest_backup_while_others_are_served() {
    let root = tempfile::tempdir().expect("a folder");
    let scrub_every = Some(Duration::from_millis(300));
    let engine = open(root.path(), UpkeepPolicy { scrub_every, ..quick() });
    create(&engine, "points", "Flat");
    create(&engine, "others", "Flat");
    add(&engine, "others", 0, 100);
    add(&engine, "points", 0, 100);
    engine.backup("points", 7).expect("a backup");
    add(&engine, "points", 100, 150);
    add(&engine, "points", 150, 151);
    let upkeep = engine.start_upkeep();
    wait_until("a check", || job(&engine, "points", Job::Scrub).ok > 0);
    let rows = root.path().join("data/collections/points/vectors/000000.rows");
    damage(&rows, 4096 + 33, 0x7f);
    wait_until("a fail-over", || of(&engine, "points").fail_overs == 1);
    wait_until("its end", || job(&engine, "points", Job::FailOver).ok == 1);
    assert!(found(&engine, "points", 0) && found(&engine, "points", 99) && !found(&engine, "points", 120));
    assert!(found(&engine, "others", 5) && of(&engine, "others").fail_overs == 0);
    let health = engine.health();
    assert_eq!(health.status, "degraded");
    let info = engine.collection("points").expect("it");
    let told = |told: &String| told.contains("commits 2 to 3 are missing") && told.contains("000000.rows");
    assert!(info.status.warnings.iter().any(told), "{info:?}");
    assert_eq!(engine.quarantined_collections(), 1, "the damaged one is kept");
    assert_eq!(engine.collection("others").expect("it").health, "ok");
    // Life goes on.
    add(&engine, "points", 100, 160);
    assert!(found(&engine, "points", 120));
    drop(upkeep);
    drop(engine);
    let engine = open(root.path(), quick());
    assert!(engine.collection("points").expect("it").status.warnings.iter().any(told), "until it was read");
    engine.acknowledge("points").expect("read");
    assert_eq!(engine.health().status, "healthy");
}

#[test]
fn a_catalog_that_searches_find_damaged_is_looked_into_and_replaced() {
    let root = tempfile::tempdir().expect("a folder");
    let engine = open(root.path(), quick());
    create(&engine, "points", "Flat");
    add(&engine, "points", 0, 2_000);
    engine.backup("points", 7).expect("a backup");
    drop(engine);
    // Opened again, so that no connection holds pages in memory.
    let engine = open(root.path(), quick());
    let _upkeep = engine.start_upkeep();
    let catalog = root.path().join("data/collections/points/catalog.sqlite");
    let pages = fs::metadata(&catalog).expect("it").len() / 4096;
    for page in 4..pages {
        damage(&catalog, page * 4096, 0xee);
    }
    let mut number = 0;
    wait_until("a fail-over", || {
        number = (number + 37) % 2_000;
        let query = Query::new(Target::Vector(vectors(1, DIM, number).remove(0)));
        if let Err(error) = engine.search("points", &query) {
            assert!(matches!(error.kind, ErrorKind::Damaged | ErrorKind::Busy), "{error}");
        }
        of(&engine, "points").fail_overs == 1
    });
    for number in [0, 1_000, 1_999] {
        assert!(found(&engine, "points", number));
    }
    let info = engine.collection("points").expect("it");
    assert!(info.status.warnings.iter().any(|told| told.contains("no commit is missing")), "{info:?}");
}

#[test]
fn without_a_good_backup_nothing_is_answered_from_damaged_rows() {
    let root = tempfile::tempdir().expect("a folder");
    let scrub_every = Some(Duration::from_millis(300));
    let engine = open(root.path(), UpkeepPolicy { scrub_every, ..quick() });
    create(&engine, "points", "Flat");
    create(&engine, "others", "Flat");
    add(&engine, "others", 0, 100);
    add(&engine, "points", 0, 100);
    drop(engine);
    // Closing empties the row log, which would bring the rows back at the next start.
    let engine = open(root.path(), UpkeepPolicy { scrub_every, ..quick() });
    let rows = root.path().join("data/collections/points/vectors/000000.rows");
    let good = fs::read(&rows).expect("rows")[4096 + 33];
    damage(&rows, 4096 + 33, !good);
    let upkeep = engine.start_upkeep();
    wait_until("it is out of service", || engine.health().broken.len() == 1);
    let query = Query::new(Target::Vector(vectors(1, DIM, 5).remove(0)));
    let error = engine.search("points", &query).expect_err("no answer is better than a wrong one");
    assert_eq!(error.kind, ErrorKind::Damaged);
    assert!(error.message.contains("no good backup"), "{error}");
    assert!(found(&engine, "others", 5), "the others are served");
    assert!(rows.is_file(), "nothing is deleted");
    drop(upkeep);
    drop(engine);
    let engine = open(root.path(), quick());
    assert_eq!(engine.health().broken.len(), 1, "still");
    drop(engine);
    // Mended by hand: read whole, and served again.
    damage(&rows, 4096 + 33, good);
    let engine = open(root.path(), quick());
    assert!(engine.health().broken.is_empty() && found(&engine, "points", 5));
    assert!(!root.path().join("data/collections/points/damaged.txt").exists());
}

#[test]
fn a_damaged_index_is_built_again_by_itself() {
    let root = tempfile::tempdir().expect("a folder");
    let scrub_every = Some(Duration::from_millis(300));
    let engine = open(root.path(), UpkeepPolicy { scrub_every, ..quick() });
    let _upkeep = engine.start_upkeep();
    create(&engine, "points", "HNSW8");
    add(&engine, "points", 0, 500);
    let number = || engine.collection("points").expect("it").status.generation.map(|live| live.number);
    wait_until("an index", || number() == Some(1));
    let index = root.path().join("data/collections/points/index/1.idx");
    // A copy takes its place, so that the map in use stays what it was.
    let mut bytes = fs::read(&index).expect("an index");
    bytes[700] ^= 1;
    fs::write(index.with_extension("damaged"), &bytes).expect("a copy");
    fs::rename(index.with_extension("damaged"), &index).expect("in its place");
    wait_until("another index", || number() == Some(2));
    assert_eq!(engine.collection("points").expect("it").status.quarantined_files, 1);
    wait_until("a good check", || job(&engine, "points", Job::Scrub).outcome == Some(Outcome::Ok));
    wait_until("all well", || engine.health().status == "healthy");
    assert_eq!(of(&engine, "points").fail_overs, 0, "commits are not given up for an index");
    assert!(found(&engine, "points", 5));
}

#[test]
fn a_damaged_backup_gets_a_successor() {
    let root = tempfile::tempdir().expect("a folder");
    let (scrub_every, backup_every) = (Some(Duration::from_millis(300)), Some(Duration::from_secs(3_600)));
    let engine = open(root.path(), UpkeepPolicy { scrub_every, backup_every, ..quick() });
    create(&engine, "points", "Flat");
    add(&engine, "points", 0, 500);
    let first = engine.backup("points", 7).expect("a backup");
    damage(&first.path.join("vectors/000000.rows"), 4096 + 99, 0x7f);
    let _upkeep = engine.start_upkeep();
    let newest = || engine.backups(Some("points")).expect("listed").remove(0).good.remove(0);
    wait_until("another backup", || newest().path != first.path);
    // It shares no file with the damaged one.
    wait_until("a check of it", || {
        let scrub = job(&engine, "points", Job::Scrub);
        scrub.reason.contains("so is the newest backup")
    });
}
