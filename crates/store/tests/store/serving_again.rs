//! How long it takes from damage to answers out of a backup, and whether each of the seven backups kept gives back the
//! collection as it was.
//!
//! Small here; `./soak failover` sets `BILIN_ROWS=100000 BILIN_DIM=384` and shows the figures that it prints.
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use bilin_index::{IndexSpec, Metric, Rows};
use bilin_store::{Batch, Collection, DataDir, NewDocument};

use crate::sample::{Random, document, item, number_from, settings};

const ROWS: u64 = 2_000;
const DIM: u64 = 32;
const BACKUPS: usize = 7;
/// Documents of one commit, and of one comparison.
const TOGETHER: usize = 5_000;
/// Of a hundred documents, this many are put again between two backups.
const CHANGED_PERCENT: usize = 2;

/// The document as of a round: its vector, text and fields follow from id and round.
fn version(id: usize, round: u64, dim: usize) -> NewDocument {
    let mut random = Random(id as u64 * 1_000 + round);
    document(&id.to_string(), vec![item(random.vector(dim), &format!("document {id} of round {round}"))])
}

fn put(collection: &Collection, ids: &[usize], round: u64, dim: usize) {
    for ids in ids.chunks(TOGETHER) {
        let upsert = ids.iter().map(|id| version(*id, round, dim)).collect();
        collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
    }
}

/// Every document is as of the round in which it was put last.
fn compare(collection: &Collection, rounds: &[u64], dim: usize) {
    let snapshot = collection.snapshot();
    assert_eq!((snapshot.documents(), snapshot.count()), (rounds.len(), rounds.len()));
    let live: Vec<u32> = snapshot.live().iter().collect();
    for slots in live.chunks(TOGETHER) {
        for stored in snapshot.items(slots).unwrap() {
            let id: usize = stored.document.parse().unwrap();
            let expected = version(id, rounds[id], dim).items.remove(0);
            assert_eq!((&stored.text, &stored.metadata), (&expected.text, &expected.metadata));
            assert_eq!(snapshot.vector(stored.slot), expected.vector);
        }
    }
}

/// Flips one byte in the middle of a row file, as a failing disk does.
fn damage(rows: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(rows).unwrap();
    let mut byte = [0];
    let at = 4096 + 64 * 10;
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_backup_serves_soon_and_every_kept_one_is_what_it_was() {
    let (rows, dim) = (number_from("BILIN_ROWS", ROWS) as usize, number_from("BILIN_DIM", DIM) as usize);
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let settings = settings(dim, Metric::L2, IndexSpec::FLAT);
    let notes = data.create("notes", &settings).unwrap();
    let mut random = Random(number_from("BILIN_SEED", 1));
    let mut rounds = vec![0; rows];
    put(&notes, &(0..rows).collect::<Vec<_>>(), 0, dim);
    let mut kept = Vec::new();
    // One more than is kept, so that pruning is part of it.
    for round in 1..=BACKUPS as u64 + 1 {
        let mut changed: Vec<usize> =
            (0..(rows * CHANGED_PERCENT / 100).max(1)).map(|_| random.below(rows)).collect();
        changed.sort_unstable();
        changed.dedup();
        put(&notes, &changed, round, dim);
        changed.iter().for_each(|id| rounds[*id] = round);
        let started = Instant::now();
        let backup = data.backup(&notes).unwrap();
        println!("backup {round} made and read back in {:.2} s", started.elapsed().as_secs_f64());
        kept.push((backup, rounds.clone()));
    }
    data.prune_backups("notes", BACKUPS).unwrap();
    kept.remove(0);
    assert_eq!(data.list_backups("notes").unwrap().good.len(), BACKUPS);
    drop(notes);

    damage(&folder.path().join("collections/notes/vectors/000000.rows"));
    let started = Instant::now();
    let (notes, fail_over) = data.open_or_fail_over("notes").unwrap();
    let found = notes.snapshot().search(Rows::new(&vec![1.0; dim], dim).unwrap(), 10, None, None).unwrap();
    let served = started.elapsed().as_secs_f64();
    assert_eq!(found[0].len(), 10);
    println!("{rows} x {dim}: served from a backup {served:.2} s after a damaged collection was opened");
    assert_eq!(fail_over.unwrap().backup, kept.last().unwrap().0);
    compare(&notes, &kept.last().unwrap().1, dim);

    let mut notes = notes;
    for (backup, rounds) in &kept {
        let started = Instant::now();
        notes = data.restore(backup, Some(notes)).unwrap();
        println!("backup of {} restored in {:.2} s", backup.time(), started.elapsed().as_secs_f64());
        notes.verify(true).unwrap();
        compare(&notes, rounds, dim);
    }
    println!("{} backups restored and compared, 0 differences", kept.len());
}
