//! Commits that vanish without a trace in the catalog are noticed by their second witness, told of, and never by mistake.
use std::fs;
use std::path::Path;

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, Collection, DataDir, StoreError};

use crate::compatibility::copy;
use crate::sample::{Model, Random, compare, document, item, settings};

const DIM: usize = 4;
const COMMITS: u64 = 6;

fn add(notes: &Collection, model: &mut Model, seq: u64) {
    let mut random = Random(100 + seq);
    let upsert: Vec<_> =
        (0..20).map(|at| document(&format!("{seq}-{at}"), vec![item(random.vector(DIM), "text")])).collect();
    model.extend(upsert.iter().map(|document| (document.id.clone(), document.clone())));
    assert_eq!(notes.apply(Batch { upsert, ..Batch::default() }).unwrap().seq, seq);
}

/// Data folders as a process leaves them that is killed after each of some commits, and the model of each.
fn killed(at: &Path) -> Vec<Model> {
    let live = at.join("live");
    let data = DataDir::open(&live).unwrap();
    let notes = data.create_with_segments("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT), 32).unwrap();
    let (mut model, mut models) = (Model::default(), vec![Model::default()]);
    for seq in 1..=COMMITS {
        add(&notes, &mut model, seq);
        models.push(model.clone());
        copy(&live, &at.join(seq.to_string()));
    }
    models
}

fn check(folder: &Path, model: &Model, seq: u64) {
    let data = DataDir::open(folder).unwrap();
    let notes = data.open_collection("notes").unwrap();
    assert_eq!(notes.snapshot().seq(), seq);
    compare(&notes.snapshot(), model, Metric::L2, &mut Random(seq));
    notes.verify(true).unwrap();
    assert_eq!(notes.status().warnings, Vec::<String>::new());
}

#[test]
fn a_process_that_is_killed_leaves_a_witness_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    let models = killed(folder.path());
    for seq in [1, 2, COMMITS] {
        let image = folder.path().join(seq.to_string());
        check(&image, &models[seq as usize], seq);
        check(&image, &models[seq as usize], seq);
    }
}

#[test]
fn commits_behind_a_damaged_frame_of_the_log_are_missed_and_what_was_found_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let models = killed(folder.path());
    let image = folder.path().join(COMMITS.to_string());
    let live = image.join("collections/notes");
    let log = live.join("catalog.sqlite-wal");
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.len() - 6000;
    bytes[at] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let catalog = fs::read(live.join("catalog.sqlite")).unwrap();

    let data = DataDir::open(&image).unwrap();
    // Only looked at, and so as often as one likes.
    let found = (0..2)
        .map(|_| match data.open_collection("notes").err().unwrap() {
            StoreError::CommitsMissing { found, known: COMMITS } => found,
            error => panic!("{error}"),
        })
        .max()
        .unwrap();
    assert!((1..COMMITS).contains(&found));
    assert_eq!(fs::read(&log).unwrap(), bytes);
    let (notes, fail_over) = data.open_or_fail_over("notes").unwrap();
    assert!(fail_over.is_none());
    compare(&notes.snapshot(), &models[found as usize], Metric::L2, &mut Random(1));
    notes.verify(true).unwrap();
    let incident = notes.incident().unwrap();
    assert!(
        incident.contains(&format!("ends with commit {found}, but commit {COMMITS} was made")),
        "{incident}"
    );
    assert_eq!(notes.status().warnings, [incident]);
    let place = fs::read_dir(live.join("quarantine")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read(place.join("catalog.sqlite-wal")).unwrap(), bytes);
    assert_eq!(fs::read(place.join("catalog.sqlite")).unwrap(), catalog);
    assert!(place.join("head").is_file() && fs::read_dir(&place).unwrap().count() > 3, "rows too");

    // Life goes on; it is told until acknowledged, and not anew.
    let mut model = models[found as usize].clone();
    add(&notes, &mut model, found + 1);
    drop((notes, data));
    let data = DataDir::open(&image).unwrap();
    let (notes, _) = data.open_or_fail_over("notes").unwrap();
    assert!(notes.incident().is_some());
    notes.acknowledge().unwrap();
    drop((notes, data));
    check(&image, &model, found + 1);
}

#[test]
fn an_older_catalog_in_the_place_of_the_newest_is_missed_and_the_better_of_it_and_a_backup_serves() {
    for backup_at in [None, Some(1), Some(5)] {
        let folder = tempfile::tempdir().unwrap();
        let models = killed(folder.path());
        let (image, old) = (folder.path().join(COMMITS.to_string()), folder.path().join("3"));
        if let Some(seq) = backup_at {
            let source = folder.path().join(seq.to_string());
            let data = DataDir::open(&source).unwrap();
            data.backup(&data.open_collection("notes").unwrap()).unwrap();
            drop(data);
            copy(&source.join("backups"), &image.join("backups"));
        }
        // Closed, so that no log is left beside it.
        check(&old, &models[3], 3);
        for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
            let _ = fs::remove_file(image.join("collections/notes").join(name));
        }
        fs::copy(
            old.join("collections/notes/catalog.sqlite"),
            image.join("collections/notes/catalog.sqlite"),
        )
        .unwrap();
        let data = DataDir::open(&image).unwrap();
        let (notes, fail_over) = data.open_or_fail_over("notes").unwrap();
        let expected = if backup_at == Some(5) { 5 } else { 3 };
        assert_eq!((notes.snapshot().seq(), fail_over.is_some()), (expected, backup_at == Some(5)));
        compare(&notes.snapshot(), &models[expected as usize], Metric::L2, &mut Random(1));
        let incident = notes.incident().unwrap();
        let missing = if expected == 5 { "commit 6 is missing" } else { "commits 4 to 6 are missing" };
        assert!(incident.contains(missing), "{incident}");
        notes.acknowledge().unwrap();
        drop((notes, data));
        check(&image, &models[expected as usize], expected);
    }
}

#[test]
fn a_witness_that_is_missing_damaged_older_or_of_another_collection_raises_no_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let models = killed(folder.path());
    let image = folder.path().join(COMMITS.to_string());
    let model = &models[COMMITS as usize];
    let head = image.join("collections/notes/head");
    let other = tempfile::tempdir().unwrap();
    {
        let data = DataDir::open(other.path()).unwrap();
        let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
        let mut model = Model::default();
        (1..=COMMITS + 3).for_each(|seq| add(&notes, &mut model, seq));
    }
    let older = fs::read(folder.path().join("2/collections/notes/head")).unwrap();
    let foreign = fs::read(other.path().join("collections/notes/head")).unwrap();
    for bytes in [older, foreign, vec![0; 8192], vec![7; 100], Vec::new()] {
        fs::write(&head, &bytes).unwrap();
        check(&image, model, COMMITS);
        assert_ne!(fs::read(&head).unwrap(), bytes, "it fits again");
        check(&image, model, COMMITS);
    }
    fs::remove_file(&head).unwrap();
    check(&image, model, COMMITS);
    assert_eq!(fs::metadata(&head).unwrap().len(), 8192);
}

#[test]
fn going_back_to_a_backup_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
    let mut model = Model::default();
    add(&notes, &mut model, 1);
    let (backup, mut early) = (data.backup(&notes).unwrap(), model.clone());
    (2..5).for_each(|seq| add(&notes, &mut model, seq));
    let notes = data.restore(&backup, Some(notes)).unwrap();
    drop((notes, data));
    check(folder.path(), &early, 1);
    let data = DataDir::open(folder.path()).unwrap();
    add(&data.open_collection("notes").unwrap(), &mut early, 2);
    drop(data);
    check(folder.path(), &early, 2);
}

#[test]
fn a_change_of_settings_that_vanished_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (live, killed) = (folder.path().join("live"), folder.path().join("killed"));
    let data = DataDir::open(&live).unwrap();
    let notes = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
    let mut model = Model::default();
    add(&notes, &mut model, 1);
    let log = Path::new("collections/notes/catalog.sqlite-wal");
    let before = fs::metadata(live.join(log)).unwrap().len();
    notes.set_index(IndexSpec::hnsw(8), 0.9).unwrap();
    notes.set_index(IndexSpec::hnsw(16), 0.9).unwrap();
    copy(&live, &killed);
    drop((notes, data));
    check(&live, &model, 1);
    // The log ends before the first change, as if a frame of that were damaged.
    fs::File::options().write(true).open(killed.join(log)).unwrap().set_len(before).unwrap();
    let data = DataDir::open(&killed).unwrap();
    let (notes, fail_over) = data.open_or_fail_over("notes").unwrap();
    assert!(fail_over.is_none() && notes.settings().index == IndexSpec::FLAT);
    compare(&notes.snapshot(), &model, Metric::L2, &mut Random(1));
    assert!(notes.incident().unwrap().contains("a change of its settings is missing"));
    notes.acknowledge().unwrap();
    notes.set_index(IndexSpec::hnsw(8), 0.9).unwrap();
    drop((notes, data));
    let data = DataDir::open(&killed).unwrap();
    let notes = data.open_collection("notes").unwrap();
    assert_eq!((notes.incident(), notes.settings().index), (None, IndexSpec::hnsw(8)));
}
